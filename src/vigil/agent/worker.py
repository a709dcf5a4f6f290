"""One session in its own process, forked by the runtime.

The environment names the session (SESSION_ID, S3_BUCKET_NAME, DDB_TABLE_NAME). Whatever the agent does or leaves
undone, the session is BUSY before it starts and COMPLETED or FAILED after it.
"""

import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from strands import Agent
from strands.hooks import AfterModelCallEvent, AfterToolCallEvent, BeforeModelCallEvent, BeforeToolCallEvent

from vigil.agent.budget import Budget
from vigil.agent.session import AgentSession
from vigil.errors import AgentIncomplete, AwsUnavailable, MissingSetting, SessionEnded, VigilError
from vigil.names import REPORT, Env
from vigil.session import Usage
from vigil.settings import WorkerSettings

logger = logging.getLogger("vigil.worker")


def work(
    environment: dict[str, str],
    detail: dict[str, Any],
    output: "connection.Connection[Any, Any]",
    progress: "connection.Connection[Any, Any]",
) -> None:
    """Be the worker process: run the session, write to ``output``, and tell ``progress`` what is being done."""
    # A group of its own: whoever ends us ends what we started.
    os.setpgid(0, 0)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(output.fileno(), stream.fileno())
    output.close()
    # What is printed is seen even if we are killed.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.environ.update(environment)
    threading.Thread(target=_end_with_runtime, daemon=True).start()
    os.set_blocking(progress.fileno(), False)

    def alive(doing: str) -> None:
        # It may be full because nobody has listened for a while, or closed: then another line is not what is missing.
        with suppress(OSError):
            os.write(progress.fileno(), doing.encode()[:500] + b"\n")

    logging.basicConfig(format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("vigil").setLevel(logging.INFO)
    try:
        run(AgentSession.open(WorkerSettings.from_env(), detail, alive))
    except VigilError as error:
        logger.error("%s: %s", error.code, error)
        sys.exit(1)


def _end_with_runtime() -> None:
    """End with the runtime, which can be killed: nobody else watches us."""
    runtime = parent_process()
    assert runtime is not None
    connection.wait([runtime.sentinel])
    os.killpg(0, signal.SIGKILL)


def run(session: AgentSession) -> None:
    """Run the session to its end. Raises SessionTaken or SessionEnded, having done nothing, if it is not ours."""
    session.busy()
    try:
        agent = load_agent(session.agent)(session)
        if isinstance(agent, Agent):
            _tell_progress(agent, session.alive)
            agent.hooks.add_hook(Budget(session.budget_dollars, lambda usage: _record(session, usage)))
        agent(f"Run the session. Its input: {json.dumps(session.detail, sort_keys=True)}")
        _conclude(session)
    except SessionEnded:
        logger.info("session %s had ended already", session.session_id)
    except (Exception, SystemExit) as error:
        logger.exception("session %s failed", session.session_id)
        cause = _cause(error)
        try:
            session.fail(_code(cause), _one_line(cause))
        except SessionEnded:
            # The agent had ended the session before this happened; the first end stands.
            logger.info("session %s had ended already", session.session_id)


def load_agent(path: str) -> Callable[[AgentSession], Agent]:
    """Return the factory that ``package.module:factory`` names, or raise MissingSetting."""
    module, _, name = path.partition(":")
    try:
        factory = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise MissingSetting(
            f"{Env.AGENT}={path} is not package.module:factory that can be imported: {error}"
        ) from error
    if not callable(factory):
        raise MissingSetting(f"{Env.AGENT}={path} is not callable")
    return factory  # type: ignore[no-any-return]


def _conclude(session: AgentSession) -> None:
    """Give the session the terminal status that the agent was asked to set and did not."""
    if session.journal.get(session.session_id).terminal:
        return
    if not session.artifacts.exists(REPORT):
        raise AgentIncomplete(f"the agent stopped without saving {REPORT} and without a final status")
    session.complete()


def _cause(error: BaseException) -> BaseException:
    """Return what Strands wrapped in its EventLoopException, or ``error``; an exit becomes an error of ours."""
    while type(error).__name__ == "EventLoopException" and error.__cause__ is not None:
        error = error.__cause__
    return AgentIncomplete(f"the agent called exit({error.code})") if isinstance(error, SystemExit) else error


def _code(error: BaseException) -> str:
    """Return the error's code: ours, AWS's, or the class name."""
    if isinstance(error, VigilError):
        return error.code
    if isinstance(error, ClientError):
        return str(error.response["Error"].get("Code") or type(error).__name__)
    return type(error).__name__


def _one_line(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "the agent ran out of memory"
    line = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, KeyError):
        # It says no more than the key.
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{line} is missing ({Path(where.filename).name}, line {where.lineno}: {where.line})"
    return line


def _record(session: AgentSession, usage: Usage) -> None:
    try:
        session.journal.spent(session.session_id, usage)
    except (SessionEnded, AwsUnavailable) as error:
        # An agent that ends its session hears from its model once more. And the next call writes the whole sum again.
        logger.info("session %s: the usage of its model is not recorded: %s", session.session_id, error)


def _tell_progress(agent: Agent, alive: Callable[[str], None]) -> None:
    """Tell ``alive`` whenever the agent calls its model or a tool, or hears from it."""
    agent.add_hook(lambda event: alive("calling the model"), BeforeModelCallEvent)
    agent.add_hook(lambda event: alive("the model has answered"), AfterModelCallEvent)
    agent.add_hook(lambda event: alive(_tool_name(event)), BeforeToolCallEvent)
    agent.add_hook(lambda event: alive(f"{_tool_name(event)} has answered"), AfterToolCallEvent)


def _tool_name(event: BeforeToolCallEvent | AfterToolCallEvent) -> str:
    # A name that is no tool's is the model's own text, and the record may come to hold it.
    return f"tool {event.selected_tool.tool_name}" if event.selected_tool else "an unknown tool"

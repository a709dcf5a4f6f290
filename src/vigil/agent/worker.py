"""One session in its own process, forked by the runtime.

The environment names the session (SESSION_ID, S3_BUCKET_NAME, DDB_TABLE_NAME). Whatever the agent does or leaves
undone, the session is BUSY before it starts and COMPLETED or FAILED after it.
"""

import asyncio
import inspect
import json
import logging
import os
import random
import signal
import ssl
import sys
import threading
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from importlib import import_module
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any
from weakref import WeakSet

from botocore.exceptions import ClientError
from strands import Agent
from strands.agent import AgentResult
from strands.hooks import (
    AfterInvocationEvent,
    AfterModelCallEvent,
    AfterToolCallEvent,
    AfterToolsEvent,
    BeforeModelCallEvent,
    BeforeToolCallEvent,
    HookOrder,
)
from strands.middleware import InvokeModelContext, InvokeModelStage, MiddlewareNext
from strands.multiagent.graph import Graph
from strands.multiagent.swarm import Swarm
from strands.types.events import TypedEvent

from vigil.agent.budget import Budget
from vigil.agent.models import remedy
from vigil.agent.outcome import RAISED, check_finished, cut_off
from vigil.agent.session import AgentSession
from vigil.errors import (
    AgentIncomplete,
    AgentUnsupported,
    AwsUnavailable,
    MissingSetting,
    ReportMissing,
    SessionEnded,
    VigilError,
)
from vigil.names import REPORT, Env
from vigil.session import Usage
from vigil.settings import WorkerSettings

logger = logging.getLogger("vigil.worker")

ANSWER_SECONDS = 0.5
"""How often an answer that is streamed counts as progress."""
DONE = b"done"
"""What the worker tells its runtime once its session has its end on record."""


def work(
    orders: "connection.Connection[Any, Any]",
    output: "connection.Connection[Any, Any]",
    progress: "connection.Connection[Any, Any]",
    inherited: Iterable[int],
) -> None:
    """Be the worker process: take (environment, detail) of a session, and run it.

    It prints to ``output`` and tells ``progress`` what is being done. ``inherited`` are descriptors of its parent.
    """
    # A group of its own: whoever ends us ends what we started.
    os.setpgid(0, 0)
    for descriptor in inherited:
        os.close(descriptor)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(output.fileno(), stream.fileno())
    output.close()
    # What is printed is seen even if we are killed.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    threading.Thread(target=_end_with_runtime, daemon=True).start()
    try:
        environment, detail = orders.recv()
    except EOFError:
        return
    draw_anew()
    os.environ.update(environment)
    # The agent may close or replace what is logged to, which must not come before the cause that is to be recorded.
    logging.raiseExceptions = False
    os.set_blocking(progress.fileno(), False)

    def alive(doing: str) -> None:
        # It may be full because nobody has listened for a while, or closed: then another line is not what is missing.
        with suppress(OSError):
            os.write(progress.fileno(), doing.encode(errors="backslashreplace")[:500] + b"\n")

    try:
        run(AgentSession.open(WorkerSettings.from_env(), detail, alive))
    except VigilError as error:
        logger.error("%s: %s", error.code, error)
        sys.exit(1)
    orders.send_bytes(DONE)


def draw_anew() -> None:
    """Make what this process draws at random its own; call this when its session is known.

    Its machine may have been restored from a snapshot that was taken at the first ping, as those of all other sessions
    ("Optimize your agent for Amazon Bedrock AgentCore Runtime V2"). What draws from the kernel needs nothing.
    """
    random.seed()
    ssl.RAND_add(os.urandom(64), 64)


def _end_with_runtime() -> None:
    """End with the runtime, which can be killed: nobody else watches us."""
    runtime = parent_process()
    assert runtime is not None
    connection.wait([runtime.sentinel])
    os.killpg(0, signal.SIGKILL)


def run(session: AgentSession) -> None:
    """Run the session to its end. Raises SessionTaken or SessionEnded, having done nothing, if it is not ours."""
    session.mark_busy()
    budget = Budget(session.budget_dollars, lambda usage: _record(session, usage))
    followed = WeakSet[Agent]()

    def follow(agent: Agent) -> None:
        if agent not in followed:
            followed.add(agent)
            _tell_progress(agent, session.keep_alive)
            _end_as_delegate(agent)
            agent.hooks.add_hook(budget)

    try:
        with _each_new_agent(follow):
            agent = load_agent(session.agent)(session)
            for part in agents_of(agent):
                # It may have been made before, when its module was imported.
                follow(part)
            result: object = agent(f"Run the session. Its input: {json.dumps(session.detail, sort_keys=True)}")
            if inspect.isawaitable(result):
                result = asyncio.run(_awaited(result))
        _conclude(session, result)
    except SessionEnded:
        logger.info("session %s had ended already", session.session_id)
    # Whatever it is, such as a cancellation or an exit: the session must end with it.
    except BaseException as error:
        # The agent may have added a handler or a filter that raises, and what is to be recorded is not that.
        with suppress(Exception):
            logger.exception("session %s failed", session.session_id)
        try:
            session.fail(*_failure(error))
        except SessionEnded:
            # The agent had ended the session before this happened; the first end stands.
            logger.info("session %s had ended already", session.session_id)


@contextmanager
def _each_new_agent(follow: Callable[[Agent], None]) -> Iterator[None]:
    """Have ``follow`` hear of every agent that is made meanwhile, also by a function, a tool or a plugin."""
    made = Agent.__init__

    @wraps(made)
    def init(self: Agent, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        follow(self)

    Agent.__init__ = init  # type: ignore[method-assign]
    try:
        yield
    finally:
        Agent.__init__ = made  # type: ignore[method-assign]


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


def agents_of(agent: object) -> list[Agent]:
    """Return the Strands agents that ``agent`` consists of, those that are tools included; none if it is a function.

    Raises AgentUnsupported for anything else, and for a part that runs elsewhere: nobody could count its model calls.
    """
    found: list[Agent] = []

    def look(part: object) -> None:
        if isinstance(part, Agent):
            if part not in found:
                found.append(part)
                for tool in part.tool_registry.registry.values():
                    if isinstance(inner := getattr(tool, "agent", None), Agent):
                        look(inner)
        elif isinstance(part, Graph | Swarm):
            for node in part.nodes.values():
                look(node.executor)
        elif hasattr(part, "invoke_async") or not callable(part):
            raise AgentUnsupported(
                f"{type(part).__name__} is no agent that a session can run:"
                " a factory returns an Agent, a Graph or a Swarm of Strands, or a function of the prompt"
            )

    look(agent)
    return found


async def _awaited(result: Awaitable[object]) -> object:
    return await result


def _conclude(session: AgentSession, result: object) -> None:
    """Give the session the terminal status that the agent was asked to set and did not."""
    if session.journal.get(session.session_id).terminal:
        return
    check_finished(result)
    try:
        session.complete()
    except ReportMissing as error:
        raise AgentIncomplete(f"the agent stopped without saving {REPORT} and without a final status") from error


def _failure(error: BaseException) -> tuple[str, str]:
    """Return (code, message) of the root cause of ``error``; what it was wrapped in is told behind it."""
    root = _root(error)
    for raised, reason in RAISED.items():
        if isinstance(root, raised):
            root = cut_off(reason)
    if isinstance(root, SystemExit):
        root = AgentIncomplete(f"the agent called exit({'' if root.code is None else _one_line(root)})")
    line = _one_line(root)
    if advice := remedy(root):
        # Before what AWS says, which may be cut.
        line = f"{advice}: {line}"
    if isinstance(root, VigilError):
        return root.code, line
    # An error that was being handled is told, but it is no cause, because nobody named it one with "from": it may be
    # as harmless as a miss in a cache.
    handled = None if root.__suppress_context__ or root.__context__ is None else _root(root.__context__)
    beside, how = (handled, "while handling") if root is error else (error, "in")
    if beside is None or (outer := _one_line(beside)) in line:
        return _code(root), line
    return _code(root), f"{line} ({how} {type(beside).__name__}: {outer})"


def _root(error: BaseException) -> BaseException:
    """Return what ``error`` was raised for, as far as it says so: its cause, or the first of a group.

    An error that has a code of ours is not looked into.
    """
    seen: set[int] = set()
    while id(error) not in seen and not isinstance(error, (VigilError, *RAISED)):
        seen.add(id(error))
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        # asyncio cancels what takes too long, and raises TimeoutError from that: the time is the cause.
        elif error.__cause__ is not None and not isinstance(error.__cause__, asyncio.CancelledError):
            error = error.__cause__
    return error


def _code(error: BaseException) -> str:
    """Return AWS's code of the error, or the name of its class."""
    code = None
    if isinstance(error, ClientError):
        with suppress(AttributeError, KeyError, TypeError):  # an agent's own class may have no response
            code = error.response["Error"]["Code"]
    return str(code or type(error).__name__)


def _one_line(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "the agent ran out of memory"
    try:
        line = " ".join(str(error).split())
    except BaseException:  # an agent's own class may be unable to say what it is
        line = ""
    line = line or type(error).__name__
    if isinstance(error, KeyError) and (frames := traceback.extract_tb(error.__traceback__)):
        # It says no more than the key.
        where = frames[-1]
        return f"{line} is missing ({Path(where.filename).name}, line {where.lineno}: {where.line})"
    return line


def _record(session: AgentSession, usage: Usage) -> None:
    try:
        session.journal.record_usage(session.session_id, usage)
    except (SessionEnded, AwsUnavailable) as error:
        # An agent that ends its session hears from its model once more. And the next call writes the whole sum again.
        logger.info("session %s: the usage of its model is not recorded: %s", session.session_id, error)


def _tell_progress(agent: Agent, alive: Callable[[str], None]) -> None:
    """Tell ``alive`` whenever the agent calls its model or a tool, or hears from it."""

    async def answers(
        context: InvokeModelContext, invoke: MiddlewareNext[InvokeModelContext, TypedEvent]
    ) -> AsyncGenerator[TypedEvent, None]:
        told = time.monotonic()
        async for event in invoke(context):
            if time.monotonic() - told >= ANSWER_SECONDS:
                alive("the model answers")
                told = time.monotonic()
            yield event

    # A slow model may stream its answer for longer than an agent may go without progress.
    agent.add_middleware(InvokeModelStage, answers)
    agent.add_hook(lambda event: alive("calling the model"), BeforeModelCallEvent)
    agent.add_hook(lambda event: alive("the model has answered"), AfterModelCallEvent)
    agent.add_hook(lambda event: alive(_tool_name(event)), BeforeToolCallEvent)
    agent.add_hook(lambda event: alive(f"{_tool_name(event)} has answered"), AfterToolCallEvent)


def _end_as_delegate(agent: Agent) -> None:
    """Have the agent fail of what cut off another to which it delegates: its answer would end the turn of this one."""
    last: list[AgentResult | None] = []

    def heard(event: AfterInvocationEvent) -> None:
        last[:] = [event.result]

    def ends(event: AfterToolsEvent) -> None:
        result = last.pop() if last else None
        if event.end_turn:
            check_finished(result)

    for tool in agent.tool_registry.registry.values():
        if getattr(tool, "delegate", False) and isinstance(inner := getattr(tool, "agent", None), Agent):
            inner.add_hook(heard, AfterInvocationEvent)
    # Behind the hook by which Strands takes the answer over.
    agent.add_hook(ends, AfterToolsEvent, order=HookOrder.SDK_LAST + 1)


def _tool_name(event: BeforeToolCallEvent | AfterToolCallEvent) -> str:
    # A name that is no tool's is the model's own text, and the record may come to hold it.
    return f"tool {event.selected_tool.tool_name}" if event.selected_tool else "an unknown tool"

"""One session in its own process, forked by the runtime.

The environment names the session (SESSION_ID, S3_BUCKET_NAME, DDB_TABLE_NAME). Whatever the agent does, the session
is BUSY before the agent starts, and COMPLETED or FAILED after it.
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
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import wraps
from importlib import import_module
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any, TypeAlias
from weakref import WeakSet

from botocore.exceptions import ClientError
from strands import Agent, hooks
from strands.agent import AgentResult
from strands.middleware import InvokeModelContext, InvokeModelStage, MiddlewareNext
from strands.multiagent.graph import Graph
from strands.multiagent.swarm import Swarm
from strands.types.events import TypedEvent

from vigil.agent.checkpoint import Checkpoints
from vigil.agent.models import remedy
from vigil.agent.outcome import RAISED, check_finished, cut_off
from vigil.agent.session import AgentSession
from vigil.agent.steps import StepRecorder
from vigil.attributes import moment
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
from vigil.session import NO_CHECKPOINT
from vigil.settings import WorkerSettings

Pipe: TypeAlias = "connection.Connection[Any, Any]"

logger = logging.getLogger("vigil.worker")

ANSWER_SECONDS = 0.5  # how often a streamed answer counts as progress
DONE = b"done"  # the worker sends this to its runtime when the end of its session is on record


def work(orders: Pipe, output: Pipe, progress: Pipe, inherited: Iterable[int]) -> None:
    """Be the worker process: receive (environment, detail) of a session, and run it.

    It prints to ``output`` and writes to ``progress`` what it does. It closes ``inherited``, descriptors of its parent.
    """
    # The worker leads a process group: one signal ends it with what it started.
    os.setpgid(0, 0)
    for descriptor in inherited:
        os.close(descriptor)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(output.fileno(), stream.fileno())
    output.close()
    # What was printed is seen even if the worker is killed.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    threading.Thread(target=_end_with_runtime, daemon=True).start()
    try:
        environment, detail = orders.recv()
    except EOFError:
        return
    reseed()
    os.environ.update(environment)
    # The agent may close the log's stream; an error of logging must not hide the cause of the failure.
    logging.raiseExceptions = False
    os.set_blocking(progress.fileno(), False)

    def keep_alive(doing: str) -> None:
        # The pipe is full or closed; progress lines may be dropped.
        with suppress(OSError):
            os.write(progress.fileno(), doing.encode(errors="backslashreplace")[:500] + b"\n")

    try:
        run(AgentSession.open(WorkerSettings.from_env(), detail, keep_alive))
    except VigilError as error:
        logger.error("%s: %s", error.code, error)
        sys.exit(1)
    orders.send_bytes(DONE)


def reseed() -> None:
    """Seed the random generators of this process; called when its session is known.

    The machines of all sessions may be restored from one snapshot, taken at the first ping ("Optimize your agent for
    Amazon Bedrock AgentCore Runtime V2"). Generators that read the kernel's randomness need no seed.
    """
    random.seed()
    ssl.RAND_add(os.urandom(64), 64)


def _end_with_runtime() -> None:
    """Kill this process group when the runtime has ended: nothing else watches the worker."""
    runtime = parent_process()
    assert runtime is not None
    connection.wait([runtime.sentinel])
    os.killpg(0, signal.SIGKILL)


def run(session: AgentSession) -> None:
    """Run the session to its end. Raises SessionTaken or SessionEnded, and does nothing, if it is not this worker's."""
    session.mark_busy()
    try:
        record = session.journal.get(session.session_id)
    except AwsUnavailable as error:
        session.fail(*_failure(error))
        return
    if record.checkpoint == NO_CHECKPOINT and record.attempts:
        # The attempt before wrote this while it was ended.
        session.fail(record.attempts[-1].code, record.attempts[-1].message)
        return
    # Before anything is done: an attempt whose checkpoint cannot be read ends, and changes nothing.
    checkpoint = session.artifacts.read_checkpoint(record.checkpoint) if record.checkpoint else None
    session = replace(session, started_at=moment(record.start_time))
    steps = StepRecorder(session, record)
    followed = WeakSet[Agent]()

    def follow(agent: Agent) -> None:
        if agent not in followed:
            followed.add(agent)
            _report_calls(agent, session.keep_alive)
            _fail_with_delegates(agent)
            agent.hooks.add_hook(steps)

    try:
        with _each_new_agent(follow):
            agent = load_agent(session.agent)(session)
            for part in agents_of(agent):
                # The agent may have been made when its module was imported, before this patch.
                follow(part)
            prompt: str | None = f"Run the session. Its input: {json.dumps(session.detail, sort_keys=True)}"
            # Strands loses the state of background tasks.
            if isinstance(agent, Agent) and not getattr(agent, "_background_tasks", None):
                steps.checkpoints = Checkpoints(session, agent)
                if checkpoint:
                    steps.checkpoints.load(checkpoint)
                    prompt = None
            elif checkpoint:
                raise AgentUnsupported(f"{type(agent).__name__} cannot continue what an Agent has begun")
            else:
                session.journal.forbid_attempts(session.session_id)
            result: object = agent(prompt)
            if inspect.isawaitable(result):
                # wait_for makes a coroutine of any awaitable.
                result = asyncio.run(asyncio.wait_for(result, timeout=None))
        _conclude(session, result)
    # Any error ends the session, also a cancellation or an exit.
    except BaseException as error:
        if SessionEnded in (type(error), type(error.__cause__)):  # Strands wraps what a hook raises
            logger.info("session %s had ended already", session.session_id)
            return
        # A log handler or filter of the agent may raise; record the agent's error, not that one.
        with suppress(Exception):
            logger.exception("session %s failed", session.session_id)
        try:
            session.fail(*_failure(error))
        except SessionEnded:
            # The agent had ended the session before; the first end stands.
            logger.info("session %s had ended already", session.session_id)


@contextmanager
def _each_new_agent(follow: Callable[[Agent], None]) -> Iterator[None]:
    """Call ``follow`` with every agent that is made meanwhile, also by a function, a tool or a plugin."""
    original = Agent.__init__

    @wraps(original)
    def init(self: Agent, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        follow(self)

    Agent.__init__ = init  # type: ignore[method-assign]
    try:
        yield
    finally:
        Agent.__init__ = original  # type: ignore[method-assign]


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
    """Return the Strands agents in ``agent``, also those that are tools; none if it is a function.

    Raises AgentUnsupported for anything else, and for a part that runs elsewhere, whose model calls cannot be counted.
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


def _conclude(session: AgentSession, result: object) -> None:
    """Set the terminal status if the agent has not set it."""
    if session.journal.get(session.session_id).terminal:
        return
    check_finished(result)
    try:
        session.complete()
    except ReportMissing as error:
        raise AgentIncomplete(f"the agent stopped without saving {REPORT} and without a final status") from error


def _failure(error: BaseException) -> tuple[str, str]:
    """Return (code, message) of the root cause of ``error``; the message ends with the error that wraps it."""
    root = _root(error)
    for raised, reason in RAISED.items():
        if isinstance(root, raised):
            root = cut_off(reason)
    if isinstance(root, SystemExit):
        root = AgentIncomplete(f"the agent called exit({'' if root.code is None else _one_line(root)})")
    line = _one_line(root)
    if advice := remedy(root):
        # Before AWS's message, whose end may be cut.
        line = f"{advice}: {line}"
    if isinstance(root, VigilError):
        return root.code, line
    # An error that was being handled is only mentioned: without "from" it is not the cause, and may be harmless.
    handled = None if root.__suppress_context__ or root.__context__ is None else _root(root.__context__)
    other, relation = (handled, "while handling") if root is error else (error, "in")
    if other is None or (text := _one_line(other)) in line:
        return _code(root), line
    return _code(root), f"{line} ({relation} {type(other).__name__}: {text})"


def _root(error: BaseException) -> BaseException:
    """Follow the causes of ``error``, and the first error of a group, to the root or to an error with a Vigil code."""
    seen: set[int] = set()
    while id(error) not in seen and not isinstance(error, (VigilError, *RAISED)):
        seen.add(id(error))
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        # asyncio raises TimeoutError from the cancellation that enforces it: the timeout is the cause.
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
    except BaseException:  # str() of an agent's class may raise
        line = ""
    line = line or type(error).__name__
    if isinstance(error, KeyError) and (frames := traceback.extract_tb(error.__traceback__)):
        # A KeyError names only the key.
        frame = frames[-1]
        return f"{line} is missing ({Path(frame.filename).name}, line {frame.lineno}: {frame.line})"
    return line


def _report_calls(agent: Agent, keep_alive: Callable[[str], None]) -> None:
    """Call ``keep_alive`` whenever the agent calls its model or a tool, or gets its answer."""

    async def answers(
        context: InvokeModelContext, invoke: MiddlewareNext[InvokeModelContext, TypedEvent]
    ) -> AsyncGenerator[TypedEvent, None]:
        reported = time.monotonic()
        async for event in invoke(context):
            if time.monotonic() - reported >= ANSWER_SECONDS:
                keep_alive("the model answers")
                reported = time.monotonic()
            yield event

    # A slow model may stream its answer for longer than an agent may go without progress.
    agent.add_middleware(InvokeModelStage, answers)
    agent.add_hook(lambda event: keep_alive("calling the model"), hooks.BeforeModelCallEvent)
    agent.add_hook(lambda event: keep_alive("the model has answered"), hooks.AfterModelCallEvent)
    agent.add_hook(lambda event: keep_alive(_tool_name(event)), hooks.BeforeToolCallEvent)
    agent.add_hook(lambda event: keep_alive(f"{_tool_name(event)} has answered"), hooks.AfterToolCallEvent)


def _fail_with_delegates(agent: Agent) -> None:
    """Let the agent fail if an agent to which it delegates was cut off: that one's answer ends this one's turn."""
    last: list[AgentResult | None] = []

    def keep_result(event: hooks.AfterInvocationEvent) -> None:
        last[:] = [event.result]

    def check_result(event: hooks.AfterToolsEvent) -> None:
        result = last.pop() if last else None
        if event.end_turn:
            check_finished(result)

    for tool in agent.tool_registry.registry.values():
        if getattr(tool, "delegate", False) and isinstance(inner := getattr(tool, "agent", None), Agent):
            inner.add_hook(keep_result, hooks.AfterInvocationEvent)
    # After the hook with which Strands takes over the answer.
    agent.add_hook(check_result, hooks.AfterToolsEvent, order=hooks.HookOrder.SDK_LAST + 1)


def _tool_name(event: hooks.BeforeToolCallEvent | hooks.AfterToolCallEvent) -> str:
    # A name without a tool is text of the model, which must not reach the record.
    return f"tool {event.selected_tool.tool_name}" if event.selected_tool else "an unknown tool"

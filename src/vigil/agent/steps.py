"""Every call of a model or a tool becomes a step in the journal, written while it happens."""

import json
import logging
import os
import threading
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from strands import Agent
from strands.hooks import (
    AfterModelCallEvent,
    AfterToolCallEvent,
    BeforeModelCallEvent,
    BeforeToolCallEvent,
    HookOrder,
    HookProvider,
    HookRegistry,
)

from vigil.agent.budget import Budget, model_id, provider_of
from vigil.agent.checkpoint import Checkpoints
from vigil.agent.once import runs_once
from vigil.agent.session import AgentSession
from vigil.attributes import iso
from vigil.errors import AwsUnavailable, SessionEnded, VigilError
from vigil.journal import MAX_STEPS_AT_ONCE, StepsSoFar
from vigil.redact import known_secrets, redact
from vigil.session import Session
from vigil.step import Excerpt, Operation, Step
from vigil.table import storable

logger = logging.getLogger("vigil.steps")

UNKNOWN_TOOL = "unknown tool"
"""The name of a tool that does not exist is text of the model: it stands in the input of the step alone."""

_caller: ContextVar[int | None] = ContextVar("caller", default=None)
"""Number of the step whose tool runs here: an agent that the tool calls runs in a copy of this context."""


class StepRecorder(HookProvider):
    """Records the steps of all agents that it is added to, and ends the session when its budget is spent.

    It sees the calls in the loops of these agents, and not those of a conversation manager that summarises. It raises
    BudgetExceeded before a model call, and SessionEnded before any call if the session is not this worker's any more.
    """

    def __init__(self, session: AgentSession, begun: Session) -> None:
        """Go on from what the record ``begun`` says of earlier attempts."""
        self._session = session
        self._budget = Budget(session.budget_dollars, begun.usage)
        self.checkpoints: Checkpoints | None = None  # of the session's agent, if it can be continued
        self._lock = threading.Lock()  # tools may run at the same time
        self._begun = begun.step_count or 0
        self._done = begun.steps_done or 0
        self._running: dict[int, tuple[Hashable, Step]] = {}  # by number, each with the key of its call
        self._checkpoint: str | None = None  # the newest; None leaves what the record says
        self._unwritten: dict[int, Step] = {}  # by number; the table could not be reached

    def register_hooks(self, registry: HookRegistry, **kwargs: Any) -> None:
        """Record the steps of the agent that owns ``registry``."""
        # Last: other hooks may change a call, or its result. They cannot change that of a model, but Strands' own waits
        # there before it repeats a throttled call.
        registry.add_callback(BeforeModelCallEvent, self._before_model, order=HookOrder.SDK_LAST)
        registry.add_callback(AfterModelCallEvent, self._after_model, order=HookOrder.SDK_FIRST)
        registry.add_callback(BeforeToolCallEvent, self._before_tool, order=HookOrder.SDK_LAST)
        registry.add_callback(AfterToolCallEvent, self._after_tool, order=HookOrder.SDK_LAST)

    def _before_model(self, event: BeforeModelCallEvent) -> None:
        self._budget.check()
        agent = event.agent
        content = agent.messages[-1]["content"] if agent.messages else []
        model = agent.model
        self._begin(id(agent), agent, Operation.CHAT, model_id(model), content, provider=provider_of(model))

    def _after_model(self, event: AfterModelCallEvent) -> None:
        answer = event.stop_response
        message = answer.message if answer else None
        with self._lock:
            self._end(
                id(event.agent),
                event.agent,
                error=event.exception,
                output=message["content"] if message else None,
                stop_reason=storable(answer.stop_reason) if answer else None,
                usage=self._budget.charge(event.agent.model, message),
            )

    def _before_tool(self, event: BeforeToolCallEvent) -> None:
        name = event.selected_tool.tool_name if event.selected_tool else UNKNOWN_TOOL
        use = event.tool_use
        checkpoints = self._checkpoints_of(event)
        if checkpoints and checkpoints.is_known(use["toolUseId"], event.selected_tool):
            return
        arguments = use["input"] if event.selected_tool else {"name": use["name"], "input": use["input"]}
        once = runs_once(event.selected_tool)
        step = self._begin(
            (id(event.agent), use["toolUseId"]),
            event.agent,
            Operation.EXECUTE_TOOL,
            name,
            arguments,
            call_id=storable(use["toolUseId"]),
            checkpoint=partial(checkpoints.begin, use["toolUseId"], once=once) if checkpoints else None,
            needed=once,
        )
        _caller.set(step.number)

    def _after_tool(self, event: AfterToolCallEvent) -> None:
        call, checkpoints = event.tool_use["toolUseId"], self._checkpoints_of(event)
        if checkpoints and (saved := checkpoints.result_of(call)):
            # Other hooks have changed it before it was saved. They must not change it again.
            event.result = saved
            return
        if event.exception and not isinstance(event.exception, VigilError):
            # Strands shows the model its message only.
            logger.warning("a tool failed", exc_info=event.exception)
        with self._lock:
            step = self._end(
                (id(event.agent), call),
                event.agent,
                error=event.exception or ("tool_error" if event.result.get("status") == "error" else None),
                output=event.result.get("content"),
                # What is tried again has no result yet.
                checkpoint=partial(checkpoints.end, call, event.result) if checkpoints and not event.retry else None,
            )
        if step:
            _caller.set(step.parent)

    def _checkpoints_of(self, event: BeforeToolCallEvent | AfterToolCallEvent) -> Checkpoints | None:
        """Return the checkpoints of the agent that calls the tool, unless it is called by another agent's tool."""
        checkpoints = self.checkpoints
        return checkpoints if checkpoints and checkpoints.agent is event.agent else None

    def _begin(
        self,
        key: Hashable,
        agent: Agent,
        operation: Operation,
        name: str,
        given: object,
        checkpoint: Callable[[], str | None] | None = None,
        needed: bool = False,
        **more: Any,
    ) -> Step:
        with self._lock:
            self._begun += 1
            step = Step(
                number=self._begun,
                attempt=self._session.attempt,
                operation=operation,
                name=storable(name),
                agent=storable(agent.name),
                started_at=_now(),
                parent=_caller.get(),
                input=_excerpt(given),
                **more,
            )
            self._running[step.number] = key, step
            if not self._write(step, checkpoint() if checkpoint else None) and needed:
                raise AwsUnavailable(f"the call of {name} could not be recorded, and it must not run twice")
            return step

    def _end(
        self,
        key: Hashable,
        agent: Agent,
        error: BaseException | str | None,
        output: object,
        checkpoint: Callable[[], str | None] | None = None,
        **more: Any,
    ) -> Step | None:
        """Record the end of a step; None if it has not begun, since another hook refused it."""
        numbers = [number for number, (begun, _) in self._running.items() if begun == key]
        if not numbers:
            return None
        # A model may give several of its calls the same id: the one that this context has begun is meant.
        _, step = self._running.pop(caller if (caller := _caller.get()) in numbers else numbers[-1])
        ended = replace(
            step,
            state="FAILED" if error else "COMPLETED",
            ended_at=_now(),
            error=type(error).__name__ if isinstance(error, BaseException) else error,
            output=_excerpt(str(error) if output is None and error else output),
            **more,
        )
        self._done += 1
        try:
            self._write(ended, checkpoint() if checkpoint else None)
        except SessionEnded:
            # This very call may have ended it: the model need not be asked again.
            agent.cancel(after_current_tools=True)
        return ended

    def _write(self, step: Step, checkpoint: str | None) -> bool:
        """Write ``step`` and those before it that could not be written; return whether that succeeded."""
        self._unwritten[step.number] = step
        self._checkpoint = checkpoint or self._checkpoint
        session = self._session
        so_far = StepsSoFar(self._begun, self._done, self._budget.usage, self._checkpoint)
        try:
            while steps := list(self._unwritten.values())[:MAX_STEPS_AT_ONCE]:
                session.journal.write_steps(session.session_id, steps, so_far)
                for written in steps:
                    del self._unwritten[written.number]
        except AwsUnavailable as error:
            # The agent may go on without. The next step is written with this one.
            logger.warning("session %s: step %d is not recorded yet: %s", session.session_id, step.number, error)
        return not self._unwritten


def _excerpt(content: object) -> Excerpt:
    # The agent may have set a variable since its session began.
    return Excerpt.of(redact(_as_text(content), known_secrets(os.environ)))


def _as_text(content: object) -> str:
    """Return the blocks of a message, or the arguments of a tool, as text; JSON unless they are text alone."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(block, dict) and block.keys() == {"text"} for block in content):
        return "\n".join(str(block["text"]) for block in content)
    try:
        return json.dumps(content, ensure_ascii=False, default=lambda value: f"({type(value).__name__})")
    except (TypeError, ValueError, RecursionError):
        return f"({type(content).__name__})"


def _now() -> str:
    return iso(datetime.now(UTC))

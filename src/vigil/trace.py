"""A session as a tree in time: workflow states, attempts, work phases and steps, each with how it ended."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from vigil.attempt import EndedAttempt
from vigil.attributes import iso, moment
from vigil.deployment import Deployment, aws_errors
from vigil.errors import SessionNotFound
from vigil.names import Output
from vigil.session import Session, Task, executions_of
from vigil.step import Excerpt, Step, duration
from vigil.watch import ENDS

STATE_TEXT = 4096  # characters of a state's input, and of its output, that are shown
WAITING = ("CheckStatus", "RouteByStatus", "WaitForChange", "WaitBeforeRetry")
"""States that a workflow passes again and again while its session runs."""


@dataclass(frozen=True)
class State:
    """A state that the workflow was in. Step Functions tells its times; the agent's machine tells all others."""

    name: str
    entered_at: str
    exited_at: str | None = None  # None while the workflow is in it


@dataclass
class Span:
    """A part of a session and what happened within it, in the order in which it began."""

    kind: str  # session, state, attempt, phase, model or tool
    name: str
    began_at: str
    ended_at: str | None
    outcome: str = ""  # how it ended, for a person; empty if it ended well
    step: Step | None = None
    within: list["Span"] = field(default_factory=list)

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it goes on."""
        return (moment(self.ended_at) - moment(self.began_at)).total_seconds() if self.ended_at else None

    def lines(self, start: str) -> Iterator[tuple[float, int, "Span"]]:
        """Yield (seconds since ``start``, depth, span) of this span and all within it."""
        # No recursion: an agent's role may write steps that are nested deeper than Python's stack.
        waiting = [(0, self)]
        while waiting:
            depth, span = waiting.pop()
            yield max((moment(span.began_at) - moment(start)).total_seconds(), 0.0), depth, span
            waiting += [(depth + 1, inner) for inner in reversed(span.within)]

    def __str__(self) -> str:
        if self.step:
            return f"{self.step.number} {self.step}"
        took = " …" if self.seconds is None else f", {duration(self.seconds)}"
        return " ".join(filter(None, (f"{self.kind} {self.name}{took}", self.outcome)))


@dataclass(frozen=True)
class Trace:
    """All that is on record of one session."""

    session: Session
    states: list[State]  # empty if the execution is gone, 90 days after its end
    phases: list[Task]
    steps: list[Step]

    @classmethod
    def read(cls, deployment: Deployment, session_id: str) -> "Trace":
        """Read the trace of a session; raises SessionNotFound."""
        found = deployment.journal.snapshot(session_id)
        if found.session is None:
            raise SessionNotFound(f"no session {session_id}")
        return cls(found.session, [*read_states(deployment, found.session)], found.tasks, found.steps)

    @property
    def root(self) -> Span:
        """The session as a tree."""
        session = self.session
        root = Span("session", session.session_id, session.start_time, session.ended_at)
        root.within = [Span("state", state.name, state.entered_at, state.exited_at) for state in self.states]
        if session.busy_at or session.attempts or self.steps or self.phases:
            root.within += self._attempts()
        # Sorting keeps the order of states that were entered within the same millisecond.
        root.within.sort(key=lambda span: moment(span.began_at))
        return root

    def _attempts(self) -> Iterator[Span]:
        """Yield the session's attempts. A phase that goes on after one of them stands in the next one too."""
        session = self.session
        ends = [moment(attempt.ended_at) for attempt in session.attempts]
        starts = [phase.started_at for phase in self.phases] + [step.started_at for step in self.steps]
        first = min(starts, default=session.start_time, key=moment)
        before = ""
        for number, end in enumerate([*session.attempts, None], start=1):
            began_at = end.started_at if end else max(session.busy_at or "", before, key=moment)
            attempt = Span(
                "attempt", str(number), began_at or before or first, end.ended_at if end else session.ended_at
            )
            attempt.outcome = str(end) if end else ""
            steps = [step for step in self.steps if step.attempt == number or (end is None and step.attempt > number)]
            phases = []
            for phase in self.phases:
                begins = bisect_right(ends, moment(phase.started_at)) + 1
                last = bisect_left(ends, moment(phase.ended_at)) + 1 if phase.ended_at else len(ends) + 1
                if number == begins or begins < number <= last:
                    phases.append(
                        _clipped(phase, attempt.began_at if number > begins else "", end if number < last else None)
                    )
            attempt.within = _nested(steps, phases)
            yield attempt
            before = attempt.ended_at or before

    @property
    def steps_at_end(self) -> list[Step]:
        """The steps that ran when the session ended: none while it goes on."""
        return [step for step in self.steps if self.session.ended_at and step.ended_at == self.session.ended_at]

    @property
    def dropped_steps(self) -> int:
        """How many steps newer ones have replaced."""
        return max((self.session.step_count or 0) - len(self.steps), 0)


def _clipped(phase: Task, before: str, end: EndedAttempt | None) -> Span:
    """Return the part of ``phase`` after ``before``, if it began earlier, and until ``end``, if it ended later."""
    began_at = before or phase.started_at
    if end:
        return Span("phase", phase.name, began_at, end.ended_at, "interrupted")
    return Span("phase", phase.name, began_at, phase.ended_at, _unless_well(phase.state, phase.outcome))


def _nested(steps: list[Step], phases: list[Span]) -> list[Span]:
    """Return the phases, and the steps below the step that called them or the phase in which they began."""
    within = list(phases)
    spans: dict[int, Span] = {}
    for step in steps:
        span = Span(step.kind, step.name, step.started_at, step.ended_at, step=step)
        running = [phase for phase in phases if _runs(phase, step.started_at)]
        caller = spans.get(step.parent or 0) or (running[-1] if running else None)
        (caller.within if caller else within).append(span)
        # Only now: a step that names itself as its parent would be within itself.
        spans[step.number] = span
    return sorted(within, key=lambda span: moment(span.began_at))


def _unless_well(state: str, outcome: str) -> str:
    return "" if state in ("RUNNING", "COMPLETED") and ":" not in outcome else outcome


def _runs(phase: Span, at: str) -> bool:
    return phase.began_at <= at and (phase.ended_at is None or at < phase.ended_at)


def read_states(deployment: Deployment, session: Session) -> Iterator[State]:
    """Yield the states of the session's execution, oldest first; none if the execution is gone."""
    entered: tuple[str, str] | None = None
    for event in _events(deployment, session.execution_arn or ""):
        at = iso(event["timestamp"])
        if entered and _leaves(event):
            yield State(*entered, exited_at=at)
            entered = None
        if "stateEnteredEventDetails" in event:
            entered = event["stateEnteredEventDetails"]["name"], at
    if entered:
        yield State(*entered)


class Texts(NamedTuple):
    """The input and the output of a part of a session; None if it has none."""

    input: Excerpt | None
    output: Excerpt | None

    @classmethod
    def of(cls, given: str, returned: str) -> "Texts":
        """Return the beginnings of two texts."""
        return cls(Excerpt.of(given, STATE_TEXT), Excerpt.of(returned, STATE_TEXT))


def read_texts(deployment: Deployment, execution_arn: str, state: State) -> Texts:
    """Return the input and the output of ``state`` as JSON; "" for what is not known."""
    given = ""
    for event in _events(deployment, execution_arn):
        entered, exited = event.get("stateEnteredEventDetails", {}), event.get("stateExitedEventDetails", {})
        if (entered.get("name"), iso(event["timestamp"])) == (state.name, state.entered_at):
            given = entered.get("input", "")
        elif (exited.get("name"), iso(event["timestamp"])) == (state.name, state.exited_at):
            return Texts.of(given, exited.get("output", ""))
    return Texts.of(given, "")


def _events(deployment: Deployment, execution_arn: str) -> Iterator[Any]:
    """Yield the events of an execution of the workflow, oldest first."""
    if not execution_arn.startswith(executions_of(deployment.output(Output.STATE_MACHINE))):
        return
    sfn = deployment.stepfunctions
    with aws_errors():
        pages = sfn.get_paginator("get_execution_history").paginate(
            executionArn=execution_arn, PaginationConfig={"PageSize": 1000}
        )
        try:
            yield from (event for page in pages for event in page["events"])
        except sfn.exceptions.ExecutionDoesNotExist:
            return


def _leaves(event: Any) -> bool:
    """Whether the workflow leaves a state with ``event``, or ends in it."""
    return "stateEnteredEventDetails" in event or "stateExitedEventDetails" in event or event["type"] in ENDS

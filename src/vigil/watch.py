"""What happens in a session, as it happens: workflow states, session status, work phases and steps in one stream."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

from vigil.attributes import moment
from vigil.deployment import Deployment, aws_errors
from vigil.errors import AwsUnavailable, SessionNotFound, WorkflowEnded
from vigil.names import Output
from vigil.session import Session, Status, check_session_id, executions_of, parsed, session_id_of
from vigil.step import Step, Usage

APPEAR_SECONDS = 30.0  # how long an event may take to become a session before we look for what went wrong
FIND_SECONDS = 2.0  # how long the session's record may take before we look for it among the executions
END_SECONDS = 30.0
ASK_SECONDS = 15.0  # how long we wait for the record to change before we ask Step Functions again
MAX_ASK_SECONDS = 60.0  # the longest of these waits, which grow
_RECENT_EXECUTIONS = 25
ENDS = {f"Execution{how}": f"execution{how}EventDetails" for how in ("Succeeded", "Failed", "Aborted", "TimedOut")}
"""The events with which an execution ends, and the field of each that holds the cause."""


@dataclass(frozen=True)
class SessionEvent:
    """Something that happened: a ``kind`` of workflow, session, phase, model, tool or progress, and a ``text``."""

    at: datetime
    kind: str
    text: str


@dataclass(frozen=True)
class SessionOutcome:
    """How a session ended."""

    completed: bool
    code: str | None
    message: str | None
    seconds: float
    usage: Usage | None = None


def watch(
    deployment: Deployment, session_id: str, poll_seconds: float = 0.3
) -> Iterator[SessionEvent | SessionOutcome]:
    """Yield what happens in the session until its workflow has ended; an SessionOutcome comes last.

    It follows the table. Step Functions answers few requests a second for a whole account, so it is asked when the
    record shows that the workflow has moved: another status, or another task token. Otherwise it is asked now and then,
    since a workflow can be stopped without a change of the record.

    Raises SessionNotFound if the event became no session within APPEAR_SECONDS.
    """
    check_session_id(session_id)
    history = _History(deployment, _await_execution(deployment, session_id, poll_seconds))
    record = _Record(deployment, session_id)
    seen: object = ()
    pause, due = 0.0, 0.0
    while True:
        moments = [*record.read()]
        moved = seen != (seen := (record.session and record.session.status, record.task_token))
        if moved:
            pause = ASK_SECONDS if record.is_open else poll_seconds
        if moved or time.monotonic() >= due:
            moments += history.read()
            due = time.monotonic() + pause
            pause = min(1.5 * pause, MAX_ASK_SECONDS if record.is_open else ASK_SECONDS)
        if history.ended:
            # Now the record holds everything that the session did before its workflow ended.
            moments += record.read()
        yield from sorted(moments, key=lambda moment: moment.at)
        if history.ended:
            end = final_outcome(history.end, record.session)
            usage = record.session.usage if record.session else None
            yield SessionOutcome(*end, history.seconds, usage)
            return
        time.sleep(poll_seconds)


def final_outcome(execution: Mapping[str, Any], session: Session | None) -> tuple[bool, str | None, str | None]:
    """Return (completed, code, message) of a session whose execution has ended."""
    if session is not None and session.status == Status.COMPLETED:
        # It counts as completed, also if its execution failed after that.
        return True, None, None
    if execution["status"] in ("FAILED", "SUCCEEDED"):
        return execution["status"] == "SUCCEEDED", execution.get("error"), execution.get("cause")
    if session is not None and session.terminal and session.error is not None:
        return False, session.error.code, session.error.message
    # As the reconciler will record it.
    error = WorkflowEnded.of(execution)
    return False, error.code, str(error)


def await_end(deployment: Deployment, session_id: str) -> None:
    """Wait until the session's workflow has ended. Raises AwsUnavailable if it goes on for END_SECONDS."""
    poll_seconds = 0.3
    history = _History(deployment, _await_execution(deployment, session_id, poll_seconds))
    deadline = time.monotonic() + END_SECONDS
    history.read()
    while not history.ended:
        if time.monotonic() > deadline:
            raise AwsUnavailable(f"still running after {END_SECONDS:.0f} s; `vigil watch {session_id}` shows it")
        time.sleep(poll_seconds)
        poll_seconds = min(1.5 * poll_seconds, 5.0)
        history.read()


def _await_execution(deployment: Deployment, session_id: str, poll_seconds: float) -> str:
    start = time.monotonic()
    others: set[str] = set()
    due = FIND_SECONDS
    while True:
        session: Session | None = None
        with suppress(SessionNotFound):
            session = deployment.journal.get(session_id)
        arn = session.execution_arn if session else None
        if arn and arn.startswith(executions_of(deployment.output(Output.STATE_MACHINE))):
            return arn
        passed = time.monotonic() - start
        if session or passed >= due:
            # The record names another execution, or could not be written.
            if arn := _find_execution(deployment, session_id, others):
                return arn
            due *= 2
        if passed > APPEAR_SECONDS:
            lost = [event.reason for event in deployment.dead_letters() if event.event_id == session_id]
            why = (
                f"the event lies in the dead-letter queue: {lost[0]}"
                if lost
                else "check the event's source and detail type"
            )
            raise SessionNotFound(f"session {session_id} did not start within {APPEAR_SECONDS:.0f} s: {why}")
        time.sleep(poll_seconds)


def _find_execution(deployment: Deployment, session_id: str, others: set[str]) -> str | None:
    """Return the execution of a session whose record was not written; adds those of other sessions to ``others``."""
    with aws_errors():
        sfn = deployment.stepfunctions
        workflow = deployment.output(Output.STATE_MACHINE)
        recent = sfn.list_executions(stateMachineArn=workflow, maxResults=_RECENT_EXECUTIONS)
        for arn in (execution["executionArn"] for execution in recent["executions"]):
            if arn in others:
                continue
            # The input need not come from the rule.
            given = parsed(sfn.describe_execution(executionArn=arn).get("input"))
            if isinstance(given, dict) and session_id_of(given.get("session_id"), given.get("detail")) == session_id:
                return str(arn)
            others.add(arn)
    return None


@dataclass
class _Record:
    """A session's record, work phases and steps, as last read from the table."""

    deployment: Deployment
    session_id: str
    tasks: dict[tuple[int, str], str] = field(default_factory=dict)  # the states of the work phases
    running: set[int] = field(default_factory=set)  # numbers of the steps that ran
    begun: set[int] = field(default_factory=set)  # those of them of which it has been told
    next_step: int = 1  # number of the first step of which nothing is known
    statuses: set[str] = field(default_factory=set)
    attempts: int = 0  # how many have ended
    progress: str | None = None
    waiting_for: str | None = None
    task_token: object = None
    session: Session | None = None
    is_open: bool = False

    def read(self) -> Iterator[SessionEvent]:
        """Read them and yield what has changed."""
        found = self.deployment.journal.snapshot(self.session_id, min([self.next_step, *self.running]))
        self.task_token = found.task_token
        self.is_open = found.session is not None and not found.session.terminal
        if session := found.session:
            self.session = session
            for status, since in session.statuses.items():
                # All statuses so far: it may have had two since the last read, or before the first.
                if status not in self.statuses:
                    yield SessionEvent(_moment(since), "session", status)
            self.statuses.update(session.statuses)
            for number, ended in enumerate(session.attempts[self.attempts :], start=self.attempts + 1):
                yield SessionEvent(_moment(ended.ended_at), "session", f"attempt {number} ended: {ended}")
            self.attempts = max(self.attempts, len(session.attempts))
            if session.waiting_for and session.waiting_for != self.waiting_for:
                self.waiting_for = session.waiting_for
                yield SessionEvent(datetime.now(UTC), "session", f"waits: {session.waiting_for}")
            if session.progress and session.progress != self.progress:
                self.progress = session.progress
                yield SessionEvent(_moment(session.updated_at or session.start_time), "progress", session.progress)
        for task in found.tasks:
            before = self.tasks.get(key := (task.number, task.name))
            if before is None:
                yield SessionEvent(_moment(task.started_at), "phase", f"{task.name} …")
            if task.state not in (before, "RUNNING"):
                yield SessionEvent(_moment(task.ended_at or task.started_at), "phase", f"{task.name} {task.outcome}")
            self.tasks[key] = task.state
        yield from self._read_steps(found.steps)

    def _read_steps(self, steps: list[Step]) -> Iterator[SessionEvent]:
        """Yield the steps that have ended, and those that ran at the last read and still run."""
        ran, self.running = self.running, set()
        for step in steps:
            if step.number < self.next_step and step.number not in ran:
                continue
            if step.state != "RUNNING":
                yield SessionEvent(
                    _moment(step.ended_at or step.started_at), step.kind, f"{step.name} {step.outcome}".strip()
                )
                continue
            self.running.add(step.number)
            if step.number in ran - self.begun:
                self.begun.add(step.number)
                yield SessionEvent(_moment(step.started_at), step.kind, f"{step.name} …")
        self.next_step = max([self.next_step, *(step.number + 1 for step in steps)])


@dataclass
class _History:
    """The events of an execution, read backwards from the newest to the last known one."""

    deployment: Deployment
    execution_arn: str
    _last: int = 0
    _first: Any = None
    _end: Any = None

    def read(self) -> list[SessionEvent]:
        """Read what is new; return the states that were entered, oldest first."""
        with aws_errors():
            # A session of hours has thousands of events, almost all of them known.
            pages = self.deployment.stepfunctions.get_paginator("get_execution_history").paginate(
                executionArn=self.execution_arn, reverseOrder=True, PaginationConfig={"PageSize": 100}
            )
            events = (event for page in pages for event in page["events"])
            new = list(takewhile(lambda event: event["id"] > self._last, events))[::-1]
        for event in new:
            self._last, self._first = event["id"], self._first or event
            if event["type"] in ENDS:
                # Not simply the last event: the embedded AWS adds one after an execution was aborted.
                self._end = event
            elif event["type"] == "ExecutionRedriven":
                self._end = None
        return [
            SessionEvent(event["timestamp"], "workflow", event["stateEnteredEventDetails"]["name"])
            for event in new
            if "stateEnteredEventDetails" in event
        ]

    @property
    def ended(self) -> bool:
        """Whether the execution has ended, and was not redriven since."""
        return self._end is not None

    @property
    def end(self) -> dict[str, Any]:
        """How it ended: status, and error and cause if it has them."""
        how = self._end["type"]
        status = "TIMED_OUT" if how == "ExecutionTimedOut" else how.removeprefix("Execution").upper()
        return {"status": status, **self._end.get(ENDS[how], {})}

    @property
    def seconds(self) -> float:
        return float((self._end["timestamp"] - self._first["timestamp"]).total_seconds())


def _moment(timestamp: str) -> datetime:
    return moment(timestamp, otherwise=datetime.now(UTC))

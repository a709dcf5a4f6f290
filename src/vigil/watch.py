"""What happens in a session, as it happens: workflow states, session status and work phases in one stream."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

from vigil.deployment import Deployment, aws_errors
from vigil.errors import AwsUnavailable, SessionNotFound, WorkflowEnded
from vigil.session import Session, Status, Usage, check_session_id

APPEAR_SECONDS = 30.0
"""How long an event may take to become a session before we look for what went wrong."""
END_SECONDS = 30.0
_RECENT_EXECUTIONS = 25


@dataclass(frozen=True)
class Moment:
    """Something that happened: ``kind`` is workflow, session, phase or progress; ``text`` is for a person."""

    at: datetime
    kind: str
    text: str


@dataclass(frozen=True)
class Outcome:
    """How a session ended."""

    session_id: str
    completed: bool
    code: str | None
    message: str | None
    execution_arn: str | None
    seconds: float
    usage: Usage | None = None


def watch(deployment: Deployment, session_id: str, poll_seconds: float = 0.3) -> Iterator[Moment | Outcome]:
    """Yield what happens in the session until its workflow has ended; an Outcome comes last.

    Raises SessionNotFound if the event became no session within APPEAR_SECONDS.
    """
    check_session_id(session_id)
    execution_arn, started = _await_execution(deployment, session_id, poll_seconds)
    last_event, seen_tasks = 0, {}  # type: int, dict[tuple[int, str], str]
    status: str | None = None
    progress: str | None = None
    usage: Usage | None = None
    while True:
        # The execution is asked first: what it did before it ended is then all there to read.
        with aws_errors():
            execution = deployment.stepfunctions.describe_execution(executionArn=execution_arn)
        moments: list[Moment] = []
        session: Session | None = None
        try:
            session = deployment.journal.get(session_id)
            usage = session.usage
            if session.status != status:
                status = session.status
                moments.append(Moment(_moment(session.status_since), "session", status))
            if session.progress and session.progress != progress:
                progress = session.progress
                moments.append(Moment(_moment(session.updated_at or session.start_time), "progress", progress))
            for task in deployment.journal.tasks(session_id):
                key = (task.number, task.name)
                if seen_tasks.get(key) != task.state:
                    if key not in seen_tasks:
                        moments.append(Moment(_moment(task.started_at), "phase", f"{task.name} …"))
                    if task.state != "RUNNING":
                        text = f"{task.name} {task.state.lower()}" + (f": {task.message}" if task.message else "")
                        moments.append(Moment(_moment(task.ended_at or task.started_at), "phase", text))
                    seen_tasks[key] = task.state
        except SessionNotFound:
            pass
        for event in _history_after(deployment, execution_arn, last_event):
            last_event = event["id"]
            if "stateEnteredEventDetails" in event:
                at = event["timestamp"].astimezone(UTC)
                moments.append(Moment(at, "workflow", event["stateEnteredEventDetails"]["name"]))
        yield from sorted(moments, key=lambda moment: moment.at)
        if execution["status"] != "RUNNING":
            ended = execution.get("stopDate") or datetime.now(UTC)
            seconds = (ended.astimezone(UTC) - started).total_seconds()
            yield Outcome(session_id, *how_it_ended(execution, session), execution_arn, seconds, usage)
            return
        time.sleep(poll_seconds)


def how_it_ended(execution: Mapping[str, Any], session: Session | None) -> tuple[bool, str | None, str | None]:
    """Return (completed, code, message) of a session whose execution has ended."""
    if session is not None and session.status == Status.COMPLETED:
        # Whatever happened to its execution after that.
        return True, None, None
    if execution["status"] in ("FAILED", "SUCCEEDED"):
        return execution["status"] == "SUCCEEDED", execution.get("error"), execution.get("cause")
    if session is not None and session.terminal and session.error is not None:
        return False, session.error.code, session.error.message
    # As the reconciler will record it.
    error = WorkflowEnded.of(execution)
    return False, error.code, str(error)


def await_end(deployment: Deployment, session_id: str, poll_seconds: float = 0.3) -> None:
    """Wait until the session's workflow has ended. Raises AwsUnavailable if it goes on for END_SECONDS."""
    execution_arn, _ = _await_execution(deployment, session_id, poll_seconds)
    deadline = time.monotonic() + END_SECONDS
    while True:
        with aws_errors():
            if deployment.stepfunctions.describe_execution(executionArn=execution_arn)["status"] != "RUNNING":
                return
        if time.monotonic() > deadline:
            raise AwsUnavailable(f"still running after {END_SECONDS:.0f} s; `vigil watch {session_id}` shows it")
        time.sleep(poll_seconds)


def _await_execution(deployment: Deployment, session_id: str, poll_seconds: float) -> tuple[str, datetime]:
    deadline = time.monotonic() + APPEAR_SECONDS
    others: set[str] = set()
    while True:
        session: Session | None
        try:
            session = deployment.journal.get(session_id)
        except SessionNotFound:
            session = None
        arn = session.execution_arn if session else None
        if not arn or not arn.startswith(deployment.state_machine_arn.replace(":stateMachine:", ":execution:")):
            # Its record could not be written, or names something else.
            arn = _find_execution(deployment, session_id, others)
        if arn:
            with aws_errors():
                return arn, deployment.stepfunctions.describe_execution(executionArn=arn)["startDate"].astimezone(UTC)
        if time.monotonic() > deadline:
            lost = [event.reason for event in deployment.dead_letters() if event.event_id == session_id]
            why = f"the event lies in the dead-letter queue: {lost[0]}" if lost else "is there such an event?"
            raise SessionNotFound(f"no workflow took up session {session_id} within {APPEAR_SECONDS:.0f} s; {why}")
        time.sleep(poll_seconds)


def _find_execution(deployment: Deployment, session_id: str, others: set[str]) -> str | None:
    """Return the execution that was started for the session, if its record could not be written.

    ``others`` are executions known to be of other sessions; grows.
    """
    with aws_errors():
        sfn = deployment.stepfunctions
        recent = sfn.list_executions(stateMachineArn=deployment.state_machine_arn, maxResults=_RECENT_EXECUTIONS)
        for arn in (execution["executionArn"] for execution in recent["executions"]):
            if arn in others:
                continue
            if _session_of(sfn.describe_execution(executionArn=arn).get("input", "{}")) == session_id:
                return arn
            others.add(arn)
    return None


def _session_of(given: str) -> object:
    """Return the session id in an execution's input, which anybody with the permission may have written."""
    try:
        data = json.loads(given)
    except (ValueError, RecursionError):
        return None
    return data.get("session_id") if isinstance(data, dict) else None


def _history_after(deployment: Deployment, execution_arn: str, last: int) -> list[Any]:
    """Return the execution's events after the one numbered ``last``, oldest first."""
    with aws_errors():
        # From the newest backwards: a session of hours has thousands of events, and we have seen almost all.
        pages = deployment.stepfunctions.get_paginator("get_execution_history").paginate(
            executionArn=execution_arn, reverseOrder=True, PaginationConfig={"PageSize": 100}
        )
        events = (event for page in pages for event in page["events"])
        return list(takewhile(lambda event: event["id"] > last, events))[::-1]


def _moment(timestamp: str) -> datetime:
    try:
        return datetime.fromisoformat(timestamp).astimezone(UTC)
    except (ValueError, OverflowError):
        # An agent's role may write anything there.
        return datetime.now(UTC)

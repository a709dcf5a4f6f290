"""What a session is: its id, its status, the legal transitions and its record. Pure; calls nothing."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from math import isfinite
from typing import Any

from vigil.attempt import EndedAttempt
from vigil.attributes import as_text, texts_of, whole
from vigil.errors import InvalidDetail, InvalidSessionId, InvalidStatus
from vigil.names import TICK_KEY
from vigil.step import Usage

RECORD_SK = "SESSION"
STEP_SK_PREFIX = "STEP#"
TASK_SK_PREFIX = "TASK#"
ARTIFACT_SK_PREFIX = "ARTIFACT#"
NOTIFIED_SK = "NOTIFIED"
HISTORY_PK_PREFIX = "HISTORY#"
"""Items beside a session's record, under its key, and what sessions keep for those after them, under a series."""
TTL_DAYS = 90

# AgentCore requires 33 characters in a runtimeSessionId; '/' and '#' would break the session's keys.
SESSION_ID_PATTERN = "[A-Za-z0-9-]{33,100}"
SCHEDULED_ID_PREFIX = "vigil-schedule-"  # of the id of a session that the stack's schedule starts
TICK_PATTERN = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"

MAX_DETAIL_BYTES = 64 * 1024
"""Largest event detail that a session takes, in UTF-8: far above any sensible input, far below every limit on the way
(EventBridge entry and Step Functions state 256 KiB)."""
MAX_DETAIL_DEPTH = 200


class Status(StrEnum):
    """A session's status: INITIATED → BUSY → COMPLETED | FAILED, or INITIATED → FAILED."""

    INITIATED = "INITIATED"
    BUSY = "BUSY"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


TERMINAL = (Status.COMPLETED, Status.FAILED)  # statuses of a session that has ended; they never change
ALLOWED_FROM: dict[Status, tuple[Status, ...]] = {
    Status.BUSY: (Status.INITIATED,),
    Status.COMPLETED: (Status.BUSY,),
    Status.FAILED: (Status.INITIATED, Status.BUSY),
}
"""For each status that can be set, the statuses it may follow."""


def check_session_id(value: object) -> str:
    """Return ``value`` if it is a session id, else raise InvalidSessionId."""
    if isinstance(value, str) and re.fullmatch(SESSION_ID_PATTERN, value):
        return value
    shown = repr(value) if len(repr(value)) <= 120 else repr(value)[:117] + "..."
    raise InvalidSessionId(f"session_id must be 33 to 100 letters, digits or '-', not {shown}")


def session_id_of(event_id: object, detail: object) -> object:
    """Return the id of the session that an event starts, which may be invalid: the event's, or that of its tick.

    The schedule may put its event twice, with two ids. Both name the same tick, so the second one finds the session.
    The workflow computes it in the same way.
    """
    tick = detail.get(TICK_KEY) if isinstance(detail, dict) else None
    if isinstance(tick, str) and re.fullmatch(TICK_PATTERN, tick):
        return SCHEDULED_ID_PREFIX + tick.replace(":", "-")
    return event_id


def short_id(session_id: str) -> str:
    """Return what a person calls a session: the beginning of its id, or for a scheduled one the minute of its tick."""
    tick = session_id.removeprefix(SCHEDULED_ID_PREFIX)
    return tick[: len("2026-11-30T07-00")] if tick != session_id else session_id[:8]


def runtime_session_id(session_id: str, attempt: int) -> str:
    """Return the id by which AgentCore knows an attempt: each has a machine of its own.

    So the next attempt starts even if the machine of the one before can be neither reached nor stopped.
    """
    return session_id if attempt == 1 else f"{session_id}-attempt-{attempt}"


def parsed(text: object) -> object:
    """Return the value of ``text`` as JSON; None if it is no text or no JSON."""
    with suppress(ValueError, RecursionError):
        return json.loads(text) if isinstance(text, str) else None
    return None


def executions_of(state_machine_arn: str) -> str:
    """Return how the ARNs of the state machine's executions begin."""
    return state_machine_arn.replace(":stateMachine:", ":execution:") + ":"


def check_detail(value: object) -> dict[str, Any]:
    """Return ``value`` if it can be an event's detail, a JSON object neither long nor deep; raises InvalidDetail."""
    if not isinstance(value, dict):
        raise InvalidDetail(f"detail must be a JSON object, not {type(value).__name__}")
    # Level by level: recursion would fail on deep input.
    level: list[Any] = [value]
    for _ in range(MAX_DETAIL_DEPTH):
        nested = (item for item in level if isinstance(item, dict | list))
        level = [inner for item in nested for inner in (item.values() if isinstance(item, dict) else item)]
        if any(isinstance(item, float) and not isfinite(item) for item in level):
            raise InvalidDetail("detail must be JSON, which has no NaN and no Infinity")
    if level:
        raise InvalidDetail(f"detail is nested deeper than {MAX_DETAIL_DEPTH} levels")
    try:
        size = len(json.dumps(value, ensure_ascii=False).encode())
    except UnicodeEncodeError as error:
        raise InvalidDetail("detail must be text of Unicode, and half a surrogate pair is none") from error
    if size > MAX_DETAIL_BYTES:
        raise InvalidDetail(f"detail is {size} bytes; at most {MAX_DETAIL_BYTES} are allowed")
    return value


def parse_status(value: object) -> Status:
    """Return the Status that ``value`` names in any case, else raise InvalidStatus."""
    try:
        return Status(str(value).upper())
    except ValueError as error:
        raise InvalidStatus(f"status must be one of {', '.join(Status)}, not {value!r}") from error


NO_CHECKPOINT = "none"  # in the place of a checkpoint's key: the session cannot be continued
AGENT_FAILED = "AgentFailed"  # error code of a session that the agent itself declared FAILED


@dataclass(frozen=True)
class Failure:
    """Why a session failed: a code to match on and one line for a person."""

    code: str
    message: str

    @classmethod
    def from_item(cls, item: object) -> "Failure":
        """Build the failure from its attribute of the session record; any other value becomes its message."""
        if isinstance(item, Mapping):
            return cls(**texts_of(cls, item))
        return cls("", as_text(item))


@dataclass(frozen=True)
class Task:
    """A work phase of a session."""

    number: int
    name: str
    state: str
    started_at: str
    ended_at: str | None = None
    message: str | None = None

    @classmethod
    def from_item(cls, item: dict[str, Any]) -> "Task":
        """Build a Task from its table item, which may be malformed; without a number in its key, its number is 0."""
        number, _, name = as_text(item.get("SK")).removeprefix(TASK_SK_PREFIX).partition("#")
        texts = texts_of(cls, item) | {"name": name or number}
        return cls(number=int(number) if re.fullmatch("[0-9]{1,9}", number) else 0, **texts)

    @property
    def outcome(self) -> str:
        """Its state and message, for a person."""
        return self.state.lower() + (f": {self.message}" if self.message else "")

    def ended_with(self, session: "Session") -> "Task":
        """Return the phase as it is once ``session`` has ended, which ends what ran."""
        if self.state != "RUNNING":
            return self
        return replace(self, state=session.status, ended_at=session.ended_at, message="ended with its session")


@dataclass(frozen=True)
class Session:
    """A session record as stored under ``PK=session_id``, ``SK=SESSION``."""

    session_id: str
    status: str  # a Status, or any text in a record that was edited by hand
    start_time: str
    created_at: str
    busy_at: str | None = None
    updated_at: str | None = None
    ended_at: str | None = None
    error: Failure | None = None
    deadline_at: str | None = None
    heartbeat_at: str | None = None  # the agent's last heartbeat, by the agent's clock
    execution_arn: str | None = None
    report_uri: str | None = None
    headline: str | None = None  # of its report, by the agent; None if the agent wrote none
    waiting_for: str | None = None  # why it waits in line for its agent; None if it does not
    progress: str | None = None  # how far the running work phase is, for a person
    expires_at: int | None = None
    usage: Usage | None = None  # None if no language model has answered
    detail: str | None = None  # the event's detail as JSON, numbers to 15 digits; empty if longer than a session takes
    step_count: int | None = None  # how many steps have begun
    steps_done: int | None = None  # how many of them have ended
    attempt: int = 1
    attempts: tuple[EndedAttempt, ...] = ()  # those before, in their order
    checkpoint: str | None = None  # key of the object from which the next attempt continues

    @classmethod
    def from_item(cls, item: dict[str, Any]) -> "Session":
        """Build a Session from its table item, which may be malformed: an agent's role may write to it."""
        error, attempts, texts = item.get("error"), item.get("attempts"), texts_of(cls, item)
        texts["session_id"] = as_text(item.get("PK"))
        texts["waiting_for"] = texts["waiting_for"] or None if item.get("status") == Status.INITIATED else None
        return cls(
            **texts,
            error=Failure.from_item(error) if error else None,
            expires_at=whole(item.get("expires_at")),
            usage=Usage.from_item(item.get("usage")),
            step_count=whole(item.get("step_count")),
            steps_done=whole(item.get("steps_done")),
            attempt=max(whole(item.get("attempt")) or 1, 1),
            attempts=tuple(map(EndedAttempt.from_item, attempts if isinstance(attempts, list) else ())),
        )

    def input(self) -> dict[str, Any]:
        """Return the event's detail, to start another session with; raises InvalidDetail if the record holds none."""
        try:
            detail = check_detail(json.loads(self.detail or ""))
            # With its tick, it would start no other session.
            return {name: value for name, value in detail.items() if name != TICK_KEY}
        except (ValueError, RecursionError, InvalidDetail) as error:
            raise InvalidDetail(f"the record of session {self.session_id} holds no input to repeat") from error

    @property
    def terminal(self) -> bool:
        """Whether the session has ended."""
        return self.status in TERMINAL

    @property
    def ended_by_agent(self) -> bool:
        """Whether the agent itself ended it, by a call that has thereby succeeded."""
        return self.status == Status.COMPLETED or (self.error is not None and self.error.code == AGENT_FAILED)

    @property
    def statuses(self) -> dict[str, str]:
        """Each status that the session has had, in order, with the time when it got it."""
        before: dict[str, str | None] = {Status.INITIATED: self.start_time, Status.BUSY: self.busy_at}
        since = before.get(self.status, self.ended_at) or self.updated_at or self.start_time
        return {**{status: moment for status, moment in before.items() if moment}, self.status: since}

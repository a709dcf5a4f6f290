"""What a session is: its id, its status and the transitions that are legal. Pure; touches nothing."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from vigil.errors import InvalidSessionId, InvalidStatus

RECORD_SK = "SESSION"
TASK_SK_PREFIX = "TASK#"
TTL_DAYS = 90

# AgentCore wants at least 33 characters in a runtimeSessionId; '/' and '#' would leave the session's keys.
SESSION_ID_PATTERN = "[A-Za-z0-9-]{33,100}"


class Status(StrEnum):
    """A session's status: INITIATED → BUSY → COMPLETED | FAILED, or INITIATED → FAILED."""

    INITIATED = "INITIATED"
    BUSY = "BUSY"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"

    @property
    def terminal(self) -> bool:
        """Whether the session has ended; a terminal status never changes."""
        return self in TERMINAL


TERMINAL = (Status.COMPLETED, Status.FAILED)

ALLOWED_FROM: dict[Status, tuple[Status, ...]] = {
    Status.BUSY: (Status.INITIATED,),
    Status.COMPLETED: (Status.BUSY,),
    Status.FAILED: (Status.INITIATED, Status.BUSY),
}
"""For each status that somebody may set, the statuses it may follow."""


def check_session_id(value: object) -> str:
    """Return ``value`` if it is a session id, else raise InvalidSessionId."""
    if isinstance(value, str) and re.fullmatch(SESSION_ID_PATTERN, value):
        return value
    shown = repr(value) if len(repr(value)) <= 120 else repr(value)[:117] + "..."
    raise InvalidSessionId(f"session_id must be 33 to 100 letters, digits or '-', not {shown}")


def parse_status(value: object) -> Status:
    """Return the Status that ``value`` names, else raise InvalidStatus."""
    try:
        return Status(str(value))
    except ValueError as error:
        raise InvalidStatus(f"status must be one of {', '.join(Status)}, not {value!r}") from error


def iso(moment: datetime) -> str:
    """Return ``moment`` as ISO 8601 in UTC with milliseconds, the form of every timestamp in the table."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Failure:
    """Why a session failed: a code to match on and one line for a person."""

    code: str
    message: str


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
        """Build a Task from its table item."""
        _, number, name = item["SK"].split("#", 2)
        return cls(int(number), name, item["state"], item["started_at"], item.get("ended_at"), item.get("message"))


@dataclass(frozen=True)
class Usage:
    """What the model calls of a session have used until it ended."""

    model: str
    """Id of the model that was called last."""
    input_tokens: int
    output_tokens: int
    dollars: Decimal
    price_assumed: bool = False
    """Whether the price of a model is not known, and the dearest one was taken instead."""

    def __str__(self) -> str:
        """Return the usage on one line, for a person."""
        assumed = ", at an assumed price" if self.price_assumed else ""
        return f"{self.input_tokens:,} tokens in, {self.output_tokens:,} out, ${self.dollars:,.2f}{assumed}"

    @classmethod
    def from_item(cls, item: dict[str, Any]) -> "Usage":
        """Build the usage from its attribute of the session record."""
        counts = (int(item["input_tokens"]), int(item["output_tokens"]))
        return cls(item["model"], *counts, item["dollars"], item["price_assumed"])


@dataclass(frozen=True)
class Session:
    """A session record as stored under ``PK=session_id``, ``SK=SESSION``."""

    session_id: str
    status: str
    """A Status; or, in a record that somebody edited by hand, whatever stands there."""
    start_time: str
    created_at: str
    updated_at: str | None = None
    ended_at: str | None = None
    error: Failure | None = None
    deadline_at: str | None = None
    heartbeat_at: str | None = None
    """The agent's last sign of life, by the agent's clock."""
    execution_arn: str | None = None
    report_uri: str | None = None
    progress: str | None = None
    """How far the running work phase is, for a person."""
    expires_at: int | None = None
    usage: Usage | None = None
    """None if no language model has answered."""

    @classmethod
    def from_item(cls, item: dict[str, Any]) -> "Session":
        """Build a Session from its table item."""
        error = item.get("error")
        expires = item.get("expires_at")
        usage = item.get("usage")
        return cls(
            session_id=item["PK"],
            status=item.get("status", ""),
            start_time=item.get("start_time", ""),
            created_at=item.get("created_at", ""),
            updated_at=item.get("updated_at"),
            ended_at=item.get("ended_at"),
            error=Failure(error.get("code", ""), error.get("message", "")) if error else None,
            deadline_at=item.get("deadline_at"),
            heartbeat_at=item.get("heartbeat_at"),
            execution_arn=item.get("execution_arn"),
            report_uri=item.get("report_uri"),
            progress=item.get("progress"),
            expires_at=int(expires) if expires is not None else None,
            usage=Usage.from_item(usage) if usage else None,
        )

    @property
    def terminal(self) -> bool:
        """Whether the session has ended."""
        return self.status in TERMINAL

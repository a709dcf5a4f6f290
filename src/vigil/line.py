"""The line in which sessions wait that AWS does not start at once: one item of the table, and a ticket each.

Tickets are numbered. The item says when which number has its turn, and how long after it each next one. The workflow
hands out tickets, and moves the line when a session is refused. The invoker sends who comes first to the end of a line
in which others wait, and lets a line that was slowed down go faster again.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

LINE = "LINE"
"""Key of the item. No session id is as short."""
MOVE = "SET #at = :at, #number = :number, #step = :step"
UNMOVED = "attribute_not_exists(#at) OR #at = :seen OR #at > :latest OR NOT attribute_type(#at, :n)"
MOVED = {"#at": "at", "#number": "number", "#step": "step"}
"""How the line is moved, unless it has moved since it was seen."""
LATEST = 600_000
"""The line is never moved so many milliseconds ahead. An item that says so is damaged."""
LOAD = 0.95
"""Share of the starts that AgentCore allows which the line makes use of."""
SLOWER, FASTER = 1.25, 0.8
"""What a refusal makes of the time between two turns; and what AFTER turns, or RECOVERY, without a refusal do."""
AFTER, RECOVERY = 25, 10_000
LATE = 2000
"""So many milliseconds after its turn a session is late: those behind it would come all at once with it."""
AHEAD = 25
"""Tickets before that of the session that begins a line."""
LONGEST_STEP, LONGEST_PAUSE = 10_000, 300_000
LONGEST_LINE = 100_000 * LONGEST_STEP
"""The last turn is never so many milliseconds ahead. An item that says so is damaged."""
SELDOM = 90_000
"""Sessions in a line that was slowed down look no more often, if their turn is later."""


@dataclass(frozen=True)
class Place:
    """A session's ticket and its turn, in milliseconds since 1970; both are 0 if it does not wait."""

    ticket: int
    turn: int
    now: int
    """By the clock of the workflow, by which the turns are: Lambda's may be another."""

    @classmethod
    def from_event(cls, event: object) -> "Place":
        """Read the place from the workflow's event. What is none is the place of a session that comes first."""
        try:
            given = event["line"]  # type: ignore[index]
            # JSON knows no difference between 5 and 5.0.
            return cls(int(given["ticket"]), int(given["turn"]), int(given["now"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            return cls(0, 0, int(1000 * time.time()))


@dataclass(frozen=True)
class _Item:
    issued: int = 0
    """The last ticket."""
    number: int = 0
    """A ticket, and when it has its turn; 0 if nobody has waited yet."""
    at: int = 0
    step: int = 0
    """Milliseconds between two turns."""

    @classmethod
    def of(cls, item: Mapping[str, Any], now: float) -> "_Item":
        """Read the table's item; raises ValueError, ArithmeticError or TypeError if it is damaged."""
        read = cls(**{name: int(item.get(name, 0)) for name in cls.__dataclass_fields__})
        if read.at > now + LATEST or read.step > LONGEST_STEP or read.turn(read.issued) > now + LONGEST_LINE:
            raise ValueError(f"the item of the line is damaged: {read}")
        return read

    def turn(self, ticket: int) -> int:
        return self.at + (ticket - self.number) * self.step


class Line:
    """The line of a stack that may start ``starts_per_second``. Raises botocore's errors, and those of ``_Item``."""

    def __init__(self, table: "Table", starts_per_second: Decimal) -> None:
        self._table = table
        self._shortest = int(1000 / (LOAD * float(starts_per_second)))

    def is_empty(self, now: float) -> bool:
        """Whether nobody waits whose turn is still to come."""
        item = self._read(now)
        if item.step and now - item.at >= RECOVERY:
            # Perhaps nobody comes any more whose turn it is: they were stopped.
            self._recover(item, item.number + int((now - item.at) // item.step), now)
        return item.turn(item.issued) <= now

    def keep_pace(self, ticket: int, now: float) -> None:
        """Keep the line's pace right, now that it is the turn of ``ticket``."""
        item = self._read(now)
        if item.turn(ticket) < now - LATE and ticket > item.number:
            self._move(item, ticket, now, item.step)
        else:
            self._recover(item, ticket, now)

    def _recover(self, item: _Item, ticket: int, now: float) -> None:
        if item.step > self._shortest and (ticket - item.number >= AFTER or now - item.at >= RECOVERY):
            self._move(item, ticket, item.turn(ticket), max(self._shortest, int(item.step * FASTER)))

    def _read(self, now: float) -> _Item:
        read = self._table.get_item(Key={"PK": LINE, "SK": LINE}, ConsistentRead=True)
        return _Item.of(read.get("Item", {}), now)

    def _move(self, seen: _Item, ticket: int, at: float, step: int) -> None:
        """Give ``ticket`` its turn ``at`` that time, unless the line has moved since it was ``seen``."""
        try:
            self._table.update_item(
                Key={"PK": LINE, "SK": LINE},
                UpdateExpression=MOVE,
                ConditionExpression=UNMOVED,
                ExpressionAttributeNames=MOVED,
                ExpressionAttributeValues={
                    **{":at": int(at), ":number": ticket, ":step": step, ":seen": seen.at},
                    **{":latest": int(at) + LATEST, ":n": "N"},
                },
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise

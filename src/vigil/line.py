"""The line in which sessions wait that AWS does not start at once: one item of the table, and a ticket each.

Tickets are numbered. The item holds one number with the time of its turn, and the time between two turns. The workflow
hands out tickets, and moves the line when a session is refused. The invoker sends a new session to the end of the line
if others wait, and speeds up a line that was slowed down.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

LINE = "LINE"  # key of the item. Every session id is longer
MOVE = "SET #at = :at, #number = :number, #step = :step"
UNMOVED = "attribute_not_exists(#at) OR #at = :seen OR #at > :latest OR NOT attribute_type(#at, :n)"
MOVED = {"#at": "at", "#number": "number", "#step": "step"}
"""The update that moves the line, unless it has moved since it was read."""
LATEST = 600_000  # milliseconds. The line is never moved that far ahead; an item that is further ahead is damaged
LOAD = 0.95  # share of the starts allowed by AgentCore that the line uses
SLOWER, FASTER = 1.25, 0.8
"""Factors of the time between two turns: after a refusal, and after AFTER turns or RECOVERY ms without a refusal."""
AFTER, RECOVERY = 25, 10_000
LATE = 2000  # milliseconds after its turn from which a session is late: all behind it would come at the same time
AHEAD = 25  # turns that are kept free before the session that begins a line
LONGEST_STEP, LONGEST_PAUSE = 10_000, 300_000
LONGEST_LINE = 100_000 * LONGEST_STEP  # milliseconds. An item whose last turn is further ahead is damaged
SELDOM = 90_000  # milliseconds between two looks of a session in a line that was slowed down, if its turn is later


@dataclass(frozen=True)
class Place:
    """A session's ticket and its turn, in milliseconds since 1970; both are 0 if it does not wait."""

    ticket: int
    turn: int
    now: int  # by the clock of the workflow, as the turns are: Lambda's clock may differ

    @classmethod
    def from_event(cls, event: object) -> "Place":
        """Read the place from the workflow's event. A malformed place is that of a new session."""
        try:
            place = event["line"]  # type: ignore[index]
            # JSON does not distinguish 5 from 5.0.
            return cls(int(place["ticket"]), int(place["turn"]), int(place["now"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            return cls(0, 0, int(1000 * time.time()))


@dataclass(frozen=True)
class _Item:
    issued: int = 0  # the last ticket
    number: int = 0  # a ticket, and the time of its turn; 0 if no session has waited yet
    at: int = 0
    step: int = 0  # milliseconds between two turns

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
        """Whether no session waits for a turn in the future."""
        item = self._read(now)
        if item.step and now - item.at >= RECOVERY:
            # The sessions whose turn it was may have been stopped.
            self._recover(item, item.number + int((now - item.at) // item.step), now)
        return item.turn(item.issued) <= now

    def keep_pace(self, ticket: int, now: float) -> None:
        """Adjust the line's pace at the turn of ``ticket``."""
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
        """Give ``ticket`` its turn ``at`` that time, unless the line has moved since ``seen`` was read."""
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

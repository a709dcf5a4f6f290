"""The line in which sessions wait that AgentCore does not start at once: one item of the table, and a ticket each.

Tickets are numbered. The item says when which number has its turn, and how long after it each next one. Refusals slow
the line down, and starts without a refusal let it go faster again.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

LINE = "LINE"
"""Key of the item. No session id is as short."""
LOAD = Decimal("0.95")
"""Share of the starts that AgentCore allows which the line makes use of."""
SLOWER, FASTER = Decimal("1.5"), Decimal("0.8")
"""What a refusal makes of the time between two turns, and what AFTER turns without a refusal do."""
AFTER, RECOVERY = 25, 10_000
LATE = 2000
"""So many milliseconds after its turn a session is late: those behind it would come all at once with it."""
LONGEST_STEP, LONGEST_PAUSE = 10_000, 300_000


@dataclass(frozen=True)
class Place:
    """A session's place in line; its turn is in milliseconds since 1970, or 0 if it does not wait."""

    ticket: int = 0
    turn: int = 0
    refusals: int = 0
    code: str = ""
    message: str = ""
    """Why it waits."""

    @classmethod
    def from_event(cls, event: object) -> "Place":
        """Read the place from the workflow's event. What is none is the place of a session that comes first."""
        try:
            given = event["line"]  # type: ignore[index]
            # JSON knows no difference between 5 and 5.0.
            ticket, turn, refusals = (int(given[name]) for name in ("ticket", "turn", "refusals"))
            return cls(ticket, turn, refusals, str(given["code"]), str(given["message"]))
        except (KeyError, TypeError, ValueError):
            return cls()


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
    def of(cls, item: Mapping[str, Any]) -> "_Item":
        return cls(**{name: int(item.get(name, 0)) for name in cls.__dataclass_fields__})

    def turn(self, ticket: int) -> int:
        return self.at + (ticket - self.number) * self.step


class Line:
    """Gives sessions their turns, at the most ``starts_per_second``. Raises botocore's errors."""

    def __init__(
        self,
        table: "Table",
        starts_per_second: Decimal,
        now: Callable[[], float] = lambda: 1000 * time.time(),
    ) -> None:
        self._table = table
        self._shortest = int(1000 / (LOAD * starts_per_second))
        self._now = now

    def is_empty(self) -> bool:
        """Whether nobody waits whose turn is still to come."""
        item = self._read()
        return item.turn(item.issued) <= self._now()

    def join(self, place: Place, code: str, message: str) -> Place:
        """Return a place at the end of the line, taken because of the error ``code``."""
        answer = self._table.update_item(
            Key={"PK": LINE, "SK": LINE},
            UpdateExpression="ADD issued :one",
            ExpressionAttributeValues={":one": 1},
            ReturnValues="ALL_NEW",
        )
        item = _Item.of(answer["Attributes"])
        ticket = item.issued
        if item.turn(ticket) < self._now():
            # Nobody else waits: the line begins here. Many may find so at the same moment, and one of them begins it.
            item = self._move(item, ticket, self._now() + 1000, self._shortest)
        return Place(ticket, item.turn(ticket), place.refusals + 1, code, message)

    def turn(self, ticket: int) -> int:
        """Return when ``ticket`` has its turn. The sessions that come keep the line's pace right."""
        item, now = self._read(), self._now()
        turn = item.turn(ticket)
        if turn < now - LATE and ticket > item.number:
            item = self._move(item, ticket, now, item.step)
        elif (
            turn <= now + 1000
            and (ticket - item.number >= AFTER or now - item.at >= RECOVERY)
            and item.step > self._shortest
        ):
            item = self._move(item, ticket, turn, max(self._shortest, int(item.step * FASTER)))
        turn = item.turn(ticket)
        # A line that was slowed down may go faster again: look twice as often as it would need.
        return int(turn + now) // 2 if item.step > self._shortest and turn > now + 4000 else turn

    def refuse(self, place: Place, code: str, message: str) -> Place:
        """Return the place of a session that AgentCore has refused. If it was its turn, the whole line waits with it.

        Of several that are refused at the same time, one moves the line.
        """
        if not place.ticket:
            return self.join(place, code, message)
        item, now = self._read(), self._now()
        if item.at <= now:
            pause = min(LONGEST_PAUSE, 1000 * 2 ** (place.refusals - 1))
            item = self._move(item, place.ticket, now + pause, min(LONGEST_STEP, int(item.step * SLOWER)))
        turn = max(item.turn(place.ticket), int(now + 1000))
        return replace(place, turn=turn, refusals=place.refusals + 1, code=code, message=message)

    def _read(self) -> _Item:
        return _Item.of(self._table.get_item(Key={"PK": LINE, "SK": LINE}, ConsistentRead=True).get("Item", {}))

    def _move(self, seen: _Item, ticket: int, at: float, step: int) -> _Item:
        """Give ``ticket`` its turn ``at`` that time, unless the line has moved since it was ``seen``."""
        try:
            answer = self._table.update_item(
                Key={"PK": LINE, "SK": LINE},
                UpdateExpression="SET #at = :at, #number = :number, #step = :step",
                ConditionExpression="attribute_not_exists(#at) OR #at = :seen",
                ExpressionAttributeNames={"#at": "at", "#number": "number", "#step": "step"},
                ExpressionAttributeValues={":at": int(at), ":number": ticket, ":step": step, ":seen": seen.at},
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return self._read()
        return _Item.of(answer["Attributes"])

"""When a schedule of EventBridge Scheduler runs: its expression, read as AWS documents it."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from vigil.errors import InvalidInput
from vigil.names import TICK_KEY
from vigil.session import parsed


@dataclass(frozen=True)
class Schedule:
    """The stack's schedule, as EventBridge Scheduler describes it."""

    expression: str
    timezone: str
    detail: str  # the agent's input as JSON
    state: str  # ENABLED or DISABLED
    created_at: datetime

    @classmethod
    def from_response(cls, found: Mapping[str, Any]) -> "Schedule":
        """Build it from the answer of GetSchedule."""
        text = found["Target"].get("Input", "")
        if isinstance(detail := parsed(text), dict):
            text = json.dumps({name: value for name, value in detail.items() if name != TICK_KEY})
        zone = found.get("ScheduleExpressionTimezone", "UTC")
        return cls(found["ScheduleExpression"], zone, text, found["State"], found["CreationDate"])

    def next(self, number: int, after: datetime) -> list[datetime]:
        """Return its next ``number`` runs, in its time zone; none while it is disabled. Raises InvalidInput."""
        if self.state != "ENABLED":
            return []
        return [*islice(next_runs(self.expression, self.timezone, self.created_at, after), number)]


def next_runs(expression: str, timezone: str, created: datetime, after: datetime) -> Iterator[datetime]:
    """Yield in its time zone when a schedule runs after ``after``; raises InvalidInput for what is not understood.

    A rate counts from the creation of the schedule, its first run ("Schedule types", EventBridge Scheduler User Guide).
    """
    try:
        zone = ZoneInfo(timezone)
    except (ValueError, KeyError, OSError) as error:
        raise InvalidInput(f"the time zone {timezone!r} is not known here") from error
    kind, _, text = expression.removesuffix(")").partition("(")
    created = created.astimezone(UTC)  # in a zone, a sum would follow its clocks
    try:
        if kind == "rate":
            value, unit = text.split()
            every = timedelta(**{unit.removesuffix("s") + "s": int(value)})
            first = max((after - created) // every + 1, 0)
            runs: Iterator[datetime] = (created + every * number for number in count(first))
        else:
            runs = _cron_runs(text, after.astimezone(zone))
        yield from (run.astimezone(zone) for run in runs)
    except (ValueError, TypeError, ArithmeticError, CronSimError) as error:
        raise InvalidInput(f"{expression[:200]!r} is an expression that is not understood here: {error}") from error


def _cron_runs(text: str, after: datetime) -> Iterator[datetime]:
    """Yield the times of an AWS cron expression: six fields, ``?`` for any day, days of the week from 1, Sunday."""
    minute, hour, day, month, weekday, year = text.replace("?", "*").split()
    weekday = re.sub(r"\bL\b", "7", weekday)  # the last day of a week
    weekday = re.sub(r"(?<![#/])\b[1-7](?=\b|L)", lambda match: str(int(match[0]) - 1), weekday)
    # CronSim counts to 7, which is Sunday once more.
    weekday = re.sub(r"(?<![-#])\b([0-6])/", r"\1-6/", weekday)
    years = _years(year)
    # With a field for seconds, CronSim leaves out a time that the clocks skip, as Scheduler does.
    for moment in CronSim(f"0 {minute} {hour} {day} {month} {weekday}", after):
        if moment.year > max(years):
            return
        # What the clocks show twice, Scheduler runs once.
        if moment.year in years and not moment.fold:
            yield moment.astimezone(UTC)


def _years(text: str) -> set[int]:
    years: set[int] = set()
    for part in text.split(","):
        bounds, _, step = part.partition("/")
        first, _, last = bounds.replace("*", "1970-2199").partition("-")
        end = int(last or (2199 if step else first))
        years.update(range(int(first), min(end, 2199) + 1, int(step or 1)))
    return years

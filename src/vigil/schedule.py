"""When a schedule of EventBridge Scheduler runs: its expression, read as AWS documents it."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
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
        try:
            zone = ZoneInfo(self.timezone)
        except (ValueError, KeyError, OSError) as error:
            raise InvalidInput(f"the time zone {self.timezone!r} is not known here") from error
        runs = islice(next_runs(self.expression, zone, self.created_at, after), number)
        return [run.astimezone(zone) for run in runs]


def next_runs(expression: str, zone: tzinfo, created: datetime, after: datetime) -> Iterator[datetime]:
    """Yield in UTC when a schedule runs after ``after``; raises InvalidInput for an expression that is not understood.

    A rate counts from the creation of the schedule, its first run ("Schedule types", EventBridge Scheduler User Guide).
    """
    kind, _, text = expression.removesuffix(")").partition("(")
    created = created.astimezone(UTC)  # in a zone, a sum would follow its clocks
    try:
        if kind == "rate":
            value, unit = text.split()
            every = timedelta(**{unit.removesuffix("s") + "s": int(value)})
            first = max((after - created) // every + 1, 0)
            yield from (created + every * number for number in count(first))
        else:
            yield from _cron_runs(text, after.astimezone(zone))
    except (ValueError, TypeError, CronSimError) as error:
        raise InvalidInput(f"{expression[:200]!r} is an expression that is not understood here: {error}") from error


def _cron_runs(text: str, after: datetime) -> Iterator[datetime]:
    """Yield the times of an AWS cron expression: six fields, ``?`` for any day, days of the week from 1, Sunday."""
    minute, hour, day, month, weekday, year = text.replace("?", "*").split()
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
        years.update(range(int(first), int(last or (2199 if step else first)) + 1, int(step or 1)))
    return years

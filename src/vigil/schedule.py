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
from vigil.session import check_detail, parsed


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


def check_input(text: str) -> None:
    """Raise InvalidInput unless ``text`` can be the detail of the schedule's events."""
    if not isinstance(detail := parsed(text), dict):
        raise InvalidInput(f"the schedule's detail must be a JSON object in one line, not {text[:200]!r}")
    check_detail(detail)


def check_expression(expression: str, timezone: str) -> None:
    """Raise InvalidInput unless it can be computed when ``expression`` runs next."""
    # 256 characters are what AWS takes ("CreateSchedule", EventBridge Scheduler API Reference), of a time zone 50.
    if not re.fullmatch(r"(rate|cron)\(.{1,250}\)", expression):
        raise InvalidInput(f"the schedule must be rate(...) or cron(...), not {expression[:200]!r}")
    if len(timezone) > 50:
        raise InvalidInput(f"the time zone must have at most 50 characters, not {timezone[:50]!r}...")
    now = datetime.now(UTC)
    next(next_runs(expression, timezone, now, now), None)


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
            runs = _cron_runs(text, zone, after)
        yield from (run.astimezone(zone) for run in runs)
    except (ValueError, TypeError, ArithmeticError, CronSimError) as error:
        raise InvalidInput(f"{expression[:200]!r} is an expression that is not understood here: {error}") from error


def _cron_runs(text: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Yield the times of an AWS cron expression: six fields, ``?`` for any day, days of the week from 1, Sunday."""
    minute, hour, day, month, weekday, year = text.upper().replace("?", "*").split()
    # CronSim steps by whole hours, and some zones change their clocks by 30 minutes: it counts without a zone.
    shown = after.astimezone(zone).replace(tzinfo=None)

    def runs(day: str, month: str, after: datetime) -> CronSim:
        return CronSim(f"0 {minute} {hour} {day} {month} {_weekday(weekday)}", after)

    for part in ((day, "*"), ("*", month)):
        runs(*part, shown)  # raises for what it does not understand
    try:
        following = runs(day, month, shown)
    except CronSimError as error:
        raise InvalidInput(f"'cron({text[:200]})' never runs: its months have no such day") from error
    years = _years(year)
    while (local := next(following, None)) is not None:
        if local.year in years:
            # Scheduler leaves out a time that the clocks skip, and runs once what they show twice: here the first time.
            moment = local.replace(tzinfo=zone).astimezone(UTC)
            if moment > after and moment.astimezone(zone).replace(tzinfo=None) == local:
                yield moment
        elif later := [year for year in years if year > local.year]:
            following = runs(day, month, datetime(min(later), 1, 1) - timedelta(seconds=1))  # noqa: DTZ001
        else:
            return


def _weekday(text: str) -> str:
    """Return the days of the week as CronSim counts them: from 0."""
    for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), start=1):
        text = text.replace(name, str(number))
    text = re.sub(r"\b0+(?=\d)", "", text)
    text = re.sub(r"\bL\b", "7", text)  # the last day of a week
    text = re.sub(r"(?<![#/])\b[0-7](?=\b|L)", lambda match: str(int(match[0]) - 1), text)
    # CronSim counts to 7, which is Sunday once more.
    steps = re.compile(r"(?<![-#])\b([0-6])/(\d+)")
    return steps.sub(lambda match: ",".join(map(str, range(int(match[1]), 7, int(match[2])))), text)


def _years(text: str) -> set[int]:
    years: set[int] = set()
    for part in text.split(","):
        bounds, _, step = part.partition("/")
        first, _, last = bounds.replace("*", "1970-2199").partition("-")
        end = int(last or (2199 if step else first))
        if not (found := range(int(first), min(end, 2199) + 1, int(step or 1))):
            raise ValueError("Bad year")
        years.update(found)
    return years

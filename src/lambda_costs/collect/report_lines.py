"""REPORT lines: what Lambda logs at the end of every invocation, and the only source of billed time and memory used.

A function can print forged lines, but not the metrics: a day with more lines than invocations is dropped.
Limits: forged lines go unnoticed where the real ones expired or were not sampled, and up to two a window otherwise;
each has plausible values.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from itertools import islice, pairwise
from math import ceil, fsum
from typing import Any, NamedTuple

from lambda_costs.collect.inventory import MAX_MEMORY_MB, MAX_TIMEOUT_SECONDS, MIN_MEMORY_MB, Function
from lambda_costs.collect.metrics import Daily

MAX_LINES = 4_000  # lines read of one function by FilterLogEvents. A function with more invocations is sampled

HOURS_APART = 7  # hours by which a slice begins later than the one before: no divisor of 24
RECENT_DAYS = 7  # days with a second slice, since some rules look at each of them
MAX_CALLS = 3_000
"""Calls that read the samples of a region: ten minutes, since AWS answers 5 a second in an account and region
(CloudWatch Logs User Guide, "Quotas"). With more functions to sample, each has fewer slices."""
MIN_SLICES = 8  # of a sample, however many functions are sampled

CROSSING = 2  # invocations of a function that may begin before midnight and end after it, beside 2 % of a day's
CROSSING_SHARE = 0.02

MAX_PAGES = 20  # pages read of one slice: FilterLogEvents may return empty pages

MAX_DURATION_MS = 1000 * MAX_TIMEOUT_SECONDS
MAX_START_MS = 10_000  # longest init (Developer Guide, "Understanding the Lambda execution environment lifecycle")

_NUMBER = r"\d{1,12}(?:\.\d+)?"
_TEXT = re.compile(
    rf"REPORT RequestId: \S+\s+Duration: (?P<durationMs>{_NUMBER}) ms"
    rf"\s+Billed Duration: (?P<billedDurationMs>{_NUMBER}) ms"
    r"\s+Memory Size: (?P<memorySizeMB>\d{1,9}) MB\s+Max Memory Used: (?P<maxMemoryUsedMB>\d{1,9}) MB"
    rf"(?:\s+Init Duration: (?P<initDurationMs>{_NUMBER}) ms)?(?:\s+Restore Duration: {_NUMBER} ms"
    rf"\s+Billed Restore Duration: (?P<billedRestoreDurationMs>{_NUMBER}) ms)?"
    r"(?:.*?\sStatus: (?P<status>\w+))?(?:\s+Error Type: (?P<errorType>[\w.]+))?"
)
"""Its groups have the names of the fields of ``platform.report``."""

Fits = Callable[[int, datetime, datetime], bool]  # whether so many invocations can have ended between two moments

_STREAM = re.compile(r"/([\w-]+)\[[^/]*$")
"""The function in a stream name such as ``2026/11/26/orders[$LATEST]1f2e``; streams of default groups have none."""


class Outcome(StrEnum):
    """How an invocation ended."""

    SUCCESS = "success"
    TIMEOUT = "timeout"
    ERROR = "error"
    OUT_OF_MEMORY = "out of memory"


class ReportLine(NamedTuple):
    """One invocation as Lambda reports it."""

    duration_ms: float
    billed_ms: float
    memory_mb: int
    used_mb: int
    init_ms: float | None  # billed part of a cold start's init phase: all of it since August 2025
    restore_ms: float  # billed part of restoring a SnapStart snapshot
    outcome: Outcome


@dataclass(frozen=True)
class Tally:
    """Totals of several REPORT lines."""

    lines: int
    duration_ms: float
    billed_ms: float
    init_ms: float
    inits: int
    max_used_mb: int
    slowest_ms: float  # the longest duration

    @classmethod
    def of(cls, tallies: Iterable["Tally"]) -> "Tally":
        """Return the sum of ``tallies``."""
        items = list(tallies)
        return cls(
            sum(item.lines for item in items),
            fsum(item.duration_ms for item in items),
            fsum(item.billed_ms for item in items),
            fsum(item.init_ms for item in items),
            sum(item.inits for item in items),
            max((item.max_used_mb for item in items), default=0),
            max((item.slowest_ms for item in items), default=0.0),
        )


class TallyKey(NamedTuple):
    """What all lines of a Tally have in common."""

    day: date
    memory_mb: int  # an alias may run a version whose memory size differs from that of $LATEST
    outcome: Outcome


@dataclass(frozen=True)
class Reports:
    """A function's REPORT lines that the metrics do not contradict."""

    tallies: Mapping[TallyKey, Tally]
    days_dropped: int  # days with more REPORT lines than invocations: some unknown ones are duplicates or forged

    @cached_property
    def all(self) -> Tally:
        """All lines together."""
        return Tally.of(self.tallies.values())

    @cached_property
    def first_day(self) -> date:
        """The first day with lines."""
        return min(key.day for key in self.tallies)

    @cached_property
    def sizes_of_day(self) -> Mapping[date, Mapping[int, Tally]]:
        """The lines of each day, by memory size."""
        found: dict[date, dict[int, list[Tally]]] = {}
        for key, item in self.tallies.items():
            found.setdefault(key.day, {}).setdefault(key.memory_mb, []).append(item)
        return {day: {size: Tally.of(items) for size, items in sizes.items()} for day, sizes in sorted(found.items())}

    @property
    def sizes(self) -> set[int]:
        """The memory sizes of all lines."""
        return {key.memory_mb for key in self.tallies}

    @cached_property
    def logged_days(self) -> frozenset[date]:
        """The days with more lines than invocations that began on the day before can have."""
        return frozenset(
            day for day, sizes in self.sizes_of_day.items() if sum(item.lines for item in sizes.values()) > CROSSING
        )

    def where(self, *, day: date | None = None, memory_mb: int | None = None, outcome: Outcome | None = None) -> Tally:
        """Return the lines of one day, memory size and outcome; None takes all."""
        wanted = (day, memory_mb, outcome)
        return Tally.of(
            item
            for key, item in self.tallies.items()
            if all(value in (None, own) for value, own in zip(wanted, key, strict=True))
        )


def parse_report(message: str) -> ReportLine | None:
    """Return the invocation that a log event reports, as text or as JSON (``platform.report``), else None.

    None also for impossible values: beyond Lambda's limits, billed for less than the duration, or for more than the
    duration and the start. Source: AWS Lambda Developer Guide, "Working with Lambda function logs".
    """
    try:
        values = _fields(message)
        duration, billed = float(values["durationMs"]), float(values["billedDurationMs"])
        memory, used = int(values["memorySizeMB"]), int(values["maxMemoryUsedMB"])
        init = None if values.get("initDurationMs") is None else float(values["initDurationMs"])
        restore = float(values.get("billedRestoreDurationMs", 0))
        ended = outcome(values.get("status"), values.get("errorType"))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None  # an application's own text or JSON
    line = ReportLine(duration, billed, memory, used, init, restore, ended)
    if not _possible(line):
        return None
    return line if init is None else line._replace(init_ms=min(init, max(0.0, billed - duration)))


def _fields(message: str) -> dict[str, Any]:
    """Return the fields of a report under their names in ``platform.report``; none of any other message."""
    if not message.startswith("{"):
        match = _TEXT.match(message)
        return {name: text for name, text in match.groupdict().items() if text is not None} if match else {}
    event = json.loads(message)
    if event["type"] != "platform.report":
        return {}
    record = event["record"]
    return {**record["metrics"], "status": record.get("status"), "errorType": record.get("errorType")}


def _possible(line: ReportLine) -> bool:
    # False for NaN, too, which Python's json accepts as a number.
    start = (line.init_ms or 0.0) + line.restore_ms
    return (
        0 <= line.duration_ms <= MAX_DURATION_MS
        and 0 <= (line.init_ms or 0.0) <= MAX_DURATION_MS
        and line.restore_ms >= 0
        # Billed time is rounded up to a millisecond, and the line shows hundredths of one.
        and line.duration_ms - 0.01 <= line.billed_ms <= line.duration_ms + min(start, MAX_START_MS) + 1.02
        and MIN_MEMORY_MB <= line.memory_mb <= MAX_MEMORY_MB
        # A line that ran out of memory may show slightly more than the memory size.
        and 0 <= line.used_mb <= 1.02 * line.memory_mb
    )


def outcome(status: str | None, error: str | None) -> Outcome:
    """Return the outcome for a line's status and error type; a successful line in text has no status."""
    if error == "Runtime.OutOfMemory":
        return Outcome.OUT_OF_MEMORY
    if status in (None, "", "success"):
        return Outcome.SUCCESS
    return Outcome.TIMEOUT if status == "timeout" else Outcome.ERROR


def is_sampled(invocations: float) -> bool:
    """Return whether a function with so many ``invocations`` in the window has too many lines to read each."""
    return invocations > MAX_LINES


def slices(start: datetime, end: datetime, functions: int) -> Sequence[datetime]:
    """Return when the slices of a sample in [start, end) begin if ``functions`` are sampled.

    On each day, at another hour each time, so that all hours are seen. With many functions, days are left out.
    """
    days, most = (end - start).days, max(MIN_SLICES, MAX_CALLS // max(1, functions))
    step = max(1, ceil(days / most))
    step += step % 7 == 0  # so that all days of the week are seen
    begins = {start}
    for index, ago in enumerate(range(1, days + 1, step)):
        hours = {HOURS_APART * index % 24}
        if ago <= RECENT_DAYS and most >= days + RECENT_DAYS:
            hours.add((HOURS_APART * index + 12) % 24)
        begins |= {end + timedelta(hours=hour, days=-ago) for hour in hours}
    return sorted(begins)


def read_lines(
    logs: Any, function: Function, begins: Sequence[datetime], end: datetime, fits: Fits | None = None
) -> dict[TallyKey, Tally]:
    """Return the tallies of the REPORT lines from the first of ``begins`` to ``end``, read one by one.

    Of a sample, which has ``fits``, the first lines of the slice at each of ``begins`` are read. A slice whose lines
    fail ``fits`` is left out: it may consist of forged lines.
    """
    limit = MAX_LINES // len(begins)
    accepted: list[tuple[datetime, ReportLine]] = []
    for begin, until in pairwise([*begins, end]):
        lines = list(_read(logs, function, begin, until, limit))
        if len(lines) < limit or fits is None or _fit(lines, fits):
            accepted += lines
    return tally((moment.date(), line) for moment, line in accepted)


def _fit(lines: list[tuple[datetime, ReportLine]], fits: Fits) -> bool:
    # The metric counts an invocation at its start; its line comes at its end.
    mean = timedelta(milliseconds=fsum(line.duration_ms for _, line in lines) / len(lines))
    return fits(len(lines), lines[0][0] - mean, lines[-1][0])


def _read(
    logs: Any, function: Function, start: datetime, end: datetime, limit: int
) -> Iterator[tuple[datetime, ReportLine]]:
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=function.log_group,
        filterPattern='"platform.report"' if function.json_logs else "REPORT",
        startTime=int(start.timestamp() * 1000),
        endTime=int(end.timestamp() * 1000) - 1,  # inclusive
        limit=limit,
    )
    seen: set[tuple[int, str]] = set()
    found = 0
    for page in islice(pages, MAX_PAGES):
        for event in page["events"]:
            # An event may be delivered twice; two invocations differ in their request or in their time.
            identity = (event["timestamp"], event["message"])
            if identity in seen or not _is_own(event, function):
                continue
            seen.add(identity)
            if line := parse_report(event["message"]):
                found += 1
                yield datetime.fromtimestamp(event["timestamp"] / 1000, UTC), line
                if found == limit:
                    return


def _is_own(event: dict[str, Any], function: Function) -> bool:
    # Functions may share a custom log group, whose stream names contain the function's name.
    named = _STREAM.search(event["logStreamName"])
    return named[1] == function.name if named else function.uses_default_log_group


def tally(lines: Iterable[tuple[date, ReportLine]]) -> dict[TallyKey, Tally]:
    """Return the tallies of (day, line) pairs by day, memory size and outcome."""
    groups: dict[TallyKey, list[Tally]] = {}
    for day, line in lines:
        cold = int(line.init_ms is not None)
        one = Tally(
            1, line.duration_ms, line.billed_ms, line.init_ms or 0, cold, line.used_mb, slowest_ms=line.duration_ms
        )
        groups.setdefault(TallyKey(day, line.memory_mb, line.outcome), []).append(one)
    return {key: Tally.of(group) for key, group in sorted(groups.items())}


def reconcile(tallies: Mapping[TallyKey, Tally], invocations: Daily) -> Reports | None:
    """Return ``tallies`` without the days that have more lines than invocations; None if nothing is left."""
    lines: dict[date, int] = {}
    for key, item in tallies.items():
        # A day without a datapoint is one that CloudWatch does not show: a function that does not run prints nothing.
        if key.day in invocations.by_day:
            lines[key.day] = lines.get(key.day, 0) + item.lines
    calls = {day: invocations.by_day[day] for day in lines}
    # The metric counts an invocation at its start; its line comes at its end. Around midnight these may be different
    # days, but in total there are no more lines than invocations.
    strict = sum(lines.values()) > sum(calls.values()) + CROSSING
    more, extra = (0.0, 0) if strict else (CROSSING_SHARE, CROSSING)
    dropped = {day for day, count in lines.items() if count > (1 + more) * calls[day] + extra}
    kept = {key: item for key, item in tallies.items() if key.day not in dropped}
    return Reports(kept, len(dropped)) if kept else None

"""REPORT lines: what Lambda logs at the end of every invocation, and the only source of billed time and memory used.

A function can print what looks like one, so they are reconciled with what nobody can forge: the metrics. Of a time with
more lines than invocations, no line is believed. A function can still forge lines in the place of its own that are not
read, since they have expired or a sample leaves them out, and two more; each within the limits of what a line can say.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from itertools import islice
from math import fsum
from typing import Any, NamedTuple

from lambda_costs.collect.inventory import Function
from lambda_costs.collect.metrics import Daily

MAX_LINES = 4_000
"""REPORT lines read of one function by filtering. A function with more invocations is sampled."""

SLICES = 4
"""Parts of the window that a sample is read from, so that it does not see the window's beginning only."""

MAX_PAGES = 20
"""Pages read of one slice: FilterLogEvents may return empty ones while it scans what does not match."""

MAX_DURATION_MS = 900_000
MAX_START_MS = 10_000
"""The longest time-out, and the longest that Lambda lets a function start (Developer Guide, "Lambda quotas" and
"Understanding the Lambda execution environment lifecycle")."""
MIN_MEMORY_MB, MAX_MEMORY_MB = 128, 10_240

_NUMBER = r"\d{1,12}(?:\.\d+)?"
_TEXT = re.compile(
    rf"REPORT RequestId: \S+\s+Duration: (?P<duration>{_NUMBER}) ms\s+Billed Duration: (?P<billed>{_NUMBER}) ms"
    r"\s+Memory Size: (?P<memory>\d{1,9}) MB\s+Max Memory Used: (?P<used>\d{1,9}) MB"
    rf"(?:\s+Init Duration: (?P<init>{_NUMBER}) ms)?"
    rf"(?:\s+Restore Duration: {_NUMBER} ms\s+Billed Restore Duration: (?P<restore>{_NUMBER}) ms)?"
    r"(?:.*?\sStatus: (?P<status>\w+))?(?:\s+Error Type: (?P<error>[\w.]+))?"
)


Fits = Callable[[int, datetime, datetime], bool]
"""Whether so many invocations can have ended between two moments."""


_STREAM = re.compile(r"/([\w-]+)\[[^/]*$")
"""The name of a log stream such as ``2026/11/26/orders[$LATEST]1f2e``; by default it has no function in it."""


class Outcome(StrEnum):
    """How an invocation ended, as its REPORT line tells."""

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
    init_ms: float | None
    """Billed part of the initialisation, of a cold start: all of it since August 2025."""
    restore_ms: float
    """Billed part of restoring a SnapStart snapshot."""
    outcome: Outcome


@dataclass(frozen=True)
class Tally:
    """REPORT lines together: of one day, memory size and outcome, or of several."""

    lines: int
    duration_ms: float
    billed_ms: float
    init_ms: float
    inits: int
    max_used_mb: int

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
        )


class Key(NamedTuple):
    """What the lines of a Tally have in common."""

    day: date
    memory_mb: int
    """An alias may run a version that is configured unlike $LATEST."""
    outcome: Outcome


@dataclass(frozen=True)
class Reports:
    """What a function's REPORT lines say, as far as the metrics allow it to be true."""

    tallies: Mapping[Key, Tally]
    days_dropped: int
    """Days with more REPORT lines than invocations: some of these are doubled or forged, and nothing tells which."""

    @cached_property
    def all(self) -> Tally:
        """All lines together."""
        return Tally.of(self.tallies.values())

    @cached_property
    def first_day(self) -> date:
        """The first day with lines."""
        return min(key.day for key in self.tallies)

    @cached_property
    def days_of_size(self) -> Mapping[int, frozenset[date]]:
        """By memory size, the days of which all lines report that one."""
        sizes: dict[date, set[int]] = {}
        for key in self.tallies:
            sizes.setdefault(key.day, set()).add(key.memory_mb)
        pure = {day: next(iter(seen)) for day, seen in sizes.items() if len(seen) == 1}
        return {
            size: frozenset(day for day, only in pure.items() if only == size) for size in sorted(set(pure.values()))
        }

    def where(self, *, days: frozenset[date] | None = None, outcome: Outcome | None = None) -> Tally:
        """Return the lines of ``days`` with ``outcome``; None takes all."""
        return Tally.of(
            tally
            for key, tally in self.tallies.items()
            if (days is None or key.day in days) and (outcome is None or key.outcome == outcome)
        )


def parse_report(message: str) -> ReportLine | None:
    """Return the invocation that a log event reports, as text or as JSON (``platform.report``).

    None if it is neither, or says what cannot be: more than Lambda's limits allow, billed for less than it took, or for
    more than that and its start. Source: AWS Lambda Developer Guide, "Working with Lambda function logs".
    """
    line = _parse_json(message) if message.startswith("{") else _parse_text(message)
    if line is None or not _possible(line):
        return None
    if line.init_ms is None:
        return line
    return line._replace(init_ms=min(line.init_ms, max(0.0, line.billed_ms - line.duration_ms)))


def _possible(line: ReportLine) -> bool:
    # Not true of NaN either, which Python's json takes for a number.
    start = (line.init_ms or 0.0) + line.restore_ms
    return (
        0 <= line.duration_ms <= MAX_DURATION_MS
        and 0 <= (line.init_ms or 0.0) <= MAX_DURATION_MS
        and line.restore_ms >= 0
        # Billed time is rounded up to a millisecond, and the line shows hundredths of one.
        and line.duration_ms - 0.01 <= line.billed_ms <= line.duration_ms + min(start, MAX_START_MS) + 1.02
        and MIN_MEMORY_MB <= line.memory_mb <= MAX_MEMORY_MB
        # What ran out of memory may show a little more than there was.
        and 0 <= line.used_mb <= 1.02 * line.memory_mb
    )


def _parse_text(message: str) -> ReportLine | None:
    match = _TEXT.match(message)
    if match is None:
        return None
    init = match["init"]
    return ReportLine(
        float(match["duration"]),
        float(match["billed"]),
        int(match["memory"]),
        int(match["used"]),
        float(init) if init else None,
        float(match["restore"] or 0),
        outcome(match["status"], match["error"]),
    )


def outcome(status: str | None, error: str | None) -> Outcome:
    """Return the outcome that a REPORT line tells by its status and error type; success has no status in text."""
    if error == "Runtime.OutOfMemory":
        return Outcome.OUT_OF_MEMORY
    if status in (None, "", "success"):
        return Outcome.SUCCESS
    return Outcome.TIMEOUT if status == "timeout" else Outcome.ERROR


def _parse_json(message: str) -> ReportLine | None:
    try:
        event = json.loads(message)
        if event["type"] != "platform.report":
            return None
        record = event["record"]
        metrics = record["metrics"]
        init = metrics.get("initDurationMs")
        return ReportLine(
            float(metrics["durationMs"]),
            float(metrics["billedDurationMs"]),
            int(metrics["memorySizeMB"]),
            int(metrics["maxMemoryUsedMB"]),
            None if init is None else float(init),
            float(metrics.get("billedRestoreDurationMs", 0)),
            outcome(record.get("status"), record.get("errorType")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None  # an application's own JSON


def read_lines(
    logs: Any, function: Function, start: datetime, end: datetime, invocations: float, fits: Fits
) -> dict[Key, Tally]:
    """Return what the REPORT lines in [start, end) say, read one by one.

    ``invocations`` of the window decide whether to read all lines or a sample of every part of it. A part of which the
    sample is not believed, as ``fits`` says, is left out: forged lines may have filled it.
    """
    slices = 1 if invocations <= MAX_LINES else SLICES
    width, limit = (end - start) / slices, MAX_LINES // slices
    believed: list[tuple[datetime, ReportLine]] = []
    for index in range(slices):
        lines = list(_read(logs, function, start + index * width, start + (index + 1) * width, limit))
        if len(lines) < limit or slices == 1 or _fit(lines, fits):
            believed += lines
    return tally((moment.date(), line) for moment, line in believed)


def _fit(lines: list[tuple[datetime, ReportLine]], fits: Fits) -> bool:
    # An invocation counts when it starts and reports when it ends.
    mean = timedelta(milliseconds=fsum(line.duration_ms for _, line in lines) / len(lines))
    return fits(len(lines), lines[0][0] - mean, lines[-1][0])


def _read(
    logs: Any, function: Function, start: datetime, end: datetime, limit: int
) -> Iterator[tuple[datetime, ReportLine]]:
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=function.log_group,
        filterPattern='"platform.report"' if function.json_logs else "REPORT",
        startTime=_milliseconds(start),
        endTime=_milliseconds(end) - 1,  # inclusive
        limit=limit,
    )
    seen: set[tuple[int, str]] = set()
    found = 0
    for page in islice(pages, MAX_PAGES):
        for event in page["events"]:
            # Delivered twice, an event is the same twice; two invocations differ in their request, or in their time.
            identity = (event["timestamp"], event["message"])
            if found == limit or identity in seen or not _is_own(event, function):
                continue
            seen.add(identity)
            if line := parse_report(event["message"]):
                found += 1
                yield datetime.fromtimestamp(event["timestamp"] / 1000, UTC), line


def _is_own(event: dict[str, Any], function: Function) -> bool:
    # Functions may share a log group of their choice: a stream of one that has it not by default bears its name.
    named = _STREAM.search(event["logStreamName"])
    return named[1] == function.name if named else own_group(function)


def own_group(function: Function) -> bool:
    """Whether the function writes to the log group that is its own by default; others may have chosen it as well."""
    return function.log_group == f"/aws/lambda/{function.name}"


def tally(lines: Iterable[tuple[date, ReportLine]]) -> dict[Key, Tally]:
    """Return (day, line) pairs added up by day, memory size and outcome."""
    groups: dict[Key, list[ReportLine]] = {}
    for day, line in lines:
        groups.setdefault(Key(day, line.memory_mb, line.outcome), []).append(line)
    return {
        key: Tally(
            len(group),
            fsum(line.duration_ms for line in group),
            fsum(line.billed_ms for line in group),
            fsum(line.init_ms or 0 for line in group),
            sum(line.init_ms is not None for line in group),
            max(line.used_mb for line in group),
        )
        for key, group in sorted(groups.items())
    }


def reconcile(tallies: Mapping[Key, Tally], invocations: Daily) -> Reports | None:
    """Return what ``tallies`` say without the days that have more lines than invocations; None if nothing is left."""
    lines: dict[date, int] = {}
    for key, item in tallies.items():
        lines[key.day] = lines.get(key.day, 0) + item.lines
    calls = {day: invocations.by_day.get(day, 0.0) for day in lines}
    # An invocation counts when it starts and reports when it ends: at midnight a few change the day, but all days
    # together have no more of them.
    strict = sum(lines.values()) > sum(calls.values()) + 2
    doubted = {day for day, count in lines.items() if count > (calls[day] if strict else 2 + 1.02 * calls[day])}
    kept = {key: item for key, item in tallies.items() if key.day not in doubted}
    return Reports(kept, len(doubted)) if kept else None


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)

"""REPORT lines: what Lambda logs at the end of every invocation, and the only source of billed time and memory used."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from math import fsum, isfinite
from typing import Any, NamedTuple

from vigil.costs.inventory import Function

MAX_LINES = 4_000
"""REPORT lines read of one function. A function with more invocations is sampled."""

SLICES = 8
"""Parts of the window that a sample is read from, so that it does not see the window's beginning only."""

MAX_PAGES = 20
"""Pages read of one slice: FilterLogEvents may return empty ones while it scans what does not match."""

_TEXT = re.compile(
    r"REPORT RequestId: \S+\s+Duration: [\d.]+ ms\s+Billed Duration: (?P<billed>\d{1,12}(\.\d+)?) ms"
    r"\s+Memory Size: (?P<memory>\d{1,9}) MB\s+Max Memory Used: (?P<used>\d{1,9}) MB"
    r"(?:\s+Init Duration: (?P<init>\d{1,12}(\.\d+)?) ms)?"
)


class ReportLine(NamedTuple):
    """One invocation as Lambda reports it."""

    billed_ms: float
    memory_mb: int
    used_mb: int
    init_ms: float | None


@dataclass(frozen=True)
class Billed:
    """Billed time of the lines that report one memory size."""

    lines: int
    milliseconds: float


@dataclass(frozen=True)
class Reports:
    """What a function's REPORT lines say together."""

    lines: int
    max_used_mb: int
    """Over all lines, whatever memory size they report."""
    by_memory: Mapping[int, Billed]
    """Keyed by memory size in MB: an alias may run a version that is configured unlike $LATEST."""


def parse_report(message: str) -> ReportLine | None:
    """Return the invocation that a log event reports, as text or as JSON (``platform.report``); None if it is neither.

    Source: AWS Lambda Developer Guide, "Working with Lambda function logs".
    """
    if message.startswith("{"):
        return _parse_json(message)
    match = _TEXT.match(message)
    if match is None:
        return None
    init = match["init"]
    return ReportLine(float(match["billed"]), int(match["memory"]), int(match["used"]), float(init) if init else None)


def _parse_json(message: str) -> ReportLine | None:
    try:
        event = json.loads(message)
        if event["type"] != "platform.report":
            return None
        metrics = event["record"]["metrics"]
        init = metrics.get("initDurationMs")
        line = ReportLine(
            float(metrics["billedDurationMs"]),
            int(metrics["memorySizeMB"]),
            int(metrics["maxMemoryUsedMB"]),
            None if init is None else float(init),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None  # an application's own JSON
    return line if isfinite(line.billed_ms) else None  # Python's json takes NaN and 1e999


def read_reports(logs: Any, function: Function, start: datetime, end: datetime, invocations: float) -> Reports | None:
    """Return what the REPORT lines in [start, end) say, or None if there are none.

    ``invocations`` of the window decide whether to read all lines or a sample of every part of it.
    """
    slices = 1 if invocations <= MAX_LINES else SLICES
    width = (end - start) / slices
    return summarise(
        line
        for index in range(slices)
        for line in _read(logs, function, start + index * width, start + (index + 1) * width, MAX_LINES // slices)
    )


def _read(logs: Any, function: Function, start: datetime, end: datetime, limit: int) -> Iterator[ReportLine]:
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=function.log_group,
        filterPattern='"platform.report"' if function.json_logs else "REPORT",
        startTime=_milliseconds(start),
        endTime=_milliseconds(end) - 1,  # inclusive
        limit=limit,
    )
    events = (event for page in islice(pages, MAX_PAGES) for event in page["events"] if _is_own(event, function))
    lines = (line for event in events if (line := parse_report(event["message"])))
    return islice(lines, limit)


def _is_own(event: dict[str, Any], function: Function) -> bool:
    # Functions may share a log group of their choice; its streams are then named after the function.
    return function.log_group == f"/aws/lambda/{function.name}" or f"/{function.name}[" in event["logStreamName"]


def summarise(lines: Iterable[ReportLine]) -> Reports | None:
    """Return what ``lines`` say together, or None if there are none."""
    billed: dict[int, list[float]] = defaultdict(list)
    max_used_mb = 0
    for line in lines:
        billed[line.memory_mb].append(line.billed_ms)
        max_used_mb = max(max_used_mb, line.used_mb)
    by_memory = {memory: Billed(len(times), fsum(times)) for memory, times in sorted(billed.items())}
    return Reports(sum(item.lines for item in by_memory.values()), max_used_mb, by_memory) if by_memory else None


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)

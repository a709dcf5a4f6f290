"""REPORT lines by CloudWatch Logs Insights: one query adds up the lines of many functions.

The queries follow the CloudWatch Logs User Guide ("Supported logs and discovered fields", "stats", "parse"). They have
not run on AWS; the embedded AWS ignores ``stats``, which its answer shows.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple
from datetime import date, datetime
from math import isfinite
from typing import Any

from lambda_costs.collect.inventory import MAX_MEMORY_MB, MIN_MEMORY_MB, Function
from lambda_costs.collect.report_lines import MAX_DURATION_MS, MAX_START_MS, Tally, TallyKey, outcome

MAX_LOG_GROUPS = 50  # log groups that one query takes (CloudWatch Logs API Reference, StartQuery)
MAX_ROWS = 10_000  # rows that one query returns at most
POLL_SECONDS = 1.0
QUERY_SECONDS = 900.0  # the service allows an hour; a query of so many groups takes seconds


def _query(event: str, numbers: Iterable[str], status: str, error: str, *, megabyte: int = 1, parse: str = "") -> str:
    """Return the query of ``event``, with the condition of ``report_lines._possible``.

    ``numbers``: the fields of duration, billed duration, init, memory and memory used, the last two in parts of a
    ``megabyte``. ``parse`` makes the fields that the event does not have.
    """
    duration, billed, init, memory, used = numbers
    scale = f" / {megabyte}" if megabyte > 1 else ""
    return f"""filter {event} and {duration} >= 0 and {duration} <= {MAX_DURATION_MS}\
 and {billed} >= {duration} and {billed} <= {duration} + {MAX_START_MS + 1}\
 and coalesce({init}, 0) >= 0 and coalesce({init}, 0) <= {MAX_DURATION_MS}\
 and {memory} >= {MIN_MEMORY_MB * megabyte} and {memory} <= {MAX_MEMORY_MB * megabyte}\
 and {used} >= 0 and {used} <= {memory} * 1.02
{parse}| fields {duration} as duration, {billed} as billed, {init} as init, {used}{scale} as used,
 {memory}{scale} as memory, coalesce({status}, "success") as status, coalesce({error}, "none") as error
| stats count(*) as lines, sum(duration) as durations, sum(billed) as billeds, sum(init) as init_sum,
 count(init) as inits, max(used) as most, max(duration) as slowest by @log, memory, bin(1d) as day, status, error
| limit {MAX_ROWS}"""


TEXT_QUERY = _query(
    '@type = "REPORT"',
    ("@duration", "@billedDuration", "@initDuration", "@memorySize", "@maxMemoryUsed"),
    "status_of",
    "error_of",
    megabyte=1_000_000,
    parse="| parse @message /Status: (?<status_of>[a-z]+)/\n| parse @message /Error Type: (?<error_of>[A-Za-z.]+)/\n",
)
_METRICS = ("durationMs", "billedDurationMs", "initDurationMs", "memorySizeMB", "maxMemoryUsedMB")
JSON_QUERY = _query(
    'type = "platform.report"', [f"record.metrics.{name}" for name in _METRICS], "record.status", "record.errorType"
)


class QueryFailed(Exception):
    """The query failed, or the service does not know ``stats``."""


def query_reports(
    logs: Any,
    functions: Sequence[Function],
    start: datetime,
    end: datetime,
    sleep: Callable[[float], None] = time.sleep,
    *,
    again: Callable[[Sequence[Function]], bool] = lambda functions: True,
) -> Mapping[Function, dict[TallyKey, Tally]]:
    """Return the tallies of ``functions`` in [start, end), without those that have too many rows; raises QueryFailed.

    ``functions``: at most MAX_LOG_GROUPS, of one log format, each with its own log group. ``again`` says whether the
    budget allows to scan their logs once more.
    """
    query = JSON_QUERY if functions[0].json_logs else TEXT_QUERY
    # A service that does not know ``stats`` fails here, however many rows it gives.
    rows = [(row.get("@log", ""), *_tally(row)) for row in _run(logs, query, functions, start, end, sleep)]
    if len(rows) >= MAX_ROWS:
        # The answer may be truncated: query fewer functions at once.
        half = len(functions) // 2
        if not half or not again(functions):
            return {}
        return {
            **query_reports(logs, functions[:half], start, end, sleep, again=again),
            **query_reports(logs, functions[half:], start, end, sleep, again=again),
        }
    found: dict[Function, dict[TallyKey, Tally]] = {function: {} for function in functions}
    by_group = {function.log_group: function for function in functions}
    for log, key, tally in rows:
        # @log is "account:group".
        function = by_group.get(log.partition(":")[2])
        if function is None:
            raise QueryFailed("Logs Insights answered about a log group that was not asked for")
        # Rows that differ only in the error type may have the same outcome.
        same = found[function].get(key)
        found[function][key] = Tally.of([same, tally]) if same else tally
    return found


def _tally(row: Mapping[str, str]) -> tuple[TallyKey, Tally]:
    try:
        ended = outcome(row.get("status"), row.get("error"))
        key = TallyKey(date.fromisoformat(row["day"][:10]), round(float(row["memory"])), ended)
        durations, billeds = float(row["durations"]), float(row["billeds"])
        init = min(float(row.get("init_sum") or 0), billeds - durations)  # only the billed part of the init phase
        lines, inits, most = float(row["lines"]), float(row.get("inits") or 0), float(row["most"])
        found = Tally(int(lines), durations, billeds, init, int(inits), round(most), float(row["slowest"]))
        if found.lines < 1 or not all(map(isfinite, astuple(found))):
            raise ValueError("a row without lines, or with a sum that is no number")
        return key, found
    except (KeyError, ValueError, OverflowError) as error:
        raise QueryFailed("Logs Insights does not answer as documented") from error


def _run(
    logs: Any, query: str, functions: Sequence[Function], start: datetime, end: datetime, sleep: Callable[[float], None]
) -> list[dict[str, str]]:
    identifier = logs.start_query(
        logGroupNames=[function.log_group for function in functions],
        startTime=int(start.timestamp()),
        endTime=int(end.timestamp()) - 1,  # inclusive
        queryString=query,
        limit=MAX_ROWS,
    )["queryId"]
    deadline = time.monotonic() + QUERY_SECONDS
    while (answer := logs.get_query_results(queryId=identifier))["status"] in ("Scheduled", "Running"):
        if time.monotonic() > deadline:
            logs.stop_query(queryId=identifier)
            raise QueryFailed(f"Logs Insights took longer than {QUERY_SECONDS:.0f} s")
        sleep(POLL_SECONDS)
    if answer["status"] != "Complete":
        raise QueryFailed(f"a query of Logs Insights ended as {answer['status']}")
    return [{cell["field"]: cell.get("value", "") for cell in row} for row in answer["results"]]

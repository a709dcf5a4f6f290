"""CloudWatch: answers GetMetricData and ListMetrics from what happened.

By the User Guide ("Metrics retention"), periods below five minutes are kept for 15 days, below one hour for 63 days,
all others for 455 days. What has no datapoint is missing from the answer. By the Developer Guide of Lambda ("Types of
metrics"), a metric is dated by when the invocation began.
"""

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain
from statistics import fmean
from typing import Any

from benchmarks.field.account import Account
from benchmarks.field.function import DAY, MONTH, PAST_DAYS, Function, count_on
from benchmarks.field.machine import Run, Status, allocated

MOST_POINTS = 100_800
LAMBDA_LINES = 340
"""Bytes of START, END and REPORT."""

Points = Iterable[tuple[float, float]]
"""(second, value)"""

FAILED = (Status.ERROR, Status.TIMEOUT, Status.OUT_OF_MEMORY)


class Metrics:
    """CloudWatch of one account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._by_name = {("us-east-1." if it.edge else "") + it.name: it for it in account.functions}

    def get_metric_data(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one page."""
        start, end = (self._second(asked[name]) for name in ("StartTime", "EndTime"))
        rows = [
            (query, moment, value)
            for query in asked["MetricDataQueries"]
            for moment, value in self._series(query["MetricStat"], start, end, asked.get("ScanBy"))
        ]
        first = int(asked.get("NextToken", 0))
        last = first + min(MOST_POINTS, asked.get("MaxDatapoints", MOST_POINTS))
        results: dict[str, dict[str, Any]] = {}
        for query in asked["MetricDataQueries"]:
            label = query.get("Label") or query["MetricStat"]["Metric"]["MetricName"]
            results[query["Id"]] = {"Id": query["Id"], "Label": label, "StatusCode": "Complete"}
            results[query["Id"]] |= {"Timestamps": [], "Values": []}
        for query, moment, value in rows[first:last]:
            # botocore gives the time zone of the machine to what CloudWatch answers.
            at = datetime.fromtimestamp(moment + self._account.midnight, UTC).astimezone()
            results[query["Id"]]["Timestamps"].append(at)
            results[query["Id"]]["Values"].append(value)
        for query, _, _ in rows[last:]:
            results[query["Id"]]["StatusCode"] = "PartialData"
        more = {"NextToken": str(last)} if last < len(rows) else {}
        return {"MetricDataResults": list(results.values()), "Messages": [], **more}

    def list_metrics(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Answer which functions have had metrics in the last two weeks."""
        wanted = asked.get("MetricName", "Invocations")
        found = [
            {"Namespace": "AWS/Lambda", "MetricName": wanted, "Dimensions": [{"Name": "FunctionName", "Value": name}]}
            for name, function in self._by_name.items()
            if any(item.at > -14 * DAY for item in self._account.seen(function)[-1:])
        ]
        filters = {item["Name"]: item.get("Value") for item in asked.get("Dimensions", ())}
        name = filters.get("FunctionName")
        metrics = [item for item in found if name in (None, item["Dimensions"][0]["Value"])]
        return {"Metrics": metrics if asked.get("Namespace", "AWS/Lambda") == "AWS/Lambda" else []}

    def _second(self, moment: datetime | str | float) -> float:
        at = moment if isinstance(moment, datetime) else datetime.fromisoformat(str(moment))
        return at.timestamp() - self._account.midnight

    def _series(
        self, asked: Mapping[str, Any], start: float, end: float, order: str | None
    ) -> list[tuple[float, float]]:
        period, stat = asked["Period"], asked["Stat"]
        kept = 15 if period < 300 else 63 if period < 3600 else PAST_DAYS
        # A period begins at a multiple of its length.
        offset = self._account.midnight % period
        start = max(start, self._account.clock - kept * DAY)
        start = math.floor((start + offset) / period) * period - offset
        buckets: dict[float, list[float]] = defaultdict(list)
        metric, day = asked["Metric"], math.floor(start / DAY)
        old = self._long_ago(metric, day, summed=stat == "Sum") if day < -MONTH - 1 else ()
        for at, value in chain(self._points(metric), old):
            if start <= at < end:
                buckets[math.floor((at + offset) / period) * period - offset].append(value)
        rows = sorted((at, _statistic(values, stat)) for at, values in buckets.items())
        return rows if order == "TimestampAscending" else rows[::-1]

    def _points(self, metric: Mapping[str, Any]) -> Points:
        dimensions = {item["Name"]: item["Value"] for item in metric.get("Dimensions", ())}
        match metric["Namespace"]:
            case "AWS/Lambda" if function := self._by_name.get(dimensions.get("FunctionName", "")):
                return self._of_lambda(function, metric["MetricName"], dimensions)
            case "LambdaInsights" if function := self._by_name.get(dimensions.get("function_name", "")):
                return self._of_insights(function, metric["MetricName"]) if function.measured_by_insights else ()
            case "AWS/Logs":
                return self._of_logs(dimensions.get("LogGroupName", ""), metric["MetricName"])
        return ()

    def _of_lambda(self, function: Function, name: str, dimensions: Mapping[str, str]) -> Iterator[tuple[float, float]]:
        resource = dimensions.get("Resource")
        runs: Iterable[Run] = self._account.seen(function)
        if resource is not None:
            alias = resource.partition(":")[2]
            runs = [item for item in runs if item.alias == alias]
        if version := dimensions.get("ExecutedVersion"):
            runs = [item for item in runs if item.second == (version == "2")]
        first, last = function.missing_metrics
        recorded = [item for item in runs if not -first * DAY <= item.at < -last * DAY]
        if name in _EACH:
            for item in recorded:
                if (value := _EACH[name](item)) is not None:
                    yield item.at, value
        elif name in ("ConcurrentExecutions", "ProvisionedConcurrentExecutions", "ProvisionedConcurrencyUtilization"):
            yield from self._concurrency(function, recorded, name, resource)
        elif name == "RecursiveInvocationsDropped" and function.recursion == "dropped":
            yield from ((item.at, 1.0) for item in recorded[::50])

    def _concurrency(self, function: Function, runs: list[Run], name: str, resource: str | None) -> Points:
        configured = {item.alias: item for item in function.provisioned}
        provisioned = name != "ConcurrentExecutions"
        ends: list[float] = []
        for item in runs:
            if provisioned and (not item.provisioned or resource is None):
                continue
            while ends and ends[0] <= item.at:
                heapq.heappop(ends)
            heapq.heappush(ends, item.end)
            value = float(len(ends))
            if name.endswith("Utilization"):
                value /= max(1, allocated(function, configured[item.alias], item.at, self._account.today))
            yield item.at, value

    def _long_ago(self, metric: Mapping[str, Any], first: int, *, summed: bool) -> Iterator[tuple[float, float]]:
        """Yield what is older than the simulated invocations, by the hour; its durations are those of late.

        ``summed``: an hour's values together, since only their sum is asked for.
        """
        dimensions = {item["Name"]: item["Value"] for item in metric.get("Dimensions", ())}
        function = self._by_name.get(dimensions.get("FunctionName", ""))
        if function is None or len(dimensions) > 1 or metric["MetricName"] not in ("Invocations", "Errors", "Duration"):
            return
        done = [item for item in self._account.seen(function) if item.at < 0]
        duration = fmean(item.duration_ms for item in done) if done else 100.0
        errors = sum(item.status in FAILED for item in done) / len(done) if done else 0.0
        value = {"Invocations": 1.0, "Errors": errors, "Duration": duration}[metric["MetricName"]]
        for day in range(max(first, -PAST_DAYS - 1), -MONTH - 1):
            count, told = count_on(function, day, self._account.today), 0
            for hour, share in enumerate(function.arrivals.hours):
                until = max(told, round(count * share)) if hour < 23 else count
                values = [value * (until - told)] if summed and until > told else [value] * (until - told)
                yield from ((day * DAY + hour * 3600.0, it) for it in values)
                told = until

    def _of_insights(self, function: Function, name: str) -> Iterator[tuple[float, float]]:
        values: Mapping[str, Callable[[Run], float]] = {
            # The extension works as well.
            "cpu_total_time": lambda item: 1.04 * item.cpu_ms + 8,
            "used_memory_max": lambda item: item.used_mb,
            "total_memory": lambda item: item.memory_mb,
            "memory_utilization": lambda item: 100 * item.used_mb / item.memory_mb,
            "duration": lambda item: item.duration_ms,
        }
        return ((item.at, values[name](item)) for item in self._account.seen(function) if name in values)

    def _of_logs(self, group: str, name: str) -> Iterator[tuple[float, float]]:
        for function in self._account.functions:
            if (
                function.log_group == group
                and function.group_days >= 0
                and name in ("IncomingBytes", "IncomingLogEvents")
            ):
                for item in self._account.seen(function):
                    if item.at >= -function.group_days * DAY:
                        yield item.at, logged_bytes(function) if name == "IncomingBytes" else 4.0


def logged_bytes(function: Function) -> float:
    """Return what an invocation logs: by the pricing page, each of its events counts for 26 bytes more."""
    return function.log_bytes + LAMBDA_LINES + 4 * 26.0


_EACH: Mapping[str, Callable[[Run], float | None]] = {
    "Invocations": lambda item: 1.0,
    "Errors": lambda item: float(item.status in FAILED),
    "Throttles": lambda item: 0.0,
    "Duration": lambda item: item.duration_ms,
    "ProvisionedConcurrencyInvocations": lambda item: 1.0 if item.provisioned else None,
    "ProvisionedConcurrencySpilloverInvocations": lambda item: 1.0 if item.alias and not item.provisioned else None,
}
"""Lambda's metrics that each invocation adds to; None adds nothing."""


_STATISTICS: Mapping[str, Callable[[list[float]], float]] = {
    "Sum": math.fsum, "Average": fmean, "SampleCount": len, "Minimum": min, "Maximum": max,
}  # fmt: skip


def _statistic(values: list[float], stat: str) -> float:
    if stat in _STATISTICS:
        return float(_STATISTICS[stat](values))
    share = float(stat.removeprefix("p")) / 100
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]

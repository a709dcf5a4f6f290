"""Daily values of CloudWatch metrics. A metric without datapoints is absent from the answer, not zero."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from math import fsum
from typing import Any

from botocore.exceptions import BotoCoreError

MAX_QUERIES = 500  # queries that one GetMetricData call takes (CloudWatch API Reference)
DAY_SECONDS = 86_400
HOUR_SECONDS = 3_600

PERIODS = ((14, 60), (62, 300), (454, 3600))
"""(days, seconds of the finest period that CloudWatch keeps of data up to that old) (CloudWatch User Guide, "Metrics
retention"; a day less, since the hour is not documented)."""


@dataclass(frozen=True)
class Metric:
    """A CloudWatch metric and its statistic; CloudWatch matches dimensions exactly."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    stat: str = "Sum"


@dataclass(frozen=True)
class Daily:
    """A metric's values by day (UTC); days without a datapoint are absent. At least one day."""

    by_day: Mapping[date, float]
    end: date  # the day after the window's last

    @cached_property
    def total(self) -> float:
        """The sum of all days."""
        return fsum(self.by_day.values())

    @cached_property
    def first_day(self) -> date:
        """The first day with a datapoint."""
        return min(self.by_day)

    @cached_property
    def last_use(self) -> date | None:
        """The last day with a value above zero."""
        return max((day for day, value in self.by_day.items() if value > 0), default=None)

    @property
    def longest_pause(self) -> int | None:
        """The most days from one with a value above zero to the next; None if there are not two."""
        used = sorted(day for day, value in self.by_day.items() if value > 0)
        return max(((after - before).days for before, after in pairwise(used)), default=None)

    @property
    def days(self) -> int:
        """Days from the first datapoint to the window's end."""
        return (self.end - self.first_day).days


class PartialData(BotoCoreError):
    """CloudWatch gave only a part of the data of a metric."""

    fmt = "CloudWatch gave only a part of its data"


@dataclass(frozen=True)
class Answer:
    """What CloudWatch answered about some metrics."""

    daily: Mapping[Metric, Daily]
    partial: frozenset[Metric]  # metrics whose data are incomplete; they are not in ``daily``
    refused: str | None = None  # why it did not answer at all

    def unread(self, metrics: Iterable[Metric]) -> str | None:
        """Return why not all of ``metrics`` are known, or None if they are."""
        if self.refused:
            return f"its metrics could not be read: {self.refused}"
        if names := sorted({metric.name for metric in metrics if metric in self.partial}):
            return f"CloudWatch gave only a part of its data: {', '.join(names)}"
        return None


_Days = dict[Metric, dict[date, float] | None]  # the values of each metric by day; None if they are incomplete


def daily_values(cloudwatch: Any, metrics: Sequence[Metric], start: datetime, end: datetime, pool: Executor) -> Answer:
    """Return the values of each of ``metrics`` in [start, end), both midnight UTC; batches are read in parallel."""
    batches = [metrics[first : first + MAX_QUERIES] for first in range(0, len(metrics), MAX_QUERIES)]
    read: _Days = {}
    for batch in pool.map(lambda batch: _by_day(cloudwatch, batch, start, end), batches):
        read |= batch
    daily = {metric: Daily(days, end.date()) for metric, days in read.items() if days}
    return Answer(daily, frozenset(metric for metric, days in read.items() if days is None))


def _by_day(cloudwatch: Any, metrics: Sequence[Metric], start: datetime, end: datetime) -> _Days:
    found = _values(cloudwatch, metrics, start, end, DAY_SECONDS)
    return {
        metric: None if values is None else {moment.date(): value for moment, value in values.items()}
        for metric, values in zip(metrics, found, strict=True)
    }


def fine_values(
    cloudwatch: Any, metrics: Sequence[Metric], start: datetime, end: datetime, seconds: int
) -> list[dict[datetime, float]]:
    """Return the values of each of ``metrics`` in [start, end), by the beginning of periods of ``seconds``.

    Raises PartialData.
    """
    values = [item for item in _values(cloudwatch, metrics, start, end, seconds) if item is not None]
    if len(values) < len(metrics):
        raise PartialData
    return values


def _values(
    cloudwatch: Any, metrics: Sequence[Metric], start: datetime, end: datetime, seconds: int
) -> list[dict[datetime, float] | None]:
    """Return the values of each metric by the beginning of its period, in UTC; None if they are incomplete."""
    queries = [_query(f"m{index}", metric, seconds) for index, metric in enumerate(metrics)]
    values: dict[str, dict[datetime, float]] = {query["Id"]: {} for query in queries}
    # The last page of a metric decides whether it is complete.
    status: dict[str, str] = {}
    paginator = cloudwatch.get_paginator("get_metric_data")
    for page in paginator.paginate(MetricDataQueries=queries, StartTime=start, EndTime=end):
        for result in page["MetricDataResults"]:
            status[result["Id"]] = result.get("StatusCode", "Complete")
            # botocore returns local time if CloudWatch answers in JSON.
            moments = (moment.astimezone(UTC) for moment in result["Timestamps"])
            values[result["Id"]].update(zip(moments, result["Values"], strict=True))
    return [found if status.get(name) == "Complete" else None for name, found in values.items()]


def finest_period(start: datetime, now: datetime) -> int:
    """Return the seconds of the finest period that CloudWatch keeps of data since ``start``."""
    return next(seconds for days, seconds in PERIODS if now - start <= timedelta(days=days))


def _query(identifier: str, metric: Metric, seconds: int) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in metric.dimensions]
    named = {"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions}
    return {"Id": identifier, "MetricStat": {"Metric": named, "Period": seconds, "Stat": metric.stat}}


def lambda_metric(name: str, function: str, stat: str = "Sum", qualifier: str | None = None) -> Metric:
    """Return a metric of a function, or of one of its aliases or versions."""
    resource = (("Resource", f"{function}:{qualifier}"),) if qualifier else ()
    return Metric("AWS/Lambda", name, (("FunctionName", function), *resource), stat)

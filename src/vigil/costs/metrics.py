"""Daily sums of CloudWatch metrics. A metric without datapoints is absent from the answer, not zero."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from math import fsum
from typing import Any

MAX_QUERIES = 500
"""Queries that one GetMetricData call takes (CloudWatch API Reference)."""

DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Metric:
    """One CloudWatch metric: CloudWatch matches its dimensions exactly."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Observed:
    """What a metric added up to, from the first day with a datapoint to the window's end."""

    total: float
    first_day: date
    end: date

    @property
    def days(self) -> int:
        """Days from the first datapoint to the window's end."""
        return (self.end - self.first_day).days


def daily_sums(cloudwatch: Any, metrics: Sequence[Metric], start: datetime, end: datetime) -> dict[Metric, Observed]:
    """Return what each of ``metrics`` added up to in [start, end), both midnight UTC."""
    days: dict[Metric, list[tuple[datetime, float]]] = defaultdict(list)
    paginator = cloudwatch.get_paginator("get_metric_data")
    for first in range(0, len(metrics), MAX_QUERIES):
        batch = {f"m{index}": metric for index, metric in enumerate(metrics[first : first + MAX_QUERIES])}
        queries = [_query(identifier, metric) for identifier, metric in batch.items()]
        for page in paginator.paginate(MetricDataQueries=queries, StartTime=start, EndTime=end):
            for result in page["MetricDataResults"]:
                days[batch[result["Id"]]] += zip(result["Timestamps"], result["Values"], strict=True)
    return {
        metric: Observed(fsum(value for _, value in points), min(day for day, _ in points).date(), end.date())
        for metric, points in days.items()
        if points
    }


def _query(identifier: str, metric: Metric) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in metric.dimensions]
    return {
        "Id": identifier,
        "MetricStat": {
            "Metric": {"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions},
            "Period": DAY_SECONDS,
            "Stat": "Sum",
        },
    }

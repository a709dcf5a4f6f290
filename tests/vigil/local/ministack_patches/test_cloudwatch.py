"""CloudWatch: how long metrics are kept, and which values a query gets."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from vigil.local.stack import LocalStack


def metric(name: str, function: str) -> Any:
    return {"MetricName": name, "Dimensions": [{"Name": "FunctionName", "Value": function}]}


def test_daily_metrics_are_kept_for_more_than_two_weeks(embedded: LocalStack) -> None:
    cloudwatch = embedded.client("cloudwatch")
    then = datetime.now(UTC) - timedelta(days=89)
    old = metric("Invocations", "old")
    cloudwatch.put_metric_data(Namespace="AWS/Lambda", MetricData=[{**old, "Timestamp": then, "Value": 7}])
    window = {"StartTime": then - timedelta(days=1), "EndTime": datetime.now(UTC), "Period": 86_400}
    answer = cloudwatch.get_metric_statistics(Namespace="AWS/Lambda", **old, **window, Statistics=["Sum"])
    assert [point["Sum"] for point in answer["Datapoints"]] == [7]


def test_each_query_of_metrics_gets_its_own_values(embedded: LocalStack) -> None:
    cloudwatch = embedded.client("cloudwatch")
    now, daily = datetime.now(UTC).replace(microsecond=0), {"Period": 86_400, "Stat": "Sum"}
    functions = [uuid.uuid4().hex for _ in range(2)]
    stored = [metric(name, function) for function in functions for name in ("Invocations", "Errors")]
    for value, item in enumerate(stored, start=1):
        cloudwatch.put_metric_data(Namespace="AWS/Lambda", MetricData=[{**item, "Timestamp": now, "Value": value}])
    queries = [
        {"Id": f"m{index}", "MetricStat": {"Metric": {"Namespace": "AWS/Lambda", **item}, **daily}}
        for index, item in enumerate([*stored, metric("Errors", "unknown")])
    ]
    window = {"StartTime": now - timedelta(days=1), "EndTime": now + timedelta(days=1)}
    answer = cloudwatch.get_metric_data(MetricDataQueries=queries, **window)
    values = {result["Id"]: result["Values"] for result in answer["MetricDataResults"]}
    assert values == {"m0": [1], "m1": [2], "m2": [3], "m3": [4], "m4": []}

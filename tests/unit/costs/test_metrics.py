import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from vigil.costs.metrics import MAX_QUERIES, Metric, Observed, daily_sums
from vigil.local.stack import LocalStack

START = datetime(2026, 6, 1, tzinfo=UTC)
END = datetime(2026, 7, 1, tzinfo=UTC)


def metric(name: str) -> Metric:
    return Metric("AWS/Lambda", "Invocations", (("FunctionName", name),))


@pytest.fixture
def cloudwatch() -> Any:
    return boto3.client(
        "cloudwatch", region_name="us-east-1", aws_access_key_id="nobody", aws_secret_access_key="nothing"
    )


@pytest.fixture
def stub(cloudwatch: Any) -> Iterator[Stubber]:
    with Stubber(cloudwatch) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def request(metrics: list[Metric], **more: str) -> dict[str, Any]:
    queries = [
        {
            "Id": f"m{index}",
            "MetricStat": {
                "Metric": {
                    "Namespace": item.namespace,
                    "MetricName": item.name,
                    "Dimensions": [{"Name": name, "Value": value} for name, value in item.dimensions],
                },
                "Period": 86_400,
                "Stat": "Sum",
            },
        }
        for index, item in enumerate(metrics)
    ]
    return {"MetricDataQueries": queries, "StartTime": START, "EndTime": END, **more}


def answer(*results: tuple[str, dict[int, float]], **more: str) -> dict[str, Any]:
    """Return a page with, for each query, values by day of June."""
    return {
        "MetricDataResults": [
            {
                "Id": identifier,
                "Timestamps": [datetime(2026, 6, day, tzinfo=UTC) for day in values],
                "Values": list(values.values()),
                "StatusCode": "Complete",
            }
            for identifier, values in results
        ],
        **more,
    }


def test_more_metrics_than_one_call_takes_are_read_in_several(cloudwatch: Any, stub: Stubber) -> None:
    metrics = [metric(f"f{number}") for number in range(MAX_QUERIES + 1)]
    stub.add_response("get_metric_data", answer(("m0", {1: 5.0}), ("m499", {1: 7.0})), request(metrics[:500]))
    stub.add_response("get_metric_data", answer(("m0", {2: 3.0})), request(metrics[500:]))
    assert daily_sums(cloudwatch, metrics, START, END) == {
        metric("f0"): Observed(5, date(2026, 6, 1), END.date()),
        metric("f499"): Observed(7, date(2026, 6, 1), END.date()),
        metric("f500"): Observed(3, date(2026, 6, 2), END.date()),
    }


def test_a_metric_adds_up_over_pages_from_its_first_day(cloudwatch: Any, stub: Stubber) -> None:
    metrics = [metric("orders")]
    stub.add_response("get_metric_data", answer(("m0", {30: 1.0, 20: 2.0}), NextToken="more"), request(metrics))
    stub.add_response("get_metric_data", answer(("m0", {17: 4.0})), request(metrics, NextToken="more"))
    sums = daily_sums(cloudwatch, metrics, START, END)
    assert sums == {metrics[0]: Observed(7, date(2026, 6, 17), END.date())}
    assert sums[metrics[0]].days == 14


def test_a_metric_without_a_datapoint_is_absent_not_zero(cloudwatch: Any, stub: Stubber) -> None:
    metrics = [metric("silent"), metric("idle")]
    stub.add_response("get_metric_data", answer(("m0", {}), ("m1", {5: 0.0})), request(metrics))
    assert daily_sums(cloudwatch, metrics, START, END) == {metric("idle"): Observed(0, date(2026, 6, 5), END.date())}


def test_no_metrics_need_no_call(cloudwatch: Any, stub: Stubber) -> None:
    assert daily_sums(cloudwatch, [], START, END) == {}


def test_dimensions_are_matched_exactly_within_the_window(embedded: LocalStack) -> None:
    client = embedded.client("cloudwatch")
    midnight = datetime.combine(datetime.now(UTC).date(), time(), UTC)
    plain = metric(f"metrics-{uuid.uuid4()}")
    live = replace(plain, dimensions=(*plain.dimensions, ("Resource", "live")))
    for item, when, value in [
        (plain, midnight - timedelta(days=3), 100.0),
        (plain, midnight - timedelta(days=2), 5.0),
        (plain, midnight - timedelta(hours=1), 6.0),
        (plain, midnight, 100.0),
        (live, midnight - timedelta(hours=1), 1.0),
    ]:
        client.put_metric_data(
            Namespace=item.namespace,
            MetricData=[
                {
                    "MetricName": item.name,
                    "Dimensions": [{"Name": name, "Value": text} for name, text in item.dimensions],
                    "Timestamp": when,
                    "Value": value,
                }
            ],
        )
    sums = daily_sums(client, [plain, live], midnight - timedelta(days=2), midnight)
    assert sums == {
        plain: Observed(11, midnight.date() - timedelta(days=2), midnight.date()),
        live: Observed(1, midnight.date() - timedelta(days=1), midnight.date()),
    }

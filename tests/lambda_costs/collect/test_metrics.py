import time as time_module
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from lambda_costs.collect.metrics import (
    MAX_QUERIES,
    Answer,
    Daily,
    Metric,
    PartialData,
    daily_values,
    fine_values,
    finest_period,
    lambda_metric,
)
from tests.lambda_costs.adversarial.faults import answer
from tests.lambda_costs.conftest import Stubbed
from vigil.local.stack import LocalStack

START = datetime(2026, 6, 1, tzinfo=UTC)
END = datetime(2026, 7, 1, tzinfo=UTC)


KEYS: Any = {"aws_access_key_id": "nobody", "aws_secret_access_key": "nothing"}


def metric(name: str) -> Metric:
    return lambda_metric("Invocations", name)


@pytest.fixture
def pool() -> Iterator[Executor]:
    # One thread: a stubber has its answers in order.
    with ThreadPoolExecutor(1) as one:
        yield one


def asked(metrics: Sequence[Metric], **more: str) -> dict[str, Any]:
    def stat(item: Metric) -> dict[str, Any]:
        dimensions = [{"Name": name, "Value": value} for name, value in item.dimensions]
        of = {"Namespace": item.namespace, "MetricName": item.name, "Dimensions": dimensions}
        return {"Metric": of, "Period": 86_400, "Stat": item.stat}

    queries = [{"Id": f"m{index}", "MetricStat": stat(item)} for index, item in enumerate(metrics)]
    return {"MetricDataQueries": queries, "StartTime": START, "EndTime": END, **more}


def page(*results: tuple[str, dict[int, float], str], **more: str) -> dict[str, Any]:
    """Return an answer with, for each query, values by day of June and whether they are complete."""

    def result(identifier: str, values: dict[int, float], status: str) -> dict[str, Any]:
        times = [datetime(2026, 6, day, tzinfo=UTC) for day in values]
        return {"Id": identifier, "Timestamps": times, "Values": list(values.values()), "StatusCode": status}

    return {"MetricDataResults": [result(*item) for item in results], **more}


def june(**by_day: float) -> Daily:
    return Daily({date(2026, 6, int(day[1:])): value for day, value in by_day.items()}, END.date())


def test_more_metrics_than_one_call_takes_are_read_in_several(stubbed: Stubbed, pool: Executor) -> None:
    cloudwatch, answers = stubbed("cloudwatch")
    metrics = [metric(f"f{number}") for number in range(MAX_QUERIES + 1)]
    silent: list[Any] = [(f"m{number}", {}, "Complete") for number in range(1, 499)]
    first = page(("m0", {1: 5.0}, "Complete"), *silent, ("m499", {1: 7.0}, "Complete"))
    answers.add_response("get_metric_data", first, asked(metrics[:500]))
    answers.add_response("get_metric_data", page(("m0", {2: 3.0}, "Complete")), asked(metrics[500:]))
    found = {metric("f0"): june(d1=5), metric("f499"): june(d1=7), metric("f500"): june(d2=3)}
    assert daily_values(cloudwatch, metrics, START, END, pool) == Answer(found, frozenset())


def test_the_pages_of_a_metric_are_joined(stubbed: Stubbed, pool: Executor) -> None:
    cloudwatch, answers = stubbed("cloudwatch")
    metrics = [metric("orders")]
    first = page(("m0", {30: 1.0, 20: 2.0}, "PartialData"), NextToken="more")
    answers.add_response("get_metric_data", first, asked(metrics))
    answers.add_response("get_metric_data", page(("m0", {17: 4.0}, "Complete")), asked(metrics, NextToken="more"))
    found = daily_values(cloudwatch, metrics, START, END, pool)
    assert found == Answer({metrics[0]: june(d17=4, d20=2, d30=1)}, frozenset())
    seen = found.daily[metrics[0]]
    # From 17 June to the end.
    assert (seen.total, seen.days, seen.first_day, seen.last_use) == (7, 14, date(2026, 6, 17), date(2026, 6, 30))


@pytest.mark.parametrize(
    "result", [("m0", {1: 1.0}, "PartialData"), ("m0", {1: 1.0}, "InternalError"), ("m0", {}, "Forbidden"), None]
)
def test_a_metric_with_incomplete_data_is_partial(stubbed: Stubbed, pool: Executor, result: Any) -> None:
    cloudwatch, answers = stubbed("cloudwatch")
    metrics = [metric("orders"), metric("returns")]
    results = [result] if result else []
    answers.add_response("get_metric_data", page(*results, ("m1", {2: 2.0}, "Complete")), asked(metrics))
    expected = Answer({metrics[1]: june(d2=2)}, frozenset(metrics[:1]))
    assert daily_values(cloudwatch, metrics, START, END, pool) == expected


def test_a_metric_without_a_datapoint_is_absent_not_zero(stubbed: Stubbed, pool: Executor) -> None:
    cloudwatch, answers = stubbed("cloudwatch")
    metrics = [metric("silent"), metric("idle"), lambda_metric("Duration", "slow", "p99")]
    results = [("m0", {}, "Complete"), ("m1", {5: 0.0}, "Complete"), ("m2", {5: 9.5}, "Complete")]
    answers.add_response("get_metric_data", page(*results), asked(metrics))
    expected = {metrics[1]: june(d5=0), metrics[2]: june(d5=9.5)}
    assert daily_values(cloudwatch, metrics, START, END, pool) == Answer(expected, frozenset())


def test_no_metrics_need_no_call(stubbed: Stubbed, pool: Executor) -> None:
    assert daily_values(stubbed("cloudwatch")[0], [], START, END, pool) == Answer({}, frozenset())


@pytest.mark.parametrize(
    ("days", "seconds"), [(1, 60), (14, 60), (15, 300), (62, 300), (63, 3600), (90, 3600), (454, 3600)]
)
def test_the_finest_period_is_what_cloudwatch_still_keeps(days: int, seconds: int) -> None:
    assert finest_period(END - timedelta(days=days), END) == seconds


def test_fine_values_are_those_of_all_pages_by_time(stubbed: Stubbed) -> None:
    cloudwatch, answers = stubbed("cloudwatch")
    metrics = [metric("orders"), metric("returns")]
    queries = asked(metrics)["MetricDataQueries"]
    for query in queries:
        query["MetricStat"]["Period"] = 3600
    expected = {"MetricDataQueries": queries, "StartTime": START, "EndTime": END}
    first = page(("m0", {1: 5.0}, "PartialData"), ("m1", {2: 1.0}, "Complete"), NextToken="more")
    answers.add_response("get_metric_data", first, expected)
    answers.add_response("get_metric_data", page(("m0", {3: 7.0}, "Complete")), {**expected, "NextToken": "more"})
    assert fine_values(cloudwatch, metrics, START, END, 3600) == [
        {datetime(2026, 6, 1, tzinfo=UTC): 5.0, datetime(2026, 6, 3, tzinfo=UTC): 7.0},
        {datetime(2026, 6, 2, tzinfo=UTC): 1.0},
    ]


@pytest.mark.parametrize("status", ["PartialData", "Forbidden", "InternalError"])
def test_incomplete_fine_values_are_refused(stubbed: Stubbed, status: str) -> None:
    cloudwatch, answers = stubbed("cloudwatch")
    answers.add_response("get_metric_data", page(("m0", {1: 5.0}, status)))
    with pytest.raises(PartialData):
        fine_values(cloudwatch, [metric("orders")], START, END, 3600)


@pytest.mark.parametrize(
    ("used", "pause"),
    [({"d1": 5.0, "d4": 0.0, "d9": 2.0, "d12": 1.0}, 8), ({"d1": 5.0, "d9": 0.0}, None), ({"d3": 0.0}, None)],
)
def test_the_longest_pause_is_between_days_with_use(used: dict[str, float], pause: int | None) -> None:
    assert june(**used).longest_pause == pause


@pytest.fixture(params=["UTC", "EST5", "NZST-12"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The time zone of this process."""
    monkeypatch.setenv("TZ", request.param)
    time_module.tzset()
    yield
    monkeypatch.undo()
    time_module.tzset()


@pytest.mark.usefixtures("zone")
def test_days_are_those_of_utc_wherever_the_machine_is(pool: Executor) -> None:
    client: Any = boto3.client("cloudwatch", "us-east-1", **KEYS)
    # Midnight of 26 and of 25 November 2026 in UTC, which botocore turns into the machine's time.
    result = {"Id": "m0", "StatusCode": "Complete", "Timestamps": [1795651200.0, 1795564800.0], "Values": [7.0, 5.0]}

    def send(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        assert client.meta.service_model.resolved_protocol == "json"
        return answer(request, {"MetricDataResults": [result]})

    client.meta.events.register("before-send.cloudwatch.GetMetricData", send)
    (found,) = daily_values(client, [metric("orders")], START, END, pool).daily.values()
    assert found.by_day == {date(2026, 11, 26): 7.0, date(2026, 11, 25): 5.0}


def test_dimensions_are_matched_exactly_within_the_window(embedded: LocalStack, pool: Executor) -> None:
    client = embedded.client("cloudwatch")
    midnight = datetime.combine(datetime.now(UTC).date(), time(), UTC)
    name = f"metrics-{uuid.uuid4()}"
    plain, live = lambda_metric("Invocations", name), lambda_metric("Invocations", name, qualifier="live")
    assert live == replace(plain, dimensions=(("FunctionName", name), ("Resource", f"{name}:live")))
    for item, when, value in [
        (plain, midnight - timedelta(days=3), 100.0),
        (plain, midnight - timedelta(days=2), 5.0),
        (plain, midnight - timedelta(hours=1), 6.0),
        (plain, midnight, 100.0),
        (live, midnight - timedelta(hours=1), 1.0),
    ]:
        dimensions = [{"Name": key, "Value": text} for key, text in item.dimensions]
        datum = {"MetricName": item.name, "Dimensions": dimensions, "Timestamp": when, "Value": value}
        client.put_metric_data(Namespace=item.namespace, MetricData=[datum])
    found = daily_values(client, [plain, live], midnight - timedelta(days=2), midnight, pool)
    yesterday = midnight.date() - timedelta(days=1)
    assert found.daily == {
        plain: Daily({yesterday - timedelta(days=1): 5, yesterday: 6}, midnight.date()),
        live: Daily({yesterday: 1}, midnight.date()),
    }

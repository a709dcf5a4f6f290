import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from lambda_costs.collect.metrics import MAX_QUERIES, Answer, Daily, Metric, daily_values, lambda_metric, total_between
from tests.lambda_costs.conftest import Stubbed
from vigil.local.stack import LocalStack

START = datetime(2026, 6, 1, tzinfo=UTC)
END = datetime(2026, 7, 1, tzinfo=UTC)


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
    ("days_ago", "period", "first", "last"),
    [
        # 12:07:30 to 12:12:10, rounded out.
        (1, 60, "12:07", "12:13"),
        (16, 300, "12:05", "12:15"),
        (70, 3600, "12:00", "13:00"),
    ],
)
def test_a_total_is_of_the_finest_period_that_cloudwatch_keeps(
    stubbed: Stubbed, days_ago: int, period: int, first: str, last: str
) -> None:
    cloudwatch, answers = stubbed("cloudwatch")
    day = (END - timedelta(days=days_ago)).date()

    def at(clock: str) -> datetime:
        return datetime.combine(day, time.fromisoformat(clock), UTC)

    [query] = asked([metric("orders")])["MetricDataQueries"]
    query = {"Id": "m", "MetricStat": {**query["MetricStat"], "Period": period}}
    expected = {"MetricDataQueries": [query], "StartTime": at(first), "EndTime": at(last)}
    answers.add_response("get_metric_data", page(("m", {1: 5.0, 2: 6.0}, "Complete"), NextToken="more"), expected)
    answers.add_response("get_metric_data", page(("m", {3: 7.0}, "Complete")), {**expected, "NextToken": "more"})
    assert total_between(cloudwatch, metric("orders"), at("12:07:30"), at("12:12:10"), END) == 18


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

"""The simulated account does what Lambda, its price list and its metrics do, by cases calculated by hand."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from benchmarks.field.account import Account
from benchmarks.field.billing import compute_bill, provisioned_bill, storage_bill
from benchmarks.field.clients import Clients
from benchmarks.field.function import DAY, FINE, STUCK, Arrivals, Function, Provisioned, Request
from benchmarks.field.insights import execute
from benchmarks.field.logs import matches
from benchmarks.field.machine import Setting, Status, run
from benchmarks.field.shapes import draw_functions

TODAY = date(2026, 6, 17)  # a Wednesday
NOW = datetime(2026, 6, 17, 15, 22, tzinfo=UTC)

PLAIN = Function("plain", "test", Arrivals(100), memory_mb=1024, timeout_s=10, init_s=0.0)


def request(at: float = -3600, io: float = 0.5, cpu: float = 0.0, need: float = 100, fate: int = FINE) -> Request:
    return Request(at, io, cpu, need, fate, False, "", False)


def account(*functions: Function, now: datetime = NOW, insights: bool = True) -> Account:
    return Account(functions, now, insights)


def daily(name: str, clients: Clients, metric: str, stat: str = "Sum", days: int = 3) -> dict[date, float]:
    end = datetime(2026, 6, 17, tzinfo=UTC)
    answer = clients("cloudwatch", "us-east-1").get_metric_data(
        MetricDataQueries=[{"Id": "m", "MetricStat": {
            "Metric": {"Namespace": "AWS/Lambda", "MetricName": metric,
                       "Dimensions": [{"Name": "FunctionName", "Value": name}]}, "Period": DAY, "Stat": stat}}],
        StartTime=end - timedelta(days=days), EndTime=end,
    )["MetricDataResults"][0]  # fmt: skip
    days_of = (moment.astimezone(UTC).date() for moment in answer["Timestamps"])
    return dict(zip(days_of, answer["Values"], strict=True))


class TestRuns:
    def test_less_than_one_vcpu_makes_computing_slower_and_waiting_not(self) -> None:
        # 0.5 s of waiting and 1 s of a vCPU; 884.5 MB are half a vCPU: 0.5 + 1 / 0.5 = 2.5 s.
        function = replace(PLAIN, memory_mb=884)
        (ran,) = run(function, [request(cpu=884 / 1769)], Setting.of(function), TODAY)
        assert ran.duration_ms == pytest.approx(1500)

    @pytest.mark.parametrize(("threads", "seconds"), [(1, 4.0), (2, 2.0), (6, 2.0)])
    def test_more_than_one_vcpu_helps_only_more_threads(self, threads: int, seconds: float) -> None:
        function = replace(PLAIN, memory_mb=2 * 1769, threads=threads)
        (ran,) = run(function, [request(io=0, cpu=4)], Setting.of(function), TODAY)
        assert ran.duration_ms == pytest.approx(1000 * seconds)

    def test_an_invocation_that_needs_more_memory_breaks(self) -> None:
        ran = run(PLAIN, [request(need=600), request(-3000)], replace(Setting.of(PLAIN), memory_mb=512), TODAY)
        assert [item.status for item in ran] == [Status.OUT_OF_MEMORY, Status.FINE]

    def test_a_stuck_call_is_billed_to_the_timeout_until_it_is_fixed(self) -> None:
        today = Setting.of(PLAIN)
        (stuck,), (fixed,) = (
            run(PLAIN, [request(fate=STUCK)], it, TODAY) for it in (today, replace(today, fixed=True))
        )
        assert (stuck.billed_ms, stuck.status, fixed.billed_ms) == (10_000, Status.TIMEOUT, 500)

    def test_only_an_environment_that_was_idle_for_too_long_starts_cold(self) -> None:
        function = replace(PLAIN, init_s=1.0, keep_s=300)
        ran = run(function, [request(0), request(200), request(1000)], Setting.of(function), TODAY)
        assert [item.init_ms > 0 for item in ran] == [True, False, True]

    def test_an_environment_reports_the_most_memory_that_it_has_used(self) -> None:
        ran = run(PLAIN, [request(0, need=300), request(10, need=100)], Setting.of(PLAIN), TODAY)
        assert [item.used_mb for item in ran] == [300, 300]


class TestBills:
    def test_duration_is_billed_by_the_gigabyte_second_and_the_request(self) -> None:
        # 2 × 0.5 s × 1 GB × $0.0000166667 + 2 × $0.0000002 = $0.0000170667
        runs = run(PLAIN, [request(), request(-10)], Setting.of(PLAIN), TODAY)
        assert compute_bill(runs, PLAIN, Setting.of(PLAIN), -30, 0, TODAY) == pytest.approx(0.0000170667)

    def test_what_is_not_of_the_days_is_not_billed(self) -> None:
        runs = run(PLAIN, [request(-31 * DAY), request(5.0)], Setting.of(PLAIN), TODAY)
        assert compute_bill(runs, PLAIN, Setting.of(PLAIN), -30, 0, TODAY) == 0

    def test_provisioned_concurrency_is_billed_for_the_hours_of_its_schedule(self) -> None:
        # One week: 5 weekdays × 12 hours × 4 + 0 at all others = 240 hours × 3,600 s × 1 GB × $0.0000041667
        function = replace(PLAIN, provisioned=(Provisioned("live", 0, by_day=4, hours=(7, 19)),))
        assert provisioned_bill(function, Setting.of(function), -7, 0, TODAY) == pytest.approx(240 * 3600 * 4.1667e-6)

    def test_tmp_above_512_mb_is_billed(self) -> None:
        # 0.5 s × (1 GB × $0.0000166667 + 1.5 GB × $0.0000000309) + $0.0000002
        function = replace(PLAIN, tmp_mb=2048)
        runs = run(function, [request()], Setting.of(function), TODAY)
        told = compute_bill(runs, function, Setting.of(function), -30, 0, TODAY)
        assert told == pytest.approx(0.5 * (1.66667e-5 + 1.5 * 3.09e-8) + 2e-7)

    def test_ten_gigabytes_kept_for_a_month_cost_thirty_cents(self) -> None:
        assert storage_bill(10) == pytest.approx(0.30)


class TestAnswers:
    def test_daily_metrics_count_the_invocations_that_began_on_a_day(self) -> None:
        it = account(PLAIN)
        began = [item.at for item in it.seen(PLAIN)]
        told = daily("plain", Clients(it), "Invocations")
        assert told == {TODAY + timedelta(days=day): sum(day * DAY <= at < (day + 1) * DAY for at in began)
                        for day in (-3, -2, -1)}  # fmt: skip

    def test_a_day_without_invocations_has_no_datapoint(self) -> None:
        stopped = replace(PLAIN, arrivals=Arrivals(100, stopped=2))
        assert list(daily("plain", Clients(account(stopped)), "Duration", "p99")) == [date(2026, 6, 14)]

    @pytest.mark.parametrize("limit", [7, 10_000])
    def test_filter_log_events_gives_pages_in_the_order_of_time(self, limit: int) -> None:
        it = account(PLAIN)
        logs = Clients(it)("logs", "us-east-1")
        asked = {"logGroupName": "/aws/lambda/plain", "filterPattern": "REPORT", "limit": limit}
        pages = [page["events"] for page in logs.get_paginator("filter_log_events").paginate(**asked)]
        times = [event["timestamp"] for page in pages for event in page]
        assert max(map(len, pages)) <= limit
        assert times == sorted(times)
        assert len(times) == len(it.seen(PLAIN))

    def test_a_page_ends_at_a_megabyte(self) -> None:
        busy = replace(PLAIN, arrivals=Arrivals(300), json_logs=True)
        logs = Clients(account(busy))("logs", "us-east-1")
        first = logs.filter_log_events(logGroupName="/aws/lambda/plain", filterPattern='"platform.report"')
        assert sum(len(event["message"]) + 26 for event in first["events"]) <= 1_000_000
        assert "nextToken" in first

    def test_events_expire_at_the_hour_at_which_they_were_written(self) -> None:
        kept = replace(PLAIN, retention=3)
        logs = Clients(account(kept))("logs", "us-east-1")
        events = logs.filter_log_events(logGroupName="/aws/lambda/plain", filterPattern="REPORT")["events"]
        assert events[0]["timestamp"] / 1000 >= (NOW - timedelta(days=3)).timestamp()

    @pytest.mark.parametrize(("changes", "code"), [
        ({"denied": True}, "AccessDeniedException"),
        ({"infrequent": True}, "InvalidOperationException"),
        ({"group_days": -1}, "ResourceNotFoundException"),
    ])  # fmt: skip
    def test_log_groups_that_may_not_be_filtered_are_refused(self, changes: dict[str, object], code: str) -> None:
        logs = Clients(account(replace(PLAIN, **changes)))("logs", "us-east-1")  # type: ignore[arg-type]
        with pytest.raises(logs.exceptions.ClientError, match=code):
            logs.filter_log_events(logGroupName="/aws/lambda/plain")

    def test_an_unknown_call_is_denied(self) -> None:
        client = Clients(account(PLAIN))("lambda", "us-east-1")
        with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
            client.get_function(FunctionName="plain")

    @pytest.mark.parametrize(("pattern", "message", "found"), [
        ("REPORT", "REPORT RequestId: 1", True),
        ('"Status: timeout"', "REPORT Status: error", False),
        ("?a ?b", "b", True),
        ('{ $.record.status = "timeout" }', '{"record": {"status": "timeout"}}', True),
    ])  # fmt: skip
    def test_filter_patterns(self, pattern: str, message: str, found: bool) -> None:
        assert matches(pattern, message) is found


class TestQueries:
    ROWS = ({"n": 1.0, "kind": "a"}, {"n": 3.0, "kind": "a"}, {"n": 10.0, "kind": "b", "extra": 1.0})

    @pytest.mark.parametrize(("query", "rows"), [
        ("stats sum(n) as total, count(*) as lines by kind",
         [{"kind": "a", "total": 4.0, "lines": 2}, {"kind": "b", "total": 10.0, "lines": 1}]),
        ("filter n >= 3 and n * 2 <= 6\n| fields n / 3 as third", [{"third": 1.0}]),
        ("parse kind /(?<letter>[b-z])/ | filter ispresent(letter) | display letter", [{"letter": "b"}]),
        ("stats pct(n, 50) as middle, max(n) as most", [{"middle": 3.0, "most": 10.0}]),
        ("sort n desc | limit 1 | display kind", [{"kind": "b"}]),
        ("filter kind like /a/ | stats count(*) as lines", [{"lines": 2}]),
    ])  # fmt: skip
    def test_the_language_of_logs_insights(self, query: str, rows: list[dict[str, object]]) -> None:
        from benchmarks.field.insights import _Fields

        assert [dict(row) for row in execute(query, [_Fields(row) for row in self.ROWS])] == rows


class TestDrawing:
    def test_the_same_seed_gives_the_same_account(self) -> None:
        assert draw_functions(3, 30) == draw_functions(3, 30) != draw_functions(4, 30)

    def test_the_hour_of_the_analysis_changes_nothing_in_the_workload(self) -> None:
        early, late = (account(PLAIN, now=NOW.replace(hour=hour)) for hour in (0, 23))
        assert early.requests(PLAIN) == late.requests(PLAIN)
        assert len(early.seen(PLAIN)) < len(late.seen(PLAIN))

    def test_the_next_days_go_on_at_the_rate_of_last_week(self) -> None:
        growing = Arrivals(100, growth=0.05)
        assert growing.level(20) == pytest.approx(sum(growing.level(-day) for day in range(1, 8)) / 7)
        assert Arrivals(100, stopped=9).level(5) == 0

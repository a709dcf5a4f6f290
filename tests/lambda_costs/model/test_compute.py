"""What a function's invocations use: by default a million invocations of half a second, see cases.py."""

from datetime import date, timedelta
from typing import Any

import pytest

from lambda_costs.collect.metrics import Daily
from lambda_costs.collect.report_lines import Outcome, Reports, TallyKey
from lambda_costs.model.compute import Compute, NoClaim, compute
from lambda_costs.model.duration import unknown_cpu_share
from tests.lambda_costs.cases import DAYS, END, daily, function, reports, tally, together, usage


def computed(window_days: int = DAYS, memory_mb: int = 1024, **used: Any) -> Compute:
    result = compute(function(memory_mb=memory_mb), usage(**used), window_days)
    assert isinstance(result, Compute), result
    return result


def by_day(*parts: tuple[int, float]) -> Daily:
    """Return a metric of parts (days, daily value), up to the end."""
    values = [value for days, value in parts for _ in range(days)]
    return Daily({END - timedelta(days=len(values) - day): value for day, value in enumerate(values)}, END)


def test_a_million_invocations_of_half_a_second_at_a_gigabyte() -> None:
    used = computed()
    # 1,000,000 × 0.5 s × 1024/1024 GB
    assert (used.invocations, used.billed_seconds, used.gb_seconds) == pytest.approx((1e6, 0.5, 500_000))
    assert (used.lines, used.sampled, used.init_share, used.inits) == (300, True, 0, 0)


def test_lines_add_to_the_metrics_mean_what_else_is_billed() -> None:
    # A day's 10 lines bill 5 s: 4 s ran, 1 s was the init of 2 cold starts, 0.1 s a line: beside 0.5 s by the metric.
    used = computed(reports=reports(init_seconds=1.0, inits=2))
    assert (used.billed_seconds, used.gb_seconds) == pytest.approx((0.6, 600_000))
    # 0.1 s of 0.6 s; 2 of 10 lines, so 200,000 of the million invocations.
    assert (used.init_share, used.inits) == pytest.approx((1 / 6, 200_000))


@pytest.mark.parametrize(
    ("seconds", "invocations", "fits"),
    [
        (0.34, 1_000_000, True),
        (0.74, 1_000_000, True),
        (0.33, 1_000_000, False),
        (0.76, 1_000_000, False),
        (9.0, 300, True),  # there are no other lines
    ],
)
def test_the_mean_of_a_sample_must_be_within_1_5_times_the_metric(seconds: float, invocations: int, fits: bool) -> None:
    given = {"invocations": daily(invocations), "duration_ms": daily(500 * invocations)}
    result = compute(function(), usage(reports=reports(seconds=seconds), **given), DAYS)
    if fits:
        assert isinstance(result, Compute)
        assert result.billed_seconds == pytest.approx(0.5)  # the metric's, whatever the lines tell
    else:
        assert isinstance(result, NoClaim)
        assert "do not fit its Duration metric" in result.reason


@pytest.mark.parametrize(("window_days", "invocations"), [(60, 500_000), (15, 2_000_000)])  # a million in 60 days
def test_everything_is_per_30_days(window_days: int, invocations: float) -> None:
    seen = min(window_days, DAYS)
    metrics = {"invocations": daily(1e6, seen), "duration_ms": daily(5e8, seen)}
    used = computed(window_days, **metrics, reports=reports(days=seen))
    assert (used.invocations, used.gb_seconds) == pytest.approx((invocations, invocations / 2))


def test_a_young_function_is_averaged_over_the_whole_window() -> None:
    young: dict[str, Any] = {"invocations": daily(1e6, 14), "duration_ms": daily(5e8, 14), "reports": reports(days=14)}
    assert computed(**young).invocations == pytest.approx(1e6)


CHANGED: dict[str, Any] = {
    # 10 days of 30,000 invocations at 2,048 MB that took 2 s each, then 20 days of 40,000 at 1,024 MB that took 3 s.
    "invocations": by_day((10, 30_000), (20, 40_000)),
    "duration_ms": by_day((10, 30_000 * 2000), (20, 40_000 * 3000)),
    "reports": together(reports(2048, 10, 30, seconds=2), reports(1024, 20, seconds=3, init_seconds=6, inits=1)),
}


@pytest.mark.parametrize(
    ("memory_mb", "seconds", "lines"),
    [
        (1024, 3 + 0.6, 200),  # of 10 lines 30 s are billed, 6 s of them init
        (2048, 2, 100),
    ],
)
def test_after_a_change_only_days_of_todays_size_count(memory_mb: int, seconds: float, lines: int) -> None:
    used = computed(memory_mb=memory_mb, **CHANGED)
    assert (used.billed_seconds, used.lines) == pytest.approx((seconds, lines))
    # All 1,100,000 invocations go on at today's settings.
    assert used.gb_seconds == pytest.approx(1_100_000 * seconds * memory_mb / 1024)


def test_days_with_two_sizes_do_not_count() -> None:
    mixed = Reports({TallyKey(END - timedelta(days=30), 512, Outcome.SUCCESS): tally(10, seconds=90)}, 0)
    durations = by_day((1, 90_000 * 1e6 / 30), (29, 500 * 1e6 / 30))
    used = computed(reports=together(reports(), mixed), duration_ms=durations)
    assert (used.billed_seconds, used.lines) == pytest.approx((0.5, 290))


def test_days_with_several_outcomes_count() -> None:
    failed = {TallyKey(END - timedelta(days=day), 1024, Outcome.TIMEOUT): tally(10) for day in range(1, 31)}
    assert computed(reports=together(reports(), Reports(failed, 0))).lines == 600


@pytest.mark.parametrize(("invocations", "sampled"), [(300, False), (301, True)])
def test_fewer_lines_than_invocations_are_a_sample(invocations: int, sampled: bool) -> None:
    assert computed(invocations=daily(invocations), duration_ms=daily(500 * invocations)).sampled is sampled


def test_two_sizes_give_the_share_of_cpu_time() -> None:
    # 1.5 s at 512 MB, 1 s at 1,024 MB: half of the second is CPU time (see test_duration.py).
    model = computed(
        duration_ms=by_day((15, 1500 * 1e6 / 30), (15, 1000 * 1e6 / 30)),
        reports=together(reports(512, 15, 30), reports(1024, 15, seconds=1)),
    ).model
    assert model.measured
    assert model.share == pytest.approx(0.5)
    # All days alike: each mean is off by the 2 % that it is taken to be off at least.
    assert (model.low, model.high) == pytest.approx((0.5 - 0.0831558, 0.5 + 0.0831558), abs=1e-6)


def test_different_days_widen_the_bounds_of_the_share() -> None:
    # Half of the days at 1,024 MB took 0.8 s, half 1.2 s: the mean of 14 is off by √(0.2²/13), 5.5 %; that of those at
    # 512 MB by 2 %. 1.5 × √(0.05547² + 0.02²) × 1.96 = 0.173358.
    model = computed(
        duration_ms=by_day((16, 1500 * 1e6 / 30), *[(1, 800 * 1e6 / 30), (1, 1200 * 1e6 / 30)] * 7),
        reports=together(reports(512, 16, 30), reports(1024, 14, seconds=1)),
    ).model
    assert model.measured
    assert (model.low, model.high) == pytest.approx((0.5 - 0.173358, 0.5 + 0.173358), abs=1e-5)


TWO_SIZES = {
    **{"cpu_ms": daily(128 * 1e6), "duration_ms": by_day((15, 1000 * 1e6 / 30), (15, 500 * 1e6 / 30))},
    "reports": together(reports(512, 15, 30), reports(1024, 15)),
}


@pytest.mark.parametrize(
    ("used", "share"),
    [
        ({}, None),
        ({"cpu_ms": daily(128 * 1e6)}, 0.4422500),  # 0.128 s × 1769/1024 of 0.5 s
        ({"cpu_ms": Daily({END - timedelta(days=1): 128 * 1e6 / 30}, END)}, 0.4422500),  # measured on one day only
        ({"cpu_ms": Daily({END - timedelta(days=99): 128.0}, END)}, None),  # on no day with invocations
        ({"cpu_ms": daily(0)}, None),  # what cannot be is no measurement
        ({"cpu_ms": daily(501 * 1e6)}, None),  # of 500 ms on less than one vCPU
        (TWO_SIZES, 1.0),  # they tell more than Lambda Insights: twice as long with half of the CPU
    ],
)
def test_lambda_insights_gives_the_share_without_a_second_size(used: dict[str, Any], share: float | None) -> None:
    model = computed(**used).model
    if share is None:
        assert model == unknown_cpu_share(1024)
    else:
        assert model.measured
        assert model.share == pytest.approx(share)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"unread": "its metrics could not be read: access denied"}, "its metrics could not be read: access denied"),
        ({"invocations": None}, "no Invocations datapoint"),
        ({"invocations": daily(0)}, "fewer than 50 invocations in the window"),
        ({"invocations": daily(49)}, "fewer than 50 invocations in the window"),
        ({"invocations": daily(1e6, 13)}, "less than 14 days of data"),
        ({"duration_ms": None}, "no Duration datapoint"),
        ({"reports": None}, "no REPORT lines could be read"),
        ({"reports": reports(days=12)}, "cover less than 13 days: older ones have expired"),
        ({"reports": reports(lines=1, days=30)}, "fewer than 50 invocations on days"),
        ({"reports": reports(512)}, "fewer than 50 invocations on days"),
        ({"reports": together(reports(512), reports(1024))}, "fewer than 50 invocations on days"),
        ({"invocations": by_day((15, 9e4), (15, 3.3)), "reports": together(reports(512, 15, 30), reports(1024, 15))},
         "fewer than 50 invocations on days"),  # 49.5 of them at today's size
        ({"duration_ms": daily(0)}, "do not fit its Duration metric"),
    ],
)  # fmt: skip
def test_thin_data_support_no_claim(given: dict[str, Any], reason: str) -> None:
    result = compute(function(), usage(**given), DAYS)
    assert isinstance(result, NoClaim)
    assert reason in result.reason


@pytest.mark.parametrize(
    "given",
    [
        {"invocations": daily(50), "duration_ms": daily(25_000)},
        {"invocations": daily(1e6, 14), "duration_ms": daily(5e8, 14)},
        {"reports": reports(days=13)},
        {"reports": reports(days=25, lines=2)},
    ],
)
def test_just_enough_data_support_a_claim(given: dict[str, Any]) -> None:
    assert computed(**given).billed_seconds == pytest.approx(0.5)


def test_short_windows_and_capacity_providers_support_no_claim() -> None:
    assert compute(function(), usage(), 13) == NoClaim("the window asked for is shorter than 14 days")
    assert isinstance(compute(function(), usage(), 14), Compute)
    on_own_instances = compute(function(capacity_provider=True), usage(), DAYS)
    assert isinstance(on_own_instances, NoClaim)
    assert "not billed by the GB-second" in on_own_instances.reason


def test_a_day_without_a_duration_is_left_out_of_the_mean() -> None:
    missing = {day: 5e8 / 30 for day in daily(1).by_day if day != date(2026, 6, 30)}
    assert computed(duration_ms=Daily(missing, END)).billed_seconds == pytest.approx(0.5)

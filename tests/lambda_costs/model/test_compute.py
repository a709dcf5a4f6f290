"""What a function's invocations use: by default a million invocations of half a second, see cases.py."""

from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_costs.collect.metrics import Daily
from lambda_costs.collect.report_lines import Outcome, Reports, TallyKey
from lambda_costs.collect.usage import Window
from lambda_costs.model.compute import Compute, NoClaim, compute
from lambda_costs.model.duration import DurationModel, unknown_cpu_share
from lambda_costs.model.finding import ComputeShare
from lambda_costs.model.volume import Volume
from tests.lambda_costs.cases import (
    DAYS,
    END,
    FEWER,
    MORE,
    NOW,
    WINDOW,
    ago,
    daily,
    function,
    on_days,
    reports,
    tally,
    together,
    usage,
)


def computed(window_days: int = DAYS, memory_mb: int = 1024, **used: Any) -> Compute:
    result = compute(function(memory_mb=memory_mb), usage(**used), Window.before(NOW, window_days))
    assert isinstance(result, Compute), result
    return result


def refused(**used: Any) -> str:
    result = compute(function(), usage(**used), WINDOW)
    assert isinstance(result, NoClaim), result
    return result.reason


def shares(model: DurationModel) -> tuple[float, float, float]:
    """Return the least, the expected and the largest share of CPU time, of a model below one vCPU."""
    least, most = (end(item.share for item in model.extremes) for end in (min, max))
    return least, model.expected[0].share, most


def by_day(*parts: tuple[int, float]) -> Daily:
    """Return a metric of parts (days, daily value), up to the end."""
    values = [value for days, value in parts for _ in range(days)]
    return Daily({END - timedelta(days=len(values) - day): value for day, value in enumerate(values)}, END)


def test_a_million_invocations_of_half_a_second_at_a_gigabyte() -> None:
    used = computed()
    # 1,000,000 × 0.5 s × 1024/1024 GB
    assert (used.invocations.expected, used.billed_seconds) == pytest.approx((1e6, 0.5))
    assert (used.gb_seconds, used.at_today) == pytest.approx((500_000, 500_000))
    assert (used.lines, used.sampled, used.init_share, used.inits, used.start_share) == (300, True, 0, 0, 0)


def test_the_range_has_what_chance_explains_of_number_and_duration() -> None:
    used, error = computed(), 1.96 / (1e6 * 7 / 30) ** 0.5
    assert (used.invocations.low, used.invocations.high) == pytest.approx((1e6 * (1 - error), 1e6 * (1 + error)))
    assert (used.volume.low, used.volume.high) == pytest.approx((1e6 * FEWER, 1e6 * MORE))
    share = used.share(5.0, 0.8)
    assert (share.fewer, share.more) == pytest.approx((FEWER, MORE))
    assert share == ComputeShare(5.0, used.gb_seconds, 0.8, share.fewer, share.more)


@given(st.floats(1, 1e12))
def test_the_range_of_a_share_stays_within_its_limit(expected: float) -> None:
    # (30 × x) / x may be above 30 in floats.
    share = replace(computed(), volume=Volume(0.0, expected, 30 * expected)).share(1.0)
    assert share.more <= 30


def test_less_data_never_give_a_narrower_range() -> None:
    ranges = []
    for a_day, days in ((10_000, 30), (100, 30), (10, 30), (10, 20), (10, 14)):
        number, lines = daily(a_day * days, days), reports(days=days)
        volume = computed(invocations=number, duration_ms=daily(500 * a_day * days, days), reports=lines).volume
        ranges.append((volume.low / a_day, volume.high / a_day))
    for (low, high), (lower, higher) in pairwise(ranges):
        assert lower <= low + 1e-9
        assert higher >= high - 1e-9


def test_lines_add_to_the_metrics_mean_what_else_is_billed() -> None:
    # A day's 10 lines bill 5 s: 4 s ran, 1 s was the init of 2 cold starts, 0.1 s a line: beside 0.5 s by the metric.
    used = computed(reports=reports(init_seconds=1.0, inits=2))
    assert (used.billed_seconds, used.gb_seconds) == pytest.approx((0.6, 600_000))
    # 0.1 s of 0.6 s; 2 of 10 lines, so 200,000 of the million invocations.
    assert (used.init_share, used.start_share, used.inits) == pytest.approx((1 / 6, 1 / 6, 200_000))


@pytest.mark.parametrize(
    ("memory_mb", "factor"),
    [
        # Half of the billed time is init, which may depend on the memory size or not: half of the expected change.
        (512, (1, 1.25, 2)),
        (1536, (2 / 3, 11 / 12, 1)),
        (1024, (1, 1, 1)),
    ],
)
def test_init_is_expected_not_to_depend_on_the_memory_size(memory_mb: int, factor: tuple[float, ...]) -> None:
    found = computed(reports=reports(seconds=1, init_seconds=5, inits=1)).factor(memory_mb)
    assert (found.low, found.expected, found.high) == pytest.approx(factor)


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
    if fits:
        result = computed(reports=reports(seconds=seconds), **given)
        assert result.billed_seconds == pytest.approx(0.5)  # the metric's, whatever the lines tell
    else:
        assert "do not fit its Duration metric" in refused(reports=reports(seconds=seconds), **given)


@pytest.mark.parametrize(("window_days", "invocations"), [(60, 500_000), (15, 2_000_000)])  # a million in 60 days
def test_everything_is_per_30_days(window_days: int, invocations: float) -> None:
    metrics = {"invocations": daily(1e6, window_days), "duration_ms": daily(5e8, window_days)}
    used = computed(window_days, **metrics, reports=reports(days=window_days))
    assert (used.invocations.expected, used.gb_seconds) == pytest.approx((invocations, invocations / 2))


def test_a_young_function_goes_on_at_the_rate_of_its_last_week() -> None:
    young: dict[str, Any] = {"invocations": daily(1e6, 14), "duration_ms": daily(5e8, 14), "reports": reports(days=14)}
    used = computed(**young)
    # 1e6 / 14 × 30. At least, it is the million of the window.
    assert (used.invocations.low, used.invocations.expected) == pytest.approx((1e6, 2_142_857.14))
    assert used.gb_seconds == pytest.approx(2_142_857.14 / 2)


def test_invocations_that_get_longer_count_as_more_of_them() -> None:
    # 0.4 s for 23 days, then 0.8 s: 0.49333 s on average. What doubles in the last week is expected at 4,931.91 / 3,700
    # of the mean, between 1 and 8,147.07 / 3,700 of it (test_volume.py).
    used = computed(duration_ms=by_day((23, 400 * 1e6 / 30), (7, 800 * 1e6 / 30)))
    seconds = 0.493333 * 4931.91 / 3700
    assert used.invocations.expected == pytest.approx(1e6)
    assert (used.billed_seconds, used.gb_seconds) == pytest.approx((seconds, seconds * 1e6), rel=1e-5)
    # The days differ from their mean by −18.9189 % and 62.1622 %: √((23 × 0.0357925 + 7 × 0.386413) / 29) = 34.8797 %,
    # so the mean is off by 6.36814 %, times 1.96 is 12.48155 %.
    assert used.volume.low == pytest.approx(1e6 * (1 - 0.1248155), rel=1e-5)
    assert used.volume.high == pytest.approx(1e6 * 8147.07 / 3700 * (1 + 0.1248155), rel=1e-5)


@pytest.mark.parametrize(("later", "half_width"), [(700, 0.4999), (500, 0.0998)])
def test_a_jump_within_a_memory_size_widens_the_fit(later: int, half_width: float) -> None:
    # 14 days of 0.9 s at 512 MB, then 16 at 1,024 MB: 0.5 s, and for the last 8 days 0.7 s. That is a jump of 0.2 s, so
    # the mean of 0.6 s may be off by 0.1 s. The days of each size differ by √(16 / 36 / 28) = 12.599 %, so 0.9 s may be
    # off by 3.367 %. 1.96 × 0.9 / 0.6 × √(0.16667² + 0.03367²) = 0.4999. Without the jump, both are off by 2 %,
    # and 1.96 × 0.9 / 0.5 × √(2 × 0.02²) = 0.0998.
    calls = 1e6 / 30
    used = computed(
        duration_ms=by_day((14, 900 * calls), (8, 500 * calls), (8, later * calls)),
        reports=together(reports(512, 14, 30, seconds=0.9), reports(1024, 16, seconds=0.6)),
    )
    least, share, most = shares(used.model)
    assert (share, most - share) == pytest.approx((0.9 / (0.5 + (later - 500) / 2000) - 1, half_width), abs=1e-3)
    assert share - least == pytest.approx(most - share, abs=1e-9)


def test_after_a_change_only_days_of_todays_size_count() -> None:
    # 10 days at 2,048 MB that took 2 s an invocation, then 20 at 1,024 MB that took 3 s.
    used = computed(
        duration_ms=by_day((10, 2000 * 1e6 / 30), (20, 3000 * 1e6 / 30)),
        reports=together(reports(2048, 10, 30, seconds=2), reports(1024, 20, seconds=3, init_seconds=6, inits=1)),
    )
    # Of 10 lines 30 s are billed, 6 s of them init.
    assert (used.billed_seconds, used.lines) == pytest.approx((3 + 0.6, 200))
    # All of the million go on at today's settings.
    assert (used.gb_seconds, used.at_today) == pytest.approx((3_600_000, 3_600_000))


ALIAS = {
    # A day's 10 lines at 1,024 MB take 0.5 s, its 30 at 512 MB 0.9 s: 0.25 × 0.5 + 0.75 × 0.9 = 0.8 s on average.
    **{"duration_ms": daily(800 * 1e6)},
    "reports": together(reports(), reports(512, lines=30, seconds=0.9)),
}


def test_a_weighted_alias_is_billed_at_the_mix_of_its_sizes() -> None:
    used = computed(**ALIAS)
    assert (used.billed_seconds, used.lines) == pytest.approx((0.8, 300))
    # 1e6 × (0.25 × 0.5 s × 1 GB + 0.75 × 0.9 s × 0.5 GB); at 1,024 MB all would take 0.5 s.
    assert (used.gb_seconds, used.at_today) == pytest.approx((462_500, 500_000))
    # 1 + share × (1024/512 − 1) = 0.9 / 0.5.
    assert shares(used.model)[1] == pytest.approx(0.8)


def test_the_sizes_of_an_alias_count_since_they_were_last_changed() -> None:
    # 10 of 40 lines are at today's size for 27 days, 30 of 40 in the last 3.
    before = together(reports(1024, 27, 30), reports(512, 27, 30, lines=30, seconds=0.9))
    since = together(reports(1024, 3, lines=30), reports(512, 3), reports(2048, 3, lines=10))
    # 2,048 MB ran on 3 days, with 30 lines: too few for a duration. It gets that of today's.
    used = computed(**ALIAS | {"reports": together(before, since)})
    # 0.6 × 0.5 s × 1 GB + 0.2 × 0.5 s × 2 GB + 0.2 × d × 0.5 GB, where d is the mean at 512 MB of 27 days of 30 lines
    # at 0.9 s and 3 days of 10 at 0.5 s: (810 × 0.9 + 30 × 0.5) / 840 = 0.8857143 s.
    assert used.gb_seconds == pytest.approx(1e6 * (0.3 + 0.2 + 0.1 * 0.8857143))


@pytest.mark.parametrize(("lines", "gb_seconds"), [(19, 462_500), (20, 500_000)])
def test_few_lines_of_the_last_day_do_not_end_a_mix(lines: int, gb_seconds: float) -> None:
    # The alias of before, and a last day at 1,024 MB alone, which counts from 20 lines on.
    before = together(reports(1024, 29, 30), reports(512, 29, 30, lines=30, seconds=0.9))
    durations = by_day((29, 800 * 1e6 / 30), (1, 500 * 1e6 / 30))
    used = computed(duration_ms=durations, reports=together(before, reports(1024, 1, lines=lines)))
    assert used.gb_seconds == pytest.approx(gb_seconds)


def test_the_day_on_which_the_memory_changed_is_no_mix() -> None:
    # 512 MB for 29 days; on the last one, 10 lines are at 512 MB and 60 at today's 1,024 MB, which all will have.
    changed = together(reports(512, 29, 30), reports(512, 1), reports(1024, 1, lines=60))
    assert computed(reports=changed).gb_seconds == pytest.approx(1e6 * 0.5)


def test_the_weights_of_an_alias_are_those_of_the_last_7_days() -> None:
    before = together(reports(1024, 20, 30), reports(512, 20, 30, lines=30, seconds=0.9))
    since = together(reports(1024, 10, lines=30), reports(512, 10, seconds=0.9))
    used = computed(**ALIAS | {"reports": together(before, since)})
    # 0.75 × 0.5 s × 1 GB + 0.25 × 0.9 s × 0.5 GB
    assert used.gb_seconds == pytest.approx(487_500)


@pytest.mark.parametrize(("seconds", "fits"), [(0.9, True), (2.0, False)])
def test_the_lines_of_an_alias_must_fit_the_metric_of_all_sizes(seconds: float, fits: bool) -> None:
    # 0.25 × 0.5 + 0.75 × 2 = 1.625 s, over 1.5 times the metric's 0.8 s.
    given: dict[str, Any] = {**ALIAS, "reports": together(reports(), reports(512, lines=30, seconds=seconds))}
    assert isinstance(compute(function(), usage(**given), WINDOW), Compute) is fits


def test_a_size_that_no_longer_runs_supports_no_claim() -> None:
    stale = together(reports(1024, 29, 30), reports(512, 1, lines=100))
    assert "fewer than 50 invocations on days whose REPORT lines show today's memory size" in refused(reports=stale)


def test_days_with_several_outcomes_count() -> None:
    failed = {TallyKey(END - timedelta(days=day), 1024, Outcome.TIMEOUT): tally(10) for day in range(1, 31)}
    assert computed(reports=together(reports(), Reports(failed, 0))).lines == 600


@pytest.mark.parametrize(("invocations", "sampled"), [(300, False), (308, False), (309, True)])
def test_fewer_lines_than_invocations_are_a_sample(invocations: int, sampled: bool) -> None:
    # Of 300 lines, two and 2 % of the invocations may be on days before or after: 0.98 × 308 − 2 = 299.84.
    assert computed(invocations=daily(invocations), duration_ms=daily(500 * invocations)).sampled is sampled


@pytest.mark.parametrize(("days", "sampled"), [(20, False), (19, True)])
def test_lines_of_too_few_days_are_a_sample(days: int, sampled: bool) -> None:
    # Older lines have expired: all of two thirds of the 30 days are enough to see the largest values.
    assert computed(invocations=daily(300), duration_ms=daily(150_000), reports=reports(days=days)).sampled is sampled


def test_lines_without_a_day_of_forged_ones_are_a_sample() -> None:
    kept = replace(reports(days=29), days_dropped=1)
    assert computed(invocations=daily(300), duration_ms=daily(150_000), reports=kept).sampled


def test_two_sizes_give_the_share_of_cpu_time() -> None:
    # 1.5 s at 512 MB, 1 s at 1,024 MB: half of the second is CPU time (see test_duration.py).
    model = computed(
        duration_ms=by_day((15, 1500 * 1e6 / 30), (15, 1000 * 1e6 / 30)),
        reports=together(reports(512, 15, 30), reports(1024, 15, seconds=1)),
    ).model
    assert model.measured
    # All days alike: each mean is off by the 2 % that it is taken to be off at least.
    assert shares(model) == pytest.approx((0.5 - 0.0831558, 0.5, 0.5 + 0.0831558), abs=1e-6)


def test_fewer_than_7_days_at_a_size_have_a_larger_error() -> None:
    # 3 days: 2 % × √(7/3) = 3.05505 %, and 2 % of the others. 1.96 × 1.5 × √(0.0305505² + 0.02²) = 0.1073536.
    model = computed(
        duration_ms=by_day((3, 1500 * 1e6 / 30), (27, 1000 * 1e6 / 30)),
        reports=together(reports(512, 3, 30), reports(1024, 27, seconds=1)),
    ).model
    assert shares(model) == pytest.approx((0.5 - 0.1073536, 0.5, 0.5 + 0.1073536), abs=1e-6)


def test_different_days_widen_the_bounds_of_the_share() -> None:
    # Half of the days at 1,024 MB took 0.8 s, half 1.2 s; those at 512 MB were alike. Both show how days differ:
    # √(14 × 0.2² / (13 + 15)) = 14.1421 %. The mean of 14 is off by 14.1421 / √14 = 3.77964 %, that of 16 by
    # 3.53553 %. 1.5 × √(0.0377964² + 0.0353553²) × 1.96 = 0.152159.
    model = computed(
        duration_ms=by_day((16, 1500 * 1e6 / 30), *[(1, 800 * 1e6 / 30), (1, 1200 * 1e6 / 30)] * 7),
        reports=together(reports(512, 16, 30), reports(1024, 14, seconds=1)),
    ).model
    assert model.measured
    assert shares(model) == pytest.approx((0.5 - 0.152159, 0.5, 0.5 + 0.152159), abs=1e-5)


def test_one_day_at_each_size_is_off_by_a_quarter() -> None:
    # 14 of 15 days of both sizes have no line: 25 % each, √2 × 25 % × 1.5 × 1.96 = 1.039 > 0.5. The range has it all.
    model = computed(
        duration_ms=by_day((15, 1500 * 1e6 / 30), (15, 1000 * 1e6 / 30)),
        reports=together(reports(512, 1, 30, lines=60), reports(1024, 1, seconds=1, lines=60)),
    ).model
    assert shares(model) == pytest.approx((0, 0.5, 1))


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
        assert model.expected[0].share == pytest.approx(share)


KINDS_OF_LINES = together(
    reports(slowest=1.2),
    Reports({TallyKey(ago(9), 1024, Outcome.TIMEOUT): tally(1, seconds=3)}, 0),
    Reports({TallyKey(ago(8), 1024, Outcome.ERROR): tally(1, seconds=1.4)}, 0),
)


@pytest.mark.parametrize(
    ("invocations", "slowest_ms", "seconds"),
    [
        (302, None, 1.4),  # of all lines, the longest that did not time out
        (302, 2000, 1.4),
        (1_000_000, 2000, 2.0),  # a sample: the metric has the others
        (1_000_000, 2999, 2.999),
        (1_000_000, 3000, 2.1),  # some timed out, and hide the longest of the others: 1.5 × 1.4 s
    ],
)
def test_the_slowest_invocation_is_the_longest_that_did_not_time_out(
    invocations: int, slowest_ms: float | None, seconds: float
) -> None:
    given = {"invocations": daily(invocations), "duration_ms": daily(500 * invocations)}
    used = computed(**given, reports=KINDS_OF_LINES, slowest_ms=slowest_ms and on_days({11: slowest_ms, 3: 100.0}))
    assert used.slowest_seconds == pytest.approx(seconds)


def test_no_invocation_takes_longer_than_the_timeout() -> None:
    assert computed(reports=reports(slowest=2.5), slowest_ms=on_days({11: 3000.0})).slowest_seconds == 3


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
        ({"invocations": daily(1e6, 27, 30), "reports": reports(days=27, first=30)}, "not invoked since 2026-06-28"),
        ({"invocations": by_day((15, 9e4), (15, 3.3)), "reports": together(reports(512, 15, 30), reports(1024, 15))},
         "fewer than 50 invocations on days"),  # 49.5 of them at today's size
        ({"duration_ms": daily(0)}, "do not fit its Duration metric"),
    ],
)  # fmt: skip
def test_thin_data_support_no_claim(given: dict[str, Any], reason: str) -> None:
    assert reason in refused(**given)


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
    assert compute(function(), usage(), Window.before(NOW, 13)) == NoClaim(
        "the window asked for is shorter than 14 days"
    )
    assert isinstance(compute(function(), usage(), Window.before(NOW, 14)), Compute)
    on_own_instances = compute(function(capacity_provider=True), usage(), WINDOW)
    assert isinstance(on_own_instances, NoClaim)
    assert "not billed by the GB-second" in on_own_instances.reason


def test_invocations_without_any_billed_time_support_no_claim() -> None:
    assert "show no billed time" in refused(duration_ms=daily(0), reports=reports(seconds=0))


def test_a_day_without_a_duration_is_left_out_of_the_mean() -> None:
    missing = {day: 5e8 / 30 for day in daily(1).by_day if day != date(2026, 6, 30)}
    assert computed(duration_ms=Daily(missing, END)).billed_seconds == pytest.approx(0.5)


def test_days_with_lines_but_without_a_metric_are_missing_and_not_zero() -> None:
    shown = {day: 1e6 / 30 for day in daily(1).by_day if day not in (ago(1), ago(2), ago(9))}
    metrics = {"invocations": Daily(shown, END), "duration_ms": Daily({day: 500 * n for day, n in shown.items()}, END)}
    used = computed(**metrics)
    assert (used.invocations.expected, used.gb_seconds) == pytest.approx((1e6, 500_000))
    # Without lines, the last two days may be without invocations.
    assert computed(**metrics, reports=reports(days=28, first=30)).invocations.expected < 0.97e6

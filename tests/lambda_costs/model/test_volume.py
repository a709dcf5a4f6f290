"""The coming 30 days: the last 30 days' number, the last 7 days' rate, and what chance explains of the difference.

Z = 1.96 standard errors. The error of a week of n invocations is Z × √(D / n), where D is the variance of a week's
invocations over their mean, at least 1. The variance of a − 2b + c is six times that of each.
"""

from collections.abc import Sequence
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_costs.collect.metrics import Daily
from lambda_costs.model.volume import Volume, missing_days, project, stopped_on
from tests.lambda_costs.cases import END, ago

NONE: frozenset[date] = frozenset()

STEADY = (2777.757, 3000, 3222.243)  # 100 a day: 700 in each week, D = 1, 1.96 / √700 = 7.408104 %


def calls(*counts: float) -> Daily:
    """Return ``counts`` of the last days; a day of 0 has no datapoint, as in CloudWatch."""
    days = {ago(len(counts) - index): count for index, count in enumerate(counts)}
    return Daily({day: count for day, count in days.items() if count}, END)


def volume(counts: Sequence[float], missing: frozenset[date] = NONE, window: int | None = None) -> tuple[float, ...]:
    found = project(calls(*counts), missing, ago(window or len(counts)))
    return found.low, found.expected, found.high


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([100.0] * 30, STEADY),
        # 101 a day in the last week: 3,030 in 30 days, by 707 ± 1.96 / √707 = 7.3713 %; 3,007 in the last 30 days. That
        # is less apart than chance explains: the mean of both.
        ([100.0] * 23 + [101.0] * 7, (2806.65, 3018.5, 3253.35)),
        # The rate grows by as much each week: a trend and no chance, D = 1. By the last week, 2,800 ± 3.7041 %, it is
        # 12,000 in 30 days. The range holds the last month's rate: 7,000 / 28 × 30.
        ([100.0] * 7 + [200.0] * 7 + [300.0] * 7 + [400.0] * 7, (7500, 12_000, 12_444.49)),
        # The last of 4 weeks doubles: (1400 − 1400 + 700)² / 2 / 6 = 40,833.3 over a mean of 875, D = 46.667. 1,400 are
        # off by 35.7845 %, or 2,147.07 of 6,000 in 30 days. The 3,700 of the last 30 days are 2,300 or 1.071226 times
        # that apart: 0.5 + 0.5 × 0.071226 = 0.535613 of the week's rate, the rest of the month's.
        ([100.0] * 23 + [200.0] * 7, (3700, 4931.91, 8147.07)),
        # Two weeks only: days of 50 and 150 have a variance of 2,500 over a mean of 100, D = 25. The last 7 days have
        # 650, ± 1.96 × √(25 / 650) = 38.4387 %: 2,785.71 in 30 days, less than that from the 3,000 of both weeks.
        ([150.0, 50.0] * 3 + [150.0, 50.0] + [150.0, 50.0] * 3, (1714.92, 2892.86, 3856.51)),
        # Every fourth week, nothing for the last 7 days: 2,100 in 28 days are 2,250 in 30, of which half is expected.
        ([100.0] * 21 + [0.0] * 7, (0, 1125, 2250)),
        # One in the last 7 of 14 days, of which 8 are known: 30/7 in 30 days, off by more than all of it. The other
        # week's 60 make 130.7 in 30 days, more than 30 times that.
        ([0.0] * 6 + [60.0] + [0.0] * 6 + [1.0], (0, 30 / 7, 900 / 7)),
    ],
)  # fmt: skip
def test_the_volume_holds_the_last_month_and_the_last_week(counts: list[float], expected: tuple[float, ...]) -> None:
    assert volume(counts) == pytest.approx(expected, rel=1e-5)


def test_a_young_function_goes_on_at_the_rate_of_its_last_week() -> None:
    # 14 days of 100 in a window of 30: 3,000 in 30 days by the last week, 1,400 in the last 30 days.
    assert volume([100.0] * 14, window=30) == pytest.approx((1400, *STEADY[1:]))


def test_missing_days_count_as_the_others() -> None:
    # 27 days of 100; the last 7 known ones lie in 10 days.
    missing = frozenset(map(ago, (2, 3, 4)))
    assert volume([100.0] * 26 + [0.0] * 3 + [100.0], missing) == pytest.approx(STEADY)
    # As zeros, these would be 400 in the last 7 days, 1,714 in 30 days.
    assert volume([100.0] * 26 + [0.0] * 3 + [100.0])[0] < 1714.3


@pytest.mark.parametrize(
    ("counts", "logged", "missing"),
    [
        # The chance of a silent day is (silent + 1) / (days + 2), of the days outside the pause.
        ([100.0] * 20 + [0.0] * 3 + [100.0] * 7, (), (8, 9, 10)),  # (1/29)³ = 0.004 %
        ([100.0] * 20 + [0.0] * 2 + [100.0] * 8, (), ()),  # (1/30)² = 0.111 %
        (([100.0] * 5 + [0.0] * 2) * 4, (), ()),  # weekends: 6 others of 26 days are silent, (5/26)² = 3.7 %
        ([100.0] * 20 + [0.0] + [100.0] * 9, (9, 10), (10,)),  # REPORT lines of a day without a datapoint
        ([100.0] * 29 + [0.0], (1,), (1,)),
        ([100.0] * 30, (0, 31), ()),  # beside the window
        ([100.0] * 20 + [0.0] * 10, (), ()),  # silence that goes on is another matter
    ],
)
def test_days_that_chance_does_not_explain_are_missing(
    counts: list[float], logged: tuple[int, ...], missing: tuple[int, ...]
) -> None:
    assert missing_days(calls(*counts), frozenset(map(ago, logged)), ago(30)) == frozenset(map(ago, missing))


@pytest.mark.parametrize(
    ("counts", "missing", "since"),
    [
        ([100.0] * 27 + [0.0] * 3, (), 3),  # (1/29)³
        ([100.0] * 28 + [0.0] * 2, (), None),  # (1/30)² = 0.111 %
        ([100.0] * 27 + [0.0] * 3, (1,), None),  # CloudWatch does not show one of the days: (1/29)² = 0.119 %
        ([100.0, *[0.0] * 6] * 4, (), None),  # once a week: (19/24)⁶ = 25 %
        ([100.0, *[0.0] * 6] * 3 + [100.0, *[0.0] * 60], (), 60),  # (19/24)⁶⁰ = 0.00008 %
        ([100.0] * 30, (), None),
        ([100.0] * 9 + [0.0] * 3, (1, 2, 3), None),
    ],
)
def test_a_silence_that_chance_does_not_explain_is_a_stop(
    counts: list[float], missing: tuple[int, ...], since: int | None
) -> None:
    assert stopped_on(calls(*counts), frozenset(map(ago, missing))) == (since and ago(since))


def test_a_metric_of_zeros_has_stopped_on_its_first_day() -> None:
    assert stopped_on(Daily({ago(3): 0.0, ago(2): 0.0}, END), NONE) == ago(3)


@pytest.mark.parametrize(
    ("error", "low", "high"),
    [
        (0.1, 0.9, 11),
        (2.0, 0, 30),  # at most 30 times what is expected: 60
        (9.0, 0, 60),
    ],
)
def test_an_error_widens_the_range_up_to_30_times_the_expected(error: float, low: float, high: float) -> None:
    widened = Volume(1.0, 2.0, 10.0).widened(error)
    assert (widened.low, widened.expected, widened.high) == pytest.approx((low, 2, high))


counts = st.lists(st.integers(0, 10_000).map(float), min_size=14, max_size=60).filter(lambda days: sum(days) >= 50)


@given(counts)
def test_the_volume_is_in_order_and_positive(days: list[float]) -> None:
    low, expected, high = volume(days)
    assert 0 <= low <= expected + 1e-9
    assert expected > 0
    assert expected <= high + 1e-9
    assert high <= 30 * expected + 1e-9


@given(counts, st.sampled_from([2, 10, 100]))
def test_fewer_invocations_never_give_a_narrower_range(days: list[float], divisor: int) -> None:
    few = volume([day / divisor for day in days])
    low, _, high = volume(days)
    assert few[0] * divisor <= low + 1e-6
    # The range is limited to 30 times what is expected.
    assert few[2] * divisor >= min(high, 30 * few[1] * divisor) - 1e-6


@given(st.lists(st.integers(100, 10_000).map(float), min_size=21, max_size=60), st.integers(0, 20))
def test_one_percent_of_a_day_changes_the_volume_by_little(days: list[float], place: int) -> None:
    changed = [day * 1.01 if index == place else day for index, day in enumerate(days)]
    for before, after in zip(volume(days), volume(changed), strict=True):
        # A day's hundredth is at most that of the last week's 7 days, in 30 days, and moves the error as well.
        assert abs(after - before) <= 0.01 * max(days) * 30 / 7 * 6


def test_the_window_begins_where_it_was_asked_for() -> None:
    # Of 60 days the first 30 had nothing: 3,000 in 60 days, but 3,000 in 30 days by the last week.
    assert volume([100.0] * 30, window=60) == pytest.approx((1500, *STEADY[1:]))

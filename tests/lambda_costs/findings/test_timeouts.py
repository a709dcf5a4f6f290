"""Timeouts of invocations that take 0.5 s if they succeed, at 1 GB and $0.0000166667 a GB-second."""

from dataclasses import replace
from math import sqrt

import pytest

from lambda_costs.collect.report_lines import Outcome, Reports, TallyKey
from lambda_costs.findings.timeouts import find
from lambda_costs.model.finding import NO_SAVINGS, Basis, Measurement
from tests.lambda_costs.cases import Example, ago, amounts, claimed, daily, failing, found, retally, tally, usage

# Of 100 invocations a day, 700 in the last week: chance, and 2 % of the mean duration.
MORE = (1 + 1.96 / sqrt(700)) * (1 + 1.96 * 0.02)

DAILY_20 = dict.fromkeys(range(1, 31), 20)
TIMED_OUT = Reports({TallyKey(ago(day), 1024, Outcome.TIMEOUT): tally(20) for day in range(1, 31)}, 0)

EXAMPLE = Example({}, usage(reports=TIMED_OUT, errors=daily(1_000_000)), needs="on_demand")

# Failed invocations by days ago, invocations a day, and whether that is found.
FAILURES = [
    ({1: 10}, 100, False),  # exactly 10 %
    ({1: 11}, 100, True),
    ({7: 11}, 100, True),
    ({8: 11}, 100, False),  # longer ago than the last 7 days
    ({1: 5}, 19, False),  # one of so few lines is a large share
    ({1: 3}, 20, True),
    ({}, 100, False),
]


def test_timeouts_cost_what_they_run_longer_than_the_others() -> None:
    # 20 of 100 invocations a day, 600 of 3,000: × 3 s × 1 GB × $0.0000166667 is $0.03000006 in all, at most; if they
    # ended after 0.5 s as the others do, 2.5 s each or $0.02500005 would be saved.
    result = claimed(find, used=failing(DAILY_20))
    assert amounts(result.savings) == pytest.approx((0, 0.02500005, 0.03000006 * MORE))
    # The mean is 0.8 × 0.5 + 0.2 × 3 = 1 s: 3,000 GB-s.
    assert result.scaling
    assert (result.scaling.cost, result.scaling.gb_seconds) == pytest.approx((3000 * 0.0000166667, 3000))
    assert result.evidence["Timeouts"] == Measurement(600, "per 30 days")
    assert result.evidence["Timed out on it"] == Measurement(20.0, "%")
    assert result.proposed == {}


def test_where_every_invocation_times_out_all_of_the_cost_is_lost() -> None:
    result = claimed(find, used=failing(dict.fromkeys(range(1, 31), 100)))
    # 3,000 × 3 s × $0.0000166667
    assert amounts(result.savings) == pytest.approx((0, 0.1500003, 0.1500003 * MORE))


@pytest.mark.parametrize(("failed", "calls", "is_found"), FAILURES)
def test_found_above_10_percent_on_one_of_the_last_7_days(failed: dict[int, int], calls: int, is_found: bool) -> None:
    assert bool(found(find, used=failing(failed, calls))) is is_found


@pytest.mark.parametrize(("errors_a_day", "is_found"), [(0, False), (10, False), (15, True)])
def test_there_are_no_more_timeouts_than_errors(errors_a_day: int, is_found: bool) -> None:
    # 20 of 100 lines a day say so, of 9 s each; but the timeout is 3 s.
    used = retally(
        failing(DAILY_20, errors=daily(30 * errors_a_day)),
        lambda key, item: replace(item, billed_ms=9000 * item.lines) if key.outcome == Outcome.TIMEOUT else item,
    )
    result = found(find, used=used)
    assert bool(result) is is_found
    if is_found:
        # 450 × 3 s × $0.0000166667
        assert result.savings.high == pytest.approx(0.022500045 * MORE)


@pytest.mark.parametrize(
    ("failed", "calls", "taper"),
    [
        ({1: 11}, 100, 0.5),  # (0.11 − 0.1) / 0.02
        ({1: 12}, 100, 1),
        ({1: 101}, 1000, 0.05),
        ({1: 12, 2: 8, **dict.fromkeys(range(8, 31), 90)}, 100, 1),  # before the last 7 days it was worse
        ({1: 101, 6: 9}, 1000, 0.05),
    ],
)
def test_what_timed_out_in_the_last_7_days_is_expected_above_10_percent(
    failed: dict[int, int], calls: int, taper: float
) -> None:
    # In 30 days 30/7 times those of the last 7, of 2.5 s more than the others.
    number = sum(count for day, count in failed.items() if day <= 7) * 30 / 7
    result = claimed(find, used=failing(failed, calls))
    assert result.evidence["Timeouts"] == Measurement(round(number, 1), "per 30 days")
    assert result.savings.expected == pytest.approx(number * 2.5 * 0.0000166667 * taper)
    near = f"{taper:.0%} of this is expected: the worst day is near 10%."
    assert (near in result.formula) is (taper < 1)
    assert result.savings.low == 0


@pytest.mark.parametrize(("longest", "sure"), [(0.5, 1), (1.5, 1), (2.1, 0.5), (2.7, 0), (2.9, 0)])
def test_timeouts_that_may_only_need_longer_are_not_expected_to_save(longest: float, sure: float) -> None:
    # The timeout is 3 s. Of a longest success of 2.1 s, (0.9 − 2.1/3) / (0.9 − 0.5) = 0.5.
    used = retally(
        failing(DAILY_20),
        lambda key, item: replace(item, slowest_ms=1000 * longest) if key.outcome == Outcome.SUCCESS else item,
    )
    result = claimed(find, used=used)
    assert amounts(result.savings) == pytest.approx((0, 0.02500005 * sure, 0.03000006 * MORE), abs=1e-12)
    assert result.basis is (Basis.MEASURED if sure == 1 else Basis.TO_TEST)


@pytest.mark.parametrize(
    ("failed", "basis"),
    [
        # 30 % in the last 7 days. In the window, these are 30 %, (7 × 30 + 23 × 11) / 30 = 15.4 %, and 14.7 %.
        (dict.fromkeys(range(1, 31), 30), Basis.MEASURED),
        ({**dict.fromkeys(range(1, 8), 30), **dict.fromkeys(range(8, 31), 11)}, Basis.MEASURED),
        ({**dict.fromkeys(range(1, 8), 30), **dict.fromkeys(range(8, 31), 10)}, Basis.TO_TEST),
        (dict.fromkeys(range(3, 31), 30), Basis.TO_TEST),  # none in the latest two days
        ({1: 14, **dict.fromkeys(range(2, 31), 30)}, Basis.MEASURED),  # 22 % in these, of 29.5 % in the window
        ({1: 90, **dict.fromkeys(range(8, 31), 90)}, Basis.TO_TEST),  # 12.9 % in the last 7 days, 72 % in the window
        (dict.fromkeys(range(1, 31), 100), Basis.TO_TEST),  # none succeeded, so nobody knows how long one takes
    ],
)
def test_steady_timeouts_are_measured(failed: dict[int, int], basis: Basis) -> None:
    assert claimed(find, used=failing(failed)).basis is basis


def test_timeouts_that_began_yesterday_may_go_on() -> None:
    # All invocations of a day cost at most what all of the compute costs.
    result = claimed(find, used=failing({1: 99}))
    assert result.scaling
    assert result.savings.high == pytest.approx(result.scaling.cost * result.scaling.more)


def test_timeouts_claim_nothing_where_the_free_tier_covers_them() -> None:
    result = claimed(find, used=failing(DAILY_20), free=True)
    assert (result.savings, result.scaling) == (NO_SAVINGS, None)


def test_days_without_lines_get_the_timeout_share_of_the_whole_sample() -> None:
    early = retally(failing(DAILY_20), lambda key, item: item if key.day < ago(8) else None)
    assert claimed(find, used=early).evidence["Timed out on it"] == Measurement(20.0, "%, by the whole window's lines")

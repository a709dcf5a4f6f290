"""Timeouts of invocations that take 0.5 s if they succeed, at 1 GB and $0.0000166667 a GB-second."""

from dataclasses import replace

import pytest

from lambda_costs.collect.report_lines import Outcome, Reports, TallyKey
from lambda_costs.findings.timeouts import find
from lambda_costs.model.finding import Measurement
from tests.lambda_costs.cases import Example, ago, amounts, claimed, daily, failing, found, retally, tally, usage

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
    assert amounts(result.savings) == pytest.approx((0, 0.02500005, 0.03000006))
    # The mean is 0.8 × 0.5 + 0.2 × 3 = 1 s: 3,000 GB-s.
    assert result.scaling
    assert (result.scaling.cost, result.scaling.gb_seconds) == pytest.approx((3000 * 0.0000166667, 3000))
    assert result.evidence["Timeouts"] == Measurement(600, "per 30 days")
    assert result.evidence["Timed out on it"] == Measurement(20.0, "%")
    assert result.proposed == {}


def test_where_every_invocation_times_out_all_of_the_cost_is_lost() -> None:
    result = claimed(find, used=failing(dict.fromkeys(range(1, 31), 100)))
    # 3,000 × 3 s × $0.0000166667
    assert amounts(result.savings) == pytest.approx((0, 0.1500003, 0.1500003))


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
        assert result.savings.high == pytest.approx(0.022500045)


def test_days_without_lines_get_the_timeout_share_of_the_whole_sample() -> None:
    early = retally(failing(DAILY_20), lambda key, item: item if key.day < ago(8) else None)
    assert claimed(find, used=early).evidence["Timed out on it"] == Measurement(20.0, "%, by the whole window's lines")

"""More than 90 % of the memory used, or out of memory; prices as in test_memory_high.py."""

import pytest

from lambda_costs.collect.report_lines import Outcome, Reports, TallyKey
from lambda_costs.findings.memory_low import find
from lambda_costs.model.finding import NO_SAVINGS, Measurement
from tests.lambda_costs.cases import (
    FEWER,
    MORE,
    Example,
    ago,
    amounts,
    claimed,
    daily,
    found,
    function,
    measured,
    reports,
    tally,
    together,
    usage,
    used_at,
)

EXAMPLE = Example({}, used_at(1024, 1024), needs="on_demand")


@pytest.mark.parametrize(
    ("today", "used", "proposed"),
    [
        (1000, 900, None),  # exactly 90 %
        (1000, 901, 1088),  # 1.2 × 901 = 1081.2
        (128, 128, 192),
        (9000, 8900, 10_240),  # no function has more
    ],
)
def test_memory_is_too_low_above_90_percent_used(today: int, used: int, proposed: int | None) -> None:
    result = found(find, function(memory_mb=today), used_at(today, used))
    assert (result and result.proposed) == (proposed and {"memory_mb": proposed})
    assert not result or f"--memory-size {proposed}" in result.how_to
    assert not result or (result.test["lambdaARN"], result.test["powerValues"]) == (result.arn, [today, proposed])


def test_memory_is_too_low_if_one_invocation_ran_out_of_it() -> None:
    died = Reports({TallyKey(ago(11), 1024, Outcome.OUT_OF_MEMORY): tally(1, max_used_mb=300)}, 0)
    lines = together(reports(max_used_mb=300), died)
    result = claimed(find, used=usage(reports=lines, errors=daily(1)))
    # It would have used more than all there is: 1.2 × 1,024 = 1,228.8.
    assert result.proposed == {"memory_mb": 1280}
    assert result.evidence["Invocations out of memory"] == Measurement(1, "of the REPORT lines read")
    # Without an error in the metric, the line is forged.
    assert found(find, used=usage(reports=lines)) is None


@pytest.mark.parametrize(("today", "died"), [(10_240, 0), (10_239, 1), (10_200, 0)])
def test_where_lambda_has_no_more_memory_the_work_must_be_split(today: int, died: int) -> None:
    lines = reports(today, max_used_mb=today)
    if died:
        key = TallyKey(ago(11), today, Outcome.OUT_OF_MEMORY)
        lines = together(reports(today, max_used_mb=300), Reports({key: tally(1, max_used_mb=300)}, 0))
    result = claimed(find, function(memory_mb=today), usage(reports=lines, errors=daily(1)))
    assert "Lambda has no more memory to give" in result.change
    assert (result.proposed, result.how_to, result.savings) == ({}, "", NO_SAVINGS)
    assert result.evidence["Invocations out of memory"] == Measurement(died, "of the REPORT lines read")


def test_memory_used_at_another_size_does_not_count() -> None:
    lines = together(reports(512, 10, 30, max_used_mb=512), reports(1024, 20, max_used_mb=500))
    assert found(find, used=usage(reports=lines)) is None


def test_more_memory_claims_no_money_before_its_duration_is_known() -> None:
    result = claimed(find, used=used_at(1024, 922))
    assert (result.savings, result.scaling) == (NO_SAVINGS, None)
    # 1,152 MB: an eighth of $8.33335 more if it waits all the time, times 1.0434 for more invocations; nothing if it
    # computes.
    assert result.evidence["Costs more"] == Measurement("$0.00 to $1.09", "in 30 days")


def test_more_memory_costs_what_the_fitted_duration_says() -> None:
    # $16.6667 × (1 − 1.125 × k), k = 1 − share/9 with a share of 0.5 ± 0.0831558: 1 − 1.125 k = −0.125 + 0.125 share.
    result = claimed(find, used=measured(922))
    low, expected, high = (16.6667 * (-0.125 + 0.125 * share) for share in (0.4168442, 0.5, 0.5831558))
    # More invocations cost more, fewer less.
    assert amounts(result.savings) == pytest.approx((low * MORE, expected, high * FEWER), abs=1e-5)
    assert result.scaling
    assert result.scaling.cost == pytest.approx(16.6667)


def test_more_memory_for_an_alias_costs_more_than_its_mix_today() -> None:
    # A day's 10 lines at 1,024 MB take 0.5 s, 30 at 512 MB 0.9 s: 1e6 × (0.25 × 0.5 + 0.75 × 0.9 / 2) = 462,500 GB-s.
    # 1.2 × 1,000 MB is up to 1,216 MB: 500,000 × (0.2 × 1216/1024 + 0.8) = 518,750 GB-s, where 0.8 is CPU time.
    lines = together(reports(max_used_mb=1000), reports(512, lines=30, seconds=0.9))
    result = claimed(find, used=usage(duration_ms=daily(800 * 1e6), reports=lines))
    assert result.savings.expected == pytest.approx(-56_250 * 0.0000166667)


def test_more_memory_claims_nothing_where_the_free_tier_covers_it() -> None:
    result = claimed(find, used=measured(922), free=True)
    assert (result.savings, result.scaling) == (NO_SAVINGS, None)

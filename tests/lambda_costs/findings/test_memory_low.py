"""More than 90 % of the memory used, or out of memory; prices as in test_memory_high.py."""

import pytest

from lambda_costs.collect.report_lines import Outcome, Reports, TallyKey
from lambda_costs.findings.memory_low import find
from lambda_costs.model.finding import NO_SAVINGS, Measurement
from tests.lambda_costs.cases import (
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
        (10_240, 10_240, None),
    ],
)
def test_memory_is_too_low_above_90_percent_used(today: int, used: int, proposed: int | None) -> None:
    result = found(find, function(memory_mb=today), used_at(today, used))
    assert (result and result.proposed) == (proposed and {"memory_mb": proposed})
    assert not result or f"--memory-size {proposed}" in result.how_to


def test_memory_is_too_low_if_one_invocation_ran_out_of_it() -> None:
    died = Reports({TallyKey(ago(11), 1024, Outcome.OUT_OF_MEMORY): tally(1, max_used_mb=300)}, 0)
    lines = together(reports(max_used_mb=300), died)
    result = claimed(find, used=usage(reports=lines, errors=daily(1)))
    # It would have used more than all there is: 1.2 × 1,024 = 1,228.8.
    assert result.proposed == {"memory_mb": 1280}
    assert result.evidence["Invocations out of memory"] == Measurement(1, "of the REPORT lines read")
    # Without an error in the metric, the line is forged.
    assert found(find, used=usage(reports=lines)) is None


def test_memory_used_at_another_size_does_not_count() -> None:
    lines = together(reports(512, 10, 30, max_used_mb=512), reports(1024, 20, max_used_mb=500))
    assert found(find, used=usage(reports=lines)) is None


def test_more_memory_claims_no_money_before_its_duration_is_known() -> None:
    result = claimed(find, used=used_at(1024, 922))
    assert (result.savings, result.scaling) == (NO_SAVINGS, None)
    # 1,152 MB: an eighth of $8.33335 more if it waits all the time, nothing if it computes.
    assert result.evidence["Costs more"] == Measurement("$0.00 to $1.04", "per 30 days")


def test_more_memory_costs_what_the_fitted_duration_says() -> None:
    # $16.6667 × (1 − 1.125 × k), k = 1 − share/9 with a share of 0.5 ± 0.0831558: 1 − 1.125 k = −0.125 + 0.125 share.
    result = claimed(find, used=measured(922))
    saved = (16.6667 * (-0.125 + 0.125 * share) for share in (0.4168442, 0.5, 0.5831558))
    assert amounts(result.savings) == pytest.approx(tuple(saved), abs=1e-5)
    assert result.scaling
    assert result.scaling.cost == pytest.approx(16.6667)

from dataclasses import replace

import pytest

from lambda_costs.findings.errors import find
from lambda_costs.model.finding import NO_SAVINGS, Measurement
from tests.lambda_costs.cases import Example, abstained, ago, claimed, daily, failing, found, on_days, retally, usage
from tests.lambda_costs.findings.test_timeouts import DAILY_20, FAILURES

EXAMPLE = Example({}, usage(errors=daily(500_000)), needs="compute")


@pytest.mark.parametrize(("failed", "calls", "is_found"), FAILURES)
def test_found_above_10_percent_on_one_of_the_last_7_days(failed: dict[int, int], calls: int, is_found: bool) -> None:
    # Errors that are not timeouts.
    assert bool(found(find, used=failing({}, calls, errors=failing(failed, calls).errors))) is is_found


@pytest.mark.parametrize(("failed", "is_found"), [(30, False), (31, True)])
def test_a_timeout_does_not_count_as_an_error(failed: int, is_found: bool) -> None:
    # 20 of 100 invocations timed out, which the metric Errors counts as well.
    assert bool(found(find, used=failing({1: 20}, errors=on_days({1: failed})))) is is_found


def test_days_without_lines_have_no_known_share_of_errors() -> None:
    assert found(find, used=retally(failing(DAILY_20), lambda key, item: item if key.day < ago(8) else None)) is None


@pytest.mark.parametrize(("timed_out", "is_found"), [({1: 20}, False), ({}, True)])
def test_few_lines_do_not_show_how_many_errors_are_timeouts(timed_out: dict[int, int], is_found: bool) -> None:
    used = retally(
        failing(timed_out, errors=on_days({3: 40})),
        lambda key, item: replace(item, lines=5) if key.day == ago(3) else item,
    )
    assert bool(found(find, used=used)) is is_found


def test_errors_claim_no_money() -> None:
    result = claimed(find, used=usage(errors=daily(250_000)))
    assert (result.savings, result.proposed) == (NO_SAVINGS, {})
    # A quarter of $8.33335
    assert result.evidence["Billed for failed invocations"] == Measurement("about $2.08", "per 30 days")
    assert "Errors datapoint" in abstained(find, used=usage(errors=None))

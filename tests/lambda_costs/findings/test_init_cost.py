"""Init and SnapStart: prices of us-east-1, AWS Price List of 2025-10."""

from dataclasses import replace
from typing import Any

import pytest

from lambda_costs.findings.init_cost import find
from lambda_costs.model.finding import NO_SAVINGS, Basis, Finding, Measurement
from tests.lambda_costs.cases import (
    FEWER,
    MORE,
    Example,
    amounts,
    claimed,
    context,
    daily,
    found,
    function,
    reports,
    usage,
)

# A day's 10 lines bill 50 s, half of them init, one cold start among them. By the metric, an invocation takes 2.5 s,
# and 2.5 s are billed on top: 5,000,000 GB-s for $83.3335, of which init $41.66675. A tenth of the million are cold
# starts.
SLOW_START = usage(duration_ms=daily(2.5e9), reports=reports(seconds=5, init_seconds=25, inits=1))

EXAMPLE = Example({"runtime": "java21"}, usage(reports=reports(init_seconds=1, inits=1)), needs="billed")


@pytest.mark.parametrize(
    ("runtime", "fees"),
    [
        # $0.0000015046 × 2,592,000 s = $3.8999232 for the cache, $0.0001397998 × 100,000 = $13.97998 to restore it.
        ("python3.12", 17.8799032),
        ("java21", 0),
    ],
)
def test_snapstart_saves_half_to_all_of_init_less_its_fees(runtime: str, fees: float) -> None:
    result = claimed(find, function(runtime=runtime), SLOW_START)
    # Restoring takes up to half of it, a quarter is expected; and of 30 cold starts that a sample holds, there may have
    # been 1.96 / √30 = 0.35784541 more or fewer.
    low, expected, high = 41.66675 / 2 * 0.64215459 - fees, 41.66675 * 0.75 - fees, 41.66675 * 1.35784541 - fees
    # More invocations lose and save more.
    assert amounts(result.savings) == pytest.approx((low * (FEWER if low > 0 else MORE), expected, high * MORE))
    assert result.basis is Basis.TO_TEST
    assert result.scaling
    assert result.scaling.cost == pytest.approx(83.3335)
    assert result.proposed == {"snapstart": True}
    assert "publish-version" in result.how_to  # SnapStart does not cover $LATEST


def test_snapstart_is_not_proposed_if_its_fees_exceed_its_savings() -> None:
    # 0.1 s of init an invocation: 100,000 GB-s for $1.67, against $17.88.
    little = usage(reports=reports(init_seconds=1, inits=1))
    assert found(find, used=little) is None
    assert found(find, function(runtime="java21"), little) is not None


@pytest.mark.parametrize(("init_seconds", "is_found"), [(0.55, False), (0.56, True)])
def test_init_is_found_from_a_tenth_of_the_billed_time_on(init_seconds: float, is_found: bool) -> None:
    # Of 10 lines. 0.055/(0.5 + 0.055) is 9.9 %, 0.056/(0.5 + 0.056) is 10.1 %.
    used = usage(reports=reports(init_seconds=init_seconds, inits=1))
    assert bool(found(find, function(runtime="java21"), used)) is is_found


@pytest.mark.parametrize(
    "changes",
    [
        {"runtime": "python3.11"},
        {"runtime": None, "package_type": "Image"},
        {"file_system": True},
        {"ephemeral_mb": 513},
    ],
)
def test_init_claims_nothing_where_snapstart_is_not_possible(changes: dict[str, Any]) -> None:
    result = claimed(find, function(**changes), SLOW_START)
    assert (result.savings, result.proposed, result.how_to) == (NO_SAVINGS, {}, "")
    assert result.evidence["Init costs"] == Measurement("$41.67", "per 30 days")


@pytest.mark.parametrize(
    ("runtime", "possible"),
    [
        ("java17.al2023", "not known: the runtime is not in the table"),
        ("java11.al2023", "not known: the runtime is not in the table"),
        ("python3.11", "not possible as configured"),
    ],
)
def test_whether_snapstart_supports_an_unknown_runtime_is_not_known(runtime: str, possible: str) -> None:
    result = claimed(find, function(runtime=runtime), SLOW_START)
    assert str(result.evidence["SnapStart"].value).startswith(possible)
    assert ("is not known" in result.formula) is possible.startswith("not known")
    assert (result.savings, result.proposed) == (NO_SAVINGS, {})


def test_init_claims_nothing_where_the_fees_are_not_known() -> None:
    here = context(used=SLOW_START)
    [result] = find(replace(here, known_rates=replace(here.rates, snapstart_cache=None)))
    assert isinstance(result, Finding)
    assert result.savings == NO_SAVINGS


def test_nothing_is_found_where_snapstart_is_on() -> None:
    assert found(find, function(snapstart=True), SLOW_START) is None

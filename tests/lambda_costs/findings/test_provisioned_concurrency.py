"""PC: n·GB·s·p_pc − G_pc·(p − p_pcduration), at prices of us-east-1, AWS Price List of 2025-10.

One execution of 1,024 MB is kept warm for 2,592,000 GB-s, for 2,592,000 × $0.0000041667 = $10.8000864; a GB-s on it
saves $0.0000166667 − $0.0000097222 = $0.0000069445.
"""

from typing import Any

import pytest

from lambda_costs.collect.usage import FunctionUsage
from lambda_costs.findings.provisioned_concurrency import find
from lambda_costs.model.finding import Measurement
from tests.lambda_costs.cases import (
    Example,
    abstained,
    ago,
    amounts,
    claimed,
    daily,
    found,
    function,
    provisioned,
    reports,
    together,
    usage,
)

WARM = 10.8000864


def on_pc(warm: float | None, executions: int = 1, days: int = 30, **used: Any) -> FunctionUsage:
    """Return the usage of a function of which ``warm`` invocations ran on PC."""
    return usage(provisioned=provisioned(None if warm is None else daily(warm, days), executions), **used)


EXAMPLE = Example({}, on_pc(0), needs="compute")


@pytest.mark.parametrize(
    ("invocations", "executions", "least", "expected", "most", "utilisation"),
    [
        # 300,000 GB-s ran on it: 2.08335; at most the 500,000 of the whole function: 3.47225. Each may be 5 % off:
        # 2.08335 × 0.95 = 1.9791825 and 3.47225 × 1.05 = 3.6458625.
        (600_000, 1, WARM - 3.6458625, WARM - 2.08335, WARM - 1.9791825, Measurement(11.6, "%")),
        (0, 3, 3 * WARM - 3.6458625, 3 * WARM, 3 * WARM, Measurement(0.0, "%")),
        # A missing datapoint does not prove that it is unused: the middle is expected.
        (None, 1, WARM - 3.6458625, WARM - 1.82293125, WARM, Measurement("not known")),
    ],
)
def test_savings_are_keeping_it_warm_less_its_cheaper_duration(
    invocations: int | None, executions: int, least: float, expected: float, most: float, utilisation: Measurement
) -> None:
    result = claimed(find, used=on_pc(invocations, executions))
    assert amounts(result.savings) == pytest.approx((least, expected, most))
    assert result.scaling is None
    assert result.evidence["Break-even utilisation"] == Measurement(60.0, "%")
    assert result.evidence["Utilisation"] == utilisation
    assert result.id == "provisioned-concurrency-unused:orders:live"
    assert result.proposed == {"provisioned_concurrency": 0}
    assert "delete-provisioned-concurrency-config" in result.how_to
    assert "--qualifier=live" in result.how_to


def test_memory_and_architecture_decide_the_price_of_pc() -> None:
    # 2 × 0.5 GB × 2,592,000 s × $0.0000033334 = $8.64017280 on arm64.
    result = claimed(find, function(memory_mb=512, architecture="arm64"), on_pc(0, 2, reports=reports(512)))
    assert result.savings.high == pytest.approx(8.6401728)


@pytest.mark.parametrize(("more", "is_found"), [(-1, True), (0, False), (1, False), (1_000_000, False)])
def test_pc_pays_off_from_60_percent_utilisation_on(more: int, is_found: bool) -> None:
    # $0.0000041667 / $0.0000069445 = 60 % of 2,592,000 GB-s are 3,110,400 invocations of half a GB-s.
    number = 3_110_400 + more
    assert bool(found(find, used=on_pc(number, invocations=daily(number), duration_ms=daily(500 * number)))) is is_found


def test_provisioned_concurrency_with_under_14_days_is_not_unused() -> None:
    assert "less than 14 days" in abstained(find, used=on_pc(1000, days=13))
    claimed(find, used=on_pc(1000, days=14))


def test_invocations_on_pc_never_exceed_those_of_a_young_function() -> None:
    young = daily(14_000, days=14)
    used = on_pc(14_000, days=14, invocations=young, duration_ms=daily(500 * 14_000, 14), reports=reports(days=14))
    evidence = claimed(find, used=used).evidence
    on_it, all_of_them = evidence["Invocations on it"], evidence["Invocations (whole function)"]
    assert on_it == all_of_them == Measurement(30_000, "per 30 days")


def test_pc_abstains_if_its_version_may_have_another_memory_size() -> None:
    mixed = together(reports(512, 15, 30), reports(1024, 15))
    assert "several memory sizes" in abstained(find, used=on_pc(0, reports=mixed))


@pytest.mark.parametrize(
    ("known_for_days", "unread", "is_found"), [(14, None, True), (13, None, False), (100, "access denied", False)]
)
def test_pc_of_a_function_that_never_ran_is_all_unused(known_for_days: int, unread: str | None, is_found: bool) -> None:
    old = function(last_modified=ago(known_for_days))
    silent = on_pc(None, invocations=None, reports=None, unread=unread)
    if is_found:
        result = claimed(find, old, silent)
        assert amounts(result.savings) == pytest.approx((WARM, WARM, WARM))
        assert result.evidence["Utilisation"] == Measurement(0.0, "%")
    else:
        assert abstained(find, old, silent)


@pytest.mark.parametrize("none", [(), None])
def test_no_pc_is_no_finding(none: tuple[()] | None) -> None:
    assert found(find, used=usage(provisioned=none)) is None

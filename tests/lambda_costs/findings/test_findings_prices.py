"""arm64, provisioned concurrency, /tmp and SnapStart: prices of us-east-1, AWS Price List of 2025-10, by hand."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lambda_costs.collect.usage import FunctionUsage
from lambda_costs.findings import arm64, ephemeral_storage, init_cost, provisioned_concurrency
from lambda_costs.model.finding import NOTHING, Finding, Measure
from tests.lambda_costs.cases import (
    COST,
    END,
    abstained,
    amounts,
    case,
    claimed,
    daily,
    found,
    function,
    provisioned,
    reports,
    together,
    usage,
)

# arm64: G·(p_x86 − r·p_arm), from r = 1.25 to r = 0.8.


def test_arm64_saves_a_fifth_and_breaks_even_at_a_quarter_slower() -> None:
    result = claimed(arm64.find)
    # 500,000 GB-s × ($0.0000166667 − 1.25 × $0.0000133334 = −$0.00000000005), × $0.0000033333, × $0.00000599998.
    assert amounts(result.savings) == pytest.approx((-0.000025, 1.66665, 2.99999))
    assert result.scaling
    assert (result.scaling.cost, result.scaling.gb_seconds) == pytest.approx((COST, 500_000))
    assert result.scaling.repriced == pytest.approx(0.0000133334 / 0.0000166667)
    assert result.evidence["Billed"] == Measure(500_000, "GB-seconds per 30 days")
    assert "500,000 GB-s × ($0.0000166667 − r × $0.0000133334)" in result.formula
    assert "$1.67 at r = 1, $3.00 at r = 0.8. It breaks even at r = 1.25" in result.formula
    assert result.proposed == {"architecture": "arm64"}
    assert "--architectures arm64" in result.how_to


@pytest.mark.parametrize(
    "given", [{"architecture": "arm64"}, {"runtime": "java8"}, {"runtime": "go1.x"}, {"runtime": "python3.7"}]
)
def test_arm64_says_nothing_where_it_is_there_already_or_cannot_be(given: dict[str, Any]) -> None:
    assert found(arm64.find, function(**given)) is None


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"package_type": "Image", "runtime": None}, "container image"),
        ({"layers": 1}, "layers"),
        ({"runtime": "cobol85"}, "runtime cobol85 is not in the table"),
    ],
)
def test_arm64_abstains_where_it_cannot_tell(given: dict[str, Any], why: str) -> None:
    assert why in abstained(arm64.find, function(**given))


# Provisioned concurrency: n·GB·s·p_pc − G_pc·(p − p_pcduration). One execution of 1,024 MB is kept warm for 2,592,000
# GB-s, for 2,592,000 × $0.0000041667 = $10.8000864; a GB-s on it gives back
# $0.0000166667 − $0.0000097222 = $0.0000069445.
WARM, BACK = 10.8000864, 0.0000069445


def on_pc(warm: float | None, executions: int = 1, days: int = 30, **used: Any) -> FunctionUsage:
    """Return the usage of a function of which ``warm`` invocations ran on PC."""
    return usage(provisioned=provisioned(None if warm is None else daily(warm, days), executions), **used)


@pytest.mark.parametrize(
    ("invocations", "executions", "least", "expected", "most"),
    [
        # 300,000 GB-s ran on it: 2.08335; at most the 500,000 of the whole function: 3.47225. Each may be 5 % off:
        # 2.08335 × 0.95 = 1.9791825 and 3.47225 × 1.05 = 3.6458625.
        (600_000, 1, WARM - 3.6458625, WARM - 2.08335, WARM - 1.9791825),
        (0, 3, 3 * WARM - 3.6458625, 3 * WARM, 3 * WARM),
        # No datapoint is no proof of no use: the middle is expected.
        (None, 1, WARM - 3.6458625, WARM - 1.82293125, WARM),
    ],
)
def test_pc_costs_what_keeping_it_warm_costs_less_what_cheaper_duration_gives_back(
    invocations: int | None, executions: int, least: float, expected: float, most: float
) -> None:
    result = claimed(provisioned_concurrency.find, used=on_pc(invocations, executions))
    assert amounts(result.savings) == pytest.approx((least, expected, most))
    assert result.scaling is None
    assert result.evidence["Break-even utilisation"] == Measure(60.0, "%")
    assert result.evidence["Utilisation"] == {
        600_000: Measure(11.6, "%"), 0: Measure(0.0, "%"), None: Measure("not known")
    }[invocations]  # fmt: skip
    assert result.id == "provisioned-concurrency-unused:orders:live"
    assert result.proposed == {"provisioned_concurrency": 0}
    assert "delete-provisioned-concurrency-config" in result.how_to
    assert "--qualifier=live" in result.how_to


def test_pc_of_another_size_and_architecture_has_its_own_price() -> None:
    # 2 × 0.5 GB × 2,592,000 s × $0.0000033334 = $8.64017280 on arm64.
    result = claimed(
        provisioned_concurrency.find,
        function(memory_mb=512, architecture="arm64"),
        on_pc(0, 2, reports=reports(512)),
    )
    assert result.savings.high == pytest.approx(8.6401728)


@pytest.mark.parametrize(("more", "is_found"), [(-1, True), (0, False), (1, False), (1_000_000, False)])
def test_pc_pays_off_from_60_percent_utilisation_on(more: int, is_found: bool) -> None:
    # $0.0000041667 / $0.0000069445 = 60 % of 2,592,000 GB-s are 3,110,400 invocations of half a GB-s.
    number = 3_110_400 + more
    used = on_pc(number, invocations=daily(number), duration_ms=daily(500 * number))
    assert isinstance(found(provisioned_concurrency.find, used=used), Finding) is is_found


@pytest.mark.parametrize(("days", "is_found"), [(13, False), (14, True)])
def test_young_pc_is_not_taken_as_unused(days: int, is_found: bool) -> None:
    used = on_pc(1000, days=days)
    if is_found:
        claimed(provisioned_concurrency.find, used=used)
    else:
        assert "less than 14 days" in abstained(provisioned_concurrency.find, used=used)


def test_a_young_function_has_no_more_invocations_on_pc_than_in_all() -> None:
    young = daily(14_000, days=14)
    used = on_pc(14_000, days=14, invocations=young, duration_ms=daily(500 * 14_000, 14), reports=reports(days=14))
    evidence = claimed(provisioned_concurrency.find, used=used).evidence
    assert evidence["Invocations on it"] == evidence["Invocations (whole function)"] == Measure(30_000, "per 30 days")


def test_pc_abstains_if_its_version_may_have_another_memory_size() -> None:
    mixed = together(reports(512, 15, 30), reports(1024, 15))
    assert "several memory sizes" in abstained(provisioned_concurrency.find, used=on_pc(0, reports=mixed))


@pytest.mark.parametrize(
    ("known_for_days", "unread", "is_found"), [(14, None, True), (13, None, False), (100, "access denied", False)]
)
def test_pc_of_a_function_that_never_ran_is_all_unused(known_for_days: int, unread: str | None, is_found: bool) -> None:
    old = function(last_modified=END - timedelta(days=known_for_days))
    silent = on_pc(None, invocations=None, reports=None, unread=unread)
    if is_found:
        result = claimed(provisioned_concurrency.find, old, silent)
        assert amounts(result.savings) == pytest.approx((WARM, WARM, WARM))
        assert result.evidence["Utilisation"] == Measure(0.0, "%")
    else:
        assert abstained(provisioned_concurrency.find, old, silent)


@pytest.mark.parametrize("none", [(), None])
def test_no_pc_is_no_finding(none: tuple[()] | None) -> None:
    assert found(provisioned_concurrency.find, used=usage(provisioned=none)) is None


# /tmp: (MB − 512)/1024 × 500,000 s × $0.0000000309.


@pytest.mark.parametrize(
    ("ephemeral_mb", "cost"),
    [
        (512, None),
        (1024, 0.007725),  # 0.5 GB
        (10_240, 0.146775),  # 9.5 GB
    ],
)
@pytest.mark.parametrize("used", [usage(), on_pc(0)])  # billed on provisioned concurrency, too
def test_tmp_costs_what_is_above_512_mb(ephemeral_mb: int, cost: float | None, used: Any) -> None:
    result = found(ephemeral_storage.find, function(ephemeral_mb=ephemeral_mb), used)
    if cost is None:
        assert result is None
    else:
        assert isinstance(result, Finding)
        # How much of it is used, nothing tells.
        assert amounts(result.savings) == pytest.approx((0, cost / 2, cost))
        assert result.proposed == {"ephemeral_mb": 512}
        assert result.scaling is None


# Init and SnapStart: a day's 10 lines bill 50 s, half of them init, one cold start among them. By the metric, an
# invocation takes 2.5 s, and 2.5 s are billed beside: 5,000,000 GB-s for $83.3335, of which init $41.66675. A tenth of
# the million are cold starts.
SLOW_START = usage(duration_ms=daily(2.5e9), reports=reports(seconds=5, init_seconds=25, inits=1))


@pytest.mark.parametrize(
    ("runtime", "fees"),
    [
        # $0.0000015046 × 2,592,000 s = $3.8999232 for the cache, $0.0001397998 × 100,000 = $13.97998 to restore it.
        ("python3.12", 17.8799032),
        ("java21", 0),
    ],
)
def test_snapstart_saves_half_of_init_to_all_of_it_less_its_fees(runtime: str, fees: float) -> None:
    result = claimed(init_cost.find, function(runtime=runtime), SLOW_START)
    # Restoring takes up to half of it, a quarter is expected; and of 30 cold starts that a sample holds, there may have
    # been 1.96 / √30 = 0.35784541 more or fewer.
    low, expected, high = 41.66675 / 2 * 0.64215459 - fees, 41.66675 * 0.75 - fees, 41.66675 * 1.35784541 - fees
    assert amounts(result.savings) == pytest.approx((low, expected, high))
    assert result.scaling
    assert result.scaling.cost == pytest.approx(83.3335)
    assert result.proposed == {"snapstart": True}
    assert "publish-version" in result.how_to  # it does not take $LATEST


def test_snapstart_is_not_proposed_where_its_fees_eat_what_it_saves() -> None:
    # 0.1 s of init an invocation: 100,000 GB-s for $1.67, against $17.88.
    little = usage(reports=reports(init_seconds=1, inits=1))
    assert found(init_cost.find, used=little) is None
    assert found(init_cost.find, function(runtime="java21"), little) is not None


@pytest.mark.parametrize(("init_seconds", "is_found"), [(0.55, False), (0.56, True)])
def test_init_is_told_from_a_tenth_of_the_billed_time_on(init_seconds: float, is_found: bool) -> None:
    # Of 10 lines. 0.055/(0.5 + 0.055) is 9.9 %, 0.056/(0.5 + 0.056) is 10.1 %.
    used = usage(reports=reports(init_seconds=init_seconds, inits=1))
    assert (found(init_cost.find, function(runtime="java21"), used) is not None) is is_found


@pytest.mark.parametrize(
    "given",
    [
        {"runtime": "python3.11"},
        {"runtime": None, "package_type": "Image"},
        {"file_system": True},
        {"ephemeral_mb": 513},
    ],
)
def test_init_claims_nothing_where_snapstart_cannot_be(given: dict[str, Any]) -> None:
    result = claimed(init_cost.find, function(**given), SLOW_START)
    assert (result.savings, result.proposed, result.how_to) == (NOTHING, {}, "")
    assert result.evidence["Init costs"] == Measure("$41.67", "per 30 days")


def test_init_claims_nothing_where_the_fees_are_not_known() -> None:
    here = case(used=SLOW_START)
    [result] = init_cost.find(replace(here, known_rates=replace(here.rates, snapstart_cache=None)))
    assert isinstance(result, Finding)
    assert result.savings == NOTHING


def test_init_says_nothing_where_snapstart_is_on() -> None:
    assert found(init_cost.find, function(snapstart=True), SLOW_START) is None

"""Expectations are computed by hand: see cases.py for the function that each test starts from."""

from typing import Any

import pytest

from tests.unit.costs.cases import (
    COST,
    GIB,
    found,
    function,
    log_group,
    observed,
    provisioned,
    reports,
    usage,
)
from vigil.costs.finding import Finding, Measure
from vigil.costs.findings import RULES, arm64, log_retention, memory, provisioned_concurrency
from vigil.costs.gaps import Gap
from vigil.costs.report_lines import Billed, Reports


def of(result: object) -> Finding:
    assert isinstance(result, Finding)
    return result


def saves(result: object, low: float, expected: float, high: float) -> None:
    savings = of(result).savings
    assert (savings.low, savings.expected, savings.high) == pytest.approx((low, expected, high), abs=1e-9)


# Memory: N·p·d·(M0 − M1·k)/1024, from k = 1 (waits) to k = vCPU(M0)/vCPU(M1) (computes), with a vCPU at 1,769 MB.


@pytest.mark.parametrize(
    ("today", "used", "proposed", "least_mb", "most_mb"),
    [
        (1024, 200, 256, 0, 768),  # below one vCPU: half the memory takes twice as long
        (3008, 200, 256, 3008 - 1769, 2752),  # what is above one vCPU does not speed up one thread
        (3008, 1500, 1856, 1152, 1152),  # all above one vCPU: no slower at all
        (457, 250, 320, 0, 137),
    ],
)
def test_memory_saves_from_computing_all_the_time_to_waiting_all_the_time(
    today: int, used: int, proposed: int, least_mb: int, most_mb: int
) -> None:
    result = found(memory.find, function(memory_mb=today), usage(reports=reports(used, memory_mb=today)))
    low, high = COST * least_mb / 1024, COST * most_mb / 1024
    saves(result, low, (low + high) / 2, high)
    assert f"from {today:,} MB to {proposed:,} MB" in of(result).change
    assert f"--memory-size {proposed}" in of(result).how_to
    assert of(result).share_of == pytest.approx(COST * today / 1024)
    if least_mb == 0:
        assert of(result).savings.low == 0  # no rounding error that would read as less than a cent


@pytest.mark.parametrize(("used", "is_found"), [(599, True), (600, True), (601, False)])
def test_memory_is_too_high_up_to_exactly_60_percent_used(used: int, is_found: bool) -> None:
    result = found(memory.find, function(memory_mb=1000), usage(reports=reports(used, memory_mb=1000)))
    assert isinstance(result, Finding) is is_found
    assert is_found or result is None


@pytest.mark.parametrize(
    ("used", "proposed"),
    [(1, 128), (106, 128), (107, 192), (160, 192), (161, 256), (320, 384), (321, 448), (8000, 9600)],
)
def test_the_proposed_memory_is_at_least_1_2_times_the_maximum(used: int, proposed: int) -> None:
    assert memory.proposed_mb(used) == proposed


def test_no_memory_below_the_smallest_size_is_proposed() -> None:
    assert found(memory.find, function(memory_mb=128), usage(reports=reports(20, memory_mb=128))) is None


def test_one_invocation_that_used_most_of_the_memory_is_enough_to_keep_it() -> None:
    assert found(memory.find, used=usage(reports=reports(max_used_mb=615, lines=4000))) is None


def test_memory_says_that_the_maximum_is_that_of_a_sample() -> None:
    sampled = found(memory.find, used=usage(reports=reports(200, lines=100)))
    complete = found(memory.find, used=usage(reports=reports(200, lines=100), invocations=observed(100)))
    assert "sample" in of(sampled).risk
    assert "sample" not in of(complete).risk


def test_memory_on_arm64_is_priced_on_arm64() -> None:
    result = found(memory.find, function(architecture="arm64"), usage(reports=reports(200)))
    saves(result, 0, 500_000 * 0.0000133334 * 0.75 / 2, 500_000 * 0.0000133334 * 0.75)


# arm64: G·(p_x86 − r·p_arm), from r = 1.25 to r = 0.8.


def test_arm64_saves_a_fifth_and_breaks_even_at_a_quarter_slower() -> None:
    result = found(arm64.find)
    # 0.0000166667 − 1.25 × 0.0000133334 = −0.00000000005; − 1 × = 0.0000033333; − 0.8 × = 0.00000599998.
    saves(result, -0.000025, 1.66665, 2.99999)
    assert of(result).share_of == pytest.approx(COST)
    assert of(result).evidence["Billed"] == Measure(500_000, "GB-seconds per 30 days")


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
    gap = found(arm64.find, function(**given))
    assert isinstance(gap, Gap)
    assert why in gap.why


# Provisioned concurrency: n·GB·s·p_pc − G_pc·(p − p_pcduration). One execution of 1,024 MB is kept warm for 2,592,000
# GB-s, for 2,592,000 × $0.0000041667 = $10.8000864; a GB-s on it gives back
# $0.0000166667 − $0.0000097222 = $0.0000069445.
WARM, BACK = 10.8000864, 0.0000069445


def test_provisioned_concurrency_costs_what_keeping_warm_costs_less_what_cheaper_duration_gives_back() -> None:
    result = found(provisioned_concurrency.find, used=usage(provisioned=provisioned(observed(600_000))))
    # 300,000 GB-s ran on it; at most the 500,000 of the whole function.
    saves(result, WARM - 3.47225, WARM - 2.08335, WARM - 2.08335)
    assert of(result).share_of is None
    assert of(result).evidence["Utilisation"] == Measure(11.6, "%")
    assert of(result).evidence["Break-even utilisation"] == Measure(60.0, "%")
    assert of(result).id == "provisioned-concurrency-unused:orders:live"


def test_each_execution_of_provisioned_concurrency_counts() -> None:
    result = found(provisioned_concurrency.find, used=usage(provisioned=provisioned(observed(0), executions=3)))
    saves(result, 3 * WARM - 3.47225, 3 * WARM, 3 * WARM)


@pytest.mark.parametrize(("more", "is_found"), [(-1, True), (0, False), (1, False), (1_000_000, False)])
def test_provisioned_concurrency_pays_off_from_60_percent_utilisation_on(more: int, is_found: bool) -> None:
    # 60 % of 2,592,000 GB-s are 3,110,400 invocations of half a GB-s.
    seen = observed(3_110_400 + more)
    used = usage(invocations=seen, provisioned=provisioned(seen))
    assert isinstance(found(provisioned_concurrency.find, used=used), Finding) is is_found


def test_without_a_datapoint_provisioned_concurrency_is_not_taken_as_unused() -> None:
    result = found(provisioned_concurrency.find, used=usage(provisioned=provisioned(None)))
    low = WARM - 500_000 * BACK
    saves(result, low, (low + WARM) / 2, WARM)
    assert of(result).evidence["Invocations on it"] == Measure("no datapoint in the window")
    assert of(result).evidence["Utilisation"] == Measure("not known")


@pytest.mark.parametrize(("days", "expected"), [(13, Gap), (14, Finding)])
def test_provisioned_concurrency_that_is_young_is_not_taken_as_unused(days: int, expected: type) -> None:
    used = usage(provisioned=provisioned(observed(1000, days)))
    assert isinstance(found(provisioned_concurrency.find, used=used), expected)


def test_a_young_function_has_no_more_invocations_on_provisioned_concurrency_than_in_all() -> None:
    young = observed(14_000, days=14)
    evidence = of(
        found(provisioned_concurrency.find, used=usage(invocations=young, provisioned=provisioned(young)))
    ).evidence
    assert evidence["Invocations on it"] == evidence["Invocations (whole function)"] == Measure(30_000, "per 30 days")


def test_provisioned_concurrency_abstains_if_its_version_may_have_another_memory_size() -> None:
    mixed = Reports(200, 100, {512: Billed(100, 50_000), 1024: Billed(100, 50_000)})
    gap = found(provisioned_concurrency.find, used=usage(reports=mixed, provisioned=provisioned(observed(0))))
    assert isinstance(gap, Gap)
    assert "several memory sizes" in gap.why


@pytest.mark.parametrize("none", [(), None])
def test_no_provisioned_concurrency_is_no_finding(none: tuple[()] | None) -> None:
    assert found(provisioned_concurrency.find, used=usage(provisioned=none)) is None


# Log retention: GB that would expire × $0.03.


def test_log_retention_claims_only_the_storage_of_what_would_expire() -> None:
    group = log_group(10 * GIB, observed(2 * GIB))
    # 8 GB are old. Low: billed at 15 %. High: the recent 2 GB take 0.3 of the 10.
    saves(found(log_retention.find, used=usage(log_group=group)), 8 * 0.15 * 0.03, 8 * 0.03, 9.7 * 0.03)


def test_log_retention_extrapolates_a_young_log_group() -> None:
    group = log_group(10 * GIB, observed(1 * GIB, days=10))  # 3 GB in 30 days
    saves(found(log_retention.find, used=usage(log_group=group)), 7 * 0.15 * 0.03, 7 * 0.03, 9.55 * 0.03)


def test_without_a_datapoint_stored_logs_are_not_taken_as_old() -> None:
    result = found(log_retention.find, used=usage(log_group=log_group(10 * GIB)))
    saves(result, 0, 0.15, 0.3)
    assert of(result).evidence["Ingested"] == Measure("no datapoint")


@pytest.mark.parametrize(
    "group",
    [
        None,
        log_group(10 * GIB, retention_days=30),
        log_group(10 * GIB, functions=("another", "orders")),  # told once, at its first function
        log_group(2 * GIB, observed(2 * GIB)),  # nothing is old
        log_group(2 * GIB, observed(5 * GIB)),
        log_group(0),
    ],
)
def test_log_retention_says_nothing_where_nothing_would_be_saved(group: Any) -> None:
    assert found(log_retention.find, used=usage(log_group=group)) is None


def test_log_retention_abstains_without_a_size() -> None:
    gap = found(log_retention.find, used=usage(log_group=log_group(None)))
    assert gap == Gap("orders", "log retention: the size of /aws/lambda/orders is not known")


# What all findings about compute have in common.


@pytest.mark.parametrize("rule", RULES[:3])
@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"invocations": None}, "no Invocations datapoint"),
        ({"invocations": observed(49)}, "fewer than 50 invocations"),
        ({"invocations": observed(0)}, "fewer than 50 invocations"),
        ({"invocations": observed(1_000_000, days=13)}, "less than 14 days of data"),
        ({"reports": None}, "no REPORT lines"),
        ({"reports": reports(200, lines=49)}, "fewer than 50 REPORT lines at today's memory size"),
        ({"reports": reports(200, memory_mb=512)}, "fewer than 50 REPORT lines at today's memory size"),
    ],
)
def test_nothing_is_claimed_on_thin_data(rule: Any, given: dict[str, Any], why: str) -> None:
    base: dict[str, Any] = {"reports": reports(200)}
    if rule is provisioned_concurrency.find:
        base["provisioned"] = provisioned(observed(0))
    gap = found(rule, used=usage(**{**base, **given}))
    assert isinstance(gap, Gap)
    assert why in gap.why


@pytest.mark.parametrize("rule", [memory.find, arm64.find])
def test_50_invocations_in_14_days_are_enough(rule: Any) -> None:
    used = usage(invocations=observed(50, days=14), reports=reports(200, lines=50))
    assert isinstance(found(rule, used=used), Finding)


@pytest.mark.parametrize("rule", [memory.find, arm64.find])
@pytest.mark.parametrize(
    ("configured", "why"), [(provisioned(None), "decide on that first"), (None, "could not be read")]
)
def test_provisioned_concurrency_hides_the_price_of_duration(rule: Any, configured: Any, why: str) -> None:
    gap = found(rule, used=usage(reports=reports(200), provisioned=configured))
    assert isinstance(gap, Gap)
    assert why in gap.why


@pytest.mark.parametrize("rule", [memory.find, arm64.find])
def test_a_capacity_provider_is_not_billed_by_the_gb_second(rule: Any) -> None:
    gap = found(rule, function(capacity_provider=True))
    assert isinstance(gap, Gap)
    assert "capacity provider" in gap.why


def test_only_the_share_of_lines_at_todays_memory_size_counts() -> None:
    mixed = Reports(100, 200, {512: Billed(40, 400_000), 1024: Billed(60, 30_000)})
    saves(found(memory.find, used=usage(reports=mixed)), 0, 0.6 * COST * 0.375, 0.6 * COST * 0.75)


def test_a_name_cannot_leave_its_argument_in_a_command() -> None:
    result = found(arm64.find, function("a; rm -rf ~"))
    assert "--function-name 'a; rm -rf ~'" in of(result).how_to

"""PC: n·GB·s·p_pc − G_pc·(p − p_pcduration), at prices of us-east-1, AWS Price List of 2025-10.

One execution of 1,024 MB is kept warm for 2,592,000 GB-s, for 2,592,000 × $0.0000041667 = $10.8000864; a GB-s on it
saves $0.0000166667 − $0.0000097222 = $0.0000069445. In the coming days there are as many invocations as in the last 7,
off by 1.96 / √n, and each may take 5 % more or less on PC.
"""

from datetime import timedelta
from math import sqrt
from typing import Any

import pytest

from lambda_costs.collect.scaling import Scaling, ScheduledAction
from lambda_costs.collect.settings import Provisioned
from lambda_costs.collect.usage import FunctionUsage
from lambda_costs.findings.provisioned_concurrency import find
from lambda_costs.model.finding import Basis, Measurement
from tests.lambda_costs.cases import (
    WINDOW,
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
SOME, ALL = 2.08335, 3.47225  # 300,000 GB-s of 600,000 invocations, 500,000 of a million, × $0.0000069445
# Without PC, an environment is cold every 600 s at most: 4,320 times in 30 days. Where no line shows how long a cold
# start takes, it is 10 s at most, for $0.0000166667 each.
COLD = 0.72000144
E_SOME, E_ALL = (1.96 / sqrt(number * 7 / 30) for number in (600_000, 1_000_000))


def on_pc(warm: float | None, executions: int = 1, days: int = 30, **used: Any) -> FunctionUsage:
    """Return the usage of a function of which ``warm`` invocations ran on PC."""
    return usage(provisioned=provisioned(None if warm is None else daily(warm, days), executions), **used)


EXAMPLE = Example({}, on_pc(0), needs="compute")


@pytest.mark.parametrize(
    ("invocations", "executions", "savings", "utilisation", "basis"),
    [
        (600_000, 1, (WARM - SOME * 1.05 * (1 + E_SOME) - COLD, WARM - SOME, WARM - SOME * 0.95 * (1 - E_SOME)),
         Measurement(11.6, "%"), Basis.MEASURED),
        (0, 3, (3 * WARM, 3 * WARM, 3 * WARM), Measurement(0.0, "%"), Basis.MEASURED),
        # A missing datapoint does not prove that it is unused: half of the invocations is expected, all at most.
        (None, 1, (WARM - ALL * 1.05 * (1 + E_ALL) - COLD, WARM - ALL / 2, WARM),
         Measurement("not known"), Basis.TO_TEST),
    ],
)  # fmt: skip
def test_savings_are_keeping_it_warm_less_its_cheaper_duration(
    invocations: int | None, executions: int, savings: tuple[float, ...], utilisation: Measurement, basis: Basis
) -> None:
    result = claimed(find, used=on_pc(invocations, executions))
    assert amounts(result.savings) == pytest.approx(savings)
    assert result.basis is basis
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
    # 1,000 a day go on.
    assert evidence["Invocations on it"] == Measurement(30_000, "in 30 days")


def test_pc_that_nothing_has_used_for_days_will_not_be_used() -> None:
    # 20 days with, then 10 without: (1/22)¹⁰.
    result = claimed(find, used=usage(provisioned=provisioned(daily(6e5, 20, 30))))
    assert amounts(result.savings) == pytest.approx((WARM, WARM, WARM))


def test_an_alias_has_its_own_mean_duration() -> None:
    # 600,000 of its 700,000 invocations ran on PC, all for 0.4 s; the function's take 0.5 s.
    alias = Provisioned(
        "live", 1, invocations=daily(600_000), all_invocations=daily(700_000), duration_ms=daily(700_000 * 400)
    )
    result = claimed(find, used=usage(provisioned=(alias,)))
    assert result.evidence["Mean duration"] == Measurement(0.4, "s")
    assert result.savings.expected == pytest.approx(WARM - SOME * 0.8)


def test_without_datapoints_on_pc_its_alias_bounds_the_invocations() -> None:
    # None of the alias's 600,000 invocations, or all; not all of the function's million.
    alias = Provisioned("live", 1, all_invocations=daily(600_000), duration_ms=daily(600_000 * 500))
    result = claimed(find, used=usage(provisioned=(alias,)))
    least, expected = WARM - SOME * 1.05 * (1 + E_SOME) - COLD, WARM - SOME / 2
    assert amounts(result.savings) == pytest.approx((least, expected, WARM))


def test_cold_starts_that_come_back_cost_what_they_cost_elsewhere() -> None:
    # One of 10 lines is a cold start of 1 s: up to 4,320 GB-s × $0.0000166667 = $0.072000144; a third is expected. On
    # PC an invocation takes 0.5 s.
    alias = Provisioned(
        "live", 1, invocations=daily(600_000), all_invocations=daily(600_000), duration_ms=daily(600_000 * 500)
    )
    result = claimed(find, used=usage(provisioned=(alias,), reports=reports(init_seconds=1, inits=1)))
    least, most = WARM - SOME * 1.05 * (1 + E_SOME) - 0.072000144, WARM - SOME * 0.95 * (1 - E_SOME)
    assert amounts(result.savings) == pytest.approx((least, WARM - SOME - 0.024000048, most))
    assert "cold starts that come back, up to 4,320 of 1.000 s. The range" in result.formula


def test_the_formula_says_that_the_time_of_cold_starts_is_not_known() -> None:
    formula = claimed(find, used=on_pc(600_000)).formula
    assert "up to 4,320, whose init time is not known: up to 10 s. The range" in formula
    assert "up to 0 of 0.000 s. The range" in claimed(find, used=on_pc(0)).formula


def test_no_more_cold_starts_come_back_than_there_are_invocations() -> None:
    # 3,000 invocations in 30 days, off by 1.96 / √700. A cold start costs 1 s × $0.0000166667.
    error, second = 1.96 / sqrt(700), 0.0000166667
    used = on_pc(3000, reports=reports(init_seconds=1, inits=1), duration_ms=daily(0.5e9))
    # By the whole function's lines an invocation is billed for 0.6 s.
    cheaper, cold = 3000 * 0.6 * 0.0000069445, 3000 * (1 + error) * second
    assert amounts(claimed(find, used=used).savings) == pytest.approx(
        (WARM - cheaper * 1.05 * (1 + error) - cold, WARM - cheaper - cold / 3, WARM - cheaper * 0.95 * (1 - error))
    )


@pytest.mark.parametrize(("invocations", "basis"), [(2_400_000, Basis.MEASURED), (2_500_000, Basis.TO_TEST)])
def test_savings_are_measured_if_they_are_certain(invocations: int, basis: Basis) -> None:
    # Their 1,200,000 or 1,250,000 GB-s × $0.0000069445 leave $2.47 or $2.12 of $10.80. 1.053 times as much and the cold
    # starts leave $1.31 or $0.94 at least.
    number = daily(invocations)
    used = on_pc(invocations, invocations=number, duration_ms=daily(invocations * 500))
    assert claimed(find, used=used).basis is basis


def office(days: str) -> tuple[ScheduledAction, ...]:
    """Return a schedule of 10 executions from 8 to 18 o'clock."""
    times = (("on", 8, 10), ("off", 18, 0))
    return tuple(ScheduledAction(name, f"cron(0 {hour} ? * {days} *)", "UTC", size, size) for name, hour, size in times)


@pytest.mark.parametrize(
    ("item", "hours", "changed_by"),
    [
        # 10 executions for 10 hours on 22 of the 30 days before and after 1 July 2026.
        (Provisioned("live", 0, Scaling(0, 0, office("MON-FRI")), daily(0)), (2200,) * 3, "cron(0 8 ? * MON-FRI *)"),
        # Five Mondays before, four after.
        (Provisioned("live", 0, Scaling(0, 0, office("MON")), daily(0)), (400, 400, 500), "off: cron(0 18 ? * MON *)"),
        # A policy between 1 and 10: 5 in the 100 of 720 hours that show it, and also later if nothing changes it. In
        # the others it may be 1 or 10.
        (Provisioned("live", 1, Scaling(1, 10, (), follows_use=True), daily(0), allocated={
            WINDOW.start + timedelta(hours=hour): 5.0 for hour in range(100)}), (1120, 3600, 6700), "a scaling policy"),
        # Without those hours the middle is expected.
        (Provisioned("live", 1, Scaling(1, 10, (), follows_use=True), daily(0)), (720, 3960, 7200), "a scaling policy"),
    ],
)  # fmt: skip
def test_what_is_allocated_follows_schedules_and_policies(
    item: Provisioned, hours: tuple[float, ...], changed_by: str
) -> None:
    result = claimed(find, used=usage(provisioned=(item,)))
    # An execution of 1,024 MB costs $10.8000864 for 720 hours.
    assert amounts(result.savings) == pytest.approx(tuple(number * WARM / 720 for number in hours))
    assert changed_by in str(result.evidence["Changed by"].value)
    assert "or allocate less" in result.change
    assert "deregister-scalable-target" in result.how_to
    assert "--resource-id=function:orders:live" in result.how_to


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

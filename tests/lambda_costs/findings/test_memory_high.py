"""Memory: N·p·d·(M0 − M1·k)/1024 is saved, from k = 1 (waits) to k = vCPU(M0)/vCPU(M1) (computes), a vCPU at 1,769 MB.

N·p·d is 1,000,000 × $0.0000166667 × 0.5 s = $8.33335, see cases.py.
"""

import pytest

from lambda_costs.collect.report_lines import Outcome, Reports, TallyKey
from lambda_costs.findings.memory_high import find, least_mb
from lambda_costs.model.finding import Measurement
from tests.lambda_costs.cases import (
    COST,
    Example,
    ago,
    amounts,
    claimed,
    daily,
    found,
    function,
    measured,
    on_days,
    reports,
    tally,
    together,
    usage,
    used_at,
)

EXAMPLE = Example({}, used_at(1024, 100), needs="billed")


@pytest.mark.parametrize(
    ("today", "used", "proposed", "least", "most"),
    [
        (1024, 200, 256, 0, 768),  # below one vCPU: a quarter of the memory takes up to four times as long
        (3008, 200, 256, 3008 - 1769, 2752),  # memory above one vCPU does not speed up one thread
        (3008, 1500, 1856, 1152, 1152),  # all above one vCPU: no slower at all
        (457, 250, 320, 0, 137),
        # 1,216 MB would do; up to 1 % of the cost, (M − 1216)/2/8192, goes for the faster size.
        (8192, 1000, 1344, 8192 - 1769, 8192 - 1344),
    ],
)
def test_savings_range_from_always_computing_to_always_waiting(
    today: int, used: int, proposed: int, least: float, most: float
) -> None:
    result = claimed(find, function(memory_mb=today), used_at(today, used))
    low, high = COST * least / 1024, COST * most / 1024
    assert amounts(result.savings) == pytest.approx((low, (low + high) / 2, high), abs=1e-6)
    assert least or result.savings.low == 0  # no rounding error that would read as less than a cent
    assert result.scaling
    assert (result.scaling.cost, result.scaling.gb_seconds) == pytest.approx((COST * today / 1024, today / 1024 * 5e5))
    assert result.proposed == {"memory_mb": proposed}
    assert f"--memory-size {proposed}" in result.how_to
    assert f"MemorySize: {proposed}" in result.as_code


def test_less_memory_on_arm64_is_priced_on_arm64() -> None:
    result = claimed(find, function(architecture="arm64"), used_at(1024, 200))
    assert result.savings.high == pytest.approx(500_000 * 0.0000133334 * 0.75)


def test_a_measured_share_of_cpu_time_narrows_the_savings() -> None:
    # 1,000,000 × 1 s × 1 GB × $0.0000166667 = $16.6667. At 256 MB k = 1 + share × 3 with a share of 0.5 ± 0.0831558:
    # 1 − k/4 is 0.75 − 0.75 × share.
    result = claimed(find, used=measured(200))
    saved = (16.6667 * (0.75 - 0.75 * share) for share in (0.5831558, 0.5, 0.4168442))
    assert amounts(result.savings) == pytest.approx(tuple(saved), abs=1e-5)
    assert result.evidence["Duration at the proposed size"] == Measurement("2.251 to 2.749", "times today's")
    assert "a fit of the durations at 512 MB and 1,024 MB" in result.formula


@pytest.mark.parametrize(
    ("share", "proposed", "saved"),
    [
        (0.1, 256, 0.675),
        (0.5, 256, 0.375),
        # 0.1 × M/1024 more costs at most 1 % more up to 256 + 102 MB: the faster size.
        (0.9, 320, 0.1 * (1 - 320 / 1024)),
        (0.95, None, 0.0),  # 3.75 % at most: not worth it
        (1.0, None, 0.0),
    ],
)
def test_cpu_time_decides_whether_less_memory_pays(share: float, proposed: int | None, saved: float) -> None:
    result = found(find, used=used_at(1024, 200, cpu_ms=daily(share * 500 * 1024 / 1769 * 1e6)))
    assert (result and result.proposed) == (proposed and {"memory_mb": proposed})
    assert (result.savings.expected if result else 0.0) == pytest.approx(COST * saved)


@pytest.mark.parametrize(
    ("today", "used", "is_found"),
    [
        (1000, 600, True),  # exactly 60 %
        (1000, 601, False),
        (143, 85, True),  # 128 MB: (143 − 128)/143/2 is 5.2 %
        (142, 85, False),  # 4.9 %
        (128, 20, False),  # the smallest size there is
    ],
)
def test_found_up_to_60_percent_used_if_5_percent_can_be_saved(today: int, used: int, is_found: bool) -> None:
    assert bool(found(find, function(memory_mb=today), used_at(today, used))) is is_found


@pytest.mark.parametrize(
    ("used", "proposed"),
    [(1, 128), (106, 128), (107, 192), (160, 192), (161, 256), (320, 384), (321, 448), (8000, 9600)],
)
def test_least_memory_is_the_next_64_mb_from_1_2_times_the_maximum(used: int, proposed: int) -> None:
    assert least_mb(used) == proposed


@pytest.mark.parametrize(
    "once",
    [
        TallyKey(ago(11), 1024, Outcome.ERROR),
        TallyKey(ago(11), 2048, Outcome.SUCCESS),  # an alias with another memory size needs it, too
    ],
)
def test_one_invocation_that_used_most_memory_is_enough_to_keep_it(once: TallyKey) -> None:
    lines = reports(max_used_mb=200)
    assert found(find, used=usage(reports=together(lines, Reports({once: tally(1, max_used_mb=615)}, 0)))) is None
    assert found(find, used=usage(reports=lines)) is not None


@pytest.mark.parametrize(("invocations", "is_sample"), [(300, False), (301, True)])
def test_the_risk_says_whether_the_maximum_is_from_a_sample(invocations: int, is_sample: bool) -> None:
    used = used_at(1024, 200, invocations=daily(invocations), duration_ms=daily(500 * invocations))
    result = claimed(find, used=used)
    assert ("maximum memory used is that of a sample" in result.risk) is is_sample
    assert result.evidence["REPORT lines read"].unit == ("of a sample" if is_sample else "of every invocation")


def test_the_formula_shows_the_sum() -> None:
    formula = claimed(find, used=used_at(1024, 200)).formula
    assert "1,000,000 invocations × 0.5000 s × $0.0000166667 × (1,024 − 256 × k) MB / 1,024" in formula
    assert "k = 2.500 is expected ($3.13), k = 4.000 saves $0.00 and k = 1.000 saves $6.25" in formula


@pytest.mark.parametrize(
    ("limit", "command"),
    # The slowest day's p99 is 2 s: up to four times as long at a quarter of the memory.
    [(8, "--memory-size 256\n"), (7, "--memory-size 256 --timeout 8\n")],
)
def test_the_timeout_is_raised_for_the_slowest_invocations(limit: int, command: str) -> None:
    result = claimed(find, function(timeout_seconds=limit), used_at(1024, 200))
    assert command in result.how_to
    assert ("timeout" in result.risk) is ("--timeout" in command) is ("Timeout: 8" in result.as_code)


def test_memory_size_that_exceeds_lambdas_timeout_is_not_proposed() -> None:
    slow = on_days({11: 400_000.0})
    # Expected are 2.5 times as long at 256 MB, 1,000 s, and (1 + 1024/320)/2 = 2.1 times at 320 MB: 840 s.
    assert claimed(find, function(timeout_seconds=900), used_at(1024, 200, p99_ms=slow)).proposed == {"memory_mb": 320}

"""Memory: N·p·d·(M0 − M1·k)/1024 is saved, from k = 1 (waits) to k = M0/M1 (computes on all vCPUs).

N·p·d is 1,000,000 × $0.0000166667 × 0.5 s = $8.33335, see cases.py. Fewer invocations save less, more save more. Of a
sample, 1.4 times the maximum memory used is the least to propose.
"""

import pytest

from lambda_costs.collect.report_lines import Outcome, Reports, TallyKey
from lambda_costs.findings.memory_high import find, least_mb
from lambda_costs.model.finding import Basis, Measurement
from tests.lambda_costs.cases import (
    COST,
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
    on_days,
    reports,
    tally,
    together,
    usage,
    used_at,
)

EXAMPLE = Example({}, used_at(1024, 100), needs="billed")


@pytest.mark.parametrize(
    ("today", "used", "proposed", "expected", "most"),
    [
        (1024, 180, 256, 768 / 2, 768),  # below one vCPU: a quarter of the memory takes up to four times as long
        # One thread takes up to 1769/256 times as long, all vCPUs 3008/256 times; half of the time of both is expected:
        # M1·k = 256/2 + (1769 + 3008)/4.
        (3008, 180, 256, 3008 - 1322.25, 2752),
        # Above one vCPU, one thread is no slower at all: M1·k = 3/4 × 2112 + 3008/4.
        (3008, 1500, 2112, 672, 896),
        (457, 220, 320, 137 / 2, 137),
        # 1,408 MB would do; up to 1 % of the cost, (M − 1408)/2/8192, goes for the faster size. M1·k = 1536/2 + (1769 +
        # 8192)/4.
        (8192, 1000, 1536, 8192 - 3258.25, 8192 - 1536),
    ],
)
def test_savings_range_from_always_computing_to_always_waiting(
    today: int, used: int, proposed: int, expected: float, most: float
) -> None:
    result = claimed(find, function(memory_mb=today, timeout_seconds=60), used_at(today, used))
    assert amounts(result.savings) == pytest.approx((0, COST * expected / 1024, COST * most / 1024 * MORE), abs=1e-6)
    assert result.savings.low == 0  # no rounding error that would read as less than a cent
    assert result.scaling
    assert (result.scaling.cost, result.scaling.gb_seconds) == pytest.approx((COST * today / 1024, today / 1024 * 5e5))
    assert result.proposed == {"memory_mb": proposed}
    assert f"--memory-size {proposed}" in result.how_to
    assert f"MemorySize: {proposed}" in result.as_code
    assert (result.basis, result.slowdown) == (Basis.TO_TEST, pytest.approx(today / proposed))


def test_power_tuning_measures_the_sizes_from_the_least_to_todays() -> None:
    # Of 1,000 MB used 1,408 MB is the least, 1,536 MB the proposed size; (1536 + 8192) / 2 = 4,864.
    result = claimed(find, function(memory_mb=8192, timeout_seconds=60), used_at(8192, 1000))
    assert result.test["powerValues"] == [1408, 1536, 4864, 8192]
    assert result.test["lambdaARN"] == result.arn
    # The step above (128 + 150) / 2 is 192, more than today's size.
    small = claimed(find, function(memory_mb=150), used_at(150, 50))
    assert (small.proposed["memory_mb"], small.test["powerValues"]) == (128, [128, 150])


def test_less_memory_on_arm64_is_priced_on_arm64() -> None:
    result = claimed(find, function(architecture="arm64"), used_at(1024, 180))
    assert result.savings.high == pytest.approx(500_000 * 0.0000133334 * 0.75 * MORE)


def test_a_measured_share_of_cpu_time_narrows_the_savings() -> None:
    # 1,000,000 × 1 s × 1 GB × $0.0000166667 = $16.6667. At 256 MB k = 1 + share × 3 with a share of 0.5 ± 0.0831558:
    # 1 − k/4 is 0.75 − 0.75 × share.
    result = claimed(find, function(timeout_seconds=4), measured(180))
    low, expected, high = (16.6667 * (0.75 - 0.75 * share) for share in (0.5831558, 0.5, 0.4168442))
    assert amounts(result.savings) == pytest.approx((low * FEWER, expected, high * MORE), abs=1e-5)
    assert result.evidence["Billed time at the proposed size"] == Measurement("2.251 to 2.749", "times today's")
    assert "a fit of the durations at 512 MB and 1,024 MB" in result.formula
    assert (result.basis, result.slowdown) == (Basis.MEASURED, pytest.approx(2.7494674))


@pytest.mark.parametrize(
    ("share", "proposed", "saved", "basis"),
    [
        (0.1, 256, 0.675, Basis.MEASURED),
        (0.5, 256, 0.375, Basis.MEASURED),
        # The share may be a tenth larger: 1 − 1.1 × 0.82 is 54 % of 1 − 0.82, but 1 − 1.1 × 0.85 is 43 % of 1 − 0.85.
        (0.82, 256, 0.18 * 0.75, Basis.MEASURED),
        (0.85, 320, 0.15 * (1 - 320 / 1024), Basis.TO_TEST),
        # 0.1 × M/1024 more costs at most 1 % more up to 256 + 102 MB: the faster size.
        (0.9, 320, 0.1 * (1 - 320 / 1024), Basis.TO_TEST),
        (0.95, None, 0.0, None),  # 3.75 % at most: not worth it
        (1.0, None, 0.0, None),
    ],
)
def test_cpu_time_decides_whether_less_memory_pays(
    share: float, proposed: int | None, saved: float, basis: Basis | None
) -> None:
    result = found(find, used=used_at(1024, 180, cpu_ms=daily(share * 500 * 1024 / 1769 * 1e6)))
    assert (result and result.basis) == basis
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
    ("used", "expected"),
    [
        # 1.4 times that is up to 832 MB: half of 168 MB is expected.
        (550, 84),
        (575, 84 / 2),
        (590, 84 / 5),
        (600, 0),  # exactly 60 %
    ],
)
def test_less_is_expected_the_nearer_to_60_percent_used(used: int, expected: float) -> None:
    result = claimed(find, function(memory_mb=1000), used_at(1000, used))
    assert result.savings.expected == pytest.approx(COST * expected / 1024, abs=1e-9)


def test_near_60_percent_used_the_low_end_is_less_as_well() -> None:
    # 589 of 1,024 MB: (0.6 − 0.575195) / 0.05 = 0.496094 of it. At 832 MB, 1 − 0.8125 × k = 0.1875 × (1 − share).
    result = claimed(find, function(timeout_seconds=4), measured(589))
    low, expected, high = (16.6667 * 0.1875 * (1 - share) for share in (0.5831558, 0.5, 0.4168442))
    taper = 0.49609375
    assert amounts(result.savings) == pytest.approx((low * taper * FEWER, expected * taper, high * MORE), rel=1e-5)
    assert result.formula.endswith("50% of this is expected: the share used is near 60%.")


@pytest.mark.parametrize(
    ("used", "headroom", "proposed"),
    [
        *[(1, 1.2, 128), (106, 1.2, 128), (107, 1.2, 192), (160, 1.2, 192), (161, 1.2, 256), (320, 1.2, 384)],
        *[(321, 1.2, 448), (8000, 1.2, 9600), (91, 1.4, 128), (92, 1.4, 192), (182, 1.4, 256), (183, 1.4, 320)],
    ],
)
def test_least_memory_is_the_next_64_mb_with_headroom(used: int, headroom: float, proposed: int) -> None:
    assert least_mb(used, headroom) == proposed


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


# 300 lines are all of 98 % of 308 invocations less two. 200 MB × 1.2 = 240, × 1.4 = 280.
@pytest.mark.parametrize(("invocations", "is_sample", "proposed"), [(308, False, 256), (309, True, 320)])
def test_a_sample_needs_more_headroom_and_the_risk_says_so(invocations: int, is_sample: bool, proposed: int) -> None:
    used = used_at(1024, 200, invocations=daily(invocations), duration_ms=daily(500 * invocations))
    result = claimed(find, used=used)
    assert ("maximum memory used is that of a sample" in result.risk) is is_sample
    assert result.proposed == {"memory_mb": proposed}
    assert result.evidence["REPORT lines read"].unit == ("of a sample" if is_sample else "of every invocation")


def test_the_formula_shows_the_sum() -> None:
    formula = claimed(find, function(memory_mb=2048, timeout_seconds=9), used_at(2048, 180)).formula
    # 1,000,000 × 0.5 s × 2 GB × $0.0000166667 = $16.67, and an eighth of that at 256 MB. One thread takes up to
    # 1769/256, all vCPUs 8 times as long: k = (1 + 1769/256)/4 + (1 + 8)/4 = 4.2275 saves 16.6667 − 2.0833 × k = $7.86.
    assert "$16.67 of compute − $2.08 × k at 256 MB" in formula
    assert "k = 4.228 is expected ($7.86), k = 8.000 saves $0.00 and k = 1.000 saves $14.58" in formula
    assert "The compute is 1,000,000 GB-seconds × $0.0000166667" in formula


@pytest.mark.parametrize(
    ("limit", "slowest", "proposed"),
    [
        (8, 2.0, 256),  # up to four times as long at a quarter of the memory
        (7, 2.0, 320),  # 2 s × 1024/320 = 6.4 s; at 256 MB 8 s
        (3, 2.0, 704),  # 2 s × 1024/704 = 2.9 s; at 640 MB 3.2 s
        (3, 2.9, None),  # 2.9 s × 1024/960 = 3.09 s
        # Some timed out. A sample's others take 0.5 s, 1.5 times of that: 0.75 s × 1024/384 = 2 s.
        (2, 2.0, 384),
        (900, 400.0, 512),  # at 448 MB 914 s
    ],
)
def test_the_slowest_invocation_ends_within_the_timeout(limit: int, slowest: float, proposed: int | None) -> None:
    used = used_at(1024, 180, slowest_ms=on_days({11: slowest * 1000, 3: 500.0}))
    result = found(find, function(timeout_seconds=limit), used)
    assert (result and result.proposed) == (proposed and {"memory_mb": proposed})
    assert not result or "--timeout" not in result.how_to


def test_slow_invocations_of_code_that_waits_may_compute() -> None:
    # A tenth of the mean is CPU time; the slowest may be one of those that use it: 2.5 s × 1024/896 = 2.9 s.
    waits = used_at(1024, 180, cpu_ms=daily(0.1 * 500 * 1024 / 1769 * 1e6), slowest_ms=on_days({11: 2500.0}))
    assert claimed(find, used=waits).proposed == {"memory_mb": 896}


def test_an_alias_saves_what_its_mix_of_sizes_costs_today() -> None:
    # A day's 10 lines at 1,024 MB take 0.5 s, 30 at 512 MB 0.9 s: 1e6 × (0.25 × 0.5 + 0.75 × 0.9 / 2) = 462,500 GB-s.
    # All at 256 MB with a share of 0.8 take 1 + 0.8 × 3 = 3.4 times 0.5 s: 425,000 GB-s.
    lines = together(reports(max_used_mb=180), reports(512, lines=30, seconds=0.9, max_used_mb=180))
    result = claimed(find, function(timeout_seconds=9), usage(duration_ms=daily(800 * 1e6), reports=lines))
    assert result.proposed == {"memory_mb": 256}
    assert result.savings.expected == pytest.approx(37_500 * 0.0000166667)

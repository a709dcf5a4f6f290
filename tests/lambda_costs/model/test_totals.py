"""What findings save together. 500,000 GB-s cost $8.33335; the free tier's 400,000 leave 100,000, a fifth: $1.66667."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_costs.findings import arm64
from lambda_costs.model.finding import Basis, ComputeShare, Finding, SavingsRange
from lambda_costs.model.totals import ComputeSpend, Totals, combine, group_by_claim, measured_and_more
from tests.lambda_costs.cases import COST, MORE, amounts, analyse, claimed, finding, function, reports, usage

USE = ComputeSpend(COST, 500_000)
ARM64 = claimed(arm64.find)


def scaled(
    name: str,
    *savings: float,
    cost: float = COST,
    gb_seconds: float = 500_000,
    basis: Basis = Basis.MEASURED,
    **given: Any,
) -> Finding:
    low, expected, high = savings
    return finding(name, (low, expected, high), basis=basis, scaling=ComputeShare(cost, gb_seconds, **given))


def test_memory_and_arm64_on_one_function_multiply_and_never_add() -> None:
    # By hand, from prices alone: a fourth of 1,024 MB at 2.5 and 1 times the duration, on arm64 in 1 and 0.75 times of
    # that. Both are to be tested: at least, nobody makes them.
    #                                                        GB-s before the free tier            after it
    #   today                                 500,000 × 0.0000166667 = $8.33335    100,000 × … = $1.66667
    #   high      500,000 × 0.25 × 1   × 0.75 = 93,750 × 0.0000133334 = $1.25000625           0
    #   expected  500,000 × 0.25 × 2.5 × 1   = 312,500 × 0.0000133334 = $4.1666875            0
    # The high end has more invocations, too.
    analysis = analyse({function(): usage(reports=reports(max_used_mb=180))})
    assert {item.kind for item in analysis.findings} == {"memory-too-high", "arm64"}
    assert amounts(analysis.totals.gross) == (0, 0, 0)
    assert amounts(analysis.more.gross) == pytest.approx((0, 4.1666625, 7.08334375 * MORE))
    assert amounts(analysis.more.net) == pytest.approx((0, 1.66667, 1.66667))


@pytest.mark.parametrize(
    ("findings", "use", "gross", "net"),
    [
        ([], USE, (0, 0, 0), (0, 0, 0)),
        # What remains: 1 × 1.2, 0.5 × 0.8 and 0.2 × 0.4 of $8.33335.
        ([scaled("a", 0, COST / 2, 0.8 * COST), scaled("a", -0.2 * COST, 0.2 * COST, 0.6 * COST)], USE,
         (-0.2 * COST, 0.6 * COST, 0.92 * COST),
         # 600,000 GB-s leave 200,000 to pay instead of 100,000; 200,000 and 40,000 are free.
         (-1.66667, 1.66667, 1.66667)),
        # A tenth less: 450,000 GB-s, of which 50,000 are paid. Half of the bill is saved, not a tenth.
        ([scaled("a", 0.1 * COST, 0.1 * COST, 0.1 * COST)], USE, (0.833335,) * 3, (0.833335,) * 3),
        # arm64 in the same time uses as many GB-s, and saves a fifth of the bill. At 1.4 times it costs $1.00003 and
        # 200,000 GB-s more; more invocations make both larger: $9.37680 for 708,683 GB-s, of which 43.5573 % are
        # paid. At 0.75 times the time, less than the free tier is left.
        ([ARM64], USE, (-1.00003 * MORE, 1.66665, 3.333325 * MORE),
         (1.66667 - (COST + 1.00003 * MORE) * (1 - 4e5 / (5e5 + 2e5 * MORE)), 0.33333, 1.66667)),
        # At least 0.9, at most 1.2 times the invocations. A loss of a tenth is of 1.2 times, a saving of a half of 0.9
        # times as many; both together leave 1.1 × 0.5 of the cost, and save 0.9 × 0.45 of it.
        ([scaled("a", -0.12, 0, 0.24, cost=1, fewer=0.9, more=1.2),
          scaled("a", 0.45, 0.5, 0.6, cost=1, fewer=0.9, more=1.2)], ComputeSpend(1, 500_000),
         (0.405, 0.5, 1.2 * (1 - 0.8 * 0.5)), (0.2, 0.2, 0.2)),
        # Two functions of 500,000 GB-s each: 600,000 of a million are paid, $10.00002. Halved, both leave 100,000.
        ([scaled(name, COST / 2, COST / 2, COST / 2) for name in ("a", "b")], ComputeSpend(2 * COST, 1e6),
         (COST,) * 3, (10.00002 - 1.66667,) * 3),
        # Logs and the like are not compute: the free tier of GB-seconds has no part in them.
        ([finding("a", (1, 2, 3)), finding("b", (0, 0, 5))], USE, (1, 2, 8), (1, 2, 8)),
        ([finding("a", (1, 2, 3)), scaled("a", COST, COST, COST)], USE,
         (1 + COST, 2 + COST, 3 + COST), (2.66667, 3.66667, 4.66667)),
        # Below the free tier nothing is paid and nothing is saved.
        ([scaled("a", 1, 2, 3, cost=5, gb_seconds=300_000)], ComputeSpend(5, 300_000), (1, 2, 3), (0, 0, 0)),
        # Provisioned concurrency only: no on-demand compute at all.
        ([finding("a", (1, 2, 3))], ComputeSpend(0, 0), (1, 2, 3), (1, 2, 3)),
    ],
)  # fmt: skip
def test_totals_gross_and_net_by_hand(
    findings: list[Finding], use: ComputeSpend, gross: tuple[float, ...], net: tuple[float, ...]
) -> None:
    totals = combine(findings, use)
    assert amounts(totals.gross) == pytest.approx(gross, abs=1e-6)
    assert amounts(totals.net) == pytest.approx(net, abs=1e-6)


def to_test(name: str, *savings: float) -> Finding:
    return scaled(name, *savings, cost=1, basis=Basis.TO_TEST)


@pytest.mark.parametrize(
    ("tried", "more"),
    [
        ([], (0, 0, 0)),
        # The measured findings leave 0.7, 0.5 and 0.4. A fifth, and at most a half of that is added.
        ([to_test("a", 0.1, 0.2, 0.5)], (0, 0.1, 0.2)),
        ([to_test("b", 0.1, 0.2, 0.5)], (0, 0.2, 0.5)),
        # Nobody makes a change that costs more.
        ([to_test("a", -5, -1, 0.5)], (0, 0, 0.2)),
        ([to_test("a", -5, -3, -1)], (0, 0, 0)),
        # Less is left at the high end than at the expected one: no less than what is expected is added at most.
        ([to_test("a", 0.1, 0.5, 0.5)], (0, 0.25, 0.25)),
    ],
)
def test_findings_to_be_tested_add_what_they_save(tried: list[Finding], more: tuple[float, ...]) -> None:
    measured = scaled("a", 0.3, 0.5, 0.6, cost=1)
    alone, added = measured_and_more([*tried, measured], ComputeSpend(2, 1e9))
    assert amounts(alone.gross) == pytest.approx((0.3, 0.5, 0.6))
    assert amounts(added.gross) == pytest.approx(more)


shares = st.floats(0, 1)
signed = st.floats(-1, 1)
Several = list[tuple[str, float, float]]
several = st.lists(st.tuples(st.sampled_from("abc"), shares, st.sampled_from([1.0, 0.8])), max_size=7)


@given(several, st.floats(1, 1e6))
def test_combined_savings_exceed_neither_the_cost_nor_their_sum(several: Several, gb_seconds: float) -> None:
    whole = {"cost": 1, "gb_seconds": gb_seconds}
    findings = [scaled(name, *(share,) * 3, **whole, repriced=price) for name, share, price in several]
    names = {name for name, _, _ in several}
    totals = combine(findings, ComputeSpend(3, 3 * gb_seconds))
    most, alone = totals.gross.expected, [share for _, share, _ in several]
    assert max(alone, default=0) - 1e-9 <= most <= min(len(names), sum(alone)) + 1e-9
    assert totals.net.expected <= ComputeSpend(3, 3 * gb_seconds).billed + 1e-9


@given(several, st.randoms())
def test_the_order_of_findings_does_not_matter(several: Several, random: Any) -> None:
    findings = [scaled(name, *(share,) * 3, cost=1, repriced=price) for name, share, price in several]
    one, other = combine(findings, USE), combine(random.sample(findings, len(findings)), USE)
    assert amounts(one.gross) == pytest.approx(amounts(other.gross))
    assert amounts(one.net) == pytest.approx(amounts(other.net))


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.tuples(signed, signed, signed).map(sorted),
            st.sampled_from(Basis),
            st.floats(0.1, 1),
            st.floats(1, 10),
        ),
        max_size=5,
    )
)
def test_measured_savings_and_what_tests_add_are_in_order(several: list[Any]) -> None:
    findings = []
    for name, savings, basis, fewer, more in several:
        share = ComputeShare(1, 500_000, 1.0, fewer, more)
        findings.append(replace(finding(name), basis=basis, savings=share.scaled(*savings), scaling=share))
    for totals in measured_and_more(findings, ComputeSpend(2, 1e6)):
        for low, expected, high in map(amounts, (totals.gross, totals.net)):
            assert low <= expected + 1e-9
            assert expected <= high + 1e-9


def test_claims_are_grouped_by_what_they_rest_on_and_by_size() -> None:
    sure, tried = finding("sure"), finding("tried", basis=Basis.TO_TEST)
    small, none = finding("small", (0, 0.001, 0.002)), finding("none", (0, 0, 0))
    groups = group_by_claim([tried, small, sure, none])
    assert (groups.claims, groups.small, groups.observations) == ((tried, sure), (small,), (none,))
    assert [list(groups.on(basis)) for basis in Basis] == [[sure], [tried]]


def test_without_functions_there_are_no_savings() -> None:
    assert combine([], ComputeSpend(0, 0)) == Totals(SavingsRange(0, 0, 0), SavingsRange(0, 0, 0))

"""What findings save together. 500,000 GB-s cost $8.33335; the free tier's 400,000 leave 100,000, a fifth: $1.66667."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_costs.findings import arm64
from lambda_costs.model.finding import ComputeShare, Finding, SavingsRange
from lambda_costs.model.totals import ComputeSpend, Totals, combine
from tests.lambda_costs.cases import COST, amounts, analyse, claimed, finding, function, reports, usage

USE = ComputeSpend(COST, 500_000)
ARM64 = claimed(arm64.find)


def scaled(name: str, *savings: float, cost: float = COST, gb_seconds: float = 500_000, **given: Any) -> Finding:
    low, expected, high = savings
    return finding(name, (low, expected, high), scaling=ComputeShare(cost, gb_seconds, **given))


def test_memory_and_arm64_on_one_function_multiply_and_never_add() -> None:
    # By hand, from prices alone: a fourth of 1,024 MB at 1, 2.5 and 4 times the duration, on arm64 in 0.8, 1 and 1.25
    # times of that.                               GB-s before the free tier            after it
    #   today                                      500,000 × 0.0000166667 = $8.33335    100,000 × … = $1.66667
    #   high      500,000 × 0.25 × 1    × 0.8  =   100,000 × 0.0000133334 = $1.33334          0
    #   expected  500,000 × 0.25 × 2.5  × 1    =   312,500 × 0.0000133334 = $4.1666875        0
    #   low       500,000 × 0.25 × 4    × 1.25 =   625,000 × 0.0000133334 = $8.333375   225,000 × … = $3.000015
    analysis = analyse({function(): usage(reports=reports(max_used_mb=200))})
    assert {item.kind for item in analysis.findings} == {"memory-too-high", "arm64"}
    assert amounts(analysis.totals.gross) == pytest.approx((-0.000025, 4.1666625, 7.00001))
    assert amounts(analysis.totals.net) == pytest.approx((-1.333345, 1.66667, 1.66667))


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
        # arm64 in the same time uses as many GB-s, and saves a fifth of the bill.
        ([ARM64], USE, (-0.000025, 1.66665, 2.99999), (1.66667 - 225_000 * 0.0000133334, 0.33333, 1.66667)),
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


shares = st.floats(0, 1)
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


def test_without_functions_there_are_no_savings() -> None:
    assert combine([], ComputeSpend(0, 0)) == Totals(SavingsRange(0, 0, 0), SavingsRange(0, 0, 0))

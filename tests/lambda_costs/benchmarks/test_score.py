from math import ceil
from typing import Any

import pytest

from benchmarks.findings.accounts import free_tier_account, random_account
from benchmarks.findings.score import GOALS, Score, Summary, score
from benchmarks.findings.truth import savings
from lambda_costs.sample_account import Planted, SampleAccount, build

ACCOUNT = build()
BY_NAME = {function.name: function for function in ACCOUNT.functions}


def finding(what: Planted, low: float = 0, expected: float = 0, high: float = 0, **proposed: Any) -> dict[str, Any]:
    about = {"function": what.function, "kind": what.kind, "basis": "measured"}
    return {**about, "proposed": proposed, "savings": {"low": low, "expected": expected, "high": high}}


def scored(*findings: dict[str, Any], gaps: tuple[str, ...] = (), account: SampleAccount = ACCOUNT) -> Score:
    def total(basis: str) -> dict[str, Any]:
        expected = sum(item["savings"]["expected"] for item in findings if item["basis"] == basis)
        return {end: {"expected": expected} for end in ("gross", "net")}

    totals = {"measured": total("measured"), "more_by_tests": total("to be tested")}
    skipped = [{"subject": name, "reason": ""} for name in gaps]
    return score(account, {"findings": findings, "gaps": skipped, "total": totals})


def planted(kind: str) -> Planted:
    return next(item for item in sorted(ACCOUNT.planted) if item.kind == kind)


def test_findings_are_right_if_planted_else_wrong_or_missed() -> None:
    right, wrong = planted("errors"), Planted(planted("errors").function, "idle")
    result = scored(finding(right), finding(wrong))
    assert (result.right, result.wrong) == ({right}, {wrong})
    assert result.missed == ACCOUNT.planted - {right}
    summary = Summary((result,))
    assert (summary.precision(), summary.recall()) == (0.5, 1 / len(ACCOUNT.planted))
    assert (summary.precision("idle"), summary.recall("errors")) == (0.0, 1.0)


def test_tolerated_findings_are_neither_right_nor_wrong() -> None:
    result = scored(*map(finding, sorted(ACCOUNT.tolerated)))
    assert (result.right, result.wrong) == (frozenset(), frozenset())


def test_a_claim_is_compared_with_the_hidden_parameters() -> None:
    what = planted("arm64")
    arm64 = {"architecture": "arm64"}
    truth = savings(BY_NAME[what.function], [finding(what, **arm64)])
    result = scored(finding(what, 0.0, truth * 1.1, truth * 1.2, **arm64))
    (claim,) = result.claims
    assert (claim.truth, claim.error, claim.covered) == (truth, pytest.approx(0.1), True)
    assert result.gross.error == pytest.approx(0.1)
    assert not scored(finding(what, truth * 1.01, truth * 1.1, truth * 1.2, **arm64)).claims[0].covered


def test_the_total_has_only_those_tests_that_save() -> None:
    what = planted("arm64")
    arm64 = finding(what, expected=1.0, architecture="arm64")
    slower = {**finding(what, expected=0.0, memory_mb=10_240), "basis": "to be tested"}
    result = scored(arm64, slower)
    assert result.gross.expected == 1.0
    assert result.gross.truth == pytest.approx(savings(BY_NAME[what.function], [arm64]))
    assert scored(arm64, {**slower, "basis": "measured"}).gross.truth < 0


def test_a_memory_size_below_the_need_does_not_fit() -> None:
    what = planted("memory-too-high")
    need = ceil(BY_NAME[what.function].need_mb)
    assert scored(finding(what, memory_mb=need), finding(what, memory_mb=need - 1)).fits == (True, False)


def test_analysis_abstains_by_naming_the_gap_and_claiming_nothing() -> None:
    name, other = sorted(ACCOUNT.abstain)[:2]
    claim = finding(Planted(other, "arm64"), 0.0, 1.0, 2.0)
    result = scored(claim, finding(Planted(name, "errors")), gaps=(name, other, f"{other}s"))
    assert [result.abstained[item] for item in (name, other)] == [True, False]
    assert not scored(gaps=(f"{name}-2",)).abstained[name]


def test_an_analysis_without_findings_or_with_too_many_misses_goals() -> None:
    assert {goal.name for goal in GOALS if not goal.met(Summary((scored(),)))} == {"recall", "functions abstained from"}
    loud = Summary((scored(*(finding(Planted(name, "arm64"), 1, 2, 3) for name in BY_NAME)),))
    assert "precision" in {goal.name for goal in GOALS if not goal.met(loud)}


@pytest.mark.parametrize("count", [100, 1000])
def test_a_random_account_has_the_requested_number_of_functions(count: int) -> None:
    account = random_account(1, count)
    assert len({function.name for function in account.functions}) == count
    assert account == random_account(1, count) != random_account(2, count)
    assert 0.2 < len({item.function for item in account.planted}) / count < 0.5
    assert account.abstain


def test_inside_the_free_tier_a_claim_makes_the_net_total_wrong() -> None:
    account = free_tier_account()
    named = finding(sorted(account.tolerated)[0], 0.0, 1.0, 2.0, memory_mb=256, architecture="arm64")
    result = scored(named, account=account)
    assert (result.wrong, result.net.truth) == (frozenset(), 0.0)
    assert result.net.error == float("inf")

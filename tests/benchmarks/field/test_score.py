"""Scoring holds what a finding claims against what its proposal does."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from benchmarks.field.account import Account
from benchmarks.field.function import Arrivals, Function
from benchmarks.field.score import Claim, listed, score

NOW = datetime(2026, 6, 17, 15, 22, tzinfo=UTC)
LARGE = Function(
    "large", "test", Arrivals(200), memory_mb=2048, io_s=10.0, cpu_s=0.01, base_mb=300, timeout_s=300, retention=30
)


def finding(memory_mb: int, expected: float, low: float = 0.0) -> dict[str, Any]:
    savings = {"low": low, "expected": expected, "high": 2 * expected}
    return {"id": "memory-too-high:large", "kind": "memory-too-high", "function": "large",
            "proposed": {"memory_mb": memory_mb}, "savings": savings}  # fmt: skip


def scored(function: Function, *findings: dict[str, Any]) -> Any:
    return score("test", Account((function,), NOW, True), {"findings": list(findings)})


@pytest.mark.parametrize(("low", "high", "truth", "holds"), [
    (1.0, 2.0, 2.0, True),
    (1.0, 2.0, 2.5, False),
    (0.0, 0.0, 0.004, True),
    (-2.0, -1.0, -1.5, True),
    (10.0, 20.0, 9.96, True),
])  # fmt: skip
def test_an_interval_holds_the_truth_to_half_a_percent(low: float, high: float, truth: float, holds: bool) -> None:
    assert Claim({"id": "x"}, "claimed", low, (low + high) / 2, high, truth, truth).holds(truth) is holds


def test_memory_that_waits_costs_half_at_half_the_size() -> None:
    # 200 a day × 30 × about 10.8 s (the mean of the lognormal) × (2 − 1) GB × $0.0000166667 = $1.08, a little by chance
    (claim,) = scored(LARGE, finding(1024, 1.0)).claims
    assert claim.last == pytest.approx(1.08, rel=0.05)
    assert claim.ahead == pytest.approx(claim.last, rel=0.05)


def test_a_size_that_breaks_invocations_is_wrong() -> None:
    result = scored(LARGE, finding(256, 1.0))
    assert [why for _, kind, why in result.wrong if kind == "memory-too-high"] == ["breaks 100.00% of the invocations"]
    assert result.broken == [("memory-too-high:large", 1.0)]


def test_money_of_a_function_that_has_stopped_is_wrong() -> None:
    stopped = replace(LARGE, arrivals=Arrivals(200, stopped=9))
    (wrong,) = scored(stopped, finding(1024, 1.0)).wrong
    assert wrong[2] == "claims money of a function that has stopped"


def test_what_is_not_found_is_missed() -> None:
    assert ("large", "memory-too-high") in scored(LARGE).missed


@pytest.mark.parametrize(("fields", "name"), [
    ({}, "claimed"), ({"basis": "measured"}, "measured"), ({"confidence": "to be tested"}, "tested")
])  # fmt: skip
def test_a_finding_is_in_the_list_that_it_names(fields: dict[str, str], name: str) -> None:
    assert listed(fields) == name

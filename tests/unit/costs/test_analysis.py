from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.costs.cases import (
    COST,
    GIB,
    NOW,
    analyse,
    finding,
    function,
    log_group,
    observed,
    provisioned,
    reports,
    usage,
)
from vigil.costs.finding import Interval, combine, money, rank, rate
from vigil.costs.gaps import Gap
from vigil.costs.inventory import MODEL_ROWS
from vigil.costs.prices import PRICES
from vigil.costs.usage import Window


def amounts(interval: Interval) -> tuple[float, float, float]:
    return interval.low, interval.expected, interval.high


def test_findings_that_scale_one_cost_multiply_and_never_add() -> None:
    half = finding(savings=(0, 50, 80), share_of=100)
    fifth = finding(savings=(-10, 20, 60), share_of=100)
    # What remains: 1 × 1.1, 0.5 × 0.8, 0.2 × 0.4.
    assert amounts(combine([half, fifth])) == pytest.approx((-10, 60, 92))


def test_findings_on_other_functions_or_other_costs_add() -> None:
    compute = [finding(name, savings=(10, 20, 30), share_of=100) for name in ("a", "b")]
    storage = finding("a", savings=(1, 2, 3))
    assert amounts(combine([*compute, storage])) == pytest.approx((21, 42, 63))
    assert combine([]) == Interval(0, 0, 0)


@settings(deadline=None)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=6))
def test_all_together_never_save_more_than_the_cost_or_than_their_sum(saved: list[float]) -> None:
    total = combine(finding(savings=(amount,) * 3, share_of=100) for amount in saved).expected
    assert max(saved) - 1e-9 <= total <= min(100, sum(saved)) + 1e-9


def test_memory_and_arm64_on_one_function_are_computed_together() -> None:
    analysis = analyse({function(): usage(reports=reports(200))})
    # Memory to a quarter at I/O-bound, and a GB-second on arm64 at 0.8 of the time.
    remains = 0.25 * 0.8 * 0.0000133334 / 0.0000166667
    assert analysis.total.high == pytest.approx(COST * (1 - remains))
    assert analysis.total.high < sum(item.savings.high for item in analysis.findings)


def test_what_saves_most_at_least_comes_first() -> None:
    sure = finding("sure", (5, 5, 5))
    hoped = finding("hoped", (0, 900, 1800))
    even = [finding("b", (1, 2, 3)), finding("a", (1.004, 2.001, 99)), finding("c", (1, 2.5, 3))]
    losing = finding("losing", (-1, 50, 60))
    ranked = rank([losing, hoped, *even, sure])
    assert [item.function for item in ranked] == ["sure", "c", "a", "b", "hoped", "losing"]


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0.00"),
        (0.0049, "<$0.01"),
        (0.005, "$0.01"),
        (1e-15, "<$0.01"),
        (-0.0, "$0.00"),
        (-0.0049, "$0.00"),
        (-3, "−$3.00"),
        (1234.5, "$1,234.50"),
        (-1234567.891, "−$1,234,567.89"),
    ],
)
def test_money_is_written_for_a_person(amount: float, text: str) -> None:
    assert money(amount) == text


@pytest.mark.parametrize(("price", "text"), [(0.0000166667, "$0.0000166667"), (0.000015, "$0.000015"), (0.03, "$0.03")])
def test_a_unit_price_keeps_its_digits(price: float, text: str) -> None:
    assert rate(price) == text


@pytest.mark.parametrize(
    ("gb_seconds", "price"),
    [
        ({}, 0.0000166667),
        ({"x86_64": 6e9}, 0.0000166667),
        ({"x86_64": 6e9 + 1}, 0.000015),
        ({"x86_64": 15e9 + 1}, 0.0000133334),
        ({"arm64": 99e9}, 0.0000166667),
    ],
)
def test_duration_has_the_price_of_the_tier_that_its_architecture_reaches(
    gb_seconds: dict[str, float], price: float
) -> None:
    assert PRICES["us-east-1"].at(gb_seconds).duration["x86_64"] == price


def test_the_tier_is_that_of_all_functions_together() -> None:
    # 3.5 billion GB-seconds each, in the second tier together.
    used = usage(invocations=observed(7e9), reports=reports(200))
    analysis = analyse({function("a"): used, function("b"): used})
    assert {item.evidence["Duration price"].value for item in analysis.findings if item.kind.startswith("memory")} == {
        0.000015
    }


@pytest.mark.parametrize(
    "now",
    [datetime(2026, 7, 1, tzinfo=UTC), NOW, datetime(2026, 7, 2, 1, tzinfo=timezone(timedelta(hours=2)))],
)
def test_a_window_is_whole_days_up_to_the_last_midnight(now: datetime) -> None:
    window = Window.before(now, 30)
    assert (window.start, window.end) == (datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC))
    assert window.days == 30


def test_a_finding_is_found_for_each_kind_of_waste() -> None:
    analysis = analyse(
        {
            function(): usage(reports=reports(200), log_group=log_group(10 * GIB, observed(GIB))),
            function("warm", architecture="arm64"): usage(provisioned=provisioned(observed(10))),
            function("fine", architecture="arm64"): usage(),
        }
    )
    assert {item.id for item in analysis.findings} == {
        "memory-too-high:orders",
        "arm64:orders",
        "log-retention-unset:orders",
        "provisioned-concurrency-unused:warm:live",
    }
    assert [gap.what for gap in analysis.gaps] == ["warm"]
    assert (analysis.start, analysis.end) == (date(2026, 6, 1), date(2026, 7, 1))


def test_nothing_is_claimed_where_no_price_is_known() -> None:
    used = usage(reports=reports(200))
    here, there = function(), function(region="eu-west-1")
    analysis = analyse({here: used, there: used}, gaps=[Gap("z", "before")], regions=2)
    assert {item.id for item in analysis.findings} == {"memory-too-high:orders:us-east-1", "arm64:orders:us-east-1"}
    assert analysis.gaps == (
        Gap("savings in eu-west-1", "no price for this region in the table of 2025-10"),
        Gap("z", "before"),
    )


def test_one_reason_is_told_once_a_function() -> None:
    gaps = analyse({function(): usage(invocations=observed(3))}).gaps
    assert gaps == (Gap("orders", "fewer than 50 invocations in the window"),)


def test_a_model_sees_a_summary_whatever_the_accounts_size() -> None:
    used = usage(reports=reports(200))
    analysis = analyse({function(f"f{number}"): used for number in range(200)})
    brief: Any = analysis.for_model()
    assert brief["findings_in_all"] == 400
    assert len(brief["findings"]) == MODEL_ROWS
    assert brief["findings"][0]["id"] == analysis.findings[0].id
    summary = analysis.usage.for_model()
    assert (summary["functions"], summary["report_lines"], summary["with_invocations"]) == (200, 20_000, 200)

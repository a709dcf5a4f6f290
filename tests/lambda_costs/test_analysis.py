from datetime import UTC, date, datetime, timedelta, timezone
from math import fsum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_costs.analysis import CostAnalysis
from lambda_costs.collect.compute_optimizer import Recommendation
from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.inventory import Function
from lambda_costs.collect.prices import PRICES
from lambda_costs.collect.report_lines import MAX_LINES
from lambda_costs.collect.usage import FunctionUsage, Window
from lambda_costs.model.compute import Compute
from lambda_costs.model.finding import Basis, money, rank, rate
from lambda_costs.report.artifacts import findings_json
from lambda_costs.report.history import read_document
from lambda_costs.request import CostRequest
from tests.lambda_costs.cases import (
    COST,
    GIB,
    NOW,
    analyse,
    daily,
    finding,
    function,
    log_group,
    measured,
    provisioned,
    reports,
    usage,
)
from tests.lambda_costs.conftest import Stubbed
from vigil.errors import InvalidDetail

WASTING = usage(reports=reports(max_used_mb=200))


def test_findings_are_ranked_by_what_to_do_first() -> None:
    slow = finding("slow", (90, 90, 90), slowdown=2.1)
    tested = [finding(name, savings, basis=Basis.TO_TEST) for name, savings in TESTED.items()]
    even = [finding("b", (1, 2, 3)), finding("a", (1.004, 2.001, 99)), finding("c", (1, 2.5, 3))]
    cents = [finding("cents", (0.9, 0.99, 1)), finding("tested-cents", (0, 0.99, 1), basis=Basis.TO_TEST)]
    none = finding("none", (0, 0, 0))
    ranked = rank([none, *cents, slow, *tested, *even, finding("quick", (1, 1, 1), slowdown=2.0)])
    measured = ["c", "a", "b", "quick"]
    assert [item.function for item in ranked] == [
        *(*measured, "hoped", "losing", "slow", "cents", "tested-cents", "costs", "none")
    ]


TESTED = {"hoped": (0, 900, 1800), "losing": (-1, 50, 60), "costs": (-3, -2, -1)}


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
    "now",
    [datetime(2026, 7, 1, tzinfo=UTC), NOW, datetime(2026, 7, 2, 1, tzinfo=timezone(timedelta(hours=2)))],
)
def test_a_window_is_whole_days_up_to_the_last_midnight(now: datetime) -> None:
    window = Window.before(now, 30)
    assert (window.start, window.end) == (datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC))
    assert window.days == 30


def test_findings_of_several_kinds_name_their_functions() -> None:
    used = usage(reports=reports(max_used_mb=200), log_group=log_group(10 * GIB), ingested_bytes=daily(GIB))
    warm, fine = (function(name, architecture="arm64") for name in ("warm", "fine"))
    analysis = analyse({function(): used, warm: usage(provisioned=provisioned(daily(10))), fine: usage()})
    assert [item.id for item in analysis.findings] == [
        "provisioned-concurrency-unused:warm:live",  # measured: $8.64 of execution-seconds
        "arm64:orders",  # to be tested: a fifth of $8.33
        "memory-too-high:orders",  # $2.86, but it may take 3.2 times as long
        "log-retention-unset:orders",  # 9 GB × 0.15 × $0.03
    ]
    assert {gap.subject for gap in analysis.gaps} == {"warm"}
    assert (analysis.start, analysis.end) == (date(2026, 6, 1), date(2026, 7, 1))
    # What runs on provisioned concurrency has another price.
    assert analysis.cost == pytest.approx({function().arn: COST, fine.arn: 500_000 * 0.0000133334})


@pytest.mark.parametrize(
    ("recommended", "basis"),
    [
        (None, Basis.MEASURED),
        (Recommendation("NotOptimized", (), 512, None, 14.0), Basis.MEASURED),  # less memory as well
        (Recommendation("Optimized", (), None, None, 14.0), Basis.TO_TEST),
        (Recommendation("NotOptimized", (), 2048, None, 14.0), Basis.TO_TEST),
        (Recommendation("Unavailable", (), None, None, 14.0), Basis.MEASURED),
    ],
)
def test_what_compute_optimizer_contradicts_is_to_be_tested(recommended: Recommendation | None, basis: Basis) -> None:
    recommendations = {function().arn: recommended} if recommended else {}
    found = analyse({function(): measured(200)}, recommendations=recommendations).findings
    (memory,) = [item for item in found if item.kind == "memory-too-high"]
    assert memory.basis is basis
    assert ("AWS Compute Optimizer says otherwise" in memory.risk) is (
        recommended is not None and basis == Basis.TO_TEST
    )
    # It says nothing of arm64.
    assert not any("Compute Optimizer" in item.risk for item in found if item.kind == "arm64")


# Two functions of half of it each reach the tier together; arm64 has tiers of its own.
@pytest.mark.parametrize(
    ("gb_seconds", "price"),
    [(6e9, 0.0000166667), (6.1e9, 0.0000150000), (15e9, 0.0000150000), (15.1e9, 0.0000133334)],
)
def test_all_functions_of_an_architecture_decide_its_price_tier(gb_seconds: float, price: float) -> None:
    many = usage(invocations=daily(gb_seconds), duration_ms=daily(500 * gb_seconds), reports=reports(max_used_mb=200))
    functions = [function("a"), function("b"), function("arm", architecture="arm64")]
    too_high = [item for item in analyse(dict.fromkeys(functions, many)).findings if item.kind == "memory-too-high"]
    prices = {item.function: item.evidence["Duration price"].value for item in too_high}
    # On arm64 half of it, below 7.5 and then 18.75 billion.
    assert prices == {"a": price, "b": price, "arm": 0.0000133334 if gb_seconds < 15e9 + 1 else 0.0000120001}


@pytest.mark.parametrize(
    ("architecture", "gb_seconds", "price"),
    [
        ("x86_64", {"arm64": 99e9}, 0.0000166667),
        ("arm64", {"arm64": 7.5e9}, 0.0000133334),
        ("arm64", {"arm64": 7.6e9}, 0.0000120001),
        ("arm64", {"arm64": 18.8e9}, 0.0000106667),
    ],
)
def test_each_architecture_has_its_own_tiers(architecture: str, gb_seconds: dict[str, float], price: float) -> None:
    assert PRICES["us-east-1"].at(gb_seconds).duration[architecture] == price


def test_in_a_region_without_prices_nothing_is_claimed() -> None:
    here, there = function(), function(region="eu-west-1")
    analysis = analyse({here: WASTING, there: WASTING}, gaps=[Gap("z", "before")], regions=2)
    assert {item.id for item in analysis.findings} == {"memory-too-high:orders:us-east-1", "arm64:orders:us-east-1"}
    assert analysis.gaps == (Gap("z", "before"),)
    assert analysis.cost.keys() == {here.arn}
    # A finding that needs no prices is there, such as a deprecated runtime.
    old = analyse({function(region="eu-west-1", runtime="python3.8"): WASTING}, regions=2)
    assert [item.kind for item in old.findings] == ["runtime-deprecated"]
    # What it uses is known all the same.
    assert analysis.compute.keys() == {here.arn, there.arn}


@pytest.mark.parametrize(
    ("invocations", "names", "claims"),
    [
        (800_000, None, False),  # 400,000 GB-s: all of it is free
        (800_001, None, True),
        (800_000, "orders*", True),  # others may use the free tier
    ],
)
def test_the_free_tier_covers_400000_gb_seconds(invocations: int, names: str | None, claims: bool) -> None:
    used = usage(invocations=daily(invocations), duration_ms=daily(500 * invocations), reports=reports(max_used_mb=200))
    analysis = analyse({function(): used}, functions=names)
    assert bool(analysis.findings) is claims
    assert bool(analysis.gaps) is not claims


def test_the_free_tier_is_that_of_all_functions_together() -> None:
    used = usage(invocations=daily(500_000), duration_ms=daily(500 * 500_000), reports=reports(max_used_mb=200))
    assert not analyse({function(): used}).findings
    assert len(analyse({function(): used, function("returns"): used}).findings) == 4


def test_a_function_has_each_gap_once() -> None:
    gaps = analyse({function(): usage(invocations=daily(3))}).gaps
    assert gaps == (Gap("orders", "fewer than 50 invocations in the window"),)


def test_an_account_without_functions_has_nothing_to_save() -> None:
    analysis = analyse({})
    assert (analysis.findings, analysis.gaps, analysis.cost) == ((), (), {})


def test_the_order_of_reading_does_not_change_findings_json() -> None:
    account = {
        function(f"f{number}", memory_mb=1024 if number % 2 else 2048): usage(
            invocations=daily(1_000_000 / (number + 3)), duration_ms=daily(700_000_000 / (number + 3)),
            reports=reports(1024 if number % 2 else 2048, max_used_mb=200, seconds=0.7),
            log_group=log_group(number * GIB),
        )
        for number in range(8)
    }  # fmt: skip
    backwards = {
        of: usage(**{**vars(used), "invocations": _backwards(used.invocations), "reports": _backwards(used.reports)})
        for of, used in account.items()
    }
    gaps = [Gap("b", "x"), Gap("a", "y")]
    assert findings_json(analyse(account, gaps)) == findings_json(analyse(backwards, gaps[::-1]))


def _backwards(read: Any) -> Any:
    """Return a Daily or Reports whose mapping was filled in the other order."""
    [name] = [name for name, value in vars(read).items() if isinstance(value, dict) and name in ("by_day", "tallies")]
    fields = {field: getattr(read, field) for field in type(read).__dataclass_fields__}
    return type(read)(**{**fields, name: dict(reversed(getattr(read, name).items()))})


@st.composite
def accounts(draw: st.DrawFn) -> dict[Function, FunctionUsage]:
    account: dict[Function, FunctionUsage] = {}
    for number in range(draw(st.integers(1, 4))):
        memory = draw(st.sampled_from([128, 142, 512, 1024, 1769, 3008, 10_240]))
        seconds, share = draw(st.floats(0.001, 900)), draw(st.floats(0.01, 1))
        calls, init = draw(st.integers(50, MAX_LINES * 1000)), draw(st.floats(0, 0.3))
        of = function(
            f"f{number}",
            memory_mb=memory,
            runtime=draw(st.sampled_from(["python3.12", "java21", "go1.x"])),
            architecture=draw(st.sampled_from(["x86_64", "arm64"])),
            ephemeral_mb=draw(st.sampled_from([512, 10_240])),
            timeout_seconds=900,
        )
        account[of] = usage(
            invocations=daily(calls),
            duration_ms=daily(calls * seconds * 1000 * (1 - init)),
            errors=daily(calls * draw(st.floats(0, 1))),
            cpu_ms=draw(st.sampled_from([None, daily(calls * seconds * draw(st.floats(0.01, 2)) * 1000)])),
            reports=reports(memory, lines=2, seconds=seconds, init_seconds=2 * seconds * init, inits=1,
                            max_used_mb=int(memory * share)),
            provisioned=draw(st.sampled_from([(), provisioned(daily(calls / 2))])),
        )  # fmt: skip
    return account


@settings(deadline=None, max_examples=25)
@given(accounts())
def test_no_account_saves_more_than_it_pays(account: dict[Function, FunctionUsage]) -> None:
    analysis = analyse(account)
    for item in analysis.findings:
        assert item.savings.low <= item.savings.expected <= item.savings.high
        if item.scaling:
            assert item.savings.high <= item.scaling.cost * item.scaling.more * (1 + 1e-9)
            assert item.scaling.cost == pytest.approx(analysis.cost[item.arn])
    beside = fsum(item.savings.high for item in analysis.findings if not item.scaling)
    gb_seconds = fsum(used.gb_seconds for arn in analysis.cost if isinstance(used := analysis.compute[arn], Compute))
    paid, totals = fsum(analysis.cost.values()), analysis.totals
    charged = paid * max(0.0, 1 - 400_000 / max(1.0, gb_seconds))
    assert totals.gross.expected <= (paid + beside) * (1 + 1e-9) + 1e-9
    assert totals.gross.high <= fsum(max(0.0, item.savings.high) for item in analysis.findings) + 1e-6
    assert totals.net.expected <= (charged + beside) * (1 + 1e-9) + 1e-9
    for some in (totals.gross, analysis.more.gross):
        assert some.low <= some.expected + 1e-9
        assert some.expected <= some.high + 1e-9


@settings(deadline=None, max_examples=25)
@given(accounts())
def test_the_next_analysis_can_read_every_findings_json(account: dict[Function, FunctionUsage]) -> None:
    analysis = analyse(account)
    assert read_document(findings_json(analysis), analysis.end)


def test_metrics_beyond_the_budget_are_not_read(stubbed: Stubbed) -> None:
    awslambda, answers = stubbed("lambda")
    one = {"FunctionName": "orders", "FunctionArn": "arn:orders", "MemorySize": 128}
    answers.add_response("list_functions", {"Functions": [one]}, {})
    asked: list[str] = []

    def client(service: str, region: str) -> Any:
        asked.append(service)
        return awslambda

    # Up to 14 metrics at $0.01 a thousand
    analyst = CostAnalysis(CostRequest(regions=("us-east-1",), max_scan_dollars=0.0001), client, lambda: NOW)
    assert len(analyst.list_functions().functions) == 1
    with pytest.raises(InvalidDetail, match=r"max_scan_dollars is 0\.0001, but the metrics of 1 function alone"):
        analyst.find_savings()
    assert asked == ["lambda"]  # once, and nothing else

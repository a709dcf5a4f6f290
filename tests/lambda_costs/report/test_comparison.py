"""The comparison with the last analysis, each case computed by hand."""

import json
import re
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lambda_costs.analysis import Analysis
from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.inventory import Function
from lambda_costs.collect.log_groups import LogGroup
from lambda_costs.collect.scaling import Scaling
from lambda_costs.collect.settings import Provisioned
from lambda_costs.collect.usage import FunctionUsage
from lambda_costs.model.compute import NoClaim
from lambda_costs.model.finding import Finding, SavingsRange
from lambda_costs.report.artifacts import findings_json
from lambda_costs.report.comparison import MAX_TRIED, Comparison, compare
from lambda_costs.report.history import MAX_DOLLARS, OLD_FORMAT
from lambda_costs.report.markdown import render_report
from tests.lambda_costs import cases
from tests.lambda_costs.analyses import END, analysis, finding, observation, used

CHANGED = END.date() - timedelta(days=40)
"""After the last analysis and before the window of this one."""
ORDERS = cases.function("orders", last_modified=CHANGED)
ARN = ORDERS.arn
MEMORY = finding(kind="memory-too-high", cost=10.0, change="Set memory to 256 MB", proposed={"memory_mb": 256})
ARM = finding(cost=10.0, change="Run it on arm64", proposed={"architecture": "arm64"})
LOGS = finding(kind="log-retention-unset", change="Let logs expire", proposed={"retention_days": 30})
UNUSED = "provisioned-concurrency-unused"
WARM = finding(kind=UNUSED, id=f"{UNUSED}:orders:live", change="Remove it", proposed={"provisioned_concurrency": 0})


def before(*findings: Finding, **fields: Any) -> Any:
    """Return findings.json of the last analysis, which ended two months ago."""
    return json.loads(findings_json(analysis(findings, [ORDERS], end=END - timedelta(days=60), **fields)))


def compared(previous: object, now: Analysis) -> Comparison:
    comparison = compare([json.dumps(previous)], now)
    assert isinstance(comparison, Comparison)
    return comparison


def now(*findings: Finding, function: Function | None = ORDERS, **fields: Any) -> Analysis:
    return analysis(findings, [function] if function else [], **fields)


def test_same_findings_have_not_changed() -> None:
    comparison = compared(before(MEMORY, ARM), now(MEMORY, ARM))
    assert (comparison.new, comparison.changed, comparison.realised, comparison.gone) == ((), (), (), ())
    assert comparison.since == date(2026, 5, 2)
    # Of 10 dollars remain (1 - 0.1)², (1 - 0.2)² and (1 - 0.3)².
    assert vars(comparison.total_then) == pytest.approx({"low": 1.9, "expected": 3.6, "high": 5.1})


def test_finding_of_this_analysis_only_is_new() -> None:
    (new,) = compared(before(MEMORY), now(MEMORY, ARM)).new
    assert (new.id, new.function, new.change) == ("arm64:orders", "orders", ARM.change)
    assert new.savings == SavingsRange(1, 2, 3)


@pytest.mark.parametrize(
    ("expected", "proposed", "changed"),
    [
        (2.19, {"memory_mb": 256}, False),  # less than 10 % of 2
        (2.21, {"memory_mb": 256}, True),
        (1.79, {"memory_mb": 256}, True),
        (2.0, {"memory_mb": 512}, True),
    ],
)
def test_finding_changes_with_its_proposal_or_money(expected: float, proposed: dict[str, int], changed: bool) -> None:
    again = finding(savings=(1, expected, 3), kind="memory-too-high", cost=10.0, proposed=proposed)
    comparison = compared(before(MEMORY), now(again))
    changes = [(item.then.savings.expected, item.now.savings.expected) for item in comparison.changed]
    assert changes == ([(2.0, expected)] if changed else [])


def test_few_cents_are_no_change() -> None:
    assert compared(before(finding(savings=(0, 0.02, 1))), now(finding(savings=(0, 0.11, 1)))).changed == ()


@pytest.mark.parametrize(
    ("then", "function_now", "usage"),
    [
        (LOGS, ORDERS, FunctionUsage(log_group=LogGroup("/aws/lambda/orders", ("orders",), 30, 0))),
        (LOGS, ORDERS, FunctionUsage(log_group=LogGroup("/aws/lambda/orders", ("orders",), 7, 0))),
        (WARM, ORDERS, FunctionUsage(provisioned=())),
        (finding(kind="ephemeral-storage", proposed={"ephemeral_mb": 512}), ORDERS, FunctionUsage()),
    ],
)
def test_followed_proposal_realises_its_savings(then: Finding, function_now: Function, usage: FunctionUsage) -> None:
    comparison = compared(before(then), now(function=function_now, usage={"orders": usage}))
    assert [(item.then[0].id, item.dollars, item.measured) for item in comparison.realised] == [(then.id, 2.0, False)]
    assert (comparison.gone, comparison.saved) == ((), 0)


@pytest.mark.parametrize(
    ("then", "usage"),
    [
        (LOGS, FunctionUsage(log_group=LogGroup("/aws/lambda/orders", ("orders",), 365, 0))),
        (LOGS, FunctionUsage(log_group=LogGroup("/aws/lambda/orders", ("orders",), None, 0))),
        (LOGS, FunctionUsage()),
        (WARM, FunctionUsage(provisioned=(Provisioned("live", 1),))),
        (WARM, FunctionUsage(provisioned=(Provisioned("other", 5),))),  # moved, not removed
        (WARM, FunctionUsage(provisioned=(Provisioned("live", 0, Scaling(0, 9)),))),  # off until its schedule acts
        (WARM, FunctionUsage(provisioned=None)),
        (MEMORY, FunctionUsage()),
        (finding(proposed={}), FunctionUsage()),
    ],
)
def test_proposal_that_was_not_followed_or_is_unknown_is_gone(then: Finding, usage: FunctionUsage) -> None:
    comparison = compared(before(then), now(usage={"orders": usage}))
    assert comparison.realised == ()
    assert [(item.then.id, item.why) for item in comparison.gone] == [(then.id, "no longer found")]


def test_savings_of_compute_are_measured_for_todays_invocations() -> None:
    then = before(MEMORY, ARM, cost={ARN: 10.0}, compute={ARN: used(1000)})
    both = replace(ORDERS, memory_mb=256, architecture="arm64")
    comparison = compared(then, now(function=both, cost={ARN: 9.0}, compute={ARN: used(3000)}))
    # 3,000 invocations at 1 cent each would cost 30 dollars.
    (realised,) = comparison.realised
    assert {item.id for item in realised.then} == {"memory-too-high:orders", "arm64:orders"}
    assert (realised.dollars, realised.measured) == (pytest.approx(21.0), True)
    assert comparison.saved == realised.dollars


@pytest.mark.parametrize(
    ("then", "days", "measured"),
    [(ARM, 1, False), (ARM, 30, False), (ARM, 31, True), (MEMORY, 1, True)],  # days at a memory size are told apart
)
def test_change_within_the_window_is_not_measured(then: Finding, days: int, measured: bool) -> None:
    past = before(then, cost={ARN: 10.0}, compute={ARN: used(1000)})
    today = replace(ORDERS, memory_mb=256, architecture="arm64", last_modified=END.date() - timedelta(days=days))
    (realised,) = compared(past, now(function=today, cost={ARN: 9.0}, compute={ARN: used(1000)})).realised
    assert realised.measured is measured


def test_higher_cost_is_negative_savings() -> None:
    then = before(ARM, cost={ARN: 10.0}, compute={ARN: used(1000)})
    slower = now(function=replace(ORDERS, architecture="arm64"), cost={ARN: 12.0}, compute={ARN: used(1000)})
    assert compared(then, slower).saved == pytest.approx(-2.0)


@pytest.mark.parametrize(
    ("then", "today"),
    [
        ({}, {"cost": {ARN: 9.0}, "compute": {ARN: used(3000)}}),
        ({"cost": {ARN: 10.0}, "compute": {ARN: used(1000)}}, {"compute": {ARN: "too few invocations"}}),
        ({"cost": {ARN: 10.0}}, {"cost": {ARN: 9.0}, "compute": {ARN: used(3000)}}),
        # Four times less memory on arm64 cannot save so much: something else has changed.
        ({"cost": {ARN: 10.0}, "compute": {ARN: used(1000)}}, {"cost": {ARN: 0.9}, "compute": {ARN: used(1000)}}),
    ],
)
def test_unmeasured_savings_are_those_expected_together(then: dict[str, Any], today: dict[str, Any]) -> None:
    both = replace(ORDERS, memory_mb=256, architecture="arm64")
    (realised,) = compared(before(MEMORY, ARM, **then), now(function=both, **today)).realised
    # 10 × (1 - 0.8 × 0.8), as changes to one function's compute multiply.
    assert (realised.dollars, realised.measured) == (pytest.approx(3.6), False)


def test_savings_within_a_cent_of_the_whole_cost_are_the_cost() -> None:
    then = before(MEMORY, ARM, cost={ARN: 0.001}, compute={ARN: used(1)})
    for item in then["findings"]:
        item.update(savings=savings(0, 0.005, 0.009), scaling=scaling(0.001))
    assert compared(then, now(MEMORY)).total_then == SavingsRange(0.0, 0.001, 0.001)


def test_the_most_savings_are_those_of_the_most_invocations() -> None:
    then = before(MEMORY, cost={ARN: 10.0}, compute={ARN: used(1000)})
    then["findings"][0].update(savings=savings(1, 4, 15), scaling=scaling(10, 0.5, 2))
    # Twice the invocations cost 20 dollars, of which 15 can be saved.
    assert compared(then, now(MEMORY)).total_then == SavingsRange(*map(pytest.approx, (1, 4, 15)))
    then["findings"][0].update(savings=savings(1, 4, 21))
    assert compare([json.dumps(then)], now(MEMORY)) == OLD_FORMAT


@pytest.mark.parametrize("fewer", [0.0, 5e-324])
@pytest.mark.parametrize(
    ("ends", "together"), [((1, 4, 9), (0, 4, 9)), ((-9, -4, -1), (-9, -4, 0)), ((0.001, 0.002, 0.003),) * 2]
)
def test_no_savings_are_those_of_no_invocations(
    fewer: float, ends: tuple[float, ...], together: tuple[float, ...]
) -> None:
    then = before(MEMORY, cost={ARN: 10.0}, compute={ARN: used(1000)})
    then["findings"][0].update(savings=savings(*ends), scaling=scaling(10, fewer, 1))
    today = now(MEMORY)
    comparison = compared(then, today)
    assert tuple(vars(comparison.total_then).values()) == pytest.approx(together, abs=0.001)
    assert findings_json(today, comparison)


def test_setting_that_lambda_has_not_changed_since_is_not_realised() -> None:
    untouched = now(function=replace(ORDERS, memory_mb=256, last_modified=END.date() - timedelta(days=61)))
    comparison = compared(before(MEMORY), untouched)
    assert (comparison.realised, [item.then.id for item in comparison.gone]) == ((), [MEMORY.id])


def test_followed_proposal_is_realised_despite_a_new_proposal() -> None:
    more = finding(kind="memory-too-high", cost=10.0, change="Set memory to 128 MB", proposed={"memory_mb": 128})
    comparison = compared(before(MEMORY), now(more, function=replace(ORDERS, memory_mb=256)))
    assert [item.then[0].change for item in comparison.realised] == ["Memory set too high: memory_mb 256"]
    assert [item.now.change for item in comparison.changed] == ["Set memory to 128 MB"]


UNREAD = "no REPORT lines could be read"


@pytest.mark.parametrize(
    ("today", "why"),
    [
        (now(function=None), "the function was deleted"),
        (now(function=None, gaps=(Gap("functions in us-east-1", "denied"),)), "its region could not be listed"),
        (now(compute={ARN: NoClaim(UNREAD)}), f"no longer known: {UNREAD}"),
    ],
)
def test_gone_finding_says_whether_it_is_deleted_or_unknown(today: Analysis, why: str) -> None:
    assert [item.why for item in compared(before(MEMORY), today).gone] == [why]


def test_findings_without_money_are_compared_too() -> None:
    loop = observation(kind="recursion", proposed={"recursive_loop": "Terminate"})
    comparison = compared(before(loop), now(usage={"orders": FunctionUsage(recursion_allowed=False)}))
    assert [(item.then[0].id, item.dollars) for item in comparison.realised] == [("recursion:orders", 0.0)]


DOCUMENT = before(MEMORY, LOGS, cost={ARN: 10.0}, compute={ARN: used(1000)})
DOCUMENT["findings"].sort(key=lambda item: item["id"] != MEMORY.id)
LOGS_THEN = DOCUMENT["findings"][1]


def changed(**fields: Any) -> Any:
    """Return the document with other fields of its first finding."""
    first, *rest = DOCUMENT["findings"]
    return {**DOCUMENT, "findings": [{**first, **fields}, *rest]}


def savings(low: float, expected: float, high: float) -> dict[str, float]:
    return {"low": low, "expected": expected, "high": high}


def scaling(dollars: float, fewer: float = 1, more: float = 1) -> dict[str, float]:
    return {"cost": dollars, "fewer": fewer, "more": more}


def cost(invocations: float | None, dollars: float | None, **fields: Any) -> Any:
    """Return the document with another cost of its function."""
    used = {**DOCUMENT["functions"][0], "invocations": invocations, "cost": dollars, **fields}
    return {**DOCUMENT, "functions": [used]}


def logs_of(name: str) -> Any:
    """Return the finding about logs for another function, with all the savings that there can be."""
    arn = f"{ARN.rpartition(':')[0]}:{name}"
    most = savings(0, MAX_DOLLARS, MAX_DOLLARS)
    return {**LOGS_THEN, "id": f"{LOGS_THEN['kind']}:{name}", "function": name, "arn": arn, "savings": most}


DAMAGED = [
    *(None, [], "text", {}),
    *({**DOCUMENT, "functions": functions} for functions in (5, DOCUMENT["functions"] * 2)),
    {**DOCUMENT, "findings": DOCUMENT["findings"] * 2},
    *({**DOCUMENT, "window": {"end": end}} for end in ("yesterday", "9999-12-31", "1970-01-01", 0)),
    changed(savings=None),
    # The last two are settings and texts of other kinds.
    *(changed(proposed={"memory_mb": size}) for size in ([256], 10**400, "call www.evil.example", "arm64")),
    *(changed(proposed=odd) for odd in ({"call www.evil.example": 1}, {"memory_mb": 256, "retention_days": 1})),
    changed(id="memory-too-high:call www.evil.example"),
    changed(kind="call-www-evil-example"),
    changed(function="call www.evil.example"),
    changed(region="mars"),
    changed(arn="arn:aws:lambda:us-east-1:000000000000:function:other"),
    *(changed(scaling=odd) for odd in (None, scaling(0), scaling(-1), {"cost": 10.0})),
    # Fewer than expected is at most all, and more at most thirty times as many.
    *(changed(scaling=scaling(10, *ends)) for ends in ((1.1, 2), (-0.1, 2), (0.5, 0.9), (0.5, 31))),
    # The function cost 10 dollars.
    changed(scaling=scaling(1000), savings=savings(1, 500, 1000)),
    *(changed(savings=savings(*ends)) for ends in ((1, 2, 11), (-10_000, 2, 3), (3, 2, 1), (-1e308, 0, 0))),
    *(changed(savings=savings(0, most, most)) for most in (1e308, 10**400)),
    # A thousand invocations of 15 minutes each cost 270 dollars.
    *(cost(1000, dollars) for dollars in (301, float("nan"), -1)),
    *(cost(1000, 10, memory_mb=128_000), cost(-1, 0), cost(1e308, 1e308), cost(5e-324, 10)),
    # Each is plausible by itself.
    {**DOCUMENT, "findings": [logs_of(f"of{number}") for number in range(21)]},
]


@pytest.mark.parametrize("previous", DAMAGED, ids=range(len(DAMAGED)))
def test_implausible_document_is_no_comparison_and_no_error(previous: object) -> None:
    assert compare([json.dumps(previous)], now(MEMORY)) == OLD_FORMAT


def test_implausible_document_is_skipped_for_the_one_before_it() -> None:
    good = json.dumps(DOCUMENT)
    texts = iter(["{", json.dumps(DAMAGED[-1]), good, *["never read"] * 3])
    assert compare(texts, now(MEMORY)) == compare([good], now(MEMORY))
    assert list(texts) == ["never read"] * 3


def test_only_a_few_damaged_documents_are_tried() -> None:
    texts = iter(["{"] * 1000)
    assert compare(texts, now(MEMORY)) == OLD_FORMAT
    assert len(list(texts)) == 1000 - MAX_TRIED


def test_first_analysis_has_no_comparison() -> None:
    assert compare([], now(MEMORY)) is None


def test_unknown_fields_of_a_later_version_are_ignored() -> None:
    later = {**changed(more=[None]), "more": 1}
    assert compare([json.dumps(later)], now(MEMORY)) == compare([json.dumps(DOCUMENT)], now(MEMORY))


ODD = st.sampled_from([0, 1e308, -1e308, 5e-324, 10**400, 1e6, 7e5, 10, 300, 256, True, None, "1", []])
NUMBERS = st.floats() | st.integers() | ODD
SAVINGS = st.one_of(
    st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3).map(lambda amounts: savings(*sorted(amounts))),
    st.builds(savings, NUMBERS, NUMBERS, NUMBERS),
)
ENDS = {"fewer": st.floats(0, 1) | NUMBERS, "more": st.floats(1, 30) | NUMBERS}
SCALING = st.none() | st.fixed_dictionaries({"cost": st.floats(0, 1e6) | NUMBERS, **ENDS})
MEMORY_256, ON_ARM64 = {"memory_mb": 256}, {"architecture": "arm64"}
PROPOSED = st.sampled_from([MEMORY_256, ON_ARM64, {**MEMORY_256, **ON_ARM64}, {}])
POISON = st.fixed_dictionaries({"savings": SAVINGS, "scaling": SCALING, "proposed": PROPOSED})


@hypothesis_settings(deadline=None, max_examples=300)
@given(
    findings=st.lists(POISON, max_size=4),
    invocations=st.one_of(st.floats(0, 1e12), NUMBERS),
    dollars=st.one_of(st.floats(0, 1e6), NUMBERS),
    memory=st.sampled_from([128, 1024, 10_240, 0, 10**9, 1e308]),
    days=st.integers(-1000, 1000),
)
def test_planted_document_cannot_raise_what_the_analysis_claims(
    findings: list[Any], invocations: Any, dollars: Any, memory: Any, days: int
) -> None:
    kinds = ("memory-too-high", "memory-too-low", "arm64", "log-retention-unset")
    base = DOCUMENT["findings"][0]
    planted = {
        **cost(invocations, dollars, memory_mb=memory),
        "window": {"end": str(END.date() - timedelta(days=days))},
        "findings": [{**base, "kind": kinds[i], "id": f"{kinds[i]}:orders", **item} for i, item in enumerate(findings)],
    }
    both = replace(ORDERS, memory_mb=256, architecture="arm64")
    today = now(function=both, cost={ARN: 1.0}, compute={ARN: used(1000)})
    comparison = compare([json.dumps(planted)], today)
    report = render_report(today, summary="Look.", written_by="the script", comparison=comparison)
    json.loads(findings_json(today, comparison))
    assert not re.search(r"\$(inf|nan)", report)
    if isinstance(comparison, Comparison):
        # 40 times the memory, at 1.25 times the price for 1.25 times as long, and half as much again.
        assert comparison.saved <= 1.0 * 40 * 1.25 * 1.25 * 1.5
        assert abs(comparison.total_then.expected) <= 4 * MAX_DOLLARS
        assert all(abs(item.dollars) <= 4 * MAX_DOLLARS for item in comparison.realised)

"""What has changed since the last analysis, each case worked by hand."""

import json
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

import pytest

from tests.unit.costs.analyses import END, analysis, finding, observation, used
from tests.unit.costs.cases import function
from vigil.costs.analysis import Analysis
from vigil.costs.comparison import OLD_FORMAT, Comparison, compare
from vigil.costs.document import findings_json
from vigil.costs.finding import Finding, Interval
from vigil.costs.gaps import Gap
from vigil.costs.inventory import Function
from vigil.costs.log_groups import LogGroup
from vigil.costs.provisioned import Provisioned
from vigil.costs.usage import FunctionUsage

ORDERS = function("orders")
ARN = ORDERS.arn
MEMORY = finding(kind="memory-too-high", cost=10.0, change="Set memory to 256 MB", proposed={"memory_mb": 256})
ARM = finding(cost=10.0, change="Run it on arm64", proposed={"architecture": "arm64"})
LOGS = finding(kind="log-retention-unset", change="Let logs expire", proposed={"retention_days": 30})
WARM = finding(
    kind="provisioned-concurrency-unused",
    id="provisioned-concurrency-unused:orders:live",
    change="Remove it",
    proposed={"provisioned_concurrency": 0},
)


def before(*findings: Finding, functions: Iterable[Function] = (ORDERS,), **given: Any) -> Any:
    """Return findings.json of the last analysis, a month ago."""
    return json.loads(findings_json(analysis(findings, functions, end=END - timedelta(days=30), **given)))


def compared(previous: object, now: Analysis) -> Comparison:
    comparison = compare(previous, now)
    assert isinstance(comparison, Comparison)
    return comparison


def now(*findings: Finding, of: Function | None = ORDERS, **given: Any) -> Analysis:
    return analysis(findings, [of] if of else [], **given)


def test_the_same_findings_have_not_changed() -> None:
    comparison = compared(before(MEMORY, ARM), now(MEMORY, ARM))
    assert (comparison.new, comparison.changed, comparison.realised, comparison.gone) == ((), (), (), ())
    assert comparison.since == date(2026, 6, 1)
    # Of 10 dollars remain (1 - 0.1)², (1 - 0.2)² and (1 - 0.3)².
    assert vars(comparison.total_then) == pytest.approx({"low": 1.9, "expected": 3.6, "high": 5.1})


def test_a_finding_that_was_not_there_is_new() -> None:
    comparison = compared(before(MEMORY), now(MEMORY, ARM))
    (new,) = comparison.new
    assert (new.id, new.function, new.change, new.savings) == ("arm64:orders", "orders", ARM.change, Interval(1, 2, 3))


@pytest.mark.parametrize(
    ("expected", "proposed", "changed"),
    [
        (2.19, {"memory_mb": 256}, False),  # less than 10 % of 2
        (2.21, {"memory_mb": 256}, True),
        (1.79, {"memory_mb": 256}, True),
        (2.0, {"memory_mb": 512}, True),
    ],
)
def test_a_finding_has_changed_if_its_proposal_or_its_money_has(
    expected: float, proposed: dict[str, int], changed: bool
) -> None:
    again = finding(savings=(1, expected, 3), kind="memory-too-high", cost=10.0, proposed=proposed)
    comparison = compared(before(MEMORY), now(again))
    assert [(item.then.savings.expected, item.now.savings.expected) for item in comparison.changed] == (
        [(2.0, expected)] if changed else []
    )


def test_a_few_cents_more_or_less_are_no_change() -> None:
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
def test_what_was_followed_is_realised_with_what_was_expected(
    then: Finding, function_now: Function, usage: FunctionUsage
) -> None:
    comparison = compared(before(then), now(of=function_now, usage={"orders": usage}))
    assert [(item.then[0].id, item.dollars, item.measured) for item in comparison.realised] == [(then.id, 2.0, False)]
    assert comparison.gone == ()


@pytest.mark.parametrize(
    ("then", "usage"),
    [
        (LOGS, FunctionUsage(log_group=LogGroup("/aws/lambda/orders", ("orders",), 365, 0))),
        (LOGS, FunctionUsage(log_group=LogGroup("/aws/lambda/orders", ("orders",), None, 0))),
        (LOGS, FunctionUsage()),
        (WARM, FunctionUsage(provisioned=(Provisioned("live", 1),))),
        (WARM, FunctionUsage(provisioned=(Provisioned("other", 5),))),  # moved, not removed
        (WARM, FunctionUsage(provisioned=None)),
        (MEMORY, FunctionUsage()),
        (finding(proposed={}), FunctionUsage()),
    ],
)
def test_what_was_not_followed_or_is_not_known_is_gone(then: Finding, usage: FunctionUsage) -> None:
    comparison = compared(before(then), now(usage={"orders": usage}))
    assert comparison.realised == ()
    assert [(item.then.id, item.why) for item in comparison.gone] == [(then.id, "not found any more")]


def test_savings_of_compute_are_measured_for_the_invocations_of_now() -> None:
    then = before(MEMORY, ARM, cost={ARN: 10.0}, compute={ARN: used(1000)})
    both = function("orders", memory_mb=256, architecture="arm64")
    comparison = compared(then, now(of=both, cost={ARN: 9.0}, compute={ARN: used(3000)}))
    # 3,000 invocations at 1 cent each would cost 30 dollars.
    (realised,) = comparison.realised
    assert {told.id for told in realised.then} == {"memory-too-high:orders", "arm64:orders"}
    assert (realised.dollars, realised.measured) == (pytest.approx(21.0), True)
    assert comparison.saved == realised.dollars


@pytest.mark.parametrize(
    ("then", "days", "measured"),
    [(ARM, 1, False), (ARM, 30, False), (ARM, 31, True), (MEMORY, 1, True)],  # days at a memory size are told apart
)
def test_a_change_within_the_window_is_not_measured_yet(then: Finding, days: int, measured: bool) -> None:
    past = before(then, cost={ARN: 10.0}, compute={ARN: used(1000)})
    today = function("orders", memory_mb=256, architecture="arm64", last_modified=END.date() - timedelta(days=days))
    (realised,) = compared(past, now(of=today, cost={ARN: 9.0}, compute={ARN: used(1000)})).realised
    assert realised.measured is measured


def test_what_turned_out_dearer_is_told_as_such() -> None:
    then = before(ARM, cost={ARN: 10.0}, compute={ARN: used(1000)})
    slower = now(of=function("orders", architecture="arm64"), cost={ARN: 12.0}, compute={ARN: used(1000)})
    assert compared(then, slower).saved == pytest.approx(-2.0)


@pytest.mark.parametrize(
    ("then", "today"),
    [
        ({}, {"cost": {ARN: 9.0}, "compute": {ARN: used(3000)}}),
        ({"cost": {ARN: 10.0}, "compute": {ARN: used(1000)}}, {"compute": {ARN: "too few invocations"}}),
        ({"cost": {ARN: 10.0}, "compute": {ARN: used(0)}}, {"cost": {ARN: 9.0}, "compute": {ARN: used(3000)}}),
    ],
)
def test_what_cannot_be_measured_is_what_was_expected_together(then: dict[str, Any], today: dict[str, Any]) -> None:
    both = function("orders", memory_mb=256, architecture="arm64")
    (realised,) = compared(before(MEMORY, ARM, **then), now(of=both, **today)).realised
    # 10 × (1 - 0.8 × 0.8), as changes to one function's compute multiply.
    assert (realised.dollars, realised.measured) == (pytest.approx(3.6), False)


def test_a_proposal_that_was_followed_is_realised_even_if_there_is_another_now() -> None:
    more = finding(kind="memory-too-high", cost=10.0, change="Set memory to 128 MB", proposed={"memory_mb": 128})
    comparison = compared(before(MEMORY), now(more, of=function("orders", memory_mb=256)))
    assert [item.then[0].change for item in comparison.realised] == ["Set memory to 256 MB"]
    assert [item.now.change for item in comparison.changed] == ["Set memory to 128 MB"]


def test_a_function_that_was_deleted_takes_its_finding_with_it() -> None:
    assert [item.why for item in compared(before(MEMORY), now(of=None)).gone] == ["gone, with its function"]


def test_a_region_that_could_not_be_listed_is_not_taken_for_deleted_functions() -> None:
    unseen = now(of=None, gaps=(Gap("functions in us-east-1", "ListFunctions: access denied"),))
    assert [item.why for item in compared(before(MEMORY), unseen).gone] == ["its region could not be listed"]


def test_data_that_are_missing_now_are_not_taken_for_a_change() -> None:
    (gone,) = compared(before(MEMORY), now(compute={ARN: "no REPORT lines could be read"})).gone
    assert gone.why == "not known any more: no REPORT lines could be read"


def test_what_claims_no_money_is_compared_as_well() -> None:
    loop = observation(kind="recursion", proposed={"recursive_loop": "Terminate"})
    comparison = compared(before(loop), now(usage={"orders": FunctionUsage(recursion_allowed=False)}))
    assert [(item.then[0].id, item.dollars) for item in comparison.realised] == [("recursion:orders", 0.0)]


DOCUMENT = before(MEMORY, cost={ARN: 10.0}, compute={ARN: used(1000)})


@pytest.mark.parametrize(
    "previous",
    [
        None,
        [],
        "text",
        {},
        {**DOCUMENT, "functions": 5},
        {**DOCUMENT, "window": {"end": "yesterday"}},
        {**DOCUMENT, "findings": [{**DOCUMENT["findings"][0], "savings": None}]},
        {**DOCUMENT, "findings": [{**DOCUMENT["findings"][0], "proposed": {"memory_mb": [256]}}]},
        {**DOCUMENT, "findings": [{**DOCUMENT["findings"][0], "scaling": {"cost": 0}}]},
        {**DOCUMENT, "findings": [{**DOCUMENT["findings"][0], "change": "x" * 3000}]},
        {**DOCUMENT, "functions": [{**DOCUMENT["functions"][0], "cost": float("nan")}]},
        {**DOCUMENT, "functions": [{**DOCUMENT["functions"][0], "invocations": -1}]},
        {**DOCUMENT, "total": {"gross": {"low": 1, "expected": float("inf"), "high": 3}}},
    ],
)
def test_a_document_that_is_damaged_or_older_is_no_comparison_and_no_error(previous: object) -> None:
    assert compare(previous, now(MEMORY)) == OLD_FORMAT


def test_what_a_later_version_adds_does_no_harm() -> None:
    later = {**DOCUMENT, "more": 1, "findings": [{**DOCUMENT["findings"][0], "more": [None]}]}
    assert compare(later, now(MEMORY)) == compare(DOCUMENT, now(MEMORY))

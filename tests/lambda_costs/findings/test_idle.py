from datetime import date
from typing import Any

import pytest

from lambda_costs.collect.usage import FunctionUsage
from lambda_costs.findings.idle import find
from lambda_costs.model.finding import NO_SAVINGS, Measurement
from tests.lambda_costs.cases import GIB, Example, abstained, ago, claimed, daily, found, function, provisioned, usage

EXAMPLE = Example({}, usage(invocations=None))


@pytest.mark.parametrize(
    ("last_modified", "used", "silent"),
    [
        (ago(30), {}, 30),
        (ago(100), {"invocations": daily(0)}, 100),
        (ago(400), {"last_invoked": ago(100)}, 100),
        (ago(29), {"last_invoked": ago(30)}, 30),  # its configuration was changed since
        (ago(400), {"last_invoked": ago(100), "longest_pause": 50}, 100),  # twice its longest pause
    ],
)
def test_30_days_of_proven_silence_make_a_function_idle(last_modified: date, used: dict[str, Any], silent: int) -> None:
    result = claimed(find, function(last_modified=last_modified), usage(**{"invocations": None, **used}))
    assert (result.savings, result.proposed) == (NO_SAVINGS, {})
    assert result.evidence["Silent for at least"] == Measurement(silent, "days")
    assert "Yearly jobs and functions for disaster recovery" in result.risk


@pytest.mark.parametrize(
    ("last_modified", "used", "reason"),
    [
        (ago(29), {}, "may be younger than 30 days"),
        (None, {}, "may be younger than 30 days"),
        (ago(400), {"last_invoked": ago(29)}, "invoked within the last 30 days"),
        (ago(400), {"ingested_bytes": daily(GIB)}, "its log group grew"),
        (ago(400), {"last_invoked": ago(100), "longest_pause": 51}, "it has paused for 51 days before"),
        (ago(400), {"last_invoked": ago(40), "longest_pause": 31}, "not invoked for 40 days"),
        (ago(400), {"triggers": ("edgelambda.amazonaws.com",)}, "runs as Lambda@Edge"),
        (ago(400), {"triggers": ("arn:aws:sqs:q", "replicator.lambda.amazonaws.com")}, "runs as Lambda@Edge"),
    ],
)
def test_silence_without_proof_is_not_idleness(last_modified: date | None, used: dict[str, Any], reason: str) -> None:
    assert reason in abstained(find, function(last_modified=last_modified), usage(**{"invocations": None, **used}))


@pytest.mark.parametrize(("days", "is_found"), [(29, False), (30, True)])
def test_invocations_early_in_a_long_window_do_not_count(days: int, is_found: bool) -> None:
    once = daily(1_000, 1, first=days)
    assert bool(found(find, used=usage(invocations=once, ingested_bytes=once))) is is_found


@pytest.mark.parametrize("used", [usage(), usage(invocations=None, unread="its metrics could not be read: no")])
def test_unread_metrics_are_not_idleness(used: FunctionUsage) -> None:
    assert found(find, used=used) is None


@pytest.mark.parametrize(
    ("triggers", "shown"),
    [
        (None, "not known"),
        ((), "nothing but a direct call"),
        (("arn:aws:sqs:q", "events.amazonaws.com"), "arn:aws:sqs:q, events.amazonaws.com"),
    ],
)
def test_the_evidence_shows_what_may_invoke_an_idle_function(triggers: tuple[str, ...] | None, shown: str) -> None:
    evidence = claimed(find, used=usage(invocations=None, triggers=triggers, provisioned=provisioned(None))).evidence
    assert evidence["May be invoked by"] == Measurement(shown)
    assert evidence["Last invoked"] == Measurement("never in 455 days")
    assert evidence["Provisioned concurrency"] == Measurement(1, "configurations")


@pytest.mark.parametrize(
    ("triggers", "capacity_provider", "deletes"),
    [((), False, True), (("events.amazonaws.com",), False, False), (None, False, False), ((), True, False)],
)
def test_nothing_is_removed_before_its_owner_agrees(
    triggers: tuple[str, ...] | None, capacity_provider: bool, deletes: bool
) -> None:
    of = function(capacity_provider=capacity_provider)
    result = claimed(find, of, usage(invocations=None, triggers=triggers))
    assert ("delete-function" in result.how_to) is ("put-function-concurrency" in result.how_to) is deletes
    assert ("ask the owner" in result.how_to) is not deletes


def test_idle_on_a_capacity_provider_is_paid_for_by_the_hour() -> None:
    formula = claimed(find, function(capacity_provider=True), usage(invocations=None)).formula
    assert "paid for by the hour whether they are invoked or not" in formula
    assert "costs no compute" not in formula

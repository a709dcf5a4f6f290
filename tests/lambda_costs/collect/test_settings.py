import json
from types import SimpleNamespace
from typing import Any

import pytest

from lambda_costs.collect.scaling import Scaling, ScheduledAction
from lambda_costs.collect.settings import MAX_POLICIES, Provisioned, list_mappings, list_provisioned, policy_principals
from tests.lambda_costs.cases import on_days
from tests.lambda_costs.conftest import Stubbed

ORDERS = "arn:aws:lambda:us-east-1:000000000000:function:orders"


def test_sources_are_listed_by_function_whatever_the_alias(stubbed: Stubbed) -> None:
    awslambda, answers = stubbed("lambda")
    first = [{"FunctionArn": f"{ORDERS}:live", "EventSourceArn": "arn:queue"}, {"FunctionArn": ORDERS}]
    answers.add_response("list_event_source_mappings", {"EventSourceMappings": first, "NextMarker": "2"}, {})
    second = [{"FunctionArn": f"{ORDERS}-2", "EventSourceArn": "arn:stream"}]
    answers.add_response("list_event_source_mappings", {"EventSourceMappings": second}, {"Marker": "2"})
    assert list_mappings(awslambda) == {ORDERS: ["arn:queue", "a self-managed source"], f"{ORDERS}-2": ["arn:stream"]}


@pytest.mark.parametrize(
    ("statements", "principals"),
    [
        ([], []),
        ([{"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}}], ["events.amazonaws.com"]),
        ([{"Effect": "Allow", "Principal": {"AWS": ["arn:a", "arn:b"]}}, {"Effect": "Allow", "Principal": "*"}],
         ["arn:a", "arn:b", "*"]),
        ([{"Effect": "Deny", "Principal": {"Service": "s3.amazonaws.com"}}], []),
    ],
)  # fmt: skip
def test_principals_are_those_that_the_policy_allows(
    stubbed: Stubbed, statements: list[dict[str, Any]], principals: list[str]
) -> None:
    awslambda, answers = stubbed("lambda")
    answers.add_response(
        "list_versions_by_function", {"Versions": [{"Version": "$LATEST"}]}, {"FunctionName": "orders"}
    )
    answers.add_response("list_aliases", {"Aliases": []}, {"FunctionName": "orders"})
    answers.add_response("get_policy", {"Policy": json.dumps({"Statement": statements})}, {"FunctionName": "orders"})
    assert policy_principals(awslambda, "orders") == principals


def test_policies_of_aliases_and_versions_are_read(stubbed: Stubbed) -> None:
    awslambda, answers = stubbed("lambda")

    def has_policy(service: str, **qualifier: str) -> None:
        document = json.dumps({"Statement": [{"Effect": "Allow", "Principal": {"Service": service}}]})
        answers.add_response("get_policy", {"Policy": document}, {"FunctionName": "orders", **qualifier})

    versions = {"Versions": [{"Version": "$LATEST"}, {"Version": "7"}]}
    answers.add_response("list_versions_by_function", versions, {"FunctionName": "orders"})
    answers.add_response("list_aliases", {"Aliases": [{"Name": "live"}], "NextMarker": "2"}, {"FunctionName": "orders"})
    answers.add_response("list_aliases", {"Aliases": [{"Name": "test"}]}, {"FunctionName": "orders", "Marker": "2"})
    answers.add_client_error("get_policy", "ResourceNotFoundException", "no policy")
    has_policy("s3.amazonaws.com", Qualifier="live")
    answers.add_client_error("get_policy", "ResourceNotFoundException", "no policy")
    has_policy("edgelambda.amazonaws.com", Qualifier="7")
    assert policy_principals(awslambda, "orders") == ["s3.amazonaws.com", "edgelambda.amazonaws.com"]


def test_of_hundreds_of_versions_the_policies_of_the_latest_are_read() -> None:
    asked: list[str | None] = []
    listed = {
        "list_aliases": {"Aliases": [{"Name": "live"}]},
        "list_versions_by_function": {"Versions": [{"Version": str(n)} for n in ("$LATEST", *range(1, 301))]},
    }

    class Lambda:
        def get_paginator(self, operation: str) -> Any:
            return SimpleNamespace(paginate=lambda **about: [listed[operation]])

        def get_policy(self, FunctionName: str, Qualifier: str | None = None) -> dict[str, str]:
            asked.append(Qualifier)
            return {"Policy": "{}"}

    # 49 of 300 versions beside the alias.
    assert policy_principals(Lambda(), "orders") == ["251 older versions, whose policies were not read"]
    assert asked == [None, "live", *(str(300 - n) for n in range(MAX_POLICIES - 1))]
    listed["list_versions_by_function"]["Versions"] = [{"Version": "$LATEST.PUBLISHED"}, {"Version": "9"}]
    assert policy_principals(Lambda(), "orders") == []
    assert asked[-4:] == [None, "live", "$LATEST.PUBLISHED", "9"]


def test_provisioned_concurrency_is_also_what_a_schedule_has_turned_off(stubbed: Stubbed) -> None:
    awslambda, answers = stubbed("lambda")
    listed = [{"FunctionArn": f"{ORDERS}:live", "RequestedProvisionedConcurrentExecutions": 5}]
    answers.add_response(
        "list_provisioned_concurrency_configs",
        {"ProvisionedConcurrencyConfigs": listed},
        {"FunctionName": "orders"},
    )
    day, left, busy = (
        Scaling(0, 10, (ScheduledAction("on", "rate(1 day)", "UTC", 1, 1),)),
        Scaling(1, 2),
        Scaling(0, 9, (), True),
    )
    scaling = {("orders", "day"): day, ("orders", "old"): left, ("orders", "busy"): busy, ("returns", "live"): day}
    assert list_provisioned(awslambda, "orders", {**scaling, ("orders", "live"): left}) == (
        Provisioned("busy", 0, busy),
        Provisioned("day", 0, day),
        Provisioned("live", 5, left),
    )


@pytest.mark.parametrize(
    ("scaling", "executions", "provisioned"),
    [
        (None, 5, None),  # what is allocated may change, and nobody knows how
        (None, 0, ()),
        ({("orders", "live"): None}, 5, None),
        ({("returns", "live"): None}, 5, (Provisioned("live", 5),)),  # another function
    ],
)
def test_provisioned_concurrency_is_not_known_without_its_scaling(
    stubbed: Stubbed, scaling: Any, executions: int, provisioned: tuple[Provisioned, ...] | None
) -> None:
    awslambda, answers = stubbed("lambda")
    listed = [{"FunctionArn": f"{ORDERS}:live", "RequestedProvisionedConcurrentExecutions": executions}]
    answers.add_response(
        "list_provisioned_concurrency_configs", {"ProvisionedConcurrencyConfigs": listed if executions else []}
    )
    assert list_provisioned(awslambda, "orders", scaling) == provisioned


@pytest.mark.parametrize(
    ("calls", "milliseconds", "seconds"),
    [
        # The second day has no duration: 50,000 ms / 100 invocations.
        ({2: 100.0, 1: 50.0}, {2: 50_000.0}, 0.5),
        # (50,000 + 25,000) ms / 150.
        ({2: 100.0, 1: 50.0}, {2: 50_000.0, 1: 25_000.0}, 0.5),
        ({2: 100.0}, {1: 50_000.0}, None),
        ({2: 0.0}, {2: 0.0}, None),
        (None, {2: 50_000.0}, None),
        ({2: 100.0}, None, None),
    ],
)
def test_the_mean_duration_of_an_alias_is_of_days_with_both_metrics(
    calls: dict[int, float] | None, milliseconds: dict[int, float] | None, seconds: float | None
) -> None:
    found = [None if values is None else on_days(values) for values in (calls, milliseconds)]
    assert Provisioned("live", 1, all_invocations=found[0], duration_ms=found[1]).mean_seconds == seconds

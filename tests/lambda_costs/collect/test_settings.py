import json
from typing import Any

import pytest

from lambda_costs.collect.settings import list_mappings, policy_principals
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
    answers.add_response("get_policy", {"Policy": json.dumps({"Statement": statements})}, {"FunctionName": "orders"})
    assert policy_principals(awslambda, "orders") == principals


def test_without_a_policy_there_are_no_principals(stubbed: Stubbed) -> None:
    awslambda, answers = stubbed("lambda")
    answers.add_client_error("get_policy", "ResourceNotFoundException", "no policy")
    assert policy_principals(awslambda, "orders") == []

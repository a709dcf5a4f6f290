"""Lambda: names of errors, and the list of provisioned concurrency."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.vigil.local.ministack_patches.builders import Caller, Machines, Role, create_function, invocation, refused
from vigil.local.stack import LocalStack


def invoke(embedded: LocalStack, function: str, payload: str) -> Any:
    return json.load(embedded.client("lambda").invoke(FunctionName=function, Payload=payload)["Payload"])


def test_a_failed_function_reports_the_class_of_its_exception(embedded: LocalStack, function: str) -> None:
    # All at once, to see that no name reaches another invocation.
    names = ["AgentNotAccepted", "InvalidDetail", "ValueError"]
    with ThreadPoolExecutor(len(names)) as pool:
        answers = list(pool.map(lambda name: invoke(embedded, function, json.dumps({"raise": name})), names))
    reported = [(answer["errorType"], answer["errorMessage"]) for answer in answers]
    assert reported == [(name, "went wrong") for name in names]
    assert invoke(embedded, function, '{"fine": "yes"}') == {"fine": "yes"}


def caught(machines: Machines, role: Role, function: str, payload: dict[str, Any]) -> Any:
    """Return what a workflow catches of a function that fails."""
    return json.loads(machines.run(role(("lambda:InvokeFunction", function)), invocation(function, payload))["output"])


def test_a_workflow_catches_the_class_of_the_exception(machines: Machines, role: Role, function: str) -> None:
    error = caught(machines, role, function, {"raise": "AgentNotAccepted"})
    assert (error["Error"], json.loads(error["Cause"])["errorMessage"]) == ("AgentNotAccepted", "went wrong")


def test_a_function_that_exits_fails_as_runtime_exit_error(machines: Machines, role: Role, function: str) -> None:
    assert caught(machines, role, function, {"exit": 7})["Error"] == "Runtime.ExitError"


def test_a_function_goes_on_after_an_event_that_is_too_deep(embedded: LocalStack, function: str) -> None:
    def nested(levels: int) -> str:
        return '{"a": ' * levels + "1" + "}" * levels

    answer = invoke(embedded, function, nested(4_000))
    assert answer["errorType"] == "Runtime.UnmarshalError"
    assert answer["errorMessage"].startswith("Unable to unmarshal input:")
    assert invoke(embedded, function, nested(1)) == {"a": 1}


LIST = "lambda:ListProvisionedConcurrencyConfigs"


@pytest.fixture(scope="session")
def provisioned_version(embedded: LocalStack, function: str) -> str:
    """The function's version that has provisioned concurrency."""
    client = embedded.client("lambda")
    version = str(client.publish_version(FunctionName=function)["Version"])
    named = {"FunctionName": function, "Qualifier": version}
    client.put_provisioned_concurrency_config(**named, ProvisionedConcurrentExecutions=3)
    return version


@pytest.mark.parametrize("by", ["name", "arn"])
def test_provisioned_concurrency_is_listed(caller: Caller, function: str, provisioned_version: str, by: str) -> None:
    named = function if by == "arn" else function.rsplit(":", 1)[-1]
    listed = caller("lambda", (LIST, "*")).list_provisioned_concurrency_configs(FunctionName=named)
    (item,) = listed["ProvisionedConcurrencyConfigs"]
    assert item["FunctionArn"] == f"{function}:{provisioned_version}"
    assert (item["RequestedProvisionedConcurrentExecutions"], item["Status"]) == (3, "READY")


def test_list_and_get_of_provisioned_concurrency_need_separate_grants(
    caller: Caller, function: str, provisioned_version: str
) -> None:
    getter = caller("lambda", ("lambda:Get*", "*"))
    with refused("AccessDeniedException"):
        getter.list_provisioned_concurrency_configs(FunctionName=function)
    # ministack itself answers the request without "List".
    got = getter.get_provisioned_concurrency_config(FunctionName=function, Qualifier=provisioned_version)
    assert got["RequestedProvisionedConcurrentExecutions"] == 3


def test_an_unknown_function_has_no_list_of_provisioned_concurrency(embedded: LocalStack) -> None:
    with refused("ResourceNotFoundException"):
        embedded.client("lambda").list_provisioned_concurrency_configs(FunctionName="unknown")


def test_a_function_without_provisioned_concurrency_has_an_empty_list(embedded: LocalStack, role: Role) -> None:
    plain = create_function(embedded, role(service="lambda.amazonaws.com"))
    listed = embedded.client("lambda").list_provisioned_concurrency_configs(FunctionName=plain)
    assert listed["ProvisionedConcurrencyConfigs"] == []

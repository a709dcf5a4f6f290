"""Lambda: names of errors, environments, and the list of provisioned concurrency."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from ministack.core import lambda_runtime

from tests.vigil.local.ministack_patches.builders import (
    ACCOUNT,
    Caller,
    Machines,
    Role,
    create_function,
    invocation,
    package,
    refused,
)
from vigil.local.ministack_patches import lambda_svc
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


def test_a_function_that_changes_while_invocations_wait_keeps_no_old_code(embedded: LocalStack, role: Role) -> None:
    function = create_function(embedded, role(service="lambda.amazonaws.com"))
    awslambda = embedded.client("lambda")
    with ThreadPoolExecutor() as pool:
        first = pool.submit(invoke, embedded, function, '{"sleep": 2}')
        time.sleep(0.3)
        second = pool.submit(invoke, embedded, function, "{}")
        time.sleep(0.3)
        awslambda.update_function_code(FunctionName=function, ZipFile=package("handler = lambda event, context: 'new'"))
        first.result()
        second.result()
    assert [invoke(embedded, function, "{}") for _ in range(2)] == ["new", "new"]


@pytest.mark.parametrize("seconds", [60.0, 0.0])
def test_an_invocation_waits_for_an_environment_and_not_for_long(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    config = {"FunctionArn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:busy"}
    environment = SimpleNamespace(in_use=True)
    monkeypatch.setattr(lambda_svc, "REUSE_SECONDS", seconds)
    monkeypatch.setitem(lambda_runtime._workers, lambda_runtime._worker_key("busy", config, "1"), [environment])
    was_in_use: list[bool] = []

    def acquire(*_: object) -> None:
        was_in_use.append(environment.in_use)

    def release(_: object) -> None:
        environment.in_use = False

    waiting = threading.Thread(target=lambda_svc.await_environment, args=(acquire, "busy", config, b"", "1"))
    waiting.start()
    if not seconds:
        waiting.join()
    lambda_svc.tell_who_waits(release, environment)
    waiting.join()
    assert was_in_use == [not seconds]


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

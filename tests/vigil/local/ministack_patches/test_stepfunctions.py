"""Step Functions: roles of tasks, stopped executions, retries, timeouts, task tokens and inputs that are not JSON."""

import json
from typing import Any

import pytest
from ministack.services import stepfunctions

from tests.support import until
from tests.vigil.local.ministack_patches.builders import (
    ACCOUNT,
    KEYED_BY_PK,
    NOT_JSON,
    Caller,
    Machines,
    Role,
    State,
    create_function,
    invocation,
    refused,
)
from vigil.local.ministack_patches.stepfunctions import space_retries
from vigil.local.stack import REGION, LocalStack

pytestmark = pytest.mark.takes(30)

INVOKE = "lambda:InvokeFunction"
PUT = "dynamodb:PutItem"
SEND = "states:SendTaskSuccess"


def test_a_throttled_function_fails_as_too_many_requests(embedded: LocalStack, machines: Machines, role: Role) -> None:
    function = create_function(embedded, role(service="lambda.amazonaws.com"))
    embedded.client("lambda").put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    caught = json.loads(machines.run(role((INVOKE, function)), invocation(function, {}))["output"])
    assert caught["Error"] == "Lambda.TooManyRequestsException"
    assert caught["Cause"].startswith("Rate Exceeded")


def test_a_stopped_execution_stays_aborted_when_its_task_fails(machines: Machines, role: Role, function: str) -> None:
    invoker = role((INVOKE, function))
    arn = machines.start(invoker, invocation(function, {"sleep": 1, "raise": "Late"}, Catch=[]))
    until(lambda: "TaskScheduled" in machines.events(arn))
    machines.sfn.stop_execution(executionArn=arn)
    until(lambda: "TaskFailed" in machines.events(arn))
    # When another execution has ended, the failure has had all its effects.
    assert machines.ended(machines.start(invoker, invocation(function, {})))["status"] == "SUCCEEDED"
    assert machines.ended(arn)["status"] == "ABORTED"
    assert machines.events(arn)[-1] == "TaskFailed"


def test_a_stopped_execution_does_not_retry(machines: Machines, role: Role, function: str) -> None:
    retry = {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 1}
    arn = machines.start(role((INVOKE, function)), invocation(function, {"raise": "X"}, Retry=[retry]))
    until(lambda: "TaskFailed" in machines.events(arn))
    machines.sfn.stop_execution(executionArn=arn)
    until(lambda: machines.events(arn).count("TaskFailed") == 2)
    history = machines.sfn.get_execution_history(executionArn=arn)["events"]
    causes = [event["taskFailedEventDetails"]["cause"] for event in history if event["type"] == "TaskFailed"]
    assert causes[1] == "the execution was stopped"


def test_a_retry_waits_no_longer_than_max_delay_seconds(machines: Machines, role: Role, function: str) -> None:
    retry = {"ErrorEquals": ["X"], "IntervalSeconds": 3600, "MaxAttempts": 2, "MaxDelaySeconds": 1}
    state = invocation(function, {"raise": "X"}, Retry=[retry])
    assert json.loads(machines.run(role((INVOKE, function)), state)["output"])["Error"] == "X"


@pytest.mark.parametrize(("retries", "longest"), list(enumerate((1, 2, 4, 8, 16, 20, 20))))
def test_full_jitter_draws_any_delay_up_to_the_longest(retries: int, longest: int) -> None:
    retry = {"ErrorEquals": ["X"], "IntervalSeconds": 1, "MaxAttempts": 9, "BackoffRate": 2, "MaxDelaySeconds": 20}

    def delays(**more: str) -> set[float]:
        find = stepfunctions._find_matching_retrier
        found = [space_retries(find, [{**retry, **more}], "X", {0: retries})[0] for _ in range(500)]
        return {retrier["IntervalSeconds"] * retrier["BackoffRate"] ** retries for retrier in found}

    assert delays() == {longest}
    jittered = delays(JitterStrategy="FULL")
    assert 0 <= min(jittered) < longest / 20
    assert longest * 19 / 20 < max(jittered) <= longest


@pytest.fixture(scope="session")
def items(embedded: LocalStack) -> str:
    """The ARN of a table."""
    created = embedded.client("dynamodb").create_table(TableName="items", **KEYED_BY_PK)
    return str(created["TableDescription"]["TableArn"])


ITEMS_ARN = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/items"


def put(integration: str = "dynamodb:putItem", table: str = "items", **more: Any) -> State:
    """Return a task that stores its execution and, if it waits for one, its token."""
    item = {"PK": {"S": "{% $states.context.Execution.Id %}"}}
    if integration.endswith(".waitForTaskToken"):
        item["token"] = {"S": "{% $states.context.Task.Token %}"}
    arguments = {"TableName": table, "Item": item}
    return {"Type": "Task", "Resource": f"arn:aws:states:::{integration}", "Arguments": arguments, **more}


SDK_PUT = "aws-sdk:dynamodb:putItem"
WAIT_FOR_TOKEN = f"{SDK_PUT}.waitForTaskToken"


def branch(state: State) -> State:
    return {"StartAt": "Inner", "States": {"Inner": {**state, "End": True}}}


# ministack runs each of these in a thread of its own.
TASKS = {
    "task": put(),
    "task-by-arn": put(table=ITEMS_ARN),
    "with-timeout": put(TimeoutSeconds=30),
    "sdk": put(SDK_PUT),
    "sdk-by-arn": put(SDK_PUT, ITEMS_ARN),
    "parallel": {"Type": "Parallel", "Branches": [branch(put()), branch(put())]},
    "map": {"Type": "Map", "Items": [1, 2], "ItemProcessor": branch(put())},
}


@pytest.mark.parametrize("state", TASKS.values(), ids=TASKS)
def test_a_task_needs_a_grant_of_its_role(machines: Machines, role: Role, items: str, state: State) -> None:
    reader = role(("dynamodb:GetItem", items), (PUT, items + "-of-others"))
    denied = machines.run(reader, state)
    assert denied["status"] == "FAILED"
    assert f"User: {reader} is not authorized to perform: {PUT} on resource: {items}" in denied["cause"]
    assert machines.run(role((PUT, items)), state)["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("integration", "error"),
    [
        ("dynamodb:putItem", "DynamoDB.AmazonDynamoDBException"),
        (SDK_PUT, "DynamoDb.DynamoDbException"),
        (WAIT_FOR_TOKEN, "DynamoDb.DynamoDbException"),
    ],
)
@pytest.mark.usefixtures("items")
def test_denied_table_is_the_error_that_aws_names(machines: Machines, role: Role, integration: str, error: str) -> None:
    assert machines.run(role(), put(integration))["error"] == error


@pytest.mark.parametrize("by", ["name", "arn"])
def test_a_function_needs_a_grant_of_the_role(machines: Machines, role: Role, function: str, by: str) -> None:
    state = invocation(function if by == "arn" else function.rsplit(":", 1)[-1], {}, Catch=[])
    denied = machines.run(role((INVOKE, function + "-of-others")), state)
    assert (denied["status"], denied["error"]) == ("FAILED", "Lambda.AWSLambdaException")
    assert f"not authorized to perform: {INVOKE} on resource: {function}" in denied["cause"]
    assert machines.run(role((INVOKE, function)), state)["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("seconds", "error"), [("{% 2 - 1 %}", "States.Timeout"), ("{% 'soon' %}", "States.QueryEvaluationError")]
)
def test_a_timeout_may_be_an_expression(machines: Machines, role: Role, items: str, seconds: str, error: str) -> None:
    assert machines.run(role((PUT, items)), put(WAIT_FOR_TOKEN, TimeoutSeconds=seconds))["error"] == error


def test_sending_a_token_needs_a_grant_on_the_waiting_state_machine(
    machines: Machines, embedded: LocalStack, caller: Caller, role: Role, items: str
) -> None:
    writer, table = role((PUT, items)), embedded.session().resource("dynamodb").Table("items")
    waiting, other = (machines.start(writer, put(WAIT_FOR_TOKEN)) for _ in range(2))
    token = until(lambda: table.get_item(Key={"PK": waiting}).get("Item"))["token"]
    machine, others = (machines.sfn.describe_execution(executionArn=arn)["stateMachineArn"] for arn in (waiting, other))
    with refused("AccessDeniedException"):
        caller("stepfunctions", (SEND, others)).send_task_success(taskToken=token, output="{}")
    assert machines.sfn.describe_execution(executionArn=waiting)["status"] == "RUNNING"
    caller("stepfunctions", (SEND, machine)).send_task_success(taskToken=token, output='{"woken": true}')
    assert machines.ended(waiting)["output"] == '{"woken": true}'
    machines.sfn.stop_execution(executionArn=other)


def test_an_execution_with_an_input_that_is_not_json_is_refused(machines: Machines, role: Role) -> None:
    machine = machines.create(role(), {"Type": "Pass"})
    for text in NOT_JSON:
        with pytest.raises(machines.sfn.exceptions.InvalidExecutionInput):
            machines.sfn.start_execution(stateMachineArn=machine, input=text)
    for text in ("7", "[1]", "null", '"text"', "{}"):
        machines.sfn.start_execution(stateMachineArn=machine, input=text)
    assert len(machines.sfn.list_executions(stateMachineArn=machine)["executions"]) == 5


def test_an_expression_that_takes_more_than_a_second_is_evaluated(machines: Machines, role: Role) -> None:
    slow = "{% $sum($map([1..60000], function($n) { $n * 0 + 1 })) %}"
    execution = machines.run(role(), {"Type": "Pass", "Output": slow})
    assert (execution["status"], execution.get("output")) == ("SUCCEEDED", "60000")


def test_text_of_a_value_has_its_letters_as_they_are(machines: Machines, role: Role) -> None:
    execution = machines.run(role(), {"Type": "Pass", "Output": "{% $length($string({'a': 'Ж😀'})) %}"})
    assert (execution["status"], execution.get("output")) == ("SUCCEEDED", "10")

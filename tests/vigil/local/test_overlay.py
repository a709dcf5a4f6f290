"""Each patch of the embedded AWS against a running one: what a Vigil session would see, it sees as on AWS."""

import inspect
import io
import json
import os
import re
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.support import until
from vigil.agent.models import STAND_IN
from vigil.artifacts import Artifacts
from vigil.journal import Journal
from vigil.local import agentcore, overlay
from vigil.local.stack import REGION, LocalStack
from vigil.names import Env
from vigil.session import Status

pytestmark = pytest.mark.takes(30)

ACCOUNT = "000000000000"


def policy(*statements: tuple[str, str]) -> str:
    """Return a policy document that allows each (action, resource)."""
    allowed = [{"Effect": "Allow", "Action": action, "Resource": resource} for action, resource in statements]
    return json.dumps({"Version": "2012-10-17", "Statement": allowed})


@pytest.fixture(scope="session")
def role(embedded: LocalStack) -> Callable[..., str]:
    """Make a role that may do just this and return its ARN."""
    iam = embedded.client("iam")

    def make(*statements: tuple[str, str], service: str = "states.amazonaws.com") -> str:
        trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        name = f"role-{uuid.uuid4()}"
        created = iam.create_role(
            RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="only", PolicyDocument=policy(*statements))
        return str(created["Role"]["Arn"])

    return make


@pytest.fixture(scope="session")
def caller(embedded: LocalStack) -> Callable[..., Any]:
    """Return a client of somebody who may do just this."""
    iam = embedded.client("iam")

    def make(service: str, *statements: tuple[str, str]) -> Any:
        name = f"user-{uuid.uuid4()}"
        iam.create_user(UserName=name)
        if statements:
            iam.put_user_policy(UserName=name, PolicyName="only", PolicyDocument=policy(*statements))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return boto3.client(
            service,
            endpoint_url=embedded.endpoint,
            region_name=REGION,
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
        )

    return make


HANDLER = """
import os, time

def handler(event, context):
    time.sleep(event.get("sleep", 0))
    if "exit" in event:
        os._exit(event["exit"])
    if "raise" in event:
        raise type(event["raise"], (Exception,), {})("went wrong")
    return event
"""


def create_function(embedded: LocalStack, role_arn: str) -> str:
    """Make a Lambda function that sleeps, dies or raises as its event says, or returns it; return its ARN."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("code.py", HANDLER)
    created = embedded.client("lambda").create_function(
        FunctionName=f"function-{uuid.uuid4()}",
        Runtime="python3.14",
        Handler="code.handler",
        Role=role_arn,
        Code={"ZipFile": buffer.getvalue()},
    )
    return str(created["FunctionArn"])


@pytest.fixture(scope="session")
def function(embedded: LocalStack, role: Callable[..., str]) -> str:
    return create_function(embedded, role(service="lambda.amazonaws.com"))


class Machines:
    """Runs state machines of one state; ``Caught`` is a second one, for what the first catches."""

    def __init__(self, embedded: LocalStack) -> None:
        self.sfn = embedded.client("stepfunctions")

    def start(self, role_arn: str, state: dict[str, Any]) -> str:
        """Start an execution and return its ARN."""
        states = {"Only": {**state, "End": True}, "Caught": {"Type": "Pass", "End": True}}
        machine = self.sfn.create_state_machine(
            name=f"machine-{uuid.uuid4()}",
            roleArn=role_arn,
            definition=json.dumps({"QueryLanguage": "JSONata", "StartAt": "Only", "States": states}),
        )["stateMachineArn"]
        return str(self.sfn.start_execution(stateMachineArn=machine)["executionArn"])

    def ended(self, arn: str) -> Any:
        """Return the execution once it has ended."""
        return until(lambda: (found := self.sfn.describe_execution(executionArn=arn))["status"] != "RUNNING" and found)

    def events(self, arn: str) -> list[str]:
        """Return the types of the execution's events."""
        return [event["type"] for event in self.sfn.get_execution_history(executionArn=arn)["events"]]


@pytest.fixture(scope="session")
def machines(embedded: LocalStack) -> Machines:
    return Machines(embedded)


@pytest.fixture(scope="session")
def run(machines: Machines) -> Callable[..., Any]:
    """Run a state with a role to its end and return the execution."""
    return lambda role_arn, state: machines.ended(machines.start(role_arn, state))


def code(raised: "pytest.ExceptionInfo[ClientError]") -> str:
    return str(raised.value.response["Error"]["Code"])


# The names of Lambda errors


def test_a_failed_function_tells_the_class_of_its_exception(embedded: LocalStack, function: str) -> None:
    client = embedded.client("lambda")

    def invoke(event: dict[str, str]) -> Any:
        return json.load(client.invoke(FunctionName=function, Payload=json.dumps(event))["Payload"])

    # At once, so that a name would be seen that reached another invocation.
    names = ["AgentNotAccepted", "InvalidDetail", "ValueError"]
    with ThreadPoolExecutor(len(names)) as pool:
        answers = list(pool.map(invoke, [{"raise": name} for name in names]))
    assert [(answer["errorType"], answer["errorMessage"]) for answer in answers] == [
        (name, "went wrong") for name in names
    ]
    assert invoke({"fine": "yes"}) == {"fine": "yes"}


def invoke_function(function: str, payload: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a task that invokes a Lambda function and catches whatever fails."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": function, "Payload": payload},
        "Catch": [{"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput %}", "Next": "Caught"}],
        **more,
    }


def test_a_workflow_catches_a_failed_function_by_the_class_of_its_exception(
    run: Callable[..., Any], role: Callable[..., str], function: str
) -> None:
    state = invoke_function(function, {"raise": "AgentNotAccepted"})
    caught = json.loads(run(role(("lambda:InvokeFunction", function)), state)["output"])
    assert (caught["Error"], json.loads(caught["Cause"])["errorMessage"]) == ("AgentNotAccepted", "went wrong")


def test_a_function_that_dies_has_the_name_that_lambda_gives_it(
    run: Callable[..., Any], role: Callable[..., str], function: str
) -> None:
    state = invoke_function(function, {"exit": 7})
    caught = json.loads(run(role(("lambda:InvokeFunction", function)), state)["output"])
    assert caught["Error"] == "Runtime.ExitError"


def test_a_function_whose_event_is_too_deep_has_the_name_that_lambda_gives_it_and_goes_on(
    embedded: LocalStack, function: str
) -> None:
    def invoke(levels: int) -> Any:
        payload = '{"a": ' * levels + "1" + "}" * levels
        return json.load(embedded.client("lambda").invoke(FunctionName=function, Payload=payload)["Payload"])

    answer = invoke(4_000)
    assert (answer["errorType"], answer["errorMessage"][:26]) == (
        "Runtime.UnmarshalError",
        "Unable to unmarshal input:",
    )
    assert invoke(1) == {"a": 1}


def test_a_throttled_function_has_the_name_that_lambda_gives_it(
    embedded: LocalStack, run: Callable[..., Any], role: Callable[..., str]
) -> None:
    function = create_function(embedded, role(service="lambda.amazonaws.com"))
    embedded.client("lambda").put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    caught = json.loads(run(role(("lambda:InvokeFunction", function)), invoke_function(function, {}))["output"])
    assert caught["Error"] == "Lambda.TooManyRequestsException"
    assert caught["Cause"].startswith("Rate Exceeded")


# How executions go on, and end


def test_an_execution_that_was_stopped_stays_so_whatever_becomes_of_its_task(
    machines: Machines, role: Callable[..., str], function: str
) -> None:
    invoker = role(("lambda:InvokeFunction", function))
    state = invoke_function(function, {"sleep": 1, "raise": "Late"}, Catch=[])
    arn = machines.start(invoker, state)
    until(lambda: "TaskScheduled" in machines.events(arn))
    machines.sfn.stop_execution(executionArn=arn)
    until(lambda: "TaskFailed" in machines.events(arn))
    # By the end of another, the failure has had its consequences.
    assert machines.ended(machines.start(invoker, invoke_function(function, {})))["status"] == "SUCCEEDED"
    assert machines.ended(arn)["status"] == "ABORTED"
    assert machines.events(arn)[-1] == "TaskFailed"


def test_an_execution_that_was_stopped_does_not_try_again(
    machines: Machines, role: Callable[..., str], function: str
) -> None:
    retry = {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 1}
    arn = machines.start(
        role(("lambda:InvokeFunction", function)), invoke_function(function, {"raise": "X"}, Retry=[retry])
    )
    until(lambda: "TaskFailed" in machines.events(arn))
    machines.sfn.stop_execution(executionArn=arn)
    until(lambda: machines.events(arn).count("TaskFailed") == 2)
    history = machines.sfn.get_execution_history(executionArn=arn)["events"]
    causes = [event["taskFailedEventDetails"]["cause"] for event in history if event["type"] == "TaskFailed"]
    assert causes[1] == "the execution was stopped"


def test_a_retry_waits_no_longer_than_its_maximum(
    run: Callable[..., Any], role: Callable[..., str], function: str
) -> None:
    retry = {"ErrorEquals": ["X"], "IntervalSeconds": 3600, "MaxAttempts": 2, "MaxDelaySeconds": 1}
    state = invoke_function(function, {"raise": "X"}, Retry=[retry])
    assert json.loads(run(role(("lambda:InvokeFunction", function)), state)["output"])["Error"] == "X"


def test_a_retry_waits_for_any_time_up_to_its_delay_if_it_is_to_be_jittered(monkeypatch: pytest.MonkeyPatch) -> None:
    from ministack.services import stepfunctions

    monkeypatch.setattr(stepfunctions, "_find_matching_retrier", stepfunctions._find_matching_retrier)
    overlay._space_retries()
    retry = {"ErrorEquals": ["X"], "IntervalSeconds": 1, "MaxAttempts": 9, "BackoffRate": 2, "MaxDelaySeconds": 20}

    def delays(retries: int, **more: str) -> set[float]:
        drawn = (stepfunctions._find_matching_retrier([{**retry, **more}], "X", {0: retries})[0] for _ in range(500))
        return {found["IntervalSeconds"] * found["BackoffRate"] ** retries for found in drawn}

    for retries, most in enumerate((1, 2, 4, 8, 16, 20, 20)):
        assert delays(retries) == {most}
        jittered = delays(retries, JitterStrategy="FULL")
        assert 0 <= min(jittered) < most / 20
        assert most * 19 / 20 < max(jittered) <= most


# The role of a state machine


SEND = "states:SendTaskSuccess"


@pytest.fixture(scope="session")
def items(embedded: LocalStack) -> str:
    """The ARN of a table."""
    created = embedded.client("dynamodb").create_table(
        TableName="items",
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "PK", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return str(created["TableDescription"]["TableArn"])


def put(table: str, **more: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::dynamodb:putItem",
        "Arguments": {"TableName": table, "Item": {"PK": {"S": "key"}}},
        **more,
    }


def sdk_put(table: str, **more: Any) -> dict[str, Any]:
    return put(table, Resource="arn:aws:states:::aws-sdk:dynamodb:putItem", **more)


def wait_for_token(table: str, **more: Any) -> dict[str, Any]:
    """Return a task that stores its token in the table and waits for it to be sent back."""
    item = {"PK": {"S": "{% $states.context.Execution.Id %}"}, "token": {"S": "{% $states.context.Task.Token %}"}}
    resource = "arn:aws:states:::aws-sdk:dynamodb:putItem.waitForTaskToken"
    return put(table, Resource=resource, Arguments={"TableName": table, "Item": item}, **more)


def branch(state: dict[str, Any]) -> dict[str, Any]:
    return {"StartAt": "Inner", "States": {"Inner": {**state, "End": True}}}


# Where a task may run: ministack has a thread of its own for each of these.
PLACES: dict[str, Callable[[str], dict[str, Any]]] = {
    "task": put,
    "task-by-arn": lambda _: put(f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/items"),
    "with-time-out": lambda table: put(table, TimeoutSeconds=30),
    "sdk": sdk_put,
    "sdk-by-arn": lambda _: sdk_put(f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/items"),
    "parallel": lambda table: {"Type": "Parallel", "Branches": [branch(put(table)), branch(put(table))]},
    "map": lambda table: {"Type": "Map", "Items": [1, 2], "ItemProcessor": branch(put(table))},
}


@pytest.mark.parametrize("place", PLACES)
def test_a_task_needs_the_grant_of_its_state_machines_role(
    run: Callable[..., Any], role: Callable[..., str], items: str, place: str
) -> None:
    state = PLACES[place]("items")
    reader = role(("dynamodb:GetItem", items), ("dynamodb:PutItem", items + "-of-others"))
    denied = run(reader, state)
    assert denied["status"] == "FAILED"
    told = f"User: {reader} is not authorized to perform: dynamodb:PutItem on resource: {items}"
    assert told in denied["cause"]
    assert run(role(("dynamodb:PutItem", items)), state)["status"] == "SUCCEEDED"


def test_a_denied_table_has_the_name_that_aws_gives_it(
    run: Callable[..., Any], role: Callable[..., str], items: str
) -> None:
    assert run(role(), put("items"))["error"] == "DynamoDB.AmazonDynamoDBException"
    for denied in (sdk_put("items"), wait_for_token("items")):
        assert run(role(), denied)["error"] == "DynamoDb.DynamoDbException"


@pytest.mark.parametrize("by", ["name", "arn"])
def test_a_function_needs_the_grant_of_its_state_machines_role(
    run: Callable[..., Any], role: Callable[..., str], function: str, by: str
) -> None:
    named = function if by == "arn" else function.rsplit(":", 1)[-1]
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": named, "Payload": {}},
    }
    denied = run(role(("lambda:InvokeFunction", function + "-of-others")), state)
    assert (denied["status"], denied["error"]) == ("FAILED", "Lambda.AWSLambdaException")
    assert f"not authorized to perform: lambda:InvokeFunction on resource: {function}" in denied["cause"]
    assert run(role(("lambda:InvokeFunction", function)), state)["status"] == "SUCCEEDED"


# Tasks that wait for their token


def test_a_time_out_may_be_an_expression(run: Callable[..., Any], role: Callable[..., str], items: str) -> None:
    writer = role(("dynamodb:PutItem", items))
    assert run(writer, wait_for_token("items", TimeoutSeconds="{% 2 - 1 %}"))["error"] == "States.Timeout"
    no_number = run(writer, wait_for_token("items", TimeoutSeconds="{% 'soon' %}"))
    assert no_number["error"] == "States.QueryEvaluationError"


def test_who_wakes_a_workflow_needs_the_grant_on_its_state_machine(
    machines: Machines, embedded: LocalStack, caller: Callable[..., Any], role: Callable[..., str], items: str
) -> None:
    writer, table = role(("dynamodb:PutItem", items)), embedded.session().resource("dynamodb").Table("items")
    waiting, other = (machines.start(writer, wait_for_token("items")) for _ in range(2))
    token = until(lambda: table.get_item(Key={"PK": waiting}).get("Item"))["token"]
    machine, others = (machines.sfn.describe_execution(executionArn=arn)["stateMachineArn"] for arn in (waiting, other))
    with pytest.raises(ClientError) as raised:
        caller("stepfunctions", (SEND, others)).send_task_success(taskToken=token, output="{}")
    assert code(raised) == "AccessDeniedException"
    assert machines.sfn.describe_execution(executionArn=waiting)["status"] == "RUNNING"
    caller("stepfunctions", (SEND, machine)).send_task_success(taskToken=token, output='{"woken": true}')
    assert machines.ended(waiting)["output"] == '{"woken": true}'
    machines.sfn.stop_execution(executionArn=other)


# What is not JSON

TOO_DEEP = '{"a": ' * 100_000 + "1" + "}" * 100_000
NOT_JSON = ["nojson", "", "{", '{"a": NaN}', '{"a": -Infinity}', TOO_DEEP]


def test_an_event_whose_detail_is_no_object_is_refused_alone(embedded: LocalStack) -> None:
    details = ["{}", *NOT_JSON, "[1]", "7", "null", '{"a": {"b": [1.5, "\\ud83d\\ude00"]}}']
    entries: Any = [{"Source": "here", "DetailType": "any", "Detail": detail} for detail in details]
    answer = embedded.client("events").put_events(Entries=entries)
    assert [entry.get("ErrorCode", "taken") for entry in answer["Entries"]] == [
        "taken",
        *["MalformedDetail"] * (len(details) - 2),
        "taken",
    ]
    assert answer["FailedEntryCount"] == len(details) - 2


def test_an_execution_with_an_input_that_is_not_json_is_refused(machines: Machines, role: Callable[..., str]) -> None:
    definition = json.dumps({"StartAt": "Only", "States": {"Only": {"Type": "Succeed"}}})
    machine = machines.sfn.create_state_machine(name=f"json-{uuid.uuid4()}", roleArn=role(), definition=definition)
    for given in NOT_JSON:
        with pytest.raises(machines.sfn.exceptions.InvalidExecutionInput):
            machines.sfn.start_execution(stateMachineArn=machine["stateMachineArn"], input=given)
    for given in ("7", "[1]", "null", '"text"', "{}"):
        machines.sfn.start_execution(stateMachineArn=machine["stateMachineArn"], input=given)
    found = machines.sfn.list_executions(stateMachineArn=machine["stateMachineArn"])["executions"]
    assert len(found) == 5


# A rule that starts executions


@pytest.mark.parametrize("granted", [True, False])
def test_a_rule_starts_executions_with_its_role_and_keeps_what_it_cannot_start(
    machines: Machines, embedded: LocalStack, role: Callable[..., str], granted: bool
) -> None:
    name = f"rule-{uuid.uuid4()}"
    events, sqs = embedded.client("events"), embedded.client("sqs")
    machine = machines.sfn.create_state_machine(
        name=name,
        roleArn=role(),
        definition=json.dumps({"StartAt": "Only", "States": {"Only": {"Type": "Succeed"}}}),
    )["stateMachineArn"]
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rule = events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))["RuleArn"]
    starter = role(("states:StartExecution", machine if granted else f"{machine}-of-others"))
    target = {"Id": "only", "Arn": machine, "RoleArn": starter, "DeadLetterConfig": {"Arn": queue}}
    events.put_targets(Rule=name, Targets=[target])
    entry = {"Source": name, "DetailType": "Test", "Detail": '{"a": 1}'}
    event_id = events.put_events(Entries=[entry])["Entries"][0]["EventId"]

    def lost() -> list[Any]:
        asked = {"QueueUrl": url, "MessageAttributeNames": ["All"], "VisibilityTimeout": 0}
        return list(sqs.receive_message(**asked).get("Messages", []))

    def started() -> list[Any]:
        return list(machines.sfn.list_executions(stateMachineArn=machine)["executions"])

    assert until(started if granted else lost)
    assert (len(started()), len(lost())) == ((1, 0) if granted else (0, 1))
    for message in lost():
        event = json.loads(message["Body"])
        assert (event["id"], event["detail"]) == (event_id, {"a": 1})
        told = {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}
        assert told.pop("ERROR_MESSAGE") == f"{starter} may not start {machine}"
        assert told == {"RULE_ARN": rule, "TARGET_ARN": machine, "ERROR_CODE": "NO_PERMISSIONS"}


# The data plane of AgentCore


@pytest.fixture(scope="session")
def runtime(embedded: LocalStack, role: Callable[..., str], table: Any, s3: Any) -> str:
    """The ARN of an AgentCore runtime, which the local stack runs as our agent."""
    created = embedded.client("bedrock-agentcore-control").create_agent_runtime(
        agentRuntimeName="conforms",
        roleArn=role(("dynamodb:*", "*"), ("s3:*", "*"), service="bedrock-agentcore.amazonaws.com"),
        agentRuntimeArtifact={
            "codeConfiguration": {
                "code": {"s3": {"bucket": "local", "prefix": "vigil.agent"}},
                "runtime": "PYTHON_3_13",
                "entryPoint": ["main.py"],
            }
        },
        networkConfiguration={"networkMode": "PUBLIC"},
        environmentVariables={Env.AGENT: "tests.agents:chosen", Env.MODEL: STAND_IN},
    )
    return str(created["agentRuntimeArn"])


INVOKE = "bedrock-agentcore:InvokeAgentRuntime"


def invoke(client: Any, runtime: str, payload: object, session_id: str | None = None) -> Any:
    session_id = session_id or str(uuid.uuid4())
    return client.invoke_agent_runtime(
        agentRuntimeArn=runtime, runtimeSessionId=session_id, payload=json.dumps(payload).encode()
    )


@pytest.mark.parametrize("granted", [None, "", "-of-others"], ids=["nothing", "without-endpoint", "another"])
def test_an_agent_is_invoked_with_a_grant_on_runtime_and_endpoint_only(
    caller: Callable[..., Any], runtime: str, granted: str | None
) -> None:
    grants = [] if granted is None else [(INVOKE, runtime + granted)]
    with pytest.raises(ClientError) as raised:
        invoke(caller("bedrock-agentcore", *grants), runtime, {})
    assert code(raised) == "AccessDeniedException"


@pytest.fixture(scope="session")
def invoker(caller: Callable[..., Any], runtime: str) -> Any:
    """A client with the grants of the Lambda function."""
    return caller("bedrock-agentcore", (INVOKE, runtime), (INVOKE, f"{runtime}/runtime-endpoint/*"))


def test_the_agent_itself_answers(invoker: Any, runtime: str) -> None:
    session_id = str(uuid.uuid4())
    environment = {"SESSION_ID": session_id, "S3_BUCKET_NAME": "none", "DDB_TABLE_NAME": "none"}
    answer = invoke(invoker, runtime, {"environment": environment, "detail": {}}, session_id)
    assert json.load(answer["response"]) == {"status": "accepted"}
    repeated = invoke(invoker, runtime, {"environment": environment, "detail": {}}, session_id)
    assert json.load(repeated["response"])["status"] in {"already running", "already ended"}


def test_what_the_agent_refuses_is_a_client_error_of_the_runtime(invoker: Any, runtime: str) -> None:
    # More often than there are places: who is refused keeps none.
    for _ in range(agentcore.PLACES + 1):
        with pytest.raises(ClientError, match=r"Received error \(400\) from runtime: .*the payload must be") as raised:
            invoke(invoker, runtime, {})
        assert code(raised) == "RuntimeClientError"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 424


STOP = "bedrock-agentcore:StopRuntimeSession"


@pytest.fixture
def working(
    invoker: Any, runtime: str, new_session: Callable[..., str], artifacts_of: Callable[[str], Artifacts]
) -> str:
    """The id of a session whose agent works."""
    session_id = new_session()
    environment = {"SESSION_ID": session_id, "S3_BUCKET_NAME": "artifacts", "DDB_TABLE_NAME": "sessions"}
    payload = json.dumps({"environment": environment, "detail": {"agent": "waits"}}).encode()
    invoker.invoke_agent_runtime(agentRuntimeArn=runtime, runtimeSessionId=session_id, payload=payload)
    artifacts = artifacts_of(session_id)
    until(lambda: artifacts.exists("pid"))
    return session_id


def test_a_session_is_stopped_with_a_grant_on_runtime_and_endpoint_only(
    caller: Callable[..., Any], runtime: str, working: str, journal: Journal
) -> None:
    asked = {"agentRuntimeArn": runtime, "runtimeSessionId": working}
    endpoint = f"{runtime}/runtime-endpoint/*"
    for grants in ([], [(STOP, runtime)], [(STOP, endpoint)], [(INVOKE, runtime), (INVOKE, endpoint)]):
        with pytest.raises(ClientError) as raised:
            caller("bedrock-agentcore", *grants).stop_runtime_session(**asked)
        assert code(raised) == "AccessDeniedException", grants
    assert journal.get(working).status == Status.BUSY
    stopper = caller("bedrock-agentcore", (STOP, runtime), (STOP, endpoint))
    assert stopper.stop_runtime_session(**asked)["runtimeSessionId"] == working
    error = until(lambda: journal.get(working).error)
    assert error.code == "AgentStopped"
    with pytest.raises(ClientError) as raised:
        stopper.stop_runtime_session(**{**asked, "runtimeSessionId": str(uuid.uuid4())})
    assert code(raised) == "ResourceNotFoundException"


def test_a_task_stops_a_session_with_the_grant_of_its_state_machines_role(
    run: Callable[..., Any], role: Callable[..., str], runtime: str, working: str, journal: Journal
) -> None:
    def stop(session_id: str) -> dict[str, Any]:
        return {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:bedrockagentcore:stopRuntimeSession",
            "Arguments": {"AgentRuntimeArn": runtime, "RuntimeSessionId": session_id},
        }

    denied = run(role((STOP, f"{runtime}-of-others")), stop(working))
    assert denied["error"] == "BedrockAgentCore.AccessDeniedException"
    assert journal.get(working).status == Status.BUSY
    stopper = role((STOP, runtime))
    assert run(stopper, stop(working))["status"] == "SUCCEEDED"
    until(lambda: journal.get(working).status == Status.FAILED)
    assert run(stopper, stop(str(uuid.uuid4())))["error"] == "BedrockAgentCore.ResourceNotFoundException"


# The language model


def converse(client: Any, model: str) -> Any:
    return client.converse(modelId=model, messages=[{"role": "user", "content": [{"text": "Go."}]}])


@pytest.mark.parametrize("grant", [None, "bedrock:Converse"])
def test_a_model_is_denied_without_a_grant_to_invoke_it(caller: Callable[..., Any], grant: str | None) -> None:
    grants = [] if grant is None else [(grant, "*")]
    with pytest.raises(ClientError) as raised:
        converse(caller("bedrock-runtime", *grants), STAND_IN)
    assert code(raised) == "AccessDeniedException"


@pytest.fixture(scope="session")
def thinker(caller: Callable[..., Any]) -> Any:
    """A client with the agent's grant on models."""
    return caller("bedrock-runtime", ("bedrock:InvokeModel", "arn:aws:bedrock:*::foundation-model/*"))


def test_the_stand_in_answers_as_a_model(thinker: Any) -> None:
    answer = converse(thinker, STAND_IN)
    assert answer["stopReason"] == "end_turn"
    assert answer["output"]["message"]["content"] == [{"text": "The procedure has ended."}]


@pytest.mark.parametrize(
    "model",
    [
        "global.anthropic.claude-sonnet-4-6",
        f"arn:aws:bedrock:{REGION}:{ACCOUNT}:inference-profile/global.anthropic.claude-sonnet-4-6",
    ],
    ids=["id", "arn"],
)
def test_nobody_plays_another_model(thinker: Any, model: str) -> None:
    with pytest.raises(ClientError, match=f"the local stack has no model {model}") as raised:
        converse(thinker, model)
    assert code(raised) == "ValidationException"


# Provisioned concurrency

LIST = "lambda:ListProvisionedConcurrencyConfigs"


@pytest.fixture(scope="session")
def provisioned(embedded: LocalStack, function: str) -> str:
    """The function's version that has provisioned concurrency."""
    client = embedded.client("lambda")
    version = str(client.publish_version(FunctionName=function)["Version"])
    client.put_provisioned_concurrency_config(
        FunctionName=function, Qualifier=version, ProvisionedConcurrentExecutions=3
    )
    return version


@pytest.mark.parametrize("by", ["name", "arn"])
def test_provisioned_concurrency_is_listed(
    caller: Callable[..., Any], function: str, provisioned: str, by: str
) -> None:
    named = function if by == "arn" else function.rsplit(":", 1)[-1]
    (item,) = caller("lambda", (LIST, "*")).list_provisioned_concurrency_configs(FunctionName=named)[
        "ProvisionedConcurrencyConfigs"
    ]
    assert item["FunctionArn"] == f"{function}:{provisioned}"
    assert (item["RequestedProvisionedConcurrentExecutions"], item["Status"]) == (3, "READY")


def test_listing_needs_its_own_grant_and_getting_another(
    caller: Callable[..., Any], function: str, provisioned: str
) -> None:
    getter = caller("lambda", ("lambda:Get*", "*"))
    with pytest.raises(ClientError) as raised:
        getter.list_provisioned_concurrency_configs(FunctionName=function)
    assert code(raised) == "AccessDeniedException"
    # The request without "List" is still ministack's.
    got = getter.get_provisioned_concurrency_config(FunctionName=function, Qualifier=provisioned)
    assert got["RequestedProvisionedConcurrentExecutions"] == 3


def test_an_unknown_function_has_no_list(embedded: LocalStack) -> None:
    with pytest.raises(ClientError) as raised:
        embedded.client("lambda").list_provisioned_concurrency_configs(FunctionName="unknown")
    assert code(raised) == "ResourceNotFoundException"


def test_a_function_without_provisioned_concurrency_has_an_empty_list(
    embedded: LocalStack, role: Callable[..., str]
) -> None:
    plain = create_function(embedded, role(service="lambda.amazonaws.com"))
    listed = embedded.client("lambda").list_provisioned_concurrency_configs(FunctionName=plain)
    assert listed["ProvisionedConcurrencyConfigs"] == []


def test_the_recursion_of_a_function_needs_its_own_grant(caller: Callable[..., Any], function: str) -> None:
    reader = caller("lambda", ("lambda:GetFunctionRecursionConfig", "*"))
    assert reader.get_function_recursion_config(FunctionName=function)["RecursiveLoop"] == "Terminate"
    with pytest.raises(ClientError, match="AccessDenied"):
        caller("lambda", ("lambda:GetFunction", "*")).get_function_recursion_config(FunctionName=function)


# Services that are missing


@pytest.mark.parametrize(
    ("service", "action", "method", "arguments"),
    [
        ("pricing", "pricing:GetProducts", "get_products", {"ServiceCode": "AWSLambda"}),
        ("compute-optimizer", "compute-optimizer:GetEnrollmentStatus", "get_enrollment_status", {}),
        ("service-quotas", "servicequotas:ListServiceQuotas", "list_service_quotas", {"ServiceCode": "states"}),
    ],
)
def test_a_service_that_is_missing_refuses_after_iam_was_asked(
    caller: Callable[..., Any], service: str, action: str, method: str, arguments: dict[str, str]
) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        getattr(caller(service), method)(**arguments)
    with pytest.raises(ClientError) as refused:
        getattr(caller(service, (action, "*")), method)(**arguments)
    assert refused.value.response["Error"]["Code"] == "400"


# The version that all of this is for


def test_another_version_of_ministack_is_refused(tmp_path: Path) -> None:
    information = tmp_path / "ministack-9.9.9.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: ministack\nVersion: 9.9.9\n")
    # The server ends with its standard input, so that stays open until it has said what it has to say.
    with subprocess.Popen(
        [sys.executable, "-m", "vigil.local.server", "--folder", str(tmp_path / "stack")],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stderr is not None
        server.stdin.write("{}\n")
        server.stdin.flush()
        told = server.stderr.read()
        assert server.wait(timeout=60) > 0
    assert re.search(r"the local stack needs ministack [\d.]+, not 9\.9\.9: run make install", told)


def test_ministack_alone_still_needs_every_patch() -> None:
    """What this finds gone in a new version needs no patch any more."""
    from ministack.core import iam_actions, lambda_runtime
    from ministack.services import bedrock_agentcore, cloudwatch, eventbridge, stepfunctions

    def action(service: str, method: str, path: str, query: dict[str, list[str]]) -> str | None:
        found = iam_actions.extract_iam_action(service, method, path, {}, b"", query)
        assert found is None or isinstance(found, str)
        return found

    assert "type(e).__name__" not in lambda_runtime._PYTHON_WORKER_SCRIPT
    assert 'f"secret:{digest}"' in inspect.getsource(lambda_runtime.execution_credentials)
    assert "TooManyRequestsException" not in inspect.getsource(stepfunctions._call_lambda)
    assert '["status"] ==' not in inspect.getsource(stepfunctions._fail_execution)
    assert "MaxDelaySeconds" not in inspect.getsource(stepfunctions)
    assert 'TimeoutSeconds", 99999' in inspect.getsource(stepfunctions._invoke_with_callback)
    told = {"x-amz-target": "AWSStepFunctions.SendTaskSuccess"}
    assert iam_actions.extract_resource_arn("states", "POST", "/", told, b"{}", {}, REGION, ACCOUNT) == "*"
    assert "bedrockagentcore" not in inspect.getsource(stepfunctions)
    assert "Malformed" not in inspect.getsource(eventbridge._put_events)
    assert "json.loads" not in inspect.getsource(stepfunctions._start_execution)
    assert "RoleArn" not in inspect.getsource(eventbridge._dispatch_to_stepfunctions)
    assert "DeadLetterConfig" not in inspect.getsource(eventbridge._invoke_target)
    assert "in _metrics.items()" in inspect.getsource(cloudwatch._get_metric_data)
    assert "EvalContext" not in inspect.getsource(stepfunctions)
    assert "echo" in inspect.getsource(bedrock_agentcore._invoke_agent_runtime_in_owner)
    assert action("bedrock-runtime", "POST", "/model/m/converse", {}) == "bedrock:Converse"
    listing = "/2019-09-30/functions/f/provisioned-concurrency"
    assert action("lambda", "GET", listing, {"List": ["ALL"]}) != LIST


def test_daily_metrics_are_kept_for_more_than_two_weeks(embedded: LocalStack) -> None:
    cloudwatch = embedded.client("cloudwatch")
    then = datetime.now(UTC) - timedelta(days=89)
    metric = {"MetricName": "Invocations", "Dimensions": [{"Name": "FunctionName", "Value": "old"}]}
    cloudwatch.put_metric_data(Namespace="AWS/Lambda", MetricData=[{**metric, "Timestamp": then, "Value": 7}])
    answer = cloudwatch.get_metric_statistics(
        Namespace="AWS/Lambda",
        **metric,
        StartTime=then - timedelta(days=1),
        EndTime=datetime.now(UTC),
        Period=86_400,
        Statistics=["Sum"],
    )
    assert [point["Sum"] for point in answer["Datapoints"]] == [7]


def test_each_query_of_metrics_is_answered_with_its_own(embedded: LocalStack) -> None:
    cloudwatch = embedded.client("cloudwatch")
    now = datetime.now(UTC).replace(microsecond=0)
    names = [uuid.uuid4().hex for _ in range(2)]
    metrics = [
        {"MetricName": metric, "Dimensions": [{"Name": "FunctionName", "Value": name}]}
        for name in names
        for metric in ("Invocations", "Errors")
    ]
    for value, metric in enumerate(metrics, start=1):
        cloudwatch.put_metric_data(Namespace="AWS/Lambda", MetricData=[{**metric, "Timestamp": now, "Value": value}])
    nobody = {"MetricName": "Errors", "Dimensions": [{"Name": "FunctionName", "Value": uuid.uuid4().hex}]}
    queries = [
        {
            "Id": f"m{index}",
            "MetricStat": {"Metric": {"Namespace": "AWS/Lambda", **metric}, "Period": 86_400, "Stat": "Sum"},
        }
        for index, metric in enumerate([*metrics, nobody])
    ]
    answer = cloudwatch.get_metric_data(
        MetricDataQueries=queries, StartTime=now - timedelta(days=1), EndTime=now + timedelta(days=1)
    )
    assert {item["Id"]: item["Values"] for item in answer["MetricDataResults"]} == {
        **{"m0": [1], "m1": [2], "m2": [3], "m3": [4]},
        "m4": [],
    }


def test_an_expression_that_waits_long_for_its_turn_is_evaluated(
    embedded: LocalStack, role: Callable[..., str]
) -> None:
    slow = "{% $sum($map([1..60000], function($n) { $n * 0 + 1 })) %}"
    states = {"Slow": {"Type": "Pass", "Output": slow, "End": True}}
    document = {"QueryLanguage": "JSONata", "StartAt": "Slow", "States": states}
    sfn = embedded.client("stepfunctions")
    machine = sfn.create_state_machine(name="slow", definition=json.dumps(document), roleArn=role())["stateMachineArn"]
    arn = sfn.start_execution(stateMachineArn=machine)["executionArn"]
    execution = until(lambda: (d := sfn.describe_execution(executionArn=arn))["status"] != "RUNNING" and d)
    assert (execution["status"], execution.get("output")) == ("SUCCEEDED", "60000")


def test_writes_of_many_threads_to_one_item_are_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from ministack.services import dynamodb

    table = f"counted-{uuid.uuid4()}"
    dynamodb._create_table(
        {
            "TableName": table,
            "KeySchema": [{"AttributeName": "PK", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "PK", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        }
    )
    add = {
        "TableName": table,
        "Key": {"PK": {"S": "key"}},
        "UpdateExpression": "ADD n :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }
    for name in ("_put_item", "_update_item", "_delete_item", "_batch_write_item", "_transact_write_items"):
        monkeypatch.setattr(dynamodb, name, getattr(dynamodb, name))
    overlay._write_one_item_at_a_time()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert {status for status, _, _ in pool.map(lambda _: dynamodb._update_item(add), range(400))} == {200}
    finally:
        sys.setswitchinterval(interval)
    item = json.loads(dynamodb._get_item({"TableName": table, "Key": add["Key"]})[2])["Item"]
    assert item["n"] == {"N": "400"}

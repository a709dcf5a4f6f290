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
from vigil.local.stack import REGION, LocalStack

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
def handler(event, context):
    if "raise" in event:
        raise type(event["raise"], (Exception,), {})("went wrong")
    return event
"""


def create_function(embedded: LocalStack, role_arn: str) -> str:
    """Make a Lambda function that raises what its event says, or returns it; return its ARN."""
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


@pytest.fixture(scope="session")
def run(embedded: LocalStack) -> Callable[..., Any]:
    """Run a state machine with a role to its end and return the execution."""
    sfn = embedded.client("stepfunctions")

    def execute(role_arn: str, state: dict[str, Any]) -> Any:
        states = {"Only": {**state, "End": True}, "Caught": {"Type": "Pass", "End": True}}
        machine = sfn.create_state_machine(
            name=f"machine-{uuid.uuid4()}",
            roleArn=role_arn,
            definition=json.dumps({"QueryLanguage": "JSONata", "StartAt": "Only", "States": states}),
        )["stateMachineArn"]
        arn = sfn.start_execution(stateMachineArn=machine)["executionArn"]

        def ended() -> Any:
            execution = sfn.describe_execution(executionArn=arn)
            return execution if execution["status"] != "RUNNING" else None

        return until(ended)

    return execute


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


def test_a_workflow_catches_a_failed_function_by_the_class_of_its_exception(
    run: Callable[..., Any], role: Callable[..., str], function: str
) -> None:
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": function, "Payload": {"raise": "AgentNotAccepted"}},
        "Catch": [{"ErrorEquals": ["AgentNotAccepted"], "Output": "{% $states.errorOutput %}", "Next": "Caught"}],
    }
    execution = run(role(("lambda:InvokeFunction", function)), state)
    assert execution["status"] == "SUCCEEDED"
    caught = json.loads(execution["output"])
    assert (caught["Error"], json.loads(caught["Cause"])["errorMessage"]) == ("AgentNotAccepted", "went wrong")


# The role of a state machine


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


def branch(state: dict[str, Any]) -> dict[str, Any]:
    return {"StartAt": "Inner", "States": {"Inner": {**state, "End": True}}}


# Where a task may run: ministack has a thread of its own for each of these.
PLACES: dict[str, Callable[[str], dict[str, Any]]] = {
    "task": put,
    "task-by-arn": lambda _: put(f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/items"),
    "with-time-out": lambda table: put(table, TimeoutSeconds=30),
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


# The data plane of AgentCore


@pytest.fixture(scope="session")
def runtime(embedded: LocalStack, role: Callable[..., str]) -> str:
    """The ARN of an AgentCore runtime, which the local stack runs as our agent."""
    created = embedded.client("bedrock-agentcore-control").create_agent_runtime(
        agentRuntimeName="conforms",
        roleArn=role(service="bedrock-agentcore.amazonaws.com"),
        agentRuntimeArtifact={
            "codeConfiguration": {
                "code": {"s3": {"bucket": "local", "prefix": "vigil.agent"}},
                "runtime": "PYTHON_3_13",
                "entryPoint": ["main.py"],
            }
        },
        networkConfiguration={"networkMode": "PUBLIC"},
    )
    return str(created["agentRuntimeArn"])


INVOKE = "bedrock-agentcore:InvokeAgentRuntime"


def invoke(client: Any, runtime: str, payload: object) -> Any:
    return client.invoke_agent_runtime(
        agentRuntimeArn=runtime, runtimeSessionId=str(uuid.uuid4()), payload=json.dumps(payload).encode()
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
    answer = invoke(invoker, runtime, {"environment": environment, "detail": {}})
    assert json.load(answer["response"]) == {"status": "accepted"}
    repeated = invoke(invoker, runtime, {"environment": environment, "detail": {}})
    assert json.load(repeated["response"])["status"] in {"already running", "already ended"}


def test_what_the_agent_refuses_is_a_client_error_of_the_runtime(invoker: Any, runtime: str) -> None:
    with pytest.raises(ClientError, match=r"Received error \(400\) from runtime: .*the payload must be") as raised:
        invoke(invoker, runtime, {})
    assert code(raised) == "RuntimeClientError"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 424


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
        assert server.stderr is not None
        told = server.stderr.read()
        assert server.wait(timeout=60) > 0
    assert re.search(r"the local stack needs ministack [\d.]+, not 9\.9\.9: run make install", told)


def test_ministack_alone_still_needs_every_patch() -> None:
    """What this finds gone in a new version needs no patch any more."""
    from ministack.core import iam_actions, lambda_runtime
    from ministack.services import bedrock_agentcore, stepfunctions

    def action(service: str, method: str, path: str, query: dict[str, list[str]]) -> str | None:
        found = iam_actions.extract_iam_action(service, method, path, {}, b"", query)
        assert found is None or isinstance(found, str)
        return found

    assert "type(e).__name__" not in lambda_runtime._PYTHON_WORKER_SCRIPT
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


def test_an_expression_that_waits_long_for_its_turn_is_evaluated(
    embedded: LocalStack, role: Callable[..., str]
) -> None:
    slow = "{% $sum($map([1..100000], function($n) { $n * 0 + 1 })) %}"
    states = {"Slow": {"Type": "Pass", "Output": slow, "End": True}}
    document = {"QueryLanguage": "JSONata", "StartAt": "Slow", "States": states}
    sfn = embedded.client("stepfunctions")
    machine = sfn.create_state_machine(name="slow", definition=json.dumps(document), roleArn=role())["stateMachineArn"]
    arn = sfn.start_execution(stateMachineArn=machine)["executionArn"]
    execution = until(lambda: (d := sfn.describe_execution(executionArn=arn))["status"] != "RUNNING" and d)
    assert (execution["status"], execution.get("output")) == ("SUCCEEDED", "100000")

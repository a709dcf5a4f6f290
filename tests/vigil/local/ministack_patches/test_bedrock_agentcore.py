"""AgentCore: who may invoke an agent and stop its session, and what both get as an answer."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import until
from tests.vigil.local.ministack_patches.builders import Caller, Machines, Role, State, refused
from vigil.agent.models import SCRIPTED_MODEL
from vigil.artifacts import Artifacts
from vigil.journal import Journal
from vigil.local.agentcore import MAX_SESSIONS
from vigil.local.stack import LocalStack
from vigil.names import Env
from vigil.session import Status

INVOKE = "bedrock-agentcore:InvokeAgentRuntime"
STOP = "bedrock-agentcore:StopRuntimeSession"


@pytest.fixture(scope="session")
def runtime(embedded: LocalStack, role: Role, table: Any, s3: Any) -> str:
    """The ARN of an AgentCore runtime, which the local stack runs as our agent."""
    source = {"s3": {"bucket": "local", "prefix": "vigil.agent"}}
    code = {"code": source, "runtime": "PYTHON_3_13", "entryPoint": ["main.py"]}
    created = embedded.client("bedrock-agentcore-control").create_agent_runtime(
        agentRuntimeName="conforms",
        roleArn=role(("dynamodb:*", "*"), ("s3:*", "*"), service="bedrock-agentcore.amazonaws.com"),
        agentRuntimeArtifact={"codeConfiguration": code},
        networkConfiguration={"networkMode": "PUBLIC"},
        environmentVariables={Env.AGENT: "tests.agents:chosen", Env.MODEL: SCRIPTED_MODEL},
    )
    return str(created["agentRuntimeArn"])


def invoke(client: Any, runtime: str, payload: object, session_id: str | None = None) -> Any:
    session = {"agentRuntimeArn": runtime, "runtimeSessionId": session_id or str(uuid.uuid4())}
    return client.invoke_agent_runtime(**session, payload=json.dumps(payload).encode())


@pytest.mark.parametrize("granted", [None, "", "-of-others"], ids=["nothing", "without-endpoint", "another"])
def test_an_invocation_needs_a_grant_on_runtime_and_endpoint(caller: Caller, runtime: str, granted: str | None) -> None:
    grants = [] if granted is None else [(INVOKE, runtime + granted)]
    with refused("AccessDeniedException"):
        invoke(caller("bedrock-agentcore", *grants), runtime, {})


@pytest.fixture(scope="session")
def invoker(caller: Caller, runtime: str) -> Any:
    """A client with the grants of the Lambda function."""
    return caller("bedrock-agentcore", (INVOKE, runtime), (INVOKE, f"{runtime}/runtime-endpoint/*"))


def test_the_agent_itself_answers(invoker: Any, runtime: str) -> None:
    session_id = str(uuid.uuid4())
    environment = {"SESSION_ID": session_id, "S3_BUCKET_NAME": "none", "DDB_TABLE_NAME": "none"}
    first, second = (
        json.load(invoke(invoker, runtime, {"environment": environment, "detail": {}}, session_id)["response"])
        for _ in range(2)
    )
    assert first == {"status": "accepted"}
    assert second["status"] in {"already running", "already ended"}


def test_a_refusal_of_the_agent_is_a_runtime_client_error(invoker: Any, runtime: str) -> None:
    # More often than there are slots: a session that is refused keeps none.
    for _ in range(MAX_SESSIONS + 1):
        message = r"Received error \(400\) from runtime: .*the payload must be"
        with refused("RuntimeClientError", match=message) as raised:
            invoke(invoker, runtime, {})
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 424


@pytest.fixture
def working(
    invoker: Any, runtime: str, new_session: Callable[..., str], artifacts_of: Callable[[str], Artifacts]
) -> str:
    """The id of a session whose agent works."""
    session_id = new_session()
    environment = {"SESSION_ID": session_id, "S3_BUCKET_NAME": "artifacts", "DDB_TABLE_NAME": "sessions"}
    invoke(invoker, runtime, {"environment": environment, "detail": {"agent": "waits"}}, session_id)
    artifacts = artifacts_of(session_id)
    until(lambda: artifacts.exists("pid"))
    return session_id


def test_stopping_a_session_needs_a_grant_on_runtime_and_endpoint(
    caller: Caller, runtime: str, working: str, journal: Journal
) -> None:
    endpoint = f"{runtime}/runtime-endpoint/*"

    def stop(session_id: str, *grants: tuple[str, str]) -> Any:
        client = caller("bedrock-agentcore", *grants)
        return client.stop_runtime_session(agentRuntimeArn=runtime, runtimeSessionId=session_id)

    for grants in ([], [(STOP, runtime)], [(STOP, endpoint)], [(INVOKE, runtime), (INVOKE, endpoint)]):
        with refused("AccessDeniedException"):
            stop(working, *grants)
    assert journal.get(working).status == Status.BUSY
    assert stop(working, (STOP, runtime), (STOP, endpoint))["runtimeSessionId"] == working
    (ended,) = until(lambda: journal.get(working).attempts)
    assert (ended.code, journal.get(working).attempt, journal.get(working).status) == ("AgentStopped", 2, Status.BUSY)
    with refused("ResourceNotFoundException"):
        stop(str(uuid.uuid4()), (STOP, runtime), (STOP, endpoint))


def test_a_task_needs_a_grant_of_its_role_to_stop_a_session(
    machines: Machines, role: Role, runtime: str, working: str, journal: Journal
) -> None:
    def stop(session_id: str) -> State:
        return {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:bedrockagentcore:stopRuntimeSession",
            "Arguments": {"AgentRuntimeArn": runtime, "RuntimeSessionId": session_id},
        }

    denied = machines.run(role((STOP, f"{runtime}-of-others")), stop(working))
    assert denied["error"] == "BedrockAgentCore.AccessDeniedException"
    assert journal.get(working).status == Status.BUSY
    stopper = role((STOP, runtime))
    assert machines.run(stopper, stop(working))["status"] == "SUCCEEDED"
    until(lambda: journal.get(working).attempt == 2)
    assert machines.run(stopper, stop(str(uuid.uuid4())))["error"] == "BedrockAgentCore.ResourceNotFoundException"

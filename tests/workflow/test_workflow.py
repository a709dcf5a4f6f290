"""The state machine, run as deployed: from its first write to its last look at the table."""

import json
from typing import Any

import pytest

from tests.support import Workflow, until
from vigil.deployment import Deployment
from vigil.local.stack import LocalStack
from vigil.names import Env, Output
from vigil.session import Failure, Status

HELLO = {"agent": "hello_agent"}
WAITS = {"agent": "waits"}


def let_go(deployment: Deployment, session_id: str) -> None:
    deployment.artifacts(session_id).write("go", "")


def is_busy(workflow: Workflow, session_id: str) -> Any:
    return lambda: (session := workflow.session(session_id)) and session.status == Status.BUSY


@pytest.mark.criterion("3.1")
@pytest.mark.criterion("3.2")
@pytest.mark.criterion("3.3")
@pytest.mark.criterion("3.4")
@pytest.mark.criterion("3.5")
@pytest.mark.criterion("4.1")
@pytest.mark.criterion("4.3")
@pytest.mark.criterion("4.5")
def test_a_session_is_recorded_as_initiated_before_the_agent_is_invoked_and_then_watched(
    workflow: Workflow, deployment: Deployment
) -> None:
    session_id, arn = workflow.start(detail=WAITS)
    # A worker takes a second or two to start: what is read first is what the workflow wrote.
    assert until(lambda: workflow.session(session_id)).status == Status.INITIATED
    until(is_busy(workflow, session_id))
    item = workflow.table.get_item(Key={"PK": session_id, "SK": "SESSION"})["Item"]
    assert item["start_time"] <= item["created_at"] <= item["updated_at"]
    assert item["start_time"].endswith("Z")
    assert item["execution_arn"] == arn
    assert item["expires_at"] > 1_790_000_000
    let_go(deployment, session_id)
    assert workflow.ended(arn)["status"] == "SUCCEEDED"
    states = workflow.states(arn)
    assert states[:4] == ["InitializeSession", "InvokeAgent", "CheckStatus", "EvaluateStatus"]
    assert states[-1] == "SessionCompleted"


@pytest.mark.criterion("5.1")
@pytest.mark.criterion("5.2")
@pytest.mark.criterion("5.3")
def test_a_busy_session_is_looked_at_again_until_it_is_completed(workflow: Workflow, deployment: Deployment) -> None:
    session_id, arn = workflow.start(detail=WAITS)
    until(lambda: workflow.states(arn).count("CheckStatus") >= 3)
    assert workflow.session(session_id).status == Status.BUSY  # type: ignore[union-attr]
    assert workflow.states(arn)[2:6] == ["CheckStatus", "EvaluateStatus", "WaitForCompletion", "CheckStatus"]
    let_go(deployment, session_id)
    assert workflow.ended(arn)["status"] == "SUCCEEDED"


@pytest.mark.criterion("5.4")
@pytest.mark.criterion("4.4")
@pytest.mark.parametrize(
    ("agent", "code", "said"),
    [
        ("says_failed", "AgentFailed", "nothing to look at"),
        ("killed", "AgentCrashed", "signal SIGKILL"),
        ("raises", "RuntimeError", "the dependency is broken"),
        ("forgets_everything", "AgentIncomplete", "without saving report.md"),
    ],
)
def test_a_session_that_failed_fails_its_execution_with_the_same_cause(
    workflow: Workflow, agent: str, code: str, said: str
) -> None:
    execution, session = workflow.run(detail={"agent": agent})
    assert (execution["status"], execution["error"]) == ("FAILED", code)
    assert session is not None
    assert session.status == Status.FAILED
    assert session.error is not None
    assert session.error.code == code
    assert said in session.error.message
    assert execution["cause"] == f"session {session.session_id}: {session.error.message}"


@pytest.mark.criterion("5.5")
def test_a_session_whose_record_is_missing_is_looked_for_again(workflow: Workflow, deployment: Deployment) -> None:
    session_id, arn = workflow.start(detail=WAITS)
    until(is_busy(workflow, session_id))
    record = workflow.table.delete_item(Key=workflow.key(session_id), ReturnValues="ALL_OLD")["Attributes"]
    seen = workflow.states(arn).count("CheckStatus")
    until(lambda: workflow.states(arn).count("CheckStatus") >= seen + 3)
    workflow.table.put_item(Item=record)
    let_go(deployment, session_id)
    assert workflow.ended(arn)["status"] == "SUCCEEDED"


@pytest.mark.parametrize("status", ["DONE", "none", None])
def test_an_unknown_status_fails_the_session(workflow: Workflow, deployment: Deployment, status: str | None) -> None:
    session_id, arn = workflow.start(detail=WAITS)
    until(is_busy(workflow, session_id))
    record = workflow.table.get_item(Key=workflow.key(session_id))["Item"]
    record.pop("status")
    workflow.table.put_item(Item=record if status is None else {**record, "status": status})
    execution = workflow.ended(arn)
    assert (execution["status"], execution["error"]) == ("FAILED", "UnknownStatus")
    assert "a status that Vigil does not know" in execution["cause"]
    session = workflow.session(session_id)
    assert session is not None
    assert session.status == Status.FAILED
    assert session.error == Failure("UnknownStatus", "the session record has a status that Vigil does not know")
    let_go(deployment, session_id)


def test_a_duplicate_event_fails_its_own_execution_and_leaves_the_session_alone(workflow: Workflow) -> None:
    first, session = workflow.run(detail=HELLO)
    assert session is not None
    before = workflow.table.get_item(Key=workflow.key(session.session_id))["Item"]
    second, _ = workflow.run(session.session_id, detail=HELLO)
    assert (first["status"], second["status"], second["error"]) == ("SUCCEEDED", "FAILED", "DuplicateSession")
    assert workflow.table.get_item(Key=workflow.key(session.session_id))["Item"] == before


@pytest.mark.parametrize(
    "bad",
    ["a" * 32, "a" * 101, "a" * 40 + "/b", "a" * 40 + "#", "", 7, {"a": 1}, ["x"], ["a" * 40], None, "x" * 40 + "\n"],
)
def test_an_id_that_is_none_is_refused_before_anything_is_written(workflow: Workflow, bad: object) -> None:
    before = workflow.table.scan(Select="COUNT")["Count"]
    machine = workflow.outputs["StateMachineArn"]
    given = json.dumps({"session_id": bad})
    arn = workflow.sfn.start_execution(stateMachineArn=machine, input=given)["executionArn"]
    execution = workflow.ended(arn)
    assert (execution["status"], execution["error"]) == ("FAILED", "InvalidSessionId")
    assert "33 to 100 letters, digits or '-'" in execution["cause"]
    assert workflow.table.scan(Select="COUNT")["Count"] == before


def test_an_input_without_an_id_is_refused_too(workflow: Workflow) -> None:
    machine = workflow.outputs["StateMachineArn"]
    execution = workflow.ended(workflow.sfn.start_execution(stateMachineArn=machine, input="{}")["executionArn"])
    assert (execution["status"], execution["error"]) == ("FAILED", "InvalidSessionId")


@pytest.mark.parametrize(
    ("detail", "code", "said"),
    [
        (["a"], "InvalidDetail", "detail must be an object, not list"),
        ("text", "InvalidDetail", "detail must be an object, not str"),
        ({"days": 0}, "InvalidDetail", "days must be a whole number from 1 to 90"),
        ({"days": "30"}, "InvalidDetail", "days must be a whole number from 1 to 90"),
        ({"regions": "us-east-1"}, "InvalidDetail", "regions must be a list"),
        ({"dais": 30, "colour": 1}, "InvalidDetail", "'dais' is not known; 'colour' is not known"),
        ({"functions": "x" * 300_000}, "InvalidDetail", "at most 65536 are allowed"),
    ],
)
def test_a_detail_that_the_agent_cannot_take_fails_the_session_with_its_reason(
    workflow: Workflow, detail: object, code: str, said: str
) -> None:
    execution, session = workflow.run(detail=detail)
    assert (execution["status"], execution["error"]) == ("FAILED", code)
    assert session is not None
    assert session.error is not None
    assert session.error.code == code
    assert said in session.error.message


def test_an_agent_that_no_detail_asks_anything_of_gets_an_empty_one(workflow: Workflow) -> None:
    execution, _ = workflow.run(detail=None)
    assert execution["status"] == "SUCCEEDED"


@pytest.mark.criterion("4.4")
def test_a_lambda_function_without_its_environment_fails_the_session_and_names_the_variable(
    workflow: Workflow, stack: LocalStack
) -> None:
    awslambda, name = stack.client("lambda"), stack.outputs[Output.INVOKER]
    variables = awslambda.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    fewer = {key: value for key, value in variables.items() if key != Env.AGENT_RUNTIME_ARN}
    awslambda.update_function_configuration(FunctionName=name, Environment={"Variables": fewer})
    try:
        execution, session = workflow.run(detail=HELLO)
    finally:
        awslambda.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
    assert execution["error"] == "MissingSetting"
    assert session is not None
    assert session.error == Failure("MissingSetting", "environment variable AGENT_RUNTIME_ARN is not set")


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left(workflow: Workflow) -> Any:
    yield
    machine = workflow.outputs["StateMachineArn"]
    assert workflow.sfn.list_executions(stateMachineArn=machine, statusFilter="RUNNING")["executions"] == []

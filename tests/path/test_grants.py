"""Least privilege: every single action that a role may do is needed, shown by what breaks without it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import Workflow, until
from vigil.deployment import Deployment
from vigil.local.stack import LocalStack
from vigil.session import Status

HELLO: dict[str, object] = {"agent": "hello_agent"}
LISTS: dict[str, object] = {"agent": "lists"}
COSTS: dict[str, object] = {"functions": "orders-*"}


@dataclass(frozen=True)
class Failed:
    """Without the grant the session of ``detail`` fails with ``code`` and a message that names the action."""

    code: str
    detail: object
    said: str = ""


@dataclass(frozen=True)
class Gap:
    """Without the grant the analysis still ends, and its report says what could not be read."""

    said: str


class Simulated:
    """The embedded AWS does not check this one; IAM's own simulator does."""


GRANTS: dict[tuple[str, str], Failed | Gap | Simulated | None] = {
    ("TriggerWorkflowStart", "states:StartExecution"): Simulated(),
    ("WorkflowSessionCreate", "dynamodb:PutItem"): Failed("DynamoDB.AmazonDynamoDBException", HELLO),
    ("WorkflowSessionRead", "dynamodb:GetItem"): Failed("DynamoDB.AmazonDynamoDBException", HELLO),
    ("WorkflowSessionFail", "dynamodb:UpdateItem"): None,
    ("WorkflowAgentInvoke", "lambda:InvokeFunction"): Failed("Lambda.AWSLambdaException", HELLO),
    ("InvokerAgentInvoke", "bedrock-agentcore:InvokeAgentRuntime"): Failed("AgentNotAccepted", HELLO),
    ("InvokerLogsWrite", "logs:CreateLogStream"): Simulated(),
    ("InvokerLogsWrite", "logs:PutLogEvents"): Simulated(),
    ("AgentJournalRead", "dynamodb:GetItem"): Failed("AgentFailed", HELLO),
    ("AgentJournalUpdate", "dynamodb:UpdateItem"): None,
    ("AgentJournalTask", "dynamodb:PutItem"): Failed("AgentFailed", COSTS),
    ("AgentArtifactWrite", "s3:PutObject"): Failed("AgentFailed", HELLO),
    # HeadObject says no more than 403.
    ("AgentArtifactRead", "s3:GetObject"): Failed("AgentFailed", HELLO, "403"),
    ("AgentArtifactList", "s3:ListBucket"): Failed("AccessDenied", LISTS),
    ("AgentModelInvoke", "bedrock:InvokeModel"): Failed("AccessDeniedException", HELLO),
    ("AgentReadFunctions", "lambda:ListFunctions"): Failed("AgentFailed", COSTS, "ListFunctions: access denied"),
    ("AgentReadFunctions", "lambda:ListProvisionedConcurrencyConfigs"): Gap("ListProvisionedConcurrencyConfigs"),
    ("AgentReadMetrics", "cloudwatch:GetMetricData"): Gap("GetMetricData"),
    ("AgentReadLogs", "logs:DescribeLogGroups"): Gap("DescribeLogGroups"),
    ("AgentReadLogs", "logs:FilterLogEvents"): Gap("FilterLogEvents"),
    ("AgentOwnLogGroup", "logs:CreateLogGroup"): Simulated(),
    ("AgentOwnLogGroup", "logs:DescribeLogStreams"): Simulated(),
    ("AgentOwnLogs", "logs:CreateLogStream"): Simulated(),
    ("AgentOwnLogs", "logs:PutLogEvents"): Simulated(),
}


def grants(effect: type) -> list[tuple[str, str]]:
    """Return the grants whose loss has that kind of effect."""
    return [grant for grant, item in GRANTS.items() if isinstance(item, effect)]


@dataclass(frozen=True)
class Statement:
    """A statement of a deployed role's policy."""

    role: str
    policy: str
    document: dict[str, Any]
    index: int

    @property
    def body(self) -> dict[str, Any]:
        return dict(self.document["Statement"][self.index])

    @property
    def actions(self) -> list[str]:
        action = self.body["Action"]
        return [action] if isinstance(action, str) else list(action)


@pytest.fixture(scope="module")
def statements(stack: LocalStack) -> dict[str, Statement]:
    """Statements by Sid, as they stand in the deployed roles. CDK's own, for log delivery and X-Ray, have none."""
    iam, found = stack.client("iam"), {}
    for role in iam.list_roles()["Roles"]:
        for policy in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=policy)["PolicyDocument"]
            for index, statement in enumerate(document["Statement"]):
                found[statement.get("Sid", "")] = Statement(role["RoleName"], policy, document, index)
    return found


@contextmanager
def without(stack: LocalStack, statement: Statement, action: str) -> Iterator[None]:
    """Take one action out of a role's policy, and give it back."""
    iam = stack.client("iam")

    def put(document: dict[str, Any]) -> None:
        iam.put_role_policy(RoleName=statement.role, PolicyName=statement.policy, PolicyDocument=json.dumps(document))

    kept = [other for other in statement.actions if other != action]
    changed = list(statement.document["Statement"])
    # A policy needs a statement, and a statement an action: this one, everybody may do anyway.
    changed[statement.index] = {**statement.body, "Action": kept or ["sts:GetCallerIdentity"]}
    put({**statement.document, "Statement": changed})
    try:
        yield
    finally:
        put(statement.document)


def test_every_grant_of_the_template_is_in_the_table_and_none_besides(statements: dict[str, Statement]) -> None:
    assert {(sid, action) for sid, item in statements.items() if sid for action in item.actions} == set(GRANTS)


def allowed(stack: LocalStack, statement: Statement, action: str) -> set[str]:
    resources = statement.body["Resource"]
    role = stack.client("iam").get_role(RoleName=statement.role)["Role"]["Arn"]
    answer = stack.client("iam").simulate_principal_policy(
        PolicySourceArn=role,
        ActionNames=[action],
        ResourceArns=[resources] if isinstance(resources, str) else resources,
    )
    return {result["EvalDecision"] for result in answer["EvaluationResults"]}


@pytest.mark.criterion("6.2")
@pytest.mark.parametrize(("sid", "action"), grants(Simulated))
def test_without_the_grant_iam_denies(
    stack: LocalStack, statements: dict[str, Statement], sid: str, action: str
) -> None:
    statement = statements[sid]
    assert allowed(stack, statement, action) == {"allowed"}
    with without(stack, statement, action):
        assert allowed(stack, statement, action) == {"implicitDeny"}


@pytest.mark.criterion("6.2")
@pytest.mark.criterion("3.6")
@pytest.mark.criterion("4.2")
@pytest.mark.criterion("4.4")
@pytest.mark.parametrize(("sid", "action"), grants(Failed))
def test_without_the_grant_a_session_fails_and_says_why(
    stack: LocalStack, workflow: Workflow, statements: dict[str, Statement], sid: str, action: str
) -> None:
    effect = GRANTS[sid, action]
    assert isinstance(effect, Failed)
    with without(stack, statements[sid], action):
        execution, session = workflow.run(detail=effect.detail)
    assert (execution["status"], execution["error"]) == ("FAILED", effect.code)
    assert session is not None
    assert session.status == Status.FAILED
    assert session.error is not None
    assert session.error.code == effect.code
    assert (effect.said or action) in session.error.message


@pytest.mark.parametrize(("sid", "action"), grants(Gap))
def test_without_the_grant_the_report_says_what_it_could_not_read(
    stack: LocalStack, workflow: Workflow, statements: dict[str, Statement], sid: str, action: str
) -> None:
    effect = GRANTS[sid, action]
    assert isinstance(effect, Gap)
    with without(stack, statements[sid], action):
        execution, session = workflow.run(detail=COSTS)
    assert execution["status"] == "SUCCEEDED"
    assert session is not None
    report = Deployment(stack.session()).artifacts(session.session_id).read("report.md")
    assert f"{effect.said}: access denied" in report.partition("## What was not looked at")[2]


def test_with_every_grant_in_place_an_agent_may_list_its_artifacts(workflow: Workflow) -> None:
    execution, _ = workflow.run(detail=LISTS)
    assert execution["status"] == "SUCCEEDED"


def test_without_workflow_session_fail_the_execution_still_tells_the_first_cause(
    stack: LocalStack, workflow: Workflow, statements: dict[str, Statement]
) -> None:
    with without(stack, statements["WorkflowSessionFail"], "dynamodb:UpdateItem"):
        execution, session = workflow.run(detail=["not an object"])
    assert (execution["status"], execution["error"]) == ("FAILED", "InvalidDetail")
    assert session is not None
    assert session.status == Status.INITIATED


def test_without_agent_journal_update_the_agent_does_nothing_and_its_log_says_why(
    stack: LocalStack, workflow: Workflow, statements: dict[str, Statement]
) -> None:
    log = stack.agent_log
    with without(stack, statements["AgentJournalUpdate"], "dynamodb:UpdateItem"):
        session_id, arn = workflow.start(detail=HELLO)
        until(lambda: f"session {session_id}: its worker died" in log.read_text())
        session = workflow.session(session_id)
    assert session is not None
    assert session.status == Status.INITIATED
    assert "not authorized to perform: dynamodb:UpdateItem" in log.read_text()
    assert not Deployment(stack.session()).artifacts(session_id).exists("report.md")
    workflow.sfn.stop_execution(executionArn=arn)

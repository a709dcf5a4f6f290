"""Least privilege: every action that a role holds is needed. The tests take them away and show what breaks."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import pytest

from lambda_costs import READ_ACTIONS
from tests.lambda_costs.security.principals import MODELS, PROFILES, reaches
from tests.lambda_costs.security.server import STOPS
from tests.support import Workflow, let_go, reconcile, until
from vigil.agent.models import SCRIPTED_MODEL
from vigil.deployment import Deployment
from vigil.local.stack import LocalStack
from vigil.names import EVENT_DETAIL_TYPE, EVENT_SOURCE
from vigil.session import Failure, Session, Status

HELLO: dict[str, object] = {"agent": "hello_agent"}
READS: dict[str, object] = {"agent": "reads"}
WAITS: dict[str, object] = {"agent": "waits"}
COSTS: dict[str, object] = {"functions": "orders-*", "days": 7}
EVERYTHING: dict[str, object] = {"functions": "*"}
"""Vigil's own functions too, which nothing invoked before today."""


@dataclass(frozen=True)
class Failed:
    """Without the grant, the session of ``detail`` fails with ``code``, and its message contains ``message``."""

    code: str
    detail: object
    message: str = ""
    """By default the action."""


@dataclass(frozen=True)
class Gap:
    """Without the grant the analysis still ends, and its report says that the action was denied.

    One ``analysis`` runs without all actions of its number, none of which is called only if another one succeeds.
    """

    analysis: int


class Unclosed:
    """Without the grant the reconciler fails with an error that names the action, so that it is called again."""


class Simulated:
    """The embedded AWS does not check this action, or no session uses it there: IAM's simulator is asked."""


SCALING = "AgentReadsApplicationAutoscaling"
GRANTS: dict[tuple[str, str], Failed | Gap | Unclosed | Simulated | None] = {
    ("TriggerWorkflowStart", "states:StartExecution"): None,
    # tests/unattended takes away what belongs to an option.
    ("ScheduleEventPut", "events:PutEvents"): None,
    ("ScheduleDeadLetter", "sqs:SendMessage"): None,
    ("NotifierMarkRead", "dynamodb:GetItem"): None,
    ("NotifierMark", "dynamodb:PutItem"): None,
    ("NotifierPublish", "sns:Publish"): None,
    ("NotifierDeadLetters", "sqs:ReceiveMessage"): None,
    ("NotifierDeadLetters", "sqs:ChangeMessageVisibility"): None,
    # Lambda reads the stream for the function, with its role.
    ("NotifierStreamRead", "dynamodb:DescribeStream"): Simulated(),
    ("NotifierStreamRead", "dynamodb:GetRecords"): Simulated(),
    ("NotifierStreamRead", "dynamodb:GetShardIterator"): Simulated(),
    ("NotifierStreamRead", "dynamodb:ListStreams"): Simulated(),
    ("NotifierLogsWrite", "logs:CreateLogStream"): Simulated(),
    ("NotifierLogsWrite", "logs:PutLogEvents"): Simulated(),
    ("WorkflowSessionCreate", "dynamodb:PutItem"): Failed("DynamoDB.AmazonDynamoDBException", HELLO),
    ("WorkflowSessionRead", "dynamodb:GetItem"): Failed("DynamoDB.AmazonDynamoDBException", HELLO),
    ("WorkflowSessionUpdate", "dynamodb:UpdateItem"): None,
    ("WorkflowAgentInvoke", "lambda:InvokeFunction"): Failed("Lambda.AWSLambdaException", HELLO),
    ("WorkflowAgentStop", "bedrock-agentcore:StopRuntimeSession"): None,
    ("InvokerAgentInvoke", "bedrock-agentcore:InvokeAgentRuntime"): Failed("AgentNotAccepted", HELLO),
    # Without them, a session is tried again after random times, without a line.
    ("InvokerLine", "dynamodb:GetItem"): None,
    ("InvokerLine", "dynamodb:UpdateItem"): None,
    ("InvokerLogsWrite", "logs:CreateLogStream"): Simulated(),
    ("InvokerLogsWrite", "logs:PutLogEvents"): Simulated(),
    ("ReconcilerSessionsList", "dynamodb:Query"): None,
    ("ReconcilerSessionRead", "dynamodb:GetItem"): Unclosed(),
    ("ReconcilerSessionClose", "dynamodb:UpdateItem"): Unclosed(),
    ("ReconcilerExecutionsList", "states:ListExecutions"): None,
    ("ReconcilerExecutionRead", "states:DescribeExecution"): Unclosed(),
    # Lambda reads the queue for the function, with its role.
    ("ReconcilerQueueRead", "sqs:ReceiveMessage"): Simulated(),
    ("ReconcilerQueueRead", "sqs:DeleteMessage"): Simulated(),
    ("ReconcilerQueueRead", "sqs:GetQueueAttributes"): Simulated(),
    ("ReconcilerAgentStop", "bedrock-agentcore:StopRuntimeSession"): None,
    ("ReconcilerLogsWrite", "logs:CreateLogStream"): Simulated(),
    ("ReconcilerLogsWrite", "logs:PutLogEvents"): Simulated(),
    # Read only at the end of a session whose agent set no final status.
    ("AgentJournalRead", "dynamodb:GetItem"): Failed("AwsUnavailable", {"agent": "forgets_status"}),
    ("AgentJournalUpdate", "dynamodb:UpdateItem"): None,
    ("AgentJournalItem", "dynamodb:PutItem"): Failed("AgentFailed", COSTS),
    ("AgentJournalCheck", "dynamodb:ConditionCheckItem"): Failed("AgentFailed", HELLO),
    ("AgentHistoryRead", "dynamodb:Query"): Failed("AgentFailed", COSTS),
    ("AgentWorkflowWake", "states:SendTaskSuccess"): None,
    ("AgentArtifactWrite", "s3:PutObject"): Failed("AgentFailed", HELLO),
    ("AgentArtifactRead", "s3:GetObject"): Failed("AwsUnavailable", READS),
    ("AgentModelInvoke", "bedrock:InvokeModel"): Failed("AccessDeniedException", HELLO),
    # The embedded AWS knows no inference profiles.
    ("AgentModelBehindProfile", "bedrock:InvokeModel"): None,
    ("AgentReadsLambda", "lambda:ListFunctions"): Failed("AgentFailed", COSTS, "ListFunctions: access denied"),
    ("AgentReadsLambda", "lambda:ListProvisionedConcurrencyConfigs"): Gap(1),
    ("AgentReadsLambda", "lambda:GetFunctionRecursionConfig"): Gap(1),
    # Of functions without invocations.
    ("AgentReadsLambda", "lambda:ListEventSourceMappings"): Gap(1),
    ("AgentReadsLambda", "lambda:GetPolicy"): Gap(3),
    ("AgentReadsLambda", "lambda:ListAliases"): Gap(2),
    ("AgentReadsLambda", "lambda:ListVersionsByFunction"): Gap(1),
    (SCALING, "application-autoscaling:DescribeScalableTargets"): Gap(1),
    # Only where something scales.
    (SCALING, "application-autoscaling:DescribeScheduledActions"): Simulated(),
    (SCALING, "application-autoscaling:DescribeScalingPolicies"): Simulated(),
    ("AgentReadsCloudwatch", "cloudwatch:GetMetricData"): Gap(4),
    ("AgentReadsLogs", "logs:DescribeLogGroups"): Gap(3),
    ("AgentReadsLogs", "logs:FilterLogEvents"): Gap(1),
    ("AgentReadsLogs", "logs:StartQuery"): Gap(2),
    ("AgentReadsLogs", "logs:GetQueryResults"): Gap(1),
    # Of a query that takes a quarter of an hour.
    ("AgentReadsLogs", "logs:StopQuery"): Simulated(),
    ("AgentReadsPricing", "pricing:GetProducts"): None,
    ("AgentReadsComputeOptimizer", "compute-optimizer:GetEnrollmentStatus"): Gap(1),
    # Of an account that is enrolled.
    ("AgentReadsComputeOptimizer", "compute-optimizer:GetLambdaFunctionRecommendations"): Simulated(),
    ("AgentOwnLogGroup", "logs:CreateLogGroup"): Simulated(),
    ("AgentOwnLogGroup", "logs:DescribeLogStreams"): Simulated(),
    ("AgentOwnLogs", "logs:CreateLogStream"): Simulated(),
    ("AgentOwnLogs", "logs:PutLogEvents"): Simulated(),
}


def grants(effect: type) -> list[tuple[str, str]]:
    """Return the grants with this effect if they are missing."""
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
    """The deployed roles' statements by Sid. CDK's own, for log delivery and X-Ray, have none."""
    iam, found = stack.client("iam"), {}
    for role in iam.list_roles()["Roles"]:
        for policy in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=policy)["PolicyDocument"]
            for index, statement in enumerate(document["Statement"]):
                found[statement.get("Sid", "")] = Statement(role["RoleName"], policy, document, index)
    return found


Without = Callable[..., AbstractContextManager[None]]
Abandoned = tuple[str, dict[str, object]]
RunWithout = Callable[..., tuple[Any, Session]]


@pytest.fixture(scope="module")
def without(stack: LocalStack, statements: dict[str, Statement]) -> Without:
    """Take actions, each a Sid and its name, out of the roles' policies, and give them back."""
    iam = stack.client("iam")

    @contextmanager
    def take(*grants: tuple[str, str]) -> Iterator[None]:
        before = {}
        changed: dict[tuple[str, str], list[Any]] = {}
        for sid, action in grants:
            statement = statements[sid]
            policy = statement.role, statement.policy
            before[policy] = statement.document
            body = changed.setdefault(policy, list(statement.document["Statement"]))
            now = body[statement.index]["Action"]
            kept = [other for other in ([now] if isinstance(now, str) else now) if other != action]
            # A policy needs a statement, and a statement an action: everybody may do this one anyway.
            body[statement.index] = {**statement.body, "Action": kept or ["sts:GetCallerIdentity"]}

        def put(policy: tuple[str, str], document: dict[str, Any]) -> None:
            iam.put_role_policy(RoleName=policy[0], PolicyName=policy[1], PolicyDocument=json.dumps(document))

        for policy, body in changed.items():
            put(policy, {**before[policy], "Statement": body})
        try:
            yield
        finally:
            for policy, document in before.items():
                put(policy, document)

    return take


@pytest.fixture(scope="module")
def run_without(workflow: Workflow, without: Without) -> RunWithout:
    """Run a session of a detail without some actions; returns its execution and its record."""

    def run(detail: object, *grants: tuple[str, str]) -> tuple[Any, Session]:
        with without(*grants):
            execution, session = workflow.run(detail=detail)
        assert session is not None
        return execution, session

    return run


def test_table_has_exactly_the_grants_of_the_template(statements: dict[str, Statement]) -> None:
    granted = {(sid, action) for sid, item in statements.items() if sid for action in item.actions}
    # Not at the top: CDK starts Node, and every test process imports this module.
    from infra.roles import declared_actions

    others = set(declared_actions()) - set(READ_ACTIONS)  # of other packages that lie in src/
    ours = {(sid, action) for sid, action in granted if not (sid.startswith("AgentReads") and action in others)}
    assert ours == set(GRANTS)


def allowed(stack: LocalStack, statement: Statement, action: str) -> set[str]:
    iam, resources = stack.client("iam"), statement.body["Resource"]
    role = iam.get_role(RoleName=statement.role)["Role"]["Arn"]
    arns = [resources] if isinstance(resources, str) else resources
    answer = iam.simulate_principal_policy(PolicySourceArn=role, ActionNames=[action], ResourceArns=arns)
    return {result["EvalDecision"] for result in answer["EvaluationResults"]}


@pytest.mark.criterion("6.2")
@pytest.mark.parametrize(("sid", "action"), grants(Simulated))
def test_without_the_grant_iam_denies(
    stack: LocalStack, statements: dict[str, Statement], without: Without, sid: str, action: str
) -> None:
    assert allowed(stack, statements[sid], action) == {"allowed"}
    with without((sid, action)):
        assert allowed(stack, statements[sid], action) == {"implicitDeny"}


def test_without_the_grant_no_inference_profile_leads_to_a_model(
    stack: LocalStack, statements: dict[str, Statement], without: Without
) -> None:
    role = statements["AgentModelBehindProfile"].role
    behind = (stack.client("iam"), role, f"{MODELS}/anthropic.any", f"{PROFILES}/{SCRIPTED_MODEL}")
    assert reaches(*behind)
    with without(("AgentModelBehindProfile", "bedrock:InvokeModel")):
        assert not reaches(*behind)


@pytest.mark.criterion("6.2", "3.6", "4.2", "4.4")
@pytest.mark.parametrize(("sid", "action"), grants(Failed))
def test_without_the_grant_a_session_fails_and_says_why(run_without: RunWithout, sid: str, action: str) -> None:
    effect = GRANTS[sid, action]
    assert isinstance(effect, Failed)
    execution, session = run_without(effect.detail, (sid, action))
    assert (execution["status"], execution["error"]) == ("FAILED", effect.code)
    assert session.status == Status.FAILED
    assert session.error is not None
    assert session.error.code == effect.code
    assert (effect.message or action) in session.error.message


PRICES = "AgentReadsPricing", "pricing:GetProducts"


@pytest.mark.parametrize("analysis", [1, 2, 3, 4])
def test_without_the_grants_the_report_says_what_was_denied(
    deployment: Deployment, run_without: RunWithout, analysis: int
) -> None:
    gaps = [grant for grant, effect in GRANTS.items() if effect == Gap(analysis)]
    execution, session = run_without(EVERYTHING, *gaps, PRICES)
    assert execution["status"] == "SUCCEEDED"
    report = deployment.artifacts(session.session_id).read("report.md")
    skipped = report.partition("## Skipped items")[2]
    for _, action in gaps:
        assert f"{action.partition(':')[2]}: access denied" in skipped
    # It names the price table.
    assert "the Price List API could not be read: access denied" in report


def test_with_every_grant_an_agent_may_read_its_artifacts(workflow: Workflow) -> None:
    execution, _ = workflow.run(detail=READS)
    assert execution["status"] == "SUCCEEDED"


def test_without_workflow_start_the_event_is_in_the_dead_letter_queue(
    stack: LocalStack, workflow: Workflow, deployment: Deployment, without: Without
) -> None:
    event = {"Source": EVENT_SOURCE, "DetailType": EVENT_DETAIL_TYPE, "Detail": json.dumps(HELLO)}
    with without(("TriggerWorkflowStart", "states:StartExecution")):
        event_id = stack.client("events").put_events(Entries=[event])["Entries"][0]["EventId"]
        (lost,) = until(deployment.dead_letters)
    assert lost.event_id == event_id
    assert lost.reason.startswith("NO_PERMISSIONS: ")
    assert workflow.session(event_id) is None


@pytest.mark.parametrize("action", ["dynamodb:GetItem", "dynamodb:UpdateItem"])
def test_without_the_line_a_session_starts_anyway(run_without: RunWithout, action: str) -> None:
    assert run_without(HELLO, ("InvokerLine", action))[0]["status"] == "SUCCEEDED"


def test_without_record_updates_the_workflow_polls_and_is_reconciled(workflow: Workflow, without: Without) -> None:
    with without(("WorkflowSessionUpdate", "dynamodb:UpdateItem")):
        session_id, refused = workflow.start(detail=["not an object"])
        completed, _ = workflow.run(detail=HELLO)
        failed = workflow.ended(refused)
    assert completed["status"] == "SUCCEEDED"
    assert "WaitBeforeRetry" in workflow.states(completed["executionArn"])
    cause = f"session {session_id}: detail must be a JSON object, not list"
    assert (failed["status"], failed["error"], failed["cause"]) == ("FAILED", "InvalidDetail", cause)
    closed = until(lambda: (session := workflow.session(session_id)) and session.error)
    assert closed == Failure("WorkflowEnded", f"its workflow ended without it: FAILED, InvalidDetail: {cause}")


def test_without_stop_agent_the_session_ends_the_same_way(workflow: Workflow, run_without: RunWithout) -> None:
    execution, _ = run_without(HELLO, ("WorkflowAgentStop", "bedrock-agentcore:StopRuntimeSession"))
    assert execution["status"] == "SUCCEEDED"
    history = workflow.sfn.get_execution_history(executionArn=execution["executionArn"], reverseOrder=True)
    (denied,) = [event["taskFailedEventDetails"] for event in history["events"] if event["type"] == "TaskFailed"]
    assert denied["error"] == "BedrockAgentCore.AccessDeniedException"
    assert "bedrock-agentcore:StopRuntimeSession" in denied["cause"]


def test_without_wakeup_the_workflow_sees_the_end_after_its_timeout(
    stack: LocalStack, workflow: Workflow, run_without: RunWithout
) -> None:
    execution, session = run_without(HELLO, ("AgentWorkflowWake", "states:SendTaskSuccess"))
    assert execution["status"] == "SUCCEEDED"
    assert session.status == Status.COMPLETED
    history = workflow.sfn.get_execution_history(executionArn=execution["executionArn"])
    assert "States.Timeout" in json.dumps(history["events"], default=str)
    assert "the workflow was not woken: An error occurred (AccessDenied" in stack.agent_log.read_text()


def test_without_record_updates_the_agent_does_nothing_and_is_lost(
    stack: LocalStack, deployment: Deployment, run_without: RunWithout
) -> None:
    execution, session = run_without(HELLO, ("AgentJournalUpdate", "dynamodb:UpdateItem"))
    assert (execution["status"], execution["error"]) == ("FAILED", "AgentLost")
    assert session.error == Failure("AgentLost", "the agent sent no heartbeat after it was invoked")
    assert "not authorized to perform: dynamodb:UpdateItem" in stack.agent_log.read_text()
    assert not deployment.artifacts(session.session_id).exists("report.md")


@pytest.fixture
def abandoned(stack: LocalStack, workflow: Workflow) -> Iterator[Abandoned]:
    """A session whose workflow was aborted while its agent worked, and the event about it, which no rule delivered."""
    events = stack.client("events")
    (rule,) = [rule["Name"] for rule in events.list_rules()["Rules"] if "aws.states" in rule.get("EventPattern", "")]
    session_id, arn = workflow.start(detail=WAITS)
    until(lambda: (session := workflow.session(session_id)) and session.status == Status.BUSY)
    events.disable_rule(Name=rule)
    try:
        workflow.sfn.stop_execution(executionArn=arn)
        detail = {"executionArn": arn, "status": "ABORTED", "input": json.dumps({"session_id": session_id})}
        yield session_id, {"detail": detail}
    finally:
        events.enable_rule(Name=rule)
        let_go(workflow.table, session_id)


@pytest.mark.parametrize(("sid", "action"), grants(Unclosed))
def test_without_the_grant_the_reconciler_fails_and_says_why(
    stack: LocalStack, workflow: Workflow, without: Without, abandoned: Abandoned, sid: str, action: str
) -> None:
    session_id, event = abandoned
    with without((sid, action)):
        assert action in reconcile(stack, event)["errorMessage"]
    session = workflow.session(session_id)
    assert session is not None
    assert session.status == Status.BUSY
    assert reconcile(stack, event) == {"closed": [session_id]}


@pytest.mark.parametrize(
    ("sid", "action"),
    [("ReconcilerSessionsList", "dynamodb:Query"), ("ReconcilerExecutionsList", "states:ListExecutions")],
)
def test_without_the_grant_only_sessions_of_events_are_closed(
    stack: LocalStack, workflow: Workflow, without: Without, abandoned: Abandoned, sid: str, action: str
) -> None:
    session_id, event = abandoned
    # A sweep skips sessions that have just begun.
    workflow.table.update_item(
        Key=workflow.key(session_id),
        UpdateExpression="SET start_time = :then",
        ExpressionAttributeValues={":then": "2026-01-01T00:00:00.000Z"},
    )
    with without((sid, action)):
        assert action in reconcile(stack, {})["errorMessage"]
        assert reconcile(stack, event) == {"closed": [session_id]}


@pytest.mark.parametrize("granted", [True, False])
def test_without_stop_agent_the_reconciler_closes_but_stops_no_agent(
    stack: LocalStack, without: Without, abandoned: Abandoned, granted: bool
) -> None:
    session_id, event = abandoned
    stop = "ReconcilerAgentStop", "bedrock-agentcore:StopRuntimeSession"
    with nullcontext() if granted else without(stop):
        assert reconcile(stack, event) == {"closed": [session_id]}
    # An agent that has seen the end at a heartbeat is gone before it is stopped: 404.
    stops = (stack.agent_log.parent / STOPS).read_text().splitlines()
    (status,) = [line.split()[1] for line in stops if line.startswith(session_id)]
    assert status in (("200", "404") if granted else ("403",))

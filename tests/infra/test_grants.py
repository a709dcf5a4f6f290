"""Who may do what: the whole of it, so that no grant is added or widened unnoticed."""

from typing import Any, NamedTuple

import pytest

from tests.infra.template import Template
from vigil.costs import READ_ACTIONS


class Grant(NamedTuple):
    """One Allow statement of a role."""

    actions: list[str]
    resources: list[str]
    condition: dict[str, Any] | None = None


AGENT_LOGS = "arn:<AWS::Partition>:logs:<AWS::Region>:<AWS::AccountId>:log-group:/aws/bedrock-agentcore/runtimes/*"
RUNTIME = "<<AgentRuntime.AgentRuntimeArn> or <AgentRuntimeArn>>"
STOP = Grant(["bedrock-agentcore:StopRuntimeSession"], [RUNTIME, f"{RUNTIME}/runtime-endpoint/*"])
EXECUTIONS = "arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:<AgentWorkflow.Name>:*"

ARTIFACTS = ["<Artifacts.Arn>/sessions/*", "<Artifacts.Arn>/history/*"]

GRANTS = {
    "AgentRole": {
        "AgentJournalRead": Grant(["dynamodb:GetItem"], ["<Sessions.Arn>"]),
        "AgentJournalUpdate": Grant(["dynamodb:UpdateItem"], ["<Sessions.Arn>"]),
        "AgentJournalTask": Grant(["dynamodb:PutItem"], ["<Sessions.Arn>"]),
        "AgentArtifactWrite": Grant(["s3:PutObject"], ARTIFACTS),
        "AgentArtifactRead": Grant(["s3:GetObject"], ARTIFACTS),
        "AgentArtifactList": Grant(
            ["s3:ListBucket"], ["<Artifacts.Arn>"], {"StringLike": {"s3:prefix": ["sessions/*", "history/*"]}}
        ),
        "AgentModelInvoke": Grant(
            ["bedrock:InvokeModel"],
            [
                "arn:<AWS::Partition>:bedrock:*::foundation-model/*",
                "arn:<AWS::Partition>:bedrock:*:<AWS::AccountId>:inference-profile/*",
            ],
        ),
        "AgentReadFunctions": Grant(
            [
                "lambda:ListFunctions",
                "lambda:ListProvisionedConcurrencyConfigs",
                "lambda:GetFunctionRecursionConfig",
                "lambda:ListEventSourceMappings",
                "lambda:GetPolicy",
            ],
            ["*"],
        ),
        "AgentReadMetrics": Grant(["cloudwatch:GetMetricData"], ["*"]),
        "AgentReadLogs": Grant(
            [
                "logs:DescribeLogGroups",
                "logs:FilterLogEvents",
                "logs:StartQuery",
                "logs:GetQueryResults",
                "logs:StopQuery",
            ],
            ["*"],
        ),
        "AgentReadPrices": Grant(["pricing:GetProducts"], ["*"]),
        "AgentReadRecommendations": Grant(
            ["compute-optimizer:GetEnrollmentStatus", "compute-optimizer:GetLambdaFunctionRecommendations"], ["*"]
        ),
        "AgentOwnLogGroup": Grant(["logs:CreateLogGroup", "logs:DescribeLogStreams"], [AGENT_LOGS]),
        "AgentOwnLogs": Grant(["logs:CreateLogStream", "logs:PutLogEvents"], [f"{AGENT_LOGS}:log-stream:*"]),
        "AgentWorkflowWake": Grant(["states:SendTaskSuccess"], ["<AgentWorkflow>"]),
    },
    "AgentInvokerRole": {
        "InvokerLogsWrite": Grant(["logs:CreateLogStream", "logs:PutLogEvents"], ["<AgentInvokerLogs.Arn>"]),
        "InvokerAgentInvoke": Grant(
            ["bedrock-agentcore:InvokeAgentRuntime"], [RUNTIME, f"{RUNTIME}/runtime-endpoint/*"]
        ),
    },
    "AgentWorkflowRole": {
        "WorkflowSessionCreate": Grant(["dynamodb:PutItem"], ["<Sessions.Arn>"]),
        "WorkflowSessionRead": Grant(["dynamodb:GetItem"], ["<Sessions.Arn>"]),
        "WorkflowSessionUpdate": Grant(["dynamodb:UpdateItem"], ["<Sessions.Arn>"]),
        "WorkflowAgentInvoke": Grant(["lambda:InvokeFunction"], ["<AgentInvoker.Arn>"]),
        "WorkflowAgentStop": STOP,
        # CDK grants these two, without a Sid; neither log delivery nor X-Ray knows resources.
        "logs": Grant(
            [
                "logs:CreateLogDelivery",
                "logs:GetLogDelivery",
                "logs:UpdateLogDelivery",
                "logs:DeleteLogDelivery",
                "logs:ListLogDeliveries",
                "logs:PutResourcePolicy",
                "logs:DescribeResourcePolicies",
                "logs:DescribeLogGroups",
            ],
            ["*"],
        ),
        "xray": Grant(
            [
                "xray:PutTraceSegments",
                "xray:PutTelemetryRecords",
                "xray:GetSamplingRules",
                "xray:GetSamplingTargets",
            ],
            ["*"],
        ),
    },
    "ReconcilerReconcilerRole": {
        "ReconcilerSessionsList": Grant(["dynamodb:Query"], ["<Sessions.Arn>/index/sessions-by-status"]),
        "ReconcilerSessionClose": Grant(["dynamodb:UpdateItem"], ["<Sessions.Arn>"]),
        "ReconcilerExecutionRead": Grant(["states:DescribeExecution"], [EXECUTIONS]),
        "ReconcilerAgentStop": STOP,
        "ReconcilerLogsWrite": Grant(["logs:CreateLogStream", "logs:PutLogEvents"], ["<ReconcilerReconcilerLogs.Arn>"]),
    },
    "TriggerRole": {"TriggerWorkflowStart": Grant(["states:StartExecution"], ["<AgentWorkflow>"])},
}

TRUST = {
    "AgentRole": (
        "bedrock-agentcore.amazonaws.com",
        {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
    ),
    "AgentInvokerRole": ("lambda.amazonaws.com", None),
    "AgentWorkflowRole": ("states.amazonaws.com", None),
    "ReconcilerReconcilerRole": ("lambda.amazonaws.com", None),
    "TriggerRole": ("events.amazonaws.com", None),
}

TLS_ONLY = {"Bool": {"aws:SecureTransport": "false"}}


def granted(template: Template) -> dict[str, dict[str, Grant]]:
    """Return what the template grants its roles: role -> Sid, or service without one -> Grant."""
    roles: dict[str, dict[str, Grant]] = {}
    for policy in template.of_type("AWS::IAM::Policy").values():
        (role,) = (template.text(role).strip("<>") for role in policy["Properties"]["Roles"])
        for statement in template.statements(policy["Properties"]["PolicyDocument"]):
            assert statement.pop("Effect") == "Allow"
            grant = Grant(statement.pop("Action"), statement.pop("Resource"), statement.pop("Condition", None))
            sid = statement.pop("Sid", grant.actions[0].split(":")[0])
            assert not statement
            assert sid not in roles.setdefault(role, {})
            roles[role][sid] = grant
    return roles


@pytest.mark.criterion("6.2")
def test_the_roles_may_do_exactly_this(template: Template) -> None:
    assert granted(template) == GRANTS


def test_grants_stand_nowhere_else(template: Template) -> None:
    kinds = {
        kind for kind in (r["Type"] for r in template.resources.values()) if "Polic" in kind or "Permission" in kind
    }
    assert kinds == {
        *("AWS::IAM::Policy", "AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::Lambda::Permission"),
    }
    roles = template.of_type("AWS::IAM::Role")
    assert {name: set(role["Properties"]) for name, role in roles.items()} == {
        name: {"AssumeRolePolicyDocument"} for name in GRANTS
    }


def test_each_role_trusts_the_one_service_that_takes_it(template: Template) -> None:
    found = {}
    for name, role in template.of_type("AWS::IAM::Role").items():
        (statement,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert (statement["Effect"], statement["Action"]) == ("Allow", "sts:AssumeRole")
        ((kind, service),) = statement["Principal"].items()
        assert kind == "Service"
        found[name] = (service, statement.get("Condition"))
    assert found == TRUST


def test_no_action_is_a_wildcard(template: Template) -> None:
    assert not [
        action
        for grants in granted(template).values()
        for grant in grants.values()
        for action in grant.actions
        if "*" in action
    ]


def test_only_calls_that_read_or_know_no_resource_go_to_every_resource(template: Template) -> None:
    unlimited = {
        role: {action for grant in grants.values() if "*" in grant.resources for action in grant.actions}
        for role, grants in granted(template).items()
    }
    by_cdk = {*GRANTS["AgentWorkflowRole"]["logs"].actions, *GRANTS["AgentWorkflowRole"]["xray"].actions}
    assert unlimited == {
        "AgentRole": set(READ_ACTIONS),
        "AgentInvokerRole": set(),
        "AgentWorkflowRole": by_cdk,
        "ReconcilerReconcilerRole": set(),
        "TriggerRole": set(),
    }
    queries = {"logs:StartQuery", "logs:StopQuery"}
    reads = ("List", "Get", "Describe", "Filter")
    assert all(action.split(":")[1].startswith(reads) for action in {*READ_ACTIONS} - queries)


def test_by_a_functions_own_policy_two_rules_may_call_the_reconciler_and_nobody_else_anything(
    template: Template,
) -> None:
    granted = [
        {name: template.text(value) for name, value in permission["Properties"].items()}
        for permission in template.of_type("AWS::Lambda::Permission").values()
    ]
    assert sorted(granted, key=lambda permission: permission["SourceArn"]) == [
        {
            "Action": "lambda:InvokeFunction",
            "FunctionName": "<Reconciler.Arn>",
            "Principal": "events.amazonaws.com",
            "SourceArn": f"<{rule}.Arn>",
        }
        for rule in ("ReconcilerEnded", "ReconcilerSchedule")
    ]


def test_bucket_and_queue_are_reached_by_tls_only(template: Template) -> None:
    bucket = template.only("AWS::S3::BucketPolicy")
    assert template.statements(bucket["PolicyDocument"]) == [
        {
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Action": ["s3:*"],
            "Resource": ["<Artifacts.Arn>", "<Artifacts.Arn>/*"],
            "Condition": TLS_ONLY,
        }
    ]
    queue = template.only("AWS::SQS::QueuePolicy")
    deny, allow = template.statements(queue["PolicyDocument"])
    assert deny == {
        "Effect": "Deny",
        "Principal": {"AWS": "*"},
        "Action": ["sqs:*"],
        "Resource": ["<TriggerDeadLetters.Arn>"],
        "Condition": TLS_ONLY,
    }
    # And the rule alone may put an event into the queue.
    assert (allow["Effect"], allow["Principal"]) == ("Allow", {"Service": "events.amazonaws.com"})
    assert (allow["Action"], allow["Resource"]) == (["sqs:SendMessage"], ["<TriggerDeadLetters.Arn>"])
    assert template.text(allow["Condition"]["ArnEquals"]["aws:SourceArn"]) == "<TriggerRule.Arn>"

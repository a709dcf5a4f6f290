"""Who may do what: the whole of it, so that no grant is added or widened unnoticed."""

import json
import uuid
from typing import Any, NamedTuple

import pytest

from tests.infra.template import Template
from vigil.local.stack import LocalStack


def declared() -> list[str]:
    """Return the actions that packages of agents declare."""
    # Not at the top: CDK starts Node, and every test process imports this module.
    from infra.roles import declared_actions

    return declared_actions()


class Grant(NamedTuple):
    """One Allow statement of a role."""

    actions: list[str]
    resources: list[str]
    condition: dict[str, Any] | None = None


HERE = "<AWS::Region>:<AWS::AccountId>"
AGENT_LOGS = f"arn:<AWS::Partition>:logs:{HERE}:log-group:/aws/bedrock-agentcore/runtimes/VigilAgentRuntimeA4BEDBC4-*"
MODEL = "<part 1 of <ModelId>/<ModelId> at />"
BEDROCK = "arn:<AWS::Partition>:bedrock"
PROFILES = [f"{BEDROCK}:{HERE}:{kind}/{MODEL}" for kind in ("inference-profile", "application-inference-profile")]
FOUNDATION_MODEL = f"{BEDROCK}:<AWS::Region>::foundation-model/{MODEL}"
ANY_MODEL = [f"{BEDROCK}:*::foundation-model/*", f"{BEDROCK}:*:<AWS::AccountId>:inference-profile/*"]
BEHIND_PROFILE = {"ArnEquals": {"bedrock:InferenceProfileArn": PROFILES}}
RUNTIME = "<<AgentRuntime.AgentRuntimeArn> or <AgentRuntimeArn>>"
RUNTIME_AND_ENDPOINTS = [RUNTIME, f"{RUNTIME}/runtime-endpoint/*"]
STOP = Grant(["bedrock-agentcore:StopRuntimeSession"], RUNTIME_AND_ENDPOINTS)
EXECUTIONS = "arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:<AgentWorkflow.Name>:*"

TABLE = ["<Sessions.Arn>"]
ARTIFACTS = ["<Artifacts.Arn>/sessions/*"]
CHECKPOINTS = ["<Artifacts.Arn>/checkpoints/*"]
LINE = {"dynamodb:LeadingKeys": ["LINE"]}
ONLY_THE_LINE = {"ForAllValues:StringEquals": LINE, "Null": {"dynamodb:LeadingKeys": "false"}}
LOG_DELIVERY = (
    *("CreateLogDelivery", "GetLogDelivery", "UpdateLogDelivery", "DeleteLogDelivery", "ListLogDeliveries"),
    *("PutResourcePolicy", "DescribeResourcePolicies", "DescribeLogGroups"),
)
TRACING = ("PutTraceSegments", "PutTelemetryRecords", "GetSamplingRules", "GetSamplingTargets")
READ_STREAM = ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")
READ_QUEUE = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")

GRANTS = {
    "AgentRole": {
        "AgentJournalRead": Grant(["dynamodb:GetItem"], TABLE),
        "AgentJournalUpdate": Grant(["dynamodb:UpdateItem"], TABLE),
        "AgentJournalItem": Grant(["dynamodb:PutItem"], TABLE),
        "AgentJournalCheck": Grant(["dynamodb:ConditionCheckItem"], TABLE),
        "AgentHistoryRead": Grant(["dynamodb:Query"], TABLE),
        "AgentArtifactWrite": Grant(["s3:PutObject"], [*ARTIFACTS, *CHECKPOINTS]),
        "AgentArtifactRead": Grant(["s3:GetObject"], [*ARTIFACTS, *CHECKPOINTS]),
        "AgentModelInvoke": Grant(["bedrock:InvokeModel"], [FOUNDATION_MODEL, *PROFILES]),
        "AgentModelBehindProfile": Grant(["bedrock:InvokeModel"], ANY_MODEL, BEHIND_PROFILE),
        "AgentOwnLogGroup": Grant(["logs:CreateLogGroup", "logs:DescribeLogStreams"], [AGENT_LOGS]),
        "AgentOwnLogs": Grant(["logs:CreateLogStream", "logs:PutLogEvents"], [f"{AGENT_LOGS}:log-stream:*"]),
        "AgentWorkflowWake": Grant(["states:SendTaskSuccess"], ["<AgentWorkflow>"]),
    },
    "AgentInvokerRole": {
        "InvokerLogsWrite": Grant(["logs:CreateLogStream", "logs:PutLogEvents"], ["<AgentInvokerLogs.Arn>"]),
        "InvokerAgentInvoke": Grant(["bedrock-agentcore:InvokeAgentRuntime"], RUNTIME_AND_ENDPOINTS),
        # The one item that says who comes next.
        "InvokerLine": Grant(["dynamodb:GetItem", "dynamodb:UpdateItem"], TABLE, ONLY_THE_LINE),
    },
    "AgentWorkflowRole": {
        "WorkflowSessionCreate": Grant(["dynamodb:PutItem"], TABLE),
        "WorkflowSessionRead": Grant(["dynamodb:GetItem"], TABLE),
        "WorkflowSessionUpdate": Grant(["dynamodb:UpdateItem"], TABLE),
        "WorkflowAgentInvoke": Grant(["lambda:InvokeFunction"], ["<AgentInvoker.Arn>"]),
        "WorkflowAgentStop": STOP,
        # CDK grants these two, without a Sid; neither log delivery nor X-Ray knows resources.
        "logs": Grant([f"logs:{name}" for name in LOG_DELIVERY], ["*"]),
        "xray": Grant([f"xray:{name}" for name in TRACING], ["*"]),
    },
    "ReconcilerReconcilerRole": {
        "ReconcilerSessionsList": Grant(["dynamodb:Query"], ["<Sessions.Arn>/index/sessions-by-status"]),
        "ReconcilerSessionRead": Grant(["dynamodb:GetItem"], TABLE),
        "ReconcilerSessionClose": Grant(["dynamodb:UpdateItem"], TABLE),
        "ReconcilerExecutionsList": Grant(["states:ListExecutions"], ["<AgentWorkflow>"]),
        "ReconcilerExecutionRead": Grant(["states:DescribeExecution"], [EXECUTIONS]),
        "ReconcilerQueueRead": Grant([f"sqs:{name}" for name in READ_QUEUE], ["<ReconcilerQueue.Arn>"]),
        "ReconcilerAgentStop": STOP,
        "ReconcilerLogsWrite": Grant(["logs:CreateLogStream", "logs:PutLogEvents"], ["<ReconcilerReconcilerLogs.Arn>"]),
    },
    "TriggerRole": {"TriggerWorkflowStart": Grant(["states:StartExecution"], ["<AgentWorkflow>"])},
    "NotificationsNotifierRole": {
        "NotifierMarkRead": Grant(["dynamodb:GetItem"], TABLE),
        "NotifierMark": Grant(["dynamodb:PutItem"], TABLE),
        "NotifierPublish": Grant(["sns:Publish"], ["<NotificationsTopic>"]),
        "NotifierDeadLetters": Grant(
            ["sqs:ReceiveMessage", "sqs:ChangeMessageVisibility"], ["<TriggerDeadLetters.Arn>"]
        ),
        "NotifierStreamRead": Grant([f"dynamodb:{name}" for name in READ_STREAM], ["<Sessions.StreamArn>"]),
        "NotifierLogsWrite": Grant(["logs:CreateLogStream", "logs:PutLogEvents"], ["<NotificationsNotifierLogs.Arn>"]),
    },
    "ScheduledRole": {
        "ScheduleEventPut": Grant(
            ["events:PutEvents"],
            [f"arn:<AWS::Partition>:events:{HERE}:event-bus/default"],
            {"StringEquals": {"events:source": "vigil", "events:detail-type": "Run Agent"}},
        ),
        "ScheduleDeadLetter": Grant(["sqs:SendMessage"], ["<TriggerDeadLetters.Arn>"]),
    },
}

TRUST = {
    "AgentRole": ("bedrock-agentcore.amazonaws.com", f"arn:<AWS::Partition>:bedrock-agentcore:{HERE}:*"),
    # Lambda tells no source when it assumes the role of a function.
    "AgentInvokerRole": ("lambda.amazonaws.com", None),
    "AgentWorkflowRole": ("states.amazonaws.com", f"arn:<AWS::Partition>:states:{HERE}:stateMachine:*"),
    "ReconcilerReconcilerRole": ("lambda.amazonaws.com", None),
    "TriggerRole": ("events.amazonaws.com", f"arn:<AWS::Partition>:events:{HERE}:rule/Vigil-*"),
    "NotificationsNotifierRole": ("lambda.amazonaws.com", None),
    "ScheduledRole": ("scheduler.amazonaws.com", f"arn:<AWS::Partition>:scheduler:{HERE}:schedule-group/default"),
}


def granted(template: Template) -> dict[str, dict[str, Grant]]:
    """Return what the template grants its roles: role -> Sid, or service without one -> Grant."""
    roles: dict[str, dict[str, Grant]] = {}
    for policy in template.of_type("AWS::IAM::Policy").values():
        (role,) = (template.text(role).strip("<>") for role in policy["Properties"]["Roles"])
        for statement in template.statements(policy["Properties"]["PolicyDocument"]):
            assert statement.pop("Effect") == "Allow"
            condition = template.texts(statement.pop("Condition", None))
            grant = Grant(statement.pop("Action"), statement.pop("Resource"), condition)
            sid = statement.pop("Sid", grant.actions[0].split(":")[0])
            assert not statement
            assert sid not in roles.setdefault(role, {})
            roles[role][sid] = grant
    return roles


@pytest.mark.criterion("6.2")
def test_the_roles_may_do_exactly_this(template: Template) -> None:
    found = granted(template)
    reads = {sid: found["AgentRole"].pop(sid) for sid in list(found["AgentRole"]) if sid.startswith("AgentReads")}
    assert found == GRANTS
    # What the packages of agents declare, and no more.
    assert sorted(action for grant in reads.values() for action in grant.actions) == sorted(declared())
    assert all((grant.resources, grant.condition) == (["*"], None) for grant in reads.values())


def test_grants_stand_nowhere_else(template: Template) -> None:
    kinds = {resource["Type"] for resource in template.resources.values()}
    granting = {kind for kind in kinds if "Polic" in kind or "Permission" in kind}
    of_resources = {"AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"}
    assert granting == {"AWS::IAM::Policy", "AWS::Lambda::Permission", *of_resources}
    roles = {name: set(role["Properties"]) for name, role in template.of_type("AWS::IAM::Role").items()}
    assert roles == {name: {"AssumeRolePolicyDocument"} for name in GRANTS}


def test_each_role_trusts_one_service_on_behalf_of_this_account(template: Template) -> None:
    found = {}
    for name, role in template.of_type("AWS::IAM::Role").items():
        (statement,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert (statement["Effect"], statement["Action"]) == ("Allow", "sts:AssumeRole")
        ((kind, service),) = statement["Principal"].items()
        assert kind == "Service"
        condition = template.texts(statement.get("Condition"))
        source = condition["ArnLike"]["aws:SourceArn"] if condition else None
        found[name] = (service, source)
        account = {"StringEquals": {"aws:SourceAccount": "<AWS::AccountId>"}}
        assert condition == (account | {"ArnLike": {"aws:SourceArn": source}} if source else None)
    assert found == TRUST


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("global.anthropic.claude-sonnet-4-6", "global.anthropic.claude-sonnet-4-6"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "anthropic.claude-3-haiku-20240307-v1:0"),
        ("arn:aws:bedrock:us-east-1:000000000000:inference-profile/us.amazon.nova-pro-v1:0", "us.amazon.nova-pro-v1:0"),
        ("arn:aws:bedrock:us-east-1:000000000000:application-inference-profile/abc", "abc"),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
    ],
)
def test_only_the_model_of_the_parameter_is_allowed_as_id_or_arn(
    template: Template, embedded: LocalStack, model: str, name: str
) -> None:
    """CloudFormation fills the resources in."""
    documents = [policy["Properties"]["PolicyDocument"] for policy in template.of_type("AWS::IAM::Policy").values()]
    statements = [statement for document in documents for statement in document["Statement"]]
    (resources,) = (item["Resource"] for item in statements if item.get("Sid") == "AgentModelInvoke")
    outputs = {f"O{index}": {"Value": value} for index, value in enumerate(resources)}
    parameters = {"ModelId": template.body["Parameters"]["ModelId"]}
    body = {"Parameters": parameters, "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}, "Outputs": outputs}
    cloudformation, stack = embedded.client("cloudformation"), f"s{uuid.uuid4().hex}"
    given = [{"ParameterKey": "ModelId", "ParameterValue": model}]
    cloudformation.create_stack(StackName=stack, TemplateBody=json.dumps(body), Parameters=given)
    cloudformation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    (found,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    assert sorted(output["OutputValue"] for output in found["Outputs"]) == [
        f"arn:aws:bedrock:us-east-1:000000000000:application-inference-profile/{name}",
        f"arn:aws:bedrock:us-east-1:000000000000:inference-profile/{name}",
        f"arn:aws:bedrock:us-east-1::foundation-model/{name}",
    ]


def test_agents_role_writes_only_the_logs_of_its_runtime(template: Template) -> None:
    name = template.only("AWS::BedrockAgentCore::Runtime")["AgentRuntimeName"]
    assert AGENT_LOGS.endswith(f"/{name}-*")


def test_no_action_is_a_wildcard(template: Template) -> None:
    grants = [grant for found in granted(template).values() for grant in found.values()]
    assert not [action for grant in grants for action in grant.actions if "*" in action]


def test_only_reads_and_calls_without_resources_are_granted_on_all(template: Template) -> None:
    unlimited = {
        role: {action for grant in grants.values() if "*" in grant.resources for action in grant.actions}
        for role, grants in granted(template).items()
    }
    by_cdk = {*GRANTS["AgentWorkflowRole"]["logs"].actions, *GRANTS["AgentWorkflowRole"]["xray"].actions}
    none = {role: set[str]() for role in GRANTS.keys() - {"AgentRole", "AgentWorkflowRole"}}
    assert unlimited == {"AgentRole": set(declared()), "AgentWorkflowRole": by_cdk, **none}


def test_only_alarms_of_this_account_publish_to_the_topic_by_its_policy(template: Template) -> None:
    deny, alarms = template.statements(template.only("AWS::SNS::TopicPolicy")["PolicyDocument"])
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert (deny["Effect"], deny["Principal"], deny["Resource"]) == ("Deny", "*", ["<NotificationsTopic>"])
    assert (alarms["Effect"], alarms["Principal"]) == ("Allow", {"Service": "cloudwatch.amazonaws.com"})
    assert (alarms["Action"], alarms["Resource"]) == (["sns:Publish"], ["<NotificationsTopic>"])
    assert template.texts(alarms["Condition"]) == {
        "StringEquals": {"aws:SourceAccount": "<AWS::AccountId>"},
        "ArnLike": {"aws:SourceArn": f"arn:<AWS::Partition>:cloudwatch:{HERE}:alarm:*"},
    }


def test_only_its_rule_calls_the_notifier_from_outside(template: Template) -> None:
    permission = template.only("AWS::Lambda::Permission")
    assert permission["Action"] == "lambda:InvokeFunction"
    assert permission["Principal"] == "events.amazonaws.com"
    assert template.text(permission["FunctionName"]) == "<NotificationsNotifier.Arn>"
    assert template.text(permission["SourceArn"]) == "<NotificationsLook.Arn>"


def test_bucket_and_queues_are_reached_by_tls_only(template: Template) -> None:
    deny = {"Effect": "Deny", "Principal": {"AWS": "*"}, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    assert template.statements(template.only("AWS::S3::BucketPolicy")["PolicyDocument"]) == [
        {**deny, "Action": ["s3:*"], "Resource": ["<Artifacts.Arn>", "<Artifacts.Arn>/*"]}
    ]
    senders = {"TriggerDeadLetters": ["TriggerRule"], "ReconcilerQueue": ["ReconcilerEnded", "ReconcilerSchedule"]}
    for queue, rules in senders.items():
        first, *allows = template.statements(template.named(f"{queue}Policy")["PolicyDocument"])
        assert first == {**deny, "Action": ["sqs:*"], "Resource": [f"<{queue}.Arn>"]}
        # And the rules alone may put an event into the queue.
        for allow in allows:
            assert (allow["Effect"], allow["Principal"]) == ("Allow", {"Service": "events.amazonaws.com"})
            # CDK grants a target's rule two that read no message.
            assert {*allow["Action"]} - {"sqs:GetQueueAttributes", "sqs:GetQueueUrl"} == {"sqs:SendMessage"}
            assert allow["Resource"] == [f"<{queue}.Arn>"]
        sources = [template.text(allow["Condition"]["ArnEquals"]["aws:SourceArn"]) for allow in allows]
        assert sources == [f"<{rule}.Arn>" for rule in rules]

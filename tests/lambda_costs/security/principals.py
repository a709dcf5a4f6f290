"""Which role may make which call: every action that a role holds, the same on other resources, and harmful actions."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from operator import attrgetter
from typing import Any

import boto3
import botocore.session
from botocore import xform_name
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import ClientError
from ministack.core import iam_evaluator

from vigil.agent.models import SCRIPTED_MODEL
from vigil.line import LINE
from vigil.local.stack import REGION, LocalStack
from vigil.names import INDEX_BY_START, INDEX_BY_STATUS, Output

RULE, WORKFLOW, INVOKER, RECONCILER, AGENT, SCHEDULE, NOTIFIER = ROLES = (
    *("Rule", "Workflow", "Invoker", "Reconciler", "Agent", "Schedule", "Notifier"),
)
DENIED = {"AccessDenied", "AccessDeniedException", "AuthorizationError"}
_LOGICAL_IDS = {
    **{RULE: "TriggerRole", WORKFLOW: "AgentWorkflowRole", INVOKER: "AgentInvokerRole"},
    **{RECONCILER: "ReconcilerReconcilerRole", AGENT: "AgentRole", SCHEDULE: "ScheduledRole"},
    NOTIFIER: "NotificationsNotifierRole",
}
_LOG_GROUPS = {
    **{INVOKER: "AgentInvokerLogs", RECONCILER: "ReconcilerReconcilerLogs", NOTIFIER: "NotificationsNotifierLogs"},
}


class World:
    """The resources that the calls name; ``task_token`` returns the token of a workflow that waits."""

    def __init__(self, stack: LocalStack, task_token: Callable[[], str]) -> None:
        self.client = cache(stack.client)
        self.endpoint = stack.endpoint
        self.task_token = task_token
        self._outputs = stack.outputs
        roles = {role["RoleName"]: role["Arn"] for role in self.client("iam").list_roles()["Roles"]}
        self.roles = {role: name for role, found in _LOGICAL_IDS.items() for name in roles if f"-{found}" in name}
        self.arns = {role: roles[name] for role, name in self.roles.items()}
        mappings = self.client("lambda").list_event_source_mappings()["EventSourceMappings"]
        read = [mapping["EventSourceArn"] for mapping in mappings]
        (self.reconciler_queue,) = (arn for arn in read if "-ReconcilerQueue" in arn)
        (self.stream,) = (arn for arn in read if "/stream/" in arn)
        (self.topic,) = (topic["TopicArn"] for topic in self.client("sns").list_topics()["Topics"])
        groups = self.client("logs").describe_log_groups(logGroupNamePrefix="/aws/cloudformation/")["logGroups"]
        self.log_groups = {
            role: group["arn"].removesuffix(":*")
            for role, found in _LOG_GROUPS.items()
            for group in groups
            if found in group["logGroupName"]
        }

    def __getattr__(self, name: str) -> str:
        return self._outputs[Output[name.upper()]]


Call = tuple[str, str, dict[str, Any]]
"""Service, method and arguments of a boto3 client."""

_SERVICES = {"states": "stepfunctions", "bedrock": "bedrock-runtime"}
_METHODS = {
    "dynamodb:ConditionCheckItem": "transact_write_items",
    "dynamodb:PartiQLSelect": "execute_statement",
    "lambda:InvokeFunction": "invoke",
    "bedrock:InvokeModel": "converse",
    "s3:ListBucket": "list_objects_v2",
    "s3:ListBucketVersions": "list_object_versions",
    "s3:ListAllMyBuckets": "list_buckets",
    "s3:GetObjectVersion": "get_object",
    "s3:DeleteObjectVersion": "delete_object",
}
"""The client's service and method, where they are not called as the action's."""


@dataclass(frozen=True)
class Row:
    """One action on one resource, and the roles that may do that."""

    action: str
    on: str
    allowed: tuple[str, ...]
    call: Callable[[World], Call] | None = None
    simulated_on: Callable[[World], str] = lambda world: "*"
    """The resource that IAM's simulator is asked about, if there is no call."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Keys of the request's context, by which a policy allows it."""


def _row(action: str, on: str, allowed: tuple[str, ...], **arguments: Any) -> Row:
    """Return a row; an argument that is a function is called with the World."""
    service, _, operation = action.partition(":")
    method = _METHODS.get(action, xform_name(operation))

    def call(world: World) -> Call:
        values = {name: value(world) if callable(value) else value for name, value in arguments.items()}
        return _SERVICES.get(service, service), method, values

    return Row(action, on, allowed, call)


KEY = {"PK": {"S": "nobody"}, "SK": {"S": "SESSION"}}
LINE_KEY = {"PK": {"S": LINE}, "SK": {"S": LINE}}
NOWHERE: dict[str, Any] = {"ConditionExpression": "attribute_exists(nothing)"}
SESSION_ID = "x" * 40
ACCOUNT = "000000000000"
OTHER_TABLE = {"TableName": "other"}
OTHER_RUNTIME = f"arn:aws:bedrock-agentcore:{REGION}:{ACCOUNT}:runtime/other-abcdefghij"
OTHER_MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:other"
LOG_GROUP = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group"
AGENT_LOGS = "/aws/bedrock-agentcore/runtimes/VigilAgentRuntimeA4BEDBC4-abcdefghij-DEFAULT"
OTHER_AGENT_LOGS = "/aws/bedrock-agentcore/runtimes/other-abcdefghij-DEFAULT"
MODELS = f"arn:aws:bedrock:{REGION}::foundation-model"
PROFILES = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:inference-profile"


def through(profile: str) -> dict[str, str]:
    """Return the key of a request that reaches a model through the inference profile ``profile``."""
    return {"bedrock:inferenceprofilearn": profile}


def reaches(iam: Any, role: str, model: str, profile: str) -> bool:
    """Whether ``role`` may invoke ``model`` through the inference profile ``profile``."""
    return evaluates(iam, role, "bedrock:InvokeModel", model, through(profile))


def evaluates(iam: Any, role: str, action: str, resource: str, keys: Mapping[str, str]) -> bool:
    """Whether ``role`` may do ``action`` on ``resource`` in a request with ``keys`` in its context.

    By the evaluator of the embedded AWS, whose simulator takes no keys of a request's context.
    """
    documents = [
        iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]
    ]
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/test"
    who = {"principal_arn": arn, "principal_type": "AssumedRole", "principal_account": ACCOUNT, "region": REGION}
    asked = {"action": action, "resource_arn": resource}
    context = iam_evaluator.EvalContext(**who, **asked, service_context=dict(keys))
    policies = [iam_evaluator.parse_policy_document(document) for document in documents]
    return bool(iam_evaluator.evaluate(context, policies).decision == "Allow")


def _conversation(model: str) -> dict[str, Any]:
    return {"modelId": model, "messages": [{"role": "user", "content": [{"text": "Hello"}]}]}


def _logging(on: str, allowed: tuple[str, ...], group: Callable[[World], str]) -> list[Row]:
    # The embedded AWS asks for the log group where AWS asks for the log stream, which is all that is granted.
    return [
        Row(f"logs:{action}", on, allowed, simulated_on=lambda world: f"{group(world)}:log-stream:any")
        for action in ("CreateLogStream", "PutLogEvents")
    ]


_table, _bucket, _machine = attrgetter("table"), attrgetter("bucket"), attrgetter("state_machine")
_invoker, _runtime, _rule, _dead_letters = map(attrgetter, ("invoker", "agent_runtime", "rule", "dead_letters"))


def _execution(world: World) -> str:
    return f"{world.state_machine.replace(':stateMachine:', ':execution:')}:none"


def _dead_letters_arn(world: World) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{world.dead_letters.rpartition('/')[2]}"


def _agent_role(world: World) -> str:
    return world.roles[AGENT]


ORDERS = {"FunctionName": "orders-api"}
ORDERS_LOGS = {"logGroupName": "/aws/lambda/orders-api"}
SESSION = {"runtimeSessionId": SESSION_ID}


def _event(source: str, detail_type: str) -> dict[str, str]:
    return {"events:source": source, "events:detail-type": detail_type}


BUS = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus"

GRANTED = [
    # The embedded AWS gives IAM no keys of an event.
    Row("events:PutEvents", "the default bus", (SCHEDULE,),
        simulated_on=lambda world: f"{BUS}/default", keys=_event("vigil", "Run Agent")),
    # A message would be another test's dead letter.
    Row("sqs:SendMessage", "the dead-letter queue", (SCHEDULE,),
        simulated_on=_dead_letters_arn),
    _row("states:StartExecution", "the workflow", (RULE,), stateMachineArn=_machine, input="{}"),
    _row("states:DescribeExecution", "the workflow's executions", (RECONCILER,), executionArn=_execution),
    _row("states:ListExecutions", "the workflow", (RECONCILER,), stateMachineArn=_machine, maxResults=1),
    _row("states:SendTaskSuccess", "the workflow's tasks", (AGENT,),
         taskToken=lambda world: world.task_token(), output="{}"),
    _row("dynamodb:GetItem", "the table", (WORKFLOW, RECONCILER, AGENT, NOTIFIER), TableName=_table, Key=KEY),
    _row("dynamodb:PutItem", "the table", (WORKFLOW, AGENT, NOTIFIER), TableName=_table, Item=KEY, **NOWHERE),
    _row("dynamodb:UpdateItem", "the table", (WORKFLOW, RECONCILER, AGENT), TableName=_table, Key=KEY, **NOWHERE),
    _row("dynamodb:GetItem", "the item of the line", (WORKFLOW, INVOKER, RECONCILER, AGENT, NOTIFIER),
         TableName=_table, Key=LINE_KEY),
    _row("dynamodb:UpdateItem", "the item of the line", (WORKFLOW, INVOKER, RECONCILER, AGENT),
         TableName=_table, Key=LINE_KEY, **NOWHERE),
    _row("dynamodb:Query", "the index by status", (RECONCILER,), TableName=_table,
         IndexName=INDEX_BY_STATUS, KeyConditionExpression="#s = :s",
         ExpressionAttributeNames={"#s": "status"}, ExpressionAttributeValues={":s": {"S": "BUSY"}}),
    _row("dynamodb:Query", "the table", (AGENT,), TableName=_table,
         KeyConditionExpression="PK = :p", ExpressionAttributeValues={":p": {"S": "x"}}),
    _row("dynamodb:ConditionCheckItem", "the table", (AGENT,),
         TransactItems=lambda world: [{"ConditionCheck": {"TableName": world.table, "Key": KEY, **NOWHERE}}]),
    # The embedded AWS asks for the queue's address where AWS asks for its ARN.
    *(
        Row(f"sqs:{name}", "the reconciler's queue", (RECONCILER,), simulated_on=attrgetter("reconciler_queue"))
        for name in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
    ),
    *(
        Row(f"sqs:{name}", "the dead-letter queue", (NOTIFIER,), simulated_on=_dead_letters_arn)
        for name in ("ReceiveMessage", "ChangeMessageVisibility")
    ),
    _row("sns:Publish", "the topic", (NOTIFIER,), TopicArn=attrgetter("topic"), Message="x"),
    *(
        Row(f"dynamodb:{name}", "the table's stream", (NOTIFIER,), simulated_on=attrgetter("stream"))
        for name in ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")
    ),
    _row("lambda:InvokeFunction", "the invoker", (WORKFLOW,), FunctionName=_invoker, Payload=b"{}"),
    _row("bedrock-agentcore:InvokeAgentRuntime", "the agent's runtime", (INVOKER,),
         agentRuntimeArn=_runtime, **SESSION, payload=b"{}"),
    _row("bedrock-agentcore:StopRuntimeSession", "the agent's runtime", (WORKFLOW, RECONCILER),
         agentRuntimeArn=_runtime, **SESSION),
    _row("s3:PutObject", "`sessions/*` in the bucket", (AGENT,), Bucket=_bucket, Key="sessions/x/y", Body=b""),
    _row("s3:GetObject", "`sessions/*` in the bucket", (AGENT,), Bucket=_bucket, Key="sessions/x/y"),
    _row("bedrock:InvokeModel", "the stack's model", (AGENT,), **_conversation(SCRIPTED_MODEL)),
    Row("bedrock:InvokeModel", "the stack's model as an inference profile", (AGENT,),
        simulated_on=lambda world: f"{PROFILES}/{SCRIPTED_MODEL}"),
    Row("bedrock:InvokeModel", "a model behind that profile", (AGENT,),
        simulated_on=lambda world: f"{MODELS}/anthropic.any", keys=through(f"{PROFILES}/{SCRIPTED_MODEL}")),
    _row("lambda:ListFunctions", "all", (AGENT,)),
    _row("lambda:ListProvisionedConcurrencyConfigs", "all", (AGENT,), **ORDERS),
    _row("lambda:GetFunctionRecursionConfig", "all", (AGENT,), **ORDERS),
    _row("lambda:ListEventSourceMappings", "all", (AGENT,)),
    _row("lambda:GetPolicy", "all", (AGENT,), **ORDERS),
    _row("lambda:ListAliases", "all", (AGENT,), **ORDERS),
    _row("lambda:ListVersionsByFunction", "all", (AGENT,), **ORDERS),
    _row("application-autoscaling:DescribeScalableTargets", "all", (AGENT,), ServiceNamespace="lambda"),
    _row("application-autoscaling:DescribeScheduledActions", "all", (AGENT,), ServiceNamespace="lambda"),
    _row("application-autoscaling:DescribeScalingPolicies", "all", (AGENT,), ServiceNamespace="lambda"),
    _row("cloudwatch:GetMetricData", "all", (AGENT,), MetricDataQueries=[], StartTime=0, EndTime=1),
    _row("logs:DescribeLogGroups", "all", (WORKFLOW, AGENT)),
    _row("logs:FilterLogEvents", "all", (AGENT,), **ORDERS_LOGS),
    _row("logs:StartQuery", "all", (AGENT,), **ORDERS_LOGS, startTime=0, endTime=1, queryString="fields @message"),
    _row("logs:GetQueryResults", "all", (AGENT,), queryId="none"),
    _row("logs:StopQuery", "all", (AGENT,), queryId="none"),
    _row("pricing:GetProducts", "all", (AGENT,), ServiceCode="AWSLambda"),
    _row("compute-optimizer:GetEnrollmentStatus", "all", (AGENT,)),
    _row("compute-optimizer:GetLambdaFunctionRecommendations", "all", (AGENT,)),
    _row("logs:CreateLogGroup", "its runtime's log groups", (AGENT,), logGroupName=AGENT_LOGS),
    _row("logs:DescribeLogStreams", "its runtime's log groups", (AGENT,), logGroupName=AGENT_LOGS),
    *_logging("its runtime's log streams", (AGENT,), lambda world: f"{LOG_GROUP}:{AGENT_LOGS}"),
    *_logging("the invoker's log group", (INVOKER,), lambda world: world.log_groups[INVOKER]),
    *_logging("the reconciler's log group", (RECONCILER,), lambda world: world.log_groups[RECONCILER]),
    *_logging("the notifier's log group", (NOTIFIER,), lambda world: world.log_groups[NOTIFIER]),
    *(
        Row(f"logs:{name}", "all", (WORKFLOW,))
        for name in ("CreateLogDelivery", "GetLogDelivery", "UpdateLogDelivery", "DeleteLogDelivery",
                     "ListLogDeliveries", "PutResourcePolicy", "DescribeResourcePolicies")
    ),
    *(
        Row(f"xray:{name}", "all", (WORKFLOW,))
        for name in ("PutTraceSegments", "PutTelemetryRecords", "GetSamplingRules", "GetSamplingTargets")
    ),
]  # fmt: skip
"""What the roles hold."""

BEYOND = [
    *(
        Row("events:PutEvents", on, (), simulated_on=lambda world, bus=bus: f"{BUS}/{bus}", keys=_event(*kind))
        for on, bus, kind in (
            ("another bus", "other", ("vigil", "Run Agent")),
            ("the default bus, from another source", "default", ("other", "Run Agent")),
            ("the default bus, of another kind", "default", ("vigil", "other")),
        )
    ),
    _row("dynamodb:GetItem", "another table", (), **OTHER_TABLE, Key=KEY),
    _row("dynamodb:PutItem", "another table", (), **OTHER_TABLE, Item=KEY),
    _row("dynamodb:UpdateItem", "another table", (), **OTHER_TABLE, Key=KEY),
    _row("dynamodb:Query", "the index by start", (), TableName=_table, IndexName=INDEX_BY_START,
         KeyConditionExpression="SK = :s", ExpressionAttributeValues={":s": {"S": "SESSION"}}),
    _row("s3:PutObject", "the bucket outside of these", (), Bucket=_bucket, Key="x", Body=b""),
    _row("s3:GetObject", "the bucket outside of these", (), Bucket=_bucket, Key="x"),
    _row("s3:ListBucket", "the bucket", (), Bucket=_bucket, Prefix="sessions/"),
    _row("s3:PutObject", "another bucket", (), Bucket="other", Key="sessions/x", Body=b""),
    _row("s3:GetObject", "another bucket", (), Bucket="other", Key="sessions/x"),
    _row("bedrock:InvokeModel", "another model", (), **_conversation("anthropic.any")),
    # The embedded AWS takes every model for a foundation model.
    Row("bedrock:InvokeModel", "another inference profile", (),
        simulated_on=lambda world: f"{PROFILES}/global.anthropic.any"),
    Row("bedrock:InvokeModel", "a model behind another profile", (),
        simulated_on=lambda world: f"{MODELS}/anthropic.any", keys=through(f"{PROFILES}/global.anthropic.any")),
    Row("bedrock:InvokeModel", "a provisioned model", (),
        simulated_on=lambda world: f"arn:aws:bedrock:{REGION}:{ACCOUNT}:provisioned-model/abcdefghijkl"),
    _row("lambda:InvokeFunction", "another function", (), **ORDERS),
    _row("lambda:InvokeFunction", "the reconciler", (), FunctionName=attrgetter("reconciler")),
    _row("bedrock-agentcore:InvokeAgentRuntime", "another runtime", (),
         agentRuntimeArn=OTHER_RUNTIME, **SESSION, payload=b"{}"),
    _row("bedrock-agentcore:StopRuntimeSession", "another runtime", (), agentRuntimeArn=OTHER_RUNTIME, **SESSION),
    _row("states:StartExecution", "another state machine", (), stateMachineArn=OTHER_MACHINE, input="{}"),
    _row("states:ListExecutions", "another state machine", (), stateMachineArn=OTHER_MACHINE),
    _row("states:DescribeExecution", "another state machine's executions", (),
         executionArn=f"{OTHER_MACHINE.replace(':stateMachine:', ':execution:')}:none"),
    Row("sqs:DeleteMessage", "the dead-letter queue", (), simulated_on=_dead_letters_arn),
    *(
        Row(f"sqs:{name}", "another queue", (), simulated_on=lambda world: f"arn:aws:sqs:{REGION}:{ACCOUNT}:other")
        for name in ("ReceiveMessage", "ChangeMessageVisibility", "SendMessage")
    ),
    _row("sns:Publish", "another topic", (), TopicArn=f"arn:aws:sns:{REGION}:{ACCOUNT}:other", Message="x"),
    _row("states:SendTaskSuccess", "a task that does not exist", (), taskToken="none", output="{}"),
    _row("logs:CreateLogGroup", "another runtime's log groups", (), logGroupName=OTHER_AGENT_LOGS),
    _row("logs:DescribeLogStreams", "another runtime's log groups", (), logGroupName=OTHER_AGENT_LOGS),
    *_logging("another runtime's log groups", (), lambda world: f"{LOG_GROUP}:{OTHER_AGENT_LOGS}"),
    *_logging("another log group", (), lambda world: f"{LOG_GROUP}:/aws/lambda/orders-api"),
]  # fmt: skip
"""The same actions on resources that no role is granted."""


def _url(queue: str) -> str:
    """Return the address of a queue by its ARN."""
    return f"http://127.0.0.1/{ACCOUNT}/{queue.rpartition(':')[2]}"


_harm = partial(_row, on="", allowed=())
HARM = [
    _harm("dynamodb:DeleteItem", TableName=_table, Key=KEY),
    _harm("dynamodb:Scan", TableName=_table),
    _harm("dynamodb:BatchGetItem", RequestItems=lambda world: {world.table: {"Keys": [KEY]}}),
    _harm("dynamodb:BatchWriteItem", RequestItems=lambda world: {world.table: [{"DeleteRequest": {"Key": KEY}}]}),
    _harm("dynamodb:PartiQLSelect", Statement=lambda world: f'SELECT * FROM "{world.table}"'),
    _harm("dynamodb:UpdateTable", TableName=_table, BillingMode="PAY_PER_REQUEST"),
    _harm("dynamodb:DeleteTable", TableName=_table),
    _harm("s3:DeleteObject", Bucket=_bucket, Key="sessions/x/y"),
    _harm("s3:DeleteObjectVersion", Bucket=_bucket, Key="sessions/x/y", VersionId="x"),
    _harm("s3:GetObjectVersion", Bucket=_bucket, Key="sessions/x/y", VersionId="x"),
    _harm("s3:ListBucketVersions", Bucket=_bucket),
    _harm("s3:PutBucketVersioning", Bucket=_bucket, VersioningConfiguration={"Status": "Suspended"}),
    _harm("s3:PutBucketPolicy", Bucket=_bucket, Policy="{}"),
    _harm("s3:DeleteBucketPolicy", Bucket=_bucket),
    _harm("s3:DeleteBucket", Bucket=_bucket),
    _harm("s3:ListAllMyBuckets"),
    _harm("lambda:GetFunction", **ORDERS),
    _harm("lambda:GetFunctionConfiguration", **ORDERS),
    _harm("lambda:UpdateFunctionCode", FunctionName=_invoker, ZipFile=b"x"),
    _harm("lambda:UpdateFunctionConfiguration", FunctionName=_invoker, Timeout=60),
    _harm("lambda:AddPermission", FunctionName=_invoker, StatementId="x", Action="lambda:InvokeFunction",
          Principal="*"),
    _harm("lambda:DeleteFunction", FunctionName=_invoker),
    _harm("states:StopExecution", executionArn=_execution),
    _harm("states:SendTaskFailure", taskToken=lambda world: world.task_token()),
    _harm("states:GetExecutionHistory", executionArn=_execution),
    _harm("states:UpdateStateMachine", stateMachineArn=_machine, definition="{}"),
    _harm("states:DeleteStateMachine", stateMachineArn=_machine),
    _harm("events:PutEvents", Entries=[{"Source": "vigil", "DetailType": "none", "Detail": "{}"}]),
    _harm("events:PutRule", Name="x", ScheduleExpression="rate(1 day)"),
    _harm("events:PutTargets", Rule=_rule, Targets=[{"Id": "x", "Arn": OTHER_MACHINE}]),
    _harm("events:DisableRule", Name=_rule),
    _harm("sqs:SendMessage", QueueUrl=lambda world: _url(world.reconciler_queue), MessageBody="x"),
    _harm("sqs:PurgeQueue", QueueUrl=_dead_letters),
    *(
        Row(f"bedrock-agentcore:{name}", "", (), simulated_on=_runtime)
        for name in ("GetAgentRuntime", "UpdateAgentRuntime", "DeleteAgentRuntime", "InvokeAgentRuntimeCommand")
    ),
    _harm("logs:GetLogEvents", **ORDERS_LOGS, logStreamName="sample"),
    _harm("logs:PutRetentionPolicy", **ORDERS_LOGS, retentionInDays=1),
    _harm("logs:DeleteLogGroup", **ORDERS_LOGS),
    _harm("cloudformation:UpdateStack", StackName="Vigil", TemplateBody="{}"),
    _harm("cloudformation:DeleteStack", StackName="Vigil"),
    _harm("iam:CreateUser", UserName="x"),
    _harm("iam:CreateAccessKey"),
    _harm("iam:CreateRole", RoleName="x", AssumeRolePolicyDocument="{}"),
    _harm("iam:PutRolePolicy", RoleName=_agent_role, PolicyName="x", PolicyDocument="{}"),
    _harm("iam:AttachRolePolicy", RoleName=_agent_role, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"),
    _harm("iam:UpdateAssumeRolePolicy", RoleName=_agent_role, PolicyDocument="{}"),
    _harm("iam:ListRoles"),
    Row("iam:PassRole", "", (), simulated_on=lambda world: world.arns[AGENT]),
    *(
        _harm("sts:AssumeRole", RoleArn=lambda world, role=role: world.arns[role], RoleSessionName="test")
        for role in ROLES
    ),
    _harm("secretsmanager:GetSecretValue", SecretId="x"),
    _harm("ssm:GetParameter", Name="/cdk-bootstrap/hnb659fds/version"),
    _harm("kms:Decrypt", CiphertextBlob=b"x"),
]  # fmt: skip
"""What no role may do to anything."""

ROWS = [*GRANTED, *BEYOND, *HARM]


class _Keys(Credentials):
    """The keys of the role that calls in this thread: a service's client is made once, and not for each role."""

    def __init__(self) -> None:
        super().__init__("none", "none")
        self.chosen = threading.local()

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return self.chosen.keys  # type: ignore[no-any-return]


_KEYS, _CORE = _Keys(), botocore.session.Session()
_CORE._credentials = _KEYS
_CLIENTS = boto3.Session(botocore_session=_CORE, region_name=REGION)


@cache
def _client(endpoint: str, service: str) -> Any:
    return _CLIENTS.client(service, endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 1}))


class Caller:
    """Makes calls with credentials that AWS gave out for one role."""

    def __init__(self, world: World, role: str) -> None:
        self._world, self._role = world, role
        self._keys = self._assumed()

    def may(self, row: Row) -> bool:
        """Whether the call of ``row`` is permitted; it may fail for another reason."""
        if row.keys:
            iam, role = self._world.client("iam"), self._world.roles[self._role]
            return evaluates(iam, role, row.action, row.simulated_on(self._world), row.keys)
        if row.call is None:
            asked = {"ActionNames": [row.action], "ResourceArns": [row.simulated_on(self._world)]}
            role = self._world.arns[self._role]
            simulated = self._world.client("iam").simulate_principal_policy(PolicySourceArn=role, **asked)
            return bool(simulated["EvaluationResults"][0]["EvalDecision"] == "allowed")
        service, method, arguments = row.call(self._world)
        _KEYS.chosen.keys = self._keys
        try:
            getattr(_client(self._world.endpoint, service), method)(**arguments)
        except ClientError as error:
            return error.response["Error"]["Code"] not in DENIED
        return True

    def _assumed(self) -> ReadOnlyCredentials:
        """Return keys of the role, which trusts the account's root for that moment."""
        iam, name = self._world.client("iam"), self._world.roles[self._role]
        before = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        root = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
        wider = {**before, "Statement": [*before["Statement"], root]}
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(wider))
        try:
            answer = self._world.client("sts").assume_role(RoleArn=self._world.arns[self._role], RoleSessionName="test")
        finally:
            iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(before))
        keys = answer["Credentials"]
        return ReadOnlyCredentials(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])

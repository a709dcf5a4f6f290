"""Who may call what: every action that any role holds, on what it is granted on and beyond, and what would do harm.

``python -m tests.lambda_costs.security.principals`` writes it into docs/permissions.md; a test measures it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from textwrap import fill
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from ministack.core import iam_evaluator

from vigil.agent.models import STAND_IN
from vigil.line import LINE
from vigil.local.deploy import PROJECT
from vigil.local.stack import REGION, LocalStack
from vigil.names import INDEX_BY_START, INDEX_BY_STATUS, Output

DOCUMENT = PROJECT / "docs" / "permissions.md"
RULE, WORKFLOW, INVOKER, RECONCILER, AGENT = ROLES = ("Rule", "Workflow", "Invoker", "Reconciler", "Agent")
DENIED = {"AccessDenied", "AccessDeniedException"}
_LOGICAL_IDS = {
    RULE: "TriggerRole",
    WORKFLOW: "AgentWorkflowRole",
    INVOKER: "AgentInvokerRole",
    RECONCILER: "ReconcilerReconcilerRole",
    AGENT: "AgentRole",
}
_HEADING = "## Who may do what"
_LOG_GROUPS = {INVOKER: "AgentInvokerLogs", RECONCILER: "ReconcilerReconcilerLogs"}


class World:
    """What the calls name; ``task_token`` returns the token with which a workflow waits at the moment."""

    def __init__(self, stack: LocalStack, task_token: Callable[[], str]) -> None:
        self.client = cache(stack.client)
        self.endpoint = stack.endpoint
        self.task_token = task_token
        self._outputs = stack.outputs
        roles = {role["RoleName"]: role["Arn"] for role in self.client("iam").list_roles()["Roles"]}
        self.roles = {role: name for role, found in _LOGICAL_IDS.items() for name in roles if f"-{found}" in name}
        self.arns = {role: roles[name] for role, name in self.roles.items()}
        (self.reconciler_queue,) = (
            mapping["EventSourceArn"]
            for mapping in self.client("lambda").list_event_source_mappings()["EventSourceMappings"]
            if "-ReconcilerQueue" in mapping["EventSourceArn"]
        )
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


@dataclass(frozen=True)
class Row:
    """One action on one resource, and the roles that may do that."""

    action: str
    on: str
    allowed: tuple[str, ...]
    call: Callable[[World], Call] | None = None
    simulated_on: Callable[[World], str] = lambda world: "*"
    """Without a call, what IAM's simulator is asked about."""
    profile: str = ""
    """And through which inference profile of Bedrock that is reached."""


def _given(arguments: dict[str, Any], world: World) -> dict[str, Any]:
    return {name: value(world) if callable(value) else value for name, value in arguments.items()}


def _row(action: str, on: str, allowed: tuple[str, ...], service: str, method: str, **arguments: Any) -> Row:
    """Return a row; an argument that is a function is called with the World."""
    return Row(action, on, allowed, lambda world: (service, method, _given(arguments, world)))


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


def reaches(iam: Any, role: str, model: str, profile: str) -> bool:
    """Whether ``role`` may invoke ``model`` through the inference profile ``profile``.

    By the evaluator of the embedded AWS, whose simulator takes no keys of a request's context.
    """
    documents = [
        iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]
    ]
    context = iam_evaluator.EvalContext(
        principal_arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/test",
        principal_type="AssumedRole",
        principal_account=ACCOUNT,
        action="bedrock:InvokeModel",
        resource_arn=model,
        region=REGION,
        service_context={"bedrock:inferenceprofilearn": profile},
    )
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


def _table(world: World) -> str:
    return world.table


def _bucket(world: World) -> str:
    return world.bucket


def _machine(world: World) -> str:
    return world.state_machine


GRANTED = [
    _row("states:StartExecution", "the workflow", (RULE,), "stepfunctions", "start_execution",
         stateMachineArn=_machine, input="{}"),
    _row("states:DescribeExecution", "the workflow's executions", (RECONCILER,), "stepfunctions", "describe_execution",
         executionArn=lambda world: f"{world.state_machine.replace(':stateMachine:', ':execution:')}:none"),
    _row("states:ListExecutions", "the workflow", (RECONCILER,), "stepfunctions", "list_executions",
         stateMachineArn=_machine, maxResults=1),
    _row("states:SendTaskSuccess", "the workflow's tasks", (AGENT,), "stepfunctions", "send_task_success",
         taskToken=lambda world: world.task_token(), output="{}"),
    _row("dynamodb:GetItem", "the table", (WORKFLOW, RECONCILER, AGENT), "dynamodb", "get_item",
         TableName=_table, Key=KEY),
    _row("dynamodb:PutItem", "the table", (WORKFLOW, AGENT), "dynamodb", "put_item",
         TableName=_table, Item=KEY, **NOWHERE),
    _row("dynamodb:UpdateItem", "the table", (WORKFLOW, RECONCILER, AGENT), "dynamodb", "update_item",
         TableName=_table, Key=KEY, **NOWHERE),
    _row("dynamodb:GetItem", "the item of the line", (WORKFLOW, INVOKER, RECONCILER, AGENT), "dynamodb", "get_item",
         TableName=_table, Key=LINE_KEY),
    _row("dynamodb:UpdateItem", "the item of the line", (WORKFLOW, INVOKER, RECONCILER, AGENT), "dynamodb",
         "update_item", TableName=_table, Key=LINE_KEY, **NOWHERE),
    _row("dynamodb:Query", "the index by status", (RECONCILER,), "dynamodb", "query", TableName=_table,
         IndexName=INDEX_BY_STATUS, KeyConditionExpression="#s = :s",
         ExpressionAttributeNames={"#s": "status"}, ExpressionAttributeValues={":s": {"S": "BUSY"}}),
    _row("dynamodb:Query", "the table", (AGENT,), "dynamodb", "query", TableName=_table,
         KeyConditionExpression="PK = :p", ExpressionAttributeValues={":p": {"S": "x"}}),
    _row("dynamodb:ConditionCheckItem", "the table", (AGENT,), "dynamodb", "transact_write_items",
         TransactItems=lambda world: [{"ConditionCheck": {"TableName": world.table, "Key": KEY, **NOWHERE}}]),
    # The embedded AWS asks for the queue's address where AWS asks for its ARN.
    *(
        Row(f"sqs:{name}", "the reconciler's queue", (RECONCILER,), simulated_on=lambda world: world.reconciler_queue)
        for name in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
    ),
    _row("lambda:InvokeFunction", "the invoker", (WORKFLOW,), "lambda", "invoke",
         FunctionName=lambda world: world.invoker, Payload=b"{}"),
    _row("bedrock-agentcore:InvokeAgentRuntime", "the agent's runtime", (INVOKER,), "bedrock-agentcore",
         "invoke_agent_runtime", agentRuntimeArn=lambda world: world.agent_runtime,
         runtimeSessionId=SESSION_ID, payload=b"{}"),
    _row("bedrock-agentcore:StopRuntimeSession", "the agent's runtime", (WORKFLOW, RECONCILER), "bedrock-agentcore",
         "stop_runtime_session", agentRuntimeArn=lambda world: world.agent_runtime, runtimeSessionId=SESSION_ID),
    _row("s3:PutObject", "`sessions/*` in the bucket", (AGENT,), "s3", "put_object",
         Bucket=_bucket, Key="sessions/x/y", Body=b""),
    _row("s3:GetObject", "`sessions/*` in the bucket", (AGENT,), "s3", "get_object",
         Bucket=_bucket, Key="sessions/x/y"),
    _row("bedrock:InvokeModel", "the stack's model", (AGENT,), "bedrock-runtime", "converse",
         **_conversation(STAND_IN)),
    Row("bedrock:InvokeModel", "the stack's model as an inference profile", (AGENT,),
        simulated_on=lambda world: f"{PROFILES}/{STAND_IN}"),
    Row("bedrock:InvokeModel", "a model behind that profile", (AGENT,),
        simulated_on=lambda world: f"{MODELS}/anthropic.any", profile=f"{PROFILES}/{STAND_IN}"),
    _row("lambda:ListFunctions", "all", (AGENT,), "lambda", "list_functions"),
    _row("lambda:ListProvisionedConcurrencyConfigs", "all", (AGENT,), "lambda", "list_provisioned_concurrency_configs",
         FunctionName="orders-api"),
    _row("lambda:GetFunctionRecursionConfig", "all", (AGENT,), "lambda", "get_function_recursion_config",
         FunctionName="orders-api"),
    _row("lambda:ListEventSourceMappings", "all", (AGENT,), "lambda", "list_event_source_mappings"),
    _row("lambda:GetPolicy", "all", (AGENT,), "lambda", "get_policy", FunctionName="orders-api"),
    _row("cloudwatch:GetMetricData", "all", (AGENT,), "cloudwatch", "get_metric_data",
         MetricDataQueries=[], StartTime=0, EndTime=1),
    _row("logs:DescribeLogGroups", "all", (WORKFLOW, AGENT), "logs", "describe_log_groups"),
    _row("logs:FilterLogEvents", "all", (AGENT,), "logs", "filter_log_events", logGroupName="/aws/lambda/orders-api"),
    _row("logs:StartQuery", "all", (AGENT,), "logs", "start_query", logGroupName="/aws/lambda/orders-api",
         startTime=0, endTime=1, queryString="fields @message"),
    _row("logs:GetQueryResults", "all", (AGENT,), "logs", "get_query_results", queryId="none"),
    _row("logs:StopQuery", "all", (AGENT,), "logs", "stop_query", queryId="none"),
    _row("pricing:GetProducts", "all", (AGENT,), "pricing", "get_products", ServiceCode="AWSLambda"),
    _row("compute-optimizer:GetEnrollmentStatus", "all", (AGENT,), "compute-optimizer", "get_enrollment_status"),
    _row("compute-optimizer:GetLambdaFunctionRecommendations", "all", (AGENT,), "compute-optimizer",
         "get_lambda_function_recommendations"),
    _row("logs:CreateLogGroup", "its runtime's log groups", (AGENT,), "logs", "create_log_group",
         logGroupName=AGENT_LOGS),
    _row("logs:DescribeLogStreams", "its runtime's log groups", (AGENT,), "logs", "describe_log_streams",
         logGroupName=AGENT_LOGS),
    *_logging("its runtime's log streams", (AGENT,), lambda world: f"{LOG_GROUP}:{AGENT_LOGS}"),
    *_logging("the invoker's log group", (INVOKER,), lambda world: world.log_groups[INVOKER]),
    *_logging("the reconciler's log group", (RECONCILER,), lambda world: world.log_groups[RECONCILER]),
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
    _row("dynamodb:GetItem", "another table", (), "dynamodb", "get_item", **OTHER_TABLE, Key=KEY),
    _row("dynamodb:PutItem", "another table", (), "dynamodb", "put_item", **OTHER_TABLE, Item=KEY),
    _row("dynamodb:UpdateItem", "another table", (), "dynamodb", "update_item", **OTHER_TABLE, Key=KEY),
    _row("dynamodb:Query", "the index by start", (), "dynamodb", "query", TableName=_table, IndexName=INDEX_BY_START,
         KeyConditionExpression="SK = :s", ExpressionAttributeValues={":s": {"S": "SESSION"}}),
    _row("s3:PutObject", "the bucket outside of these", (), "s3", "put_object", Bucket=_bucket, Key="x", Body=b""),
    _row("s3:GetObject", "the bucket outside of these", (), "s3", "get_object", Bucket=_bucket, Key="x"),
    _row("s3:ListBucket", "the bucket", (), "s3", "list_objects_v2", Bucket=_bucket, Prefix="sessions/"),
    _row("s3:PutObject", "another bucket", (), "s3", "put_object", Bucket="other", Key="sessions/x", Body=b""),
    _row("s3:GetObject", "another bucket", (), "s3", "get_object", Bucket="other", Key="sessions/x"),
    _row("bedrock:InvokeModel", "another model", (), "bedrock-runtime", "converse",
         **_conversation("anthropic.any")),
    # The embedded AWS takes every model for a foundation model.
    Row("bedrock:InvokeModel", "another inference profile", (),
        simulated_on=lambda world: f"{PROFILES}/global.anthropic.any"),
    Row("bedrock:InvokeModel", "a model behind another profile", (),
        simulated_on=lambda world: f"{MODELS}/anthropic.any", profile=f"{PROFILES}/global.anthropic.any"),
    Row("bedrock:InvokeModel", "a provisioned model", (),
        simulated_on=lambda world: f"arn:aws:bedrock:{REGION}:{ACCOUNT}:provisioned-model/abcdefghijkl"),
    _row("lambda:InvokeFunction", "another function", (), "lambda", "invoke", FunctionName="orders-api"),
    _row("lambda:InvokeFunction", "the reconciler", (), "lambda", "invoke",
         FunctionName=lambda world: world.reconciler),
    _row("bedrock-agentcore:InvokeAgentRuntime", "another runtime", (), "bedrock-agentcore", "invoke_agent_runtime",
         agentRuntimeArn=OTHER_RUNTIME, runtimeSessionId=SESSION_ID, payload=b"{}"),
    _row("bedrock-agentcore:StopRuntimeSession", "another runtime", (), "bedrock-agentcore", "stop_runtime_session",
         agentRuntimeArn=OTHER_RUNTIME, runtimeSessionId=SESSION_ID),
    _row("states:StartExecution", "another state machine", (), "stepfunctions", "start_execution",
         stateMachineArn=OTHER_MACHINE, input="{}"),
    _row("states:ListExecutions", "another state machine", (), "stepfunctions", "list_executions",
         stateMachineArn=OTHER_MACHINE),
    _row("states:DescribeExecution", "another state machine's executions", (), "stepfunctions", "describe_execution",
         executionArn=f"{OTHER_MACHINE.replace(':stateMachine:', ':execution:')}:none"),
    *(
        Row(f"sqs:{name}", "the dead-letter queue", (),
            simulated_on=lambda world: f"arn:aws:sqs:{REGION}:{ACCOUNT}:{world.dead_letters.rpartition('/')[2]}")
        for name in ("ReceiveMessage", "DeleteMessage")
    ),
    _row("states:SendTaskSuccess", "a task of nobody's", (), "stepfunctions", "send_task_success",
         taskToken="none", output="{}"),
    _row("logs:CreateLogGroup", "another runtime's log groups", (), "logs", "create_log_group",
         logGroupName=OTHER_AGENT_LOGS),
    _row("logs:DescribeLogStreams", "another runtime's log groups", (), "logs", "describe_log_streams",
         logGroupName=OTHER_AGENT_LOGS),
    *_logging("another runtime's log groups", (), lambda world: f"{LOG_GROUP}:{OTHER_AGENT_LOGS}"),
    *_logging("another log group", (), lambda world: f"{LOG_GROUP}:/aws/lambda/orders-api"),
]  # fmt: skip
"""The same on what nobody granted."""


def _harm(service: str, method: str, action: str, **arguments: Any) -> Row:
    return _row(action, "", (), service, method, **arguments)


HARM = [
    _harm("dynamodb", "delete_item", "dynamodb:DeleteItem", TableName=_table, Key=KEY),
    _harm("dynamodb", "scan", "dynamodb:Scan", TableName=_table),
    _harm("dynamodb", "batch_get_item", "dynamodb:BatchGetItem",
          RequestItems=lambda world: {world.table: {"Keys": [KEY]}}),
    _harm("dynamodb", "batch_write_item", "dynamodb:BatchWriteItem",
          RequestItems=lambda world: {world.table: [{"DeleteRequest": {"Key": KEY}}]}),
    _harm("dynamodb", "execute_statement", "dynamodb:PartiQLSelect",
          Statement=lambda world: f'SELECT * FROM "{world.table}"'),
    _harm("dynamodb", "update_table", "dynamodb:UpdateTable", TableName=_table, BillingMode="PAY_PER_REQUEST"),
    _harm("dynamodb", "delete_table", "dynamodb:DeleteTable", TableName=_table),
    _harm("s3", "delete_object", "s3:DeleteObject", Bucket=_bucket, Key="sessions/x/y"),
    _harm("s3", "delete_object", "s3:DeleteObjectVersion", Bucket=_bucket, Key="sessions/x/y", VersionId="x"),
    _harm("s3", "get_object", "s3:GetObjectVersion", Bucket=_bucket, Key="sessions/x/y", VersionId="x"),
    _harm("s3", "list_object_versions", "s3:ListBucketVersions", Bucket=_bucket),
    _harm("s3", "put_bucket_versioning", "s3:PutBucketVersioning", Bucket=_bucket,
          VersioningConfiguration={"Status": "Suspended"}),
    _harm("s3", "put_bucket_policy", "s3:PutBucketPolicy", Bucket=_bucket, Policy="{}"),
    _harm("s3", "delete_bucket_policy", "s3:DeleteBucketPolicy", Bucket=_bucket),
    _harm("s3", "delete_bucket", "s3:DeleteBucket", Bucket=_bucket),
    _harm("s3", "list_buckets", "s3:ListAllMyBuckets"),
    _harm("lambda", "get_function", "lambda:GetFunction", FunctionName="orders-api"),
    _harm("lambda", "get_function_configuration", "lambda:GetFunctionConfiguration", FunctionName="orders-api"),
    _harm("lambda", "update_function_code", "lambda:UpdateFunctionCode",
          FunctionName=lambda world: world.invoker, ZipFile=b"x"),
    _harm("lambda", "update_function_configuration", "lambda:UpdateFunctionConfiguration",
          FunctionName=lambda world: world.invoker, Timeout=60),
    _harm("lambda", "add_permission", "lambda:AddPermission", FunctionName=lambda world: world.invoker,
          StatementId="x", Action="lambda:InvokeFunction", Principal="*"),
    _harm("lambda", "delete_function", "lambda:DeleteFunction", FunctionName=lambda world: world.invoker),
    _harm("stepfunctions", "stop_execution", "states:StopExecution",
          executionArn=lambda world: f"{world.state_machine.replace(':stateMachine:', ':execution:')}:none"),
    _harm("stepfunctions", "send_task_failure", "states:SendTaskFailure", taskToken=lambda world: world.task_token()),
    _harm("stepfunctions", "get_execution_history", "states:GetExecutionHistory",
          executionArn=lambda world: f"{world.state_machine.replace(':stateMachine:', ':execution:')}:none"),
    _harm("stepfunctions", "update_state_machine", "states:UpdateStateMachine",
          stateMachineArn=_machine, definition="{}"),
    _harm("stepfunctions", "delete_state_machine", "states:DeleteStateMachine", stateMachineArn=_machine),
    _harm("events", "put_events", "events:PutEvents",
          Entries=[{"Source": "vigil", "DetailType": "none", "Detail": "{}"}]),
    _harm("events", "put_rule", "events:PutRule", Name="x", ScheduleExpression="rate(1 day)"),
    _harm("events", "put_targets", "events:PutTargets", Rule=lambda world: world.rule,
          Targets=[{"Id": "x", "Arn": OTHER_MACHINE}]),
    _harm("events", "disable_rule", "events:DisableRule", Name=lambda world: world.rule),
    _harm("sqs", "send_message", "sqs:SendMessage", QueueUrl=lambda world: world.dead_letters, MessageBody="x"),
    _harm("sqs", "purge_queue", "sqs:PurgeQueue", QueueUrl=lambda world: world.dead_letters),
    *(
        Row(f"bedrock-agentcore:{name}", "", (), simulated_on=lambda world: world.agent_runtime)
        for name in ("GetAgentRuntime", "UpdateAgentRuntime", "DeleteAgentRuntime", "InvokeAgentRuntimeCommand")
    ),
    _harm("logs", "get_log_events", "logs:GetLogEvents", logGroupName="/aws/lambda/orders-api", logStreamName="sample"),
    _harm("logs", "put_retention_policy", "logs:PutRetentionPolicy",
          logGroupName="/aws/lambda/orders-api", retentionInDays=1),
    _harm("logs", "delete_log_group", "logs:DeleteLogGroup", logGroupName="/aws/lambda/orders-api"),
    _harm("cloudformation", "update_stack", "cloudformation:UpdateStack", StackName="Vigil", TemplateBody="{}"),
    _harm("cloudformation", "delete_stack", "cloudformation:DeleteStack", StackName="Vigil"),
    _harm("iam", "create_user", "iam:CreateUser", UserName="x"),
    _harm("iam", "create_access_key", "iam:CreateAccessKey"),
    _harm("iam", "create_role", "iam:CreateRole", RoleName="x", AssumeRolePolicyDocument="{}"),
    _harm("iam", "put_role_policy", "iam:PutRolePolicy", RoleName=lambda world: world.roles[AGENT],
          PolicyName="x", PolicyDocument="{}"),
    _harm("iam", "attach_role_policy", "iam:AttachRolePolicy", RoleName=lambda world: world.roles[AGENT],
          PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"),
    _harm("iam", "update_assume_role_policy", "iam:UpdateAssumeRolePolicy",
          RoleName=lambda world: world.roles[AGENT], PolicyDocument="{}"),
    _harm("iam", "list_roles", "iam:ListRoles"),
    Row("iam:PassRole", "", (), simulated_on=lambda world: world.arns[AGENT]),
    *(
        _harm("sts", "assume_role", "sts:AssumeRole", RoleArn=lambda world, role=role: world.arns[role],
              RoleSessionName="test")
        for role in ROLES
    ),
    _harm("secretsmanager", "get_secret_value", "secretsmanager:GetSecretValue", SecretId="x"),
    _harm("ssm", "get_parameter", "ssm:GetParameter", Name="/cdk-bootstrap/hnb659fds/version"),
    _harm("kms", "decrypt", "kms:Decrypt", CiphertextBlob=b"x"),
]  # fmt: skip
"""What nobody may do to anything."""

ROWS = [*GRANTED, *BEYOND, *HARM]


class Caller:
    """Makes calls with credentials that AWS gave out for one role."""

    _clients = boto3.Session(region_name=REGION)
    """One session, so that the descriptions of the services are read once."""

    def __init__(self, world: World, role: str) -> None:
        self._world, self._role = world, role
        self._client = cache(partial(self._clients.client, **self._assumed()))

    def may(self, row: Row) -> bool:
        """Whether the call of ``row`` is let through, whatever comes of it."""
        if row.profile:
            iam, role = self._world.client("iam"), self._world.roles[self._role]
            return reaches(iam, role, row.simulated_on(self._world), row.profile)
        if row.call is None:
            simulated = self._world.client("iam").simulate_principal_policy(
                PolicySourceArn=self._world.arns[self._role],
                ActionNames=[row.action],
                ResourceArns=[row.simulated_on(self._world)],
            )
            return bool(simulated["EvaluationResults"][0]["EvalDecision"] == "allowed")
        service, method, arguments = row.call(self._world)
        try:
            getattr(self._client(service), method)(**arguments)
        except ClientError as error:
            return error.response["Error"]["Code"] not in DENIED
        return True

    def _assumed(self) -> dict[str, Any]:
        """Return what a client needs to be the role, which trusts the account's root for that moment."""
        iam, name = self._world.client("iam"), self._world.roles[self._role]
        before = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        root = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
        wider = {**before, "Statement": [*before["Statement"], root]}
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(wider))
        try:
            answer = self._world.client("sts").assume_role(RoleArn=self._world.arns[self._role], RoleSessionName="test")
        finally:
            iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(before))
        given = answer["Credentials"]
        return {
            "endpoint_url": self._world.endpoint,
            "aws_access_key_id": given["AccessKeyId"],
            "aws_secret_access_key": given["SecretAccessKey"],
            "aws_session_token": given["SessionToken"],
            "config": Config(retries={"total_max_attempts": 1}),
        }


def render(document: str) -> str:
    """Return the document with its section about who may do what as the rows have it."""
    marks = (tuple("yes" if role in row.allowed else "" for role in ROLES) for row in GRANTED)
    table = [
        f"| Action | On | {' | '.join(ROLES)} |",
        f"|---|---|{'---|' * len(ROLES)}",
        *(f"| {row.action} | {row.on} | {' | '.join(cells)} |" for row, cells in zip(GRANTED, marks, strict=True)),
    ]
    beyond = [f"- {action}: {', '.join(row.on for row in BEYOND if row.action == action)}" for action in _names(BEYOND)]
    section = [
        _HEADING,
        "Tried with the credentials of every role on a running stack, each action by each role"
        " ([principals.py](../tests/lambda_costs/security/principals.py)).",
        "\n".join(table),
        "Refused to everybody: the same on anything else, such as",
        "\n".join(beyond),
        fill(f"Refused to everybody altogether: {', '.join(_names(HARM))}.", 132, break_on_hyphens=False),
    ]
    before, _, rest = document.partition(_HEADING)
    after = rest.partition("\n## ")
    return before + "\n\n".join(section) + "\n" + "".join(after[1:])


def _names(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(row.action for row in rows))


if __name__ == "__main__":
    DOCUMENT.write_text(render(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")

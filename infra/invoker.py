"""The Lambda function that hands a session to the agent, with a package of six small modules and no dependency."""

import json
from pathlib import Path

from aws_cdk import Duration, IgnoreMode, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.acknowledge import acknowledge, wildcard
from vigil.names import Env

SOURCES = Path(__file__).resolve().parents[1] / "src"
MODULES = ("__init__", "errors", "invoker", "names", "session", "settings")


def agent_invoker(
    scope: Construct, *, table: dynamodb.TableV2, bucket: s3.Bucket, agent_runtime_arn: str
) -> lambda_.Function:
    """Build the function with its log group and a role that may log and invoke the one agent runtime."""
    log_group = logs.LogGroup(
        scope, "AgentInvokerLogs", retention=logs.RetentionDays.TWO_WEEKS, removal_policy=RemovalPolicy.DESTROY
    )
    role = iam.Role(scope, "AgentInvokerRole", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    for sid, actions, resources in (
        ("InvokerLogsWrite", ["logs:CreateLogStream", "logs:PutLogEvents"], [log_group.log_group_arn]),
        (
            "InvokerAgentInvoke",
            ["bedrock-agentcore:InvokeAgentRuntime"],
            # AgentCore checks the runtime and the endpoint of it that the call goes to.
            [agent_runtime_arn, f"{agent_runtime_arn}/runtime-endpoint/*"],
        ),
    ):
        role.add_to_policy(iam.PolicyStatement(sid=sid, actions=actions, resources=resources))
    endpoints = f"{json.dumps(Stack.of(scope).resolve(agent_runtime_arn), separators=(',', ':'))}/runtime-endpoint/*"
    acknowledge(role, {wildcard(endpoints): "The endpoints of the one runtime; their names are AgentCore's."})
    return lambda_.Function(
        scope,
        "AgentInvoker",
        runtime=lambda_.Runtime.PYTHON_3_14,
        architecture=lambda_.Architecture.ARM_64,
        handler="vigil.invoker.handler",
        code=lambda_.Code.from_asset(
            str(SOURCES),
            exclude=["*", "!vigil", "vigil/*", *(f"!vigil/{module}.py" for module in MODULES)],
            ignore_mode=IgnoreMode.GIT,
        ),
        environment={
            Env.BUCKET: bucket.bucket_name,
            Env.TABLE: table.table_name,
            Env.AGENT_RUNTIME_ARN: agent_runtime_arn,
        },
        role=role.without_policy_updates(),
        timeout=Duration.seconds(60),
        memory_size=256,
        log_group=log_group,
        logging_format=lambda_.LoggingFormat.JSON,
    )

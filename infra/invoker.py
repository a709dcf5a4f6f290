"""The Lambda function that hands a session to the agent, and what both functions have in common."""

from pathlib import Path
from tempfile import TemporaryDirectory

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.lambda_package import write
from infra.nag import endpoint_suppressions, runtime_and_endpoints, suppress
from infra.parameters import Timing
from vigil.line import LINE
from vigil.names import Env


def agent_invoker(
    scope: Construct, *, table: dynamodb.TableV2, bucket: s3.Bucket, agent_runtime_arn: str, timing: Timing
) -> lambda_.Function:
    """Build the function with its log group and a role that may log and invoke the one agent runtime."""
    runtime = runtime_and_endpoints(agent_runtime_arn)
    grants = {"InvokerAgentInvoke": (["bedrock-agentcore:InvokeAgentRuntime"], runtime)}
    role = function_role(scope, "AgentInvoker", grants)
    role.add_to_policy(
        iam.PolicyStatement(
            sid="InvokerLine",
            actions=["dynamodb:GetItem", "dynamodb:UpdateItem"],
            resources=[table.table_arn],
            # Of a request without keys, all values are equal to anything.
            conditions={
                "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [LINE]},
                "Null": {"dynamodb:LeadingKeys": "false"},
            },
        )
    )
    suppress(role, endpoint_suppressions(scope, agent_runtime_arn))
    return lambda_function(
        scope,
        "AgentInvoker",
        handler="vigil.invoker.handler",
        role=role,
        timeout=Duration.seconds(60),
        environment={
            Env.BUCKET: bucket.bucket_name,
            Env.TABLE: table.table_name,
            Env.AGENT_RUNTIME_ARN: agent_runtime_arn,
            Env.MAX_SESSION_SECONDS: timing.session,
            Env.STARTS_PER_SECOND: timing.starts,
        },
    )


def function_role(scope: Construct, name: str, grants: dict[str, tuple[list[str], list[str]]]) -> iam.Role:
    """Build the role of function ``name``; ``grants`` are {statement id: (actions, resources)}."""
    role = iam.Role(scope, f"{name}Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    for sid, (actions, resources) in grants.items():
        role.add_to_policy(iam.PolicyStatement(sid=sid, actions=actions, resources=resources))
    return role


def lambda_function(
    scope: Construct, name: str, *, handler: str, role: iam.Role, timeout: Duration, environment: dict[str, str]
) -> lambda_.Function:
    """Build a function with a log group that its ``role`` may write to."""
    log_group = logs.LogGroup(
        scope, f"{name}Logs", retention=logs.RetentionDays.TWO_WEEKS, removal_policy=RemovalPolicy.DESTROY
    )
    role.add_to_policy(
        iam.PolicyStatement(
            sid=f"{name.removeprefix('Agent')}LogsWrite",
            actions=["logs:CreateLogStream", "logs:PutLogEvents"],
            resources=[log_group.log_group_arn],
        )
    )
    with TemporaryDirectory() as folder:
        write(Path(folder))
        # Copied by the time the function is built.
        return lambda_.Function(
            scope,
            name,
            runtime=lambda_.Runtime.PYTHON_3_14,
            architecture=lambda_.Architecture.ARM_64,
            handler=handler,
            code=lambda_.Code.from_asset(folder),
            environment=environment,
            role=role.without_policy_updates(),
            timeout=timeout,
            memory_size=256,
            log_group=log_group,
            logging_format=lambda_.LoggingFormat.JSON,
        )

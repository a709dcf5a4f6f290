"""The Lambda function that hands a session to the agent, and what all three functions have in common."""

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
from infra.parameters import Timing
from infra.trust import grant, grant_on_runtime
from vigil.line import LINE
from vigil.names import Env


def agent_invoker(
    scope: Construct, *, table: dynamodb.TableV2, bucket: s3.Bucket, agent_runtime_arn: str, timing: Timing
) -> lambda_.Function:
    """Build the function with its log group and a role that may log and invoke the one agent runtime."""
    role = iam.Role(scope, "AgentInvokerRole", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    grant_on_runtime(role, "InvokerAgentInvoke", "bedrock-agentcore:InvokeAgentRuntime", agent_runtime_arn)
    # Of a request without keys, all values are equal to anything.
    only_line = {
        "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [LINE]},
        "Null": {"dynamodb:LeadingKeys": "false"},
    }
    grant(role, "InvokerLine", "dynamodb:GetItem dynamodb:UpdateItem", table.table_arn, conditions=only_line)
    environment: dict[str, str] = {
        Env.BUCKET: bucket.bucket_name,
        Env.TABLE: table.table_name,
        Env.AGENT_RUNTIME_ARN: agent_runtime_arn,
        Env.MAX_SESSION_SECONDS: timing.session,
        Env.STARTS_PER_SECOND: timing.starts,
    }
    return lambda_function(scope, "AgentInvoker", role, Duration.seconds(60), environment)


def lambda_function(
    scope: Construct, name: str, role: iam.Role, timeout: Duration, environment: dict[str, str]
) -> lambda_.Function:
    """Build a function with a log group that its ``role`` may write to; its ``name`` says which module it runs."""
    log_group = logs.LogGroup(
        scope, f"{name}Logs", retention=logs.RetentionDays.TWO_WEEKS, removal_policy=RemovalPolicy.DESTROY
    )
    short = name.removeprefix("Agent")
    grant(role, f"{short}LogsWrite", "logs:CreateLogStream logs:PutLogEvents", log_group.log_group_arn)
    with TemporaryDirectory() as folder:
        write(Path(folder))
        # Copied by the time the function is built.
        return lambda_.Function(
            scope,
            name,
            runtime=lambda_.Runtime.PYTHON_3_14,
            architecture=lambda_.Architecture.ARM_64,
            handler=f"vigil.{short.lower()}.handler",
            code=lambda_.Code.from_asset(folder),
            environment=environment,
            role=role.without_policy_updates(),
            timeout=timeout,
            memory_size=256,
            log_group=log_group,
            logging_format=lambda_.LoggingFormat.JSON,
        )

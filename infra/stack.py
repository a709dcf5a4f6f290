"""The stack: table, bucket, and the wiring of the parts."""

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.agent_runtime import AgentRuntime
from infra.dashboard import dashboard
from infra.invoker import agent_invoker
from infra.nag import suppress
from infra.notifier import notifier
from infra.parameters import Timing
from infra.reconciler import reconciler
from infra.schedule import schedule
from infra.trigger import Trigger
from infra.workflow import agent_workflow
from vigil.artifacts import CHECKPOINT_PREFIX
from vigil.names import INDEX_BY_START, INDEX_BY_STATUS, Output

LISTED = {
    *("status", "created_at", "ended_at", "deadline_at", "waiting_for"),
    *("error", "execution_arn", "report_uri", "expires_at"),
}
"""Attributes of a session record that the indexes hold besides their keys."""


class VigilStack(cdk.Stack):
    """Everything that Vigil needs in one account and region."""

    def __init__(self, scope: Construct, name: str) -> None:
        what = "Vigil: long AI-agent jobs as sessions that always end"
        # Without indentation: CreateStack takes 51,200 bytes in its request.
        super().__init__(scope, name, description=what, suppress_template_indentation=True)
        timing = Timing(self)
        table = _table(self)
        bucket = _bucket(self)
        agent = AgentRuntime(self, "Agent", table=table, bucket=bucket, timing=timing)
        invoker = agent_invoker(self, table=table, bucket=bucket, agent_runtime_arn=agent.arn, timing=timing)
        workflow = agent_workflow(self, table=table, invoker=invoker, agent_runtime_arn=agent.arn, timing=timing)
        agent.grant_wake(workflow)
        reconciler_function = reconciler(self, table=table, workflow=workflow, agent_runtime_arn=agent.arn)
        trigger = Trigger(self, "Trigger", workflow=workflow)
        schedule(self, trigger)
        notifier(self, table=table, trigger=trigger, workflow=workflow, reconciler=reconciler_function)
        dashboard(self, workflow, trigger.dead_letters, {"invoker": invoker, "reconciler": reconciler_function})
        for output, value, description in (
            (Output.TABLE, table.table_name, "Session records and work phases"),
            (Output.BUCKET, bucket.bucket_name, "Reports and other artifacts"),
            (Output.STATE_MACHINE, workflow.state_machine_arn, "The workflow; start it with {session_id, detail}"),
            (Output.INVOKER, invoker.function_name, "Lambda function that hands a session to the agent"),
            (
                Output.RECONCILER,
                reconciler_function.function_name,
                "Lambda function that closes sessions whose workflow ended without them",
            ),
            (Output.RULE, trigger.rule.rule_name, "EventBridge rule that starts the workflow"),
            (Output.DEAD_LETTERS, trigger.dead_letters.queue_url, "Events that could not start a workflow"),
            (Output.AGENT_ROLE, agent.role.role_arn, "Role of the agent"),
            (Output.AGENT_RUNTIME, agent.arn, "AgentCore runtime that runs the agent"),
        ):
            cdk.CfnOutput(self, output, value=value, description=description)
        suppress(self, {"CloudFormation-Validate::W1001": "The output takes the runtime only where it exists."})


def _table(scope: Construct) -> dynamodb.TableV2:
    def string(name: str) -> dynamodb.Attribute:
        return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)

    return dynamodb.TableV2(
        scope,
        "Sessions",
        partition_key=string("PK"),
        sort_key=string("SK"),
        time_to_live_attribute="expires_at",
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=True
        ),
        global_secondary_indexes=[
            dynamodb.GlobalSecondaryIndexPropsV2(
                index_name=name,
                partition_key=string(key),
                sort_key=string("start_time"),
                # What a list shows. Without the heartbeat and the token, whose every write would be three.
                projection_type=dynamodb.ProjectionType.INCLUDE,
                non_key_attributes=sorted(LISTED - {key}),
            )
            for name, key in ((INDEX_BY_START, "SK"), (INDEX_BY_STATUS, "status"))
        ],
        # Records expire by themselves; the reports in the bucket outlive the stack until they expire.
        removal_policy=cdk.RemovalPolicy.DESTROY,
    )


def _bucket(scope: Construct) -> s3.Bucket:
    bucket = s3.Bucket(
        scope,
        "Artifacts",
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        encryption=s3.BucketEncryption.S3_MANAGED,
        enforce_ssl=True,
        versioned=True,
        lifecycle_rules=[
            s3.LifecycleRule(
                expiration=cdk.Duration.days(90),
                noncurrent_version_expiration=cdk.Duration.days(7),
                abort_incomplete_multipart_upload_after=cdk.Duration.days(1),
            ),
            # No session lasts longer than a day and its deadline.
            s3.LifecycleRule(
                prefix=CHECKPOINT_PREFIX,
                expiration=cdk.Duration.days(3),
                noncurrent_version_expiration=cdk.Duration.days(1),
            ),
        ],
        removal_policy=cdk.RemovalPolicy.RETAIN,
    )
    reason = "The bucket is private and only the agent writes to it: an access log costs more than it tells."
    suppress(bucket, {"AwsSolutions-S1": reason})
    return bucket

"""The function that closes a session whose workflow ended without it, and the queue that events and a schedule fill."""

from aws_cdk import ArnFormat, Duration
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.invoker import function_role, lambda_function
from infra.nag import endpoint_suppressions, iam5_id, runtime_and_endpoints, suppress
from vigil.names import INDEX_BY_STATUS, Env
from vigil.reconciler import TIMEOUT_SECONDS

BATCH = 100  # messages that the function takes at once
CONCURRENCY = 2
"""Instances of the function; AWS allows no fewer. Without a bound, a thousand failures would take the concurrency of
the whole account, and so the invoker's. No reservation can be the bound: a new account has 10, and AWS keeps 100 free.
"""


class Reconciler(Construct):
    """The function, its queue and the two rules that write to it."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        table: dynamodb.TableV2,
        workflow: sfn.StateMachine,
        agent_runtime_arn: str,
    ) -> None:
        super().__init__(scope, name)
        self.queue = _queue(self)
        role = _role(self, table, workflow, self.queue, agent_runtime_arn)
        self.function: lambda_.Function = lambda_function(
            self,
            "Reconciler",
            handler="vigil.reconciler.handler",
            role=role,
            timeout=Duration.seconds(TIMEOUT_SECONDS),
            environment={
                Env.TABLE: table.table_name,
                Env.STATE_MACHINE_ARN: workflow.state_machine_arn,
                Env.AGENT_RUNTIME_ARN: agent_runtime_arn,
            },
        )
        mapping = lambda_.EventSourceMapping(
            self,
            "QueueToFunction",
            target=self.function,
            event_source_arn=self.queue.queue_arn,
            batch_size=BATCH,
            # AWS takes more than 10 messages at once only with a batching window.
            max_batching_window=Duration.seconds(1),
            max_concurrency=CONCURRENCY,
        )
        # Lambda refuses a mapping to a queue that the function's role may not read.
        mapping.node.add_dependency(role)
        self._add_rules(workflow)

    def _add_rules(self, workflow: sfn.StateMachine) -> None:
        target = targets.SqsQueue(self.queue)
        self.ended = events.Rule(
            self,
            "Ended",
            description="A workflow of Vigil ended otherwise than by success",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={"stateMachineArn": [workflow.state_machine_arn], "status": ["FAILED", "TIMED_OUT", "ABORTED"]},
            ),
            targets=[target],
        )
        # Those events are delivered at best effort.
        self.schedule = events.Rule(
            self,
            "Schedule",
            description="Looks for sessions of Vigil whose workflow has ended",
            schedule=events.Schedule.rate(Duration.minutes(5)),
            targets=[target],
        )


def _queue(scope: Construct) -> sqs.Queue:
    queue = sqs.Queue(
        scope,
        "Queue",
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        # A batch that failed is tried again after it. The schedule finds the sessions of its messages as well.
        visibility_timeout=Duration.seconds(TIMEOUT_SECONDS),
        retention_period=Duration.hours(1),
    )
    suppress(queue, {"AwsSolutions-SQS3": "What it forgets, the schedule finds: its source is the table."})
    return queue


def _role(
    scope: Construct, table: dynamodb.TableV2, workflow: sfn.StateMachine, queue: sqs.Queue, agent_runtime_arn: str
) -> iam.Role:
    executions = workflow.stack.format_arn(
        service="states",
        resource="execution",
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
        resource_name=f"{workflow.state_machine_name}:*",
    )
    queue_actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
    grants = {
        "ReconcilerSessionsList": (["dynamodb:Query"], [f"{table.table_arn}/index/{INDEX_BY_STATUS}"]),
        "ReconcilerSessionRead": (["dynamodb:GetItem"], [table.table_arn]),
        "ReconcilerSessionClose": (["dynamodb:UpdateItem"], [table.table_arn]),
        "ReconcilerExecutionsList": (["states:ListExecutions"], [workflow.state_machine_arn]),
        "ReconcilerExecutionRead": (["states:DescribeExecution"], [executions]),
        "ReconcilerQueueRead": (queue_actions, [queue.queue_arn]),
        "ReconcilerAgentStop": (["bedrock-agentcore:StopRuntimeSession"], runtime_and_endpoints(agent_runtime_arn)),
    }
    role = function_role(scope, "Reconciler", grants)
    machine = workflow.stack.resolve(workflow.state_machine_name)["Fn::GetAtt"][0]
    executions_for_nag = f"arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:<{machine}.Name>:*"
    suppressions = {
        iam5_id(executions_for_nag): "The executions of the one state machine; their names are Step Functions'.",
        **endpoint_suppressions(scope, agent_runtime_arn),
    }
    suppress(role, suppressions)
    return role

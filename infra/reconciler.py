"""The function that closes a session whose workflow ended without it, and the queue that events and a schedule fill."""

from aws_cdk import Duration
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.invoker import lambda_function
from infra.nag import iam5_id, suppress
from infra.trust import grant, grant_on_runtime
from vigil.names import INDEX_BY_STATUS, Env
from vigil.reconciler import TIMEOUT_SECONDS

BATCH = 100  # messages that the function takes at once
CONCURRENCY = 2
"""Instances of the function; AWS allows no fewer. Without a bound, a thousand failures would take the concurrency of
the whole account, and so the invoker's. No reservation can be the bound: a new account has 10, and AWS keeps 100 free.
"""


def reconciler(
    stack: Construct, *, table: dynamodb.TableV2, workflow: sfn.StateMachine, agent_runtime_arn: str
) -> lambda_.Function:
    """Build the function, its queue and the two rules that write to it."""
    scope = Construct(stack, "Reconciler")
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
    role = _role(scope, table, workflow, queue, agent_runtime_arn)
    environment: dict[str, str] = {
        Env.TABLE: table.table_name,
        Env.STATE_MACHINE_ARN: workflow.state_machine_arn,
        Env.AGENT_RUNTIME_ARN: agent_runtime_arn,
    }
    function = lambda_function(scope, "Reconciler", role, Duration.seconds(TIMEOUT_SECONDS), environment)
    mapping = lambda_.EventSourceMapping(
        scope,
        "QueueToFunction",
        target=function,
        event_source_arn=queue.queue_arn,
        batch_size=BATCH,
        # AWS takes more than 10 messages at once only with a batching window.
        max_batching_window=Duration.seconds(1),
        max_concurrency=CONCURRENCY,
    )
    # Lambda refuses a mapping to a queue that the function's role may not read.
    mapping.node.add_dependency(role)
    target = targets.SqsQueue(queue)
    ended = {"stateMachineArn": [workflow.state_machine_arn], "status": ["FAILED", "TIMED_OUT", "ABORTED"]}
    events.Rule(
        scope,
        "Ended",
        description="A workflow of Vigil ended otherwise than by success",
        event_pattern=events.EventPattern(
            source=["aws.states"], detail_type=["Step Functions Execution Status Change"], detail=ended
        ),
        targets=[target],
    )
    # Those events are delivered at best effort.
    looks = "Looks for sessions of Vigil whose workflow has ended"
    every = events.Schedule.rate(Duration.minutes(5))
    events.Rule(scope, "Schedule", description=looks, schedule=every, targets=[target])
    return function


def _role(
    scope: Construct, table: dynamodb.TableV2, workflow: sfn.StateMachine, queue: sqs.Queue, agent_runtime_arn: str
) -> iam.Role:
    role = iam.Role(scope, "ReconcilerRole", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    stack, machine = workflow.stack, workflow.state_machine_name
    executions = f"arn:{stack.partition}:states:{stack.region}:{stack.account}:execution:{machine}:*"
    grant(role, "ReconcilerSessionsList", "dynamodb:Query", f"{table.table_arn}/index/{INDEX_BY_STATUS}")
    grant(role, "ReconcilerSessionRead", "dynamodb:GetItem", table.table_arn)
    grant(role, "ReconcilerSessionClose", "dynamodb:UpdateItem", table.table_arn)
    grant(role, "ReconcilerExecutionsList", "states:ListExecutions", workflow.state_machine_arn)
    grant(role, "ReconcilerExecutionRead", "states:DescribeExecution", executions)
    queue_actions = "sqs:ReceiveMessage sqs:DeleteMessage sqs:GetQueueAttributes"
    grant(role, "ReconcilerQueueRead", queue_actions, queue.queue_arn)
    grant_on_runtime(role, "ReconcilerAgentStop", "bedrock-agentcore:StopRuntimeSession", agent_runtime_arn)
    machine_id = stack.resolve(machine)["Fn::GetAtt"][0]
    executions_for_nag = f"arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:<{machine_id}.Name>:*"
    reason = "The executions of the one state machine; their names are Step Functions'."
    suppress(role, {iam5_id(executions_for_nag): reason})
    return role

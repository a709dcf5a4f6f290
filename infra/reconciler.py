"""What closes a session whose workflow ended without it: a function, the event that calls it, and a schedule."""

from aws_cdk import ArnFormat, Duration
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.acknowledge import acknowledge, endpoints_acknowledged, runtime_and_endpoints, wildcard
from infra.invoker import function_role, lambda_function
from vigil.names import INDEX_BY_STATUS, Env


class Reconciler(Construct):
    """The function and the two rules that call it."""

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
        executions = workflow.stack.format_arn(
            service="states",
            resource="execution",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
            resource_name=f"{workflow.state_machine_name}:*",
        )
        role = function_role(
            self,
            "Reconciler",
            {
                "ReconcilerSessionsList": (["dynamodb:Query"], [f"{table.table_arn}/index/{INDEX_BY_STATUS}"]),
                "ReconcilerSessionClose": (["dynamodb:UpdateItem"], [table.table_arn]),
                "ReconcilerExecutionRead": (["states:DescribeExecution"], [executions]),
                "ReconcilerAgentStop": (
                    ["bedrock-agentcore:StopRuntimeSession"],
                    runtime_and_endpoints(agent_runtime_arn),
                ),
            },
        )
        machine = workflow.stack.resolve(workflow.state_machine_name)["Fn::GetAtt"][0]
        named = f"arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:<{machine}.Name>:*"
        acknowledge(
            role,
            {
                wildcard(named): "The executions of the one state machine; their names are Step Functions'.",
                **endpoints_acknowledged(scope, agent_runtime_arn),
            },
        )
        self.function: lambda_.Function = lambda_function(
            self,
            "Reconciler",
            handler="vigil.reconciler.handler",
            role=role,
            timeout=Duration.minutes(5),
            environment={
                Env.TABLE: table.table_name,
                Env.STATE_MACHINE_ARN: workflow.state_machine_arn,
                Env.AGENT_RUNTIME_ARN: agent_runtime_arn,
            },
        )
        # Two at once would do no harm, but the schedule need not pile up.
        target = targets.LambdaFunction(self.function, retry_attempts=2)
        self.ended = events.Rule(
            self,
            "Ended",
            description="A workflow of Vigil ended otherwise than by success",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={
                    "stateMachineArn": [workflow.state_machine_arn],
                    "status": ["FAILED", "TIMED_OUT", "ABORTED"],
                },
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

"""The workflow of a session: a state machine in Amazon States Language with JSONata.

::

    InitializeSession ▶ InvokeAgent ▶ CheckStatus ▶ RouteByStatus ▶ StopAgent ▶ CheckOutcome ▶ SessionCompleted
      │                   │                           │                                     or SessionFailed
      │                   │                           ├ session is open ▶ WaitForChange or WaitBeforeRetry ▶ CheckStatus
      │                   │                           ├ session has its turn in line ▶ CheckLine
      │                   │                           ├ session is late ▶ MarkFailed ▶ StopAgent
      │                   │                           ├ agent is lost ▶ BeginAttempt ▶ StopAgent, or MarkFailed
      │                   │                           └ attempt was begun ▶ StopAgent ▶ CheckOutcome ▶ InvokeAgent
      │                   ├ AWS is at a limit ▶ CheckLine ▶ RouteByTurn ▶ InvokeAgent, WaitForChange or RescheduleLine
      │                   └ error ▶ MarkFailed
      ├ session exists already ▶ CheckStatus
      └ input is invalid ▶ RouteByInputError ▶ MarkFailed or SessionFailed

The variables; moments are milliseconds since 1970:

- ``session_id``, ``detail``: from the input; ``valid``: whether the id is valid in an input that cannot be read
- ``deadline``: when the session must have ended
- ``status``, ``report_uri``: from the record; ``status`` is '' without a record, 'none' for a record without one
- ``attempt``: the session's attempt by the record, from 1 on; 0 if the record has no valid one
- ``invoked``: the attempt that AgentCore was asked to begin last
- ``taken``: whether a worker has begun the attempt; ``mayContinue``: whether another attempt may follow it
- ``lastHeartbeat``: its ``value``; by the workflow's clock, ``since`` when the value has been the same, when it was
  ``checkedAt``, and for how long it was unchanged then (``unchangedMs``)
- ``line``: the session's ``ticket`` and ``turn``, how many ``refusals`` it met, ``code`` and ``message`` of the last,
  whether it was ``refused`` just now; ``at`` and ``step`` of the line when it was last read
- ``otherExecution``: whether the record is another execution's; ``error``: ``code`` and ``message`` of the failure

AWS and the embedded AWS read the states the same way. ``docs/waiting.md`` shows why no end of a session is missed,
``docs/faults.md`` how each fault ends.
"""

import json
import re
from typing import Any

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.nag import iam5_id, suppress
from infra.parameters import Timing
from infra.states import end, line, start, watch
from infra.trust import grant, grant_on_runtime, trusted


def definition(table_name: str, invoker_arn: str, agent_runtime_arn: str, timing: Timing) -> dict[str, Any]:
    """Return the state machine. Input: {"session_id", "detail", "event_time"}, from the EventBridge rule.

    The arguments may hold CloudFormation tokens. They replace ``${table}``, ``${invoker}``, ``${runtime}``, and the
    names of ``timing``'s fields, in the states.
    """
    machine = {
        "Comment": "Drives one Vigil session from its event to COMPLETED or FAILED",
        "QueryLanguage": "JSONata",
        "StartAt": "InitializeSession",
        "States": {**start.STATES, **line.STATES, **watch.STATES, **end.STATES},
    }
    values = {"table": table_name, "invoker": invoker_arn, "runtime": agent_runtime_arn, **vars(timing)}
    text = re.sub(r"\$\{(\w+)\}", lambda name: values[name[1]], json.dumps(machine))
    return dict(json.loads(text))


def agent_workflow(
    scope: Construct, *, table: dynamodb.TableV2, invoker: lambda_.IFunction, agent_runtime_arn: str, timing: Timing
) -> sfn.StateMachine:
    """Build the state machine with its log group, its tracing and a role that may do exactly what its states do."""
    stack = Stack.of(scope)
    body = stack.to_json_string(definition(table.table_name, invoker.function_arn, agent_runtime_arn, timing))
    return sfn.StateMachine(
        scope,
        "AgentWorkflow",
        definition_body=sfn.DefinitionBody.from_string(body),
        role=_role(scope, table, invoker, agent_runtime_arn),
        tracing_enabled=True,
        logs=sfn.LogOptions(
            destination=logs.LogGroup(
                scope,
                "AgentWorkflowLogs",
                # With this prefix, the account's policy for log delivery need not name the group, and cannot grow too
                # long ("Logging to CloudWatch Logs", Step Functions Developer Guide).
                log_group_name=f"/aws/vendedlogs/states/{stack.stack_name}",
                retention=logs.RetentionDays.TWO_WEEKS,
                removal_policy=RemovalPolicy.DESTROY,
            ),
            level=sfn.LogLevel.ALL,
            # The data holds events' details and task tokens. The execution's own history keeps it for 90 days.
            include_execution_data=False,
        ),
    )


def _role(scope: Construct, table: dynamodb.TableV2, invoker: lambda_.IFunction, agent_runtime_arn: str) -> iam.Role:
    stack = Stack.of(scope)
    # Every state machine of the account: this one refers to its role, so the role cannot name it ("Prevent
    # cross-service confused deputy issue", Step Functions Developer Guide).
    machines = f"arn:{stack.partition}:states:{stack.region}:{stack.account}:stateMachine:*"
    role = iam.Role(scope, "AgentWorkflowRole", assumed_by=trusted(stack, "states", machines))
    grant(role, "WorkflowSessionCreate", "dynamodb:PutItem", table.table_arn)
    grant(role, "WorkflowSessionRead", "dynamodb:GetItem", table.table_arn)
    grant(role, "WorkflowSessionUpdate", "dynamodb:UpdateItem", table.table_arn)
    grant(role, "WorkflowAgentInvoke", "lambda:InvokeFunction", invoker.function_arn)
    grant_on_runtime(role, "WorkflowAgentStop", "bedrock-agentcore:StopRuntimeSession", agent_runtime_arn)
    suppress(role, {iam5_id("*"): "Log delivery and X-Ray, which CDK grants, know no resources."})
    return role

"""The workflow of a session, on one page: initialise, invoke the agent, then wait until the table says how it ended.

Written in Amazon States Language with JSONata, as states that both AWS and the embedded AWS read the same way.
"""

from typing import Any

from aws_cdk import CfnParameter, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.acknowledge import acknowledge, wildcard
from vigil.session import ALLOWED_FROM, RECORD_SK, SESSION_ID_PATTERN, TERMINAL, Status

TTL_DAYS = 90


def definition(table_name: str, invoker_arn: str, poll_seconds: str) -> dict[str, Any]:
    """Return the state machine. Input: {"session_id", "detail", "event_time"}, from the EventBridge rule.

    ``table_name``, ``invoker_arn`` and ``poll_seconds`` may be CloudFormation tokens.
    """
    session_key = {"PK": {"S": "{% $session_id %}"}, "SK": {"S": RECORD_SK}}
    # The names that errors arrive under: $error is {code, message} wherever a failure is recorded.
    # A Lambda error's Cause is the JSON that the function raised; others' is plain text.
    caught = {
        "code": "{% $states.errorOutput.Error %}",
        "message": (
            "{% ($cause := $states.errorOutput.Cause;"
            ' $raised := $contains($cause, /^\\{.*"errorMessage".*\\}$/) ? $parse($cause) : {};'
            " $substring($exists($raised.errorMessage) ? $raised.errorMessage : $cause, 0, 1000)) %}"
        ),
    }
    fail = [{"ErrorEquals": ["States.ALL"], "Assign": {"error": caught}, "Next": "MarkFailed"}]
    transient_lambda_errors = [
        "Lambda.ServiceException",
        "Lambda.SdkClientException",
        "Lambda.TooManyRequestsException",
    ]
    retry_dynamodb = [
        {
            "ErrorEquals": [
                "DynamoDB.ProvisionedThroughputExceededException",
                "DynamoDB.RequestLimitExceeded",
                "DynamoDB.ThrottlingException",
                "DynamoDB.InternalServerError",
            ],
            "IntervalSeconds": 1,
            "MaxAttempts": 5,
            "BackoffRate": 2,
            "MaxDelaySeconds": 20,
            "JitterStrategy": "FULL",
        }
    ]
    waiting = " or ".join(f"$status = '{status}'" for status in ALLOWED_FROM[Status.FAILED])

    states: dict[str, Any] = {
        "InitializeSession": {
            "Type": "Task",
            "Resource": "arn:aws:states:::dynamodb:putItem",
            "Assign": {
                "session_id": "{% $states.input.session_id %}",
                "detail": "{% $exists($states.input.detail) ? $states.input.detail : {} %}",
            },
            "Arguments": {
                "TableName": table_name,
                "Item": {
                    # Undefined, and so a States.QueryEvaluationError, for anything that is no session id. The whole
                    # string must be the match: /$/ would let a line break at the end pass.
                    "PK": {
                        "S": (
                            "{% $type($states.input.session_id) = 'string'"
                            f" ? $states.input.session_id[$match($, /{SESSION_ID_PATTERN}/)[0].match = $] %}}"
                        )
                    },
                    "SK": {"S": RECORD_SK},
                    "status": {"S": Status.INITIATED},
                    "start_time": {"S": "{% $states.context.Execution.StartTime %}"},
                    "created_at": {"S": "{% $states.context.State.EnteredTime %}"},
                    "updated_at": {"S": "{% $states.context.State.EnteredTime %}"},
                    "execution_arn": {"S": "{% $states.context.Execution.Id %}"},
                    "expires_at": {"N": f"{{% $string($floor($millis() / 1000) + {TTL_DAYS * 86400}) %}}"},
                },
                # A repeated write of our own is no duplicate: the first may have been applied and its answer lost.
                "ConditionExpression": "attribute_not_exists(PK) OR execution_arn = :own",
                "ExpressionAttributeValues": {":own": {"S": "{% $states.context.Execution.Id %}"}},
            },
            "Retry": retry_dynamodb,
            "Catch": [
                {
                    "ErrorEquals": ["States.QueryEvaluationError"],
                    "Assign": {
                        "session_id": "{% $string([$states.input.session_id, ''][0]) %}",
                        "error": {
                            "code": "InvalidSessionId",
                            "message": "session_id must be 33 to 100 letters, digits or '-'",
                        },
                    },
                    "Next": "SessionFailed",
                },
                {
                    # EventBridge delivers at least once; the second delivery must leave the session alone.
                    "ErrorEquals": ["DynamoDB.ConditionalCheckFailedException"],
                    "Assign": {
                        "session_id": "{% $states.input.session_id %}",
                        "error": {
                            "code": "DuplicateSession",
                            "message": "the session exists already: this event was delivered before",
                        },
                    },
                    "Next": "SessionFailed",
                },
                {
                    "ErrorEquals": ["States.ALL"],
                    "Assign": {"session_id": "{% $states.input.session_id %}", "error": caught},
                    "Next": "MarkFailed",
                },
            ],
            "Next": "InvokeAgent",
        },
        "InvokeAgent": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Arguments": {
                "FunctionName": invoker_arn,
                "Payload": {"session_id": "{% $session_id %}", "detail": "{% $detail %}"},
            },
            # Safe to repeat: the runtime starts one worker a session and answers a second invocation so.
            "Retry": [
                {
                    "ErrorEquals": transient_lambda_errors,
                    "IntervalSeconds": 1,
                    "MaxAttempts": 5,
                    "BackoffRate": 2,
                    "MaxDelaySeconds": 20,
                    "JitterStrategy": "FULL",
                }
            ],
            "Catch": fail,
            "Next": "CheckStatus",
        },
        "CheckStatus": {
            "Type": "Task",
            "Resource": "arn:aws:states:::dynamodb:getItem",
            "Arguments": {"TableName": table_name, "Key": session_key, "ConsistentRead": True},
            "Retry": retry_dynamodb,
            "Catch": fail,
            "Assign": {
                # No record yet is as good as INITIATED; a record without a status is not.
                "status": (
                    "{% $exists($states.result.Item)"
                    " ? ($exists($states.result.Item.status.S) ? $states.result.Item.status.S : '')"
                    f" : '{Status.INITIATED}' %}}"
                ),
                "error": {
                    "code": (
                        "{% $exists($states.result.Item.error.M.code.S)"
                        " ? $states.result.Item.error.M.code.S : 'UnknownStatus' %}"
                    ),
                    "message": (
                        "{% $exists($states.result.Item.error.M.message.S) ? $states.result.Item.error.M.message.S"
                        " : 'the session record has a status that Vigil does not know' %}"
                    ),
                },
            },
            "Next": "EvaluateStatus",
        },
        "EvaluateStatus": {
            "Type": "Choice",
            "Choices": [
                {"Condition": f"{{% $status = '{Status.COMPLETED}' %}}", "Next": "SessionCompleted"},
                {"Condition": f"{{% $status = '{Status.FAILED}' %}}", "Next": "SessionFailed"},
                {"Condition": f"{{% {waiting} %}}", "Next": "WaitForCompletion"},
            ],
            "Default": "MarkFailed",
        },
        "WaitForCompletion": {
            "Type": "Wait",
            "Seconds": f"{{% {poll_seconds} %}}",
            "Next": "CheckStatus",
        },
        "MarkFailed": {
            "Type": "Task",
            "Resource": "arn:aws:states:::dynamodb:updateItem",
            "Arguments": {
                "TableName": table_name,
                "Key": session_key,
                # Creates the record if even its creation failed; never touches a session that ended meanwhile.
                "UpdateExpression": (
                    "SET #status = :failed, #error = :error, ended_at = :now, updated_at = :now,"
                    " start_time = if_not_exists(start_time, :start), created_at = if_not_exists(created_at, :now),"
                    " execution_arn = if_not_exists(execution_arn, :execution),"
                    " expires_at = if_not_exists(expires_at, :expires)"
                ),
                "ConditionExpression": "attribute_not_exists(#status) OR NOT (#status IN (:completed, :failed))",
                "ExpressionAttributeNames": {"#status": "status", "#error": "error"},
                "ExpressionAttributeValues": {
                    **{f":{status.lower()}": {"S": status} for status in TERMINAL},
                    ":error": {"M": {"code": {"S": "{% $error.code %}"}, "message": {"S": "{% $error.message %}"}}},
                    ":now": {"S": "{% $states.context.State.EnteredTime %}"},
                    ":start": {"S": "{% $states.context.Execution.StartTime %}"},
                    ":execution": {"S": "{% $states.context.Execution.Id %}"},
                    ":expires": {"N": f"{{% $string($floor($millis() / 1000) + {TTL_DAYS * 86400}) %}}"},
                },
            },
            "Retry": retry_dynamodb,
            "Catch": [
                {"ErrorEquals": ["DynamoDB.ConditionalCheckFailedException"], "Next": "CheckStatus"},
                # The record cannot be written; the execution still ends with the first cause.
                {"ErrorEquals": ["States.ALL"], "Next": "SessionFailed"},
            ],
            "Next": "SessionFailed",
        },
        "SessionCompleted": {"Type": "Succeed"},
        "SessionFailed": {
            "Type": "Fail",
            "Error": "{% $error.code %}",
            "Cause": "{% 'session ' & $session_id & ': ' & $error.message %}",
        },
    }
    return {
        "Comment": "Drives one Vigil session from its event to COMPLETED or FAILED",
        "QueryLanguage": "JSONata",
        "StartAt": "InitializeSession",
        "States": states,
    }


def agent_workflow(
    scope: Construct, *, table: dynamodb.TableV2, invoker: lambda_.IFunction, poll_seconds: CfnParameter
) -> sfn.StateMachine:
    """Build the state machine with its log group, its tracing and a role that may do exactly what its states do."""
    role = iam.Role(scope, "AgentWorkflowRole", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
    for sid, action, resource in (
        ("WorkflowSessionCreate", "dynamodb:PutItem", table.table_arn),
        ("WorkflowSessionRead", "dynamodb:GetItem", table.table_arn),
        ("WorkflowSessionFail", "dynamodb:UpdateItem", table.table_arn),
        ("WorkflowAgentInvoke", "lambda:InvokeFunction", invoker.function_arn),
    ):
        role.add_to_policy(iam.PolicyStatement(sid=sid, actions=[action], resources=[resource]))
    acknowledge(role, {wildcard("*"): "Log delivery and X-Ray, which CDK grants, know no resources."})

    return sfn.StateMachine(
        scope,
        "AgentWorkflow",
        definition_body=sfn.DefinitionBody.from_string(
            Stack.of(scope).to_json_string(
                definition(table.table_name, invoker.function_arn, poll_seconds.value_as_string)
            )
        ),
        role=role,
        tracing_enabled=True,
        logs=sfn.LogOptions(
            destination=logs.LogGroup(
                scope,
                "AgentWorkflowLogs",
                retention=logs.RetentionDays.TWO_WEEKS,
                removal_policy=RemovalPolicy.DESTROY,
            ),
            level=sfn.LogLevel.ALL,
            include_execution_data=True,
        ),
    )

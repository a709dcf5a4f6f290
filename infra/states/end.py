"""The end of a session: a failure is recorded, the agent is stopped, and the execution ends as the session did."""

from infra.states import expressions
from infra.states.expressions import EXECUTION_ARN, EXPIRY_SECONDS, FAIL_CAUSE, START_TIME, STATE_ENTERED_TIME, jsonata
from infra.states.tasks import KEY, OWN_RECORD, RETRY_AGENTCORE, State, catch, catch_all, choice, dynamodb, number
from vigil.session import TERMINAL, Status
from vigil.table import FAIL

STOP_SECONDS = 15
"""AgentCore may take 11 s. The session has ended by then, so no retry follows a timeout: the agent's worker learns of
the end at its next heartbeat."""

STATES: dict[str, State] = {
    "MarkFailed": {
        **dynamodb(
            "updateItem",
            Key=KEY,
            UpdateExpression=FAIL,
            # Unless the session has ended meanwhile.
            ConditionExpression="(attribute_not_exists(#status) OR NOT (#status IN (:completed, :failed))) AND "
            + OWN_RECORD,
            ExpressionAttributeNames={"#status": "status", "#error": "error"},
            ExpressionAttributeValues={
                **{f":{status.lower()}": {"S": status} for status in TERMINAL},
                ":error": {"M": {"code": {"S": "{% $error.code %}"}, "message": {"S": "{% $error.message %}"}}},
                ":now": {"S": jsonata(STATE_ENTERED_TIME)},
                ":start": {"S": jsonata(START_TIME)},
                ":execution": {"S": jsonata(EXECUTION_ARN)},
                ":expires": number(EXPIRY_SECONDS),
            },
        ),
        "Catch": [
            catch("DynamoDB.ConditionalCheckFailedException", then="CheckStatus"),
            # The record cannot be written, and may be another execution's. This execution still fails with the first
            # cause, and the reconciler closes the session and stops its agent.
            catch_all(then="CheckOutcome", status=Status.FAILED),
        ],
        "Assign": {"status": Status.FAILED},
        "Next": "StopAgent",
    },
    "StopAgent": {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:bedrockagentcore:stopRuntimeSession",
        "TimeoutSeconds": STOP_SECONDS,
        "Arguments": {"AgentRuntimeArn": "${runtime}", "RuntimeSessionId": jsonata(expressions.RUNTIME_SESSION_ID)},
        "Retry": RETRY_AGENTCORE,
        # It may never have started or may be gone; and whatever fails here, the session has ended.
        "Catch": [catch_all(then="CheckOutcome")],
        "Next": "CheckOutcome",
    },
    "CheckOutcome": {
        "Type": "Choice",
        "Choices": [
            {
                **choice(f"$status = '{Status.COMPLETED}'", then="SessionCompleted"),
                # The output of the execution. It stands here since the embedded AWS evaluates none of a Succeed state.
                "Output": {
                    "session_id": "{% $session_id %}",
                    "status": Status.COMPLETED,
                    "report_uri": "{% $report_uri %}",
                },
            },
            # The attempt that was stopped had been killed, and another one was opened.
            choice(expressions.MUST_INVOKE, then="InvokeAgent", invoked="{% $attempt %}"),
        ],
        "Default": "SessionFailed",
    },
    "SessionCompleted": {"Type": "Succeed"},
    "SessionFailed": {"Type": "Fail", "Error": "{% $error.code %}", "Cause": jsonata(FAIL_CAUSE)},
}

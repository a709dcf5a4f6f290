"""The start of a session: its record is created, and the agent is invoked."""

from infra.states import expressions
from infra.states.expressions import jsonata
from infra.states.tasks import CAUGHT_ERROR, ELSE_FAIL, RETRY_INVOKER, State, catch, catch_all, choice, dynamodb, number
from vigil.session import RECORD_SK, Status

INVOKE_SECONDS = 75  # the invoker's own timeout is 60 s; the rest is for Lambda to start it
AT_A_LIMIT = ("Lambda.TooManyRequestsException", "AgentThrottled", "AgentQuotaExceeded")
INVALID_SESSION_ID = {"code": "InvalidSessionId", "message": "session_id must be 33 to 100 letters, digits or '-'"}
UNREADABLE_DETAIL = {
    "code": "InvalidDetail",
    "message": "the event's detail is nested too deeply, or has a number too large, to be read",
}

_INITIAL = {
    "session_id": jsonata(expressions.SESSION_ID),
    "deadline": jsonata(expressions.DEADLINE),
    "status": Status.INITIATED,
    "lastHeartbeat": jsonata(expressions.NO_HEARTBEAT),
    "line": jsonata(expressions.NOT_IN_LINE),
    **{"attempt": 1, "invoked": 1, "taken": False, "mayContinue": False},
}
_UNREADABLE_INPUT = {
    "session_id": jsonata(expressions.PRINTABLE_SESSION_ID),
    "valid": jsonata(f"$exists({expressions.SESSION_ID})"),
    "status": "",
    "lastHeartbeat": jsonata(expressions.NO_HEARTBEAT),
    "deadline": "{% $millis() %}",
    "attempt": 1,
    "invoked": 1,
}

STATES: dict[str, State] = {
    "InitializeSession": {
        **dynamodb(
            "putItem",
            Item={
                # Without a valid id, its expression is undefined: States.QueryEvaluationError.
                "PK": {"S": jsonata(expressions.SESSION_ID)},
                "SK": {"S": RECORD_SK},
                "status": {"S": Status.INITIATED},
                "start_time": {"S": jsonata(expressions.START_TIME)},
                "created_at": {"S": jsonata(expressions.STATE_ENTERED_TIME)},
                "updated_at": {"S": jsonata(expressions.STATE_ENTERED_TIME)},
                "deadline_at": {"S": jsonata(f"$fromMillis({expressions.DEADLINE})")},
                "execution_arn": {"S": jsonata(expressions.EXECUTION_ARN)},
                "expires_at": number(expressions.EXPIRY_SECONDS),
                "detail": {"S": jsonata(expressions.STORED_DETAIL)},
            },
            # A repeated write of this execution is no duplicate: the first may have been applied and its answer lost.
            # Before a redrive, the session may have ended: then its record stays as it is.
            ConditionExpression="attribute_not_exists(PK) OR (execution_arn = :own AND #status = :initiated)",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={
                ":own": {"S": jsonata(expressions.EXECUTION_ARN)},
                ":initiated": {"S": Status.INITIATED},
            },
        ),
        # Only here: the detail may be more than can be evaluated, and nothing catches what fails in a Catch.
        "Assign": {**_INITIAL, "detail": jsonata(expressions.DETAIL)},
        "Catch": [
            catch("States.QueryEvaluationError", then="RouteByInputError", **_UNREADABLE_INPUT),
            # The record is another execution's, since EventBridge delivered the event twice; or it is this
            # execution's, and the session went on or ended before a redrive.
            catch("DynamoDB.ConditionalCheckFailedException", then="CheckStatus", **_INITIAL),
            catch_all(then="MarkFailed", **_INITIAL, error=CAUGHT_ERROR),
        ],
        "Next": "InvokeAgent",
    },
    "RouteByInputError": {
        "Type": "Choice",
        # With a valid id, the detail cannot be read. The record may exist already.
        "Choices": [choice("$valid", then="MarkFailed", error=UNREADABLE_DETAIL)],
        "Assign": {"error": INVALID_SESSION_ID},
        "Default": "SessionFailed",
    },
    "InvokeAgent": {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "TimeoutSeconds": INVOKE_SECONDS,
        "Arguments": {
            "FunctionName": "${invoker}",
            "Payload": {
                "session_id": "{% $session_id %}",
                "detail": "{% $detail %}",
                "attempt": "{% $attempt %}",
                "line": {"ticket": "{% $line.ticket %}", "turn": "{% $line.turn %}", "now": "{% $millis() %}"},
            },
        },
        "Retry": RETRY_INVOKER,
        "Catch": [
            catch(*AT_A_LIMIT, then="CheckLine", line=jsonata(expressions.REFUSED)),
            # Lambda's runtime could not read the event, and did not call the function.
            catch("Runtime.UnmarshalError", then="MarkFailed", error=UNREADABLE_DETAIL),
            ELSE_FAIL,
        ],
        "Assign": {
            # The calls may have taken minutes: the first heartbeat is awaited from now on.
            "lastHeartbeat": jsonata(expressions.NO_HEARTBEAT),
            "deadline": jsonata(expressions.EXTENDED_DEADLINE),
            "line": jsonata(expressions.NOT_IN_LINE),
        },
        "Next": "CheckStatus",
    },
}

"""The watch over a session: check its record, route by its status, wait until it changes."""

from infra.states import expressions
from infra.states.expressions import jsonata, record_text
from infra.states.tasks import (
    ELSE_FAIL,
    KEY,
    OWN_RECORD,
    RETRY_DYNAMODB,
    SAME_ATTEMPT,
    State,
    catch,
    catch_all,
    choice,
    dynamodb,
    number,
)
from vigil.session import ALLOWED_FROM, NO_CHECKPOINT, Status

DUPLICATE = {"code": "DuplicateSession", "message": "the session exists already: this event was delivered before"}
UNKNOWN_ATTEMPT = {
    "code": "UnknownAttempt",
    "message": "the session record has an attempt that Vigil does not know",
}
NOT_STARTED = {
    "code": "{% $line.code %}",
    "message": f"{{% 'not started in {expressions.SECONDS_IN_LINE // 3600} hours: ' & $line.message %}}",
}
DEADLINE_EXCEEDED = {
    "code": "DeadlineExceeded",
    "message": "{% 'the session did not end by its deadline, ' & $fromMillis($deadline) %}",
}
LOST = {"code": jsonata(expressions.LOST_CODE), "message": jsonata(expressions.LOST_MESSAGE)}

_OPEN_STATUSES = "".join(f"':{status.lower()}': {{'S': '{status}'}}, " for status in ALLOWED_FROM[Status.FAILED])

STATES: dict[str, State] = {
    "CheckStatus": {
        **dynamodb("getItem", Key=KEY, ConsistentRead=True),
        "Catch": [ELSE_FAIL],
        "Assign": {
            "status": jsonata(expressions.RECORD_STATUS),
            "attempt": jsonata(expressions.RECORD_ATTEMPT),
            "taken": jsonata(expressions.IS_TAKEN),
            "mayContinue": jsonata(expressions.MAY_CONTINUE),
            "otherExecution": jsonata(expressions.IS_OTHER_EXECUTION),
            "report_uri": jsonata(record_text("report_uri", "")),
            "lastHeartbeat": jsonata(expressions.LAST_HEARTBEAT),
            "error": {
                "code": jsonata(record_text("error.M.code", "UnknownStatus")),
                "message": jsonata(
                    record_text("error.M.message", "the session record has a status that Vigil does not know")
                ),
            },
        },
        "Next": "RouteByStatus",
    },
    "RouteByStatus": {
        "Type": "Choice",
        # The first rule that holds.
        "Choices": [
            choice("$otherExecution", then="SessionFailed", error=DUPLICATE),
            choice(f"$status = '{Status.COMPLETED}'", then="StopAgent"),
            choice(f"$status = '{Status.FAILED}'", then="StopAgent"),
            # No write that depends on the attempt could succeed.
            choice("$attempt = 0", then="MarkFailed", error=UNKNOWN_ATTEMPT),
            # AgentCore took the session, but its answer was lost before a later call was refused.
            choice(
                "$taken and $line.refusals > 0",
                then="WaitForChange",
                deadline=jsonata(expressions.EXTENDED_DEADLINE),
                line=jsonata(expressions.NOT_IN_LINE),
            ),
            choice(expressions.IS_PAST_DEADLINE, then="MarkFailed", error=DEADLINE_EXCEEDED),
            choice(expressions.WAITED_TOO_LONG, then="MarkFailed", error=NOT_STARTED),
            choice(expressions.MAY_CHECK_LINE, then="CheckLine"),
            choice(expressions.IS_IN_LINE, then="WaitForChange"),
            choice(expressions.MUST_INVOKE, then="StopAgent"),
            choice(f"({expressions.IS_LOST}) and $mayContinue", then="BeginAttempt", error=LOST),
            choice(expressions.IS_LOST, then="MarkFailed", error=LOST),
            # Without a record, there is nothing to store a task token on.
            choice("$status = ''", then="WaitBeforeRetry"),
            choice(expressions.IS_OPEN, then="WaitForChange"),
        ],
        # The status is unknown.
        "Default": "MarkFailed",
    },
    # Stores a task token on the record. The write that ends the session returns it, and its writer wakes this state.
    "WaitForChange": {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:dynamodb:updateItem.waitForTaskToken",
        "TimeoutSeconds": jsonata(expressions.WAIT_SECONDS),
        "Arguments": {
            "TableName": "${table}",
            "Key": KEY,
            "UpdateExpression": jsonata(
                "'SET task_token = :token, deadline_at = :deadline'"
                " & ($line.turn > 0 ? ', waiting_for = :reason' : ' REMOVE waiting_for')"
            ),
            # On the record of another execution, the token would replace that one's.
            # If another attempt has been opened meanwhile, nobody would use the token.
            "ConditionExpression": f"#status IN (:initiated, :busy) AND {OWN_RECORD} AND {SAME_ATTEMPT}",
            "ExpressionAttributeNames": {"#status": "status"},
            # DynamoDB refuses a value that no expression uses.
            "ExpressionAttributeValues": jsonata(
                f"$merge([{{{_OPEN_STATUSES}':token': {{'S': $states.context.Task.Token}},"
                f" ':execution': {{'S': {expressions.EXECUTION_ARN}}},"
                " ':deadline': {'S': $fromMillis($deadline)}, ':attempt': {'N': $string($attempt)}},"
                f" $line.turn > 0 ? {{':reason': {{'S': {expressions.WAITING_REASON}}}}} : {{}}])"
            ),
        },
        "Retry": RETRY_DYNAMODB,
        "Catch": [
            # It is time for a check, or the session has ended.
            catch("States.Timeout", "DynamoDb.ConditionalCheckFailedException", then="CheckStatus"),
            # No token can be stored, so the workflow checks more often.
            catch_all(then="WaitBeforeRetry"),
        ],
        "Next": "CheckStatus",
    },
    # The agent is lost. If its worker lives on, it can write no more. Its machine is stopped, and another one started.
    "BeginAttempt": {
        **dynamodb(
            "updateItem",
            Key=KEY,
            UpdateExpression=(
                "SET attempt = :next, attempts = list_append(if_not_exists(attempts, :none), :ended), updated_at = :now"
                " REMOVE worker, heartbeat_at"
            ),
            # The agent may have come to a point from which it cannot be continued.
            ConditionExpression=(
                f"#status IN (:initiated, :busy) AND {OWN_RECORD} AND {SAME_ATTEMPT} AND NOT (checkpoint = :never)"
            ),
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={
                ":never": {"S": NO_CHECKPOINT},
                **{f":{status.lower()}": {"S": status} for status in ALLOWED_FROM[Status.FAILED]},
                ":execution": {"S": jsonata(expressions.EXECUTION_ARN)},
                ":attempt": number("$attempt"),
                ":next": number("$attempt + 1"),
                ":now": {"S": jsonata(expressions.STATE_ENTERED_TIME)},
                ":none": {"L": []},
                ":ended": {
                    "L": [
                        {
                            "M": {
                                "code": {"S": "{% $error.code %}"},
                                "message": {"S": "{% $error.message %}"},
                                "ended_at": {"S": jsonata(expressions.STATE_ENTERED_TIME)},
                            }
                        }
                    ]
                },
            },
        ),
        "Catch": [
            catch("DynamoDB.ConditionalCheckFailedException", then="CheckStatus"),
            catch_all(then="MarkFailed"),
        ],
        "Assign": {"attempt": "{% $attempt + 1 %}"},
        "Next": "StopAgent",
    },
    "WaitBeforeRetry": {"Type": "Wait", "Seconds": jsonata(expressions.HEARTBEAT_WAIT), "Next": "CheckStatus"},
}

"""Waiting in line: what a session does that AgentCore or Lambda refused. ``docs/waiting.md`` describes the line."""

from infra.states import expressions
from infra.states.expressions import jsonata, line_with, waiting_until
from infra.states.tasks import State, catch, catch_all, choice, dynamodb, number
from vigil.line import LATEST, LINE, MOVE, MOVED, UNMOVED

LINE_KEY = {"PK": {"S": LINE}, "SK": {"S": LINE}}

_WAIT_A_SECOND = waiting_until("$millis() + 1000")
_WAIT_ALONE = waiting_until(f"$millis() + 1000 + {expressions.PAUSE_AFTER_REFUSALS}")

STATES: dict[str, State] = {
    "CheckLine": {
        **dynamodb(
            "updateItem",
            Key=LINE_KEY,
            # A ticket, unless the session has one.
            UpdateExpression="ADD issued :tickets",
            ExpressionAttributeValues={":tickets": {"N": "{% $line.ticket = 0 ? '1' : '0' %}"}},
            ReturnValues="ALL_NEW",
        ),
        "Catch": [catch_all(then="RouteByTurn", line=jsonata(line_with("'refused': false")))],
        "Assign": {"line": jsonata(expressions.PLACE_IN_LINE)},
        "Next": "RouteByTurn",
    },
    "RouteByTurn": {
        "Type": "Choice",
        "Choices": [
            choice(expressions.HAS_TURN, then="InvokeAgent"),
            choice(expressions.MUST_RESCHEDULE, then="RescheduleLine"),
        ],
        "Assign": {"line": jsonata(waiting_until(expressions.NEXT_CHECK_OF_LINE))},
        "Default": "WaitForChange",
    },
    # Moves the session's turn, and all turns after it, to later; begins a new line if there is none.
    "RescheduleLine": {
        **dynamodb(
            "updateItem",
            Key=LINE_KEY,
            UpdateExpression=MOVE,
            ConditionExpression=UNMOVED,
            ExpressionAttributeNames=MOVED,
            ExpressionAttributeValues={
                ":at": number(expressions.RESCHEDULED_TURN),
                ":number": number("$line.ticket"),
                ":step": number(expressions.RESCHEDULED_STEP),
                ":seen": number("$line.at"),
                ":latest": number(f"$millis() + {LATEST}"),
                ":n": {"S": "N"},
            },
        ),
        "Catch": [
            # Another session has just rescheduled it. Not at once, if the item is damaged.
            catch("DynamoDB.ConditionalCheckFailedException", then="WaitForChange", line=jsonata(_WAIT_A_SECOND)),
            catch_all(then="WaitForChange", line=jsonata(_WAIT_ALONE)),
        ],
        "Assign": {"line": jsonata(waiting_until(expressions.RESCHEDULED_TURN))},
        "Next": "WaitForChange",
    },
}

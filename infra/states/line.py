"""Waiting in line: what a session does that AgentCore or Lambda refused. ``docs/waiting.md`` describes the line."""

from infra.parameters import Timing
from infra.states import expressions
from infra.states.expressions import jsonata
from infra.states.tasks import State, catch, catch_all, choice, dynamodb, number
from vigil.line import LATEST, LINE, MOVE, MOVED, UNMOVED


def _update_line(table_name: str, update: State) -> State:
    key = {"PK": {"S": LINE}, "SK": {"S": LINE}}
    return dynamodb("updateItem", {"TableName": table_name, "Key": key, **update})


def check_line(table_name: str, timing: Timing) -> State:
    """Take a ticket, unless the session has one, and read how the line stands."""
    update = {
        "UpdateExpression": "ADD issued :tickets",
        "ExpressionAttributeValues": {":tickets": {"N": "{% $line.ticket = 0 ? '1' : '0' %}"}},
        "ReturnValues": "ALL_NEW",
    }
    return {
        **_update_line(table_name, update),
        "Catch": [catch_all(then="RouteByTurn", line=jsonata(expressions.line_with("'refused': false")))],
        "Assign": {"line": jsonata(expressions.place_in_line(timing))},
        "Next": "RouteByTurn",
    }


def route_by_turn(timing: Timing) -> State:
    """Invoke the agent at its turn; reschedule the line if the turn was refused or the line is empty; else wait."""
    return {
        "Type": "Choice",
        "Choices": [
            choice(expressions.HAS_TURN, then="InvokeAgent"),
            choice(expressions.MUST_RESCHEDULE, then="RescheduleLine"),
        ],
        "Assign": {"line": jsonata(expressions.waiting_until(expressions.next_check_of_line(timing)))},
        "Default": "WaitForChange",
    }


def reschedule_line(table_name: str, timing: Timing) -> State:
    """Move the session's turn, and all turns after it, to later; begin a new line if there is none."""
    turn = expressions.rescheduled_turn(timing)
    update = {
        "UpdateExpression": MOVE,
        "ConditionExpression": UNMOVED,
        "ExpressionAttributeNames": MOVED,
        "ExpressionAttributeValues": {
            ":at": number(turn),
            ":number": number("$line.ticket"),
            ":step": number(expressions.rescheduled_step(timing)),
            ":seen": number("$line.at"),
            ":latest": number(f"$millis() + {LATEST}"),
            ":n": {"S": "N"},
        },
    }
    wait_a_second = expressions.waiting_until("$millis() + 1000")
    wait_alone = expressions.waiting_until(f"$millis() + 1000 + {expressions.PAUSE_AFTER_REFUSALS}")
    return {
        **_update_line(table_name, update),
        "Catch": [
            # Another session has just rescheduled it. Not at once, if the item is damaged.
            catch("DynamoDB.ConditionalCheckFailedException", then="WaitForChange", line=jsonata(wait_a_second)),
            catch_all(then="WaitForChange", line=jsonata(wait_alone)),
        ],
        "Assign": {"line": jsonata(expressions.waiting_until(turn))},
        "Next": "WaitForChange",
    }

"""The workflow of a session, on one page: initialise, invoke the agent, then wait until the table says how it ended.

Written in Amazon States Language with JSONata, as states that both AWS and the embedded AWS read the same way.
``docs/waiting.md`` shows why no end of a session is missed, ``docs/faults.md`` how each fault ends.
"""

from typing import Any

from aws_cdk import ArnFormat, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.nag import endpoint_suppressions, iam5_id, runtime_and_endpoints, suppress
from infra.parameters import Timing
from infra.trust import trusted
from vigil.line import (
    AHEAD,
    LATEST,
    LINE,
    LOAD,
    LONGEST_LINE,
    LONGEST_PAUSE,
    LONGEST_STEP,
    MOVE,
    MOVED,
    SELDOM,
    SLOWER,
    UNMOVED,
)
from vigil.names import DEADLINE_KEY
from vigil.session import ALLOWED_FROM, MAX_DETAIL_BYTES, RECORD_SK, SESSION_ID_PATTERN, TERMINAL, TTL_DAYS, Status

FIRST_CHECK_BEATS = 2
"""An agent that has not beaten once, so many beats after its invocation, was never started."""
LOST_BEATS = 4
"""An agent whose heartbeat has stood still for so many beats is lost."""
ASLEEP_BEATS = 2
"""A workflow that looks so many beats later than it waits at the longest has slept, as a laptop does, and the agent
perhaps as well. After a shorter sleep, the sign of an agent that lives is younger than that of a lost one."""
DYNAMODB_SECONDS = 20
"""What answers in milliseconds and has not after this long is asked again."""
INVOKE_SECONDS = 75
"""The invoker's own timeout is 60 s; the rest is for Lambda to start it."""
WAITING_SECONDS = 86_400
"""The longest that a session waits for AgentCore, or for Lambda, to take it."""
NOT_IN_LINE = "{'ticket': 0, 'turn': 0, 'refusals': 0, 'refused': false, 'at': 0, 'code': '', 'message': ''}"
"""A session's place in line, and in milliseconds its turn and how the line stood when it was read."""
STOP_SECONDS = 15
"""AgentCore may take 11 s. The session has ended by then, and its execution waits no longer: its worker finds out at
its next heartbeat."""


def definition(table_name: str, invoker_arn: str, agent_runtime_arn: str, timing: Timing) -> dict[str, Any]:
    """Return the state machine. Input: {"session_id", "detail", "event_time"}, from the EventBridge rule.

    The arguments may hold CloudFormation tokens.
    """
    # A parameter may be a fraction, and a wait may not.
    safety, heartbeat, session = (f"$floor({value})" for value in (timing.safety, timing.heartbeat, timing.session))
    # However often it should look: 1,500 looks are 20,000 events, and an execution ends at its 25,000th.
    shortest = f"$ceil({session} / 1500)"
    session_key = {"PK": {"S": "{% $session_id %}"}, "SK": {"S": RECORD_SK}}
    # The names that errors arrive under: $error is {code, message} wherever a failure is recorded.
    # A Lambda error's Cause is the JSON that the function raised; others' is plain text.
    message = (
        "($cause := $exists($states.errorOutput.Cause) ? $states.errorOutput.Cause : '';"
        # No regex: what /$/ matches, and what a dot, differs from engine to engine.
        " $raised := $substring($cause, 0, 1) = '{' and $substring($cause, -1) = '}'"
        " and $contains($cause, '\"errorMessage\"') ? $parse($cause) : {};"
        " $substring($type($raised.errorMessage) = 'string' ? $raised.errorMessage : $cause, 0, 1000))"
    )
    caught = {"code": "{% $states.errorOutput.Error %}", "message": f"{{% {message} %}}"}
    fail = [{"ErrorEquals": ["States.ALL"], "Assign": {"error": caught}, "Next": "MarkFailed"}]
    # Both the optimized integration and the SDK's, which spells its prefix another way.
    transient_dynamodb_errors = [
        f"{prefix}.{error}"
        for prefix in ("DynamoDB", "DynamoDb")
        for error in (
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "RequestLimitExceededException",
            "ThrottlingException",
            "InternalServerError",
            "InternalServerErrorException",
            "SdkClientException",
            # A transaction of the agent on the same record.
            "TransactionConflictException",
        )
    ]
    transient_lambda_errors = [
        "Lambda.ServiceException",
        "Lambda.SdkClientException",
        "Lambda.ClientExecutionTimeoutException",
        "AgentUnavailable",
    ]
    # The function died or hung, and nobody knows how far it came.
    lambda_deaths = ["Lambda.Unknown", "Runtime.ExitError", "Sandbox.Timedout", "States.Timeout"]
    transient_agentcore_errors = [
        f"BedrockAgentCore.{error}"
        for error in (
            "ThrottlingException",
            "InternalServerException",
            "RetryableConflictException",
            "SdkClientException",
        )
    ]

    def retry(errors: list[str], attempts: int) -> dict[str, Any]:
        return {
            "ErrorEquals": errors,
            "IntervalSeconds": 1,
            "MaxAttempts": attempts,
            "BackoffRate": 2,
            "MaxDelaySeconds": 20,
            "JitterStrategy": "FULL",
        }

    # With the jitter, two minutes on average, and more than half a minute for all but one in a thousand.
    retry_dynamodb = [retry(transient_dynamodb_errors, 15)]
    retry_hanging_dynamodb = [retry([*transient_dynamodb_errors, "States.Timeout"], 15)]
    deadline = (
        f"($asked := $states.input.detail.{DEADLINE_KEY};"
        f" $given := $type($asked) = 'number' and $asked >= 1 and $asked <= {session};"
        f" $toMillis($states.context.Execution.StartTime) + 1000 * ($given ? $asked : {session}))"
    )
    expires = {"N": f"{{% $string($floor($millis() / 1000) + {TTL_DAYS * 86400}) %}}"}
    # For a retry. What the invoker refuses anyway is left out: with it, the call may be larger than a state may make.
    stored_detail = (
        "($text := $exists($states.input.detail) ? $string($states.input.detail) : '{}';"
        f" $length($text) <= {MAX_DETAIL_BYTES} ? $text : '')"
    )
    begun = {
        "session_id": "{% $states.input.session_id %}",
        "deadline": f"{{% {deadline} %}}",
        "status": Status.INITIATED,
        # The agent's last sign of life, and when this workflow saw it first. No clock is compared with another's.
        "seen": "{% {'sign': '', 'at': $millis(), 'looked': $millis()} %}",
        # Where it waits in line, and why; $line.turn is 0 if it does not.
        "line": f"{{% {NOT_IN_LINE} %}}",
    }
    # Undefined for anything that is no session id. The whole string must be the match: /$/ would let a line break pass
    # at the end.
    session_id = (
        "$type($states.input.session_id) = 'string'"
        f" ? $states.input.session_id[$match($, /{SESSION_ID_PATTERN}/)[0].match = $]"
    )
    duplicate = {
        "code": "DuplicateSession",
        "message": "the session exists already: this event was delivered before",
    }
    unreadable = {
        "code": "InvalidDetail",
        "message": "the event's detail is nested too deeply, or has a number too large, to be read",
    }
    from_acceptance = (
        "{% $line.refusals > 0 ? $deadline + $millis() - $toMillis($states.context.Execution.StartTime) : $deadline %}"
    )
    in_line = f"$status = '{Status.INITIATED}' and $line.turn > 0"
    # An execution of AWS has 25,000 events at most.
    look_in_line = f"$max([{safety}, {WAITING_SECONDS // 1500}])"
    shortest_step = f"$floor(1000 / ({LOAD} * {timing.starts}))"
    # Without a line, it comes again after a time that is drawn.
    refused = {
        "line": (
            "{% {'ticket': $line.ticket, 'refusals': $line.refusals + 1, 'refused': true, 'at': 0,"
            f" 'turn': $millis() + 1000 + $floor(1000 * $random() * $min([{LONGEST_PAUSE // 1000},"
            f" $power(2, $line.refusals)])), 'code': $states.errorOutput.Error, 'message': {message}}} %}}"
        )
    }
    pause = f"$min([{LONGEST_PAUSE}, 1000 * $power(2, $max([0, $line.refusals - 3]))])"
    # Those that took a ticket in the moments before it begins have their turns before its first.
    moved = f"($millis() + ($line.refusals > 1 ? {pause} : 1000 + {AHEAD} * {shortest_step}))"
    waits_by_itself = f"{{% $merge([$line, {{'refused': false, 'turn': $millis() + 1000 + {pause}}}]) %}}"
    line_item = {"TableName": table_name, "Key": {"PK": {"S": LINE}, "SK": {"S": LINE}}}
    update_line = {
        "Type": "Task",
        "TimeoutSeconds": DYNAMODB_SECONDS,
        "Resource": "arn:aws:states:::dynamodb:updateItem",
        "Retry": retry_hanging_dynamodb,
    }
    waiting = " or ".join(f"$status = '{status}'" for status in ("", *ALLOWED_FROM[Status.FAILED]))
    asleep = f"($max([{safety}, {shortest}]) + {ASLEEP_BEATS} * {heartbeat})"
    patience = f"(($seen.sign = '' ? {FIRST_CHECK_BEATS} : {LOST_BEATS}) * {heartbeat})"

    states: dict[str, Any] = {
        "InitializeSession": {
            "Type": "Task",
            "TimeoutSeconds": DYNAMODB_SECONDS,
            "Resource": "arn:aws:states:::dynamodb:putItem",
            # The detail here alone: it may be more than can be evaluated, and what fails in a Catch is not caught.
            "Assign": {**begun, "detail": "{% $exists($states.input.detail) ? $states.input.detail : {} %}"},
            "Arguments": {
                "TableName": table_name,
                "Item": {
                    # Undefined is a States.QueryEvaluationError.
                    "PK": {"S": f"{{% {session_id} %}}"},
                    "SK": {"S": RECORD_SK},
                    "status": {"S": Status.INITIATED},
                    "start_time": {"S": "{% $states.context.Execution.StartTime %}"},
                    "created_at": {"S": "{% $states.context.State.EnteredTime %}"},
                    "updated_at": {"S": "{% $states.context.State.EnteredTime %}"},
                    "deadline_at": {"S": f"{{% $fromMillis({deadline}) %}}"},
                    "execution_arn": {"S": "{% $states.context.Execution.Id %}"},
                    "expires_at": expires,
                    "detail": {"S": f"{{% {stored_detail} %}}"},
                },
                # A repeated write of our own is no duplicate: the first may have been applied and its answer lost.
                # But not after the session has ended meanwhile, as it may have before a redrive.
                "ConditionExpression": ("attribute_not_exists(PK) OR (execution_arn = :own AND #status = :initiated)"),
                "ExpressionAttributeNames": {"#status": "status"},
                "ExpressionAttributeValues": {
                    ":own": {"S": "{% $states.context.Execution.Id %}"},
                    ":initiated": {"S": Status.INITIATED},
                },
            },
            "Retry": retry_hanging_dynamodb,
            "Catch": [
                {
                    "ErrorEquals": ["States.QueryEvaluationError"],
                    "Assign": {
                        # Only told in the cause, which holds no more than 32,768 characters and no half of a pair.
                        # A run of others is one "?": engines differ in how many characters a pair is.
                        "session_id": (
                            "{% $type($states.input.session_id) = 'string'"
                            " ? $replace($substring($states.input.session_id, 0, 100), /[^!-~]+/, '?') : '' %}"
                        ),
                        "valid": f"{{% $exists({session_id}) %}}",
                        "status": "",
                        "seen": begun["seen"],
                        "deadline": "{% $millis() %}",
                    },
                    "Next": "EvaluateInput",
                },
                {
                    # EventBridge delivers at least once: then the record is another execution's, and stays as it is. Or
                    # it is our own, and the session went on or ended before a redrive.
                    "ErrorEquals": ["DynamoDB.ConditionalCheckFailedException"],
                    "Assign": begun,
                    "Next": "CheckStatus",
                },
                {"ErrorEquals": ["States.ALL"], "Assign": {**begun, "error": caught}, "Next": "MarkFailed"},
            ],
            "Next": "InvokeAgent",
        },
        "EvaluateInput": {
            "Type": "Choice",
            "Choices": [
                {
                    # Then it is the detail that is too deep or too odd, and the record may exist already.
                    "Condition": "{% $valid %}",
                    "Assign": {"error": unreadable},
                    "Next": "MarkFailed",
                }
            ],
            "Assign": {
                "error": {
                    "code": "InvalidSessionId",
                    "message": "session_id must be 33 to 100 letters, digits or '-'",
                }
            },
            "Default": "SessionFailed",
        },
        "InvokeAgent": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "TimeoutSeconds": INVOKE_SECONDS,
            "Arguments": {
                "FunctionName": invoker_arn,
                "Payload": {
                    "session_id": "{% $session_id %}",
                    "detail": "{% $detail %}",
                    "line": {"ticket": "{% $line.ticket %}", "turn": "{% $line.turn %}", "now": "{% $millis() %}"},
                },
            },
            # Safe to repeat: the runtime starts one worker a session and answers a second invocation so.
            "Retry": [retry(transient_lambda_errors, 10), retry(lambda_deaths, 2)],
            # What Lambda's runtime cannot read, its function never sees.
            "Catch": [
                {
                    "ErrorEquals": ["Lambda.TooManyRequestsException", "AgentThrottled", "AgentQuotaExceeded"],
                    "Assign": refused,
                    "Next": "StandInLine",
                },
                {"ErrorEquals": ["Runtime.UnmarshalError"], "Assign": {"error": unreadable}, "Next": "MarkFailed"},
                *fail,
            ],
            "Assign": {
                # It may have been tried for minutes: the agent's first sign of life is awaited from now on.
                "seen": begun["seen"],
                # Nor is it the session's time that it waited in line.
                "deadline": from_acceptance,
                "line": begun["line"],
            },
            "Next": "CheckStatus",
        },
        "StandInLine": {
            **update_line,
            "Arguments": {
                **line_item,
                # Takes a ticket, or none if it has one, and reads how the line stands.
                "UpdateExpression": "ADD issued :tickets",
                "ExpressionAttributeValues": {":tickets": {"N": "{% $line.ticket = 0 ? '1' : '0' %}"}},
                "ReturnValues": "ALL_NEW",
            },
            "Catch": [
                {
                    "ErrorEquals": ["States.ALL"],
                    "Assign": {"line": "{% $merge([$line, {'refused': false}]) %}"},
                    "Next": "EvaluateTurn",
                }
            ],
            "Assign": {
                "line": (
                    "{% ($item := $states.result.Attributes;"
                    # The item may have been deleted while it waited.
                    " $issued := $number($item.issued.N);"
                    " $ticket := $line.ticket = 0 or $line.ticket > $issued ? $issued : $line.ticket;"
                    " $at := $exists($item.at.N) ? $number($item.at.N) : 0;"
                    f" $step := $exists($item.step.N) ? $number($item.step.N) : {shortest_step};"
                    " $number := $exists($item.number.N) ? $number($item.number.N) : $ticket;"
                    # Or it is damaged: then its turn has come.
                    f" $lost := $at > $millis() + {LATEST};"
                    " $turn := $at + ($ticket - $number) * $step;"
                    f" $none := $lost or $step > {LONGEST_STEP} or $turn > $millis() + {LONGEST_LINE};"
                    " $merge([$line, {'ticket': $ticket, 'at': $lost ? 0 : $at, 'step': $step,"
                    " 'refusals': $line.ticket = 0 ? 1 : $line.refusals, 'turn': $none ? 0 : $turn}])) %}"
                )
            },
            "Next": "EvaluateTurn",
        },
        "EvaluateTurn": {
            "Type": "Choice",
            "Choices": [
                {"Condition": "{% $not($line.refused) and $line.turn <= $millis() + 1000 %}", "Next": "InvokeAgent"},
                {
                    # It was refused at its turn, or it has a ticket now of a line in which nobody waits. If somebody
                    # else has just moved the line, it has moved enough.
                    "Condition": (
                        "{% $line.refused and $line.ticket > 0 and $line.at <= $millis()"
                        " and ($line.refusals > 2 or $line.refusals = 1 and $line.turn < $millis()) %}"
                    ),
                    "Next": "MoveLine",
                },
            ],
            "Assign": {
                # A line that was slowed down may go faster again: it looks twice as often as it would need, but not so
                # often that the day's looks would be more events than an execution may have.
                "line": (
                    "{% $merge([$line, {'refused': false, 'turn': $line.refused"
                    " ? ($line.turn > $millis() ? $line.turn : $millis() + 1000 + $floor(1000 * $random()))"
                    f" : $line.step > {shortest_step} and $line.turn > $millis() + 4000"
                    f" ? $min([$line.turn, $max([$floor(($line.turn + $millis()) / 2), $millis() + {SELDOM}])])"
                    " : $line.turn}]) %}"
                )
            },
            "Default": "WaitForChange",
        },
        "MoveLine": {
            **update_line,
            "Arguments": {
                **line_item,
                "UpdateExpression": MOVE,
                "ConditionExpression": UNMOVED,
                "ExpressionAttributeNames": MOVED,
                "ExpressionAttributeValues": {
                    ":at": {"N": f"{{% $string({moved}) %}}"},
                    ":number": {"N": "{% $string($line.ticket) %}"},
                    ":step": {
                        "N": (
                            f"{{% $string($line.refusals > 1 ? $max([{shortest_step},"
                            f" $min([{LONGEST_STEP}, $ceil({SLOWER} * $line.step)])]) : {shortest_step}) %}}"
                        )
                    },
                    ":seen": {"N": "{% $string($line.at) %}"},
                    ":latest": {"N": f"{{% $string($millis() + {LATEST}) %}}"},
                    ":n": {"S": "N"},
                },
            },
            "Catch": [
                {
                    # Somebody else has just moved it: look in a second, and not at once, if the item is damaged.
                    "ErrorEquals": ["DynamoDB.ConditionalCheckFailedException"],
                    "Assign": {"line": "{% $merge([$line, {'refused': false, 'turn': $millis() + 1000}]) %}"},
                    "Next": "WaitForChange",
                },
                {
                    "ErrorEquals": ["States.ALL"],
                    "Assign": {"line": waits_by_itself},
                    "Next": "WaitForChange",
                },
            ],
            "Assign": {"line": f"{{% $merge([$line, {{'refused': false, 'turn': {moved}}}]) %}}"},
            "Next": "WaitForChange",
        },
        "CheckStatus": {
            "Type": "Task",
            "TimeoutSeconds": DYNAMODB_SECONDS,
            "Resource": "arn:aws:states:::dynamodb:getItem",
            "Arguments": {"TableName": table_name, "Key": session_key, "ConsistentRead": True},
            "Retry": retry_hanging_dynamodb,
            "Catch": fail,
            "Assign": {
                # '' while there is no record; a record without a status is another matter.
                "status": (
                    "{% $exists($states.result.Item)"
                    " ? ($exists($states.result.Item.status.S) ? $states.result.Item.status.S : 'none') : '' %}"
                ),
                # Of another execution, for which this one's event was delivered twice.
                "foreign": (
                    "{% $exists($states.result.Item.execution_arn.S)"
                    " and $states.result.Item.execution_arn.S != $states.context.Execution.Id %}"
                ),
                "report_uri": (
                    "{% $exists($states.result.Item.report_uri.S) ? $states.result.Item.report_uri.S : '' %}"
                ),
                "seen": (
                    "{% ($sign := $exists($states.result.Item) ? ($exists($states.result.Item.heartbeat_at.S)"
                    " ? $states.result.Item.heartbeat_at.S : '') : 'no record';"
                    # After a sleep, the agent is awaited anew.
                    f" $at := $sign = $seen.sign and $millis() - $seen.looked < 1000 * {asleep} ? $seen.at : $millis();"
                    # For how long it had stood still when we looked, whenever that is evaluated.
                    " {'sign': $sign, 'at': $at, 'looked': $millis(), 'still': $millis() - $at}) %}"
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
                {"Condition": "{% $foreign %}", "Assign": {"error": duplicate}, "Next": "SessionFailed"},
                {"Condition": f"{{% $status = '{Status.COMPLETED}' %}}", "Next": "StopAgent"},
                {"Condition": f"{{% $status = '{Status.FAILED}' %}}", "Next": "StopAgent"},
                {
                    # AgentCore took it, and its answer was lost before a later call was refused.
                    "Condition": f"{{% $status = '{Status.BUSY}' and $line.refusals > 0 %}}",
                    "Assign": {"deadline": from_acceptance, "line": begun["line"]},
                    "Next": "WaitForChange",
                },
                {
                    "Condition": (
                        f"{{% {in_line} and $millis() >="
                        f" $toMillis($states.context.Execution.StartTime) + 1000 * {WAITING_SECONDS} %}}"
                    ),
                    "Assign": {
                        "error": {
                            "code": "{% $line.code %}",
                            "message": f"{{% 'not started in {WAITING_SECONDS // 3600} hours: ' & $line.message %}}",
                        }
                    },
                    "Next": "MarkFailed",
                },
                {"Condition": f"{{% {in_line} and $line.turn <= $millis() + 1000 %}}", "Next": "StandInLine"},
                {"Condition": f"{{% {in_line} %}}", "Next": "WaitForChange"},
                {
                    "Condition": f"{{% ({waiting}) and $millis() >= $deadline %}}",
                    "Assign": {
                        "error": {
                            "code": "DeadlineExceeded",
                            "message": "{% 'the session did not end by its deadline, ' & $fromMillis($deadline) %}",
                        }
                    },
                    "Next": "MarkFailed",
                },
                {
                    "Condition": f"{{% ({waiting}) and $seen.still >= 1000 * {patience} %}}",
                    "Assign": {
                        "error": {
                            "code": "{% $status = '' ? 'RecordMissing' : 'AgentLost' %}",
                            "message": (
                                "{% $status = '' ? 'the session record was deleted' : $seen.sign = ''"
                                " ? 'the agent was invoked but gave no sign of life'"
                                " : 'no sign of life from the agent since ' & $seen.sign %}"
                            ),
                        }
                    },
                    "Next": "MarkFailed",
                },
                # Without a record there is nothing to store a token on.
                {"Condition": "{% $status = '' %}", "Next": "WaitBriefly"},
                {"Condition": f"{{% {waiting} %}}", "Next": "WaitForChange"},
            ],
            "Default": "MarkFailed",
        },
        "WaitForChange": {
            "Type": "Task",
            # Whoever ends the session finds the token by the very write that ends it, and wakes this state.
            "Resource": "arn:aws:states:::aws-sdk:dynamodb:updateItem.waitForTaskToken",
            "Arguments": {
                "TableName": table_name,
                "Key": session_key,
                "UpdateExpression": (
                    "{% 'SET task_token = :token, deadline_at = :deadline'"
                    " & ($line.turn > 0 ? ', waiting_for = :what' : ' REMOVE waiting_for') %}"
                ),
                # On another execution's record, it would take the place of that one's token.
                "ConditionExpression": (
                    "#status IN (:initiated, :busy)"
                    " AND (attribute_not_exists(execution_arn) OR execution_arn = :execution)"
                ),
                "ExpressionAttributeNames": {"#status": "status"},
                # DynamoDB refuses a value that its expression does not name.
                "ExpressionAttributeValues": (
                    "{% $merge([{"
                    + "".join(f"':{status.lower()}': {{'S': '{status}'}}, " for status in ALLOWED_FROM[Status.FAILED])
                    + "':token': {'S': $states.context.Task.Token},"
                    " ':execution': {'S': $states.context.Execution.Id},"
                    " ':deadline': {'S': $fromMillis($deadline)}},"
                    " $line.turn > 0 ? {':what': {'S': $line.code & ': ' & $line.message}} : {}]) %}"
                ),
            },
            "TimeoutSeconds": (
                f"{{% $max([1, $line.turn > 0 ? $min([{look_in_line}, $floor(($line.turn - $millis()) / 1000)])"
                f" : $min([$seen.sign = '' ? {FIRST_CHECK_BEATS} * {heartbeat} :"
                f" $max([{safety}, {shortest}]), $ceil(($deadline - $millis()) / 1000)])]) %}}"
            ),
            "Retry": retry_dynamodb,
            "Catch": [
                {
                    "ErrorEquals": ["States.Timeout", "DynamoDb.ConditionalCheckFailedException"],
                    "Next": "CheckStatus",
                },
                # No token can be stored: look again from time to time, as anybody would without one.
                {"ErrorEquals": ["States.ALL"], "Next": "WaitBriefly"},
            ],
            "Next": "CheckStatus",
        },
        "WaitBriefly": {"Type": "Wait", "Seconds": f"{{% $max([{heartbeat}, {shortest}]) %}}", "Next": "CheckStatus"},
        "MarkFailed": {
            "Type": "Task",
            "TimeoutSeconds": DYNAMODB_SECONDS,
            "Resource": "arn:aws:states:::dynamodb:updateItem",
            "Arguments": {
                "TableName": table_name,
                "Key": session_key,
                # Creates the record if even its creation failed; never touches a session that ended meanwhile, nor
                # that of another execution.
                "UpdateExpression": (
                    "SET #status = :failed, #error = :error, ended_at = :now, updated_at = :now,"
                    " start_time = if_not_exists(start_time, :start), created_at = if_not_exists(created_at, :now),"
                    " execution_arn = if_not_exists(execution_arn, :execution),"
                    " expires_at = if_not_exists(expires_at, :expires)"
                ),
                "ConditionExpression": (
                    "(attribute_not_exists(#status) OR NOT (#status IN (:completed, :failed)))"
                    " AND (attribute_not_exists(execution_arn) OR execution_arn = :execution)"
                ),
                "ExpressionAttributeNames": {"#status": "status", "#error": "error"},
                "ExpressionAttributeValues": {
                    **{f":{status.lower()}": {"S": status} for status in TERMINAL},
                    ":error": {"M": {"code": {"S": "{% $error.code %}"}, "message": {"S": "{% $error.message %}"}}},
                    ":now": {"S": "{% $states.context.State.EnteredTime %}"},
                    ":start": {"S": "{% $states.context.Execution.StartTime %}"},
                    ":execution": {"S": "{% $states.context.Execution.Id %}"},
                    ":expires": expires,
                },
            },
            "Retry": retry_hanging_dynamodb,
            "Catch": [
                {"ErrorEquals": ["DynamoDB.ConditionalCheckFailedException"], "Next": "CheckStatus"},
                # The record cannot be written, and may be another execution's. This one still ends with the first
                # cause, and the reconciler closes the session and stops its agent.
                {"ErrorEquals": ["States.ALL"], "Next": "HowItEnded"},
            ],
            "Next": "StopAgent",
        },
        "StopAgent": {
            "Type": "Task",
            "TimeoutSeconds": STOP_SECONDS,
            "Resource": "arn:aws:states:::aws-sdk:bedrockagentcore:stopRuntimeSession",
            "Arguments": {"AgentRuntimeArn": agent_runtime_arn, "RuntimeSessionId": "{% $session_id %}"},
            "Retry": [retry(transient_agentcore_errors, 5)],
            # It may never have been started or be gone already; and the session has ended, whatever this says.
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "HowItEnded"}],
            "Next": "HowItEnded",
        },
        "HowItEnded": {
            "Type": "Choice",
            "Choices": [
                {
                    "Condition": f"{{% $status = '{Status.COMPLETED}' %}}",
                    # The execution's. Here, since the embedded AWS takes none of a Succeed state.
                    "Output": {
                        "session_id": "{% $session_id %}",
                        "status": Status.COMPLETED,
                        "report_uri": "{% $report_uri %}",
                    },
                    "Next": "SessionCompleted",
                }
            ],
            "Default": "SessionFailed",
        },
        "SessionCompleted": {"Type": "Succeed"},
        "SessionFailed": {
            "Type": "Fail",
            "Error": "{% $error.code %}",
            # Many messages name their session already.
            "Cause": (
                "{% ($about := 'session ' & $session_id & ': ';"
                " $contains($error.message, $about) ? $error.message : $about & $error.message) %}"
            ),
        },
    }
    return {
        "Comment": "Drives one Vigil session from its event to COMPLETED or FAILED",
        "QueryLanguage": "JSONata",
        "StartAt": "InitializeSession",
        "States": states,
    }


def agent_workflow(
    scope: Construct,
    *,
    table: dynamodb.TableV2,
    invoker: lambda_.IFunction,
    agent_runtime_arn: str,
    timing: Timing,
) -> sfn.StateMachine:
    """Build the state machine with its log group, its tracing and a role that may do exactly what its states do."""
    stack = Stack.of(scope)
    # The state machine refers to the role, and nobody knows how CloudFormation will name it ("Prevent cross-service
    # confused deputy issue", Step Functions Developer Guide).
    machines = stack.format_arn(
        service="states", resource="stateMachine", arn_format=ArnFormat.COLON_RESOURCE_NAME, resource_name="*"
    )
    role = iam.Role(scope, "AgentWorkflowRole", assumed_by=trusted(stack, "states", machines))
    for sid, action, resources in (
        ("WorkflowSessionCreate", "dynamodb:PutItem", [table.table_arn]),
        ("WorkflowSessionRead", "dynamodb:GetItem", [table.table_arn]),
        ("WorkflowSessionUpdate", "dynamodb:UpdateItem", [table.table_arn]),
        ("WorkflowAgentInvoke", "lambda:InvokeFunction", [invoker.function_arn]),
        ("WorkflowAgentStop", "bedrock-agentcore:StopRuntimeSession", runtime_and_endpoints(agent_runtime_arn)),
    ):
        role.add_to_policy(iam.PolicyStatement(sid=sid, actions=[action], resources=resources))
    suppress(
        role,
        {
            iam5_id("*"): "Log delivery and X-Ray, which CDK grants, know no resources.",
            **endpoint_suppressions(scope, agent_runtime_arn),
        },
    )

    return sfn.StateMachine(
        scope,
        "AgentWorkflow",
        definition_body=sfn.DefinitionBody.from_string(
            stack.to_json_string(definition(table.table_name, invoker.function_arn, agent_runtime_arn, timing))
        ),
        role=role,
        tracing_enabled=True,
        logs=sfn.LogOptions(
            destination=logs.LogGroup(
                scope,
                "AgentWorkflowLogs",
                # With this prefix the account's policy for log delivery need not name the group, and cannot grow too
                # long ("Logging to CloudWatch Logs", Step Functions Developer Guide).
                log_group_name=f"/aws/vendedlogs/states/{stack.stack_name}",
                retention=logs.RetentionDays.TWO_WEEKS,
                removal_policy=RemovalPolicy.DESTROY,
            ),
            level=sfn.LogLevel.ALL,
            # In the data are events' details and task tokens; the execution's own history keeps them for 90 days.
            include_execution_data=False,
        ),
    )

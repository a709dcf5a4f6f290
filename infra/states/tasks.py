"""What the states are made of: the calls of AWS, what is tried again, and where an error leads."""

from typing import Any

from infra.states.expressions import ERROR_MESSAGE, jsonata
from vigil.session import RECORD_SK

State = dict[str, Any]  # a state, or a part of one, in the States Language

DYNAMODB_SECONDS = 20  # DynamoDB answers in milliseconds. A call that takes this long is made again

KEY = {"PK": {"S": "{% $session_id %}"}, "SK": {"S": RECORD_SK}}
OWN_RECORD = "(attribute_not_exists(execution_arn) OR execution_arn = :execution)"
"""Condition of a write: the record is no other execution's."""

SAME_ATTEMPT = "(attribute_not_exists(attempt) OR attempt = :attempt)"
"""Condition of a write: no other attempt has been opened since the record was read."""

CAUGHT_ERROR = {"code": "{% $states.errorOutput.Error %}", "message": jsonata(ERROR_MESSAGE)}
"""``$error`` after a task failed."""

# The optimized integration and the SDK's spell their prefix differently.
TRANSIENT_DYNAMODB_ERRORS = [
    f"{prefix}.{error}"
    for prefix in ("DynamoDB", "DynamoDb")
    for error in (
        *("ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestLimitExceededException"),
        *("ThrottlingException", "InternalServerError", "InternalServerErrorException", "SdkClientException"),
        # A transaction of the agent on the same record.
        "TransactionConflictException",
    )
]
TRANSIENT_LAMBDA_ERRORS = [
    *("Lambda.ServiceException", "Lambda.SdkClientException", "Lambda.ClientExecutionTimeoutException"),
    "AgentUnavailable",
]
LAMBDA_DEATHS = ["Lambda.Unknown", "Runtime.ExitError", "Sandbox.Timedout", "States.Timeout"]
"""The function died or hung, at an unknown point."""
TRANSIENT_AGENTCORE_ERRORS = [
    f"BedrockAgentCore.{error}"
    for error in ("ThrottlingException", "InternalServerException", "RetryableConflictException", "SdkClientException")
]


def retry(errors: list[str], attempts: int) -> State:
    """Try again after pauses that grow up to 20 s, each drawn at random."""
    return {
        "ErrorEquals": errors,
        "IntervalSeconds": 1,
        "MaxAttempts": attempts,
        "BackoffRate": 2,
        "MaxDelaySeconds": 20,
        "JitterStrategy": "FULL",
    }


# Two minutes on average, and more than half a minute for all but one in a thousand.
RETRY_DYNAMODB = [retry(TRANSIENT_DYNAMODB_ERRORS, 15)]
RETRY_DYNAMODB_AND_TIMEOUTS = [retry([*TRANSIENT_DYNAMODB_ERRORS, "States.Timeout"], 15)]
# Safe to repeat: the runtime starts one worker a session, and answers a second invocation as it did the first.
RETRY_INVOKER = [retry(TRANSIENT_LAMBDA_ERRORS, 10), retry(LAMBDA_DEATHS, 2)]
RETRY_AGENTCORE = [retry(TRANSIENT_AGENTCORE_ERRORS, 5)]


def catch(*errors: str, then: str, **assign: object) -> State:
    """Go to the state ``then`` after one of ``errors``, with the variables ``assign``."""
    return {"ErrorEquals": [*errors], **({"Assign": assign} if assign else {}), "Next": then}


def catch_all(*, then: str, **assign: object) -> State:
    """Go to the state ``then`` after any other error, with the variables ``assign``."""
    return catch("States.ALL", then=then, **assign)


ELSE_FAIL = catch_all(then="MarkFailed", error=CAUGHT_ERROR)


def choice(condition: str, *, then: str, **assign: object) -> State:
    """Go to the state ``then`` if ``condition`` is true, with the variables ``assign``."""
    return {"Condition": jsonata(condition), **({"Assign": assign} if assign else {}), "Next": then}


def dynamodb(operation: str, **arguments: object) -> State:
    """Call DynamoDB with ``arguments`` for the table, again if it does not answer in time."""
    return {
        "Type": "Task",
        "Resource": f"arn:aws:states:::dynamodb:{operation}",
        "TimeoutSeconds": DYNAMODB_SECONDS,
        "Arguments": {"TableName": "${table}", **arguments},
        "Retry": RETRY_DYNAMODB_AND_TIMEOUTS,
    }


def number(expression: str) -> State:
    """Return a number as DynamoDB takes it."""
    return {"N": jsonata(f"$string({expression})")}

"""Step Functions: roles of tasks, stopped executions, retries, timeouts, task tokens and inputs that are not JSON."""

import contextvars
import json
import random
import re
import sys
import time
from typing import Any

from jsonata.functions import Functions
from ministack.core import iam_actions
from ministack.core.responses import error_response_json
from ministack.services import stepfunctions

from vigil.local.ministack_patches.iam import is_allowed
from vigil.local.ministack_patches.patching import at_install, replaces

EXPRESSION_MILLISECONDS = 60_000

current_execution: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar("execution", default=None)
"""The execution to which the running task belongs."""


@replaces(stepfunctions, "_run_execution")
def note_execution(run: Any, execution_arn: str) -> Any:
    """Note the execution: ministack copies the context into every thread that it starts for a task or a branch."""
    token = current_execution.set(stepfunctions._executions.get(execution_arn))
    try:
        return run(execution_arn)
    finally:
        # A synchronous execution runs in the thread of its caller, which may itself be an execution.
        current_execution.reset(token)


def require_grant(error: str, action: str, resource: str) -> None:
    """Raise ``error`` unless the role of the current execution's state machine may do ``action``.

    AWS runs a task with that role; ministack ignores it. The patches cover the integrations of Vigil's workflow.
    """
    execution = current_execution.get()
    if execution is None:
        return
    role = stepfunctions._state_machines[execution["stateMachineArn"]]["roleArn"]
    if not is_allowed(role, action, resource):
        cause = f"User: {role} is not authorized to perform: {action} on resource: {resource}"
        raise stepfunctions._ExecutionError(error, cause)


def _arn(service: str, kind: str, name: str) -> str:
    """Return the ARN of a table or a function in the execution's account; ``name`` may be an ARN already."""
    prefix = f"arn:aws:{service}:{stepfunctions.get_region()}:{stepfunctions.get_account_id()}:{kind}"
    return name if name.startswith("arn:") else prefix + name


def _require_table_grant(error: str, operation: str, arguments: dict[str, Any]) -> None:
    action = f"dynamodb:{operation[0].upper()}{operation[1:]}"
    require_grant(error, action, _arn("dynamodb", "table/", str(arguments.get("TableName", ""))))


@replaces(stepfunctions, "_invoke_dynamodb")
def authorize_dynamodb(invoke: Any, operation: str, arguments: dict[str, Any]) -> Any:
    """AWS runs the optimized integration of DynamoDB with the state machine's role; ministack ignores the role."""
    # Not AccessDeniedException: this integration has no name of its own for a denial.
    _require_table_grant("DynamoDB.AmazonDynamoDBException", operation, arguments)
    return invoke(operation, arguments)


@replaces(stepfunctions, "_invoke_aws_sdk_integration")
def authorize_sdk(invoke: Any, resource: str, arguments: dict[str, Any]) -> Any:
    """AWS runs the SDK integration of DynamoDB with the state machine's role; ministack ignores the role."""
    service, operation = resource.removesuffix(".waitForTaskToken").split("aws-sdk:")[1].split(":")
    if service == "dynamodb":
        _require_table_grant("DynamoDb.DynamoDbException", operation, arguments)
    return invoke(resource, arguments)


@replaces(stepfunctions, "_call_lambda")
def call_lambda(call: Any, function: str, event: Any) -> Any:
    """AWS calls a function with the state machine's role; ministack ignores the role.

    AWS names a throttled call Lambda.TooManyRequestsException, with a sentence as its cause; ministack names it
    Lambda.Unknown, with Lambda's whole answer as its cause.
    """
    require_grant("Lambda.AWSLambdaException", "lambda:InvokeFunction", _arn("lambda", "function:", function))
    try:
        return call(function, event)
    except stepfunctions._ExecutionError as error:
        if error.error == "Lambda.Unknown" and "TooManyRequestsException" in error.cause:
            error.error = "Lambda.TooManyRequestsException"
            error.cause = json.loads(error.cause)["message"]
        raise


def _is_stopped() -> bool:
    execution = current_execution.get()
    return execution is not None and execution["status"] != "RUNNING"


@replaces(stepfunctions, "_invoke_resource")
def start_no_task_after_stop(invoke: Any, resource: str, arguments: Any) -> Any:
    """AWS starts no task of an execution that was stopped; ministack does."""
    if _is_stopped():
        raise stepfunctions._ExecutionError("States.Runtime", "the execution was stopped")
    return invoke(resource, arguments)


@replaces(stepfunctions, "_fail_execution")
def keep_status_after_stop(fail: Any, execution: dict[str, Any], error: str, cause: str) -> None:
    """AWS keeps the status of an execution that was stopped; in ministack a failing task makes it FAILED."""
    if execution["status"] == "RUNNING":
        fail(execution, error, cause)


@replaces(stepfunctions, "_scaled_sleep")
def end_wait_at_stop(sleep: Any, seconds: float) -> None:
    """AWS ends a wait when the execution is stopped; ministack sleeps to the wait's end."""
    end = time.monotonic() + seconds * stepfunctions._SFN_WAIT_SCALE
    while (remaining := end - time.monotonic()) > 0 and not _is_stopped():
        time.sleep(min(remaining, 0.25))


@replaces(stepfunctions, "_find_matching_retrier")
def space_retries(find: Any, retriers: list[dict[str, Any]], error: str, counts: dict[int, int]) -> Any:
    """AWS caps a retry's delay at MaxDelaySeconds and, with JitterStrategy FULL, draws it; ministack does neither."""
    retrier, index = find(retriers, error, counts)
    if retrier is None:
        return retrier, index
    delay = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** counts.get(index, 0)
    delay = min(delay, retrier.get("MaxDelaySeconds", delay))
    if retrier.get("JitterStrategy") == "FULL":
        delay = random.uniform(0, delay)
    # The caller computes the delay from these two.
    return {**retrier, "IntervalSeconds": delay, "BackoffRate": 1}, index


@replaces(stepfunctions, "_execute_task")
def compute_timeout(execute: Any, state: dict[str, Any], state_input: Any, execution: Any, context: Any) -> Any:
    """AWS takes an expression as a task's TimeoutSeconds; ministack takes a number only."""
    seconds = state.get("TimeoutSeconds")
    if isinstance(seconds, str):
        seconds = stepfunctions._jsonata_state_field(state, "TimeoutSeconds", "number", state_input, context)
        state = {**state, "TimeoutSeconds": seconds}
    return execute(state, state_input, execution, context)


_state_machine_of_token: dict[str, str] = {}  # the ARN of the state machine whose task waits for the token


@replaces(stepfunctions, "_invoke_with_callback")
def note_task_token(invoke: Any, resource: str, arguments: Any, token: str, state: dict[str, Any]) -> Any:
    """Note the state machine while its task waits, for `find_task_token`."""
    execution = current_execution.get()
    if execution is not None:
        _state_machine_of_token[token] = execution["stateMachineArn"]
    try:
        return invoke(resource, arguments, token, state)
    finally:
        _state_machine_of_token.pop(token, None)


@replaces(iam_actions, "extract_resource_arn")
def find_task_token(extract: Any, service: str, method: str, path: str, headers: Any, body: bytes, *more: Any) -> Any:
    """AWS asks IAM whether a caller may send a token to the waiting state machine; ministack asks for any resource."""
    if service == "states" and ".SendTask" in headers.get("x-amz-target", ""):
        return _state_machine_of_token.get(json.loads(body).get("taskToken"), "*")
    return extract(service, method, path, headers, body, *more)


@at_install
def fix_recursion_limit() -> None:
    """Parse JSON equally deep at any time: jsonata raises the limit to the same value with its first expression."""
    sys.setrecursionlimit(10_000)


@replaces(stepfunctions, "_start_execution")
def refuse_input_that_is_not_json(start: Any, request: dict[str, Any]) -> Any:
    """AWS takes an input that is JSON; ministack takes any text."""
    try:
        parse_json(request.get("input", "{}"))
    except ValueError:
        message = "Invalid State Machine Execution Input: it is not JSON, or too deep"
        return error_response_json("InvalidExecutionInput", message)
    return start(request)


def parse_json(text: object) -> object:
    """Return the value of a JSON text, which has no NaN and no Infinity; raises ValueError if it is not JSON."""

    def refuse(constant: str) -> object:
        raise ValueError(constant)

    if not isinstance(text, str):
        raise ValueError("not a text")
    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        # Too deep for Python: such an execution would neither begin nor end. EventBridge takes 1,000 levels (PutEvents,
        # EventBridge API Reference). The limit of Step Functions is not documented.
        raise ValueError("too deep") from None


@replaces(stepfunctions.jsonata.Jsonata, "jsonata")
def give_expressions_time(compile_expression: Any, expression: str, timeout: int = 0) -> Any:
    """AWS evaluates an expression under any load; ministack gives it one second, which it may wait for its turn."""
    return compile_expression(expression, timeout=max(timeout, EXPRESSION_MILLISECONDS))


class TextEncoder(Functions.Encoder):  # type: ignore[misc]
    """Writes text as JSON.stringify does: only a half of a surrogate pair is escaped."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"ensure_ascii": False})

    def encode(self, value: Any) -> str:
        """Return ``value`` as JSON."""
        return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", super().encode(value))


@at_install
def keep_text() -> None:
    """AWS evaluates $string in JavaScript; jsonata escapes each letter that is not ASCII, and its text is longer."""
    Functions.Encoder = TextEncoder

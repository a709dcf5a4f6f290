"""EventBridge: details that are not JSON, the role of a rule, and its dead-letter queue."""

import contextvars
import json
from typing import Any

from ministack.services import eventbridge, sqs, stepfunctions

from vigil.local.ministack_patches.iam import is_allowed
from vigil.local.ministack_patches.patching import replaces
from vigil.local.ministack_patches.stepfunctions import parse_json

_MALFORMED = {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
_delivery: contextvars.ContextVar[tuple[Any, Any, Any]] = contextvars.ContextVar("delivery")
"""The target, the rule and the event that are being delivered."""


@replaces(eventbridge, "_put_events")
def put_well_formed_events(put: Any, request: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
    """AWS takes an event whose Detail is a JSON object; ministack takes any text."""
    entries: list[Any] = request.get("Entries", [])
    malformed = [index for index, entry in enumerate(entries) if not _is_object(entry.get("Detail"))]
    well_formed = [entry for index, entry in enumerate(entries) if index not in malformed]
    status, headers, body = put({**request, "Entries": well_formed}, *args, **kwargs)
    if not malformed or status != 200:
        return status, headers, body
    answer = json.loads(body)
    for index in malformed:
        answer["Entries"].insert(index, _MALFORMED)
    answer["FailedEntryCount"] += len(malformed)
    return status, headers, json.dumps(answer).encode()


def _is_object(detail: object) -> bool:
    try:
        return isinstance(parse_json(detail), dict)
    except ValueError:
        return False


@replaces(eventbridge, "_invoke_target")
def note_delivery(invoke: Any, target: dict[str, Any], event: Any, rule: dict[str, Any], view: Any = None) -> None:
    """Note what is delivered, for `start_execution`."""
    view = view or eventbridge._pattern_event_view(event)
    token = _delivery.set((target, rule, view.event_with_detail()))
    try:
        invoke(target, event, rule, view)
    finally:
        _delivery.reset(token)


@replaces(eventbridge, "_dispatch_to_stepfunctions")
def start_execution(dispatch: Any, state_machine: str, payload: str) -> None:
    """AWS starts an execution with the rule's role; an event that starts none goes to the dead-letter queue.

    ministack ignores the role and drops the event. Nothing is retried here: every failure is permanent.
    """
    target, _, _ = _delivery.get()
    role = target.get("RoleArn")
    if role is None or not is_allowed(role, "states:StartExecution", state_machine):
        _send_to_dead_letters("NO_PERMISSIONS", f"{role} may not start {state_machine}")
        return
    status, _, body = stepfunctions._start_execution({"stateMachineArn": state_machine, "input": payload})
    if status >= 400:
        error = json.loads(body)
        _send_to_dead_letters(str(error.get("__type")), str(error.get("message")))


def _send_to_dead_letters(code: str, message: str) -> None:
    target, rule, event = _delivery.get()
    queue = target.get("DeadLetterConfig", {}).get("Arn")
    if queue is None:
        return
    eventbridge._dispatch_to_sqs(eventbridge.parse_arn(queue), json.dumps(event))
    attributes = {"RULE_ARN": rule["Arn"], "TARGET_ARN": target["Arn"], "ERROR_CODE": code, "ERROR_MESSAGE": message}
    texts = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    sqs._queue_by_arn(queue)["messages"][-1]["message_attributes"] = texts

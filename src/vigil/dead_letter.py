"""The dead-letter queue: events that started no workflow, as the rule and the schedule leave them there."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vigil.errors import InvalidDetail
from vigil.names import EVENT_DETAIL_TYPE, EVENT_SOURCE, TICK_KEY
from vigil.session import check_session_id, parsed, session_id_of

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@dataclass(frozen=True)
class DeadLetter:
    """An event that never became a session."""

    event_id: str  # the id that its session has or would have: the event's, or that of its tick
    time: str
    reason: str
    message_id: str = ""

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> "DeadLetter":
        """Build it from a message of the dead-letter queue, whose attributes hold the reason."""
        # Any user with the permission may send other messages to the queue.
        event = event_of(message)
        reason = ": ".join(filter(None, (_attribute(message, f"ERROR_{part}") for part in ("CODE", "MESSAGE"))))
        detail = event.get("detail") if isinstance(event, dict) else None
        session_id = session_id_of(text_of(event, "id"), detail)
        return cls(
            str(session_id) or "?", text_of(event, "time") or "?", reason or "unknown", text_of(message, "MessageId")
        )


def event_of(message: Mapping[str, Any]) -> object:
    """Return the event of a message; of the schedule's, which no event has left, the one that it was to put."""
    body, tick = parsed(message.get("Body")), _attribute(message, "SCHEDULED_TIME")
    if not tick:
        return body
    # EventBridge Scheduler sends what it was to give to its target: the detail, or the request that holds it.
    entries = body.get("Entries") if isinstance(body, dict) else None
    detail = parsed(text_of(entries[0], "Detail")) if isinstance(entries, list) and entries else body
    if not isinstance(detail, dict):
        return None
    detail = {**detail, TICK_KEY: tick}
    kind = {"source": EVENT_SOURCE, "detail-type": EVENT_DETAIL_TYPE}
    return {**kind, "id": session_id_of("", detail), "time": tick, "detail": detail}


def rule_input(event: object) -> tuple[str, str]:
    """Return (session id, execution's input) as the rule makes them of an event; raises InvalidInput if it is none."""
    if event is None:
        raise InvalidDetail("no event in JSON")
    kind = text_of(event, "source"), text_of(event, "detail-type")
    if not isinstance(event, dict) or kind != (EVENT_SOURCE, EVENT_DETAIL_TYPE):
        raise InvalidDetail(f"no event of source {EVENT_SOURCE!r} and detail type {EVENT_DETAIL_TYPE!r}")
    event_id, detail = event.get("id"), event.get("detail")
    session_id = check_session_id(session_id_of(event_id, detail))
    execution_input = {"session_id": event_id, "detail": detail, "event_time": event.get("time")}
    try:
        return session_id, json.dumps(execution_input, allow_nan=False, ensure_ascii=False)
    except (ValueError, RecursionError) as error:
        raise InvalidDetail(f"no event in JSON: {error}") from error


@contextmanager
def all_messages(
    sqs: "SQSClient", queue: str, hidden_seconds: int
) -> Iterator[tuple[Iterator[Any], Callable[[Any], None]]]:
    """Provide all messages of the queue, and a function that deletes one; others stay. Raises botocore's errors.

    They are hidden from others while they are read, for ``hidden_seconds`` at most.
    """
    kept: dict[str, str] = {}  # receipt handles by the id of the message

    def receive() -> Iterator[Any]:
        while True:
            # A short poll may find no message although there are some.
            answer = sqs.receive_message(
                QueueUrl=queue,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=1,
                VisibilityTimeout=hidden_seconds,
                MessageAttributeNames=["All"],
            )
            messages = [message for message in answer.get("Messages", []) if message["MessageId"] not in kept]
            if not messages:
                return
            kept.update((message["MessageId"], message["ReceiptHandle"]) for message in messages)
            yield from messages

    def delete(message: Any) -> None:
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        del kept[message["MessageId"]]

    try:
        yield receive(), delete
    finally:
        entries: Any = [{"Id": key, "ReceiptHandle": value, "VisibilityTimeout": 0} for key, value in kept.items()]
        for first in range(0, len(entries), 10):
            sqs.change_message_visibility_batch(QueueUrl=queue, Entries=entries[first : first + 10])


def text_of(data: object, *path: str) -> str:
    """Return the text at ``path`` in ``data``; "" if there is none."""
    for name in path:
        data = data.get(name) if isinstance(data, Mapping) else None
    return data if isinstance(data, str) else ""


def _attribute(message: Mapping[str, Any], name: str) -> str:
    return text_of(message, "MessageAttributes", name, "StringValue")

"""What lies in the dead-letter queue: anything, and yet it can be listed."""

import json
import threading
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile import TEXT
from tests.support import new_state_machine
from vigil.dead_letter import DeadLetter, event_of, rule_input
from vigil.deployment import Deployment
from vigil.errors import AwsUnavailable, InvalidDetail, InvalidInput
from vigil.local import HOST
from vigil.local.stack import LocalStack
from vigil.names import EVENT_DETAIL_TYPE, EVENT_SOURCE, TICK_KEY, Output
from vigil.session import Status

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
EVENT = st.fixed_dictionaries({}, optional={"id": JSON, "time": JSON}) | JSON
ATTRIBUTE = st.fixed_dictionaries({}, optional={"StringValue": JSON, "DataType": JSON}) | JSON
ATTRIBUTES = st.fixed_dictionaries({}, optional={"ERROR_CODE": ATTRIBUTE, "ERROR_MESSAGE": ATTRIBUTE}) | JSON
MESSAGE = st.fixed_dictionaries(
    {}, optional={"Body": EVENT.map(json.dumps) | TEXT | JSON, "MessageAttributes": ATTRIBUTES}
)


@settings(deadline=None)
@given(MESSAGE)
def test_any_message_is_an_event_of_plain_text(message: dict[str, Any]) -> None:
    assert {type(value) for value in vars(DeadLetter.from_message(message)).values()} == {str}


@pytest.mark.parametrize("body", ["[" * 100_000, '{"id":' * 100_000, "", "nul", '{"id": [1], "time": {}}', "[1]"])
def test_a_body_that_is_no_event_has_no_id(body: str) -> None:
    assert DeadLetter.from_message({"Body": body}) == DeadLetter("?", "?", "unknown")
    with pytest.raises(InvalidDetail):
        rule_input(event_of({"Body": body}))


def test_dead_letter_has_the_events_id_time_and_reason() -> None:
    attributes = {"ERROR_CODE": {"StringValue": "NO"}, "ERROR_MESSAGE": {"StringValue": "denied"}}
    message = {"Body": '{"id": "a", "time": "b"}', "MessageAttributes": attributes}
    assert DeadLetter.from_message(message) == DeadLetter("a", "b", "NO: denied")


def event(session_id: str, **changes: object) -> dict[str, object]:
    """An event as EventBridge leaves it in the queue."""
    told = {"id": session_id, "source": EVENT_SOURCE, "detail-type": EVENT_DETAIL_TYPE, "time": "2026-01-01T00:00:00Z"}
    return {**told, "detail": {"days": 7}, **changes}


def test_resend_sends_the_same_input_as_the_rule() -> None:
    session_id = str(uuid.uuid4())
    found, given = rule_input(event(session_id, detail={"text": "ä\n"}))
    assert found == session_id
    sent = {"session_id": session_id, "detail": {"text": "ä\n"}, "event_time": "2026-01-01T00:00:00Z"}
    assert json.loads(given) == sent


@pytest.mark.parametrize(
    "changes",
    [{"id": "short"}, {"id": None}, {"source": "other"}, {"detail-type": "other"}, {"detail": float("nan")}],
    ids=["short-id", "no-id", "source", "detail-type", "no-json"],
)
def test_what_the_rule_did_not_send_is_not_sent_again(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        rule_input(event(str(uuid.uuid4()), **changes))


class Queue:
    """A dead-letter queue of its own, and a workflow that does nothing but exist."""

    def __init__(self, embedded: LocalStack, table: Any) -> None:
        self.sqs, self.sfn = embedded.client("sqs"), embedded.client("stepfunctions")
        self.url = self.sqs.create_queue(QueueName=f"queue-{uuid.uuid4()}")["QueueUrl"]
        self.machine = new_state_machine(embedded, StartAt="End", States={"End": {"Type": "Succeed"}})
        self.deployment = Deployment(embedded.session())
        outputs = {Output.TABLE: table.name, Output.STATE_MACHINE: self.machine, Output.DEAD_LETTERS: self.url}
        vars(self.deployment)["outputs"] = outputs

    def put(self, *bodies: object) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body if isinstance(body, str) else json.dumps(body))

    def executions(self) -> list[str]:
        return sorted(item["name"] for item in self.sfn.list_executions(stateMachineArn=self.machine)["executions"])


@pytest.fixture
def queue(embedded: LocalStack, table: Any) -> Queue:
    return Queue(embedded, table)


def test_all_messages_are_listed_and_counted_and_again_at_once(queue: Queue) -> None:
    ids = sorted(str(uuid.uuid4()) for _ in range(23))
    queue.put(*map(event, ids))
    for _ in range(2):
        assert sorted(letter.event_id for letter in queue.deployment.dead_letters()) == ids
        assert queue.deployment.count_dead_letters() == len(ids)


def test_resend_sends_each_event_once_and_keeps_unreadable_ones(queue: Queue, new_session: Callable[..., str]) -> None:
    ids, session_id = sorted(str(uuid.uuid4()) for _ in range(12)), new_session(Status.FAILED)
    queue.put("no JSON", *map(event, ids), event(session_id), event("short"))
    results = list(queue.deployment.resend_dead_letters())
    assert sorted(result.letter.event_id for result in results if result.started) == ids
    (existed,) = [result for result in results if not result.started and not result.refused]
    assert existed.letter.event_id == session_id
    assert len([result for result in results if result.refused]) == 2
    assert queue.executions() == ids
    executions = queue.sfn.list_executions(stateMachineArn=queue.machine)["executions"]
    (started,) = [item for item in executions if item["name"] == ids[0]]
    given = json.loads(queue.sfn.describe_execution(executionArn=started["executionArn"])["input"])
    assert given == {"session_id": ids[0], "detail": {"days": 7}, "event_time": "2026-01-01T00:00:00Z"}
    # The two that cannot be read are still there, and at once.
    assert [result.started for result in queue.deployment.resend_dead_letters()] == [False, False]


def test_resend_interrupted_before_the_deletion_starts_no_session_twice(queue: Queue) -> None:
    session_id = str(uuid.uuid4())
    queue.put(event(session_id))

    def killed(**_: object) -> None:
        raise KeyboardInterrupt

    events = queue.deployment.client("sqs").meta.events
    events.register("before-call.sqs.DeleteMessage", killed)
    with pytest.raises(KeyboardInterrupt):
        list(queue.deployment.resend_dead_letters())
    events.unregister("before-call.sqs.DeleteMessage", killed)
    assert queue.executions() == [session_id]
    (again,) = queue.deployment.resend_dead_letters()
    assert (again.started, again.refused) == (False, None)
    assert queue.executions() == [session_id]
    assert queue.deployment.count_dead_letters() == 0


TICK = "2026-11-30T08:00:00Z"
ID_OF_TICK = "vigil-schedule-2026-11-30T08-00-00Z"


def scheduled(body: object) -> dict[str, Any]:
    """A message that EventBridge Scheduler leaves in the queue."""
    attributes = {"SCHEDULED_TIME": TICK, "ERROR_CODE": "NO", "ERROR_MESSAGE": "denied"}
    return {
        "Body": body if isinstance(body, str) else json.dumps(body),
        "MessageAttributes": {name: {"StringValue": value} for name, value in attributes.items()},
    }


@pytest.mark.parametrize(
    "body",
    [
        {"days": 7, TICK_KEY: TICK},
        {"days": 7, TICK_KEY: "<aws.scheduler.scheduled-time>"},
        {"Entries": [{"Source": "vigil", "Detail": json.dumps({"days": 7, TICK_KEY: TICK})}]},
    ],
    ids=["detail", "keyword", "request"],
)
def test_a_dead_letter_of_the_schedule_is_the_session_of_its_tick(body: object) -> None:
    message = scheduled(body)
    assert DeadLetter.from_message(message) == DeadLetter(ID_OF_TICK, TICK, "NO: denied")
    session_id, given = rule_input(event_of(message))
    assert session_id == ID_OF_TICK
    assert json.loads(given) == {
        "session_id": ID_OF_TICK,
        "detail": {"days": 7, TICK_KEY: TICK},
        "event_time": TICK,
    }


@pytest.mark.parametrize("body", ["cut", "[1]", {"Entries": [{"Detail": "cut"}]}, {"Entries": [5]}])
def test_a_dead_letter_of_the_schedule_without_its_detail_is_listed_and_refused(body: object) -> None:
    message = scheduled(body)
    assert DeadLetter.from_message(message).reason == "NO: denied"
    with pytest.raises(InvalidDetail):
        rule_input(event_of(message))


def test_an_event_whose_answer_is_lost_is_not_put_again(monkeypatch: pytest.MonkeyPatch) -> None:
    received = list[str]()

    class Silent(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.headers["x-amz-target"])
            self.close_connection = True

    with HTTPServer((HOST, 0), Silent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{HOST}:{server.server_port}")
        deployment = Deployment(boto3.Session("key", "secret", region_name="us-east-1"))
        vars(deployment)["outputs"] = {Output.RULE: "rule"}
        with pytest.raises(AwsUnavailable, match="look at `vigil sessions`: the session may have started"):
            deployment.trigger({})
        server.shutdown()
    assert received == ["AWSEvents.PutEvents"]

"""The stack tells once how each session ends, for any reason and in spite of any failure meanwhile."""

import json
import random
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer

from tests.support import Workflow, command, ended, until
from tests.unattended.conftest import Without
from vigil.attributes import iso
from vigil.deployment import Deployment
from vigil.doctor import resources
from vigil.doctor.result import Verdict
from vigil.errors import SessionEnded
from vigil.local.stack import LocalStack
from vigil.names import EVENT_DETAIL_TYPE, EVENT_SOURCE, OptionalOutput, Output
from vigil.session import Status

HELLO = {"agent": "hello_agent"}


class Inbox:
    """What the subscribers of the topic have received."""

    def __init__(self, stack: LocalStack) -> None:
        sns, self._sqs = stack.client("sns"), stack.client("sqs")
        topic = stack.outputs[OptionalOutput.TOPIC]
        self._url = self._sqs.create_queue(QueueName=f"inbox-{uuid.uuid4()}")["QueueUrl"]
        names = ["QueueArn"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=names)["Attributes"]["QueueArn"]
        allow = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        self._sqs.set_queue_attributes(QueueUrl=self._url, Attributes={"Policy": policy})
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        self._received: list[dict[str, str]] = []

    def about(self, text: str) -> list[dict[str, str]]:
        """Return the messages whose body holds ``text``."""
        while messages := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                self._received.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return [message for message in self._received if text in message["Message"]]


@pytest.fixture(scope="module")
def inbox(stack: LocalStack) -> Inbox:
    return Inbox(stack)


Notify = Callable[[object], Any]


@pytest.fixture(scope="module")
def function(stack: LocalStack) -> Any:
    """The notifier, as Lambda describes it."""
    functions = stack.client("lambda").list_functions()["Functions"]
    (found,) = (function for function in functions if "-NotificationsNotifier" in function["FunctionName"])
    return found


@pytest.fixture(scope="module")
def notify(stack: LocalStack, function: Any) -> Notify:
    """Call the function as Lambda and the schedule do, and return its answer."""
    client, name = stack.client("lambda"), function["FunctionName"]
    return lambda event: json.loads(client.invoke(FunctionName=name, Payload=json.dumps(event))["Payload"].read())


@pytest.fixture(scope="module")
def logged(stack: LocalStack, function: Any) -> Callable[[str], Any]:
    """Return the lines of the function's log that hold a text."""
    logs, group = stack.client("logs"), function["LoggingConfig"]["LogGroup"]
    return lambda text: logs.filter_log_events(logGroupName=group, filterPattern=f'"{text}"')["events"]


@pytest.fixture(scope="module")
def begin(workflow: Workflow) -> Callable[[], str]:
    """Write the record of a session that has neither workflow nor agent, and return its id."""

    def write() -> str:
        session_id, now = str(uuid.uuid4()), iso(datetime.now(UTC))
        times = dict.fromkeys(("start_time", "created_at", "updated_at"), now)
        workflow.table.put_item(Item={**workflow.key(session_id), "status": Status.BUSY, **times})
        return session_id

    return write


@pytest.fixture(scope="module")
def end(begin: Callable[[], str], workflow: Workflow) -> Callable[[], str]:
    """End a session as its agent does, and return its id."""

    def complete() -> str:
        workflow.journal.complete(session_id := begin(), "s3://bucket/report.md")
        return session_id

    return complete


@pytest.fixture
def settled(end: Callable[[], str], inbox: Inbox) -> Callable[[], None]:
    """Wait until everything before has been published: the stream keeps the order."""

    def wait() -> None:
        session_id = end()
        until(lambda: inbox.about(session_id))

    return wait


def record(workflow: Workflow, session_id: str) -> dict[str, Any]:
    """Return the end of a session as Lambda gets it from the stream."""
    client = workflow.table.meta.client
    item = client.get_item(TableName=workflow.table.name, Key=workflow.key(session_id))["Item"]
    image = {name: TypeSerializer().serialize(value) for name, value in item.items()}
    return {"eventName": "MODIFY", "dynamodb": {"NewImage": image}}


def test_a_session_that_completes_is_told_once(workflow: Workflow, inbox: Inbox, settled: Callable[[], None]) -> None:
    _, session = workflow.run(detail=HELLO)
    assert session is not None
    settled()
    (message,) = inbox.about(session.session_id)
    assert message["Subject"] == f"Vigil: COMPLETED {session.session_id}"
    assert message["Message"].splitlines() == [
        f"session: {session.session_id}",
        "status: COMPLETED",
        f"started: {session.start_time}",
        f"ended: {session.ended_at}",
        "attempts: 1",
        *([f"dollars: {session.usage.dollars:.2f} for the model"] if session.usage else []),
        "",
        f"VIGIL_STACK=Vigil vigil --aws-region us-east-1 show {session.session_id}",
        f"VIGIL_STACK=Vigil vigil --aws-region us-east-1 report {session.session_id}",
    ]


HOSTILE = "$340 a month,\n2 new \u202e é password=hunter2hunter2 " + "x" * 300


def test_the_headline_of_a_report_is_the_subject(
    workflow: Workflow, inbox: Inbox, settled: Callable[[], None], stack: LocalStack
) -> None:
    _, session = workflow.run(detail={"agent": "tells_headline", "headline": HOSTILE})
    assert session is not None
    settled()
    (message,) = inbox.about(session.session_id)
    subject = message["Subject"]
    assert subject.startswith("Vigil: $340 a month, 2 new <U+202E> ? password=[secret removed]")
    assert subject.endswith("...")
    assert len(subject) == 99
    assert "hunter2" not in message["Message"]
    assert session.headline is not None
    assert len(session.headline) == 200
    assert "headline       $340 a month, 2 new" in command(stack, "vigil", "show", session.session_id).stdout


def test_a_session_that_anybody_fails_is_told_once(
    stack: LocalStack, workflow: Workflow, inbox: Inbox, settled: Callable[[], None]
) -> None:
    _, failed_by_agent = workflow.run(detail={"agent": "no_such_agent"})
    assert failed_by_agent is not None
    by_agent = failed_by_agent.session_id
    by_operator, _ = workflow.start(detail={"agent": "waits"})
    until(lambda: (found := workflow.session(by_operator)) and found.status == Status.BUSY)
    assert command(stack, "vigil", "stop", by_operator, "--reason", "enough").returncode == 0
    by_reconciler, arn = workflow.start(detail={"agent": "waits"})
    until(lambda: (found := workflow.session(by_reconciler)) and found.status == Status.BUSY)
    workflow.sfn.stop_execution(executionArn=arn)
    ended(workflow, by_reconciler)
    by_workflow, arn = workflow.start(detail=["no", "object"])
    workflow.ended(arn)
    settled()
    subjects = {
        by_agent: "Vigil: FAILED KeyError: ",
        by_operator: "Vigil: FAILED StoppedByOperator: enough",
        by_reconciler: "Vigil: FAILED WorkflowEnded: its workflow ended without it: ABORTED",
        by_workflow: "Vigil: FAILED InvalidDetail: ",
    }
    for session_id, subject in subjects.items():
        (message,) = inbox.about(session_id)
        assert message["Subject"].startswith(subject)
        assert f"retry {session_id}" in message["Message"]


def test_an_end_that_comes_again_is_not_told_again(
    workflow: Workflow, inbox: Inbox, notify: Notify, end: Callable[[], str], settled: Callable[[], None]
) -> None:
    ids = [end() for _ in range(3)]
    settled()
    records = [record(workflow, session_id) for session_id in ids]
    # Again, in another order, and several times at once.
    assert notify({"Records": records[::-1] + records}) == {"published": []}
    settled()
    assert [len(inbox.about(session_id)) for session_id in ids] == [1, 1, 1]


def test_ends_in_any_order_are_each_told_once(workflow: Workflow, inbox: Inbox, notify: Notify) -> None:
    image = {"status": {"S": "FAILED"}, "SK": {"S": "SESSION"}, "weird": {"B": "AA=="}, "start_time": {"L": []}}
    ids = [str(uuid.uuid4()) for _ in range(4)]
    records = [{"dynamodb": {"NewImage": {**image, "PK": {"S": session_id}}}} for session_id in ids]
    none = [{"dynamodb": {"NewImage": {**image, "PK": {"S": "short"}}}}, {"dynamodb": {}}]
    assert notify({"Records": [*records[::-1], *none, *records]}) == {"published": ids[::-1]}
    until(lambda: all(inbox.about(session_id) for session_id in ids))
    assert [len(inbox.about(session_id)) for session_id in ids] == [1, 1, 1, 1]


def test_a_topic_that_fails_for_a_while_tells_each_end_once_afterwards(
    inbox: Inbox, end: Callable[[], str], settled: Callable[[], None], without: Without, logged: Callable[[str], Any]
) -> None:
    with without("NotifierPublish"):
        ids = [end() for _ in range(2)]
        # Lambda repeats a failed call; each log line names the session whose message failed.
        until(lambda: all(logged(session_id) for session_id in ids))
        assert not any(inbox.about(session_id) for session_id in ids)
    settled()
    assert [len(inbox.about(session_id)) for session_id in ids] == [1, 1]


def test_an_end_whose_mark_is_not_written_is_told_at_least_once(
    inbox: Inbox, end: Callable[[], str], settled: Callable[[], None], without: Without
) -> None:
    """As if the function died between the two."""
    with without("NotifierMark"):
        session_id = end()
        until(lambda: len(inbox.about(session_id)) > 1)
    settled()
    told = len(inbox.about(session_id))
    settled()
    assert len(inbox.about(session_id)) == told


@pytest.mark.parametrize(
    ("sid", "action"), [("NotifierMarkRead", "dynamodb:GetItem"), ("NotifierDeadLetters", "sqs:ReceiveMessage")]
)
def test_without_the_grant_the_function_fails_and_says_why(
    notify: Notify, without: Without, sid: str, action: str
) -> None:
    end = {"PK": {"S": str(uuid.uuid4())}, "status": {"S": "FAILED"}}
    event = {"Records": [{"dynamodb": {"NewImage": end}}]} if sid == "NotifierMarkRead" else {}
    with without(sid):
        assert action in notify(event)["errorMessage"]


def test_a_message_in_the_dead_letter_queue_is_told_once_and_stays(
    stack: LocalStack, deployment: Deployment, inbox: Inbox, notify: Notify
) -> None:
    sqs, url = stack.client("sqs"), stack.outputs[Output.DEAD_LETTERS]
    event = {"source": EVENT_SOURCE, "detail-type": EVENT_DETAIL_TYPE, "time": "2026-01-01T00:00:00Z", "detail": {}}
    ids = [str(uuid.uuid4()) for _ in range(12)]
    for event_id in ids:
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps({**event, "id": event_id}))
    try:
        assert len(notify({})["published"]) == 12
        assert notify({}) == {"published": []}
        until(lambda: all(inbox.about(event_id) for event_id in ids))
        for event_id in ids:
            (message,) = inbox.about(event_id)
            assert message["Subject"] == f"Vigil: LOST event {event_id}: unknown"
            assert "VIGIL_STACK=Vigil vigil --aws-region us-east-1 lost --resend" in message["Message"]
        assert {letter.event_id for letter in deployment.dead_letters()} == set(ids)
    finally:
        sqs.purge_queue(QueueUrl=url)


def test_the_doctor_says_whether_the_subscribers_have_confirmed(deployment: Deployment, inbox: Inbox) -> None:
    *_, found = resources.check(deployment)
    assert found.status is Verdict.OK
    assert found.what.startswith(f"topic {deployment.outputs[OptionalOutput.TOPIC]}: 2 of 2 subscribers")


def test_an_operator_and_an_agent_who_end_a_session_at_once_give_one_message(
    workflow: Workflow, deployment: Deployment, begin: Callable[[], str], inbox: Inbox, settled: Callable[[], None]
) -> None:
    def complete(session_id: str) -> None:
        with suppress(SessionEnded):
            workflow.journal.complete(session_id, "s3://bucket/report.md")

    def stop(session_id: str) -> None:
        # The agent may be first.
        with suppress(SessionEnded):
            deployment.stop(session_id, "enough")

    ids = [begin() for _ in range(4)]
    with ThreadPoolExecutor(2) as pool:
        for session_id in ids:
            for done in [pool.submit(end, session_id) for end in random.sample((complete, stop), 2)]:
                done.result()
    settled()
    assert [len(inbox.about(session_id)) for session_id in ids] == [1, 1, 1, 1]

"""What the notifier writes of any session, and what becomes of a message when it is killed."""

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile import TEXT
from tests.support import until
from vigil.dead_letter import DeadLetter
from vigil.errors import AwsUnavailable
from vigil.journal import Journal
from vigil.local.stack import LocalStack
from vigil.names import Env
from vigil.notifier import (
    MAX_SINGLE,
    MAX_SUBJECT,
    Notifier,
    dead_letter_message,
    ends_of_sessions,
    session_message,
)
from vigil.session import Failure, Session, Status
from vigil.settings import NotifierSettings
from vigil.step import Usage

SETTINGS = NotifierSettings("table", "topic", "queue", "Vigil", "eu-west-1")
ID = "x" * 36
NOW = "2026-01-01T00:00:00.000Z"
AKIA = "AKIA" + "ABCDEFGHIJKLMNOP"


def session(**changes: Any) -> Session:
    return Session(**{"session_id": ID, "status": Status.COMPLETED, "start_time": NOW, "created_at": NOW, **changes})


def subject(**changes: Any) -> str:
    return session_message(session(**changes), SETTINGS).published()["Subject"]


def test_the_subject_carries_the_essential() -> None:
    assert subject(headline="$340 a month can be saved, 2 new") == "Vigil: $340 a month can be saved, 2 new"
    assert subject() == subject(headline="\n") == f"Vigil: COMPLETED {ID}"
    failure = Failure("AgentLost", "no sign of life for 12 s")
    assert subject(status="FAILED", error=failure) == "Vigil: FAILED AgentLost: no sign of life for 12 s"
    assert subject(status="FAILED") == "Vigil: FAILED no cause was recorded"
    # A headline of a session that failed later is none.
    assert subject(status="FAILED", headline="$340", error=failure).startswith("Vigil: FAILED AgentLost")


def test_a_long_subject_is_cut() -> None:
    cut = subject(headline="$340 " * 100)
    assert len(cut) == MAX_SUBJECT
    assert cut.endswith("...")


@given(TEXT, TEXT, TEXT, st.sampled_from(["COMPLETED", "FAILED"]))
def test_sns_takes_any_text(headline: str, code: str, message: str, status: str) -> None:
    sent = session_message(session(status=status, headline=headline, error=Failure(code, message)), SETTINGS)
    lost = dead_letter_message(DeadLetter(code, message, headline, ID), SETTINGS, 0)
    for published in (sent.published(), lost.published()):
        # "Publish" (SNS API Reference): ASCII, no line break and no control character, fewer than 100 characters.
        assert re.fullmatch(r"Vigil: [ -~]{0,92}", published["Subject"])
        assert re.fullmatch(r"[^\x00-\x09\x0b-\x1f\x7f]+", published["Message"])
        assert len(published["Message"].encode()) < 256 * 1024
        published["Message"].encode()


def test_the_body_says_whether_a_price_was_assumed() -> None:
    usage = Usage("m", 1, 2, Decimal("0.5"))
    for found, dollars in ((usage, "0.50"), (replace(usage, price_assumed=True), "≈0.50")):
        body = session_message(session(usage=found), SETTINGS).published()["Message"]
        assert f"\ndollars: {dollars} for the model\n" in body


def test_what_looks_like_a_secret_is_not_sent() -> None:
    published = session_message(session(status="FAILED", error=Failure("X", f"key {AKIA}")), SETTINGS).published()
    assert AKIA not in json.dumps(published)


@pytest.mark.parametrize(
    "image",
    [
        {},
        {"PK": {"S": "short"}, "status": {"S": "FAILED"}},
        {"PK": {"N": "5"}, "status": {"S": "FAILED"}},
        {"PK": {"S": ID}, "status": {"S": "BUSY"}},
        {"PK": {"S": ID}, "status": {"B": "AA=="}},
        {"PK": {"S": ID}, "status": {"Z": "AA=="}},
        {"PK": {"S": ID}, "status": {}},
    ],
)
def test_a_record_that_is_no_end_of_a_session_tells_nothing(image: dict[str, Any]) -> None:
    assert list(ends_of_sessions([{"dynamodb": {"NewImage": image}}], SETTINGS)) == []


KILLED = """
import json, os, sys
from vigil import notifier
from vigil.journal import Journal
if sys.argv[1] == "killed":
    Journal.mark_notified = lambda *_: os._exit(9)
print(json.dumps(notifier.handler(json.loads(sys.argv[2]), None)))
"""


@pytest.fixture
def topic(embedded: LocalStack) -> str:
    return str(embedded.client("sns").create_topic(Name=f"topic-{uuid.uuid4()}")["TopicArn"])


@pytest.fixture
def url(embedded: LocalStack, topic: str) -> str:
    """The address of a queue that subscribes to the topic."""
    sns, sqs = embedded.client("sns"), embedded.client("sqs")
    url = sqs.create_queue(QueueName=f"inbox-{uuid.uuid4()}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Statement": [allow]})})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return url


def test_a_notifier_that_is_killed_before_the_mark_tells_the_end_again_and_then_no_more(
    embedded: LocalStack, table: Any, topic: str, url: str
) -> None:
    sqs = embedded.client("sqs")
    own = {Env.TABLE: table.name, Env.TOPIC_ARN: topic, Env.DEAD_LETTERS: url, Env.STACK: "Vigil"}
    session_id = str(uuid.uuid4())
    image = {"PK": {"S": session_id}, "status": {"S": "FAILED"}}
    event = json.dumps({"Records": [{"dynamodb": {"NewImage": image}}]})

    def run(how: str) -> "subprocess.CompletedProcess[str]":
        words = [sys.executable, "-c", KILLED, how, event]
        return subprocess.run(words, env={**embedded.environment(), **own}, capture_output=True, text=True, timeout=60)

    assert run("killed").returncode == 9
    first, second = run("whole"), run("whole")
    assert json.loads(first.stdout) == {"published": [session_id]}, first.stderr
    assert json.loads(second.stdout) == {"published": []}
    received: list[Any] = []

    def receive() -> bool:
        received.extend(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []))
        return len(received) >= 2

    assert until(receive)
    assert not sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages")
    assert len(received) == 2


@pytest.fixture
def lost(embedded: LocalStack) -> str:
    """The address of a dead-letter queue with 25 events."""
    sqs = embedded.client("sqs")
    url = sqs.create_queue(QueueName=f"lost-{uuid.uuid4()}")["QueueUrl"]
    for first in range(0, 25, 5):
        entries: Any = [
            {"Id": str(n), "MessageBody": json.dumps({"id": f"event-{n}"})} for n in range(first, first + 5)
        ]
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
    return url


@pytest.fixture
def notifier(embedded: LocalStack, table: Any, topic: str, lost: str) -> Notifier:
    settings = replace(SETTINGS, topic_arn=topic, dead_letters=lost)
    return Notifier(Journal(table), embedded.client("sns"), embedded.client("sqs"), settings)


def subjects(embedded: LocalStack, url: str) -> Iterator[str]:
    """Yield the subjects of what has come, and delete it."""
    sqs = embedded.client("sqs")
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        for message in messages:
            yield json.loads(message["Body"])["Subject"]
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def test_of_many_lost_events_some_have_a_message_each_and_the_others_one_that_counts_them(
    embedded: LocalStack, notifier: Notifier, url: str
) -> None:
    assert len(notifier.publish_dead_letters()) == 25
    single = [f"Vigil: LOST event event-{number}: unknown" for number in range(MAX_SINGLE)]
    assert sorted(subjects(embedded, url)) == sorted([*single, "Vigil: LOST events: 5 more"])
    assert notifier.publish_dead_letters() == []
    assert list(subjects(embedded, url)) == []


def test_a_message_that_counts_lost_events_comes_again_for_those_that_are_not_marked(
    embedded: LocalStack, notifier: Notifier, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked: list[str] = []

    def mark(journal: Journal, about: str, expires_at: int) -> None:
        if len(marked) == MAX_SINGLE + 2:
            raise AwsUnavailable("the table does not answer")
        marked.append(about)
        original(journal, about, expires_at)

    original: Any = Journal.mark_notified
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "mark_notified", mark)
        with pytest.raises(AwsUnavailable):
            notifier.publish_dead_letters()
    assert list(subjects(embedded, url)).count("Vigil: LOST events: 5 more") == 1
    # Three have no mark; so few have a message each.
    assert len(notifier.publish_dead_letters()) == 3
    assert all(subject.startswith("Vigil: LOST event event-") for subject in subjects(embedded, url))
    assert notifier.publish_dead_letters() == []


def test_a_look_reads_a_bounded_number_of_lost_events_and_gives_them_back(
    embedded: LocalStack, notifier: Notifier, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vigil.notifier.MAX_LETTERS", 12)
    assert len(notifier.publish_dead_letters()) == 12
    names: Any = ["ApproximateNumberOfMessages"]
    attributes = embedded.client("sqs").get_queue_attributes(QueueUrl=lost, AttributeNames=names)["Attributes"]
    assert attributes == {"ApproximateNumberOfMessages": "25"}

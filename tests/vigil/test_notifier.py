"""What the notifier writes of any session, and what becomes of a message when it is killed."""

import json
import re
import subprocess
import sys
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile import TEXT
from tests.support import until
from vigil.dead_letter import DeadLetter
from vigil.local.stack import LocalStack
from vigil.names import Env
from vigil.notifier import MAX_SUBJECT, dead_letter_message, ends_of_sessions, session_message
from vigil.session import Failure, Session, Status
from vigil.settings import NotifierSettings

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


def test_a_notifier_that_is_killed_before_the_mark_tells_the_end_again_and_then_no_more(
    embedded: LocalStack, table: Any
) -> None:
    sns, sqs = embedded.client("sns"), embedded.client("sqs")
    topic = sns.create_topic(Name=f"topic-{uuid.uuid4()}")["TopicArn"]
    url = sqs.create_queue(QueueName=f"inbox-{uuid.uuid4()}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Statement": [allow]})})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
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

"""The Lambda function that tells how each session ended, and which events became none, on a topic.

It receives the ends of sessions from the table's stream, and looks into the dead-letter queue when a schedule calls it.
It publishes a message and then marks it in the table, so that an end that comes again publishes nothing. A message
comes at least once; it comes twice only if the function dies, or the table cannot be written, between the two.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import boto3
from boto3.dynamodb.types import TypeDeserializer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from vigil.dead_letter import DeadLetter, all_messages
from vigil.errors import InvalidSessionId, VigilError
from vigil.journal import Journal
from vigil.redact import redact
from vigil.session import Session, Status, check_session_id
from vigil.settings import NotifierSettings
from vigil.text import one_line

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

logger = logging.getLogger("vigil.notifier")

TIMEOUT_SECONDS = 120  # of the function
HIDDEN_SECONDS = 30  # how long a dead letter is hidden from others while the function reads it
KEPT = timedelta(days=14)  # of a dead letter, and so of its mark
MAX_LETTERS = 1000  # dead letters that a call reads; with an access to the table for each, it takes under a minute
MAX_SINGLE = 20  # dead letters that a call publishes one by one; one message counts its others
MAX_SUBJECT = 99  # characters that SNS allows, all of them ASCII
MAX_LINE = 500


@dataclass(frozen=True)
class Message:
    """What is published once about ``about``: a session, or dead letters, each of which gets a mark."""

    about: tuple[str, ...]
    subject: str
    lines: tuple[str, ...]
    expires_at: int | None  # of its marks

    def published(self) -> dict[str, str]:
        """Return it as SNS takes it: a subject in ASCII, and plain lines, without what looks like a secret."""
        subject = redact(one_line(self.subject)).encode("ascii", "replace").decode()
        subject = subject if len(subject) <= MAX_SUBJECT else f"{subject[: MAX_SUBJECT - 3]}..."
        return {"Subject": subject, "Message": "\n".join(redact(one_line(line))[:MAX_LINE] for line in self.lines)}


def handler(event: object, context: object) -> dict[str, list[str]]:
    """Publish the ends of sessions in the stream's ``event``; without records in it, the dead letters.

    Returns {"published": [what each message is about, ...]}.
    """
    notifier = _notifier()
    records = event.get("Records") if isinstance(event, dict) else None
    if records is None:
        return {"published": notifier.publish_dead_letters()}
    return {"published": notifier.publish(ends_of_sessions(records, notifier.settings))}


@dataclass(frozen=True)
class Notifier:
    """Publishes each message once."""

    journal: Journal
    sns: Any
    sqs: "SQSClient"
    settings: NotifierSettings

    def publish(self, messages: Iterable[Message]) -> list[str]:
        """Publish what is not marked, and mark it. The first error is raised after all messages have been tried."""
        published: list[str] = []
        errors: list[Exception] = []
        for message in messages:
            try:
                if all(map(self.journal.is_notified, message.about)):
                    continue
                self.sns.publish(TopicArn=self.settings.topic_arn, **message.published())
                published.extend(message.about)
                for about in message.about:
                    self.journal.mark_notified(about, message.expires_at)
            except (BotoCoreError, ClientError, VigilError) as error:
                # One message must not keep the others back.
                logger.exception("the message about %s was not published, or not marked", message.about[0])
                errors.append(error)
        if errors:
            raise errors[0]
        return published

    def publish_dead_letters(self) -> list[str]:
        """Publish the events in the dead-letter queue, which stay there; many of them in one message."""
        expires_at = int((datetime.now(UTC) + KEPT).timestamp())
        with all_messages(self.sqs, self.settings.dead_letters, HIDDEN_SECONDS) as (messages, _):
            letters = map(DeadLetter.from_message, islice(messages, MAX_LETTERS))
            found = [dead_letter_message(letter, self.settings, expires_at) for letter in letters]
            new = [message for message in found if not self.journal.is_notified(message.about[0])]
            others = new[MAX_SINGLE:]
            return self.publish([*new[:MAX_SINGLE], *([summary(others)] if others else [])])


def ends_of_sessions(records: Iterable[Mapping[str, Any]], settings: NotifierSettings) -> Iterator[Message]:
    """Yield the messages about the sessions that have ended by ``records`` of the table's stream."""
    for record in records:
        session = Session.from_item(_plain(record["dynamodb"].get("NewImage", {})))
        # An agent's role may write a record that is no session's.
        with suppress(InvalidSessionId):
            check_session_id(session.session_id)
            if session.terminal:
                yield session_message(session, settings)


def session_message(session: Session, settings: NotifierSettings) -> Message:
    """Return the message about a session that has ended."""
    session_id, completed, usage = session.session_id, session.status == Status.COMPLETED, session.usage
    headline = (session.headline or "").strip()
    cause = f"{session.error.code}: {session.error.message}" if session.error else "no cause was recorded"
    subject = (headline or f"{session.status} {session_id}") if completed else f"{session.status} {cause}"
    facts = {
        "session": session_id,
        "status": session.status,
        "started": session.start_time,
        "ended": session.ended_at,
        "attempts": session.attempt,
        "dollars": usage and f"{'≈' if usage.price_assumed else ''}{usage.dollars:.2f} for the model",
        "result": session.headline if completed else None,
        "cause": None if completed else cause,
    }
    lines = [f"{name}: {value}" for name, value in facts.items() if value is not None]
    commands = ("show", "report") if completed else ("show", "retry")
    more = [f"{settings.command} {command} {session_id}" for command in commands]
    return Message((session_id,), f"Vigil: {subject}", (*lines, "", *more), session.expires_at)


def dead_letter_message(letter: DeadLetter, settings: NotifierSettings, expires_at: int) -> Message:
    """Return the message about an event that became no session."""
    lines = (f"event: {letter.event_id}", f"time: {letter.time}", f"cause: {letter.reason}")
    more = (f"{settings.command} lost", f"{settings.command} lost --resend")
    subject = f"Vigil: LOST event {letter.event_id}: {letter.reason}"
    about = (f"LOST#{letter.message_id}",)
    return Message(about, subject, (*lines, "", *more), expires_at)


def summary(messages: Sequence[Message]) -> Message:
    """Return one message in place of ``messages`` about dead letters, with the first of them as an example."""
    about = tuple(key for message in messages for key in message.about)
    subject = f"Vigil: LOST events: {len(about)} more"
    return Message(about, subject, (subject, "", "One of them:", *messages[0].lines), messages[0].expires_at)


def _plain(image: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an item in a stream. Lambda encodes binary values, which no record has."""
    item = {}
    for name, value in image.items():
        with suppress(TypeError, ValueError, ArithmeticError, AttributeError, RecursionError):
            item[name] = TypeDeserializer().deserialize(value)
    return item


@cache
def _notifier() -> Notifier:
    settings = NotifierSettings.from_env()
    config = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 4})
    sns, sqs = boto3.client("sns", config=config), boto3.client("sqs", config=config)
    return Notifier(Journal.open(boto3.Session(), settings.table, attempts=5), sns, sqs, settings)

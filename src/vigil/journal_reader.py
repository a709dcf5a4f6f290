"""What the table says of sessions: their records, work phases, steps, artifacts and history."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import ConditionBase, Key

from vigil.attributes import as_text
from vigil.errors import AwsUnavailable, SessionNotFound
from vigil.names import INDEX_BY_START, INDEX_BY_STATUS
from vigil.session import (
    ALLOWED_FROM,
    ARTIFACT_SK_PREFIX,
    HISTORY_PK_PREFIX,
    NOTIFIED_SK,
    RECORD_SK,
    STEP_SK_PREFIX,
    TASK_SK_PREFIX,
    Session,
    Status,
    Task,
    check_session_id,
)
from vigil.step import MAX_STEPS, Step
from vigil.table import item_key, query, step_key, task_key, translate_errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

HISTORY_PAGE = 10  # items of history that one request reads: most analyses compare with the first
MOST_AT_ONCE = 100  # records that BatchGetItem takes
MOST_HISTORY = 100  # items of history that are read at most: sessions that fail write some too; each costs a read


@dataclass(frozen=True)
class Listing:
    """Some of the sessions, the newest first."""

    sessions: list[Session]
    cursor: str | None  # where the next ones begin; None if there are none


@dataclass(frozen=True)
class Snapshot:
    """A session as a read of the table finds it. What ran when the session ended has ended with it."""

    session: Session | None  # None if it has no record
    tasks: list[Task]  # its work phases in the order they began
    steps: list[Step]  # its model calls and tool calls in the order they began
    task_token: object  # the task token, which changes whenever the workflow begins to wait again


@dataclass(frozen=True)
class SavedArtifact:
    """An artifact as the table names it."""

    key: str  # of its object
    headline: str | None = None  # of a report


class JournalReader:
    """Reads the items of all sessions in one table."""

    def __init__(self, table: "Table") -> None:
        self._table = table

    def get(self, session_id: str) -> Session:
        """Return the session as it is now (a consistent read), or raise SessionNotFound."""
        check_session_id(session_id)
        with translate_errors(session_id):
            answer = self._table.get_item(Key=item_key(session_id), ConsistentRead=True)
        if "Item" not in answer:
            raise SessionNotFound(f"no session {session_id}")
        return Session.from_item(answer["Item"])

    def recent(self, limit: int = 20, status: Status | None = None) -> list[Session]:
        """Return the newest sessions first, all or those in ``status``, by an index and not by a scan."""
        return self.listing(limit, status).sessions

    def listing(
        self, limit: int, status: Status | None = None, day: str | None = None, cursor: str | None = None
    ) -> Listing:
        """Return at most ``limit`` sessions, all or those in ``status``, of all days or of ``day`` (ISO 8601, UTC).

        With the ``cursor`` of a listing, those that follow it. A listing has what the index holds of each session.
        """
        key: ConditionBase = Key("SK").eq(RECORD_SK)
        index = INDEX_BY_START
        if status is not None:
            index, key = INDEX_BY_STATUS, Key("status").eq(status)
        if day is not None:
            key &= Key("start_time").begins_with(day)
        start: dict[str, Any] = {}
        if cursor is not None:
            start_time, _, session_id = cursor.rpartition("~")
            last = {**item_key(session_id), "start_time": start_time} | ({"status": status} if status else {})
            start = {"ExclusiveStartKey": last}
        # One more, to know whether any follow.
        start |= {"IndexName": index, "KeyConditionExpression": key, "ScanIndexForward": False, "Limit": limit + 1}
        items = list(islice(query(self._table, **start), limit + 1))
        sessions = [Session.from_item(item) for item in items[:limit]]
        more = f"{sessions[-1].start_time}~{sessions[-1].session_id}" if len(items) > limit else None
        return Listing(sessions, more)

    def records(self, session_ids: Iterable[str]) -> dict[str, Session]:
        """Return the whole records of sessions by their ids, without those that DynamoDB has not or cannot read now."""
        found: dict[str, Session] = {}
        keys = [item_key(session_id) for session_id in dict.fromkeys(session_ids)]
        with translate_errors():
            for first in range(0, len(keys), MOST_AT_ONCE):
                request: Any = {self._table.name: {"Keys": keys[first : first + MOST_AT_ONCE]}}
                answer = self._table.meta.client.batch_get_item(RequestItems=request)["Responses"]
                found |= {str(item["PK"]): Session.from_item(item) for item in answer[self._table.name]}
        return found

    def read_now(self, session_id: str, phases: Sequence[Task]) -> tuple[Session, list[Task]]:
        """Return a session's record and those ``phases`` as they are now, by one consistent read; raises as get."""
        keys = [item_key(check_session_id(session_id))]
        keys += [task_key(session_id, phase.number, phase.name) for phase in phases[: MOST_AT_ONCE - 1]]
        # Malformed items may lead to equal keys, which DynamoDB refuses.
        keys = list({key["SK"]: key for key in keys}.values())
        request: Any = {self._table.name: {"Keys": keys, "ConsistentRead": True}}
        with translate_errors(session_id):
            answer: Any = self._table.meta.client.batch_get_item(RequestItems=request)
        if answer.get("UnprocessedKeys"):
            raise AwsUnavailable(f"session {session_id}: DynamoDB could not read all of it now")
        items = answer["Responses"][self._table.name]
        record = next((item for item in items if item["SK"] == RECORD_SK), None)
        if record is None:
            raise SessionNotFound(f"no session {session_id}")
        found = [Task.from_item(item) for item in items if item is not record]
        return Session.from_item(record), sorted(found, key=lambda task: task.number)

    def snapshot(self, session_id: str, first_step: int = 1) -> Snapshot:
        """Return the session's record, its work phases and its steps from ``first_step`` on, by consistent reads."""
        # The record first: if it says that the session has ended, the rest changes no more.
        with translate_errors(session_id):
            key = item_key(check_session_id(session_id))
            record = self._table.get_item(Key=key, ConsistentRead=True).get("Item")
        session = Session.from_item(record) if record is not None else None
        if session is not None and (session.step_count or 0) > MAX_STEPS:
            # The newest steps have replaced others, in any order of their keys.
            first_step = min(first_step, MAX_STEPS // 2 + 1)
        # The phases follow the steps.
        first = step_key(session_id, first_step)["SK"]
        condition = Key("PK").eq(session_id) & Key("SK").between(first, f"{TASK_SK_PREFIX}~")
        items = list(query(self._table, session_id, KeyConditionExpression=condition, ConsistentRead=True))
        tasks = [Task.from_item(item) for item in items if item["SK"].startswith(TASK_SK_PREFIX)]
        steps = [Step.from_item(item) for item in items if item["SK"].startswith(STEP_SK_PREFIX)]
        if session is not None:
            ends = [attempt.ended_at for attempt in session.attempts]
            steps = [step.ended_with_attempt(ends) for step in steps]
        if session is not None and session.terminal:
            tasks = [task.ended_with(session) for task in tasks]
            steps = [step.ended_with_session(session.ended_at, well=session.ended_by_agent) for step in steps]
        tasks.sort(key=lambda task: task.number)
        steps.sort(key=lambda step: step.number)
        return Snapshot(session, tasks, steps, (record or {}).get("task_token"))

    def tasks(self, session_id: str) -> list[Task]:
        """Return the session's work phases, as snapshot does."""
        return self.snapshot(session_id).tasks

    def artifact(self, session_id: str, name: str) -> SavedArtifact | None:
        """Return the session's artifact ``name``, or None."""
        with translate_errors(session_id):
            key = item_key(check_session_id(session_id), ARTIFACT_SK_PREFIX + name)
            found = self._table.get_item(Key=key, ConsistentRead=True).get("Item", {})
        key_of_object, headline = found.get("key"), as_text(found.get("headline"))
        return SavedArtifact(key_of_object, headline or None) if isinstance(key_of_object, str) else None

    def is_notified(self, about: str) -> bool:
        """Whether a message about this, a session's id or another key, is marked as published."""
        with translate_errors(about=about):
            return "Item" in self._table.get_item(Key=item_key(about, NOTIFIED_SK), ConsistentRead=True)

    def artifact_names(self, session_id: str) -> list[str]:
        """Return the names of the session's artifacts, sorted."""
        condition = Key("PK").eq(check_session_id(session_id)) & Key("SK").begins_with(ARTIFACT_SK_PREFIX)
        items = query(self._table, session_id, KeyConditionExpression=condition, ConsistentRead=True)
        return sorted(str(item["SK"]).removeprefix(ARTIFACT_SK_PREFIX) for item in items)

    def kept_before(self, series: str, day: str) -> Iterator[str]:
        """Yield the keys of what COMPLETED sessions kept for ``series`` before ``day``, the last day first.

        It reads the last MOST_HISTORY items, which sessions that failed may have written too.
        """
        condition = Key("PK").eq(HISTORY_PK_PREFIX + series) & Key("SK").lt(day)
        with translate_errors():
            kept = query(self._table, KeyConditionExpression=condition, ScanIndexForward=False, Limit=HISTORY_PAGE)
            for item in islice(kept, MOST_HISTORY):
                session_id, key = str(item["SK"]).partition("#")[2], item.get("key")
                record = self._table.get_item(Key=item_key(session_id)).get("Item", {}) if session_id else {}
                if record.get("status") == Status.COMPLETED and isinstance(key, str):
                    yield key

    def open_sessions(self) -> Iterator[Session]:
        """Yield the sessions that have not ended, as an index knows them: perhaps a moment late."""
        for status in ALLOWED_FROM[Status.FAILED]:
            items = query(self._table, IndexName=INDEX_BY_STATUS, KeyConditionExpression=Key("status").eq(status))
            yield from map(Session.from_item, items)

"""The journal: the only code that touches the table.

Transitions are condition expressions, so that two writers cannot both win; nothing is decided by reading first.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache, partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import Key
from boto3.dynamodb.types import DYNAMODB_CONTEXT, TypeDeserializer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from vigil.errors import AwsUnavailable, InvalidStatus, SessionEnded, SessionNotFound, SessionTaken
from vigil.names import INDEX_BY_START, INDEX_BY_STATUS
from vigil.session import (
    ALLOWED_FROM,
    ARTIFACT_SK_PREFIX,
    HISTORY_PK_PREFIX,
    RECORD_SK,
    TASK_SK_PREFIX,
    TTL_DAYS,
    Failure,
    Session,
    Status,
    Task,
    Usage,
    check_session_id,
    iso,
)
from vigil.wakeup import waker

if TYPE_CHECKING:
    from boto3 import Session as AwsSession
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_stepfunctions import SFNClient

# An agent may write a number of more digits than boto3 takes: read it rounded, and do not raise.
DYNAMODB_CONTEXT.clear_traps()

MAX_MESSAGE = 1000
MAX_PHASE_NAME = 60
PAGE = 10
"""Items of history that are read at once: most analyses compare with the first."""
MOST_KEPT = 100
"""Items of history that are looked at: sessions that fail keep something too, and each costs a read."""
_OWNED = "(attribute_not_exists(worker) OR worker = :owner)"


@dataclass(frozen=True)
class Snapshot:
    """A session as one read of the table finds it."""

    session: Session | None
    """None if it has no record."""
    tasks: list[Task]
    """Its work phases in the order they began; one that ran when the session ended has ended with it."""
    waits: object
    """Another value whenever its workflow begins to wait anew."""


class Journal:
    """Session records and their work phases in one table.

    ``wake`` hears the task token with which a workflow waits for the session that was just ended.
    """

    def __init__(
        self,
        table: "Table",
        wake: Callable[[str], None] = lambda token: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._table = table
        self._wake = wake
        self._now = now

    @classmethod
    def open(cls, aws: "AwsSession", table: str, attempts: int = 12) -> "Journal":
        """Connect to ``table``; throttling and transient errors are tried again, ``attempts`` times in all.

        botocore's standard mode waits up to 1, 2, 4, 8, 16 and then 20 seconds, with full jitter: 12 attempts
        outlive an outage of half a minute. Raises AwsUnavailable if there are no credentials.
        """
        config = Config(
            connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": attempts}
        )

        @cache
        def workflows() -> "SFNClient":
            return aws.client("stepfunctions", config=config.merge(Config(retries={"total_max_attempts": 5})))

        with _translated():
            opened = aws.resource("dynamodb", config=config).Table(table)
        retry: Callable[..., Any] = partial(_retry_conflict, attempts)
        opened.meta.client.meta.events.register("needs-retry.dynamodb", retry)
        # A client costs time, and most who open a journal end no session that a workflow waits for.
        return cls(opened, waker(workflows))

    def get(self, session_id: str) -> Session:
        """Return the session as it is now (a consistent read), or raise SessionNotFound."""
        check_session_id(session_id)
        with _translated(session_id):
            answer = self._table.get_item(Key=_key(session_id), ConsistentRead=True)
        if "Item" not in answer:
            raise SessionNotFound(f"no session {session_id}")
        return Session.from_item(answer["Item"])

    def recent(self, limit: int = 20, status: Status | None = None) -> list[Session]:
        """Return the newest sessions first, all or those in ``status``, by an index and not by a scan."""
        index, key = (
            (INDEX_BY_START, Key("SK").eq(RECORD_SK)) if status is None else (INDEX_BY_STATUS, Key("status").eq(status))
        )
        with _translated():
            items = self._query(IndexName=index, KeyConditionExpression=key, ScanIndexForward=False, Limit=limit)
            return [Session.from_item(item) for item in islice(items, limit)]

    def snapshot(self, session_id: str) -> Snapshot:
        """Return the session's record and its work phases as they are now, by one consistent read."""
        # The phases follow the record, and the artifacts stand before it.
        condition = Key("PK").eq(check_session_id(session_id)) & Key("SK").gte(RECORD_SK)
        with _translated(session_id):
            items = list(self._query(KeyConditionExpression=condition, ConsistentRead=True))
        record = next((item for item in items if item["SK"] == RECORD_SK), None)
        session = Session.from_item(record) if record is not None else None
        tasks = [Task.from_item(item) for item in items if item["SK"].startswith(TASK_SK_PREFIX)]
        if session is not None and session.terminal:
            tasks = [task.ended_with(session) for task in tasks]
        return Snapshot(session, sorted(tasks, key=lambda task: task.number), (record or {}).get("task_token"))

    def tasks(self, session_id: str) -> list[Task]:
        """Return the session's work phases, as snapshot does."""
        return self.snapshot(session_id).tasks

    def artifact(self, session_id: str, name: str) -> str | None:
        """Return the key of the object that is the session's artifact ``name``, or None."""
        with _translated(session_id):
            key = _key(check_session_id(session_id), ARTIFACT_SK_PREFIX + name)
            found = self._table.get_item(Key=key, ConsistentRead=True).get("Item", {}).get("key")
        return found if isinstance(found, str) else None

    def artifact_names(self, session_id: str) -> list[str]:
        """Return the names of the session's artifacts, sorted."""
        condition = Key("PK").eq(check_session_id(session_id)) & Key("SK").begins_with(ARTIFACT_SK_PREFIX)
        with _translated(session_id):
            items = list(self._query(KeyConditionExpression=condition, ConsistentRead=True))
        return sorted(str(item["SK"]).removeprefix(ARTIFACT_SK_PREFIX) for item in items)

    def save_artifact(self, session_id: str, name: str, key: str) -> None:
        """Make the object ``key`` the session's artifact ``name``; raises SessionEnded unless the session is BUSY."""
        self._while_busy(session_id, put={**_key(session_id, ARTIFACT_SK_PREFIX + name), "key": key})

    def keep(self, session_id: str, series: str, day: str, key: str) -> None:
        """Make the object ``key`` what this session kept of ``series`` on ``day``; raises as save_artifact."""
        self._while_busy(session_id, put={**_key(HISTORY_PK_PREFIX + series, f"{day}#{session_id}"), "key": key})

    def kept_before(self, series: str, day: str) -> Iterator[str]:
        """Yield the keys of what sessions that are COMPLETED kept of ``series`` before ``day``, the last day first.

        Looks at the last MOST_KEPT that sessions kept, whatever became of them.
        """
        condition = Key("PK").eq(HISTORY_PK_PREFIX + series) & Key("SK").lt(day)
        with _translated():
            kept = self._query(KeyConditionExpression=condition, ScanIndexForward=False, Limit=PAGE)
            for item in islice(kept, MOST_KEPT):
                session_id, key = str(item["SK"]).partition("#")[2], item.get("key")
                record = self._table.get_item(Key=_key(session_id)).get("Item", {}) if session_id else {}
                if record.get("status") == Status.COMPLETED and isinstance(key, str):
                    yield key

    def mark_busy(self, session_id: str, worker: str = "") -> bool:
        """Set BUSY for ``worker``. Returns False if it had done so already.

        Raises SessionTaken if another worker has the session, SessionEnded if it has ended.
        """
        try:
            self._transition(session_id, Status.BUSY, {"worker": worker})
        except SessionEnded as error:
            found = error.item
            if found.get("status") != Status.BUSY:
                raise
            if found.get("worker") != worker:
                raise SessionTaken(f"session {session_id} is BUSY: another worker runs it") from error
            return False
        return True

    def complete(self, session_id: str, report_uri: str) -> None:
        """Set COMPLETED. Raises SessionEnded unless the session is BUSY."""
        self._transition(session_id, Status.COMPLETED, {"report_uri": report_uri})

    def fail(self, session_id: str, failure: Failure, worker: str | None = None) -> None:
        """Set FAILED with its cause. Raises SessionEnded if the session has ended, or is another worker's."""
        self._transition(session_id, Status.FAILED, {"error": _error(failure)}, worker)

    def fail_orphaned(self, session_id: str, execution_arn: str, failure: Failure) -> bool:
        """Set FAILED for a workflow that ended, even if it left no record. False if the session needs no end from us.

        It needs none if it has ended, or belongs to another execution: then this one was of a duplicate event.
        """
        check_session_id(session_id)
        now = self._now()
        names = {"#status": "status", "#error": "error"}
        values: dict[str, Any] = {
            ":failed": Status.FAILED,
            ":error": _error(failure),
            ":now": iso(now),
            ":execution": execution_arn,
            ":expires": int(now.timestamp()) + TTL_DAYS * 86400,
            **_from(Status.FAILED),
        }
        own = ("start_time", "created_at", "execution_arn", "expires_at")
        defaults = zip(own, (":now", ":now", ":execution", ":expires"), strict=True)
        try:
            with _translated(session_id):
                self._table.update_item(
                    Key=_key(session_id),
                    UpdateExpression="SET #status = :failed, #error = :error, ended_at = :now, updated_at = :now, "
                    + ", ".join(f"{name} = if_not_exists({name}, {value})" for name, value in defaults),
                    ConditionExpression="(attribute_not_exists(PK) OR execution_arn = :execution)"
                    " AND (attribute_not_exists(#status) OR #status IN (:from0, :from1))",
                    ExpressionAttributeNames=names,
                    ExpressionAttributeValues=values,
                )
        except SessionEnded:
            return False
        return True

    def heartbeat(self, session_id: str, worker: str) -> None:
        """Say that ``worker`` lives. Raises SessionEnded if the session has ended, is gone, or is another worker's."""
        with _translated(session_id, "the session has ended, or another worker runs it"):
            self._table.update_item(
                Key=_key(session_id),
                UpdateExpression="SET heartbeat_at = :now",
                ConditionExpression=f"#status IN (:from0, :from1) AND {_OWNED}",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={":now": iso(self._now()), ":owner": worker, **_from(Status.FAILED)},
            )

    def open_sessions(self) -> Iterator[Session]:
        """Yield the sessions that have not ended, as an index knows them: perhaps a moment late."""
        for status in ALLOWED_FROM[Status.FAILED]:
            with _translated():
                for item in self._query(IndexName=INDEX_BY_STATUS, KeyConditionExpression=Key("status").eq(status)):
                    yield Session.from_item(item)

    def start_task(self, session_id: str, name: str) -> Task:
        """Begin a work phase; only a BUSY session has phases."""
        check_phase_name(name)
        now = iso(self._now())
        with _translated(session_id):
            # The counter on the record gives phases that begin at once distinct numbers.
            answer = self._table.update_item(
                Key=_key(session_id),
                UpdateExpression="ADD task_count :one SET updated_at = :now REMOVE progress",
                ConditionExpression="#status = :busy",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={":one": 1, ":now": now, ":busy": Status.BUSY},
                ReturnValues="UPDATED_NEW",
            )
        number = int(str(answer["Attributes"]["task_count"]))
        item = {**_task_key(session_id, number, name), "state": "RUNNING", "started_at": now}
        self._while_busy(session_id, put=item)
        return Task.from_item(item)

    def record_progress(self, session_id: str, progress: str) -> None:
        """Say how far the running phase is; raises SessionEnded unless the session is BUSY."""
        self._set(session_id, "progress", _storable(progress))

    def record_usage(self, session_id: str, usage: Usage) -> None:
        """Record what the model calls have used so far; raises SessionEnded unless the session is BUSY."""
        self._set(session_id, "usage", asdict(usage))

    def end_task(self, session_id: str, task: Task, *, failed: bool = False, message: str = "") -> None:
        """End a running work phase, as complete or as failed."""
        values = {":state": "FAILED" if failed else "COMPLETED", ":now": iso(self._now()), ":running": "RUNNING"}
        update = "SET #state = :state, ended_at = :now"
        if message:
            values[":message"] = _storable(message)
            update += ", message = :message"
        self._while_busy(
            session_id,
            f"work phase {task.name!r} is not running",
            Key=_task_key(session_id, task.number, task.name),
            UpdateExpression=update,
            ConditionExpression="#state = :running",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues=values,
        )

    def _while_busy(
        self, session_id: str, refused: str = "", *, put: dict[str, Any] | None = None, **update: Any
    ) -> None:
        """Put an item beside a BUSY session's record, or update one, in one transaction with a look at the record.

        Raises SessionEnded if the session is not BUSY, or, for the reason ``refused``, if the update's condition fails.
        """
        table = self._table.name
        busy: dict[str, Any] = {
            "TableName": table,
            "Key": _key(session_id),
            "ConditionExpression": "#status = :busy",
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": {":busy": Status.BUSY},
        }
        write: dict[str, Any]
        if put is None:
            write = {"Update": {"TableName": table, **update}}
        else:
            expires = int(self._now().timestamp()) + TTL_DAYS * 86400
            write = {"Put": {"TableName": table, "Item": {**put, "expires_at": expires}}}
        items: Any = [{"ConditionCheck": busy}, write]
        try:
            with _translated(session_id):
                self._table.meta.client.transact_write_items(TransactItems=items)
        except AwsUnavailable as error:
            cause = error.__cause__
            reasons = cause.response.get("CancellationReasons", ()) if isinstance(cause, ClientError) else ()
            failed = [reason.get("Code") == "ConditionalCheckFailed" for reason in reasons]
            if any(failed):
                about = "the session is not BUSY" if failed[0] else refused
                raise SessionEnded(f"session {session_id}: {about}") from error
            raise

    def _set(self, session_id: str, name: str, value: str | dict[str, Any]) -> None:
        """Set an attribute of a BUSY session's record."""
        with _translated(session_id):
            self._table.update_item(
                Key=_key(session_id),
                UpdateExpression="SET #name = :value, updated_at = :now",
                ConditionExpression="#status = :busy",
                ExpressionAttributeNames={"#status": "status", "#name": name},
                ExpressionAttributeValues={":value": value, ":now": iso(self._now()), ":busy": Status.BUSY},
            )

    def _query(self, **request: Any) -> Iterator[dict[str, Any]]:
        """Yield the items of every page."""
        while True:
            answer = self._table.query(**request)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _transition(self, session_id: str, status: Status, fields: dict[str, Any], worker: str | None = None) -> None:
        now = iso(self._now())
        # Who sets BUSY lives, which is as good as a heartbeat.
        moment = "ended_at" if status.terminal else "heartbeat_at"
        fields = {"status": status, "updated_at": now, moment: now, **fields}
        if status is Status.BUSY:
            # Of its own, since heartbeat and update go on.
            fields["busy_at"] = now
        allowed = _from(status)
        condition, owner = f"#status IN ({', '.join(allowed)})", {}
        if worker is not None:
            condition += f" AND {_OWNED}"
            owner = {":owner": worker}
        try:
            with _translated(session_id, f"cannot become {status}: it is not {' or '.join(ALLOWED_FROM[status])}"):
                answer = self._table.update_item(
                    Key=_key(session_id),
                    # What a session that is complete was doing last, nobody needs; of one that failed it is a trace.
                    UpdateExpression="SET "
                    + ", ".join(f"#{name} = :{name}" for name in fields)
                    + (" REMOVE progress" if status is Status.COMPLETED else ""),
                    ConditionExpression=condition,
                    ExpressionAttributeNames={f"#{name}": name for name in fields},
                    ExpressionAttributeValues={
                        **{f":{name}": value for name, value in fields.items()},
                        **allowed,
                        **owner,
                    },
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            item: dict[str, Any] = answer["Attributes"]
        except SessionEnded as error:
            # The call is repeated if its answer was lost: then what stands there is what we wrote.
            if any(error.item.get(name) != value for name, value in fields.items()):
                raise
            item = dict(error.item)
        # By the same write, so that no token can be stored between the two: the workflow stores none once it ended.
        if status.terminal and "task_token" in item:
            self._wake(item["task_token"])


def _retry_conflict(
    most: int, attempts: int, response: tuple[Any, dict[str, Any]] | None = None, **_: Any
) -> float | None:
    """Return the seconds until a write is tried again that met a transaction on the same item; botocore tries none."""
    answer = response[1] if response else {}
    reasons = answer.get("CancellationReasons", ())
    if any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons):
        return None
    codes = {answer.get("Error", {}).get("Code"), *(reason.get("Code") for reason in reasons)}
    if attempts >= most or codes.isdisjoint({"TransactionConflict", "TransactionConflictException"}):
        return None
    return random.uniform(0, min(2.0, 0.05 * 2**attempts))


def check_phase_name(name: object) -> str:
    """Return ``name`` if it can name a work phase, else raise InvalidStatus."""
    if isinstance(name, str) and 0 < len(name) <= MAX_PHASE_NAME and "#" not in name and name.isprintable():
        return name
    raise InvalidStatus(f"phase must be 1 to {MAX_PHASE_NAME} printable characters without '#', not {str(name)[:80]!r}")


def _from(status: Status) -> dict[str, str]:
    """Return the statuses that ``status`` may follow, as values ``:from0``, ``:from1``, ... of an expression."""
    return {f":from{i}": value for i, value in enumerate(ALLOWED_FROM[status])}


def _error(failure: Failure) -> dict[str, str]:
    return {"code": _storable(failure.code), "message": _storable(failure.message)}


def _storable(text: str) -> str:
    """Return ``text`` as DynamoDB takes it: bounded, and without surrogates, as in file names that are not UTF-8."""
    return text.encode(errors="backslashreplace").decode()[:MAX_MESSAGE]


def _key(partition: str, sort: str = RECORD_SK) -> dict[str, str]:
    return {"PK": partition, "SK": sort}


def _task_key(session_id: str, number: int, name: str) -> dict[str, str]:
    # Three digits keep the order of the sort key the order of the phases.
    return _key(session_id, f"{TASK_SK_PREFIX}{number:03}#{name}")


@contextmanager
def _translated(session_id: str = "", refused: str = "the session is not BUSY") -> Iterator[None]:
    about = f"session {session_id}: " if session_id else ""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            found = error.response.get("Item", {})
            item = {name: TypeDeserializer().deserialize(value) for name, value in found.items()}  # type: ignore[attr-defined]
            raise SessionEnded(f"{about}{refused}", item) from error
        raise AwsUnavailable(f"{about}{error}") from error
    except BotoCoreError as error:
        raise AwsUnavailable(f"{about}{error}") from error

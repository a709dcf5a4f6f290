"""The journal: the only code that touches the table.

Transitions are condition expressions, so that two writers cannot both win; nothing is decided by reading first.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import Key
from botocore.exceptions import BotoCoreError, ClientError

from vigil.errors import AwsUnavailable, InvalidStatus, SessionEnded, SessionNotFound
from vigil.names import INDEX_BY_START, INDEX_BY_STATUS
from vigil.session import (
    ALLOWED_FROM,
    RECORD_SK,
    TASK_SK_PREFIX,
    Failure,
    Session,
    Status,
    Task,
    check_session_id,
    iso,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

MAX_MESSAGE = 1000
MAX_PHASE_NAME = 60


class Journal:
    """Session records and their work phases in one table."""

    def __init__(self, table: "Table", now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._table = table
        self._now = now

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

    def tasks(self, session_id: str) -> list[Task]:
        """Return the session's work phases in the order they began."""
        condition = Key("PK").eq(session_id) & Key("SK").begins_with(TASK_SK_PREFIX)
        with _translated(session_id):
            return [Task.from_item(i) for i in self._query(KeyConditionExpression=condition, ConsistentRead=True)]

    def busy(self, session_id: str, worker: str = "") -> bool:
        """Set BUSY for ``worker``. Returns False if it is BUSY already; raises SessionEnded or SessionNotFound."""
        try:
            self._transition(session_id, Status.BUSY, {"worker": worker})
        except SessionEnded:
            if self.get(session_id).status == Status.BUSY:
                return False
            raise
        return True

    def complete(self, session_id: str, report_uri: str) -> None:
        """Set COMPLETED. Raises SessionEnded unless the session is BUSY."""
        self._transition(session_id, Status.COMPLETED, {"report_uri": report_uri})

    def fail(self, session_id: str, failure: Failure, worker: str | None = None) -> None:
        """Set FAILED with its cause. Raises SessionEnded if the session has ended, or is another worker's."""
        error = {"code": failure.code, "message": failure.message[:MAX_MESSAGE]}
        self._transition(session_id, Status.FAILED, {"error": error}, worker)

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
            self._table.put_item(Item=item)
        return Task.from_item(item)

    def note(self, session_id: str, progress: str) -> None:
        """Say how far the running phase is; raises SessionEnded unless the session is BUSY."""
        with _translated(session_id):
            self._table.update_item(
                Key=_key(session_id),
                UpdateExpression="SET progress = :progress, updated_at = :now",
                ConditionExpression="#status = :busy",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={
                    ":progress": progress[:MAX_MESSAGE],
                    ":now": iso(self._now()),
                    ":busy": Status.BUSY,
                },
            )

    def end_task(self, session_id: str, task: Task, *, failed: bool = False, message: str = "") -> None:
        """End a running work phase, as complete or as failed."""
        values = {":state": "FAILED" if failed else "COMPLETED", ":now": iso(self._now()), ":running": "RUNNING"}
        update = "SET #state = :state, ended_at = :now"
        if message:
            values[":message"] = message[:MAX_MESSAGE]
            update += ", message = :message"
        with _translated(session_id, f"work phase {task.name!r} is not running"):
            self._table.update_item(
                Key=_task_key(session_id, task.number, task.name),
                UpdateExpression=update,
                ConditionExpression="#state = :running",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues=values,
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
        fields = {"status": status, "updated_at": now, **({"ended_at": now} if status.terminal else {}), **fields}
        allowed = {f":from{i}": value for i, value in enumerate(ALLOWED_FROM[status])}
        condition, owner = f"#status IN ({', '.join(allowed)})", {}
        if worker is not None:
            condition += " AND (attribute_not_exists(worker) OR worker = :owner)"
            owner = {":owner": worker}
        with _translated(session_id, f"cannot become {status}: it is not {' or '.join(ALLOWED_FROM[status])}"):
            self._table.update_item(
                Key=_key(session_id),
                UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in fields),
                ConditionExpression=condition,
                ExpressionAttributeNames={f"#{name}": name for name in fields},
                ExpressionAttributeValues={**{f":{name}": value for name, value in fields.items()}, **allowed, **owner},
            )


def check_phase_name(name: object) -> str:
    """Return ``name`` if it can name a work phase, else raise InvalidStatus."""
    if isinstance(name, str) and 0 < len(name) <= MAX_PHASE_NAME and "#" not in name and name.isprintable():
        return name
    raise InvalidStatus(f"phase must be 1 to {MAX_PHASE_NAME} printable characters without '#', not {str(name)[:80]!r}")


def _key(session_id: str) -> dict[str, str]:
    return {"PK": session_id, "SK": RECORD_SK}


def _task_key(session_id: str, number: int, name: str) -> dict[str, str]:
    # Three digits keep the order of the sort key the order of the phases.
    return {"PK": session_id, "SK": f"{TASK_SK_PREFIX}{number:03}#{name}"}


@contextmanager
def _translated(session_id: str = "", refused: str = "the session is not BUSY") -> Iterator[None]:
    about = f"session {session_id}: " if session_id else ""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            raise SessionEnded(f"{about}{refused}") from error
        raise AwsUnavailable(f"{about}{error}") from error
    except BotoCoreError as error:
        raise AwsUnavailable(f"{about}{error}") from error

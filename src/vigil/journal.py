"""The journal: session records, their work phases and their artifacts' names.

Transitions are condition expressions, so that two writers cannot both win; no decision is made by reading first.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache, partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import Attr, ConditionBase, Key
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from vigil.attributes import iso
from vigil.errors import InvalidStatus, SessionEnded, SessionNotFound, SessionTaken
from vigil.names import INDEX_BY_START, INDEX_BY_STATUS
from vigil.session import (
    ALLOWED_FROM,
    ARTIFACT_SK_PREFIX,
    HISTORY_PK_PREFIX,
    RECORD_SK,
    STEP_SK_PREFIX,
    TASK_SK_PREFIX,
    TERMINAL,
    TTL_DAYS,
    Failure,
    Session,
    Status,
    Task,
    check_session_id,
)
from vigil.step import MAX_STEPS, Step, Usage
from vigil.table import (
    FAIL,
    NOT_BUSY,
    Item,
    item_key,
    open_table,
    query,
    step_key,
    storable,
    task_key,
    transact,
    translate_errors,
)

if TYPE_CHECKING:
    from boto3 import Session as AwsSession
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_stepfunctions import SFNClient

logger = logging.getLogger("vigil.journal")

MAX_PHASE_NAME = 60
MAX_STEPS_AT_ONCE = 99  # that one write takes: a transaction has at most 100 items, and one is the session's record
PAGE = 10  # items of history that one request reads: most analyses compare with the first
MOST_KEPT = 100  # items of history that are read at most: sessions that fail write some too, and each costs a read
_BUSY = Attr("status").eq(Status.BUSY)
_OPEN = Attr("status").is_in(ALLOWED_FROM[Status.FAILED])


@dataclass(frozen=True)
class Snapshot:
    """A session as a read of the table finds it. What ran when the session ended has ended with it."""

    session: Session | None  # None if it has no record
    tasks: list[Task]  # its work phases in the order they began
    steps: list[Step]  # its model calls and tool calls in the order they began
    task_token: object  # the task token, which changes whenever the workflow begins to wait again


class Journal:
    """The items of all sessions in one table.

    ``wake`` is called with the task token of the workflow that waits for a session, when the session has ended.
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
        """Connect to ``table``. A request that meets throttling or a transient error is sent ``attempts`` times.

        botocore's standard mode waits up to 1, 2, 4, 8, 16 and then 20 seconds, with full jitter: 12 attempts
        outlast an outage of half a minute. Raises AwsUnavailable if there are no credentials.
        """
        retries: Any = {"mode": "standard", "total_max_attempts": attempts}
        config = Config(connect_timeout=5, read_timeout=10, retries=retries)

        @cache
        def workflows() -> "SFNClient":
            return aws.client("stepfunctions", config=config.merge(Config(retries={"total_max_attempts": 5})))

        # The client of Step Functions is made when it is needed: most journals end no session.
        return cls(open_table(aws, table, config, attempts), partial(wake, workflows))

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
        index, key = INDEX_BY_START, Key("SK").eq(RECORD_SK)
        if status is not None:
            index, key = INDEX_BY_STATUS, Key("status").eq(status)
        items = query(self._table, IndexName=index, KeyConditionExpression=key, ScanIndexForward=False, Limit=limit)
        return [Session.from_item(item) for item in islice(items, limit)]

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
        if session is not None and session.terminal:
            tasks = [task.ended_with(session) for task in tasks]
            steps = [step.ended_with_session(session.ended_at, well=session.ended_by_agent) for step in steps]
        tasks.sort(key=lambda task: task.number)
        steps.sort(key=lambda step: step.number)
        return Snapshot(session, tasks, steps, (record or {}).get("task_token"))

    def tasks(self, session_id: str) -> list[Task]:
        """Return the session's work phases, as snapshot does."""
        return self.snapshot(session_id).tasks

    def artifact(self, session_id: str, name: str) -> str | None:
        """Return the key of the object that is the session's artifact ``name``, or None."""
        with translate_errors(session_id):
            key = item_key(check_session_id(session_id), ARTIFACT_SK_PREFIX + name)
            found = self._table.get_item(Key=key, ConsistentRead=True).get("Item", {}).get("key")
        return found if isinstance(found, str) else None

    def artifact_names(self, session_id: str) -> list[str]:
        """Return the names of the session's artifacts, sorted."""
        condition = Key("PK").eq(check_session_id(session_id)) & Key("SK").begins_with(ARTIFACT_SK_PREFIX)
        items = query(self._table, session_id, KeyConditionExpression=condition, ConsistentRead=True)
        return sorted(str(item["SK"]).removeprefix(ARTIFACT_SK_PREFIX) for item in items)

    def save_artifact(self, session_id: str, name: str, key: str) -> None:
        """Make the object ``key`` the session's artifact ``name``; raises SessionEnded unless the session is BUSY."""
        self._while_busy(session_id, put={**item_key(session_id, ARTIFACT_SK_PREFIX + name), "key": key})

    def keep(self, session_id: str, series: str, day: str, key: str) -> None:
        """Record the object ``key`` as what this session kept for ``series`` on ``day``; raises as save_artifact."""
        self._while_busy(session_id, put={**item_key(HISTORY_PK_PREFIX + series, f"{day}#{session_id}"), "key": key})

    def kept_before(self, series: str, day: str) -> Iterator[str]:
        """Yield the keys of what COMPLETED sessions kept for ``series`` before ``day``, the last day first.

        It reads the last MOST_KEPT items, which sessions that failed may have written too.
        """
        condition = Key("PK").eq(HISTORY_PK_PREFIX + series) & Key("SK").lt(day)
        with translate_errors():
            kept = query(self._table, KeyConditionExpression=condition, ScanIndexForward=False, Limit=PAGE)
            for item in islice(kept, MOST_KEPT):
                session_id, key = str(item["SK"]).partition("#")[2], item.get("key")
                record = self._table.get_item(Key=item_key(session_id)).get("Item", {}) if session_id else {}
                if record.get("status") == Status.COMPLETED and isinstance(key, str):
                    yield key

    def mark_busy(self, session_id: str, worker: str = "") -> bool:
        """Set BUSY for ``worker``. Returns False if this worker had set it before.

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
        """Set FAILED for a workflow that ended, even if it left no record. Returns False if nothing had to be done.

        Nothing has to be done if the session has ended, or if it belongs to another execution: then the event of this
        execution was a duplicate.
        """
        check_session_id(session_id)
        now = self._now()
        values: Item = {":failed": Status.FAILED, ":error": _error(failure), ":now": iso(now), ":start": iso(now)}
        values |= {":execution": execution_arn, ":expires": _expiry(now)}
        own = Attr("PK").not_exists() | Attr("execution_arn").eq(execution_arn)
        try:
            self._update(session_id, FAIL, values, own & (Attr("status").not_exists() | _OPEN))
        except SessionEnded:
            return False
        return True

    def heartbeat(self, session_id: str, worker: str) -> None:
        """Record that ``worker`` is alive; raises SessionEnded if the session has ended or has another worker."""
        why = "the session has ended, or another worker runs it"
        self._update(session_id, "SET heartbeat_at = :now", {":now": iso(self._now())}, _OPEN & _owned(worker), why)

    def open_sessions(self) -> Iterator[Session]:
        """Yield the sessions that have not ended, as an index knows them: perhaps a moment late."""
        for status in ALLOWED_FROM[Status.FAILED]:
            items = query(self._table, IndexName=INDEX_BY_STATUS, KeyConditionExpression=Key("status").eq(status))
            yield from map(Session.from_item, items)

    def start_task(self, session_id: str, name: str) -> Task:
        """Begin a work phase; raises SessionEnded unless the session is BUSY."""
        if not (isinstance(name, str) and 0 < len(name) <= MAX_PHASE_NAME and "#" not in name and name.isprintable()):
            allowed = f"1 to {MAX_PHASE_NAME} printable characters without '#'"
            raise InvalidStatus(f"phase must be {allowed}, not {str(name)[:80]!r}")
        now = iso(self._now())
        # The counter on the record gives phases that begin at the same time distinct numbers.
        update = "ADD task_count :one SET updated_at = :now REMOVE progress"
        answer = self._update(session_id, update, {":one": 1, ":now": now}, ReturnValues="UPDATED_NEW")
        key = task_key(session_id, int(str(answer["Attributes"]["task_count"])), name)
        item = {**key, "state": "RUNNING", "started_at": now}
        self._while_busy(session_id, put=item)
        return Task.from_item(item)

    def record_progress(self, session_id: str, progress: str) -> None:
        """Record how far the running phase is; raises SessionEnded unless the session is BUSY."""
        values = {":progress": storable(progress), ":now": iso(self._now())}
        self._update(session_id, "SET progress = :progress, updated_at = :now", values)

    def write_steps(self, session_id: str, worker: str, steps: Iterable[Step], count: int, usage: Usage | None) -> None:
        """Write ``steps``, at most MAX_STEPS_AT_ONCE, as they are now, in one transaction with the record's sums.

        These are ``count``, how many have begun, and ``usage``, what they have used. A step whose place a newer one
        has taken is left out. Raises SessionEnded unless the session is BUSY and ``worker``'s.
        """
        values: Item = {":busy": Status.BUSY, ":worker": worker, ":count": count}
        update = "SET step_count = :count"
        if usage is not None:
            update, values[":usage"] = f"{update}, #usage = :usage", asdict(usage)
        record = {
            "Key": item_key(session_id),
            "UpdateExpression": update,
            "ConditionExpression": "#status = :busy AND worker = :worker",
            "ExpressionAttributeNames": {"#status": "status", **({"#usage": "usage"} if usage is not None else {})},
            "ExpressionAttributeValues": values,
        }
        puts = [
            {"Put": {"Item": {**step_key(session_id, step.slot), **_without_none(asdict(step))}}}
            for step in steps
            if step.is_kept(count)
        ]
        self._transact(session_id, {"Update": record}, *puts)

    def end_task(self, session_id: str, task: Task, *, failed: bool = False, message: str = "") -> None:
        """End a running work phase, as complete or as failed."""
        values = {":state": "FAILED" if failed else "COMPLETED", ":now": iso(self._now()), ":running": "RUNNING"}
        update = "SET #state = :state, ended_at = :now"
        if message:
            values[":message"] = storable(message)
            update += ", message = :message"
        self._while_busy(
            session_id,
            f"work phase {task.name!r} is not running",
            Key=task_key(session_id, task.number, task.name),
            UpdateExpression=update,
            ConditionExpression="#state = :running",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues=values,
        )

    def _while_busy(self, session_id: str, refused: str = "", *, put: Item | None = None, **update: Any) -> None:
        """Put or update an item of a session, in one transaction with the check that its record is BUSY.

        Raises SessionEnded if the session is not BUSY, or, for the reason ``refused``, if the update's condition fails.
        """
        check = {
            "Key": item_key(session_id),
            "ConditionExpression": "#status = :busy",
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": {":busy": Status.BUSY},
        }
        write = {"Update": update} if put is None else {"Put": {"Item": put}}
        self._transact(session_id, {"ConditionCheck": check}, write, refused=refused)

    def _transact(self, session_id: str, on_record: Item, *writes: Item, refused: str = NOT_BUSY) -> None:
        """Make ``writes`` in one transaction with ``on_record``; what is put expires with the session."""
        for put in (write["Put"] for write in writes if "Put" in write):
            put["Item"] = {**put["Item"], "expires_at": _expiry(self._now())}
        transact(self._table, session_id, [on_record, *writes], refused)

    def _update(
        self, session_id: str, update: str, values: Item, only: ConditionBase = _BUSY, why: str = NOT_BUSY, **more: Any
    ) -> Any:
        """Update a session's record. Raises SessionEnded, for the reason ``why``, if the condition ``only`` fails."""
        with translate_errors(session_id, why):
            return self._table.update_item(
                Key=item_key(session_id),
                UpdateExpression=update,
                ConditionExpression=only,
                ExpressionAttributeNames={f"#{name}": name for name in re.findall(r"#(\w+)", update)},
                ExpressionAttributeValues=values,
                **more,
            )

    def _transition(self, session_id: str, status: Status, fields: Item, worker: str | None = None) -> None:
        now = iso(self._now())
        # The write that sets BUSY is also the first heartbeat. ``busy_at`` stays, heartbeat and update change.
        moments = ("ended_at",) if status in TERMINAL else ("heartbeat_at", "busy_at")
        fields = {"status": status, "updated_at": now, **dict.fromkeys(moments, now), **fields}
        condition: ConditionBase = Attr("status").is_in(ALLOWED_FROM[status])
        if worker is not None:
            condition &= _owned(worker)
        # Drop the progress on success; keep it on failure, for debugging.
        update = f"SET {', '.join(f'#{name} = :{name}' for name in fields)}"
        update += " REMOVE progress" if status is Status.COMPLETED else ""
        try:
            item: Item = self._update(
                session_id,
                update,
                {f":{name}": value for name, value in fields.items()},
                condition,
                f"cannot become {status}: it is not {' or '.join(ALLOWED_FROM[status])}",
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )["Attributes"]
        except SessionEnded as error:
            # botocore repeats a call whose answer was lost: then the record already holds what we wrote.
            if any(error.item.get(name) != value for name, value in fields.items()):
                raise
            item = dict(error.item)
        # The same write returns the token: the workflow stores no token once the session has ended.
        if status in TERMINAL and "task_token" in item:
            self._wake(item["task_token"])


def wake(connect: Callable[[], "SFNClient"], token: str) -> None:
    """Wake the workflow that waits with the task token ``token``. A wake-up that fails is logged.

    A wake-up carries nothing: the workflow reads the table. One that gets lost costs the rest of the safety interval.
    """
    try:
        connect().send_task_success(taskToken=token, output="{}")
    except (BotoCoreError, ClientError) as error:
        # A token that no state waits with any longer is such an error too: the workflow has woken by itself.
        logger.info("the workflow was not woken: %s", error)


def _owned(worker: str) -> ConditionBase:
    """Return the condition that a session is ``worker``'s, or has none yet."""
    return Attr("worker").not_exists() | Attr("worker").eq(worker)


def _without_none(item: Item) -> Item:
    return {name: value for name, value in item.items() if value is not None}


def _expiry(now: datetime) -> int:
    return int(now.timestamp()) + TTL_DAYS * 86400


def _error(failure: Failure) -> dict[str, str]:
    return {"code": storable(failure.code), "message": storable(failure.message)}

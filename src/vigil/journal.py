"""The journal: session records, their work phases and their artifacts' names.

Transitions are condition expressions, so that two writers cannot both win; no decision is made by reading first.
"""

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import Attr, ConditionBase
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from vigil.attempt import EndedAttempt
from vigil.attributes import iso
from vigil.errors import InvalidStatus, SessionEnded, SessionTaken
from vigil.journal_reader import JournalReader
from vigil.session import (
    ALLOWED_FROM,
    ARTIFACT_SK_PREFIX,
    HISTORY_PK_PREFIX,
    NO_CHECKPOINT,
    NOTIFIED_SK,
    TERMINAL,
    TTL_DAYS,
    Failure,
    Status,
    Task,
    check_session_id,
)
from vigil.step import Step, Usage
from vigil.table import (
    FAIL,
    NOT_BUSY,
    Item,
    item_key,
    open_table,
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
NOT_MINE = "the session has ended, or another worker runs it"
_OPEN = Attr("status").is_in(ALLOWED_FROM[Status.FAILED])


@dataclass(frozen=True)
class StepsSoFar:
    """What a session's record says of its steps; None leaves an attribute as it is."""

    step_count: int  # how many have begun
    steps_done: int  # how many have ended
    usage: Usage | None = None  # what they have used
    checkpoint: str | None = None  # key of the object from which another attempt can continue


class Journal(JournalReader):
    """Reads and writes the items of all sessions in one table.

    ``wake`` is called with the task token of the workflow that waits for a session, when the session or its attempt has
    ended. The journal of a ``worker`` changes nothing of a session that another worker, or another attempt, has.
    """

    def __init__(
        self,
        table: "Table",
        wake: Callable[[str], None] = lambda token: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        worker: str | None = None,
        attempt: int = 1,
    ) -> None:
        super().__init__(table)
        self._wake = wake
        self._now = now
        self._worker = worker
        self._attempt = attempt

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

    def acting_for(self, worker: str, attempt: int = 1) -> "Journal":
        """Return the journal of ``worker``, which makes that attempt of its session."""
        return Journal(self._table, self._wake, self._now, worker, attempt)

    def save_artifact(self, session_id: str, name: str, key: str, headline: str = "") -> None:
        """Make the object ``key`` the session's artifact ``name``; raises SessionEnded unless the session is BUSY."""
        more = {"headline": storable(headline)} if headline else {}
        self._while_busy(session_id, put={**item_key(session_id, ARTIFACT_SK_PREFIX + name), "key": key, **more})

    def keep(self, session_id: str, series: str, day: str, key: str) -> None:
        """Record the object ``key`` as what this session kept for ``series`` on ``day``; raises as save_artifact."""
        self._while_busy(session_id, put={**item_key(HISTORY_PK_PREFIX + series, f"{day}#{session_id}"), "key": key})

    def mark_busy(self, session_id: str) -> bool:
        """Set BUSY for the worker. Returns False if this worker had set it before.

        Raises SessionTaken if another worker or attempt has the session, SessionEnded if it has ended.
        """
        try:
            self._transition(session_id, Status.BUSY, {"worker": self._worker or ""})
        except SessionEnded as error:
            found = error.item
            if found.get("status") not in ALLOWED_FROM[Status.FAILED]:
                raise
            if found.get("worker") != (self._worker or ""):
                raise SessionTaken(f"session {session_id} is BUSY: another worker runs it") from error
            return False
        return True

    def complete(self, session_id: str, report_uri: str, headline: str | None = None) -> None:
        """Set COMPLETED. Raises SessionEnded unless the session is BUSY."""
        more = {"headline": storable(headline)} if headline else {}
        self._transition(session_id, Status.COMPLETED, {"report_uri": report_uri, **more})

    def fail(self, session_id: str, failure: Failure) -> None:
        """Set FAILED with its cause. Raises SessionEnded if the session has ended, or is another worker's."""
        self._transition(session_id, Status.FAILED, {"error": _error(failure)})

    def end_attempt(self, session_id: str, ended: EndedAttempt) -> None:
        """End the worker's attempt, so that the workflow begins the next one; raises as fail."""
        texts = {"code": storable(ended.code), "message": storable(ended.message), "how": storable(ended.how)}
        entry = asdict(ended) | texts
        update = (
            "SET attempt = :next, attempts = list_append(if_not_exists(attempts, :none), :ended), updated_at = :now"
            " REMOVE worker, heartbeat_at"
        )
        values = {":next": self._attempt + 1, ":none": [], ":ended": [entry], ":now": iso(self._now())}

        def written(item: Item) -> bool:
            ends = item.get("attempts")
            return item.get("attempt") == self._attempt + 1 and isinstance(ends, list) and ends[-1:] == [entry]

        item = self._update_once(session_id, update, values, _OPEN & self._mine, NOT_MINE, written)
        if token := item.get("task_token"):
            self._wake(token)

    def forbid_attempts(self, session_id: str) -> None:
        """Record that no other attempt can continue the session; raises SessionEnded unless it is BUSY."""
        self._update(session_id, "SET checkpoint = :none", {":none": NO_CHECKPOINT}, self._busy)

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

    def mark_notified(self, about: str, expires_at: int | None) -> None:
        """Record the publication of a message about ``about``: a session's id or another key."""
        with translate_errors(about=about):
            expiry = _expiry(self._now()) if expires_at is None else expires_at
            self._table.put_item(Item={**item_key(about, NOTIFIED_SK), "expires_at": expiry})

    def heartbeat(self, session_id: str) -> None:
        """Record that the worker is alive; raises SessionEnded if the session has ended or has another worker."""
        self._update(session_id, "SET heartbeat_at = :now", {":now": iso(self._now())}, _OPEN & self._mine, NOT_MINE)

    def start_task(self, session_id: str, name: str) -> Task:
        """Begin a work phase; raises SessionEnded unless the session is BUSY."""
        if not (isinstance(name, str) and 0 < len(name) <= MAX_PHASE_NAME and "#" not in name and name.isprintable()):
            allowed = f"1 to {MAX_PHASE_NAME} printable characters without '#'"
            raise InvalidStatus(f"phase must be {allowed}, not {str(name)[:80]!r}")
        now = iso(self._now())
        # The counter on the record gives phases that begin at the same time distinct numbers.
        update = "ADD task_count :one SET updated_at = :now REMOVE progress"
        values = {":one": 1, ":now": now}
        answer = self._update(session_id, update, values, self._busy, ReturnValues="UPDATED_NEW")
        key = task_key(session_id, int(str(answer["Attributes"]["task_count"])), name)
        item = {**key, "state": "RUNNING", "started_at": now}
        self._while_busy(session_id, put=item)
        return Task.from_item(item)

    def record_progress(self, session_id: str, progress: str) -> None:
        """Record how far the running phase is; raises SessionEnded unless the session is BUSY."""
        values = {":progress": storable(progress), ":now": iso(self._now())}
        self._update(session_id, "SET progress = :progress, updated_at = :now", values, self._busy)

    def write_steps(self, session_id: str, steps: Iterable[Step], so_far: StepsSoFar) -> None:
        """Write ``steps``, at most MAX_STEPS_AT_ONCE, as they are now, in one transaction with ``so_far``.

        A step whose place a newer one has taken is left out. Raises SessionEnded unless the session is BUSY and the
        worker's.
        """
        fields = _without_none(asdict(so_far))
        record = self._if_busy()
        record["UpdateExpression"] = f"SET {', '.join(f'#{name} = :{name}' for name in fields)}"
        record["ExpressionAttributeNames"] |= {f"#{name}": name for name in fields}
        record["ExpressionAttributeValues"] |= {f":{name}": value for name, value in fields.items()}
        puts = [
            {"Put": {"Item": {**step_key(session_id, step.slot), **_without_none(asdict(step))}}}
            for step in steps
            if step.is_kept(so_far.step_count)
        ]
        self._transact(session_id, {"Update": {"Key": item_key(session_id), **record}}, *puts)

    def end_task(self, session_id: str, task: Task, *, failed: bool = False, message: str = "") -> None:
        """End a work phase, as complete or as failed; raises SessionEnded, or InvalidStatus unless it runs."""
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

        Raises SessionEnded if the session is not BUSY, InvalidStatus for the reason ``refused`` if the update's
        condition fails.
        """
        check = {"Key": item_key(session_id), **self._if_busy()}
        write = {"Update": update} if put is None else {"Put": {"Item": put}}
        self._transact(session_id, {"ConditionCheck": check}, write, refused=refused)

    def _if_busy(self) -> Item:
        """Return the condition of a transaction that a session is BUSY, and the worker's."""
        condition: Item = {"ConditionExpression": "#status = :busy", "ExpressionAttributeNames": {"#status": "status"}}
        condition["ExpressionAttributeValues"] = {":busy": Status.BUSY}
        if self._worker is not None:
            condition["ConditionExpression"] += " AND worker = :worker"
            condition["ExpressionAttributeValues"][":worker"] = self._worker
        return condition

    @property
    def _busy(self) -> ConditionBase:
        """The condition that a session is BUSY, and the worker's."""
        busy = Attr("status").eq(Status.BUSY)
        return busy if self._worker is None else busy & Attr("worker").eq(self._worker)

    @property
    def _mine(self) -> ConditionBase:
        """The condition that a session is in the worker's attempt, and no other worker's."""
        if self._worker is None:
            return Attr("PK").exists()
        attempt: ConditionBase = Attr("attempt").eq(self._attempt)
        if self._attempt == 1:
            attempt |= Attr("attempt").not_exists()
        return attempt & (Attr("worker").not_exists() | Attr("worker").eq(self._worker))

    def _transact(self, session_id: str, on_record: Item, *writes: Item, refused: str = NOT_BUSY) -> None:
        """Make ``writes`` in one transaction with ``on_record``; what is put expires with the session."""
        for put in (write["Put"] for write in writes if "Put" in write):
            put["Item"] = {**put["Item"], "expires_at": _expiry(self._now())}
        transact(self._table, session_id, [on_record, *writes], refused)

    def _update(
        self, session_id: str, update: str, values: Item, only: ConditionBase, why: str = NOT_BUSY, **more: Any
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

    def _update_once(
        self, session_id: str, update: str, values: Item, only: ConditionBase, why: str, written: Callable[[Item], bool]
    ) -> Item:
        """Update a session's record as _update does, and return it, also if the answer to an earlier try was lost.

        ``written`` tells whether a record holds what this update writes.
        """
        returned = {"ReturnValues": "ALL_NEW", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        try:
            item: Item = self._update(session_id, update, values, only, why, **returned)["Attributes"]
        except SessionEnded as error:
            # botocore repeats a call whose answer was lost: then the record already holds what we wrote.
            item = dict(error.item)
            if not written(item):
                raise
        return item

    def _transition(self, session_id: str, status: Status, fields: Item) -> None:
        now = iso(self._now())
        # The write that sets BUSY is also the first heartbeat. ``busy_at`` stays, also in later attempts.
        moments = ("ended_at",) if status in TERMINAL else ("heartbeat_at", "busy_at")
        fields = {"status": status, "updated_at": now, **dict.fromkeys(moments, now), **fields}
        condition: ConditionBase = Attr("status").is_in(ALLOWED_FROM[status])
        if status is Status.BUSY:
            # A later attempt begins in a session that is BUSY.
            condition = Attr("worker").not_exists() & _OPEN
        # Drop the progress on success; keep it on failure, for debugging.
        update = f"SET {', '.join(f'#{name} = :{name}' for name in fields)}"
        update = update.replace("= :busy_at", "= if_not_exists(#busy_at, :busy_at)")
        update += " REMOVE progress" if status is Status.COMPLETED else ""
        item = self._update_once(
            session_id,
            update,
            {f":{name}": value for name, value in fields.items()},
            condition & self._mine,
            f"cannot become {status}: it is not {' or '.join(ALLOWED_FROM[status])}",
            written=lambda item: all(item.get(name) == value for name, value in fields.items()),
        )
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


def _without_none(item: Item) -> Item:
    return {name: value for name, value in item.items() if value is not None}


def _expiry(now: datetime) -> int:
    return int(now.timestamp()) + TTL_DAYS * 86400


def _error(failure: Failure) -> dict[str, str]:
    return {"code": storable(failure.code), "message": storable(failure.message)}

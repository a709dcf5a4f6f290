"""The attempts of a session in the journal: a worker whose attempt has ended can change nothing any more."""

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from boto3.dynamodb.conditions import Attr

from vigil.attempt import EndedAttempt
from vigil.errors import SessionEnded, SessionTaken
from vigil.journal import Journal, StepsSoFar
from vigil.journal_reader import JournalReader
from vigil.session import NO_CHECKPOINT, Failure, Status, Task
from vigil.step import Step

NewSession = Callable[..., str]
DIED = EndedAttempt("AgentCrashed", "it died", "exit code 1", "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:09.000Z", 7)
PHASE = Task(1, "scan", "RUNNING", "2026-01-01T00:00:00.000Z")
STEP = Step(1, "chat", "a.model", "agent", "2026-01-01T00:00:00.000Z")

WRITES: dict[str, Callable[[Journal, str], object]] = {
    "heartbeat": lambda journal, session_id: journal.heartbeat(session_id),
    "mark_busy": lambda journal, session_id: journal.mark_busy(session_id),
    "start_task": lambda journal, session_id: journal.start_task(session_id, "late"),
    "end_task": lambda journal, session_id: journal.end_task(session_id, PHASE),
    "record_progress": lambda journal, session_id: journal.record_progress(session_id, "late"),
    "write_steps": lambda journal, session_id: journal.write_steps(session_id, [STEP], StepsSoFar(1, 1, None, "late")),
    "save_artifact": lambda journal, session_id: journal.save_artifact(session_id, "report.md", "late"),
    "keep": lambda journal, session_id: journal.keep(session_id, "series", "2026-01-01", "late"),
    "complete": lambda journal, session_id: journal.complete(session_id, "s3://late"),
    "fail": lambda journal, session_id: journal.fail(session_id, Failure("Late", "late")),
    "forbid_attempts": lambda journal, session_id: journal.forbid_attempts(session_id),
    "end_attempt": lambda journal, session_id: journal.end_attempt(session_id, replace(DIED, message="late")),
}
"""Every write of a worker."""
NO_WORKERS = {"acting_for", "open", "fail_orphaned", "mark_notified"}
"""Methods that write nothing, or write for no worker."""


def items(table: Any, session_id: str) -> tuple[list[dict[str, Any]], int]:
    """Return the items of a session, sorted, and how many items the whole table has."""
    found: list[dict[str, Any]] = []
    number = 0
    of_session = Attr("PK").eq(session_id) | Attr("SK").contains(session_id)
    more: dict[str, Any] = {"ConsistentRead": True, "FilterExpression": of_session}
    while more:
        page = table.scan(**more)
        found += page["Items"]
        number += page["ScannedCount"]
        more = {**more, "ExclusiveStartKey": page["LastEvaluatedKey"]} if "LastEvaluatedKey" in page else {}
    return sorted(found, key=lambda item: (item["PK"], item["SK"])), number


def public(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind, callable) if not name.startswith("_")}


def test_no_method_that_writes_is_forgotten_here() -> None:
    assert public(Journal) - public(JournalReader) == set(WRITES) | NO_WORKERS


@pytest.fixture
def first(journal: Journal, initiated: str) -> Journal:
    """The journal of a worker that has begun the session's first attempt, and in it a phase."""
    first = journal.acting_for("first")
    assert first.mark_busy(initiated)
    first.start_task(initiated, PHASE.name)
    return first


def end_by_supervisor(journal: Journal, table: Any, session_id: str) -> None:
    journal.acting_for("first").end_attempt(session_id, DIED)


def end_by_workflow(journal: Journal, table: Any, session_id: str) -> None:
    update = "SET attempt = :two REMOVE worker, heartbeat_at"
    table.update_item(
        Key={"PK": session_id, "SK": "SESSION"}, UpdateExpression=update, ExpressionAttributeValues={":two": 2}
    )


def begin_next(journal: Journal, table: Any, session_id: str) -> None:
    end_by_supervisor(journal, table, session_id)
    assert journal.acting_for("second", 2).mark_busy(session_id)


def lose_worker(journal: Journal, table: Any, session_id: str) -> None:
    table.update_item(
        Key={"PK": session_id, "SK": "SESSION"},
        UpdateExpression="SET worker = :another",
        ExpressionAttributeValues={":another": "another"},
    )


@pytest.mark.parametrize("lose", [end_by_supervisor, end_by_workflow, begin_next, lose_worker])
@pytest.mark.parametrize("write", WRITES)
def test_a_worker_that_lost_its_session_writes_nothing(
    journal: Journal, table: Any, first: Journal, initiated: str, write: str, lose: Callable[..., None]
) -> None:
    lose(journal, table, initiated)
    before = items(table, initiated)
    with pytest.raises(SessionTaken if write == "mark_busy" else SessionEnded):
        WRITES[write](first, initiated)
    assert items(table, initiated) == before


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("write", WRITES)
def test_the_worker_of_the_attempt_may_write(
    journal: Journal, table: Any, first: Journal, initiated: str, write: str, number: int
) -> None:
    worker = first
    if number == 2:
        first.end_attempt(initiated, DIED)
        worker = journal.acting_for("second", 2)
        assert worker.mark_busy(initiated)
    before = items(table, initiated)
    WRITES[write](worker, initiated)
    # The worker has set BUSY before.
    assert (items(table, initiated) != before) is (write != "mark_busy")


def test_an_ended_attempt_leaves_what_it_was_and_makes_way_for_the_next(
    table: Any, journal: Journal, new_session: NewSession
) -> None:
    woken: list[str] = []
    session_id = new_session(task_token="token")
    one = Journal(table, woken.append).acting_for("one")
    one.mark_busy(session_id)
    one.end_attempt(session_id, DIED)
    assert woken == ["token"]
    # As botocore does if the answer is lost.
    one.end_attempt(session_id, DIED)
    assert woken == ["token", "token"]
    record = journal.get(session_id)
    assert (record.status, record.attempt, record.attempts) == (Status.BUSY, 2, (DIED,))
    item = table.get_item(Key={"PK": session_id, "SK": "SESSION"})["Item"]
    assert not {"worker", "heartbeat_at"} & set(item)
    two = journal.acting_for("two", 2)
    assert two.mark_busy(session_id)
    assert journal.get(session_id).busy_at == record.busy_at
    two.end_attempt(session_id, EndedAttempt("\ud800", "\ud800", "\ud800", "", ""))
    assert [(attempt.code, attempt.steps_done) for attempt in journal.get(session_id).attempts] == [
        *((DIED.code, 7), ("\\ud800", 0))
    ]
    three = journal.acting_for("three", 3)
    assert three.mark_busy(session_id)
    three.complete(session_id, "s3://report")
    assert journal.get(session_id).status == Status.COMPLETED


def test_an_attempt_may_end_before_its_worker_has_begun(journal: Journal, initiated: str) -> None:
    journal.acting_for("one").end_attempt(initiated, DIED)
    assert (journal.get(initiated).status, journal.get(initiated).attempt) == (Status.INITIATED, 2)
    assert journal.acting_for("two", 2).mark_busy(initiated)


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED])
def test_an_ended_session_has_no_other_attempt(
    table: Any, journal: Journal, new_session: NewSession, status: str
) -> None:
    session_id = new_session(status, worker="one")
    before = items(table, session_id)
    for journal_of_one in (journal.acting_for("one"), journal.acting_for("two", 2)):
        for write in WRITES.values():
            with pytest.raises(SessionEnded):
                write(journal_of_one, session_id)
    assert items(table, session_id) == before


@pytest.mark.parametrize("written", [False, True], ids=["no attempt", "attempt 1"])
def test_a_record_without_an_attempt_is_in_the_first(
    table: Any, journal: Journal, new_session: NewSession, written: bool
) -> None:
    session_id = new_session(**({"attempt": 1} if written else {}))
    before = items(table, session_id)
    for number in (2, 3):
        with pytest.raises(SessionTaken):
            journal.acting_for("late", number).mark_busy(session_id)
        with pytest.raises(SessionEnded):
            journal.acting_for("late", number).heartbeat(session_id)
    assert items(table, session_id) == before
    journal.acting_for("one", 1).heartbeat(session_id)
    assert journal.acting_for("one", 1).mark_busy(session_id)


def test_of_two_workers_of_an_attempt_one_begins_and_ends_it(journal: Journal, initiated: str) -> None:
    journal.acting_for("first").end_attempt(initiated, DIED)
    workers = [journal.acting_for(f"worker {number}", 2) for number in range(8)]

    def begin(worker: Journal) -> bool:
        try:
            return worker.mark_busy(initiated)
        except SessionTaken:
            return False

    with ThreadPoolExecutor(8) as pool:
        begun = [worker for worker, began in zip(workers, pool.map(begin, workers), strict=True) if began]
    assert len(begun) == 1
    # The supervisors of the others end as well.
    for worker in workers:
        if worker is not begun[0]:
            with pytest.raises(SessionEnded):
                worker.end_attempt(initiated, replace(DIED, message="late"))
    assert journal.get(initiated).attempt == 2
    begun[0].end_attempt(initiated, DIED)
    assert journal.get(initiated).attempt == 3


def test_of_two_supervisors_that_end_an_attempt_before_it_began_one_does(journal: Journal, initiated: str) -> None:
    def end(number: int) -> bool:
        try:
            journal.acting_for(f"worker {number}").end_attempt(initiated, replace(DIED, message=f"seen by {number}"))
        except SessionEnded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(end, range(8))) == 1
    assert (journal.get(initiated).attempt, len(journal.get(initiated).attempts)) == (2, 1)


def test_a_session_that_cannot_be_continued_says_so_until_a_checkpoint_is_saved(
    journal: Journal, first: Journal, initiated: str
) -> None:
    first.forbid_attempts(initiated)
    assert journal.get(initiated).checkpoint == NO_CHECKPOINT
    first.write_steps(initiated, [STEP], StepsSoFar(1, 0))
    assert journal.get(initiated).checkpoint == NO_CHECKPOINT
    first.write_steps(initiated, [STEP], StepsSoFar(1, 1, None, "checkpoints/key"))
    record = journal.get(initiated)
    assert (record.checkpoint, record.step_count, record.steps_done) == ("checkpoints/key", 1, 1)

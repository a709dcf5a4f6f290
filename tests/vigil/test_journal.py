import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.conditions import Key
from botocore.exceptions import ReadTimeoutError

from vigil.errors import InvalidStatus, SessionEnded, SessionNotFound, SessionTaken
from vigil.journal import Journal, StepsSoFar
from vigil.session import TTL_DAYS, Failure, Status
from vigil.step import Operation, Step, Usage

NewSession = Callable[..., str]
USAGE = Usage("a.model", 12_345, 678, Decimal("0.047205"), price_assumed=True)
STEP = Step(1, Operation.CHAT, "a.model", "agent", "2026-11-29T12:00:00.000Z", usage=USAGE)


@pytest.fixture(params=["embedded", "moto"])
def table(request: pytest.FixtureRequest, embedded_table: Any, moto_table: Any) -> Any:
    """The table in two DynamoDBs: what both say, AWS's is likely to say."""
    return embedded_table if request.param == "embedded" else moto_table


@pytest.mark.criterion("1.4")
def test_busy_is_set_once(journal: Journal, initiated: str) -> None:
    assert journal.mark_busy(initiated)
    first = journal.get(initiated)
    assert not journal.mark_busy(initiated)
    assert journal.get(initiated) == first
    assert first.status == Status.BUSY


def test_of_many_writers_of_busy_one_wins(journal: Journal, initiated: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: journal.mark_busy(initiated), range(16))) == 1


def test_a_session_has_one_worker(journal: Journal, initiated: str) -> None:
    assert journal.acting_for("first").mark_busy(initiated)
    before = journal.get(initiated)
    with pytest.raises(SessionTaken, match=f"session {initiated} is BUSY: another worker runs it"):
        journal.acting_for("second").mark_busy(initiated)
    assert journal.get(initiated) == before
    assert not journal.acting_for("first").mark_busy(initiated)


@pytest.mark.criterion("1.1")
def test_a_session_completes_with_its_report(journal: Journal, busy: str) -> None:
    journal.complete(busy, "s3://bucket/report.md")
    session = journal.get(busy)
    assert (session.status, session.report_uri, session.error) == (Status.COMPLETED, "s3://bucket/report.md", None)
    assert session.ended_at == session.updated_at is not None


@pytest.mark.parametrize("before", [Status.INITIATED, Status.BUSY])
def test_a_session_fails_with_its_cause(journal: Journal, new_session: NewSession, before: Status) -> None:
    session_id = new_session(before)
    journal.fail(session_id, Failure("Broken", "x" * 5000))
    session = journal.get(session_id)
    assert session.status == Status.FAILED
    assert session.error == Failure("Broken", "x" * 1000)


def test_worker_fails_only_its_own_session_or_one_without_a_worker(journal: Journal, new_session: NewSession) -> None:
    session_id = new_session()
    journal.acting_for("first").mark_busy(session_id)
    with pytest.raises(SessionEnded):
        journal.acting_for("second").fail(session_id, Failure("Late", "not mine"))
    assert journal.get(session_id).status == Status.BUSY
    journal.acting_for("first").fail(session_id, Failure("Broken", "mine"))
    assert journal.get(session_id).status == Status.FAILED
    not_begun = new_session()
    journal.acting_for("third").fail(not_begun, Failure("Broken", "before BUSY"))
    assert journal.get(not_begun).status == Status.FAILED


@pytest.mark.parametrize("ended", [Status.COMPLETED, Status.FAILED])
def test_a_terminal_status_never_changes(journal: Journal, new_session: NewSession, ended: Status) -> None:
    session_id = new_session(ended)
    before = journal.get(session_id)
    for write in (
        lambda: journal.mark_busy(session_id),
        lambda: journal.complete(session_id, "s3://other"),
        lambda: journal.fail(session_id, Failure("Late", "too late")),
        lambda: journal.start_task(session_id, "late"),
        lambda: journal.record_progress(session_id, "late"),
        lambda: journal.write_steps(session_id, [STEP], StepsSoFar(1, 0, USAGE)),
        lambda: journal.acting_for("late").heartbeat(session_id),
    ):
        with pytest.raises(SessionEnded, match=session_id):
            write()
    assert journal.get(session_id) == before


def test_the_usage_of_the_model_outlives_the_session(journal: Journal, busy: str) -> None:
    journal.write_steps(busy, [STEP], StepsSoFar(1, 1, replace(USAGE, output_tokens=0)))
    journal.write_steps(busy, [replace(STEP, number=2)], StepsSoFar(2, 2, USAGE))
    journal.fail(busy, Failure("Broken", "after that"))
    assert journal.get(busy).usage == USAGE


def test_a_session_that_was_never_busy_cannot_complete(journal: Journal, initiated: str) -> None:
    with pytest.raises(SessionEnded, match="cannot become COMPLETED: it is not BUSY"):
        journal.complete(initiated, "s3://bucket/report.md")


def test_an_unknown_session_is_named(journal: Journal) -> None:
    session_id = str(uuid.uuid4())
    with pytest.raises(SessionNotFound, match=session_id):
        journal.get(session_id)
    with pytest.raises(SessionEnded, match=session_id):
        journal.mark_busy(session_id)


def test_a_heartbeat_changes_itself_alone(journal: Journal, initiated: str) -> None:
    before = journal.get(initiated)
    journal.acting_for("mine").heartbeat(initiated)
    first = journal.get(initiated)
    assert first == replace(before, heartbeat_at=first.heartbeat_at)
    journal.acting_for("mine").mark_busy(initiated)
    journal.acting_for("mine").heartbeat(initiated)
    second = journal.get(initiated).heartbeat_at
    assert first.heartbeat_at is not None
    assert second is not None
    assert first.heartbeat_at < second


def test_heartbeat_fails_if_the_session_is_gone_or_another_worker_runs_it(
    journal: Journal, table: Any, new_session: NewSession
) -> None:
    session_id, gone = new_session(Status.BUSY, worker="another"), str(uuid.uuid4())
    before = journal.get(session_id)
    for lost in (session_id, gone):
        with pytest.raises(SessionEnded, match=f"session {lost}: the session has ended, or another worker runs it"):
            journal.acting_for("mine").heartbeat(lost)
    assert journal.get(session_id) == before
    assert "Item" not in table.get_item(Key=key(gone))


OWN = "arn:aws:states:us-east-1:123456789012:execution:workflow:own"
CLOSED = Failure("WorkflowEnded", "its workflow ended without it: ABORTED")


@pytest.mark.parametrize("before", [Status.INITIATED, Status.BUSY])
def test_a_session_is_closed_for_its_execution(journal: Journal, new_session: NewSession, before: Status) -> None:
    session_id = new_session(before, execution_arn=OWN, worker="mine")
    assert journal.fail_orphaned(session_id, OWN, CLOSED)
    session = journal.get(session_id)
    assert (session.status, session.error, session.execution_arn) == (Status.FAILED, CLOSED, OWN)
    assert session.ended_at == session.updated_at is not None
    assert session.start_time == "2026-01-01T00:00:00.000Z"
    assert not journal.fail_orphaned(session_id, OWN, CLOSED)


def test_closed_session_without_a_record_gets_one(journal: Journal) -> None:
    session_id = str(uuid.uuid4())
    assert journal.fail_orphaned(session_id, OWN, CLOSED)
    session = journal.get(session_id)
    assert (session.status, session.error, session.execution_arn) == (Status.FAILED, CLOSED, OWN)
    assert session.start_time == session.created_at == session.ended_at is not None
    assert session.expires_at is not None
    assert session in journal.recent(1000)


@pytest.mark.parametrize(
    ("status", "execution"),
    [*((status, f"{OWN}-duplicate") for status in Status), (Status.COMPLETED, OWN), (Status.FAILED, OWN)],
    ids=[*(f"{status}-of-another" for status in Status), "COMPLETED", "FAILED"],
)
def test_a_session_that_has_ended_or_is_of_another_execution_is_not_closed(
    journal: Journal, new_session: NewSession, status: Status, execution: str
) -> None:
    session_id = new_session(status, execution_arn=OWN)
    before = journal.get(session_id)
    assert not journal.fail_orphaned(session_id, execution, CLOSED)
    assert journal.get(session_id) == before


def test_the_open_sessions_are_those_that_have_not_ended(journal: Journal, new_session: NewSession) -> None:
    sessions = {status: new_session(status) for status in Status}
    found = {session.session_id for session in journal.open_sessions()}
    assert {status for status, session_id in sessions.items() if session_id in found} == {Status.INITIATED, Status.BUSY}


Write = Callable[[Journal, str], object]
ENDS: dict[str, Write] = {
    "completes": lambda journal, session_id: journal.complete(session_id, "s3://bucket/report.md"),
    "fails": lambda journal, session_id: journal.fail(session_id, Failure("Broken", "so it is")),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_write_that_ends_a_session_wakes_its_workflow(table: Any, new_session: NewSession, end: str) -> None:
    woken: list[str] = []
    journal = Journal(table, woken.append)
    not_waited_for, waited_for = new_session(Status.BUSY), new_session(Status.BUSY, task_token="token")
    ENDS[end](journal, not_waited_for)
    assert woken == []
    journal.acting_for("mine").heartbeat(waited_for)
    journal.start_task(waited_for, "work")
    assert woken == []
    ENDS[end](journal, waited_for)
    assert woken == ["token"]
    with pytest.raises(SessionEnded):
        ENDS[end](journal, waited_for)
    assert woken == ["token"]


@contextmanager
def answer_lost(table: Any) -> Iterator[list[str]]:
    """The next request reaches the table and its answer gets lost; yields the requests sent."""
    events, session = table.meta.client.meta.events, table.meta.client._endpoint.http_session
    sent: list[str] = []

    def send(request: Any, **_: object) -> None:
        sent.append(request.headers["X-Amz-Target"].decode().rpartition(".")[2])
        if len(sent) == 1:
            assert session.send(request).status_code == 200
            raise ReadTimeoutError(endpoint_url=request.url)

    events.register("before-send.dynamodb", send)
    try:
        yield sent
    finally:
        events.unregister("before-send.dynamodb", send)


@pytest.mark.parametrize(
    ("status", "write"),
    [
        (Status.INITIATED, lambda journal, session_id: journal.acting_for("mine").mark_busy(session_id)),
        *((Status.BUSY, end) for end in ENDS.values()),
    ],
    ids=["busy", *ENDS],
)
def test_write_after_a_lost_answer_succeeds(table: Any, new_session: NewSession, status: Status, write: Write) -> None:
    woken: list[str] = []
    session_id = new_session(status, task_token="token")
    with answer_lost(table) as sent:
        assert write(Journal(table, woken.append), session_id) in (True, None)
    assert sent == ["UpdateItem"] * 2
    assert woken == (["token"] if Journal(table).get(session_id).terminal else [])


def test_close_repeated_after_a_lost_answer_changes_nothing(table: Any, new_session: NewSession) -> None:
    session_id = new_session(Status.BUSY, execution_arn=OWN)
    with answer_lost(table) as sent:
        Journal(table).fail_orphaned(session_id, OWN, CLOSED)
    assert sent == ["UpdateItem"] * 2
    assert Journal(table).get(session_id).error == CLOSED


def key(session_id: str) -> dict[str, str]:
    return {"PK": session_id, "SK": "SESSION"}


def test_phases_are_items_of_their_own(journal: Journal, busy: str) -> None:
    inventory = journal.start_task(busy, "inventory")
    usage = journal.start_task(busy, "usage")
    journal.end_task(busy, inventory)
    journal.end_task(busy, usage, failed=True, message="no metrics")
    told = [(t.number, t.name, t.state, t.message) for t in journal.tasks(busy)]
    assert told == [(1, "inventory", "COMPLETED", None), (2, "usage", "FAILED", "no metrics")]
    with pytest.raises(InvalidStatus, match="work phase 'usage' is not running"):
        journal.end_task(busy, usage)


@pytest.mark.parametrize("end", [Status.COMPLETED, Status.FAILED])
def test_a_phase_that_runs_ends_with_its_session(journal: Journal, table: Any, busy: str, end: Status) -> None:
    journal.end_task(busy, journal.start_task(busy, "inventory"))
    journal.start_task(busy, "usage")
    if end is Status.FAILED:
        journal.fail(busy, Failure("Any", "any"))
    else:
        journal.complete(busy, "s3://any")
    done, cut_off = journal.tasks(busy)
    assert (done.state, done.message) == ("COMPLETED", None)
    assert (cut_off.state, cut_off.message) == (end, "ended with its session")
    assert (done.outcome, cut_off.outcome) == ("completed", f"{end.lower()}: ended with its session")
    assert cut_off.ended_at == journal.get(busy).ended_at
    phases = table.query(KeyConditionExpression=Key("PK").eq(busy) & Key("SK").begins_with("TASK#"))["Items"]
    begun = [datetime.fromisoformat(phase["started_at"]).timestamp() for phase in phases]
    in_days = [(int(phase["expires_at"]) - at) / 86_400 for phase, at in zip(phases, begun, strict=True)]
    assert in_days == pytest.approx([TTL_DAYS] * 2, abs=0.1)


def test_text_that_dynamodb_cannot_hold_is_stored_with_escapes(journal: Journal, new_session: NewSession) -> None:
    session_id, odd = new_session(Status.BUSY), "open /data/\udcff.csv"
    journal.record_progress(session_id, odd)
    assert journal.get(session_id).progress == "open /data/\\udcff.csv"
    journal.end_task(session_id, journal.start_task(session_id, "reading"), message="\ud83d" * 1000)
    assert journal.tasks(session_id)[0].message == ("\\ud83d" * 1000)[:1000]
    journal.fail(session_id, Failure("FileNotFoundError", odd))
    assert journal.get(session_id).error == Failure("FileNotFoundError", "open /data/\\udcff.csv")


def test_phases_that_begin_at_once_get_distinct_numbers(journal: Journal, busy: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: journal.start_task(busy, f"phase {n}"), range(12)))
    assert [task.number for task in journal.tasks(busy)] == list(range(1, 13))


@pytest.mark.parametrize("name", ["", "a#b", "x" * 61, "line\nbreak"])
def test_a_phase_needs_a_name_that_a_key_can_hold(journal: Journal, new_session: NewSession, name: str) -> None:
    with pytest.raises(InvalidStatus, match="1 to 60 printable characters"):
        journal.start_task(new_session(Status.BUSY), name)


def test_sessions_are_listed_newest_first_and_by_status(journal: Journal, new_session: NewSession) -> None:
    old = new_session("ODD", "9030-01-01T00:00:00.000Z")
    new = new_session("ODD", "9031-01-01T00:00:00.000Z")
    assert [s.session_id for s in journal.recent(2)] == [new, old]
    assert [s.session_id for s in journal.recent(1)] == [new]
    busy = new_session(Status.BUSY, "9032-01-01T00:00:00.000Z")
    assert journal.recent(1, Status.BUSY)[0].session_id == busy

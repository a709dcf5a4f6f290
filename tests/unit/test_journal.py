import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from vigil.errors import InvalidStatus, SessionEnded, SessionNotFound
from vigil.journal import Journal
from vigil.session import Failure, Status

NewSession = Callable[..., str]


@pytest.mark.criterion("1.4")
def test_busy_is_set_once(journal: Journal, new_session: NewSession) -> None:
    session_id = new_session()
    assert journal.busy(session_id)
    first = journal.get(session_id)
    assert not journal.busy(session_id)
    assert journal.get(session_id) == first
    assert first.status == Status.BUSY


def test_of_many_writers_of_busy_one_wins(journal: Journal, new_session: NewSession) -> None:
    session_id = new_session()
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: journal.busy(session_id), range(16))) == 1


@pytest.mark.criterion("1.1")
def test_a_session_completes_with_its_report(journal: Journal, new_session: NewSession) -> None:
    session_id = new_session(Status.BUSY)
    journal.complete(session_id, "s3://bucket/report.md")
    session = journal.get(session_id)
    assert (session.status, session.report_uri, session.error) == (Status.COMPLETED, "s3://bucket/report.md", None)
    assert session.ended_at == session.updated_at is not None


@pytest.mark.parametrize("before", [Status.INITIATED, Status.BUSY])
def test_a_session_fails_with_its_cause(journal: Journal, new_session: NewSession, before: Status) -> None:
    session_id = new_session(before)
    journal.fail(session_id, Failure("Broken", "x" * 5000))
    session = journal.get(session_id)
    assert session.status == Status.FAILED
    assert session.error == Failure("Broken", "x" * 1000)


def test_a_worker_can_fail_its_own_session_or_one_that_nobody_began_and_no_other(
    journal: Journal, new_session: NewSession
) -> None:
    session_id = new_session()
    journal.busy(session_id, "first")
    with pytest.raises(SessionEnded):
        journal.fail(session_id, Failure("Late", "not mine"), "second")
    assert journal.get(session_id).status == Status.BUSY
    journal.fail(session_id, Failure("Broken", "mine"), "first")
    assert journal.get(session_id).status == Status.FAILED
    not_begun = new_session()
    journal.fail(not_begun, Failure("Broken", "before BUSY"), "third")
    assert journal.get(not_begun).status == Status.FAILED


@pytest.mark.parametrize("ended", [Status.COMPLETED, Status.FAILED])
def test_a_terminal_status_never_changes(journal: Journal, new_session: NewSession, ended: Status) -> None:
    session_id = new_session(ended)
    before = journal.get(session_id)
    for write in (
        lambda: journal.busy(session_id),
        lambda: journal.complete(session_id, "s3://other"),
        lambda: journal.fail(session_id, Failure("Late", "too late")),
        lambda: journal.start_task(session_id, "late"),
    ):
        with pytest.raises(SessionEnded, match=session_id):
            write()
    assert journal.get(session_id) == before


def test_a_session_that_was_never_busy_cannot_complete(journal: Journal, new_session: NewSession) -> None:
    session_id = new_session()
    with pytest.raises(SessionEnded, match="cannot become COMPLETED: it is not BUSY"):
        journal.complete(session_id, "s3://bucket/report.md")


def test_an_unknown_session_is_named(journal: Journal) -> None:
    session_id = str(uuid.uuid4())
    with pytest.raises(SessionNotFound, match=session_id):
        journal.get(session_id)
    with pytest.raises(SessionNotFound, match=session_id):
        journal.busy(session_id)


def test_phases_are_items_of_their_own(journal: Journal, new_session: NewSession) -> None:
    session_id = new_session(Status.BUSY)
    inventory = journal.start_task(session_id, "inventory")
    usage = journal.start_task(session_id, "usage")
    journal.end_task(session_id, inventory)
    journal.end_task(session_id, usage, failed=True, message="no metrics")
    told = [(t.number, t.name, t.state, t.message) for t in journal.tasks(session_id)]
    assert told == [(1, "inventory", "COMPLETED", None), (2, "usage", "FAILED", "no metrics")]
    with pytest.raises(SessionEnded, match="work phase 'usage' is not running"):
        journal.end_task(session_id, usage)


def test_phases_that_begin_at_once_get_distinct_numbers(journal: Journal, new_session: NewSession) -> None:
    session_id = new_session(Status.BUSY)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: journal.start_task(session_id, f"phase {n}"), range(12)))
    assert [task.number for task in journal.tasks(session_id)] == list(range(1, 13))


@pytest.mark.parametrize("name", ["", "a#b", "x" * 61, "line\nbreak"])
def test_a_phase_needs_a_name_that_a_key_can_hold(journal: Journal, new_session: NewSession, name: str) -> None:
    with pytest.raises(InvalidStatus, match="1 to 60 printable characters"):
        journal.start_task(new_session(Status.BUSY), name)


def test_sessions_are_listed_newest_first_and_by_status(journal: Journal, new_session: NewSession) -> None:
    old = new_session("ODD", "2030-01-01T00:00:00.000Z")
    new = new_session("ODD", "2031-01-01T00:00:00.000Z")
    assert [s.session_id for s in journal.recent(2)] == [new, old]
    assert [s.session_id for s in journal.recent(1)] == [new]
    busy = new_session(Status.BUSY, "2032-01-01T00:00:00.000Z")
    assert journal.recent(1, Status.BUSY)[0].session_id == busy

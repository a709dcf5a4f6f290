"""Lists of sessions, page by page and day by day, and whole records of many of them."""

import random
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.fixtures.table import create_table
from vigil.errors import AwsUnavailable, SessionNotFound
from vigil.journal_reader import MOST_AT_ONCE, JournalReader
from vigil.local.stack import LocalStack
from vigil.session import Session, Status, Task
from vigil.table import task_key

NewSession = Callable[..., str]
DAYS = ("2025-12-31", "2026-01-01", "2026-01-02")
EDGES = ("00:00:00.000Z", "23:59:59.999Z", "12:00:00.000Z")


@pytest.fixture(scope="module", params=["embedded", "moto"])
def table(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A table of these tests' own: an index lists the sessions of all that share it."""
    aws = request.getfixturevalue(request.param)
    made = create_table(aws.session() if isinstance(aws, LocalStack) else aws, name=f"listing-{uuid.uuid4()}")
    yield made
    made.delete()


@pytest.fixture(scope="module")
def sessions(table: Any) -> list[Session]:
    """120 sessions, newest first: at random times of three days, several in the same millisecond."""
    drawn = random.Random(random.random())
    times = [f"{day}T{time}" for day in DAYS for time in EDGES for _ in range(5)]
    times += [f"{drawn.choice(DAYS)}T{drawn.randrange(24):02}:{drawn.randrange(60):02}:01.000Z" for _ in range(75)]
    with table.batch_writer() as batch:
        for start_time in times:
            item = {"PK": str(uuid.uuid4()), "SK": "SESSION", "start_time": start_time, "created_at": start_time}
            batch.put_item(Item={**item, "status": drawn.choice([*Status]), "progress": "1 of 2"})
    found = [Session.from_item(item) for item in table.scan()["Items"] if item["SK"] == "SESSION"]
    assert len(found) == 120
    return sorted(found, key=lambda session: session.start_time, reverse=True)


@pytest.fixture
def reader(table: Any) -> JournalReader:
    return JournalReader(table)


def pages(reader: JournalReader, limit: int, **filters: Any) -> Iterator[list[Session]]:
    """Yield the pages of a list up to the last one."""
    cursor = None
    while True:
        listing = reader.listing(limit, **filters, cursor=cursor)
        yield listing.sessions
        if (cursor := listing.cursor) is None:
            return


def ids(sessions: list[Session]) -> list[str]:
    return [session.session_id for session in sessions]


@pytest.mark.parametrize("limit", [13, 60, 119, 120, 121])
def test_pages_lose_and_repeat_no_session(reader: JournalReader, sessions: list[Session], limit: int) -> None:
    found = [*pages(reader, limit)]
    listed = [session for page in found for session in page]
    assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
    assert found[-1]
    assert sorted(ids(listed)) == sorted(ids(sessions))
    assert [session.start_time for session in listed] == [session.start_time for session in sessions]


@pytest.mark.parametrize("day", [None, *DAYS])
@pytest.mark.parametrize("status", [None, *Status])
def test_filters_let_pass_what_they_name(
    reader: JournalReader, sessions: list[Session], status: Status | None, day: str | None
) -> None:
    listed = [session for page in pages(reader, 15, status=status, day=day) for session in page]
    matching = [s for s in sessions if status in (None, s.status) and (day is None or s.start_time[:10] == day)]
    assert sorted(ids(listed)) == sorted(ids(matching))
    assert [session.start_time for session in listed] == [session.start_time for session in matching]


@pytest.mark.parametrize("day", ["2026-01-03", "2026", "x"])
def test_a_day_without_sessions_is_empty(reader: JournalReader, sessions: list[Session], day: str) -> None:
    assert bool(reader.listing(5, day=day).sessions) == (day == "2026")


def test_sessions_that_begin_meanwhile_move_none_of_the_older(
    reader: JournalReader, sessions: list[Session], table: Any
) -> None:
    listed, added = [], []
    for number, page in enumerate(pages(reader, 25)):
        listed += ids(page)
        key = {"PK": str(uuid.uuid4()), "SK": "SESSION"}
        times = {"start_time": f"2026-02-01T00:00:0{number}.000Z", "created_at": "2026-02-01T00:00:00.000Z"}
        table.put_item(Item={**key, **times, "status": "BUSY"})
        added.append(key)
    for key in added:
        table.delete_item(Key=key)
    assert sorted(listed) == sorted(ids(sessions))


def test_a_cursor_serves_though_its_session_is_gone_or_has_another_status(
    reader: JournalReader, sessions: list[Session], table: Any
) -> None:
    start_time = "2026-01-01T12:00:00.000Z"
    key = {"PK": str(uuid.uuid4()), "SK": "SESSION"}
    older = [s for s in sessions if s.start_time < start_time and s.status == Status.BUSY]
    cursor = f"{start_time}~{key['PK']}"
    listed = reader.listing(200, Status.BUSY, cursor=cursor).sessions
    among_same = [s for s in sessions if s.start_time == start_time and s.status == Status.BUSY]
    assert {*ids(older)} <= {*ids(listed)} <= {*ids(older), *ids(among_same)}


def test_records_are_those_of_the_ids_that_have_one(reader: JournalReader, sessions: list[Session]) -> None:
    known, unknown = ids(sessions), [str(uuid.uuid4()) for _ in range(5)]
    found = reader.records([*known[:50], *unknown, *known, *known[:3]])
    assert len(known) > MOST_AT_ONCE
    assert found == {session.session_id: session for session in sessions}
    assert found[known[0]].progress == "1 of 2"
    assert reader.records([]) == reader.records(unknown) == {}


def test_records_that_the_table_leaves_out_are_missing(
    reader: JournalReader, sessions: list[Session], table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, asked = table.meta.client, list[int]()
    answers = client.batch_get_item

    def some(RequestItems: Any) -> Any:
        """Answer as DynamoDB may: a third of the keys, and the others as not processed."""
        keys = RequestItems[table.name]["Keys"]
        asked.append(len(keys))
        now = max(len(keys) // 3, 1)
        answer = answers(RequestItems={table.name: {"Keys": keys[:now]}})
        left = {table.name: {"Keys": keys[now:]}} if keys[now:] else {}
        return {**answer, "UnprocessedKeys": left}

    monkeypatch.setattr(client, "batch_get_item", some)
    found = reader.records(ids(sessions))
    assert found.items() <= {session.session_id: session for session in sessions}.items()
    assert len(found) == sum(keys // 3 for keys in asked) > 0
    assert max(asked) == MOST_AT_ONCE


def test_a_list_of_a_table_that_is_gone_says_why(embedded: LocalStack) -> None:
    reader = JournalReader(embedded.session().resource("dynamodb").Table("none"))
    for ask in (lambda: reader.listing(5), lambda: reader.records([str(uuid.uuid4())])):
        with pytest.raises(AwsUnavailable, match="ResourceNotFoundException"):
            ask()


def test_a_record_that_dynamodb_cannot_read_now_is_not_taken_for_missing(
    reader: JournalReader, table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def throttled(*, RequestItems: Any) -> Any:
        return {"Responses": {table.name: []}, "UnprocessedKeys": RequestItems}

    monkeypatch.setattr(reader._table.meta.client, "batch_get_item", throttled)
    session_id = str(uuid.uuid4())
    with pytest.raises(AwsUnavailable, match=f"session {session_id}: DynamoDB could not read"):
        reader.read_now(session_id, [])


def test_a_look_returns_the_record_and_the_phases_that_are_asked_for(reader: JournalReader, table: Any) -> None:
    session_id = str(uuid.uuid4())
    phases = [Task(number, f"phase {number}", "RUNNING", "2026-01-01T00:00:00.000Z") for number in (3, 1, 2)]
    with pytest.raises(SessionNotFound):
        reader.read_now(session_id, phases)
    table.put_item(Item={"PK": session_id, "SK": "SESSION", "status": "BUSY"})
    for phase in phases:
        item = {"state": phase.state, "started_at": phase.started_at}
        table.put_item(Item={**task_key(session_id, phase.number, phase.name), **item})
    try:
        gone = Task(4, "gone", "RUNNING", "2026-01-01T00:00:00.000Z")
        session, found = reader.read_now(session_id, [*phases[:2], gone])
        assert (session, found) == (reader.get(session_id), [phases[1], phases[0]])
        assert reader.read_now(session_id, [])[1] == []
        # Items TASK#1#x and TASK#001#x make the same phase.
        assert reader.read_now(session_id, [phases[1], phases[1]])[1] == [phases[1]]
    finally:
        table.delete_item(Key={"PK": session_id, "SK": "SESSION"})

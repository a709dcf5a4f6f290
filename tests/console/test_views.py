"""What an address asks for, and which records a list reads."""

from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile import TEXT
from vigil.console import views
from vigil.console.views import Filters, ListReader, SessionList, timeline_context
from vigil.errors import InvalidInput
from vigil.journal_reader import Listing
from vigil.session import Failure, Session, Status
from vigil.session_reader import SessionView
from vigil.step import Excerpt
from vigil.trace import STATE_TEXT, State, Texts, Trace

AT = "2026-11-29T12:00:00.000Z"


def session(number: int, status: str = Status.BUSY, **more: Any) -> Session:
    return Session(f"{number:036}", status, AT, AT, **more)


class Sessions:
    """A journal that counts which records are read."""

    def __init__(self, *sessions: Session) -> None:
        self.sessions, self.asked, self.limits = sessions, list[list[str]](), list[int]()

    def listing(self, limit: int, status: Any, day: Any, cursor: Any) -> Listing:
        self.limits.append(limit)
        return Listing([*self.sessions[:limit]], "more")

    def records(self, ids: Any) -> dict[str, Session]:
        self.asked.append([*ids])
        return {one.session_id: one for one in self.sessions if one.session_id in self.asked[-1]}

    def reader(self) -> ListReader:
        deployment: Any = SimpleNamespace(journal=self)
        return ListReader(deployment)


def number(found: SessionList) -> list[int]:
    return [int(one.session_id) for one in found.sessions]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ({"none": "1"}, "a list has no filter 'none'"),
        ({"status": "x"}, "status must be one of"),
        *[({"day": day}, "day must be a date") for day in ("x", "2026-1-1", "2026-11-29 ", "2026-11-29T12", "\x00")],
        *[({"day": day}, "day must be a date") for day in ("2026-02-30", "2026-13-01", "20261129", "２０２６-11-29")],
        *[({"cursor": cursor}, "cursor must be") for cursor in ("x", "~", "~x", "x~")],
        ({"cursor": f"{AT}~{1:036}", "day": "2026-11-28"}, "cursor must be that of this list's link"),
    ],
)
def test_what_is_wrong_with_an_address_is_named(address: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        Filters.parse(address)


def test_an_address_says_what_a_list_shows() -> None:
    given = {"status": "busy", "day": "2026-11-29", "q": " lost ", "cursor": f"{AT}~{1:036}"}
    assert Filters.parse(given) == Filters(Status.BUSY, "2026-11-29", "lost", given["cursor"])
    assert Filters.parse({}) == Filters.parse({"status": "", "day": "", "q": " ", "cursor": ""}) == Filters()


@given(TEXT.filter(lambda text: text and "\ud800" not in text), TEXT.filter(bool))
def test_the_link_to_older_sessions_works_whatever_their_records_hold(start_time: str, session_id: str) -> None:
    cursor = f"{start_time}~{session_id}".encode(errors="replace").decode()
    address = dict(parse_qsl(urlencode({"cursor": cursor}), keep_blank_values=True))
    assert Filters.parse(address).cursor == cursor


def test_the_record_of_an_ended_session_is_read_once() -> None:
    journal = Sessions(session(1), session(2, Status.FAILED), session(3, Status.COMPLETED))
    reader = journal.reader()
    first = reader.read(Filters())
    assert reader.read(Filters()) == first == SessionList([*journal.sessions], "more", 3, 3)
    assert [len(asked) for asked in journal.asked] == [3, 1]


def test_a_list_shows_what_the_records_say_and_else_what_the_index_does() -> None:
    journal = Sessions(session(1), session(2))
    newer = session(1, progress="half")
    journal.records = lambda ids: {newer.session_id: newer}  # type: ignore[method-assign]
    assert journal.reader().read(Filters()).sessions == [newer, session(2)]


def test_records_are_forgotten_before_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "MOST_RECORDS", 2)
    journal = Sessions(session(1, Status.FAILED), session(2, Status.FAILED))
    reader = journal.reader()
    for _ in range(3):
        assert number(reader.read(Filters())) == [1, 2]
    assert [len(asked) for asked in journal.asked] == [2, 2, 2]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("LOST", [1]),
        ("agentlost: NO sign", [1]),
        ("line", [2]),
        ("failed", [1, 3]),
        (f"{3:036}"[-5:], [3]),
        ("zzz", []),
    ],
)
def test_a_text_is_found_in_id_status_and_cause(text: str, found: list[int]) -> None:
    journal = Sessions(
        session(1, Status.FAILED, error=Failure("AgentLost", "no sign of life")),
        session(2, Status.INITIATED, waiting_for="in line for a slot"),
        session(3, Status.FAILED),
    )
    listed = journal.reader().read(Filters(text=text))
    assert (number(listed), listed.matches, listed.searched, listed.cursor) == (found, len(found), 3, None)
    assert journal.limits == [views.SEARCHED]


def test_a_page_of_what_was_found_is_no_longer_than_another() -> None:
    journal = Sessions(*map(session, range(120)))
    found = journal.reader().read(Filters(text="busy"))
    assert (len(found.sessions), found.matches, found.searched) == (views.LISTED, 120, 120)
    assert len(journal.asked[0]) == views.LISTED


@given(st.text(max_size=5))
def test_any_search_is_allowed(text: str) -> None:
    assert Filters.parse({"q": text}).text == text.strip()


def test_a_list_keeps_no_details_of_events() -> None:
    journal = Sessions(session(1, detail="x" * 60_000), session(2, Status.FAILED, detail="x" * 60_000))
    reader = journal.reader()
    assert [one.detail for one in reader.read(Filters()).sessions] == [None, None]
    assert [one.detail for one in reader._ended.values()] == [None]


@pytest.mark.parametrize(
    ("parameters", "texts"),
    [
        ({}, Texts(None, None)),
        ({"open": "none"}, Texts(None, None)),
        ({"open": "session-1"}, Texts.of("x" * 5000, "")),
        ({"open": "state-1"}, Texts.of("arn", "A")),
    ],
)
def test_the_row_that_is_open_has_its_texts(parameters: dict[str, str], texts: Texts) -> None:
    trace = Trace(session(1, detail="x" * 5000, execution_arn="arn"), [State("A", AT, AT)], [], [])
    shown = timeline_context(SessionView(trace), parameters, lambda arn, state: Texts.of(arn, state.name))
    assert shown["texts"] == texts


def test_no_more_of_a_text_is_kept_than_is_shown() -> None:
    text = Texts.of("x" * 5000, "").input
    assert isinstance(text, Excerpt)
    assert (len(text.text), text.length) == (STATE_TEXT, 5000)

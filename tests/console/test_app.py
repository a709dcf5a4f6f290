"""What the console asks for a session's pages, and what these say of it."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.console.raw import ask, guarded, own
from tests.console.test_guard import SESSION, console
from vigil import session_reader
from vigil.console import app as module
from vigil.console.guard import Guard
from vigil.console.pages import Pages
from vigil.console.views import Filters, SessionList
from vigil.deployment import Deployment, aws_errors
from vigil.journal_reader import Snapshot
from vigil.session import Session, Status
from vigil.session_reader import LogReader
from vigil.step import Usage
from vigil.trace import State, Texts

AT = "2026-11-29T12:00:00.000Z"
RECORD = Session(SESSION, Status.BUSY, AT, AT, execution_arn="arn", progress="half of it")
Get = Callable[[str], str]


def denied(*_: Any, **__: Any) -> Any:
    with aws_errors():
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}, "Asked")


def session_pages(guard: Guard, **changed: Any) -> Any:
    """Return the pages of a deployment that has one session."""
    journal = SimpleNamespace(
        read_now=lambda *_: (RECORD, []), snapshot=lambda *_: Snapshot(RECORD, [], [], None), records=lambda _: {}
    )
    sfn = SimpleNamespace(describe_state_machine_for_execution=denied)
    logs = SimpleNamespace(get_paginator=lambda _: SimpleNamespace(paginate=lambda **_: []))
    found = {"journal": journal, "stepfunctions": sfn, "client": lambda _: logs, "output": lambda _: "arn:x"}
    return console(guard, **{**found, **changed})


def test_the_texts_of_a_state_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    states, asked = [State("A", AT)], list[State]()

    def read_texts(_: Deployment, execution_arn: str, state: State) -> Texts:
        assert execution_arn == "arn"
        asked.append(state)
        return Texts.of("what it was given", "what it returned" if state.exited_at else "")

    monkeypatch.setattr(session_reader, "read_states", lambda *_: states)
    monkeypatch.setattr(module, "read_texts", read_texts)
    with guarded(session_pages) as guard:
        for _ in range(3):
            page = ask(guard, "GET", f"/sessions/{SESSION}?open=state-1", own(guard)).body
            assert b"what it was given" in page
            assert b"what it returned" not in page
        assert asked == states
        states[0] = State("A", AT, AT)
        app: Any = guard.app
        app.routes[1].endpoint.__self__._feeds.clear()
        for _ in range(3):
            assert b"what it returned" in ask(guard, "GET", f"/sessions/{SESSION}?open=state-1", own(guard)).body
    assert asked == [State("A", AT), *states]


def test_a_log_has_a_reader_of_its_own_and_no_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_reader, "read_states", lambda *_: [])
    with guarded(session_pages) as guard:
        assert ask(guard, "GET", f"/sessions/{SESSION}/log", own(guard)).status == 200
        app: Any = guard.app
        assert [*app.routes[1].endpoint.__self__._feeds] == [(SESSION, LogReader)]


def test_without_a_permission_only_its_part_is_missing_and_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_reader, "read_states", denied)
    with guarded(session_pages) as guard:
        answer = ask(guard, "GET", f"/sessions/{SESSION}", own(guard))
    assert answer.status == 200
    assert b"half of it" in answer.body
    assert b"states are not known: An error occurred (AccessDeniedException)" in answer.body
    with guarded(lambda guard: console(guard, dead_letters=denied)) as guard:
        answer = ask(guard, "GET", f"/sessions/{SESSION}", own(guard))
    assert answer.status == 404
    assert b"There is no session" in answer.body
    assert b"AccessDeniedException" in answer.body


def summary(found: SessionList, filters: Filters) -> str:
    """Return the line above a list."""
    pages = Pages("form-token", where="", allow_actions=True, budget="")
    page = pages.render("sessions.html", {"found": found, "filters": filters})
    return " ".join(page.partition('<p class="soft">')[2].partition("<button")[0].split())


def test_a_list_says_how_much_of_what_it_shows() -> None:
    def sessions(count: int, **more: Any) -> list[Session]:
        return [Session(f"{number:036}", "FAILED", AT, AT, **more) for number in range(count)]

    text, older = Filters(text="x"), Filters(text="x", cursor=f"{AT}~x")
    assert summary(SessionList(sessions(2), None, 2, 2), Filters()) == "2 shown"
    assert summary(SessionList(sessions(50), None, 312, 1000), text) == (
        "50 of 312 matches shown: narrow the text. Searched: the newest 1,000 sessions"
    )
    assert summary(SessionList(sessions(2), None, 2, 9), older) == ("2 of 2 matches shown. Searched: 9 older sessions")
    usage = Usage("m", 1, 1, 1.5)  # type: ignore[arg-type]
    priced, assumed = sessions(1, usage=usage), sessions(1, usage=Usage("m", 1, 1, 2, price_assumed=True))  # type: ignore[arg-type]
    assert summary(SessionList([*priced, *sessions(1)], None, 2, 2), Filters()) == "2 shown, $1.50"
    assert summary(SessionList([*priced, *assumed], None, 2, 2), Filters()) == "2 shown, ≈$3.50"

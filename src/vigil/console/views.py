"""What the pages show, as it is read: lists of sessions, and one session with all that is on record of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from vigil.console.graph import Graph
from vigil.console.timeline import Timeline
from vigil.deployment import Deployment
from vigil.errors import InvalidInput
from vigil.journal_reader import Listing
from vigil.session import Session, Status, parse_status
from vigil.session_reader import SessionView
from vigil.text import html
from vigil.trace import State, read_texts

PAGE = 50  # sessions of a list
SEARCHED = 1000  # sessions among which a text is looked for
MOST_KEPT = 5000  # records of ended sessions
MOST_LINES, MOST_TEXT, MOST_BYTES = 300, 500, 60_000  # of a log, characters of each, and of all as HTML
TABS = ("timeline", "record", "log", "report")


@dataclass(frozen=True)
class Filters:
    """Which sessions a list shows, as its address says it."""

    status: Status | None = None
    day: str | None = None
    text: str = ""
    cursor: str | None = None

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> "Filters":
        """Read the address's parameters; raises InvalidInput, which names the one that is wrong."""
        if unknown := sorted(set(given) - {"status", "day", "q", "cursor"}):
            raise InvalidInput(f"a list has no filter {unknown[0]!r}; it has status, day, q and cursor")
        status, day, cursor = (given.get(name, "") for name in ("status", "day", "cursor"))
        if day and not re.fullmatch(r"\d{4}-\d\d-\d\d", day):
            raise InvalidInput(f"day must be a date such as 2026-11-30, not {day!r}")
        # A malformed record has any start time and any id.
        if cursor and not re.fullmatch(".+~.+", cursor, re.DOTALL):
            raise InvalidInput("cursor must be that of a list's link to older sessions")
        return cls(parse_status(status) if status else None, day or None, given.get("q", "").strip(), cursor or None)


@dataclass(frozen=True)
class SessionList(Listing):
    """What a list shows, and among how many of the newest sessions a text was looked for."""

    searched: int | None


class ListReader:
    """Reads lists of sessions. The record of a session that has ended is read once."""

    def __init__(self, deployment: Deployment) -> None:
        self._journal = deployment.journal
        self._ended: dict[str, Session] = {}

    def read(self, filters: Filters) -> SessionList:
        """Return the sessions that ``filters`` let pass."""
        text = filters.text.casefold()
        listing = self._journal.listing(SEARCHED if text else PAGE, filters.status, filters.day, filters.cursor)
        found = [session for session in listing.sessions if text in _searchable(session)][:PAGE]
        kept = self._ended = self._ended if len(self._ended) < MOST_KEPT else {}
        records = self._journal.records(one.session_id for one in found if one.session_id not in kept)
        kept |= {key: session for key, session in records.items() if session.terminal}
        sessions = [kept.get(one.session_id) or records.get(one.session_id, one) for one in found]
        return SessionList(sessions, None if text else listing.cursor, len(listing.sessions) if text else None)


def _searchable(session: Session) -> str:
    cause = f"{session.error.code}: {session.error.message}" if session.error else session.waiting_for or ""
    return f"{session.session_id} {session.status} {cause}".casefold()


def log_of(deployment: Deployment, session_id: str) -> list[str]:
    """Return the last lines of the agent's log that fit on a page."""
    lines, left = list[str](), MOST_BYTES
    for line in reversed([*deployment.agent_log(session_id)][-MOST_LINES:]):
        lines.insert(0, f"{line.at[11:23]} {line.text[:MOST_TEXT]}")
        left -= len(html(lines[0]).encode())
        if left < 0:
            return lines[1:]
    return lines


def beside(deployment: Deployment, view: SessionView, given: Mapping[str, str]) -> dict[str, Any]:
    """Return what a timeline shows beside the record; ``given`` says which row is open, and which rows are shown."""
    if view.trace is None:
        return {}
    session, first = view.trace.session, given.get("first", "")
    timeline = Timeline(view.trace, datetime.now(UTC), int(first) if re.fullmatch(r"[0-9]{1,6}", first) else None)
    opened, texts = next((row for row in timeline.rows if row.key == given.get("open")), None), None
    if opened and opened.span.kind == "state":
        state = State(opened.span.name, opened.span.began_at, opened.span.ended_at)
        texts = read_texts(deployment, session, state)
    elif opened and opened.span.kind == "session":
        texts = (session.detail or "", session.report_uri or "")
    graph = Graph.of(view.definition, view.trace.states) if view.definition else None
    return {"timeline": timeline, "opened": opened, "texts": texts, "graph": graph}

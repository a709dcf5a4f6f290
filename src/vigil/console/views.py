"""What the pages show of what is read: lists of sessions, and the timeline of one session."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from vigil.attributes import moment
from vigil.console.graph import Graph
from vigil.console.timeline import Timeline
from vigil.deployment import Deployment
from vigil.errors import InvalidInput
from vigil.journal_reader import Listing
from vigil.session import Session, Status, parse_status
from vigil.session_reader import SessionView
from vigil.trace import State, Texts

LISTED = 50  # sessions of a list
SEARCHED = 1000  # sessions among which a text is looked for
MOST_RECORDS = 5000  # of ended sessions that are kept
TABS = ("timeline", "record", "log", "report")


@dataclass(frozen=True)
class Filters:
    """Which sessions a list shows, as its address says it."""

    status: Status | None = None
    day: str | None = None
    text: str = ""
    cursor: str | None = None

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> "Filters":
        """Read the address's parameters; raises InvalidInput, which names the one that is wrong."""
        if unknown := sorted(set(parameters) - {"status", "day", "q", "cursor"}):
            raise InvalidInput(f"a list has no filter {unknown[0]!r}; it has status, day, q and cursor")
        status, day, text, cursor = (parameters.get(name, "") for name in ("status", "day", "q", "cursor"))
        if day and moment(f"{day}T00:00Z").date().isoformat() != day:
            raise InvalidInput(f"day must be a date such as 2026-11-30, not {day!r}")
        # A malformed record has any start time and any id.
        if cursor and not (re.fullmatch(".+~.+", cursor, re.DOTALL) and cursor.startswith(day)):
            raise InvalidInput("cursor must be that of this list's link to older sessions")
        return cls(parse_status(status) if status else None, day or None, text.strip(), cursor or None)


@dataclass(frozen=True)
class SessionList(Listing):
    """What a list shows; how many sessions match its text, and among how many it was looked for."""

    matches: int
    searched: int


class ListReader:
    """Reads lists of sessions. The record of a session that has ended is read once."""

    def __init__(self, deployment: Deployment) -> None:
        self._journal = deployment.journal
        self._ended: dict[str, Session] = {}

    def read(self, filters: Filters) -> SessionList:
        """Return the sessions that ``filters`` let pass."""
        text = filters.text.casefold()
        listing = self._journal.listing(SEARCHED if text else LISTED, filters.status, filters.day, filters.cursor)
        matches = [session for session in listing.sessions if text in _searchable(session)]
        found = matches[:LISTED]
        kept = self._ended = self._ended if len(self._ended) < MOST_RECORDS else {}
        records = self._journal.records(one.session_id for one in found if one.session_id not in kept)
        # No list shows the detail, the largest part of a record.
        records = {key: replace(session, detail=None) for key, session in records.items()}
        kept |= {key: session for key, session in records.items() if session.terminal}
        sessions = [kept.get(one.session_id) or records.get(one.session_id, one) for one in found]
        return SessionList(sessions, None if text else listing.cursor, len(matches), len(listing.sessions))


def _searchable(session: Session) -> str:
    cause = f"{session.error.code}: {session.error.message}" if session.error else session.waiting_for or ""
    return f"{session.session_id} {session.status} {cause}".casefold()


def timeline_context(
    view: SessionView, parameters: Mapping[str, str], read_texts: Callable[[str, State], Texts]
) -> dict[str, Any]:
    """Return what a timeline shows; the address's ``parameters`` say which row is open, and which rows are shown."""
    if view.trace is None:
        return {}
    session, first = view.trace.session, parameters.get("first", "")
    timeline = Timeline(view.trace, datetime.now(UTC), int(first) if re.fullmatch(r"[0-9]{1,6}", first) else None)
    opened = next((row for row in timeline.rows if row.key == parameters.get("open")), None)
    span, texts = opened and opened.span, Texts(None, None)
    if span and span.step:
        texts = Texts(span.step.input, span.step.output)
    elif span and span.kind == "state":
        texts = read_texts(session.execution_arn or "", State(span.name, span.began_at, span.ended_at))
    elif span and span.kind == "session":
        texts = Texts.of(session.detail or "", session.report_uri or "")
    graph = Graph.of(view.definition, view.trace.states) if view.definition else None
    return {"timeline": timeline, "opened": opened, "texts": texts, "graph": graph}

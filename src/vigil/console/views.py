"""What the pages show, as it is read: lists of sessions, and one session with all that is on record of it."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from vigil.console.graph import Graph
from vigil.console.timeline import Timeline
from vigil.deployment import Deployment, aws_errors
from vigil.errors import InvalidInput, SessionNotFound
from vigil.journal_reader import Snapshot
from vigil.session import SESSION_ID_PATTERN, Session, Status, parse_status
from vigil.trace import State, Trace, read_states, read_texts

PAGE = 50  # sessions of a list
SEARCHED = 1000  # sessions among which a text is looked for
MOST_KEPT = 5000  # records of ended sessions
MOST_LINES, MOST_TEXT = 300, 500  # of a log, and characters of each
SNAPSHOT_SECONDS, HISTORY_SECONDS = 5.0, 15.0  # between two reads of what the session's record need not announce
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
        if cursor and not re.fullmatch(f"[0-9TZ:.-]{{1,40}}~{SESSION_ID_PATTERN}", cursor):
            raise InvalidInput("cursor must be that of a list's link to older sessions")
        return cls(parse_status(status) if status else None, day or None, given.get("q", "").strip(), cursor or None)


@dataclass(frozen=True)
class SessionList:
    """The sessions that a list shows, newest first, and where older ones begin."""

    sessions: list[Session]
    cursor: str | None
    searched: int | None  # among how many of the newest sessions the text was looked for


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


@dataclass(frozen=True)
class SessionView:
    """A session with all that is on record of it; without a ``trace``, ``why`` it has no record."""

    trace: Trace | None
    why: str = ""  # empty while its workflow may still begin
    definition: Mapping[str, Any] | None = None  # of its state machine; None if that is gone
    artifacts: Sequence[str] = ()

    @property
    def final(self) -> bool:
        """Whether nothing of it changes any more."""
        if self.trace is None:
            return bool(self.why)
        return self.trace.session.terminal and all(state.exited_at for state in self.trace.states)

    def beside(self, deployment: Deployment, tab: str, given: Mapping[str, str]) -> dict[str, Any]:
        """Return what a tab shows beside the record; ``given`` says which row is open, and which rows are shown."""
        if self.trace is None or tab not in ("timeline", "log"):
            return {}
        session = self.trace.session
        if tab == "log":
            lines = [f"{line.at[11:23]} {line.text[:MOST_TEXT]}" for line in deployment.agent_log(session.session_id)]
            return {"lines": lines[-MOST_LINES:]}
        first = given.get("first", "")
        timeline = Timeline(self.trace, datetime.now(UTC), int(first) if re.fullmatch(r"[0-9]{1,6}", first) else None)
        opened, texts = next((row for row in timeline.rows if row.key == given.get("open")), None), None
        if opened and opened.span.kind == "state":
            state = State(opened.span.name, opened.span.began_at, opened.span.ended_at)
            texts = read_texts(deployment, session, state)
        elif opened and opened.span.kind == "session":
            texts = (session.detail or "", session.report_uri or "")
        graph = Graph.of(self.definition, self.trace.states) if self.definition else None
        return {"timeline": timeline, "opened": opened, "texts": texts, "graph": graph}


class SessionReader:
    """Reads one session, again only what may have changed. It waits ``patience`` seconds for the record to appear."""

    def __init__(self, deployment: Deployment, session_id: str, patience: float) -> None:
        self._deployment, self._session_id = deployment, session_id
        self._patience = time.monotonic() + patience
        self._found: Snapshot | None = None
        self._states: list[State] = []
        self._moved: object = None  # what shows that the workflow has moved
        self._definition: Mapping[str, Any] | None = None
        self._artifacts: list[str] = []
        self._snapshot_due = self._history_due = 0.0

    def read(self) -> SessionView:
        """Return the session as it is."""
        now = time.monotonic()
        try:
            session = self._deployment.journal.get(self._session_id)
        except SessionNotFound:
            return SessionView(None, "" if now < self._patience else self._why_missing())
        found = self._found
        if found is None or session != found.session or (now >= self._snapshot_due and not session.terminal):
            found = self._found = self._deployment.journal.snapshot(self._session_id)
            self._artifacts = self._deployment.artifacts(self._session_id).names() if session.busy_at else []
            self._snapshot_due = now + SNAPSHOT_SECONDS
        # Step Functions answers few requests: it is asked when the record shows a move, and now and then.
        moved = (session.status, found.task_token)
        trace = Trace(found.session or session, self._states, found.tasks, found.steps)
        view = SessionView(trace, "", self._definition, self._artifacts)
        if moved != self._moved or (now >= self._history_due and not (view.final and self._states)):
            self._moved, self._history_due = moved, now + (1.0 if session.terminal else HISTORY_SECONDS)
            self._read_states(session)
        return replace(view, trace=replace(trace, states=self._states), definition=self._definition)

    def _read_states(self, session: Session) -> None:
        self._states = [*read_states(self._deployment, session)]
        if self._definition is None and self._states:
            arn = session.execution_arn or ""
            with aws_errors():
                found = self._deployment.stepfunctions.describe_state_machine_for_execution(executionArn=arn)
            self._definition = json.loads(found["definition"])

    def _why_missing(self) -> str:
        letters = (letter for letter in self._deployment.dead_letters() if letter.event_id == self._session_id)
        lost = next((letter.reason for letter in letters), None)
        return f"its event could not start a workflow: {lost}" if lost else "records are kept for 90 days"

"""One session with all that is on record of it, read again and again by a client that shows it live."""

import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from vigil.agent_log import AgentLog
from vigil.deployment import Deployment, aws_errors, error_code
from vigil.errors import AwsUnavailable, SessionNotFound
from vigil.journal_reader import Snapshot
from vigil.names import Output
from vigil.session import TTL_DAYS, Session
from vigil.text import html
from vigil.trace import State, Trace, read_states

SNAPSHOT_SECONDS, HISTORY_SECONDS = 5.0, 15.0  # between two reads of what the session's record need not announce
LOG_LINES, LOG_TEXT, LOG_BYTES = 300, 500, 60_000  # the newest lines of a log, characters of each, all of them as HTML


@dataclass(frozen=True)
class SessionView:
    """A session; without a ``trace``, ``why`` it has no record."""

    trace: Trace | None
    why: str = ""  # empty while its workflow may still begin
    definition: Mapping[str, Any] | None = None  # of its state machine; None if that is gone
    artifacts: Sequence[str] = ()
    log: Sequence[str] = ()  # the newest lines, if a LogReader has read them
    denied: str = ""  # why its states are unknown, if the user lacks the permission

    @property
    def final(self) -> bool:
        """Whether nothing of it changes any more."""
        if self.trace is None:
            return bool(self.why)
        return self.trace.session.terminal and all(state.exited_at for state in self.trace.states)


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
        self._denied = ""
        self._snapshot_due = self._history_due = 0.0

    def read(self) -> SessionView:
        """Return the session as it is."""
        now, found = time.monotonic(), self._found
        # The end of a phase does not change the record.
        running = [phase for phase in found.tasks if phase.state == "RUNNING"] if found else []
        try:
            session, phases = self._deployment.journal.read_now(self._session_id, running)
        except SessionNotFound:
            return SessionView(None, "" if now < self._patience else self._why_missing())
        known = found and (found.session, running)
        if found is None or known != (session, phases) or (now >= self._snapshot_due and not session.terminal):
            found = self._snapshot(found)
            self._artifacts = self._deployment.artifacts(self._session_id).names() if session.busy_at else []
            self._found, self._snapshot_due = found, now + SNAPSHOT_SECONDS
        # Step Functions answers few requests: it is asked when the record shows a move, and now and then.
        moved = (session.status, found.task_token)
        trace = Trace(found.session or session, self._states, found.tasks, found.steps)
        view = SessionView(trace, "", self._definition, self._artifacts)
        if moved != self._moved or (now >= self._history_due and not (view.final and self._definition)):
            self._read_states(session)
            self._moved, self._history_due = moved, now + (1.0 if session.terminal else HISTORY_SECONDS)
        trace = replace(trace, states=self._states)
        return replace(view, trace=trace, definition=self._definition, denied=self._denied)

    def _snapshot(self, before: Snapshot | None) -> Snapshot:
        """Read the session, and of its steps those that have not ended before."""
        steps = {step.number: step for step in before.steps} if before else {}
        # A malformed step may have any number.
        count = (before and before.session and before.session.step_count) or 0
        known = [number for number in steps if 0 < number <= count]
        running = (number for number in known if steps[number].state == "RUNNING")
        found = self._deployment.journal.snapshot(self._session_id, min([max(known, default=0) + 1, *running]))
        steps |= {step.number: step for step in found.steps}
        count = (found.session and found.session.step_count) or 0
        return replace(found, steps=[step for _, step in sorted(steps.items()) if step.is_kept(count)])

    def _read_states(self, session: Session) -> None:
        try:
            self._states, self._denied = [*read_states(self._deployment, session)], ""
        except AwsUnavailable as error:
            self._denied = _denial(error)
        if self._definition is None and self._states:
            arn = session.execution_arn or ""
            # Without the permission for it, only the graph is missing.
            with suppress(AwsUnavailable), aws_errors():
                found = self._deployment.stepfunctions.describe_state_machine_for_execution(executionArn=arn)
                self._definition = json.loads(found["definition"])

    def _why_missing(self) -> str:
        kept = f"records are kept for {TTL_DAYS} days"
        try:
            letters = self._deployment.dead_letters()
        except AwsUnavailable as error:
            return f"{kept}; whether its event was lost is unknown: {_denial(error)}"
        lost = next((letter.reason for letter in letters if letter.event_id == self._session_id), None)
        return f"its event could not start a workflow: {lost}" if lost else kept


class LogReader(SessionReader):
    """Reads one session and the newest lines of its agent's log, each line once."""

    def __init__(self, deployment: Deployment, session_id: str, patience: float) -> None:
        super().__init__(deployment, session_id, patience)
        self._log: AgentLog | None = None
        self._lines = deque[str](maxlen=LOG_LINES)

    def read(self) -> SessionView:
        """Return the session as it is, with the newest lines that fit on a page."""
        view = super().read()
        return replace(view, log=self._newest(view.trace.session)) if view.trace else view

    def _newest(self, session: Session) -> list[str]:
        try:
            with aws_errors():
                if self._log is None:
                    runtime = self._deployment.output(Output.AGENT_RUNTIME)
                    self._log = AgentLog(self._deployment.client("logs"), runtime, self._session_id)
                found = self._log.read(session.start_time, session.ended_at)
                self._lines.extend(f"{line.at[11:23]} {line.text[:LOG_TEXT]}" for line in found)
        except AwsUnavailable as error:
            return [_denial(error)]
        lines, left = deque[str](), LOG_BYTES
        for line in reversed(self._lines):
            left -= len(html(line).encode())
            if left < 0:
                break
            lines.appendleft(line)
        return [*lines]


def _denial(error: AwsUnavailable) -> str:
    """Return which permission the user lacks, in the words of AWS; raises any other error again."""
    if "AccessDenied" not in error_code(error):
        raise error
    return str(error)

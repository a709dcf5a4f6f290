"""A session that is shown live costs few requests, and one without a record says why."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from vigil import session_reader
from vigil.deployment import DeadLetter, aws_errors
from vigil.errors import AwsUnavailable, SessionNotFound
from vigil.journal_reader import Snapshot
from vigil.session import Session, Status, Task
from vigil.session_reader import (
    HISTORY_SECONDS,
    LOG_BYTES,
    LOG_LINES,
    LOG_TEXT,
    SNAPSHOT_SECONDS,
    LogReader,
    SessionReader,
)
from vigil.step import MAX_STEPS, Step
from vigil.text import html
from vigil.trace import State

AT = "2026-11-29T12:00:00.000Z"
ID = "c2ab273b-e698-448e-9e95-57dc6962ec9b"
BUSY = Session(ID, Status.BUSY, AT, AT, busy_at=AT, execution_arn="arn")
ENDED = replace(BUSY, status=Status.COMPLETED, ended_at=AT)
DEFINITION = {"StartAt": "A", "States": {"A": {}}}


class Counting:
    """A deployment of one session, which counts what is asked of it."""

    def __init__(self, session: Session | None) -> None:
        self.session, self.token, self.letters = session, "token", list[DeadLetter]()
        self.states = [State("A", AT, AT if session and session.terminal else None)]
        self.asked: Counter[str] = Counter()
        self.now = 1000.0
        self.tasks, self.steps, self.first = list[Task](), list[Step](), 0
        self.journal = SimpleNamespace(read_now=self._look, snapshot=self._snapshot)
        self.stepfunctions = SimpleNamespace(describe_state_machine_for_execution=self._definition)

    def _look(self, session_id: str, phases: list[Task]) -> tuple[Session, list[Task]]:
        self.asked["record"] += 1
        if self.session is None:
            raise SessionNotFound("none")
        asked = {phase.number for phase in phases}
        return self.session, [task for task in self.tasks if task.number in asked]

    def _snapshot(self, session_id: str, first_step: int) -> Snapshot:
        self.asked["snapshot"] += 1
        self.first = first_step
        steps = [step for step in self.steps if step.number >= first_step]
        return Snapshot(self.session, [*self.tasks], steps, self.token)

    def _definition(self, *, executionArn: str) -> Any:
        self.asked["definition"] += 1
        return {"definition": json.dumps(DEFINITION)}

    def artifacts(self, session_id: str) -> Any:
        self.asked["artifacts"] += 1
        return SimpleNamespace(names=lambda: ["report.md"])

    def dead_letters(self) -> list[DeadLetter]:
        self.asked["letters"] += 1
        return self.letters

    def read_states(self, _: Any, session: Session) -> Iterator[State]:
        self.asked["states"] += 1
        yield from self.states

    def reader(self, patience: float = 0) -> SessionReader:
        deployment: Any = self
        return SessionReader(deployment, ID, patience)

    def taken(self) -> dict[str, int]:
        """Return what was asked since the last time."""
        asked, self.asked = dict(self.asked), Counter()
        return asked


def fails(*_: Any, **__: Any) -> Any:
    raise AwsUnavailable("no answer")


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[[Session | None], Counting]:
    """Make a deployment whose clock the test moves."""

    def made(session: Session | None) -> Counting:
        deployment = Counting(session)
        monkeypatch.setattr(session_reader, "time", SimpleNamespace(monotonic=lambda: deployment.now))
        monkeypatch.setattr(session_reader, "read_states", deployment.read_states)
        return deployment

    return made


Make = Callable[[Session | None], Counting]
ALL = {"record": 1, "snapshot": 1, "artifacts": 1, "states": 1}


def test_the_first_look_shows_all(make: Make) -> None:
    deployment = make(BUSY)
    view = deployment.reader().read()
    assert view.trace
    assert (view.trace.session, view.trace.states) == (BUSY, deployment.states)
    assert (view.definition, view.artifacts, view.why, view.final) == (DEFINITION, ["report.md"], "", False)
    assert deployment.taken() == {**ALL, "definition": 1}


def test_an_unchanged_session_costs_one_read(make: Make) -> None:
    deployment = make(BUSY)
    reader = deployment.reader()
    first = reader.read()
    deployment.taken()
    for _ in range(6):
        deployment.now += 0.75
        assert reader.read() == first
    assert deployment.taken() == {"record": 6}


def test_steps_are_read_again_now_and_then_and_the_history_less_often(make: Make) -> None:
    deployment = make(BUSY)
    reader = deployment.reader()
    for _ in range(61):
        reader.read()
        deployment.now += 1
    asked = deployment.taken()
    assert asked["snapshot"] == 61 // SNAPSHOT_SECONDS + 1
    assert asked["states"] == 60 // HISTORY_SECONDS + 1
    assert asked["definition"] == 1


def test_a_change_of_the_record_is_read_at_once(make: Make) -> None:
    deployment = make(BUSY)
    reader = deployment.reader()
    reader.read()
    deployment.taken()
    deployment.session = replace(BUSY, progress="half")
    view = reader.read()
    assert view.trace
    assert view.trace.session.progress == "half"
    assert deployment.taken() == {"record": 1, "snapshot": 1, "artifacts": 1}
    # The workflow waits again: it has moved.
    deployment.session, deployment.token = replace(BUSY, progress="done"), "next"
    deployment.states = [State("A", AT, AT), State("B", AT)]
    view = reader.read()
    assert view.trace
    assert view.trace.states == deployment.states
    assert deployment.taken() == ALL


def test_a_session_that_has_ended_asks_step_functions_no_more(make: Make) -> None:
    deployment = make(ENDED)
    reader = deployment.reader()
    assert reader.read().final
    deployment.taken()
    for _ in range(100):
        deployment.now += 60
        assert reader.read().final
    assert deployment.taken() == {"record": 100}


def test_a_session_is_final_only_when_its_workflow_has_ended_too(make: Make) -> None:
    deployment = make(ENDED)
    deployment.states = [State("A", AT)]
    reader = deployment.reader()
    assert not reader.read().final
    deployment.states = [State("A", AT, AT)]
    deployment.now += 1
    assert reader.read().final


def test_artifacts_are_not_asked_for_before_the_agent_runs(make: Make) -> None:
    deployment = make(replace(BUSY, status=Status.INITIATED, busy_at=None))
    assert deployment.reader().read().artifacts == []
    assert "artifacts" not in deployment.taken()


def test_a_record_that_is_missing_is_waited_for_and_then_explained(make: Make) -> None:
    deployment = make(None)
    reader = deployment.reader(patience=30)
    view = reader.read()
    assert (view.trace, view.why, view.final) == (None, "", False)
    assert deployment.taken() == {"record": 1}
    deployment.now += 31
    view = reader.read()
    assert (view.why, view.final) == ("records are kept for 90 days", True)
    deployment.letters = [DeadLetter("another", AT, "x"), DeadLetter(ID, AT, "AccessDenied: no role")]
    assert reader.read().why == "its event could not start a workflow: AccessDenied: no role"


def test_a_record_that_appears_in_time_is_shown(make: Make) -> None:
    deployment = make(None)
    reader = deployment.reader(patience=30)
    assert reader.read().trace is None
    deployment.session = BUSY
    assert reader.read().trace


def test_the_end_of_a_phase_is_seen_although_the_record_stays_the_same(make: Make) -> None:
    deployment = make(BUSY)
    deployment.tasks = [Task(1, "inventory", "RUNNING", AT)]
    reader = deployment.reader()
    reader.read()
    deployment.tasks = [Task(1, "inventory", "COMPLETED", AT, AT)]
    view = reader.read()
    assert view.trace
    assert view.trace.phases == deployment.tasks


def test_steps_that_have_ended_are_read_once(make: Make) -> None:
    def step(number: int, state: str) -> Step:
        return Step(number, "chat", "model", "agent", AT, state)

    def changed(*states: str) -> list[Step]:
        deployment.steps = [step(number, state) for number, state in enumerate(states, 1)]
        deployment.session = replace(BUSY, step_count=len(states), updated_at=f"{len(states)} {states}")
        view = reader.read()
        assert view.trace
        return view.trace.steps

    deployment = make(BUSY)
    reader = deployment.reader()
    for states, first in (
        (("COMPLETED", "RUNNING"), 1),
        (("COMPLETED", "COMPLETED", "RUNNING", "RUNNING"), 2),
        (("COMPLETED", "COMPLETED", "RUNNING", "FAILED", "COMPLETED"), 3),
        (("COMPLETED", "COMPLETED", "COMPLETED", "FAILED", "COMPLETED"), 3),
        (("COMPLETED", "COMPLETED", "COMPLETED", "FAILED", "COMPLETED", "RUNNING"), 6),
    ):
        assert changed(*states) == deployment.steps
        assert deployment.first == first
    # A newer step has taken the place of an older one.
    assert [step.number for step in changed(*["COMPLETED"] * (MAX_STEPS + 3))][-1] == MAX_STEPS + 3
    assert MAX_STEPS // 2 + 3 not in {step.number for step in reader.read().trace.steps}  # type: ignore[union-attr]


@pytest.mark.parametrize("wrong", [10**14, 0, -5])
def test_a_step_with_a_number_that_cannot_be_hides_no_later_one(make: Make, wrong: int) -> None:
    deployment = make(BUSY)
    reader = deployment.reader()
    for count in (1, 2, 3):
        steps = [Step(number, "chat", "model", "agent", AT, "COMPLETED") for number in range(1, count + 1)]
        deployment.steps = [*steps, Step(wrong, "chat", "model", "agent", AT, "RUNNING")]
        deployment.session = replace(BUSY, step_count=count)
        view = reader.read()
        assert view.trace
        assert {step.number for step in view.trace.steps} - {wrong} == {*range(1, count + 1)}
        assert deployment.first == count


@pytest.mark.parametrize("session", [BUSY, ENDED])
@pytest.mark.parametrize("part", ["states", "artifacts"])
def test_what_could_not_be_read_is_read_by_the_next_look(
    make: Make, monkeypatch: pytest.MonkeyPatch, session: Session, part: str
) -> None:
    deployment = make(session)
    reader = deployment.reader()
    place, name = {"states": (session_reader, "read_states"), "artifacts": (deployment, "artifacts")}[part]
    with monkeypatch.context() as broken:
        broken.setattr(place, name, fails)
        with pytest.raises(AwsUnavailable):
            reader.read()
    view = reader.read()
    assert view.trace
    assert (view.trace.states, view.artifacts, view.definition) == (deployment.states, ["report.md"], DEFINITION)


@pytest.mark.parametrize("session", [BUSY, ENDED])
def test_a_definition_that_cannot_be_read_is_asked_for_again_later(
    make: Make, monkeypatch: pytest.MonkeyPatch, session: Session
) -> None:
    deployment = make(session)
    reader = deployment.reader()
    with monkeypatch.context() as broken:
        broken.setattr(deployment.stepfunctions, "describe_state_machine_for_execution", fails)
        view = reader.read()
        assert view.trace
        assert (view.trace.states, view.definition) == (deployment.states, None)
    deployment.now += HISTORY_SECONDS
    assert reader.read().definition == DEFINITION


def denied(*_: Any, **__: Any) -> Any:
    with aws_errors():
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}, "Asked")


def test_without_the_permission_for_the_history_the_record_is_shown(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = make(ENDED)
    reader = deployment.reader()
    with monkeypatch.context() as broken:
        broken.setattr(session_reader, "read_states", denied)
        view = reader.read()
    assert view.trace
    assert (view.trace.session, view.trace.states) == (ENDED, [])
    assert "AccessDeniedException" in view.denied
    deployment.now += HISTORY_SECONDS
    view = reader.read()
    assert view.trace
    assert (view.trace.states, view.denied) == (deployment.states, "")


def test_without_the_permission_for_lost_events_an_unknown_session_is_unknown(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = make(None)
    monkeypatch.setattr(deployment, "dead_letters", denied)
    view = deployment.reader().read()
    assert view.final
    assert view.why.startswith("records are kept for 90 days; whether its event was lost is unknown: ")
    assert "AccessDeniedException" in view.why
    monkeypatch.setattr(deployment, "dead_letters", fails)
    with pytest.raises(AwsUnavailable):
        deployment.reader().read()


class Logs:
    """CloudWatch Logs with one group, which counts the events that it returns."""

    def __init__(self) -> None:
        self.texts, self.returned = list[str](), 0

    def get_paginator(self, operation: str) -> Any:
        return self

    def paginate(self, *, startTime: int, **_: Any) -> Iterator[Any]:
        # Each line is a minute after the last one.
        for number, text in enumerate(self.texts):
            if (timestamp := 1_800_000_000_000 + 60_000 * number) >= startTime:
                self.returned += 1
                message = f"2026-11-29T12:00:00.000Z {ID} {text}"
                yield {"events": [{"eventId": str(number), "timestamp": timestamp, "message": message}]}


@pytest.fixture
def logs(make: Make, monkeypatch: pytest.MonkeyPatch) -> tuple[Logs, LogReader]:
    """A log, and what reads it with the session."""
    deployment: Any = make(BUSY)
    found = Logs()
    monkeypatch.setattr(deployment, "output", lambda name: "arn:runtime/x", raising=False)
    monkeypatch.setattr(deployment, "client", lambda service: found, raising=False)
    return found, LogReader(deployment, ID, 0)


def test_the_newest_lines_of_a_log_fit_on_a_page(logs: tuple[Logs, LogReader]) -> None:
    log, reader = logs
    log.texts = [*(['"' * 1000] * 500), "the last"]
    shown = reader.read().log
    assert shown[-1] == "12:00:00.000 the last"
    assert 0 < len(shown) < LOG_LINES
    assert len(shown[0]) == len("12:00:00.000 ") + LOG_TEXT
    assert len(html("\n".join(shown))) <= LOG_BYTES


def test_a_line_of_the_log_is_read_once_and_no_more_are_kept_than_are_shown(logs: tuple[Logs, LogReader]) -> None:
    log, reader = logs
    log.texts = [str(number) for number in range(1000)]
    assert [line.split()[1] for line in reader.read().log] == log.texts[-LOG_LINES:]
    log.returned = 0
    log.texts.append("new")
    assert [line.split()[1] for line in reader.read().log] == log.texts[-LOG_LINES:]
    assert log.returned <= 2
    assert len(reader._lines) == LOG_LINES


def test_without_the_permission_for_the_log_the_page_says_so(
    logs: tuple[Logs, LogReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    log, reader = logs
    monkeypatch.setattr(log, "paginate", denied)
    view = reader.read()
    assert view.trace
    (line,) = view.log
    assert "AccessDeniedException" in line

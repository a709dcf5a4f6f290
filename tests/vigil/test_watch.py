"""Watching a session: what it costs of Step Functions, and that nothing is missed for it."""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import new_state_machine, until
from vigil import watch as watching
from vigil.attributes import iso
from vigil.deployment import Deployment
from vigil.journal import Journal, StepsSoFar
from vigil.local.stack import LocalStack
from vigil.names import Output
from vigil.session import Failure, Session, Status
from vigil.step import Step
from vigil.watch import ASK_SECONDS, MAX_ASK_SECONDS, SessionEvent, SessionOutcome, await_end, final_outcome, watch

NewSession = Callable[..., str]
STATES = {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}


class World:
    """A session and its execution, in a time that passes only while somebody sleeps."""

    def __init__(self, embedded: LocalStack, table: Any, new_session: NewSession) -> None:
        self.sfn, self.table, self.new_session = embedded.client("stepfunctions"), table, new_session
        self.machine = new_state_machine(embedded, QueryLanguage="JSONata", StartAt="Wait", States=STATES)
        self.execution_arn = self.sfn.start_execution(stateMachineArn=self.machine)["executionArn"]
        until(lambda: len(self.sfn.get_execution_history(executionArn=self.execution_arn)["events"]) > 1)
        self.deployment = Deployment(embedded.session())
        vars(self.deployment)["outputs"] = {Output.TABLE: table.name, Output.STATE_MACHINE: self.machine}
        self.calls: list[str] = []
        events = self.deployment.stepfunctions.meta.events
        events.register("before-call.sfn", lambda model, **_: self.calls.append(model.name))
        self.now = 0.0
        self.plan: dict[float, Callable[[], object]] = {}

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for moment in [moment for moment in self.plan if moment <= self.now]:
            self.plan.pop(moment)()

    def stop(self) -> None:
        self.sfn.stop_execution(executionArn=self.execution_arn, error="Costly", cause="enough")

    def wait_anew(self, session_id: str) -> None:
        """Store a token, as the workflow does when it begins to wait."""
        set_token = {"UpdateExpression": "SET task_token = :token"}
        values = {":token": uuid.uuid4().hex}
        self.table.update_item(Key={"PK": session_id, "SK": "SESSION"}, **set_token, ExpressionAttributeValues=values)


@pytest.fixture
def world(
    embedded: LocalStack, table: Any, new_session: NewSession, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    world = World(embedded, table, new_session)
    monkeypatch.setattr(watching, "time", world)
    yield world
    if world.sfn.describe_execution(executionArn=world.execution_arn)["status"] == "RUNNING":
        world.stop()


def texts(moments: list[object]) -> list[str]:
    return [moment.text for moment in moments if isinstance(moment, SessionEvent)]


def test_watcher_asks_step_functions_rarely_in_a_long_session(world: World, journal: Journal) -> None:
    session_id = world.new_session(Status.BUSY, execution_arn=world.execution_arn)
    hours, looks = 3600, 4
    for number in range(1, looks + 1):
        world.plan[number * hours / (looks + 1)] = lambda: world.wait_anew(session_id)
    world.plan[hours] = lambda: (journal.fail(session_id, Failure("Done", "")), world.stop())
    *moments, outcome = watch(world.deployment, session_id, poll_seconds=15)
    assert set(world.calls) == {"GetExecutionHistory"}
    # One every minute, and a few more after each look of the workflow.
    assert looks < len(world.calls) <= hours / MAX_ASK_SECONDS + 5 * looks
    assert texts(moments) == ["INITIATED", "BUSY", "Wait", "FAILED"]
    assert isinstance(outcome, SessionOutcome)
    assert (outcome.completed, outcome.code, outcome.message) == (False, "Done", "")


def test_watcher_asks_at_once_when_the_record_shows_a_workflow_step(world: World, journal: Journal) -> None:
    session_id = world.new_session(Status.INITIATED, execution_arn=world.execution_arn)
    world.plan = {
        1: lambda: world.wait_anew(session_id),
        2: lambda: journal.mark_busy(session_id),
        3: lambda: (journal.complete(session_id, "s3://report"), world.stop()),
    }
    asked: list[float] = []
    world.deployment.stepfunctions.meta.events.register("before-call.sfn", lambda **_: asked.append(world.now))
    list(watch(world.deployment, session_id, poll_seconds=1))
    assert asked == [0, 1, 2, 3]


def test_a_stopped_execution_is_noticed_without_a_change_of_the_record(world: World) -> None:
    session_id = world.new_session(Status.BUSY, execution_arn=world.execution_arn)
    world.plan = {1: world.stop}
    *_, outcome = watch(world.deployment, session_id, poll_seconds=1)
    assert isinstance(outcome, SessionOutcome)
    assert outcome.code == "WorkflowEnded"
    assert outcome.message == "its workflow ended without it: ABORTED, Costly: enough"
    assert world.now <= ASK_SECONDS + 1


def test_last_activity_before_the_workflow_ended_is_shown(world: World, journal: Journal) -> None:
    session_id = world.new_session(Status.BUSY, execution_arn=world.execution_arn)

    def end(**_: object) -> None:
        # Between the read of the table and that of the history.
        journal.complete(session_id, "s3://report")
        world.stop()

    world.deployment.stepfunctions.meta.events.register_first("before-call.sfn", end)
    *moments, outcome = watch(world.deployment, session_id)
    assert texts(moments) == ["INITIATED", "BUSY", "COMPLETED", "Wait"]
    assert isinstance(outcome, SessionOutcome)


def test_every_past_status_is_shown_with_its_start(world: World, journal: Journal) -> None:
    session_id = world.new_session(Status.INITIATED, execution_arn=world.execution_arn)
    journal.mark_busy(session_id)
    journal.complete(session_id, "s3://report")
    world.stop()
    *moments, _ = watch(world.deployment, session_id)
    session = journal.get(session_id)
    begun = {"INITIATED": session.start_time, "BUSY": session.busy_at, "COMPLETED": session.ended_at}
    shown = {moment.text: iso(moment.at) for moment in moments if isinstance(moment, SessionEvent)}
    assert {name: at for name, at in shown.items() if name in begun} == begun


def test_writes_after_the_end_do_not_hide_it_but_a_redrive_does(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both as one history, since the embedded AWS writes the first now and then, and the second never."""
    told = [
        ("ExecutionStarted", {}),
        ("ExecutionFailed", {"executionFailedEventDetails": {"error": "First"}}),
        ("ExecutionRedriven", {}),
        ("ExecutionAborted", {"executionAbortedEventDetails": {"error": "Second"}}),
        ("WaitStateExited", {}),
    ]
    now = datetime.now(UTC)
    events = [{"id": number, "type": kind, "timestamp": now, **more} for number, (kind, more) in enumerate(told, 1)]
    history = watching._History(world.deployment, world.execution_arn)
    for known, ended in {1: False, 2: True, 3: False, 4: True, 5: True}.items():
        pages = SimpleNamespace(paginate=lambda known=known, **_: [{"events": events[:known][::-1]}])
        monkeypatch.setattr(world.deployment.stepfunctions, "get_paginator", lambda name, pages=pages: pages)
        history.read()
        assert history.ended == ended
    assert history.end["error"] == "Second"


def test_a_workflow_that_outlives_its_session_is_polled_less_and_less(world: World, journal: Journal) -> None:
    session_id = world.new_session(Status.BUSY, execution_arn=world.execution_arn)
    journal.fail(session_id, Failure("Done", ""))
    world.plan = {20: world.stop}
    await_end(world.deployment, session_id)
    assert 5 < len(world.calls) < 20
    assert world.now < 30


@pytest.mark.parametrize("most", [8, 1000])
def test_each_step_is_told_once_and_announced_if_it_runs_at_two_reads(
    world: World, journal: Journal, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    for module in ("step", "journal_reader"):
        monkeypatch.setattr(f"vigil.{module}.MAX_STEPS", most)

    @settings(max_examples=7, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.sampled_from(["begin", "end", "read"]), min_size=20, max_size=50), st.booleans())
    def check(todo: list[str], well: bool) -> None:
        session_id = world.new_session(Status.BUSY, worker="mine")
        record = watching._Record(world.deployment, session_id)
        told: list[str] = []
        running: dict[int, int] = {}  # how many reads saw the step, by number
        expected: list[str] = []
        count = unread = 0

        def read() -> None:
            told.extend(event.text for event in record.read() if event.kind == "tool")
            for number in running:
                running[number] += 1
                expected.extend([f"{number} …"] if running[number] == 2 else [])

        def write(number: int, **more: str) -> None:
            step = Step(number, "execute_tool", str(number), "agent", "2026-01-01T00:00:01.000Z", **more)
            journal.write_steps(session_id, [step], StepsSoFar(count, 0))

        for what in [*todo, "read"]:
            if what == "read" or (what == "begin" and unread == 2):
                read()
                unread = 0
            if what == "begin" and len(running) < 2:
                count, unread = count + 1, unread + 1
                running[count] = 0
                write(count)
            elif what == "end" and running:
                number = min(running)
                del running[number]
                expected.append(f"{number} 1.0 s")
                write(number, state="COMPLETED", ended_at="2026-01-01T00:00:02.000Z")
        (journal.complete(session_id, "s3://x") if well else journal.fail(session_id, Failure("Any", "any")))
        told.extend(event.text.split(" ")[0] for event in record.read() if event.kind == "tool")
        assert sorted(told) == sorted([*expected, *map(str, running)])

    check()


def without_it(how: str) -> tuple[object, ...]:
    return False, "WorkflowEnded", f"its workflow ended without it: {how}"


@pytest.mark.parametrize(
    ("execution", "record", "end"),
    [
        ({"status": "SUCCEEDED"}, {"status": "COMPLETED"}, (True, None, None)),
        ({"status": "ABORTED"}, {"status": "COMPLETED"}, (True, None, None)),
        ({"status": "FAILED", "error": "Mine", "cause": "a"}, {"status": "FAILED"}, (False, "Mine", "a")),
        ({"status": "ABORTED"}, {"status": "FAILED", "error": {"code": "B", "message": "b"}}, (False, "B", "b")),
        ({"status": "ABORTED", "error": "Mine", "cause": "a"}, {"status": "BUSY"}, without_it("ABORTED, Mine: a")),
        ({"status": "TIMED_OUT"}, None, without_it("TIMED_OUT")),
    ],
)
def test_a_session_ended_as_its_record_says_or_will_say(
    execution: dict[str, str], record: dict[str, object] | None, end: tuple[object, ...]
) -> None:
    assert final_outcome(execution, Session.from_item(record) if record else None) == end

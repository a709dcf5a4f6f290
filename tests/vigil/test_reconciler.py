"""The reconciler against real executions: whose session it closes, and whose it leaves alone."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from tests.support import new_state_machine, until
from vigil import reconciler
from vigil.attributes import iso
from vigil.errors import AwsUnavailable
from vigil.journal import Journal
from vigil.local.stack import LocalStack
from vigil.names import Env
from vigil.reconciler import CLOSING_SECONDS, STOPPING_SECONDS, STOPS_AT_ONCE, Reconciler, handler
from vigil.session import Failure, Status

NewSession = Callable[..., str]


def queued(*messages: object) -> dict[str, Any]:
    """What the function is called with for messages of its queue."""
    return {"Records": [{"body": json.dumps(message)} for message in messages]}


SCHEDULED = {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}
SCHEDULE = queued(SCHEDULED)

ENDS = {"fails": "Fail", "succeeds": "Succeed"}
CHOICES = [{"Condition": f"{{% $states.input.how = '{how}' %}}", "Next": state} for how, state in ENDS.items()]
STATES = {
    "How": {"Type": "Choice", "Choices": CHOICES, "Default": "Wait"},
    "Wait": {"Type": "Wait", "Seconds": 600, "Next": "Succeed"},
    "Succeed": {"Type": "Succeed"},
    "Fail": {"Type": "Fail", "Error": "Broken", "Cause": "so it is"},
}


HOW = {
    "aborts": "ABORTED, Costly: enough is enough",
    "fails": "FAILED, Broken: so it is",
    "succeeds": "SUCCEEDED",
    "gone": "it is gone",
}


@pytest.fixture(scope="module")
def executions(embedded: LocalStack, table: Any) -> Iterator[dict[str, str]]:
    """The ARNs of executions by what has become of each; none does anything for its session."""
    sfn = embedded.client("stepfunctions")
    machine = new_state_machine(embedded, QueryLanguage="JSONata", StartAt="How", States=STATES)
    started = {
        how: sfn.start_execution(stateMachineArn=machine, input=json.dumps({"how": how}))["executionArn"]
        for how in ("runs", "aborts", "fails", "succeeds")
    }
    sfn.stop_execution(executionArn=started["aborts"], error="Costly", cause="enough is enough")
    for how in ("fails", "succeeds"):
        until(lambda arn=started[how]: sfn.describe_execution(executionArn=arn)["status"] != "RUNNING")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            **embedded.environment(),
            Env.TABLE: table.name,
            Env.STATE_MACHINE_ARN: machine,
            Env.AGENT_RUNTIME_ARN: "arn:aws:bedrock-agentcore:us-east-1:000000000000:runtime/gone",
        }.items():
            patch.setenv(name, value)
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        reconciler._reconciler.cache_clear()
        yield {**started, "gone": machine.replace(":stateMachine:", ":execution:") + ":gone"}
        reconciler._reconciler.cache_clear()
    sfn.stop_execution(executionArn=started["runs"])


def ended(session_id: object, execution_arn: str, **more: object) -> dict[str, Any]:
    """The event of the execution's end, as far as it is read."""
    given = json.dumps({"session_id": session_id})
    return {"source": "aws.states", "detail": {"executionArn": execution_arn, "input": given, **more}}


def event(session_id: object, execution_arn: str, **more: object) -> dict[str, Any]:
    """The call for that event alone."""
    return queued(ended(session_id, execution_arn, **more))


@contextmanager
def calls_of_step_functions() -> Iterator[list[str]]:
    """The names of the operations of Step Functions that the function calls."""
    calls: list[str] = []

    def note(model: Any, **_: Any) -> None:
        calls.append(model.name)

    events = reconciler._reconciler().workflows.meta.events
    events.register("before-call.sfn", note)
    try:
        yield calls
    finally:
        events.unregister("before-call.sfn", note)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("status", [Status.INITIATED, Status.BUSY])
def test_session_of_an_ended_execution_is_closed_with_its_outcome(
    executions: dict[str, str], journal: Journal, new_session: NewSession, status: Status, how: str
) -> None:
    session_id = new_session(status, execution_arn=executions[how])
    told = event(session_id, executions[how])
    assert handler(told, None) == {"closed": [session_id]}
    session = journal.get(session_id)
    failure = Failure("WorkflowEnded", f"its workflow ended without it: {HOW[how]}")
    assert (session.status, session.error) == (Status.FAILED, failure)
    assert handler(told, None) == {"closed": []}


def test_failed_execution_without_a_record_gets_a_closed_one(executions: dict[str, str], journal: Journal) -> None:
    session_id = str(uuid.uuid4())
    assert handler(event(session_id, executions["fails"]), None) == {"closed": [session_id]}
    session = journal.get(session_id)
    assert (session.status, session.execution_arn) == (Status.FAILED, executions["fails"])


@pytest.mark.parametrize(
    ("status", "begun_by", "told_of"),
    [
        # Whatever an event says that is late: the execution may have been redriven since.
        pytest.param(Status.BUSY, "runs", "runs", id="running"),
        pytest.param(Status.BUSY, "runs", "fails", id="of-a-duplicate-event"),
        pytest.param(Status.COMPLETED, "fails", "fails", id="completed"),
        pytest.param(Status.FAILED, "fails", "fails", id="failed"),
    ],
)
def test_any_other_session_is_left_alone(
    executions: dict[str, str], journal: Journal, new_session: NewSession, status: Status, begun_by: str, told_of: str
) -> None:
    session_id = new_session(status, execution_arn=executions[begun_by])
    before = journal.get(session_id)
    assert handler(event(session_id, executions[told_of], status="ABORTED"), None) == {"closed": []}
    assert journal.get(session_id) == before


def test_ended_sessions_and_duplicate_events_need_no_call(executions: dict[str, str], new_session: NewSession) -> None:
    told = [
        *(ended(new_session(Status.FAILED, execution_arn=executions["fails"]), executions["fails"]) for _ in range(20)),
        ended(new_session(Status.COMPLETED, execution_arn=executions["aborts"]), executions["aborts"]),
        ended(new_session(Status.BUSY, execution_arn=executions["runs"]), executions["fails"]),
    ]
    with calls_of_step_functions() as calls:
        assert handler(queued(*told), None) == {"closed": []}
    assert calls == []


def test_one_call_closes_sessions_and_skips_bad_messages(executions: dict[str, str], new_session: NewSession) -> None:
    sessions = [new_session(Status.BUSY, execution_arn=executions["fails"]) for _ in range(3)]
    messages = queued(*(ended(session_id, executions["fails"]) for session_id in sessions))["Records"]
    with calls_of_step_functions() as calls:
        closed = handler({"Records": [messages[0], {"body": "no JSON"}, *messages[1:]]}, None)["closed"]
    assert closed[:3] == sessions
    assert calls[:3] == ["DescribeExecution"] * 3


TOO_LARGE = queued({"source": "aws.states", "detail": {"executionArn": "arn", "input": None, "inputDetails": {}}})


def test_a_sweep_asks_for_no_session_whose_execution_runs(
    executions: dict[str, str], new_session: NewSession, journal: Journal
) -> None:
    handler(SCHEDULE, None)
    sessions = [new_session(Status.BUSY, execution_arn=executions["runs"]) for _ in range(30)]
    with calls_of_step_functions() as calls:
        assert handler(queued(SCHEDULED, SCHEDULED), None) == {"closed": []}
    assert calls == ["ListExecutions"]
    assert {journal.get(session_id).status for session_id in sessions} == {Status.BUSY}
    for session_id in sessions:
        journal.fail(session_id, Failure("Done", ""))


def test_a_sweep_spares_a_running_execution_that_the_list_lacks(
    executions: dict[str, str], new_session: NewSession, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler(SCHEDULE, None)
    session_id = new_session(Status.BUSY, execution_arn=executions["runs"])
    # An empty page, as a list gives that is late.
    pages = SimpleNamespace(paginate=lambda **_: [{"executions": []}])
    monkeypatch.setattr(reconciler._reconciler().workflows, "get_paginator", lambda name: pages)
    assert handler(SCHEDULE, None) == {"closed": []}
    assert journal.get(session_id).status == Status.BUSY
    journal.fail(session_id, Failure("Done", ""))


def test_sweep_skips_a_young_session_and_an_event_does_not(executions: dict[str, str], new_session: NewSession) -> None:
    handler(SCHEDULE, None)
    now = iso(datetime.now(UTC))
    sessions = [new_session(Status.INITIATED, start_time=now, execution_arn=executions[how]) for how in HOW]
    assert handler(SCHEDULE, None) == {"closed": []}
    told = [ended(session_id, executions[how]) for session_id, how in zip(sessions, HOW, strict=True)]
    assert handler(queued(*told), None) == {"closed": sessions}


@pytest.mark.parametrize("swept_by", [SCHEDULE, TOO_LARGE], ids=["schedule", "input-too-large"])
def test_an_event_without_a_session_starts_a_sweep(
    executions: dict[str, str], new_session: NewSession, swept_by: dict[str, Any]
) -> None:
    handler(SCHEDULE, None)
    closed = {
        new_session(Status.INITIATED, execution_arn=executions["aborts"]),
        new_session(Status.BUSY, execution_arn=executions["fails"]),
    }
    for status, how in ((Status.BUSY, "runs"), (Status.COMPLETED, "succeeds")):
        new_session(status, execution_arn=executions[how])
    # A session without a known execution.
    new_session(Status.BUSY)
    assert set(handler(swept_by, None)["closed"]) == closed
    assert handler(SCHEDULE, None) == {"closed": []}


def test_an_error_of_one_session_does_not_keep_the_others_open(
    executions: dict[str, str], new_session: NewSession, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Reconciler._final_state

    def ask_or_fail(self: Reconciler, execution_arn: str) -> str | None:
        if execution_arn == "forbidden":
            raise AwsUnavailable("forbidden")
        return ask(self, execution_arn)

    monkeypatch.setattr(Reconciler, "_final_state", ask_or_fail)
    sessions = [new_session(Status.BUSY, execution_arn=arn) for arn in (executions["fails"], "forbidden") * 3]
    with pytest.raises(AwsUnavailable, match="forbidden"):
        handler(SCHEDULE, None)
    assert [journal.get(session_id).status for session_id in sessions] == [Status.FAILED, Status.BUSY] * 3
    for session_id in sessions[1::2]:
        journal.fail(session_id, Failure("Done", ""))


ANOTHER = "arn:aws:states:us-east-1:000000000000:execution:another:one"


class Agents:
    """AgentCore's client, which takes its time: ``stop`` hears each call."""

    def __init__(self, stop: Callable[[str], None]) -> None:
        self._stop = stop

    def stop_runtime_session(self, *, runtimeSessionId: str, **_: str) -> None:
        self._stop(runtimeSessionId)


def reconciler_of(journal: Journal, stop: Callable[[str], None], clock: Callable[[], float] = lambda: 0) -> Reconciler:
    """The reconciler as its function makes it, but for AgentCore and its clock."""
    agents: Any = Agents(stop)
    return replace(reconciler._reconciler(), journal=journal, agents=agents, clock=clock)


def test_agents_are_stopped_together_when_all_records_are_closed(
    executions: dict[str, str], new_session: NewSession, journal: Journal
) -> None:
    sessions = [new_session(Status.BUSY, execution_arn=executions["fails"]) for _ in range(STOPS_AT_ONCE)]
    together = Barrier(STOPS_AT_ONCE, timeout=60)
    found: list[str] = []

    def stop(session_id: str) -> None:
        together.wait()
        found.extend(journal.get(other).status for other in sessions[:1] + sessions[-1:])

    told = [(session_id, executions["fails"]) for session_id in sessions]
    assert reconciler_of(journal, stop).close(told) == sessions
    assert set(found) == {Status.FAILED}


def test_a_sweep_that_runs_out_of_time_leaves_the_rest_to_the_next(
    executions: dict[str, str], new_session: NewSession, journal: Journal
) -> None:
    sessions = [new_session(Status.BUSY, execution_arn=executions["fails"]) for _ in range(4)]
    told = [(session_id, executions["fails"]) for session_id in sessions]
    # Read when it begins, before each session, and before each agent is stopped.
    times = iter([0, 1, CLOSING_SECONDS, CLOSING_SECONDS + 1, STOPPING_SECONDS, STOPPING_SECONDS + 1])
    stopped: list[str] = []
    assert reconciler_of(journal, stopped.append, lambda: next(times)).close(told) == sessions[:2]
    assert len(stopped) == 1
    assert [journal.get(session_id).status for session_id in sessions] == [Status.FAILED] * 2 + [Status.BUSY] * 2
    # Others may be left from elsewhere.
    assert set(reconciler_of(journal, stopped.append).close([], sweep=True)) >= set(sessions[2:])


NO_EXECUTION = ("x", "\x1b[2J", "x" * 10_000, "arn:aws:s3:::bucket", ANOTHER)


def test_malformed_records_do_not_stop_the_closing_of_others(
    executions: dict[str, str], new_session: NewSession, journal: Journal, table: Any
) -> None:
    handler(SCHEDULE, None)
    broken: dict[str, Any] = {"progress": b"\x00", "any": Decimal("1E125"), "error": "boom", "usage": ["x"]}
    broken |= {"expires_at": "never", "task_token": 7, "worker": []}
    keys = ["x", "#" * 40, "\x1b]0;x\x07"]
    for key in keys:
        item = {"PK": key, "SK": "SESSION", "status": "BUSY", "start_time": "0", "execution_arn": executions["fails"]}
        table.put_item(Item=item)
    # What is not text names no execution, like none.
    stay = [new_session(Status.BUSY, **broken, execution_arn=value) for value in (7, [], {"x": "y"}, True, b"x")]
    closed = [new_session(Status.BUSY, start_time="0", **broken, execution_arn=value) for value in NO_EXECUTION]
    closed += [new_session(Status.INITIATED, start_time="9", **broken, execution_arn=executions["fails"])]
    assert set(handler(SCHEDULE, None)["closed"]) >= set(closed)
    assert {journal.get(session_id).status for session_id in closed} == {Status.FAILED}
    record = journal.get(closed[0])
    assert record.error is not None
    assert record.error.message == "its workflow ended without it: its record names no execution of it"
    assert len(journal.recent(100)) == 100 or {*closed, *stay, *keys} <= {s.session_id for s in journal.recent(100)}
    for session_id in stay:
        journal.fail(session_id, Failure("Done", ""))
    for key in keys:
        table.delete_item(Key={"PK": key, "SK": "SESSION"})


def test_an_event_that_is_nested_too_deeply_starts_a_sweep(executions: dict[str, str], new_session: NewSession) -> None:
    session_id = new_session(Status.BUSY, execution_arn=executions["fails"])
    given = f'{{"session_id": "{session_id}", "detail": {"[" * 100_000}'
    # Others that no workflow runs may be left from elsewhere.
    assert session_id in handler(event(None, executions["fails"], input=given), None)["closed"]


@pytest.mark.parametrize("given", ["no JSON", "[]", "{}", '"text"', '{"session_id": "short"}', '{"session_id": 7}'])
def test_execution_without_session_closes_none(executions: dict[str, str], new_session: NewSession, given: str) -> None:
    new_session(Status.BUSY, execution_arn=executions["fails"])
    assert handler(event(None, executions["fails"], input=given), None) == {"closed": []}

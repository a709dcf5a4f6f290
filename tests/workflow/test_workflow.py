"""The state machine, run as deployed: from its first write to its last look at the table."""

import json
import os
import random
import re
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

import pytest

from tests.conftest import MAX_SESSION_SECONDS
from tests.support import Workflow, ended, is_alive, let_go, parent_of, reconcile, until
from tests.workflow.middle import FIRST, HELLO, Middle
from vigil.attributes import iso
from vigil.deployment import Deployment
from vigil.journal import wake
from vigil.local.stack import LocalStack
from vigil.names import Env, Output
from vigil.session import NO_CHECKPOINT, SESSION_ID_PATTERN, Failure, Session, Status
from vigil.settings import LAST_ATTEMPT, MAX_ATTEMPTS

WAITS = {"agent": "waits"}
Long = dict[str, tuple[str, str]]
WAIT_FOR_CHANGE = "arn:aws:states:::aws-sdk:dynamodb:updateItem.waitForTaskToken"
STOP_AGENT = "arn:aws:states:::aws-sdk:bedrockagentcore:stopRuntimeSession"


def process_of(deployment: Deployment, session_id: str) -> int:
    """Return the process of the agent, once it works."""
    artifacts = deployment.artifacts(session_id)
    until(lambda: artifacts.exists("pid"))
    return int(artifacts.read("pid"))


def is_busy(workflow: Workflow, session_id: str) -> Any:
    return lambda: (session := workflow.session(session_id)) and session.status == Status.BUSY


def record(workflow: Workflow, session_id: str) -> dict[str, Any]:
    return dict(workflow.table.get_item(Key=workflow.key(session_id), ConsistentRead=True)["Item"])


def events(workflow: Workflow, arn: str, kind: str) -> list[Any]:
    """Return the details of the execution's events of the type ``kind``."""
    pages = workflow.sfn.get_paginator("get_execution_history").paginate(executionArn=arn)
    details = f"{kind[0].lower()}{kind[1:]}EventDetails"
    return [event[details] for page in pages for event in page["events"] if event["type"] == kind]


def succeeded(workflow: Workflow, arn: str) -> list[str]:
    """Return the resources of the tasks that succeeded."""
    return [event["resource"] for event in events(workflow, arn, "TaskSucceeded")]


def failed(workflow: Workflow, arn: str, session_id: str) -> Failure:
    """Wait for the end of an execution, which must be that its session failed, and return why it did."""
    execution, session = workflow.ended(arn), workflow.session(session_id)
    assert session is not None
    assert session.error is not None
    assert (execution["status"], session.status) == ("FAILED", Status.FAILED)
    assert execution["error"] == session.error.code
    # The message names the session exactly once, whichever part wrote it.
    about = f"session {session_id}: "
    assert execution["cause"] == about + session.error.message.removeprefix(about)
    return session.error


@pytest.fixture(scope="module")
def long(workflow: Workflow, deployment: Deployment) -> Iterator[Long]:
    """Sessions whose ends take their time, as (session id, execution ARN): they pass while other tests run."""
    started = {}
    for name, detail in {"watched": WAITS, "gone": WAITS, "late": {**WAITS, "deadline_seconds": 15}}.items():
        started[name] = workflow.start(detail=detail)
        # One after another, so that all are served by one instance of the Lambda function.
        process_of(deployment, started[name][0])
    workflow.table.delete_item(Key=workflow.key(started["gone"][0]))
    yield started
    # Those whose test did not run.
    for _, arn in started.values():
        if workflow.sfn.describe_execution(executionArn=arn)["status"] == "RUNNING":
            workflow.sfn.stop_execution(executionArn=arn)


@pytest.mark.criterion("3.1", "3.2", "3.3", "3.4", "3.5", "4.1", "4.3", "4.5")
def test_session_is_recorded_before_its_agent_is_invoked_and_then_watched(
    workflow: Workflow, stack: LocalStack, long: Long
) -> None:
    awslambda, name = stack.client("lambda"), stack.outputs[Output.INVOKER]
    # While the function is throttled, the agent cannot be invoked.
    awslambda.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        session_id, arn = workflow.start(detail=HELLO)
        refused = until(lambda: events(workflow, arn, "TaskFailed"))
        item = record(workflow, session_id)
    finally:
        awslambda.delete_function_concurrency(FunctionName=name)
    assert refused[0]["error"] == "Lambda.TooManyRequestsException"
    # It waits in line, by now or soon.
    item.pop("task_token", None)
    assert item.pop("waiting_for", refused[0]["error"]).startswith(refused[0]["error"])
    assert item.pop("expires_at") > 1_790_000_000
    start, deadline = (datetime.fromisoformat(item[key]) for key in ("start_time", "deadline_at"))
    assert start.tzinfo == UTC
    assert deadline - start == timedelta(seconds=MAX_SESSION_SECONDS)
    assert item["start_time"] <= item["created_at"] == item["updated_at"]
    assert item == {
        **workflow.key(session_id),
        "status": Status.INITIATED,
        "execution_arn": arn,
        "detail": json.dumps(HELLO, separators=(",", ":")),
        **{key: item[key] for key in ("start_time", "created_at", "updated_at", "deadline_at")},
    }
    assert workflow.ended(arn)["status"] == "SUCCEEDED"
    states = workflow.states(arn)
    assert states[:4] == ["InitializeSession", "InvokeAgent", "CheckLine", "RouteByTurn"]
    assert {"WaitForChange", "CheckStatus", "RouteByStatus"} <= set(states[4:])
    assert states[-4:] == ["RouteByStatus", "StopAgent", "CheckOutcome", "SessionCompleted"]


def test_the_agent_wakes_the_workflow_when_it_ends_the_session(workflow: Workflow, deployment: Deployment) -> None:
    def was_woken() -> bool:
        session_id, arn = workflow.start(detail=WAITS)
        until(lambda: "WaitForChange" in workflow.states(arn))
        process_of(deployment, session_id)
        let_go(workflow.table, session_id)
        assert workflow.ended(arn)["status"] == "SUCCEEDED"
        return WAIT_FOR_CHANGE in succeeded(workflow, arn)

    # Now and then a workflow happens to look by itself just then.
    assert any(was_woken() for _ in range(3))


@pytest.mark.criterion("5.4", "4.4")
@pytest.mark.parametrize(
    ("agent", "code", "said"),
    [
        ("says_failed", "AgentFailed", "nothing to look at"),
        # What other agents end with, tests of the runtime show.
        ("killed", "AgentCrashed", "signal SIGKILL"),
    ],
)
def test_a_session_that_failed_fails_its_execution_with_the_same_cause(
    workflow: Workflow, agent: str, code: str, said: str
) -> None:
    session_id, arn = workflow.start(detail={"agent": agent})
    error = failed(workflow, arn, session_id)
    assert error.code == code
    assert said in error.message


def test_agent_that_outlives_its_session_is_stopped(workflow: Workflow, deployment: Deployment) -> None:
    session_id, arn = workflow.start(detail={"agent": "completes_and_stays"})
    execution, session = workflow.ended(arn), workflow.session(session_id)
    assert session is not None
    assert (execution["status"], session.status, session.error) == ("SUCCEEDED", Status.COMPLETED, None)
    assert STOP_AGENT in succeeded(workflow, arn)
    until(lambda: not is_alive(process_of(deployment, session_id)))


@pytest.mark.criterion("5.5")
def test_missing_record_is_checked_again(workflow: Workflow, deployment: Deployment) -> None:
    session_id, arn = workflow.start(detail=WAITS)
    process_of(deployment, session_id)
    token = until(lambda: record(workflow, session_id).get("task_token"))
    workflow.table.delete_item(Key=workflow.key(session_id))
    wake(lambda: workflow.sfn, token)
    until(lambda: "WaitBeforeRetry" in workflow.states(arn))
    workflow.table.put_item(Item={**workflow.key(session_id), "status": Status.COMPLETED})
    assert workflow.ended(arn)["status"] == "SUCCEEDED"
    assert workflow.states(arn)[-6:-3] == ["WaitBeforeRetry", "CheckStatus", "RouteByStatus"]


UNKNOWN_STATUS = Failure("UnknownStatus", "the session record has a status that Vigil does not know")


def test_an_unknown_status_fails_the_session(workflow: Workflow, deployment: Deployment) -> None:
    session_id, arn = workflow.start(detail=WAITS)
    process = process_of(deployment, session_id)
    token = until(lambda: record(workflow, session_id).get("task_token"))
    change: dict[str, Any] = {"UpdateExpression": "REMOVE #status", "ExpressionAttributeNames": {"#status": "status"}}
    workflow.table.update_item(Key=workflow.key(session_id), **change)
    wake(lambda: workflow.sfn, token)
    assert failed(workflow, arn, session_id) == UNKNOWN_STATUS
    until(lambda: not is_alive(process))


def test_duplicate_fails_its_own_execution_only(workflow: Workflow, deployment: Deployment, stack: LocalStack) -> None:
    session_id, arn = workflow.start(detail=WAITS)
    process = process_of(deployment, session_id)
    until(lambda: "task_token" in record(workflow, session_id))
    before = record(workflow, session_id)
    duplicate, _ = workflow.run(session_id, detail=HELLO)
    assert (duplicate["status"], duplicate["error"]) == ("FAILED", "DuplicateSession")
    # Told that an execution for the session has ended.
    detail = {"executionArn": duplicate["executionArn"], "input": duplicate["input"]}
    assert reconcile(stack, {"detail": detail})["closed"] == []
    now = record(workflow, session_id)
    assert now.pop("heartbeat_at") >= before.pop("heartbeat_at")
    assert {**now, "task_token": ""} == {**before, "task_token": ""}
    assert is_alive(process)
    let_go(workflow.table, session_id)
    assert workflow.ended(arn)["status"] == "SUCCEEDED"


def test_aborted_workflow_closes_its_session_and_stops_its_agent(workflow: Workflow, deployment: Deployment) -> None:
    session_id, arn = workflow.start(detail=WAITS)
    process = process_of(deployment, session_id)
    workflow.sfn.stop_execution(executionArn=arn, error="Costly", cause="enough is enough")
    session = ended(workflow, session_id)
    assert (session.status, session.error) == (
        Status.FAILED,
        Failure("WorkflowEnded", "its workflow ended without it: ABORTED, Costly: enough is enough"),
    )
    until(lambda: not is_alive(process))


NO_IDS: list[object] = [
    *("", "a" * 32, "a" * 101, "a" * 40 + "/b", "a" * 40 + "#", "x" * 40 + "\n"),
    *(7, {"a": 1}, ["x"], ["a" * 40], None),
    # Ids that a cause cannot repeat: half of a surrogate pair, and more characters than a cause may hold.
    "x" * 40 + "\ud800",
    "x" * 150_000,
]


def nested(levels: int, opening: str = "[", closing: str = "]") -> str:
    """Return JSON that is so deep, from text: neither Python nor anybody else writes it."""
    return opening * levels + "1" + closing * levels


def test_invalid_id_is_refused_before_anything_is_written(workflow: Workflow) -> None:
    def sessions() -> set[str]:
        return {item["PK"] for item in workflow.table.scan(ProjectionExpression="PK")["Items"]}

    before = sessions()

    def refused(given: str) -> None:
        execution = workflow.ended(workflow.begin(given))
        assert (execution["status"], execution["error"]) == ("FAILED", "InvalidSessionId"), given[:200]
        said = r"session [!-~]{0,100}: session_id must be 33 to 100 letters, digits or '-'"
        assert re.fullmatch(said, execution["cause"])

    ids = [*map(json.dumps, NO_IDS), nested(3_000), f'"good", "detail": {nested(5_000)}, "session_id": "bad"']
    inputs = ["null", "[]", "7", '"text"', "{}", *(f'{{"session_id": {bad}}}' for bad in ids)]
    # Two at a time: each end starts an instance of the reconciler.
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(refused, inputs))
    # Sessions of other tests on this stack may begin meanwhile: their ids are valid.
    assert all(re.fullmatch(SESSION_ID_PATTERN, begun) for begun in sessions() - before)


A_DEADLINE = f"deadline_seconds must be a whole number from 1 to {MAX_SESSION_SECONDS}, not"
BAD_DETAILS: list[tuple[object, str]] = [
    ([{"deadline_seconds": 5}], "detail must be a JSON object, not list"),
    ("text", "detail must be a JSON object, not str"),
    ({"functions": "x" * 200_000}, "at most 65536 are allowed"),
    ({"deadline_seconds": 0}, f"{A_DEADLINE} 0"),
    ({"deadline_seconds": "60"}, f"{A_DEADLINE} '60'"),
    ({"deadline_seconds": 1.5}, f"{A_DEADLINE} 1.5"),
    ({"deadline_seconds": True}, f"{A_DEADLINE} True"),
    ({"deadline_seconds": MAX_SESSION_SECONDS + 1}, f"{A_DEADLINE} {MAX_SESSION_SECONDS + 1}"),
]


def test_invalid_detail_fails_the_session_with_the_reason(workflow: Workflow) -> None:
    def refused(detail: object, said: str) -> None:
        session_id, arn = workflow.start(detail=detail)
        error = failed(workflow, arn, session_id)
        assert error.code == "InvalidDetail", detail
        assert said in error.message
        # What is wrong now will be wrong again.
        refusals = [event for event in events(workflow, arn, "TaskFailed") if event["error"] == "InvalidDetail"]
        assert len(refusals) <= 1, detail

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda bad: refused(*bad), BAD_DETAILS))


NOT_STARTED = "InvalidExecutionInput"
DEEP = {"InvalidDetail", NOT_STARTED}
"""Accepted outcomes of a detail too deep for some parser on its way; AWS has other parsers than the local stack."""
GREETS = '"agent": "hello_agent"'
ODD_DETAILS: dict[str, set[str]] = {
    f'{{{GREETS}, "x": {nested(198)}}}': {"SUCCEEDED"},
    f'{{{GREETS}, "x": {nested(199)}}}': {"InvalidDetail"},
    **{f'{{"x": {nested(levels)}}}': DEEP for levels in (1_000, 3_000, 5_000, 9_000, 9_900, 10_000, 100_000)},
    **{nested(levels, '{"x": ', "}"): DEEP for levels in (1_000, 5_000, 10_000)},
    f'{{"deadline_seconds": {nested(5_000)}}}': DEEP,
    nested(5_000): DEEP,
    f'{{{GREETS}, "x": [{"1, " * 20_000} 1]}}': {"SUCCEEDED"},
    f'{{"x": [{"1, " * 80_000} 1]}}': {"InvalidDetail"},
    **{f'{{"x": {token}}}': {NOT_STARTED} for token in ("NaN", "Infinity", "-Infinity", "9" * 5_000)},
    # JSON, and no number of a double's.
    **{f'{{"{name}": {sign}1e400}}': {"InvalidDetail"} for name in ("x", "deadline_seconds") for sign in ("", "-")},
    f'{{"deadline_seconds": {"9" * 400}}}': {"InvalidDetail"},
    f'{{{GREETS}, "x": {"9" * 400}}}': {"SUCCEEDED"},
    r'{"x": "\ud800"}': {"InvalidDetail"},
    r'{"\udc00": 1}': {"InvalidDetail"},
    r'{"agent": "hello_agent", "x": "\ud83d\ude00"}': {"SUCCEEDED"},
    f'{{"agent": "nobody", {GREETS}, "deadline_seconds": "x", "deadline_seconds": 60}}': {"SUCCEEDED"},
    f'{{{GREETS}, "deadline_seconds": 60, "deadline_seconds": "x"}}': {"InvalidDetail"},
}
"""By the event's detail as it is written: how its execution ends, or that it is not begun."""
INVALID = [Status.FAILED, "InvalidDetail"]
RECORDED = {NOT_STARTED: [None, None], "SUCCEEDED": [Status.COMPLETED, None], "InvalidDetail": INVALID}


def test_unreadable_detail_fails_its_own_session_only(workflow: Workflow, deployment: Deployment) -> None:
    other, other_arn = workflow.start(detail=WAITS)
    process_of(deployment, other)
    until(lambda: "task_token" in record(workflow, other))
    before = record(workflow, other)

    def end(detail: str, session_id: str) -> str:
        try:
            arn = workflow.begin(f'{{"session_id": "{session_id}", "detail": {detail}}}')
        except workflow.sfn.exceptions.InvalidExecutionInput:
            return NOT_STARTED
        execution = workflow.ended(arn)
        assert execution["stopDate"] - execution["startDate"] < timedelta(seconds=30)
        return str(execution.get("error", execution["status"]))

    def end_one(detail: str) -> tuple[str, Status | None, str | None]:
        session_id = str(uuid.uuid4())
        end_of, session = end(detail, session_id), workflow.session(session_id)
        return end_of, session and Status(session.status), session and session.error and session.error.code

    # Each run draws a few of those that are too deep.
    deep = [detail for detail, expected in ODD_DETAILS.items() if expected == DEEP]
    tried = [detail for detail in ODD_DETAILS if detail not in deep] + random.sample(deep, 4)
    with ThreadPoolExecutor(2) as pool:
        ends = dict(zip(tried, pool.map(end_one, tried), strict=True))
    for detail, (found, *recorded) in ends.items():
        assert found in ODD_DETAILS[detail], detail[:100]
        assert recorded == RECORDED[found], detail[:100]
    assert end(nested(5_000), other) in {"DuplicateSession", NOT_STARTED}
    changing = dict.fromkeys(("heartbeat_at", "task_token"))
    assert {**record(workflow, other), **changing} == {**before, **changing}
    let_go(workflow.table, other)
    assert workflow.ended(other_arn)["status"] == "SUCCEEDED"


def test_events_deadline_is_the_sessions_and_hidden_from_the_agent(workflow: Workflow, deployment: Deployment) -> None:
    detail = {"agent": "tells_environment", "more": 1}
    execution, session = workflow.run(detail={**detail, "deadline_seconds": 3600})
    assert session is not None
    assert execution["status"] == "SUCCEEDED"
    assert session.deadline_at is not None
    start, deadline = map(datetime.fromisoformat, (session.start_time, session.deadline_at))
    # A stack that is busy with other tests may have refused it at first, and the time in line is not the session's.
    waited = "CheckLine" in workflow.states(execution["executionArn"])
    assert session.ended_at is not None
    late = deadline - start - timedelta(hours=1)
    assert late == timedelta(0) or (waited and timedelta(0) < late < datetime.fromisoformat(session.ended_at) - start)
    assert json.loads(deployment.artifacts(session.session_id).read("detail.json")) == detail


def test_agent_without_a_detail_gets_an_empty_one(workflow: Workflow) -> None:
    execution, _ = workflow.run(detail=None)
    assert execution["status"] == "SUCCEEDED"


@pytest.mark.criterion("4.4")
def test_missing_variable_of_the_invoker_fails_the_session_and_is_named(workflow: Workflow, stack: LocalStack) -> None:
    awslambda, name = stack.client("lambda"), stack.outputs[Output.INVOKER]
    variables = awslambda.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    fewer = {key: value for key, value in variables.items() if key != Env.AGENT_RUNTIME_ARN}
    awslambda.update_function_configuration(FunctionName=name, Environment={"Variables": fewer})
    try:
        session_id, arn = workflow.start(detail=HELLO)
        error = failed(workflow, arn, session_id)
    finally:
        awslambda.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
    assert error == Failure("MissingSetting", "environment variable AGENT_RUNTIME_ARN is not set")


# Executions that begin in the middle, in a machine of the deployed states: what an execution does after a redrive, and
# what the deployed one does only if its role or its table were others.


@pytest.fixture(scope="module")
def middle(workflow: Workflow, stack: LocalStack) -> Iterator[Middle]:
    """The machine of the deployed states, whose executions the agent may wake."""
    middle = Middle(workflow)
    iam, role = stack.client("iam"), stack.outputs[Output.AGENT_ROLE].rpartition("/")[2]
    allowed = {"Effect": "Allow", "Action": "states:SendTaskSuccess", "Resource": middle.machine}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_role_policy(RoleName=role, PolicyName="middle", PolicyDocument=document)
    # The reconciler's look every five minutes would close their sessions: their executions are not of its machine.
    events = stack.client("events")
    (look,) = [rule["Name"] for rule in events.list_rules()["Rules"] if "ScheduleExpression" in rule]
    events.disable_rule(Name=look)
    yield middle
    events.enable_rule(Name=look)
    iam.delete_role_policy(RoleName=role, PolicyName="middle")


LOST = {"code": "AgentLost", "message": "no heartbeat"}
NO_HEARTBEAT = {"value": "", "since": 0, "checkedAt": 0, "unchangedMs": 0}
GAVE_UP = {"code": "DeadlineExceeded", "message": "the session did not end by its deadline"}


def test_redriven_execution_of_an_open_session_goes_on(
    middle: Middle, workflow: Workflow, deployment: Deployment, stack: LocalStack
) -> None:
    invoker, name_of_invoker = stack.client("lambda"), stack.outputs[Output.INVOKER]

    def session(status: str | None = Status.INITIATED, **more: object) -> str:
        session_id = str(uuid.uuid4())
        if status:
            middle.record(session_id, status, **more)
        return session_id

    # Before the agent was invoked, and after: its answer may not have been seen.
    new = {"InitializeSession": session(), "InitializeSession, not written": session(None), "InvokeAgent": session()}
    runs = {
        name: (session_id, middle.start(session_id, name.partition(",")[0], lastHeartbeat=NO_HEARTBEAT))
        for name, session_id in new.items()
    }
    for name in (invoked := "InvokeAgent, invoked", "MarkFailed"):
        session_id = session()
        given = json.dumps({"session_id": session_id, "detail": WAITS}).encode()
        # While sessions of other tests wait in line, who comes first is refused.
        until(lambda given=given: "FunctionError" not in invoker.invoke(FunctionName=name_of_invoker, Payload=given))
        process_of(deployment, session_id)
        error = GAVE_UP if name == "MarkFailed" else {"code": "UnknownStatus", "message": ""}
        runs[name] = session_id, middle.start(session_id, name.partition(",")[0], error=error)
    # This test does what their agents do.
    for name in ("CheckStatus", "RouteByStatus", "WaitForChange", "WaitBeforeRetry"):
        session_id = session(Status.BUSY, heartbeat_at=iso(datetime.now(UTC)))
        runs[name] = session_id, (arn := middle.start(session_id, name))
        until(lambda arn=arn: "WaitForChange" in workflow.states(arn))
        workflow.journal.complete(session_id, "s3://bucket/report.md")
    # Last: who comes first goes behind them.
    refused = {**FIRST, "refused": True, "turn": 1000 * time.time(), "refusals": 1, "code": "AgentThrottled"}
    for name in ("CheckLine", "RouteByTurn", "RescheduleLine"):
        runs[name] = (session_id := session()), middle.start(session_id, name, status=Status.INITIATED, line=refused)
    for name in ("StopAgent", "CheckOutcome"):
        session_id = session(Status.COMPLETED)
        runs[name] = session_id, middle.start(session_id, name, status=Status.COMPLETED)
    # Before the write of another attempt, and after: its answer may not have been seen.
    for name, more in {"BeginAttempt": {}, "BeginAttempt, written": {"attempt": 2, "attempts": [{}]}}.items():
        runs[name] = (session_id := session(**more)), middle.start(session_id, "BeginAttempt", error=LOST)
    until(lambda: "WaitForChange" in workflow.states(runs[invoked][1]))
    let_go(workflow.table, runs[invoked][0])
    gave_up = runs.pop("MarkFailed")
    for name, (session_id, arn) in runs.items():
        execution, found = workflow.ended(arn), workflow.session(session_id)
        assert found is not None
        assert (execution["status"], found.status, found.error) == ("SUCCEEDED", Status.COMPLETED, None), name
        if "BeginAttempt" in name:
            assert (found.attempt, len(found.attempts)) == (2, 1)
    assert failed(workflow, gave_up[1], gave_up[0]) == Failure(**GAVE_UP)
    until(lambda: not is_alive(process_of(deployment, gave_up[0])))
    # What has no input that it can take does not go on.
    others = {"RouteByInputError", "MarkFailed", "SessionFailed"}
    assert {name.partition(",")[0] for name in runs} | others == set(middle.states)


def test_redriven_execution_of_an_ended_session_only_reports_its_end(middle: Middle, workflow: Workflow) -> None:
    closed = Failure("WorkflowEnded", "its workflow ended without it: ABORTED")

    def begin(state: str, end: Callable[[str], Any]) -> tuple[str, str, dict[str, Any]]:
        session_id = str(uuid.uuid4())
        middle.record(session_id, Status.BUSY)
        end(session_id)
        before = record(workflow, session_id)
        return session_id, middle.start(session_id, state, error=GAVE_UP), before

    def close(session_id: str) -> None:
        assert workflow.journal.fail_orphaned(session_id, middle.arn(session_id), closed)

    # The others are entered once the session has ended.
    unaware = [state for state in middle.states if state not in ("StopAgent", "CheckOutcome", "SessionFailed")]
    failures = {state: begin(state, close) for state in unaware}
    successes = {
        state: begin(state, lambda session_id: workflow.journal.complete(session_id, "s3://bucket/report.md"))
        for state in unaware
        if state != "InitializeSession"
    }
    for state, (session_id, arn, before) in failures.items():
        assert failed(workflow, arn, session_id) == closed, state
        assert record(workflow, session_id) == before, state
    for state, (session_id, arn, before) in successes.items():
        assert workflow.ended(arn)["status"] == "SUCCEEDED", state
        assert record(workflow, session_id) == before, state


def test_any_unknown_status_fails_the_session(middle: Middle, workflow: Workflow) -> None:
    for status in ("DONE", "none"):
        middle.record(session_id := str(uuid.uuid4()), status)
        assert failed(workflow, middle.start(session_id, "CheckStatus"), session_id) == UNKNOWN_STATUS, status


def test_failed_execution_fails_again_when_it_is_redriven(middle: Middle, workflow: Workflow) -> None:
    for state in ("StopAgent", "CheckOutcome", "SessionFailed"):
        session_id = str(uuid.uuid4())
        execution = workflow.ended(middle.start(session_id, state, error=GAVE_UP))
        assert execution["error"] == "DeadlineExceeded"
        assert execution["cause"] == f"session {session_id}: the session did not end by its deadline"
        assert workflow.session(session_id) is None


@pytest.mark.parametrize("bad", ["role", "table"])
def test_denied_or_invalid_call_is_not_retried(middle: Middle, workflow: Workflow, stack: LocalStack, bad: str) -> None:
    role, definition = middle.role, json.dumps(middle.definition)
    if bad == "role":
        role = stack.client("lambda").get_function_configuration(FunctionName=stack.outputs[Output.INVOKER])["Role"]
    else:
        definition = definition.replace(stack.outputs[Output.TABLE], "no-such-table")
    arn = middle.start(str(uuid.uuid4()), "InitializeSession", middle.create(role, json.loads(definition)))
    assert workflow.ended(arn)["error"] == "DynamoDB.AmazonDynamoDBException"
    assert workflow.states(arn)[1:] == ["InitializeSession", "MarkFailed", "CheckOutcome", "SessionFailed"]
    tried = Counter(event["resource"] for event in events(workflow, arn, "TaskScheduled"))
    assert set(tried.values()) == {1}, tried


# Sessions whose agents are lost.


def test_a_session_whose_agent_is_lost_is_continued_by_another_one(workflow: Workflow, deployment: Deployment) -> None:
    session_id, arn = workflow.start(detail=WAITS)
    lost = process_of(deployment, session_id)
    until(lambda: "WaitForChange" in workflow.states(arn))
    # Neither the worker nor its supervisor, which sends the heartbeats, does anything any more.
    for process in (parent_of(lost), lost):
        os.kill(process, signal.SIGSTOP)
    until(lambda: (again := process_of(deployment, session_id)) != lost and again)
    let_go(workflow.table, session_id)
    assert workflow.ended(arn)["status"] == "SUCCEEDED"
    session = workflow.session(session_id)
    assert session is not None
    assert (session.status, session.attempt) == (Status.COMPLETED, 2)
    (ended,) = session.attempts
    assert (ended.code, ended.message.partition(" since ")[0], ended.how) == (
        "AgentLost",
        "no heartbeat from the agent",
        "",
    )
    assert session.start_time < (session.busy_at or "") < ended.ended_at
    states = [state for state in workflow.states(arn) if state not in ("WaitForChange", "CheckStatus", "RouteByStatus")]
    # AgentCore may have refused an agent of this busy stack at first.
    states = [state for state in states if state not in ("CheckLine", "RouteByTurn", "RescheduleLine")]
    expected = ["InvokeAgent", "BeginAttempt", "StopAgent", "CheckOutcome", "InvokeAgent", "StopAgent", "CheckOutcome"]
    assert [state for state, _ in groupby(states)] == ["InitializeSession", *expected, "SessionCompleted"]
    # The machine of each attempt was stopped, by its own id, and the second one was told its attempt.
    assert succeeded(workflow, arn).count(STOP_AGENT) == 2
    assert {step.attempt for step in workflow.journal.snapshot(session_id).steps} == {2}
    until(lambda: not is_alive(lost))


ATTEMPTS_USED: dict[str, dict[str, object]] = {
    "all attempts": {"attempt": MAX_ATTEMPTS},
    "no checkpoint": {"attempt": 2, "checkpoint": NO_CHECKPOINT},
    "no other execution's": {"attempt": 2, "execution_arn": "another"},
}


def test_a_lost_session_fails_if_no_other_attempt_may_follow(middle: Middle, workflow: Workflow) -> None:
    def begin(**more: Any) -> tuple[str, str]:
        session_id = str(uuid.uuid4())
        middle.record(session_id, Status.BUSY, **more)
        attempt = more["attempt"]
        return session_id, middle.start(session_id, "CheckStatus", attempt=attempt, invoked=attempt, lastHeartbeat=beat)

    beat = {"value": "", "since": 0, "checkedAt": 1000 * time.time(), "unchangedMs": 0}
    runs = {name: begin(**more) for name, more in ATTEMPTS_USED.items()}
    may = begin(attempt=MAX_ATTEMPTS - 1)
    session_id, arn = runs.pop("no other execution's")
    before = record(workflow, session_id)
    assert workflow.ended(arn)["error"] == "DuplicateSession"
    assert record(workflow, session_id) == before
    for session_id, arn in runs.values():
        assert failed(workflow, arn, session_id) == Failure(
            "AgentLost", "the agent sent no heartbeat after it was invoked"
        )
        assert not {"BeginAttempt", "InvokeAgent"} & set(workflow.states(arn))
    session_id, arn = may
    assert workflow.ended(arn)["status"] == "SUCCEEDED"
    found = workflow.session(session_id)
    assert found is not None
    assert (found.attempt, found.attempts[0].code) == (MAX_ATTEMPTS, "AgentLost")


def test_a_record_that_an_agent_has_damaged_ends_its_execution_at_once(middle: Middle, workflow: Workflow) -> None:
    beat = {"value": "", "since": 0, "checkedAt": 1000 * time.time(), "unchangedMs": 0}
    damages = [{"attempt": damage} for damage in ("x", None, 0, -1, Decimal("1." + "0" * 30 + "1"), LAST_ATTEMPT + 1)]
    runs = {}
    for more in [*damages, {"execution_arn": 7}]:
        middle.record(session_id := str(uuid.uuid4()), Status.BUSY, **more)
        runs[session_id] = middle.start(session_id, "CheckStatus", lastHeartbeat=beat)
    *unknown, other = runs.items()
    for session_id, arn in unknown:
        assert failed(workflow, arn, session_id) == Failure(
            "UnknownAttempt", "the session record has an attempt that Vigil does not know"
        )
    assert workflow.ended(other[1])["error"] == "DuplicateSession"
    assert max(len(workflow.states(arn)) for arn in runs.values()) < 10


# The sessions that took their time.


@pytest.mark.criterion("5.1", "5.2", "5.3")
def test_busy_session_is_checked_again_until_it_is_completed(workflow: Workflow, long: Long) -> None:
    session_id, arn = long["watched"]
    until(lambda: workflow.states(arn).count("CheckStatus") >= 3)
    session = workflow.session(session_id)
    assert session is not None
    assert session.status == Status.BUSY
    assert workflow.states(arn)[2:6] == ["CheckStatus", "RouteByStatus", "WaitForChange", "CheckStatus"]
    let_go(workflow.table, session_id)
    assert workflow.ended(arn)["status"] == "SUCCEEDED"


def test_a_session_whose_record_stays_missing_fails(workflow: Workflow, deployment: Deployment, long: Long) -> None:
    session_id, arn = long["gone"]
    assert failed(workflow, arn, session_id) == Failure("RecordMissing", "the session record was deleted")
    item = record(workflow, session_id)
    assert item["execution_arn"] == arn
    assert {"start_time", "created_at", "ended_at", "expires_at"} <= set(item)
    until(lambda: not is_alive(process_of(deployment, session_id)))


def test_late_session_fails_and_its_agent_is_stopped(workflow: Workflow, deployment: Deployment, long: Long) -> None:
    session_id, arn = long["late"]
    error = failed(workflow, arn, session_id)
    session = workflow.session(session_id)
    assert isinstance(session, Session)
    assert error == Failure("DeadlineExceeded", f"the session did not end by its deadline, {session.deadline_at}")
    assert session.deadline_at is not None
    assert session.ended_at is not None
    assert session.deadline_at <= session.ended_at
    assert STOP_AGENT in succeeded(workflow, arn)
    until(lambda: not is_alive(process_of(deployment, session_id)))


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left(workflow: Workflow) -> Iterator[None]:
    yield
    running = {"stateMachineArn": workflow.outputs[Output.STATE_MACHINE], "statusFilter": "RUNNING"}
    until(lambda: not workflow.sfn.list_executions(**running)["executions"])

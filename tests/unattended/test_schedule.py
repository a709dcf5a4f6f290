"""The schedule starts sessions: exactly one for each of its times, however often the event comes."""

import json
import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support import Workflow, command, ended, refused, until
from tests.unattended.conftest import PARAMETERS, Without
from vigil.deployment import Deployment
from vigil.local.stack import LocalStack
from vigil.names import EVENT_DETAIL_TYPE, EVENT_SOURCE, STACK, TICK_KEY, OptionalOutput, Output, Parameter
from vigil.session import SCHEDULED_ID_PREFIX, Status, session_id_of

HELLO = {"agent": "hello_agent"}


def new_tick() -> str:
    """Return a time of which no other test has an event."""
    return f"{datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=random.randrange(10**8)):%Y-%m-%dT%H:%M:%SZ}"


def at(tick: str, **detail: object) -> dict[str, object]:
    return {**(detail or HELLO), TICK_KEY: tick}


def session_of(tick: str) -> str:
    return str(session_id_of("", {TICK_KEY: tick}))


def put(stack: LocalStack, detail: object, number: int = 1) -> list[str]:
    """Put events of one detail, as Scheduler may put them twice; returns their ids."""
    entry = {"Source": EVENT_SOURCE, "DetailType": EVENT_DETAIL_TYPE, "Detail": json.dumps(detail)}
    answer = stack.client("events").put_events(Entries=[entry] * number)
    return [entry["EventId"] for entry in answer["Entries"]]


def executions(workflow: Workflow, tick: str) -> list[Any]:
    """Return the executions of a tick, once all have ended."""
    pages = workflow.sfn.get_paginator("list_executions").paginate(
        stateMachineArn=workflow.outputs[Output.STATE_MACHINE]
    )
    arns = [execution["executionArn"] for page in pages for execution in page["executions"]]
    details = {arn: json.loads(workflow.sfn.describe_execution(executionArn=arn)["input"])["detail"] for arn in arns}
    # Other events of that second hold the time as theirs.
    return [workflow.ended(arn) for arn, detail in details.items() if session_id_of("", detail) == session_of(tick)]


def test_the_schedule_starts_a_session(stack: LocalStack, workflow: Workflow) -> None:
    schedule = stack.client("scheduler").get_schedule(Name=stack.outputs[OptionalOutput.SCHEDULE])
    tick = f"{schedule['CreationDate'].astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    assert ended(workflow, session_of(tick)).status == Status.COMPLETED
    assert [execution["status"] for execution in executions(workflow, tick)] == ["SUCCEEDED"]
    assert schedule["ScheduleExpressionTimezone"] == PARAMETERS[Parameter.SCHEDULE_TIMEZONE]


def test_an_event_that_is_put_twice_gives_one_session(stack: LocalStack, workflow: Workflow) -> None:
    tick = new_tick()
    put(stack, at(tick), number=2)
    assert ended(workflow, session_of(tick)).status == Status.COMPLETED
    found = until(lambda: len(both := executions(workflow, tick)) == 2 and both)
    assert sorted(item.get("error", item["status"]) for item in found) == ["DuplicateSession", "SUCCEEDED"]


def test_any_number_of_puts_and_deliveries_gives_one_session_a_tick(stack: LocalStack, workflow: Workflow) -> None:
    ticks = {new_tick() for _ in range(2)}
    calls = [tick for tick in ticks for _ in range(random.randint(2, 4))]
    random.shuffle(calls)

    def deliver(tick: str) -> None:
        if random.random() < 0.5:
            put(stack, at(tick))
            return
        # EventBridge delivers an event twice: with one id.
        given = json.dumps({"session_id": f"{tick:0<36}".replace(":", "-"), "detail": at(tick)})
        for _ in range(2):
            workflow.begin(given)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(deliver, calls))
    for tick in ticks:
        assert ended(workflow, session_of(tick)).status == Status.COMPLETED
        found = executions(workflow, tick)
        outcomes = [item.get("error", item["status"]) for item in found]
        assert sorted(set(outcomes)) == ["DuplicateSession", "SUCCEEDED"]
        assert outcomes.count("SUCCEEDED") == 1
        inputs = [json.loads(item["input"])["session_id"] for item in found]
        assert not any(workflow.session(event_id) for event_id in inputs)


def test_a_scheduled_session_whose_workflow_is_stopped_is_closed_by_its_own_id(
    workflow: Workflow, stack: LocalStack
) -> None:
    tick = new_tick()
    put(stack, at(tick, agent="waits"))
    session = until(lambda: (found := workflow.session(session_of(tick))) and found.status == "BUSY" and found)
    workflow.sfn.stop_execution(executionArn=session.execution_arn)
    closed = ended(workflow, session.session_id)
    assert closed.error is not None
    assert closed.error.code == "WorkflowEnded"


def test_a_scheduled_session_is_repeated_under_another_id(stack: LocalStack, workflow: Workflow) -> None:
    tick = new_tick()
    put(stack, at(tick))
    ended(workflow, session_of(tick))
    again = command(stack, "vigil", "retry", session_of(tick)).stdout.strip()
    assert not again.startswith(SCHEDULED_ID_PREFIX)
    assert ended(workflow, again).status == Status.COMPLETED


def test_only_the_schedule_names_a_tick(stack: LocalStack) -> None:
    line = refused(stack, "vigil", "trigger", "--detail", json.dumps(at(new_tick())))
    assert line == f"vigil: detail: {TICK_KEY} is the schedule's own: leave it out"


def test_an_event_with_a_malformed_tick_is_an_event_of_its_own(stack: LocalStack, workflow: Workflow) -> None:
    (event_id,) = put(stack, at("8 o'clock"))
    assert ended(workflow, event_id).status == Status.COMPLETED


@contextmanager
def another_schedule(stack: LocalStack) -> Iterator[str]:
    """Create a second schedule of the stack's target, which runs at once; yields its tick."""
    scheduler = stack.client("scheduler")
    given = scheduler.get_schedule(Name=stack.outputs[OptionalOutput.SCHEDULE])
    wanted = {"ScheduleExpression": "rate(1000 days)", "FlexibleTimeWindow": {"Mode": "OFF"}}
    scheduler.create_schedule(Name="another", Target=given["Target"], **wanted)
    try:
        yield f"{scheduler.get_schedule(Name='another')['CreationDate'].astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    finally:
        scheduler.delete_schedule(Name="another")


def test_an_event_that_cannot_be_put_is_shown_and_sent_again(
    stack: LocalStack, workflow: Workflow, deployment: Deployment, without: Without
) -> None:
    with without("ScheduleEventPut"), another_schedule(stack) as tick:
        (lost,) = until(deployment.dead_letters)
        assert (lost.event_id, lost.time) == (session_of(tick), tick)
        assert lost.reason.startswith("AccessDeniedException: ")
        assert workflow.session(lost.event_id) is None
        counted = command(stack, "vigil", "sessions").stderr
        assert counted == "1 event never became a session: `vigil lost` shows them\n"
        shown = command(stack, "vigil", "lost").stdout
        assert shown == f"event {lost.event_id} of {tick}: {lost.reason}\n"
        assert command(stack, "vigil", "lost", "--resend").stdout == f"started {lost.event_id}\n"
        assert ended(workflow, lost.event_id).status == Status.COMPLETED
        # Scheduler may put it after all.
        put(stack, at(tick))
        found = until(lambda: len(both := executions(workflow, tick)) == 2 and both)
        assert sorted(item.get("error", item["status"]) for item in found) == ["DuplicateSession", "SUCCEEDED"]
    assert deployment.dead_letters() == []


def test_without_the_grant_an_event_that_cannot_be_put_is_not_kept(
    stack: LocalStack, workflow: Workflow, deployment: Deployment, without: Without
) -> None:
    with without("ScheduleEventPut"), without("ScheduleDeadLetter"), another_schedule(stack) as tick:
        until(lambda: f"drops its event of {tick}: " in (stack.folder / "server.log").read_text())
        assert deployment.dead_letters() == []
        assert workflow.session(session_of(tick)) is None


def test_scheduled_events_that_start_no_workflow_are_one_session_when_sent_again(
    stack: LocalStack, workflow: Workflow, deployment: Deployment, without: Without
) -> None:
    tick = new_tick()
    with without("TriggerWorkflowStart"):
        put(stack, at(tick), number=2)
        lost = until(lambda: len(found := deployment.dead_letters()) == 2 and found)
    assert {letter.event_id for letter in lost} == {session_of(tick)}
    results = sorted(result.started for result in deployment.resend_dead_letters())
    assert results == [False, True]
    assert ended(workflow, session_of(tick)).status == Status.COMPLETED
    assert deployment.dead_letters() == []


def test_schedule_shows_what_is_set_and_the_next_runs(stack: LocalStack) -> None:
    lines = command(stack, "vigil", "schedule").stdout.splitlines()
    assert lines[:4] == [
        "expression     rate(1000 days)",
        "timezone       Europe/Berlin",
        'detail         {"agent": "hello_agent"}',
        "state          ENABLED",
    ]
    found = json.loads(command(stack, "vigil", "schedule", "--json").stdout)
    created = datetime.fromisoformat(found["created_at"])
    expected = [created + timedelta(days=1000 * number) for number in (1, 2, 3)]
    assert [datetime.fromisoformat(run) for run in found["next_runs"]] == expected
    assert found["error"] is None
    assert [line.split()[2] for line in lines[4:]] == [f"{run:%Y-%m-%d}" for run in expected]
    assert all(line.startswith("next run") and line.endswith("Europe/Berlin") for line in lines[4:])


UP = ("vigil", "local", "up", "--port", "0", "--no-sample-account", "--parameter")
BROKEN = f'{{"a": "x,"{TICK_KEY}":"<aws.scheduler.scheduled-time>"}}'
NO_DETAIL = f"the schedule's detail must be a JSON object in one line, not {BROKEN!r}"


@pytest.mark.parametrize(
    ("expression", "text", "reason"),
    [
        ("cron(0 8 31 2 ? *)", "{}", "'cron(0 8 31 2 ? *)' never runs: its months have no such day"),
        ("rate(1000 days)", BROKEN, NO_DETAIL),
        # It is understood, and its years have passed.
        ("cron(0 8 1 1 ? 2020)", "{}", None),
    ],
)
def test_schedule_fails_with_the_reason_if_the_next_runs_cannot_be_told(
    stack: LocalStack, expression: str, text: str, reason: str | None
) -> None:
    scheduler, name = stack.client("scheduler"), stack.outputs[OptionalOutput.SCHEDULE]
    before = scheduler.get_schedule(Name=name)
    given: Any = {key: before[key] for key in ("ScheduleExpression", "ScheduleExpressionTimezone", "Target")}
    target = {**given["Target"], "Input": text}
    wanted: Any = {"Name": name, "FlexibleTimeWindow": {"Mode": "OFF"}}
    scheduler.update_schedule(**wanted, **{**given, "ScheduleExpression": expression, "Target": target})
    try:
        shown, as_json = (command(stack, "vigil", "schedule", *option) for option in ((), ("--json",)))
    finally:
        scheduler.update_schedule(**wanted, **given)
    assert shown.returncode == as_json.returncode == (1 if reason else 0)
    assert shown.stderr == as_json.stderr == (f"{reason}\n" if reason else "")
    assert shown.stdout.startswith(f"expression     {expression}\n")
    assert shown.stdout.endswith("\nnext run       none\n") == (reason is None)
    found = json.loads(as_json.stdout)
    assert (found["error"], found["next_runs"]) == (reason, [])


@pytest.mark.parametrize(
    "text", ['{"a": "x}', '{"a":1,}', '{"a":1} {"b":2}', '{"a":{"b":1}', '{"a": True}', '["a"]', '{"a": NaN}', "", "x"]
)
def test_a_detail_that_is_no_json_object_is_refused_before_anything_starts(text: str) -> None:
    line = refused(None, *UP, "Schedule=rate(1000 days)", "--parameter", f"ScheduleDetail={text}")
    assert "detail must be" in line


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("hourly", "the schedule must be rate(...) or cron(...), not 'hourly'"),
        ("rate(5 minutes", "the schedule must be rate(...) or cron(...), not 'rate(5 minutes'"),
        (f"rate({'5' * 300} days)", f"the schedule must be rate(...) or cron(...), not 'rate({'5' * 195}'"),
        ("cron(0 8 31 2 ? *)", "'cron(0 8 31 2 ? *)' never runs: its months have no such day"),
    ],
)
def test_an_expression_that_never_runs_is_refused_before_anything_starts(expression: str, reason: str) -> None:
    assert refused(None, *UP, f"Schedule={expression}") == f"vigil: {reason}"


def test_a_time_zone_that_is_too_long_is_refused_before_anything_starts() -> None:
    line = refused(None, *UP, "Schedule=rate(1 day)", "--parameter", f"ScheduleTimezone={'a/' * 2000}b")
    assert line == f"vigil: the time zone must have at most 50 characters, not '{'a/' * 25}'..."


def test_the_template_refuses_an_expression_that_is_none(stack: LocalStack) -> None:
    cloudformation = stack.client("cloudformation")
    template: Any = cloudformation.get_template(StackName=STACK)["TemplateBody"]  # boto3 has parsed it
    declared = template["Parameters"][Parameter.SCHEDULE]
    small = {"Parameters": {"Schedule": declared}, "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
    given: Any = [{"ParameterKey": "Schedule", "ParameterValue": "hourly"}]
    must_be = (
        "Parameter 'Schedule' must be rate(number unit), or cron(minutes hours day-of-month month day-of-week year)"
        " with ? for one of both days"
    )
    with pytest.raises(ClientError, match=re.escape(must_be)):
        cloudformation.create_stack(StackName="Another", TemplateBody=json.dumps(small), Parameters=given)

"""Waiting: no wake-up is lost, whenever the session ends, and an agent that is lost is missed within known bounds."""

import math
import random
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.virtual_time import Life, Walk, walk
from tests.conftest import TIMING
from tests.support import Workflow, until, workflow_definition
from tests.workflow.middle import Middle
from vigil.attributes import iso
from vigil.journal import Journal, wake
from vigil.local.stack import LocalStack
from vigil.names import Output, Parameter
from vigil.session import Failure, Status

SESSIONS, ROUNDS = 8, 20
LANES = 4


@pytest.mark.criterion("5.3")
def test_no_wake_up_is_lost_whenever_the_session_ends(stack: LocalStack, workflow: Workflow) -> None:
    # It looks at a session each hour if nothing wakes it. No agent is needed to end one.
    patient = Middle(
        workflow,
        safety=(TIMING[Parameter.SAFETY_SECONDS], "3600"),
        heartbeat=(TIMING[Parameter.HEARTBEAT_SECONDS], "300"),
    )
    journal = Journal.open(stack.session(), stack.outputs[Output.TABLE])

    def token(session_id: str) -> Any:
        """Return the token with which the workflow waits, once it does."""
        key = workflow.key(session_id)
        return until(lambda: workflow.table.get_item(Key=key, ConsistentRead=True)["Item"].get("task_token"))

    # Estimated seconds from the wake-up to the store; each session corrects the estimate by the last results.
    aim = [0.05]

    def race(number: int) -> tuple[str, list[str]]:
        """End a session about when its workflow stores a token; returns (the execution's status, its tasks' errors)."""
        completes, session_id = number % 2 == 0, str(uuid.uuid4())
        now = 1000 * time.time()
        patient.record(session_id, Status.BUSY, start_time=iso(datetime.now(UTC)))
        silent = {"value": "", "since": now, "checkedAt": now, "unchangedMs": 0}
        arn = patient.start(session_id, "CheckStatus", lastHeartbeat=silent)
        first = token(session_id)
        moment = aim[0] * random.uniform(0.5, 1.5)
        wake(lambda: workflow.sfn, first)
        time.sleep(moment)
        if completes:
            journal.complete(session_id, "s3://bucket/report.md")
        else:
            journal.fail(session_id, Failure("Broken", "on purpose"))
        status = workflow.ended(arn)["status"]
        assert status == ("SUCCEEDED" if completes else "FAILED")
        history = workflow.sfn.get_execution_history(executionArn=arn, maxResults=1000)["events"]
        errors = [e["taskFailedEventDetails"]["error"] for e in history if e["type"] == "TaskFailed"]
        if not errors:
            # It had not looked yet, or had stored its second token.
            aim[0] *= 1.3 if workflow.states(arn).count("WaitForChange") == 1 else 1 / 1.3
        return status, errors

    refused: set[bool] = set()
    with ThreadPoolExecutor(LANES) as pool:
        # Until both orders of the two writes were met. On a machine with a lot to do, it takes longer to aim.
        for number in range(ROUNDS):
            ends = list(pool.map(race, range(number * SESSIONS, (number + 1) * SESSIONS)))
            # No wait ended by its timeout.
            assert not any("States.Timeout" in errors for _, errors in ends)
            refused |= {"DynamoDb.ConditionalCheckFailedException" in errors for _, errors in ends}
            if number and len(refused) == 2:
                break
    assert refused == {False, True}


SAFETY, HEARTBEAT, BEATS = st.integers(30, 3600), st.integers(1, 300), st.integers(1, 60)
MOMENT, SHARE = st.floats(0, 2000), st.floats(0, 0.98)


def lived(life: Life, safety: int, heartbeat: int) -> Walk:
    return walk(workflow_definition(safety, heartbeat, attempts=1), life)


@settings(max_examples=6, deadline=None)
@given(safety=SAFETY, heartbeat=HEARTBEAT, first_beat=SHARE, dies=MOMENT)
def test_dead_agent_is_missed_within_its_bound(safety: int, heartbeat: int, first_beat: float, dies: float) -> None:
    life = Life(first_beat=first_beat * 2 * heartbeat, beat=heartbeat, dies=dies)
    missed = lived(life, safety, heartbeat)
    assert missed.variables["error"]["code"] == "AgentLost"
    bound = dies + max(safety, 2 * heartbeat) + safety * math.ceil(4 * heartbeat / safety)
    assert dies <= missed.seconds <= (bound if dies >= life.first_beat else 2 * heartbeat)


@settings(max_examples=6, deadline=None)
@given(safety=SAFETY, heartbeat=HEARTBEAT, first_beat=SHARE, beat=SHARE, ends=MOMENT, invoked=MOMENT)
def test_an_agent_that_lives_is_not_missed(
    safety: int, heartbeat: int, first_beat: float, beat: float, ends: float, invoked: float
) -> None:
    life = Life(
        invoked=invoked,
        first_beat=invoked + first_beat * 2 * heartbeat,
        beat=(0.01 + beat) * 4 * heartbeat,
        ends=invoked + ends,
    )
    done = lived(life, safety, heartbeat)
    assert done.states[-1] == "SessionCompleted"
    assert done.seconds == life.ends


@settings(max_examples=6, deadline=None)
@given(safety=st.integers(1, 300), heartbeat=BEATS, first_beat=SHARE, sleeps=st.floats(0, 1), beats=st.floats(0, 9))
# More than two minutes, on a machine that looks more often than its agent beats.
@example(safety=18, heartbeat=30, first_beat=0.58, sleeps=0.64, beats=4.5)
def test_living_agent_is_not_lost_because_its_machine_slept(
    safety: int, heartbeat: int, first_beat: float, sleeps: float, beats: float
) -> None:
    # Long enough for a few looks before and after.
    ends = 3 * max(safety, 4 * heartbeat)
    life = Life(
        first_beat=first_beat * 2 * heartbeat, beat=heartbeat, ends=ends, sleeps=sleeps * ends, asleep=beats * heartbeat
    )
    assert lived(life, safety, heartbeat).states[-1] == "SessionCompleted"


@settings(max_examples=6, deadline=None)
@given(safety=SAFETY, heartbeat=HEARTBEAT, dies=MOMENT, later=MOMENT, asleep=st.floats(0, 7200))
def test_an_agent_that_died_is_missed_though_its_machine_slept(
    safety: int, heartbeat: int, dies: float, later: float, asleep: float
) -> None:
    life = Life(first_beat=0, beat=heartbeat, dies=dies, sleeps=dies + later, asleep=asleep)
    missed = lived(life, safety, heartbeat)
    assert missed.variables["error"]["code"] == "AgentLost"
    bound = max(safety, 2 * heartbeat) + safety * math.ceil(4 * heartbeat / safety)
    assert dies <= missed.seconds <= max(dies, life.sleeps + asleep) + bound


def test_agent_silent_after_a_sleep_is_lost_four_heartbeats_later() -> None:
    life = Life(first_beat=0, beat=30, dies=95, sleeps=100, asleep=120)
    woken = life.sleeps + life.asleep
    assert woken + 4 * 30 <= lived(life, safety=30, heartbeat=30).seconds <= woken + 6 * 30


ONE_ATTEMPT = [
    *("InitializeSession", "InvokeAgent", "CheckStatus", "RouteByStatus", "WaitForChange"),
    *("CheckStatus", "RouteByStatus", "StopAgent", "CheckOutcome", "SessionCompleted"),
]


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_session_of_one_attempt_takes_ten_transitions(attempts: int) -> None:
    done = walk(workflow_definition(attempts=attempts), Life(ends=10))
    assert done.states == ONE_ATTEMPT
    # Each further look takes three.
    looked = walk(workflow_definition(attempts=attempts), Life(ends=100))
    assert looked.states == [*ONE_ATTEMPT[:4], *ONE_ATTEMPT[4:7], *ONE_ATTEMPT[4:]]


def test_frequent_checks_keep_an_execution_below_its_limit_of_events() -> None:
    done = walk(workflow_definition(safety=1, heartbeat=1), Life(beat=1), {"deadline_seconds": 1000})
    assert done.variables["error"]["code"] == "DeadlineExceeded"
    assert done.seconds >= 1000
    assert 0 < len(done.events) * 27 < 25_000

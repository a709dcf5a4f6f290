"""The line in which sessions wait: the workflow's states and the invoker's look, on a table and by their own clock."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from math import ceil
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.virtual_time import caught, chosen, evaluated
from tests.support import workflow_states
from vigil.errors import AgentThrottled
from vigil.invoker import await_turn
from vigil.line import AFTER, AHEAD, LATE, LINE, LOAD, LONGEST_PAUSE, LONGEST_STEP, SELDOM, SLOWER, Line, Place
from vigil.local.stack import LocalStack

STEP = int(1000 / (LOAD * 5))
FIRST = 1000 + AHEAD * STEP
"""How long after a line has begun its first has its turn."""


class Clock:
    """Time that passes when a test says so, in milliseconds."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


class Waiting:
    """A session in line, which does what the states of the workflow do."""

    def __init__(self, client: Any, table: str, clock: Clock) -> None:
        self._client, self._table, self._clock = client, table, clock
        self.line: dict[str, Any] = self._value(workflow_states(5)["InitializeSession"]["Assign"]["line"], {})

    @property
    def turn(self) -> int:
        return int(self.line["turn"])

    def refused(self) -> "Waiting":
        """Be refused, and wait."""
        refusal = caught(workflow_states(5)["InvokeAgent"], "AgentThrottled")
        given = {"errorOutput": {"Error": "AgentThrottled", "Cause": '{"errorMessage": "not now"}'}}
        self.line = self._value(refusal["Assign"]["line"], given)
        assert self.go_on(refusal["Next"]) == "WaitForChange"
        return self

    def looks(self) -> str:
        """Look at the line; return InvokeAgent if it is its turn, else WaitForChange."""
        return self.go_on("CheckLine")

    def go_on(self, name: str) -> str:
        """Walk from ``name`` until the session waits or is invoked."""
        while name not in ("WaitForChange", "InvokeAgent"):
            state, given = workflow_states(5)[name], dict[str, Any]()
            follow = state
            if state["Type"] == "Choice":
                follow = chosen(state, lambda condition: self._value(condition, {}))
            else:
                arguments = self._value(state["Arguments"], {})
                try:
                    given["result"] = self._client.update_item(**{**arguments, "TableName": self._table})
                except ClientError as error:
                    follow = caught(state, f"DynamoDB.{error.response['Error']['Code']}")
            self.line = self._value(follow.get("Assign", {}), given).get("line", self.line)
            name = follow["Next"]
        return name

    def _value(self, node: Any, given: dict[str, Any]) -> Any:
        return evaluated(node, given, {"line": getattr(self, "line", {})}, self._clock)


class Broken:
    """A table, and a client, whose every call fails."""

    def __getattr__(self, name: str) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, name)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def line(table: Any, clock: Clock) -> Iterator[Line]:
    """An empty line of five starts a second."""
    yield Line(table, Decimal(5))
    table.delete_item(Key={"PK": LINE, "SK": LINE})


class Queue:
    """Sessions of one stack."""

    def __init__(self, client: Any, table: str, clock: Clock) -> None:
        self.new = lambda: Waiting(client, table, clock)

    def joined(self, sessions: int) -> list[Waiting]:
        return [self.new().refused() for _ in range(sessions)]


@pytest.fixture
def queue(embedded: LocalStack, table: Any, line: Line, clock: Clock) -> Queue:
    return Queue(embedded.client("dynamodb"), table.name, clock)


def test_a_new_session_does_not_wait_in_an_empty_line(line: Line, clock: Clock) -> None:
    assert line.is_empty(clock.now)
    await_turn(line, Place(0, 0, clock.now), "session")


def test_refused_sessions_get_turns_in_order_at_a_steady_pace(queue: Queue, clock: Clock) -> None:
    waiting = queue.joined(10)
    assert [one.turn for one in waiting] == [clock.now + FIRST + i * STEP for i in range(10)]
    refusals = {(one.line["refusals"], one.line["code"], one.line["message"]) for one in waiting}
    assert refusals == {(1, "AgentThrottled", "not now")}
    assert {one.looks() for one in waiting} == {"WaitForChange"}
    for one in waiting:
        clock.now = one.turn
        assert one.looks() == "InvokeAgent"


def test_a_new_session_goes_to_the_end_of_the_line(line: Line, queue: Queue, clock: Clock) -> None:
    last = queue.joined(3)[-1]
    with pytest.raises(AgentThrottled, match="session s: other sessions wait in line before it"):
        await_turn(line, Place(0, 0, clock.now), "s")
    assert queue.new().refused().turn == last.turn + STEP


def test_line_restarts_after_a_while_without_waiting_sessions(line: Line, queue: Queue, clock: Clock) -> None:
    queue.joined(3)
    clock.now += 3_600_000
    assert line.is_empty(clock.now)
    assert [one.turn - clock.now for one in queue.joined(3)] == [FIRST, FIRST + STEP, FIRST + 2 * STEP]


def test_ticket_older_than_the_line_has_its_turn_first(table: Any, queue: Queue) -> None:
    key = {"PK": LINE, "SK": LINE}
    table.update_item(Key=key, UpdateExpression="ADD issued :one", ExpressionAttributeValues={":one": 1})
    later, early = queue.joined(4), queue.new()
    early.line |= {"ticket": 1, "refusals": 1, "refused": True}
    assert early.looks() == "WaitForChange"
    assert early.turn == later[0].turn - STEP


def test_a_session_refused_once_at_its_turn_does_not_delay_the_line(queue: Queue, clock: Clock) -> None:
    first, second = queue.joined(2)
    clock.now = first.turn
    assert 1000 <= first.refused().turn - clock.now <= 2000
    turn = second.turn
    second.looks()
    assert second.turn == turn


def test_a_second_refusal_delays_and_slows_the_whole_line_in_its_order(queue: Queue, clock: Clock) -> None:
    waiting = queue.joined(5)
    for _ in range(2):
        clock.now = waiting[0].turn
        waiting[0].refused()
    assert waiting[0].turn == clock.now + 1000
    for one in waiting[1:]:
        one.looks()
    assert [one.turn - waiting[0].turn for one in waiting] == [i * ceil(STEP * SLOWER) for i in range(5)]


def test_of_sessions_refused_at_the_same_time_one_moves_the_line(queue: Queue, clock: Clock) -> None:
    waiting = queue.joined(8)
    clock.now = waiting[-1].turn
    for one in waiting:
        one.refused()
    clock.now += 3000
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(Waiting.refused, waiting))
    turns = sorted(one.turn for one in waiting)
    assert turns[0] > clock.now
    # Slowed down once, and not eight times.
    assert turns[-1] <= clock.now + 2000 + 8 * STEP * SLOWER


def test_repeatedly_refused_line_waits_longer_each_time(queue: Queue, clock: Clock) -> None:
    (one,) = queue.joined(1)
    pauses = []
    for _ in range(12):
        clock.now = one.turn
        pauses.append(one.refused().turn - clock.now)
    assert pauses[1:5] == [1000, 2000, 4000, 8000]
    assert pauses[-1] == LONGEST_PAUSE
    assert one.line["step"] <= LONGEST_STEP


def test_slow_line_speeds_up_without_refusals(line: Line, queue: Queue, clock: Clock) -> None:
    waiting = queue.joined(120)
    for _ in range(2):
        clock.now = waiting[0].turn
        waiting[0].refused()
    steps = []
    for one in waiting[1:]:
        # It looks more often than once, since the line may go faster.
        while one.looks() != "InvokeAgent":
            clock.now = max(clock.now + 1, one.turn)
        line.keep_pace(int(one.line["ticket"]), clock.now)
        steps.append(line._read(clock.now).step)
    assert steps[0] == ceil(STEP * SLOWER)
    assert steps[-1] == STEP
    assert steps.count(steps[0]) <= AFTER + 1


def test_a_late_session_does_not_release_all_behind_it_at_once(line: Line, queue: Queue, clock: Clock) -> None:
    waiting = queue.joined(30)
    clock.now = waiting[20].turn + LATE + 500
    line.keep_pace(int(waiting[20].line["ticket"]), clock.now)
    for number, one in enumerate(waiting[21:], start=1):
        one.looks()
        assert one.turn == clock.now + number * STEP
    # Those before it, which are late as well, need not wait for longer.
    assert {one.looks() for one in waiting[:20]} == {"InvokeAgent"}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_two_sessions_have_the_same_ticket_and_none_waits_for_ever(
    table: Any, line: Line, queue: Queue, clock: Clock, data: st.DataObject
) -> None:
    waiting: list[Waiting] = []
    for _ in range(20):
        clock.now += data.draw(st.integers(0, 3000))
        if not waiting or data.draw(st.booleans()):
            waiting.append(queue.new().refused())
        else:
            one = data.draw(st.sampled_from(waiting))
            if one.looks() == "InvokeAgent":
                one.refused()
    tickets = [one.line["ticket"] for one in waiting]
    assert len(set(tickets)) == len(tickets)
    assert min(tickets) > 0
    for one in waiting:
        for _ in range(50):
            clock.now = max(clock.now, one.turn)
            if one.looks() == "InvokeAgent":
                break
        else:
            raise AssertionError(one.line)
    table.delete_item(Key={"PK": LINE, "SK": LINE})


@pytest.mark.parametrize("drawn", [0.0004, 0.5, 0.9996])
def test_a_refused_session_waits_for_longer_than_the_invoker_would(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, drawn: float
) -> None:
    monkeypatch.setattr("random.random", lambda: drawn)
    one = Waiting(Broken(), "table", clock).refused()
    assert 1000 < one.turn - clock.now <= 2000


def test_a_line_that_cannot_be_read_delays_no_session(table: Any, clock: Clock) -> None:
    await_turn(Line(Broken(), Decimal(5)), Place(3, 0, clock.now), "session")  # type: ignore[arg-type]
    one = Waiting(Broken(), "table", clock)
    for _ in range(3):
        one.refused()
        assert 1000 <= one.turn - clock.now <= 10_000
        clock.now = one.turn
        assert one.looks() == "InvokeAgent"


@pytest.mark.parametrize("given", [None, [], "line", {"line": 3}, {"line": {"ticket": 1}}, {"line": None}])
def test_a_malformed_place_counts_as_a_new_session(given: object) -> None:
    place = Place.from_event(given)
    assert (place.ticket, place.turn) == (0, 0)
    assert abs(place.now / 1000 - time.time()) < 60


ENDLESS: list[dict[str, Any]] = [{"at": 10**16}, {"step": 10**12, "number": 0}, {"number": -(10**9)}, {"issued": 10**9}]
ODD = [{"at": "soon"}, {"issued": "many"}, {"step": "long", "number": []}, {"at": 1, "number": 10**30, "step": 10**30}]


@pytest.mark.parametrize("damage", [*ENDLESS, *ODD])
def test_damaged_line_traps_nobody(table: Any, line: Line, queue: Queue, clock: Clock, damage: dict[str, Any]) -> None:
    waiting = queue.joined(2)
    table.put_item(Item={**table.get_item(Key={"PK": LINE, "SK": LINE})["Item"], **damage})
    try:
        await_turn(line, Place(1, 0, clock.now), "session")
        await_turn(line, Place(0, 0, clock.now), "session")
    except AgentThrottled:
        # Somebody may still wait in it.
        pass
    # Nor does it hold up one that comes now, and is refused.
    assert queue.new().refused().turn <= clock.now + LONGEST_STEP
    for _ in range(3):
        waiting[0].refused()
        clock.now += 2000
    assert waiting[0].turn <= clock.now + LONGEST_STEP
    # Those that had turns already are not held up either.
    until = clock.now + LONGEST_STEP + FIRST
    while waiting[1].looks() != "InvokeAgent":
        clock.now = max(clock.now + 1, waiting[1].turn)
        assert clock.now <= until


@pytest.mark.parametrize("damage", ENDLESS)
def test_endless_line_counts_as_damaged_and_delays_no_session(
    table: Any, line: Line, queue: Queue, clock: Clock, damage: dict[str, Any]
) -> None:
    queue.joined(2)
    table.put_item(Item={**table.get_item(Key={"PK": LINE, "SK": LINE})["Item"], **damage})
    await_turn(line, Place(0, 0, clock.now), "session")


def test_session_in_a_slow_line_checks_halfway_at_most_every_90_s(table: Any, queue: Queue, clock: Clock) -> None:
    table.put_item(Item={"PK": LINE, "SK": LINE, "issued": 500, "number": 0, "at": clock.now, "step": 1000})
    for ticket, ahead in ((400, 200_000), (100, SELDOM), (50, 50_000)):
        one = queue.new()
        one.line |= {"ticket": ticket, "refusals": 1}
        assert one.looks() == "WaitForChange"
        assert one.turn - clock.now == ahead


def test_a_turn_is_awaited_by_the_clock_of_the_workflow(monkeypatch: pytest.MonkeyPatch, line: Line) -> None:
    slept: list[float] = []
    # The module's own name for the time: other threads of this process sleep, too.
    monkeypatch.setattr("vigil.invoker.time", SimpleNamespace(sleep=slept.append))
    await_turn(line, Place(1, 5_400, 5_000), "session")
    await_turn(line, Place(1, 4_000, 5_000), "session")
    assert slept == [0.4, 0]


def test_session_that_began_despite_a_refusal_leaves_the_line(queue: Queue, clock: Clock) -> None:
    (one,) = queue.joined(1)
    began = "1970-01-01T00:00:00.000Z"
    watched = {"status": "BUSY", "otherExecution": False, "deadline": 1_000, "lastHeartbeat": {"unchangedMs": 0}}
    variables = {"line": one.line, "attempt": 1, "invoked": 1, "taken": True, **watched}
    given = {"context": {"Execution": {"StartTime": began}}}
    rule = chosen(workflow_states(5)["RouteByStatus"], lambda node: evaluated(node, given, variables, clock))
    assert rule["Next"] == "WaitForChange"
    told = evaluated(rule["Assign"], given, variables, clock)
    assert (told["line"]["turn"], told["line"]["refusals"]) == (0, 0)
    # It has all its time from now on.
    assert told["deadline"] == clock.now + 1_000


@pytest.mark.parametrize(
    ("status", "attempt", "following"),
    [
        *(("INITIATED", 1, "WaitForChange"), ("INITIATED", 2, "WaitForChange"), ("BUSY", 2, "WaitForChange")),
        # Nothing can wake the workflow without a record, and a task token is stored for no other status.
        *(("", 1, "WaitBeforeRetry"), ("DONE", 1, "MarkFailed"), ("COMPLETED", 1, "StopAgent")),
    ],
)
def test_a_session_waits_in_line_until_its_attempt_begins_or_it_ends(
    queue: Queue, clock: Clock, status: str, attempt: int, following: str
) -> None:
    (one,) = queue.joined(1)
    one.line["turn"] = clock.now + 60_000
    given = {"context": {"Execution": {"StartTime": "2027-01-15T08:00:00.000Z"}}}
    watched = {"status": status, "otherExecution": False, "taken": False, "mayContinue": True, "line": one.line}
    beat = {"value": "", "unchangedMs": 0}
    variables = {**watched, "attempt": attempt, "invoked": attempt, "deadline": clock.now + 1000, "lastHeartbeat": beat}
    rule = chosen(workflow_states(5)["RouteByStatus"], lambda node: evaluated(node, given, variables, clock))
    assert rule["Next"] == following


def test_deleted_line_delays_no_session(table: Any, queue: Queue, clock: Clock) -> None:
    waiting = queue.joined(30)
    table.delete_item(Key={"PK": LINE, "SK": LINE})
    assert waiting[-1].looks() == "InvokeAgent"
    queue.joined(2)
    assert waiting[-2].refused().turn <= clock.now + 10_000


def test_slow_line_speeds_up_when_all_its_sessions_were_stopped(line: Line, queue: Queue, clock: Clock) -> None:
    one = queue.joined(100)[0]
    for _ in range(12):
        clock.now = one.turn
        one.refused()
    seconds = 0
    while not line.is_empty(clock.now):
        clock.now += 11_000
        seconds += 11
    # By its step alone it would be 100 times 10 s.
    assert seconds < 600


def test_first_ticket_after_many_refusals_begins_a_normal_line(queue: Queue) -> None:
    one = queue.new()
    one.line |= {"refusals": 8}
    assert one.refused().line["refusals"] == 1

"""The line in which sessions wait, on a table and by a clock of its own."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vigil.errors import AgentQuotaExceeded, AgentThrottled
from vigil.invoker import place_of, refused_place
from vigil.line import AFTER, LATE, LINE, LOAD, LONGEST_PAUSE, Line, Place

REFUSAL = AgentThrottled("not now")
STEP = int(1000 / (LOAD * 5))


class Clock:
    """Time that passes when a test says so, in milliseconds."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def line(table: Any, clock: Clock) -> Iterator[Line]:
    """A line of five a second, in which nobody waits."""
    yield Line(table, Decimal(5), clock)
    table.delete_item(Key={"PK": LINE, "SK": LINE})


def joined(line: Line, sessions: int) -> list[Place]:
    return [refused_place(line, Place(), REFUSAL) for _ in range(sessions)]


def test_who_comes_to_an_empty_line_has_no_place_and_need_not_wait(line: Line) -> None:
    assert line.is_empty()
    assert place_of(line, Place()) == Place()


def test_those_that_are_refused_get_turns_at_a_steady_pace_in_their_order(line: Line, clock: Clock) -> None:
    places = joined(line, 10)
    assert [place.turn for place in places] == [clock.now + 1000 + i * STEP for i in range(10)]
    assert {(place.refusals, place.code, place.message) for place in places} == {(1, "AgentThrottled", "not now")}
    assert [place_of(line, place).turn for place in places] == [place.turn for place in places]


def test_who_comes_while_others_wait_goes_to_the_end(line: Line) -> None:
    last = joined(line, 3)[-1]
    late_comer = place_of(line, Place())
    assert late_comer.turn == last.turn + STEP
    assert late_comer.message == "other sessions wait in line before it"


def test_the_line_begins_anew_when_nobody_has_waited_for_a_while(line: Line, clock: Clock) -> None:
    joined(line, 3)
    clock.now += 3_600_000
    assert line.is_empty()
    assert [place.turn - clock.now for place in joined(line, 3)] == [1000, 1000 + STEP, 1000 + 2 * STEP]


def test_when_the_first_is_refused_all_wait_with_it_in_the_same_order_and_more_slowly(line: Line, clock: Clock) -> None:
    places = joined(line, 5)
    clock.now = places[0].turn
    first = refused_place(line, places[0], AgentQuotaExceeded("full"))
    assert (first.turn, first.refusals, first.code) == (clock.now + 1000, 2, "AgentQuotaExceeded")
    assert [line.turn(place.ticket) - first.turn for place in places] == [i * int(STEP * 1.5) for i in range(5)]


def test_of_those_that_are_refused_at_the_same_time_one_moves_the_line(line: Line, clock: Clock) -> None:
    places = joined(line, 8)
    clock.now = places[-1].turn
    with ThreadPoolExecutor(8) as pool:
        again = list(pool.map(lambda place: refused_place(line, place, REFUSAL), places))
    turns = sorted(place.turn for place in again)
    assert turns[0] >= clock.now + 1000
    # Slowed down once, and not eight times.
    assert turns[-1] <= clock.now + 1000 + 8 * STEP * 1.5


def test_a_line_that_is_refused_again_and_again_waits_longer_each_time(line: Line, clock: Clock) -> None:
    (place,) = joined(line, 1)
    pauses = []
    for _ in range(12):
        clock.now = place.turn
        place = refused_place(line, place, REFUSAL)
        pauses.append(place.turn - clock.now)
    assert pauses[:4] == [1000, 2000, 4000, 8000]
    assert pauses[-1] == LONGEST_PAUSE


def test_a_slow_line_goes_faster_again_when_nobody_is_refused(line: Line, clock: Clock) -> None:
    places = joined(line, 200)
    clock.now = places[0].turn
    places[0] = refused_place(line, places[0], REFUSAL)
    steps = []
    for place in places[1:]:
        # It looks more often than once, since the line may go faster.
        while (turn := line.turn(place.ticket)) > clock.now:
            clock.now = turn
        steps.append(line._read().step)
    assert steps[0] == int(STEP * 1.5)
    assert steps[-1] == STEP
    assert steps.count(steps[0]) <= AFTER + 1


def test_who_comes_late_does_not_let_all_behind_it_in_at_once(line: Line, clock: Clock) -> None:
    places = joined(line, 30)
    clock.now = places[20].turn + LATE + 500
    assert line.turn(places[20].ticket) == clock.now
    assert [line.turn(place.ticket) for place in places[21:]] == [clock.now + i * STEP for i in range(1, 10)]
    # Those before it, which are late as well, need not wait for longer.
    assert all(line.turn(place.ticket) <= clock.now for place in places[:20])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_two_sessions_have_the_same_ticket_whatever_happens(
    table: Any, line: Line, clock: Clock, data: st.DataObject
) -> None:
    places: list[Place] = []
    for _ in range(20):
        clock.now += data.draw(st.integers(0, 3000))
        if not places or data.draw(st.booleans()):
            places.append(refused_place(line, place_of(line, Place()), REFUSAL))
        else:
            place = places.pop(data.draw(st.integers(0, len(places) - 1)))
            place = place_of(line, place)
            assert place.turn > 0
            places.append(refused_place(line, place, REFUSAL) if place.turn <= clock.now + 1000 else place)
    tickets = [place.ticket for place in places]
    assert len(set(tickets)) == len(tickets)
    assert min(tickets) > 0
    table.delete_item(Key={"PK": LINE, "SK": LINE})


def test_a_line_that_cannot_be_reached_holds_nobody_up_and_a_refusal_stays_one(table: Any, clock: Clock) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, name)

    line = Line(Broken(), Decimal(5), clock)  # type: ignore[arg-type]
    assert place_of(line, Place(ticket=3, turn=clock.now + 9000)).turn == 0
    with pytest.raises(AgentThrottled, match="not now"):
        refused_place(line, Place(), REFUSAL)


@pytest.mark.parametrize("given", [None, [], "line", {"line": 3}, {"line": {"ticket": 1}}, {"line": None}])
def test_what_is_no_place_is_the_place_of_one_that_comes_first(given: object) -> None:
    assert Place.from_event(given) == Place()

"""A session's trace as rows: bars to scale, loops as one row, and keys that name a row for good."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vigil.test_trace import PHASE, RECORD, SECONDS, STEP, TIME, trace_of
from vigil.attributes import iso, moment
from vigil.console.timeline import ENDS_OF_AXIS, SHOWN, Timeline
from vigil.trace import WAITING, State, Trace

BEGAN = datetime(2026, 11, 29, 12, tzinfo=UTC)
NOW = BEGAN + timedelta(seconds=7)


def after(seconds: float) -> str:
    return iso(BEGAN + timedelta(seconds=seconds))


def record(seconds: float | None = None, **more: Any) -> dict[str, Any]:
    ended = {} if seconds is None else {"ended_at": after(seconds), "status": "COMPLETED"}
    return {"PK": "s", "status": "BUSY", "start_time": after(0), "busy_at": after(0), **ended, **more}


def states_of(*names: str) -> list[State]:
    """Return states that follow each other, a second each; the workflow is in the last one."""
    times = [after(second) for second in range(len(names))]
    return [State(*one) for one in zip(names, times, [*times[1:], None][: len(names)], strict=True)]


def steps_of(count: int, **more: Any) -> list[Any]:
    return [{"number": n, "started_at": after(n / 1000), "operation": "chat", **more} for n in range(1, count + 1)]


def assert_within(timeline: Timeline) -> None:
    for row in timeline.rows:
        start, length = timeline.bar(row)
        assert 0 <= start <= 100
        assert 0 <= length <= 100
        assert start + length <= 100.01


@settings(max_examples=30)
@given(
    RECORD,
    st.lists(st.tuples(SECONDS | TIME.filter(lambda at: isinstance(at, str)), TIME), max_size=4),
    st.lists(PHASE, max_size=3),
    st.lists(STEP, max_size=5),
    st.integers(0, 10**6) | st.none(),
)
def test_any_items_make_bars_within_the_axis(
    given_record: Any, states: list[Any], phases: list[Any], steps: list[Any], first: int | None
) -> None:
    texts = [State("CheckStatus", at, until if isinstance(until, str) else None) for at, until in states]
    timeline = Timeline(trace_of(given_record, texts, phases, steps), NOW, first)
    assert timeline.axis > 0
    assert_within(timeline)
    assert timeline.rows
    assert 0 <= timeline.first < timeline.count


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=5))
def test_bars_are_to_scale(spans: list[tuple[int, int]]) -> None:
    lasted = max(start + took for start, took in spans) / 1000
    states = [State("A", after(start / 1000), after((start + took) / 1000)) for start, took in sorted(spans)]
    timeline = Timeline(trace_of(record(lasted), states, [], []), NOW, None)
    assert timeline.axis >= lasted
    bars = [timeline.bar(row) for row in timeline.rows if row.span.kind == "state"]
    for (start, took), (x, width) in zip(sorted(spans), bars, strict=True):
        assert x == pytest.approx(start / 10 / timeline.axis, abs=0.01)
        assert width == pytest.approx(took / 10 / timeline.axis, abs=0.01)


@pytest.mark.parametrize(
    ("began", "ended"),
    [
        *[(after(5), after(1)), ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"), ("9999-12-31T23:59:59Z", None)],
        *[("no timestamp", None), ("", ""), ("2026-11-29", "2026-11-29T12:00:01+14:00"), (after(60), None)],
        *[("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"), (after(0), "later")],
    ],
)
def test_times_that_cannot_be_are_drawn(began: str, ended: str | None) -> None:
    for given_record in (record(), record(3), record(start_time=began, ended_at=ended)):
        for states in ([], [State("A", began, ended)]):
            assert_within(Timeline(trace_of(given_record, states, [], steps_of(2, ended_at=ended)), NOW, None))


@pytest.mark.parametrize("lasted", [0, 1, 15, 15.1, 30, 31, 120, 3600, 3601, 28_800])
def test_the_axis_ends_where_the_next_one_does(lasted: float) -> None:
    ended, running = (trace_of(given_record, [], [], []) for given_record in (record(lasted), record()))
    end = next(end for end in ENDS_OF_AXIS if end >= lasted)
    assert Timeline(ended, NOW, None).axis == Timeline(running, BEGAN + timedelta(seconds=lasted), None).axis == end


def test_the_axis_of_a_session_beyond_all_ends_is_as_long_as_it() -> None:
    assert Timeline(trace_of(record(100_000), [], [], []), NOW, None).axis == 100_000


@given(st.lists(st.sampled_from([*WAITING, "InvokeAgent", "Done"]), max_size=30))
def test_a_loop_is_one_row_that_counts_how_often_it_looked(names: list[str]) -> None:
    rows = Timeline(trace_of(record(), states_of(*names), [], []), NOW, None).rows
    drawn = [(row.span.name, row.span.began_at, row.span.ended_at) for row in rows if row.depth == 1]
    runs: list[list[State]] = []
    for state in states_of(*names):
        if runs and state.name in WAITING and runs[-1][-1].name in WAITING:
            runs[-1].append(state)
        else:
            runs.append([state])
    expected = []
    for run in runs:
        looks = sum(state.name == "CheckStatus" for state in run)
        loop = f"waits for the agent, looked {looks} time{'s' * (looks > 1)}" if looks else "waits for the agent"
        expected.append((run[0].name if len(run) == 1 else loop, run[0].entered_at, run[-1].exited_at))
    assert [row for row in drawn if row[0] != "1"] == expected


@given(st.lists(st.sampled_from([*WAITING, "InvokeAgent", "Done"]), min_size=1, max_size=12), st.integers(1, 5))
def test_a_row_keeps_its_key_when_others_follow(names: list[str], steps: int) -> None:
    def keys(states: int, steps: int) -> dict[str, str]:
        trace = trace_of(record(), states_of(*names)[:states], [], steps_of(steps))
        rows = Timeline(trace, NOW, None).rows
        assert len({row.key for row in rows}) == len(rows)
        # The first of the states that become a loop becomes that.
        return {f"{row.span.kind.replace('loop', 'state')} {row.span.began_at}": row.key for row in rows}

    last = keys(len(names), steps)
    for count in range(len(names)):
        assert keys(count, min(count, steps)).items() <= last.items()


@settings(max_examples=20)
@given(st.lists(STEP, max_size=6), st.lists(PHASE, max_size=3))
def test_no_two_rows_have_the_same_key(steps: list[Any], phases: list[Any]) -> None:
    rows = Timeline(trace_of(record(), states_of("A", "CheckStatus", "A"), phases, steps), NOW, None).rows
    assert len({row.key for row in rows}) == len(rows)


@pytest.fixture(scope="module")
def long() -> Trace:
    """A session of 5,000 rows: a step that called 500 others, each of which called nine."""
    steps = steps_of(4990)
    for step in steps[1:]:
        step["parent"] = step["number"] // 10 * 10 if step["number"] % 10 else 1
    return trace_of(record(), states_of(*(f"S{number}" for number in range(8))), [], steps)


@pytest.mark.parametrize("first", [None, 0, 1, 99, 2500, 4901, 4999, 5000, 999_999])
def test_a_page_shows_at_most_its_rows_and_those_around_them(long: Trace, first: int | None) -> None:
    timeline = Timeline(long, NOW, first)
    assert timeline.count == 5000
    begins = 5000 - SHOWN if first is None else min(first, 4999)
    assert timeline.first == begins
    above = len(timeline.rows) - min(SHOWN, 5000 - begins)
    assert above == timeline.rows[above].depth
    assert [row.depth for row in timeline.rows[: above + 1]] == list(range(above + 1))


def test_the_row_of_the_session_begins_at_zero() -> None:
    row = Timeline(trace_of(record(3), [], [], []), NOW, None).rows[0]
    assert (row.key, row.depth, row.start, moment(row.span.ended_at)) == (
        "session-1",
        0,
        0.0,
        BEGAN + timedelta(seconds=3),
    )

"""When a schedule runs next, beside what AWS documents of its expressions."""

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vigil.errors import InvalidInput
from vigil.names import TICK_KEY
from vigil.schedule import Schedule, next_runs
from vigil.session import check_session_id, session_id_of

FRIDAY = datetime(2026, 3, 27, 12, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def runs(expression: str, number: int = 3, after: datetime = FRIDAY, created: datetime = FRIDAY) -> list[str]:
    found = islice(next_runs(expression, BERLIN, created, after), number)
    return [f"{run.astimezone(UTC):%Y-%m-%d %H:%M}" for run in found]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # The clocks go forward on 29 March: 8 o'clock is 7 in UTC before, and 6 after.
        ("cron(0 8 ? * FRI *)", ["2026-04-03 06:00", "2026-04-10 06:00", "2026-04-17 06:00"]),
        ("cron(0 8 * * ? *)", ["2026-03-28 07:00", "2026-03-29 06:00", "2026-03-30 06:00"]),
        # AWS counts the days of the week from Sunday, 1.
        ("cron(0 8 ? * 2 *)", ["2026-03-30 06:00", "2026-04-06 06:00", "2026-04-13 06:00"]),
        ("cron(0 8 ? * 2-6/4 *)", ["2026-03-30 06:00", "2026-04-03 06:00", "2026-04-06 06:00"]),
        ("cron(0 8 ? * 6L *)", ["2026-04-24 06:00", "2026-05-29 06:00", "2026-06-26 06:00"]),
        ("cron(0 8 ? * 3#1 *)", ["2026-04-07 06:00", "2026-05-05 06:00", "2026-06-02 06:00"]),
        ("cron(0 8 ? * L *)", ["2026-03-28 07:00", "2026-04-04 06:00", "2026-04-11 06:00"]),
        ("cron(0 8 ? * 2,L *)", ["2026-03-28 07:00", "2026-03-30 06:00", "2026-04-04 06:00"]),
        ("cron(0 8 ? * 02 *)", ["2026-03-30 06:00", "2026-04-06 06:00", "2026-04-13 06:00"]),
        ("cron(0 8 ? * 07 *)", ["2026-03-28 07:00", "2026-04-04 06:00", "2026-04-11 06:00"]),
        ("cron(0 8 ? * 01L *)", ["2026-03-29 06:00", "2026-04-26 06:00", "2026-05-31 06:00"]),
        ("cron(0 8 ? * FRIL *)", ["2026-04-24 06:00", "2026-05-29 06:00", "2026-06-26 06:00"]),
        # A step ends on Saturday.
        ("cron(0 8 ? * MON/3 *)", ["2026-03-30 06:00", "2026-04-02 06:00", "2026-04-06 06:00"]),
        ("cron(0 8 LW * ? *)", ["2026-03-31 06:00", "2026-04-30 06:00", "2026-05-29 06:00"]),
        ("cron(0 8 L * ? *)", ["2026-03-31 06:00", "2026-04-30 06:00", "2026-05-31 06:00"]),
        ("cron(0/20 * * * ? *)", ["2026-03-27 12:20", "2026-03-27 12:40", "2026-03-27 13:00"]),
        ("cron(0 8 1 JAN ? 2028,2030/2)", ["2028-01-01 07:00", "2030-01-01 07:00", "2032-01-01 07:00"]),
        ("cron(0 8 1 1 ? 2026)", []),
        ("cron(0 8 1 1 ? 2198-9999999999)", ["2198-01-01 07:00", "2199-01-01 07:00"]),
        # 2:30 does not exist on 29 March: Scheduler leaves it out.
        ("cron(30 2 * * ? *)", ["2026-03-28 01:30", "2026-03-30 00:30", "2026-03-31 00:30"]),
        ("cron(0 8 ? * 7/1 *)", ["2026-03-28 07:00", "2026-04-04 06:00", "2026-04-11 06:00"]),
        ("rate(1 hour)", ["2026-03-27 13:00", "2026-03-27 14:00", "2026-03-27 15:00"]),
        ("rate(7 days)", ["2026-04-03 12:00", "2026-04-10 12:00", "2026-04-17 12:00"]),
    ],
)
def test_next_runs_are_those_that_aws_documents(expression: str, expected: list[str]) -> None:
    assert runs(expression) == expected


def test_a_time_that_the_clocks_show_twice_comes_once() -> None:
    autumn = datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert runs("cron(30 2 * * ? *)", 2, autumn) == ["2026-10-25 00:30", "2026-10-26 01:30"]


def field(first: int, last: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[tuple[str, set[int]]]:
    """Draw a field of a cron expression: its text and what it matches."""
    number, everything = st.integers(first, last), range(first, last + 1)

    def text(value: int) -> str:
        return names[value - first] if names else str(value)

    return st.one_of(
        st.just(("*", {*everything})),
        number.map(lambda one: (text(one), {one})),
        st.tuples(number, number).map(lambda both: (",".join(map(text, both)), {*both})),
        st.tuples(number, number)
        .map(sorted)
        .map(lambda ab: (f"{text(ab[0])}-{text(ab[1])}", {*range(ab[0], ab[1] + 1)})),
        st.tuples(number, st.integers(1, 9)).map(
            lambda ab: (f"{text(ab[0])}/{ab[1]}", {*everything[ab[0] - first :: ab[1]]})
        ),
    )


EVERY_WEEKDAY = ("*", {*range(1, 8)})
weekdays = field(1, 7) | field(1, 7, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))
zones = st.sampled_from(["Australia/Lord_Howe", BERLIN, "Africa/Casablanca", "Pacific/Apia"])


@settings(max_examples=20)
@example("Australia/Lord_Howe", 0.5, ("0", {0}), ("8", {8}), EVERY_WEEKDAY)
@example("Australia/Lord_Howe", 0.53, ("15", {15}), ("2", {2}), EVERY_WEEKDAY)
@given(zones | st.sampled_from(sorted(available_timezones())), st.floats(0, 1), field(0, 59), field(0, 23), weekdays)
def test_a_cron_expression_runs_when_the_clocks_show_its_time_first(
    name: str, part: float, minute: tuple[str, set[int]], hour: tuple[str, set[int]], weekday: tuple[str, set[int]]
) -> None:
    zone = ZoneInfo(name)
    days = [datetime(2010, 1, 1, tzinfo=UTC) + timedelta(days=number) for number in range(12 * 365)]
    offsets = [day.astimezone(zone).utcoffset() for day in days]
    changes = [day for day, (before, after) in zip(days, pairwise(offsets), strict=False) if before != after] or days
    start = changes[int(part * (len(changes) - 1))] - timedelta(hours=12)
    minutes = [start + timedelta(minutes=number) for number in range(1, 2 * 24 * 60 + 1)]
    expected = [
        moment
        for moment in minutes
        if (shown := moment.astimezone(zone)).minute in minute[1]
        and shown.hour in hour[1]
        and shown.isoweekday() % 7 + 1 in weekday[1]
        and not shown.fold
    ]
    found = next_runs(f"cron({minute[0]} {hour[0]} ? * {weekday[0]} *)", name, start, start)
    assert [run.astimezone(UTC) for run in takewhile(minutes[-1].__ge__, found)] == expected


@pytest.mark.parametrize(
    ("expression", "first"),
    [
        ("cron(* * * * ? 2060)", "2059-12-31 23:00"),
        ("cron(0/5 * * * ? 2030,2040)", "2029-12-31 23:00"),
        ("cron(* * * * ? 2199)", "2198-12-31 23:00"),
    ],
)
def test_a_year_that_is_far_away_is_found_at_once(expression: str, first: str) -> None:
    before = time.process_time()
    assert runs(expression, 1) == [first]
    assert time.process_time() - before < 0.5


@pytest.mark.parametrize("zone", [BERLIN, "America/New_York", "Australia/Lord_Howe"])
def test_the_runs_of_a_rate_are_equally_far_apart_whatever_clocks_its_creation_shows(zone: str) -> None:
    found = islice(next_runs("rate(100 days)", BERLIN, FRIDAY.astimezone(ZoneInfo(zone)), FRIDAY), 8)
    assert [*found] == [FRIDAY + timedelta(days=100 * number) for number in range(1, 9)]


def test_a_rate_runs_first_when_it_is_created() -> None:
    before = FRIDAY - timedelta(seconds=1)
    assert runs("rate(15 minutes)", 2, before) == ["2026-03-27 12:00", "2026-03-27 12:15"]


@pytest.mark.parametrize("day", ["31 2", "30,31 FEB", "31 4,6,9,11"])
def test_a_day_that_never_comes_is_refused_as_one(day: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^'cron\(0 8 {day} \? \*\)' never runs: its months have no such day$"):
        runs(f"cron(0 8 {day} ? *)")


@pytest.mark.parametrize(
    "expression",
    [
        *("cron(0 8 15W * ? *)", "cron(0 8)", "rate(x days)", "rate(1 moon)", "at(x)", ""),
        *("cron(0 8 31 FEBRUARY ? *)", "cron(0 8 ? * 0 *)", "cron(0 8 ? * 8 *)"),
        # AWS documents no range that ends before it begins.
        *("cron(0 8 ? * FRI-MON *)", "cron(0 22-2 * * ? *)", "cron(0 8 1 NOV-FEB ? *)", "cron(0 8 1 1 ? 2028-2026)"),
        # No clock shows these times.
        *("rate(0 days)", "rate(9999999 days)", "rate(99999999999 days)"),
    ],
)
def test_an_expression_that_is_not_understood_is_refused(expression: str) -> None:
    with pytest.raises(InvalidInput, match="not understood"):
        runs(expression)


def schedule(**changes: object) -> Schedule:
    found = {"ScheduleExpression": "rate(1 day)", "State": "ENABLED", "CreationDate": FRIDAY, "Target": {}}
    return Schedule.from_response({**found, **changes})


def test_the_detail_is_shown_without_its_tick() -> None:
    text = f'{{"days": 30, "{TICK_KEY}":"<aws.scheduler.scheduled-time>"}}'
    assert schedule(Target={"Input": text}).detail == '{"days": 30}'
    assert schedule(Target={"Input": "no JSON"}).detail == "no JSON"


def test_a_disabled_schedule_has_no_next_run() -> None:
    assert len(schedule().next(3, FRIDAY)) == 3
    assert schedule(State="DISABLED").next(3, FRIDAY) == []
    with pytest.raises(InvalidInput, match="time zone"):
        schedule(ScheduleExpressionTimezone="Moon/Crater").next(3, FRIDAY)


@given(st.from_regex(r"rate\([0-9]{1,12} (minute|hour|day)s\)", fullmatch=True), st.sampled_from(["UTC", BERLIN]))
def test_any_rate_has_runs_or_is_refused(expression: str, zone: str) -> None:
    found = schedule(ScheduleExpression=expression, ScheduleExpressionTimezone=zone)
    with suppress(InvalidInput):
        assert len(found.next(3, FRIDAY)) == 3


moments = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31)).map(lambda at: at.replace(microsecond=0))  # noqa: DTZ001


@given(moments, moments)
def test_every_tick_has_an_id_of_its_own(one: datetime, other: datetime) -> None:
    ids = [session_id_of("event", {TICK_KEY: f"{at.isoformat()}Z"}) for at in (one, other)]
    assert all(check_session_id(found) for found in ids)
    assert (ids[0] == ids[1]) == (one == other)


@given(st.text() | st.integers() | st.lists(st.text()) | st.none())
def test_a_value_that_is_no_tick_leaves_the_events_id(value: object) -> None:
    assert session_id_of("event", {TICK_KEY: value}) == "event"

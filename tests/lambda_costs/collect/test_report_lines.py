import json
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_costs.collect import report_lines
from lambda_costs.collect.metrics import Daily
from lambda_costs.collect.report_lines import (
    Outcome,
    ReportLine,
    Reports,
    Tally,
    TallyKey,
    is_sampled,
    parse_report,
    read_lines,
    reconcile,
    slices,
    tally,
)
from tests.lambda_costs.cases import function
from tests.lambda_costs.conftest import Stubbed
from vigil.local.stack import LocalStack

START = datetime(2026, 6, 1, tzinfo=UTC)
END = START + timedelta(days=8)
HOUR = timedelta(hours=1)
FIRST = START.date()


def always_fits(lines: int, start: datetime, end: datetime) -> bool:
    return True


def text(
    duration: Any = 102.25, billed: Any = 103, memory: Any = 512, used: Any = 85, init: Any = None, more: str = ""
) -> str:
    """Return a line as Lambda writes it (AWS Lambda Developer Guide), ``more`` at its end."""
    line = (
        f"REPORT RequestId: 8f507cfc-xmpl-4697-b07a-ac58fc914c95\tDuration: {duration} ms\t"
        f"Billed Duration: {billed} ms\tMemory Size: {memory} MB\tMax Memory Used: {used} MB\t"
    )
    return line + (f"Init Duration: {init} ms\t" if init is not None else "") + more + "\n"


def as_json(status: str | None = "success", error: str | None = None, **changed: Any) -> str:
    metrics = {"durationMs": 102.25, "billedDurationMs": 103, "memorySizeMB": 512, "maxMemoryUsedMB": 85, **changed}
    record = {"requestId": "8f507cfc", "metrics": metrics}
    record |= {"status": status} if status else {}
    record |= {"errorType": error} if error else {}
    return json.dumps({"time": "2026-06-01T00:00:00Z", "type": "platform.report", "record": record})


WARM = ReportLine(102.25, 103, 512, 85, None, 0, Outcome.SUCCESS)
TRACED = "XRAY TraceId: 1-5e\tSegmentId: 7d\tSampled: true\t"


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (text(), WARM),
        (text(more=TRACED), WARM),
        (as_json(), WARM),
        (as_json(status=None), WARM),
        # All of the init is billed: 102.25 + 231.05 = 333.3, rounded up.
        (text(billed=334, init="231.05"), WARM._replace(billed_ms=334, init_ms=231.05)),
        (as_json(billedDurationMs=334, initDurationMs=231.05), WARM._replace(billed_ms=334, init_ms=231.05)),
        # As before August 2025, or of an init that is paid for otherwise: none of it is billed.
        (text(init="231.05"), WARM._replace(init_ms=0.75)),
        (text(billed=178, more="Restore Duration: 474.16 ms\tBilled Restore Duration: 75 ms"),
         WARM._replace(billed_ms=178, restore_ms=75)),
        (as_json(billedDurationMs=178, restoreDurationMs=474.16, billedRestoreDurationMs=75),
         WARM._replace(billed_ms=178, restore_ms=75)),
        *(
            (message, WARM._replace(duration_ms=3000, billed_ms=3000, outcome=outcome))
            for status, error, outcome in [
                ("timeout", None, Outcome.TIMEOUT),
                ("error", "Runtime.ExitError", Outcome.ERROR),
                ("error", "Runtime.OutOfMemory", Outcome.OUT_OF_MEMORY),
                ("failure", None, Outcome.ERROR),
            ]
            for message in (
                text("3000.00", 3000, more=f"{TRACED}Status: {status}" + (f"\tError Type: {error}" if error else "")),
                as_json(status, error, durationMs=3000, billedDurationMs=3000),
            )
        ),
    ],
)  # fmt: skip
def test_a_report_is_read_as_text_and_as_json(message: str, line: ReportLine) -> None:
    assert parse_report(message) == line


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "REPORT",
        "START RequestId: 1 Version: $LATEST",
        "INIT_REPORT Init Duration: 10000.00 ms\tPhase: init\tStatus: timeout",
        " " + text(),
        "INFO " + text(),  # quoted by the application
        text(billed="1.2.3"),
        text(memory="9" * 5000),
        text(used="-1"),
        as_json(billedDurationMs="soon"),
        as_json(billedDurationMs=float("nan")),
        as_json(memorySizeMB=float("inf")),
        as_json(maxMemoryUsedMB=None),
        as_json()[:-1],
        as_json().replace("platform.report", "platform.start"),
        '{"type": "platform.report"}',
        '{"type": "platform.report", "record": "metrics"}',
        '{"type": "platform.report", "record": {"metrics": []}}',
        '{"level": "INFO", "message": "platform.report"}',
        '{"a":' * 100_000,
    ],
)
def test_other_messages_are_no_reports(message: str) -> None:
    assert parse_report(message) is None


@pytest.mark.parametrize(
    ("values", "is_possible"),
    [
        ({"duration": 102.25, "billed": 102}, False),  # less than its duration
        ({"duration": 102.25, "billed": 104}, False),  # more than rounded up
        ({"duration": 102, "billed": 102}, True),
        ({"duration": 102.25, "billed": 334, "init": 230}, False),  # more than its duration and start
        ({"duration": 1, "billed": 10_001, "init": 10_000}, True),
        ({"duration": 1, "billed": 20_001, "init": 20_000}, False),  # Lambda gives a start 10 s
        ({"duration": 900_000, "billed": 900_000}, True),
        ({"duration": 900_001, "billed": 900_001}, False),  # no timeout is longer
        ({"memory": 127}, False),
        ({"memory": 10_241}, False),
        ({"memory": 128, "used": 129}, True),  # out of memory, a line may show slightly more than its size
        ({"memory": 128, "used": 140}, False),
    ],
)
def test_a_report_with_impossible_values_is_none(values: dict[str, Any], is_possible: bool) -> None:
    names = {"duration": "durationMs", "billed": "billedDurationMs", "memory": "memorySizeMB",
             "used": "maxMemoryUsedMB", "init": "initDurationMs"}  # fmt: skip
    for message in (text(**values), as_json(**{names[name]: value for name, value in values.items()})):
        assert (parse_report(message) is not None) is is_possible


@settings(deadline=None)
@given(st.integers(0, 900_000), st.integers(128, 10_240), st.floats(0, 1), st.none() | st.integers(0, 10_000))
def test_text_and_json_say_the_same(duration: int, memory: int, share: float, init: int | None) -> None:
    billed, used = duration + (init or 0), int(memory * share)
    expected = ReportLine(duration, billed, memory, used, init, 0, Outcome.SUCCESS)
    cold = {} if init is None else {"initDurationMs": init}
    assert parse_report(text(duration, billed, memory, used, init)) == expected
    assert expected == parse_report(as_json(durationMs=duration, billedDurationMs=billed, memorySizeMB=memory,
                                            maxMemoryUsedMB=used, **cold))  # fmt: skip


scalars = st.none() | st.booleans() | st.floats() | st.integers() | st.text()
anything = st.recursive(scalars, lambda some: st.lists(some, max_size=3))


@settings(deadline=None)
@given(
    st.text()
    | st.from_regex(r"REPORT RequestId: \S+ Duration: [\d.]+ ms Billed Duration: [\d.]+ ms Memory Size: \d+ MB.*")
    | st.builds(as_json, durationMs=anything, billedDurationMs=anything, memorySizeMB=anything, initDurationMs=anything)
)
def test_no_message_raises_an_error_or_has_impossible_values(message: str) -> None:
    line = parse_report(message)
    if line:
        assert 0 <= line.duration_ms <= 900_000
        assert 0 <= line.billed_ms <= 910_002
        assert 0 <= (line.init_ms or 0) <= 10_002
        assert 128 <= line.memory_mb <= 10_240


NEXT = FIRST + timedelta(days=1)


def test_lines_add_up_by_day_memory_size_and_outcome() -> None:
    lines = [
        (NEXT, ReportLine(7, 8, 1024, 300, None, 0, Outcome.SUCCESS)),
        (FIRST, ReportLine(100, 100, 512, 80, None, 0, Outcome.SUCCESS)),
        (FIRST, ReportLine(50, 80, 512, 90, 30, 0, Outcome.SUCCESS)),
        (FIRST, ReportLine(3000, 3000, 512, 70, None, 0, Outcome.TIMEOUT)),
        (FIRST, ReportLine(9, 9, 1024, 70, 0, 0, Outcome.SUCCESS)),
    ]
    tallies = tally(lines)
    assert tallies == {
        TallyKey(FIRST, 512, Outcome.SUCCESS): Tally(2, 150, 180, 30, 1, 90, 100),
        TallyKey(FIRST, 512, Outcome.TIMEOUT): Tally(1, 3000, 3000, 0, 0, 70, 3000),
        TallyKey(FIRST, 1024, Outcome.SUCCESS): Tally(1, 9, 9, 0, 1, 70, 9),
        TallyKey(NEXT, 1024, Outcome.SUCCESS): Tally(1, 7, 8, 0, 0, 300, 7),
    }
    reports = Reports(tallies, 0)
    assert reports.all == Tally(5, 3166, 3197, 30, 2, 300, 3000)
    assert reports.first_day == FIRST
    assert reports.sizes_of_day == {
        FIRST: {512: Tally(3, 3150, 3180, 30, 1, 90, 3000), 1024: Tally(1, 9, 9, 0, 1, 70, 9)},
        NEXT: {1024: Tally(1, 7, 8, 0, 0, 300, 7)},
    }
    assert reports.sizes == {512, 1024}
    # The one line of the next day may be of an invocation that began before midnight.
    assert reports.logged_days == {FIRST}
    assert reports.where(day=FIRST, outcome=Outcome.SUCCESS) == Tally(3, 159, 189, 30, 2, 90, 100)
    assert reports.where(memory_mb=1024) == Tally(2, 16, 17, 0, 1, 300, 9)
    assert reports.where(outcome=Outcome.ERROR) == Tally(0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("lines", "invocations", "left"),
    [
        ([100, 100], [100, 100], [0, 1]),
        ([10, 100], [100, 100], [0, 1]),  # a sample
        ([200, 100], [100, 100], [1]),  # doubled, or forged
        ([101, 99], [100, 100], [0, 1]),  # one ran over midnight
        ([110, 90], [100, 100], [1]),  # ten did not
        ([105, 105], [100, 100], []),  # nor did they end on no day at all
        ([5, 100], [None, 100], [0, 1]),  # CloudWatch does not show the first day
        ([5, 200], [None, 100], [0]),
        ([], [100, 100], []),
    ],
)
def test_days_with_surplus_lines_are_dropped(lines: list[int], invocations: list[int | None], left: list[int]) -> None:
    days = [FIRST, NEXT]
    seen = {day: float(number) for day, number in zip(days, invocations, strict=True) if number}
    keys = [TallyKey(day, 512, Outcome.SUCCESS) for day in days]
    tallies = {key: Tally(number, 1, 1, 0, 0, 1, 1) for key, number in zip(keys, lines, strict=False)}
    reports = reconcile(tallies, Daily(seen, END.date()))
    kept = [day for day in days if reports and any(key.day == day for key in reports.tallies)]
    assert kept == [days[index] for index in left]
    if reports:
        assert reports.days_dropped == len(lines) - len(left)


@pytest.fixture
def name() -> str:
    return f"logs-{uuid.uuid4()}"


def write(aws: LocalStack, group: str, *events: tuple[datetime, str], stream: str = "2026/06/01/[$LATEST]a") -> Any:
    logs = aws.client("logs")
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    written = [{"timestamp": int(moment.timestamp() * 1000), "message": line} for moment, line in events]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=written)
    return logs


def success(day: date, lines: int, memory: int = 512, used: int = 85) -> dict[TallyKey, Tally]:
    return {TallyKey(day, memory, Outcome.SUCCESS): Tally(lines, 102.25 * lines, 103 * lines, 0, 0, used, 102.25)}


def test_only_reports_of_the_window_are_read(embedded: LocalStack, name: str) -> None:
    inside = [(START, text(used=10)), (START + HOUR, "an application's REPORT"), (END - HOUR, text(used=100))]
    logs = write(embedded, f"/aws/lambda/{name}", (START - HOUR, text(used=1)), *inside, (END, text(used=400)))
    assert read_lines(logs, function(name), [START], END) == {
        **success(FIRST, 1, used=10),
        **success(END.date() - timedelta(days=1), 1, used=100),
    }


def test_json_reports_are_read(embedded: LocalStack, name: str) -> None:
    logs = write(embedded, f"/aws/lambda/{name}", (START, as_json()), (START, '{"message": "platform.report"}'))
    assert read_lines(logs, function(name, json_logs=True), [START], END) == success(FIRST, 1)


def test_functions_in_a_shared_log_group_differ_by_their_streams(embedded: LocalStack, name: str) -> None:
    group = f"/shared/{name}"
    write(embedded, group, (START, text(used=1)), stream=f"2026/06/01/{name}[$LATEST]a")
    logs = write(embedded, group, (START, text(used=2)), stream=f"2026/06/01/not-{name}[$LATEST]a")
    assert read_lines(logs, function(name, log_group=group), [START], END) == success(FIRST, 1, used=1)


def test_other_functions_lines_in_a_default_log_group_are_ignored(embedded: LocalStack, name: str) -> None:
    group = f"/aws/lambda/{name}"
    write(embedded, group, (START, text(used=1)), stream="2026/06/01/[$LATEST]a")
    logs = write(embedded, group, (START, text(used=2)), stream="2026/06/01/guest[$LATEST]a")
    assert read_lines(logs, function(name), [START], END) == success(FIRST, 1, used=1)


def test_a_sample_has_the_first_lines_of_slices_on_each_day(
    embedded: LocalStack, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of eight days, the last seven have two slices each. With the beginning, these are 16 slices of two lines.
    monkeypatch.setattr(report_lines, "MAX_LINES", 32)
    logs = write(embedded, f"/aws/lambda/{name}", *[(START + hour * HOUR, text()) for hour in range(8 * 24)])
    sample = read_lines(logs, function(name), slices(START, END, 1), END, always_fits)
    # The slices begin at 0:00 and 1:00; 6 and 18; 11 and 23; 4 and 16; 9 and 21; 2 and 14; 7 and 19; 0 and 12. The
    # first ends after an hour. That at 23:00 has a line of the next day.
    expected = [3, 4, 3, 5, 4, 4, 4, 4]
    assert [sample[TallyKey(FIRST + timedelta(day), 512, Outcome.SUCCESS)].lines for day in range(8)] == expected
    unsampled = read_lines(logs, function(name), [START], START + 30 * HOUR)
    assert sum(item.lines for item in unsampled.values()) == 30


def test_more_than_max_lines_are_sampled() -> None:
    assert [is_sampled(report_lines.MAX_LINES + more) for more in (0, 1)] == [False, True]


def test_the_slices_of_a_month_begin_at_every_hour() -> None:
    # The beginning, 30 days, and a second slice of the last seven.
    begins = slices(START, START + timedelta(days=30), 3_000 // 37)
    assert len(begins) == 38
    assert {begin.hour for begin in begins} == set(range(24))


@pytest.mark.parametrize("days", [14, 30, 56, 90])
@pytest.mark.parametrize("functions", [100, 374, 10_000])
def test_the_more_functions_are_sampled_the_fewer_slices_each_has(days: int, functions: int) -> None:
    begins = slices(START, START + timedelta(days), functions)
    # 3,000 calls in all, or eight slices each and the beginning.
    assert len(begins) <= 1 + max(8, 3_000 // functions)
    assert begins[0] == START
    assert begins == sorted(set(begins))
    # Each part of the day is seen, and most days of the week, the last day too.
    assert {begin.hour // 8 for begin in begins} == {0, 1, 2}
    assert len({begin.weekday() for begin in begins}) >= 6
    assert begins[-1] >= START + timedelta(days - 1)


def test_a_full_slice_that_the_metric_contradicts_is_left_out(
    embedded: LocalStack, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_lines, "MAX_LINES", 32)
    # Three lines in the first slice, one in that of the next day at 6:00, and two on the day after at 11:00.
    hours = [0, 0.25, 0.5, 24 + 6, 48 + 11, 48 + 12]
    logs = write(embedded, f"/aws/lambda/{name}", *[(START + hour * HOUR, text()) for hour in hours])
    asked: list[tuple[int, datetime, datetime]] = []

    def fits(lines: int, start: datetime, end: datetime) -> bool:
        asked.append((lines, start, end))
        return start > START + HOUR

    sample = read_lines(logs, function(name), slices(START, END, 1), END, fits)
    assert sample == {**success(NEXT, 1), **success(FIRST + timedelta(days=2), 2)}
    # From the start of the first invocation to the last line of each full slice.
    began = timedelta(milliseconds=102.25)
    assert asked == [(2, START - began, START + HOUR / 4), (2, START + 59 * HOUR - began, START + 60 * HOUR)]


def test_an_event_that_comes_twice_counts_once(stubbed: Stubbed) -> None:
    logs, answers = stubbed("logs")

    def event(moment: datetime, used: int) -> dict[str, Any]:
        stamp = int(moment.timestamp() * 1000)
        return {"timestamp": stamp, "message": text(used=used), "logStreamName": "s", "eventId": str(uuid.uuid4())}

    asked = {"logGroupName": "/aws/lambda/orders", "filterPattern": "REPORT", "limit": 4000,
             "startTime": int(START.timestamp() * 1000), "endTime": int(END.timestamp() * 1000) - 1}  # fmt: skip
    answers.add_response("filter_log_events", {"events": [event(START, 1)], "nextToken": "a"}, asked)
    answers.add_response("filter_log_events", {"events": [], "nextToken": "b"}, {**asked, "nextToken": "a"})
    again = {"events": [event(START, 1), event(START, 2), event(START + HOUR, 1)]}
    answers.add_response("filter_log_events", again, {**asked, "nextToken": "b"})
    assert read_lines(logs, function(), [START], END) == success(FIRST, 3, used=2)

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.costs.cases import function
from vigil.costs import report_lines
from vigil.costs.report_lines import Billed, ReportLine, Reports, parse_report, read_reports, summarise
from vigil.local.stack import LocalStack

START = datetime(2026, 6, 1, tzinfo=UTC)
END = START + timedelta(days=8)
HOUR = timedelta(hours=1)


def text(billed: object = 103, memory: object = 512, used: object = 85, init: object = None) -> str:
    line = (
        f"REPORT RequestId: 8f507cfc-xmpl-4697-b07a-ac58fc914c95\tDuration: 102.25 ms\tBilled Duration: {billed} ms\t"
        f"Memory Size: {memory} MB\tMax Memory Used: {used} MB\t"
    )
    return line + (f"Init Duration: {init} ms\t" if init is not None else "") + "\n"


def as_json(**changed: Any) -> str:
    metrics = {"durationMs": 102.25, "billedDurationMs": 103, "memorySizeMB": 512, "maxMemoryUsedMB": 85, **changed}
    return json.dumps({"time": "2026-06-01T00:00:00Z", "type": "platform.report", "record": {"metrics": metrics}})


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (text(), ReportLine(103, 512, 85, None)),
        (text(init="231.05"), ReportLine(103, 512, 85, 231.05)),
        (text().rstrip() + "\tXRAY TraceId: 1-5e\tSegmentId: 7d\tSampled: true", ReportLine(103, 512, 85, None)),
        (text().rstrip() + " \tStatus: timeout", ReportLine(103, 512, 85, None)),
        (text().rstrip() + "\tRestore Duration: 9.1 ms\tBilled Restore Duration: 5 ms", ReportLine(103, 512, 85, None)),
        (as_json(), ReportLine(103, 512, 85, None)),
        (as_json(initDurationMs=231.05), ReportLine(103, 512, 85, 231.05)),
    ],
)
def test_a_report_is_read_as_text_and_as_json(message: str, line: ReportLine) -> None:
    assert parse_report(message) == line


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "REPORT",
        "START RequestId: 1 Version: $LATEST",
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
def test_what_is_no_report_is_none(message: str) -> None:
    assert parse_report(message) is None


@settings(deadline=None)
@given(
    billed=st.integers(1, 900_000),
    memory=st.integers(128, 10_240),
    used=st.integers(1, 10_240),
    init=st.none() | st.integers(1, 10_000),
)
def test_text_and_json_say_the_same(billed: int, memory: int, used: int, init: int | None) -> None:
    cold = {} if init is None else {"initDurationMs": init}
    expected = ReportLine(billed, memory, used, init)
    assert parse_report(text(billed, memory, used, init)) == expected
    assert parse_report(as_json(billedDurationMs=billed, memorySizeMB=memory, maxMemoryUsedMB=used, **cold)) == expected


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(), lambda some: st.lists(some, max_size=3)
)


@settings(deadline=None)
@given(
    st.text()
    | st.from_regex(r"REPORT RequestId: \S+ Duration: [\d.]+ ms Billed Duration: [\d.]+ ms Memory Size: \d+ MB.*")
    | st.builds(as_json, billedDurationMs=anything, memorySizeMB=anything, maxMemoryUsedMB=anything)
)
def test_whatever_an_application_logs_is_no_error(message: str) -> None:
    line = parse_report(message)
    assert line is None or line.billed_ms < float("inf")


def test_lines_add_up_by_memory_size_and_the_maximum_is_that_of_all() -> None:
    lines = [ReportLine(100, 512, 80, None), ReportLine(50, 512, 90, 1.0), ReportLine(7, 1024, 300, None)]
    assert summarise(lines) == Reports(3, 300, {512: Billed(2, 150), 1024: Billed(1, 7)})
    assert summarise([]) is None


@pytest.fixture
def name() -> str:
    return f"logs-{uuid.uuid4()}"


def write(
    embedded: LocalStack, group: str, *events: tuple[datetime, str], stream: str = "2026/06/01/[$LATEST]a"
) -> Any:
    logs = embedded.client("logs")
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    logs.put_log_events(
        logGroupName=group,
        logStreamName=stream,
        logEvents=[{"timestamp": int(moment.timestamp() * 1000), "message": line} for moment, line in events],
    )
    return logs


def test_reports_of_the_window_are_read_from_among_other_lines(embedded: LocalStack, name: str) -> None:
    logs = write(
        embedded,
        f"/aws/lambda/{name}",
        (START - HOUR, text(1)),
        (START, text(10)),
        (START + HOUR, "an application's REPORT"),
        (END - HOUR, text(100)),
        (END, text(1000)),
    )
    assert read_reports(logs, function(name), START, END, 2) == Reports(2, 85, {512: Billed(2, 110)})


def test_json_reports_are_read(embedded: LocalStack, name: str) -> None:
    logs = write(embedded, f"/aws/lambda/{name}", (START, as_json()), (START, '{"message": "platform.report"}'))
    assert read_reports(logs, function(name, json_logs=True), START, END, 1) == Reports(1, 85, {512: Billed(1, 103)})


def test_without_reports_there_is_nothing_not_zero(embedded: LocalStack, name: str) -> None:
    logs = write(embedded, f"/aws/lambda/{name}", (START, "hello"))
    assert read_reports(logs, function(name), START, END, 1) is None


def test_a_shared_log_group_is_told_apart_by_its_streams(embedded: LocalStack, name: str) -> None:
    group = f"/shared/{name}"
    write(embedded, group, (START, text(1)), stream=f"2026/06/01/{name}[$LATEST]a")
    logs = write(embedded, group, (START, text(2)), stream=f"2026/06/01/not-{name}[$LATEST]a")
    assert read_reports(logs, function(name, log_group=group), START, END, 2) == Reports(1, 85, {512: Billed(1, 1)})


def test_a_sample_is_taken_from_every_part_of_the_window(
    embedded: LocalStack, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_lines, "MAX_LINES", 16)
    # Four lines a day for eight days, told apart by their memory size.
    events = [
        (START + timedelta(days=day, hours=6 * hour), text(memory=128 + day)) for day in range(8) for hour in range(4)
    ]
    logs = write(embedded, f"/aws/lambda/{name}", *events)
    sample = read_reports(logs, function(name), START, END, 32)
    assert sample is not None
    assert {memory: billed.lines for memory, billed in sample.by_memory.items()} == {128 + day: 2 for day in range(8)}
    some = read_reports(logs, function(name), START, START + timedelta(days=4), 16)
    assert some is not None
    assert some.lines == 16

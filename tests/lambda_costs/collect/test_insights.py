"""Queries of Logs Insights, which the embedded AWS does not evaluate."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import Stubber

from lambda_costs.collect import insights
from lambda_costs.collect.insights import JSON_QUERY, TEXT_QUERY, QueryFailed, query_reports
from lambda_costs.collect.inventory import Function
from lambda_costs.collect.report_lines import Outcome, Tally, TallyKey, parse_report, tally
from tests.lambda_costs.adversarial.insights import Event, run
from tests.lambda_costs.cases import function
from tests.lambda_costs.collect.test_report_lines import as_json, text
from tests.lambda_costs.conftest import Stubbed

START = datetime(2026, 6, 1, tzinfo=UTC)
END = datetime(2026, 7, 1, tzinfo=UTC)


TEXT = [
    text(),
    text(used=90),
    text(memory=1024, more="XRAY TraceId: 1-5e\tSegmentId: 7d\tSampled: true\t"),
    text(billed=334, more="Init Duration: 231.05 ms\t"),
    text(duration=3000, billed=3000, more="Status: timeout"),
    text(duration=9, billed=9, more="Status: error\tError Type: Runtime.ExitError"),
    text(duration=8, billed=8, more="Status: error\tError Type: Runtime.UserCodeError"),  # as much an error
    text(duration=7, billed=7, used=512, more="Status: error\tError Type: Runtime.OutOfMemory"),
    # Impossible values:
    text(billed=102),
    text(billed=99_999),
    text(duration=900_001, billed=900_001),
    text(memory=127),
    text(memory=10_241),
    text(used=600),
    "START RequestId: 8f507cfc Version: $LATEST",
    "an application says Duration: 5 ms",
]
JSON = [
    as_json(),
    as_json(maxMemoryUsedMB=90),
    as_json(billedDurationMs=334, initDurationMs=231.05),
    as_json("timeout", durationMs=3000, billedDurationMs=3000),
    as_json("error", "Runtime.ExitError", durationMs=9, billedDurationMs=9),
    as_json("error", "Runtime.OutOfMemory", durationMs=7, billedDurationMs=7, maxMemoryUsedMB=512),
    as_json(billedDurationMs=102),
    as_json(billedDurationMs=99_999),
    as_json(memorySizeMB=20_000),
    as_json(maxMemoryUsedMB=-1),
    as_json().replace("platform.report", "platform.start"),
    '{"level": "INFO", "message": "platform.report"}',
]


def asked(query: str, functions: Sequence[Function]) -> dict[str, Any]:
    return {
        "logGroupNames": [of.log_group for of in functions],
        "queryString": query,
        "startTime": int(START.timestamp()),  # seconds
        "endTime": int(END.timestamp()) - 1,  # inclusive
        "limit": 10_000,
    }


def answer(answers: Stubber, query: str, of: Sequence[Function], results: list[Any], status: str = "Complete") -> None:
    answers.add_response("start_query", {"queryId": "q"}, asked(query, of))
    answers.add_response("get_query_results", {"status": status, "results": results}, {"queryId": "q"})


def no_sleep(seconds: float) -> None:
    raise AssertionError("slept")


def queried(logs: Any, functions: Sequence[Function]) -> Mapping[Function, dict[TallyKey, Tally]]:
    return query_reports(logs, functions, START, END, no_sleep)


@pytest.mark.parametrize(("query", "lines", "is_json"), [(TEXT_QUERY, TEXT, False), (JSON_QUERY, JSON, True)])
def test_a_query_returns_the_same_tallies_as_lines_read_one_by_one(
    stubbed: Stubbed, query: str, lines: list[str], is_json: bool
) -> None:
    logs, answers = stubbed("logs")
    functions = [function(name, json_logs=is_json) for name in ("orders", "returns", "silent")]
    moments = [START + timedelta(hours=5 * number) for number in range(len(lines))]  # on several days
    events = [(of, moment, line) for of in functions[:2] for moment, line in zip(moments, lines, strict=True)]
    events += [(functions[0], END - timedelta(seconds=1), lines[0])]
    rows = run(query, (Event(of.log_group, int(moment.timestamp() * 1000), line) for of, moment, line in events))
    answer(answers, query, functions, [[{"field": name, "value": text} for name, text in row.items()] for row in rows])
    found = queried(logs, functions)
    assert list(found) == functions
    for of in functions:
        read = [(moment.date(), parse_report(line)) for writer, moment, line in events if writer == of]
        one_by_one = tally((day, line) for day, line in read if line)
        assert found[of].keys() == one_by_one.keys()
        for key, item in found[of].items():
            assert vars(item) == pytest.approx(vars(one_by_one[key]))
    assert {key.outcome for key in found[functions[0]]} == set(Outcome)


def row(of: str = "orders", **changed: str) -> list[dict[str, str]]:
    cells = {"@log": f"000000000000:/aws/lambda/{of}", "memory": "512", "day": "2026-06-01 00:00:00.000",
             "status": "success", "error": "none", "lines": "2", "durations": "200.5", "billeds": "202",
             "init_sum": "0", "inits": "0", "most": "85", "slowest": "102.25", **changed}  # fmt: skip
    return [{"field": name, "value": value} for name, value in cells.items() if value != "absent"]


@pytest.mark.parametrize(
    ("changed", "tallied"),
    [
        ({}, Tally(2, 200.5, 202, 0, 0, 85, 102.25)),
        # Large numbers may come in powers of ten; a sum of nothing may be left out.
        ({"lines": "2.0E6", "billeds": "2.02E8", "init_sum": "absent", "memory": "512.0"},
         Tally(2_000_000, 200.5, 2.02e8, 0, 0, 85, 102.25)),
        ({"init_sum": "9999", "inits": "1"}, Tally(2, 200.5, 202, 1.5, 1, 85, 102.25)),  # only billed init
    ],
)  # fmt: skip
def test_a_row_is_a_tally(stubbed: Stubbed, changed: dict[str, str], tallied: Tally) -> None:
    logs, answers = stubbed("logs")
    answer(answers, TEXT_QUERY, [function()], [row(**changed)])
    assert queried(logs, [function()]) == {function(): {TallyKey(date(2026, 6, 1), 512, Outcome.SUCCESS): tallied}}


def test_no_lines_are_no_tallies(stubbed: Stubbed) -> None:
    logs, answers = stubbed("logs")
    answer(answers, TEXT_QUERY, [function()], [])
    assert queried(logs, [function()]) == {function(): {}}


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        # The embedded AWS ignores stats: raw lines come back.
        ([[{"field": "@timestamp", "value": "2026-06-01 00:00:00.000"}, {"field": "@message", "value": text()}]],
         "does not answer as documented"),
        ([row(lines="many")], "does not answer as documented"),
        ([row(day="yesterday")], "does not answer as documented"),
        ([row(most="absent")], "does not answer as documented"),
        ([row(slowest="absent")], "does not answer as documented"),
        *(([row(**{name: "Infinity"})], "as documented") for name in ("memory", "lines", "most", "slowest")),
        *(([row(**odd)], "as documented") for odd in ({"durations": "NaN"}, {"lines": "0"})),
        ([row("another")], "a log group that was not asked for"),
        ([row(**{"@log": "absent"})], "a log group that was not asked for"),
    ],
)  # fmt: skip
def test_undocumented_answer_is_refused(stubbed: Stubbed, rows: list[list[dict[str, str]]], reason: str) -> None:
    logs, answers = stubbed("logs")
    answer(answers, TEXT_QUERY, [function()], rows)
    with pytest.raises(QueryFailed, match=reason):
        queried(logs, [function()])


@pytest.mark.parametrize("status", ["Failed", "Cancelled", "Timeout", "Unknown"])
def test_a_query_that_does_not_complete_has_failed(stubbed: Stubbed, status: str) -> None:
    logs, answers = stubbed("logs")
    answer(answers, TEXT_QUERY, [function()], [row()], status)
    with pytest.raises(QueryFailed, match=f"ended as {status}"):
        queried(logs, [function()])


def test_a_query_is_waited_for(stubbed: Stubbed) -> None:
    logs, answers = stubbed("logs")
    slept: list[float] = []
    answers.add_response("start_query", {"queryId": "q"}, asked(TEXT_QUERY, [function()]))
    for status in ("Scheduled", "Running", "Complete"):
        answers.add_response("get_query_results", {"status": status, "results": [row()]}, {"queryId": "q"})
    assert query_reports(logs, [function()], START, END, slept.append)[function()]
    assert len(slept) == 2


def test_a_query_that_takes_too_long_is_stopped(stubbed: Stubbed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(insights, "QUERY_SECONDS", -1)
    logs, answers = stubbed("logs")
    answer(answers, TEXT_QUERY, [function()], [], "Running")
    answers.add_response("stop_query", {"success": True}, {"queryId": "q"})
    with pytest.raises(QueryFailed, match="took longer"):
        queried(logs, [function()])


def test_after_a_full_answer_a_query_has_fewer_functions(stubbed: Stubbed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(insights, "MAX_ROWS", 3)
    logs, answers = stubbed("logs")
    functions = [function(name) for name in "abc"]
    for batch, rows in [("abc", "abc"), ("a", "a"), ("bc", "bbc"), ("b", "bbb"), ("c", "cc")]:
        expected = {**asked(TEXT_QUERY, [function(name) for name in batch]), "limit": 3}
        answers.add_response("start_query", {"queryId": batch}, expected)
        results = [row(name, day=f"2026-06-0{number + 1} 00:00:00.000") for number, name in enumerate(rows)]
        answers.add_response("get_query_results", {"status": "Complete", "results": results}, {"queryId": batch})
    found = queried(logs, functions)
    # One answer does not hold all rows of b: its lines are read one by one.
    assert {of.name: len(tallies) for of, tallies in found.items()} == {"a": 1, "c": 2}


def test_a_full_answer_of_single_lines_is_not_split(stubbed: Stubbed, monkeypatch: pytest.MonkeyPatch) -> None:
    # A service that ignores ``stats`` would fill every part.
    monkeypatch.setattr(insights, "MAX_ROWS", 1)
    logs, answers = stubbed("logs")
    functions = [function(name) for name in "ab"]
    answers.add_response("start_query", {"queryId": "q"}, {**asked(TEXT_QUERY, functions), "limit": 1})
    lines = [[{"field": "@message", "value": "REPORT"}]]
    answers.add_response("get_query_results", {"status": "Complete", "results": lines}, {"queryId": "q"})
    with pytest.raises(QueryFailed, match="does not answer as documented"):
        queried(logs, functions)


def test_a_full_answer_is_not_split_beyond_the_budget(stubbed: Stubbed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(insights, "MAX_ROWS", 2)
    logs, answers = stubbed("logs")
    functions = [function(name) for name in "ab"]
    answers.add_response("start_query", {"queryId": "q"}, {**asked(TEXT_QUERY, functions), "limit": 2})
    answers.add_response("get_query_results", {"status": "Complete", "results": [row("a"), row("b")]}, {"queryId": "q"})
    wanted: list[Function] = []
    assert query_reports(logs, functions, START, END, no_sleep, again=wanted.extend) == {}  # type: ignore[arg-type]
    assert wanted == functions

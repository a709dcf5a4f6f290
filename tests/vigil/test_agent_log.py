"""The agent's log: each line names its session, and only a session's own lines are read as its."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from vigil.agent_log import AgentLog, attribute, parse_line
from vigil.local.ministack_patches import cloudwatch_logs

ONE, OTHER = "1" * 36, "2" * 36
RUNTIME = "arn:aws:bedrock-agentcore:us-east-1:000000000000:runtime/vigil-abc"
BEGUN = "2026-01-01T00:00:00.000Z"


def line(session_id: str, text: str, second: int = 0) -> str:
    return f"2026-01-01T00:00:{second:02}.000Z {session_id} {text}\n"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one\n", ["one"]),
        ("  no line break", ["  no line break"]),
        ("a traceback\n  of two\n", ["a traceback", "  of two"]),
        ("\x1b[31mred\u2028next\n", ["<U+001B>[31mred<U+2028>next"]),
        (f"{line(OTHER, 'forged')}", [line(OTHER, "forged").strip()]),
    ],
)
def test_every_line_names_the_session_that_printed_it(text: str, lines: list[str]) -> None:
    parsed = [parse_line(written) for written in attribute(ONE, text).splitlines()]
    assert [(found.session_id, found.text) for found in parsed if found] == [(ONE, said) for said in lines]


def answered(*pages: dict[str, Any]) -> Any:
    client = boto3.client("logs", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    stubber = Stubber(client)
    for page in pages:
        stubber.add_response("filter_log_events", page)
    stubber.activate()
    return client


def event(number: int, message: str) -> dict[str, Any]:
    return {"eventId": str(number), "timestamp": 1_767_225_600_000 + number, "message": message}


def test_a_log_yields_each_line_of_its_own_session_once() -> None:
    first = [event(1, line(ONE, "first")), event(2, line(OTHER, f"says {ONE}")), event(3, f'{{"sessionId": "{ONE}"}}')]
    later = [event(1, line(ONE, "first")), event(4, line(ONE, "second"))]
    log = AgentLog(answered({"events": first, "nextToken": "1"}, {"events": []}, {"events": later}), RUNTIME, ONE)
    assert [found.text for found in log.read(BEGUN)] == ["first"]
    assert [found.text for found in log.read(BEGUN)] == ["second"]


def test_what_stands_in_a_record_for_its_times_may_be_no_time() -> None:
    log = AgentLog(answered({"events": [event(1, line(ONE, "said"))]}), RUNTIME, ONE)
    assert [found.text for found in log.read("never", "9999-99")] == ["said"]


def test_a_log_group_that_is_not_there_yet_has_no_lines() -> None:
    client = boto3.client("logs", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    stubber = Stubber(client)
    stubber.add_client_error("filter_log_events", "ResourceNotFoundException")
    with stubber:
        assert list(AgentLog(client, RUNTIME, ONE).read(BEGUN)) == []


def test_local_log_is_read_by_page_up_to_its_last_whole_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloudwatch_logs, "PAGE_BYTES", 100)
    log = tmp_path / "agent.log"
    written = [line(ONE if n % 2 else OTHER, f"line {n}", n) for n in range(9)]
    log.write_text("of no session\n" + "".join(written) + "2026-01-01T00:00:59.000Z half", encoding="utf-8")
    asked: dict[str, Any] = {"filterPattern": json.dumps(ONE), "startTime": 1_767_225_602_000}
    found, token, pages = [], "0", 0
    while token:
        answer = cloudwatch_logs.read_page(log, {**asked, "nextToken": token})
        found += [said["message"] for said in answer["events"]]
        token, pages = answer.get("nextToken", ""), pages + 1
    assert pages > 3
    assert found == [written[n].strip() for n in (3, 5, 7)]

import io
import json
import logging
import socket
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote

import boto3
import pytest

from tests.support import Silent, client_at, refusing, served
from vigil import invoker
from vigil.errors import (
    AgentNotAccepted,
    AgentQuotaExceeded,
    AgentThrottled,
    AgentUnavailable,
    InvalidDetail,
    InvalidInput,
    InvalidSessionId,
    MissingSetting,
    VigilError,
)
from vigil.names import TICK_KEY, Env
from vigil.session import MAX_DETAIL_BYTES
from vigil.settings import InvokerSettings

RUNTIME = "arn:aws:bedrock-agentcore:us-east-1:123456789012:runtime/vigil-abc"


@dataclass
class AgentCore:
    """An AgentCore that answers every invocation alike, and remembers what it was asked."""

    status: int = 200
    body: bytes = b'{"status": "accepted"}'
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False
    """Whether to reset the connection instead of answering."""
    length: int | None = None
    """The length to announce, if not the body's."""
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)

    def answers(self, **how: Any) -> None:
        """Answer like this from now on."""
        for name, value in how.items():
            setattr(self, name, value)


def handler_of(agentcore: AgentCore) -> type[BaseHTTPRequestHandler]:
    class Handler(Silent):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            if "x-amz-target" in headers:
                # DynamoDB: the table has no line, and refuses to create one.
                found = headers["x-amz-target"].endswith(".GetItem")
                self.answer(200 if found else 400, {} if found else {"__type": "AccessDeniedException"})
                return
            agentcore.requests.append((unquote(self.path), headers, json.loads(body)))
            self.close_connection = True
            if agentcore.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                return
            self.send_response(agentcore.status)
            length = len(agentcore.body) if agentcore.length is None else agentcore.length
            for name, value in {"Content-Length": str(length), **agentcore.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(agentcore.body)

        def finish(self) -> None:
            if not agentcore.reset:
                super().finish()

    return Handler


def forget_clients() -> None:
    """Let the function make new clients, as in a new process."""
    invoker._client.cache_clear()
    invoker._line.cache_clear()


@pytest.fixture(scope="module")
def listening() -> Iterator[AgentCore]:
    """AgentCore on loopback, where the Lambda function's own client finds it."""
    answers = AgentCore()
    with pytest.MonkeyPatch.context() as patch, served(handler_of(answers)) as address:
        for name, value in {
            **{"AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "us-east-1"},
            **{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"},
            # What the function's configuration must win over.
            **{"AWS_MAX_ATTEMPTS": "5", "AWS_RETRY_MODE": "standard"},
            **{Env.TABLE: "table", Env.BUCKET: "bucket"},
            **{Env.AGENT_RUNTIME_ARN: RUNTIME, Env.MAX_SESSION_SECONDS: "3600"},
        }.items():
            patch.setenv(name, value)
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        forget_clients()
        yield answers
        forget_clients()


@pytest.fixture
def agentcore(listening: AgentCore) -> AgentCore:
    """The same for every test: a client takes a while to make."""
    listening.answers(**vars(AgentCore()))
    return listening


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the function writes to its standard error."""
    handler = invoker.logger.handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    written = io.StringIO()
    before = handler.setStream(written)
    yield written
    handler.setStream(before)


@pytest.fixture
def session_id() -> str:
    return str(uuid.uuid4())


@pytest.mark.criterion("2.1")
@pytest.mark.parametrize("answer", ["accepted", "already running", "already ended"])
def test_an_agent_that_has_the_session_accepts_it(agentcore: AgentCore, session_id: str, answer: str) -> None:
    agentcore.answers(body=json.dumps({"status": answer}).encode())
    assert invoker.handler({"session_id": session_id}, None) == {"session_id": session_id, "answer": answer}
    assert len(agentcore.requests) == 1


@pytest.mark.criterion("2.2")
def test_the_agent_gets_its_three_variables_and_the_detail(agentcore: AgentCore, session_id: str) -> None:
    invoker.handler({"session_id": session_id, "detail": {"days": 7}}, None)
    ((path, headers, payload),) = agentcore.requests
    assert path.split("?")[0] == f"/runtimes/{RUNTIME}/invocations"
    assert headers["x-amzn-bedrock-agentcore-runtime-session-id"] == session_id
    assert headers["content-type"] == headers["accept"] == "application/json"
    assert payload == {
        "environment": {"SESSION_ID": session_id, "S3_BUCKET_NAME": "bucket", "DDB_TABLE_NAME": "table"},
        "detail": {"days": 7},
    }


@pytest.mark.parametrize("event", [{}, {"detail": None}, {"detail": {}}], ids=["none", "null", "empty"])
def test_an_event_needs_no_detail(agentcore: AgentCore, session_id: str, event: dict[str, Any]) -> None:
    invoker.handler({"session_id": session_id, **event}, None)
    ((_, _, payload),) = agentcore.requests
    assert payload["detail"] == {}


def test_the_agent_does_not_see_the_tick(agentcore: AgentCore, session_id: str) -> None:
    invoker.handler({"session_id": session_id, "detail": {"days": 7, TICK_KEY: "2026-01-01T00:00:00Z"}}, None)
    ((_, _, payload),) = agentcore.requests
    assert payload["detail"] == {"days": 7}


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def logged(error: Exception, session_id: str | None) -> dict[str, Any]:
    return {"level": "ERROR", "message": f"{type(error).__name__}: {error}", "session_id": session_id}


def refusal(code: str, message: str) -> dict[str, Any]:
    return {"headers": {"x-amzn-ErrorType": code}, "body": json.dumps({"message": message}).encode()}


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (429, "ThrottlingException", AgentThrottled),
        (400, "ThrottlingException", AgentThrottled),
        (402, "ServiceQuotaExceededException", AgentQuotaExceeded),
        (429, "SomethingElse", AgentThrottled),
        (409, "RetryableConflictException", AgentUnavailable),
        (500, "InternalServerException", AgentUnavailable),
        (503, "ServiceUnavailableException", AgentUnavailable),
        (504, "", AgentUnavailable),
        (403, "AccessDeniedException", AgentNotAccepted),
        (404, "ResourceNotFoundException", AgentNotAccepted),
        (400, "ValidationException", AgentNotAccepted),
        (409, "ConflictException", AgentNotAccepted),
        (424, "RuntimeClientError", AgentNotAccepted),
    ],
)
def test_a_refusal_says_whether_it_is_worth_trying_again(
    agentcore: AgentCore, session_id: str, status: int, code: str, error: type[VigilError]
) -> None:
    agentcore.answers(status=status, **refusal(code, "so it is\nnot"))
    with pytest.raises(error, match=rf"^session {session_id}: .*{code}.* so it is not$") as raised:
        invoker.handler({"session_id": session_id}, None)
    assert type(raised.value) is error
    # It is the workflow that tries again.
    assert len(agentcore.requests) == 1


NOT_UP = "Runtime initialization time exceeded. Please make sure that initialization completes in 30s."
REFUSAL = b'{"status": "refused", "error": "InvalidDetail:\\ndays"}'
REFUSED = 'Received error (400) from runtime: {"status": "refused", "error": "Received error (502)"}'


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (NOT_UP, AgentUnavailable),
        ("Received error (502) from runtime. Please check your CloudWatch logs.", AgentUnavailable),
        ("Received error (503) from runtime", AgentUnavailable),
        ("Received error (500) from runtime", AgentNotAccepted),
        (REFUSED, AgentNotAccepted),
        ("", AgentNotAccepted),
    ],
)
def test_a_runtime_that_did_not_start_is_retried_and_a_refusal_is_not(
    agentcore: AgentCore, session_id: str, message: str, error: type[VigilError]
) -> None:
    agentcore.answers(status=424, **refusal("RuntimeClientError", message))
    with pytest.raises(error) as raised:
        invoker.handler({"session_id": session_id}, None)
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("how", "error", "reason"),
    [
        ({"status": 424, **refusal("RuntimeClientError", "x" * 5000)}, AgentNotAccepted, "RuntimeClientError"),
        ({"reset": True}, AgentUnavailable, "Connection"),
        ({"length": 100}, AgentUnavailable, "78 more expected"),
        ({"body": b"<html>\nno"}, AgentNotAccepted, r"no JSON: b'<html>\\nno'"),
        ({"body": b"\xff\xfe"}, AgentNotAccepted, "no JSON"),
        ({"body": b""}, AgentNotAccepted, "no JSON"),
        ({"body": b"{}"}, AgentNotAccepted, "refused: {}"),
        ({"body": b'["accepted"]'}, AgentNotAccepted, "refused: "),
        ({"body": b'"accepted"'}, AgentNotAccepted, "refused: accepted"),
        ({"body": b'{"status": null}'}, AgentNotAccepted, "refused"),
        ({"body": b'{"status": ["accepted"]}'}, AgentNotAccepted, "refused"),
        ({"body": REFUSAL}, AgentNotAccepted, "refused: InvalidDetail: days"),
    ],
    ids=[
        *("long", "reset", "cut", "html", "binary", "empty", "no-status"),
        *("list", "string", "null", "unhashable", "refused"),
    ],
)
def test_any_other_answer_is_an_error_of_one_line_after_one_request(
    agentcore: AgentCore, log: io.StringIO, session_id: str, how: dict[str, Any], error: type[VigilError], reason: str
) -> None:
    agentcore.answers(**how)
    with pytest.raises(error, match=rf"^session {session_id}: .*{reason}") as raised:
        invoker.handler({"session_id": session_id}, None)
    assert type(raised.value) is error
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 700
    assert len(agentcore.requests) == 1
    assert lines(log) == [logged(raised.value, session_id)]


def test_missing_agent_is_unavailable(agentcore: AgentCore, session_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with refusing() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        forget_clients()
        with pytest.raises(AgentUnavailable, match=rf"^session {session_id}: Could not connect"):
            invoker.handler({"session_id": session_id}, None)
    forget_clients()


def test_an_agent_that_never_answers_is_unavailable(session_id: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # As the function's own, but of less patience.
        client = client_at(f"http://127.0.0.1:{silent.getsockname()[1]}", "bedrock-agentcore", read_timeout=0.1)
        settings = InvokerSettings("table", "bucket", RUNTIME)
        with pytest.raises(AgentUnavailable, match=rf"^session {session_id}: Read timeout"):
            invoker.invoke(client, settings, session_id, {}, 1)


GOOD = "3f0c9f6e-1f5b-4b7e-9a63-6a5a1d0b2c4d"
BAD_IDS = [None, 7, GOOD[:32], "a" * 101, GOOD.replace("-", "/"), GOOD.replace("-", "#"), GOOD + "\n"]
BAD_DEADLINES = (0, -1, 3601, 5.5, "60", True, None, [60])
BAD_DETAILS = [
    *(["days"], "days", {"note": "x" * (MAX_DETAIL_BYTES - 11)}),
    *({"deadline_seconds": deadline} for deadline in BAD_DEADLINES),
]


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (None, InvalidInput),
        ("text", InvalidInput),
        ([GOOD], InvalidInput),
        ({}, InvalidSessionId),
        *(({"session_id": bad}, InvalidSessionId) for bad in BAD_IDS),
        *(({"session_id": GOOD, "detail": bad}, InvalidDetail) for bad in BAD_DETAILS),
    ],
    ids=[
        *("none", "text", "list", "empty", "null", "number", "short", "long", "slash", "hash", "line-break"),
        *("detail-list", "detail-text", "detail-large"),
        *(f"deadline-{kind}" for kind in ("zero", "negative", "late", "float", "text", "true", "null", "list")),
    ],
)
def test_a_bad_event_is_refused_before_anything_is_called(
    agentcore: AgentCore, log: io.StringIO, event: object, error: type[VigilError]
) -> None:
    with pytest.raises(error) as raised:
        invoker.handler(event, None)
    assert type(raised.value) is error
    assert "\n" not in str(raised.value)
    assert agentcore.requests == []
    given = event.get("session_id") if isinstance(event, dict) else None
    assert lines(log) == [logged(raised.value, None if given is None else str(given))]


@pytest.mark.parametrize("deadline", [1, 3600, 5.0])
def test_deadline_is_for_the_workflow_not_for_the_agent(agentcore: AgentCore, session_id: str, deadline: float) -> None:
    invoker.handler({"session_id": session_id, "detail": {"days": 7, "deadline_seconds": deadline}}, None)
    ((_, _, payload),) = agentcore.requests
    assert payload["detail"] == {"days": 7}


def test_an_invalid_deadline_is_refused_with_its_name_and_bounds(agentcore: AgentCore) -> None:
    with pytest.raises(InvalidDetail, match=r"^deadline_seconds must be a whole number from 1 to 3600, not '60'$"):
        invoker.handler({"session_id": GOOD, "detail": {"deadline_seconds": "60"}}, None)


def test_the_largest_detail_is_taken(agentcore: AgentCore, session_id: str) -> None:
    detail = {"note": "x" * (MAX_DETAIL_BYTES - 12)}
    assert len(json.dumps(detail)) == MAX_DETAIL_BYTES
    invoker.handler({"session_id": session_id, "detail": detail}, None)
    ((_, _, payload),) = agentcore.requests
    assert payload["detail"] == detail


def test_a_function_without_its_variables_names_the_first(
    agentcore: AgentCore, log: io.StringIO, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(Env.AGENT_RUNTIME_ARN)
    with pytest.raises(MissingSetting, match="AGENT_RUNTIME_ARN"):
        invoker.handler({"session_id": session_id}, None)
    assert agentcore.requests == []
    (line,) = lines(log)
    assert line["session_id"] == session_id


def test_a_success_is_one_line_with_the_session(agentcore: AgentCore, log: io.StringIO, session_id: str) -> None:
    invoker.handler({"session_id": session_id}, None)
    assert lines(log) == [{"level": "INFO", "message": "the agent answered: accepted", "session_id": session_id}]


def test_a_warm_function_keeps_its_client(agentcore: AgentCore) -> None:
    forget_clients()
    for _ in range(2):
        invoker.handler({"session_id": str(uuid.uuid4())}, None)
    assert invoker._client.cache_info().misses == 1
    assert len(agentcore.requests) == 2

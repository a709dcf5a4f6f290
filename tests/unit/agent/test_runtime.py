"""The AgentCore contract, spoken over HTTP to a real runtime process, whose workers use a real table and bucket."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vigil.agent.models import STAND_IN
from vigil.artifacts import Artifacts
from vigil.journal import Journal
from vigil.local.stack import LocalStack
from vigil.session import Session, Status

NewSession = Callable[..., str]


class Runtime:
    """A client of one runtime process."""

    def __init__(self, port: int) -> None:
        self.port = port

    def call(self, path: str, payload: object = None) -> tuple[int, dict[str, Any]]:
        body = None if payload is None else json.dumps(payload).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=body)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def invoke(self, session_id: str, **changes: object) -> tuple[int, dict[str, Any]]:
        environment = {"SESSION_ID": session_id, "S3_BUCKET_NAME": "artifacts", "DDB_TABLE_NAME": "sessions"}
        return self.call("/invocations", {"environment": environment, "detail": {}, **changes})


@pytest.fixture
def runtime_of(embedded: LocalStack, table: Any, s3: Any) -> Iterator[Callable[[str], Runtime]]:
    processes: list[subprocess.Popen[bytes]] = []

    def start(agent: str) -> Runtime:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {
            **embedded.environment(),
            "PATH": os.environ["PATH"],
            "VIGIL_MODEL": STAND_IN,
            "VIGIL_AGENT": agent,
        }
        command = [sys.executable, "-m", "vigil.agent.runtime", "--host", "127.0.0.1", "--port", str(port)]
        processes.append(subprocess.Popen(command, env=environment))
        runtime = Runtime(port)
        for _ in range(300):
            try:
                runtime.call("/ping")
                return runtime
            except OSError:
                time.sleep(0.1)
        raise AssertionError("the runtime did not start")

    yield start
    for process in processes:
        process.terminate()
        process.wait()


def ended(journal: Journal, session_id: str) -> Session:
    for _ in range(300):
        if (session := journal.get(session_id)).terminal:
            return session
        time.sleep(0.1)
    raise AssertionError(f"session {session_id} did not end: {session}")


def test_a_session_is_accepted_at_once_run_once_and_seen_in_the_ping(
    runtime_of: Callable[[str], Runtime], journal: Journal, new_session: NewSession, s3: Any
) -> None:
    runtime, session_id = runtime_of("tests.agents:slow"), new_session()
    assert runtime.call("/ping")[1]["status"] == "Healthy"
    assert runtime.invoke(session_id) == (200, {"status": "accepted"})
    assert runtime.invoke(session_id) == (200, {"status": "already running"})
    assert runtime.call("/ping")[1]["status"] == "HealthyBusy"
    assert ended(journal, session_id).status == Status.COMPLETED
    assert Artifacts(s3, "artifacts", session_id).read("report.md") == "# Hello"
    for _ in range(100):
        if runtime.call("/ping")[1]["status"] == "Healthy":
            break
        time.sleep(0.1)
    assert runtime.invoke(session_id) == (200, {"status": "already ended"})


@pytest.mark.parametrize(
    ("agent", "code", "message"),
    [
        ("killed", "AgentCrashed", "signal SIGKILL and no result: about to be killed"),
        ("exits", "AgentCrashed", "exit code 7"),
        ("calls_exit", "AgentIncomplete", "the agent called exit(3)"),
        ("leaves_a_process_and_dies", "AgentCrashed", "signal SIGKILL"),
        ("raises", "RuntimeError", "the dependency is broken"),
        ("forgets_everything", "AgentIncomplete", "without saving report.md"),
        ("completes_without_report", "AgentFailed", "save report.md before COMPLETED"),
        ("says_failed", "AgentFailed", "nothing to look at"),
        ("not_an_agent", "TypeError", "not callable"),
        ("no_such_factory", "MissingSetting", "VIGIL_AGENT=tests.agents:no_such_factory"),
    ],
)
def test_whatever_the_agent_does_the_session_ends_failed_with_its_cause(
    runtime_of: Callable[[str], Runtime], journal: Journal, new_session: NewSession, agent: str, code: str, message: str
) -> None:
    session_id = new_session()
    assert runtime_of(f"tests.agents:{agent}").invoke(session_id)[0] == 200
    session = ended(journal, session_id)
    assert session.status == Status.FAILED
    assert session.error is not None
    assert session.error.code == code
    assert message in session.error.message
    assert "\n" not in session.error.message


def test_an_agent_that_forgets_its_status_but_saved_a_report_is_completed_in_code(
    runtime_of: Callable[[str], Runtime], journal: Journal, new_session: NewSession
) -> None:
    session_id = new_session()
    runtime_of("tests.agents:forgets_status").invoke(session_id)
    assert ended(journal, session_id).status == Status.COMPLETED


def test_a_session_that_another_worker_runs_is_left_alone(
    runtime_of: Callable[[str], Runtime], journal: Journal, new_session: NewSession
) -> None:
    session_id = new_session(Status.BUSY)
    before = journal.get(session_id)
    runtime = runtime_of("examples.hello_agent:hello_agent")
    runtime.invoke(session_id)
    for _ in range(200):
        if runtime.call("/ping")[1]["status"] == "Healthy":
            break
        time.sleep(0.1)
    assert journal.get(session_id) == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"environment": {}}, "exactly DDB_TABLE_NAME, S3_BUCKET_NAME, SESSION_ID"),
        ({"environment": {"SESSION_ID": "short", "S3_BUCKET_NAME": "b", "DDB_TABLE_NAME": "t"}}, "InvalidSessionId"),
        ({"detail": []}, "detail must be an object, not list"),
    ],
)
def test_a_bad_invocation_is_refused_with_its_reason(
    runtime_of: Callable[[str], Runtime], changes: dict[str, object], said: str
) -> None:
    runtime = runtime_of("examples.hello_agent:hello_agent")
    status, answer = runtime.invoke(str(uuid.uuid4()), **changes)
    assert status == 400
    assert said in answer["error"]
    environment = {"SESSION_ID": str(uuid.uuid4()), "S3_BUCKET_NAME": "b", "DDB_TABLE_NAME": "t", "PYTHONPATH": "/evil"}
    assert runtime.invoke("x", environment=environment)[0] == 400
    assert runtime.call("/ping")[1]["status"] == "Healthy"

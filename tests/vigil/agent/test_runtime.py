"""The AgentCore contract, spoken over HTTP to a real runtime process, whose workers use a real table and bucket."""

import multiprocessing
import os
import signal
import subprocess
import sys
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from boto3.dynamodb.conditions import Key
from botocore.utils import ContainerMetadataFetcher

from tests.support import (
    ForkedRuntime,
    Runtime,
    answering,
    free_port,
    is_alive,
    let_go,
    refusing,
    runtime_process,
    until,
)
from vigil.agent.models import SCRIPTED_MODEL
from vigil.artifacts import Artifacts
from vigil.journal import Journal
from vigil.local.deploy import PROJECT
from vigil.local.processes import ForkServer
from vigil.local.stack import REGION, LocalStack
from vigil.names import Env
from vigil.session import Failure, Session, Status
from vigil.settings import RuntimeSettings, WorkerSettings

pytestmark = pytest.mark.takes(40)

NewSession = Callable[..., str]

Start = Callable[..., ForkedRuntime]

Altered = Callable[[], AbstractContextManager[Runtime]]


@pytest.fixture(scope="module")
def environment(embedded: LocalStack) -> dict[str, str]:
    chosen = {
        Env.MODEL: SCRIPTED_MODEL,
        Env.AGENT: "tests.agents:chosen",
        Env.HEARTBEAT_SECONDS: "1",
        Env.MAX_ATTEMPTS: "1",
    }
    return {**embedded.environment(), "PATH": os.environ["PATH"], **chosen}


@pytest.fixture(scope="module")
def start(
    table: Any, s3: Any, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Start]:
    """Start a runtime for one session."""
    folder = tmp_path_factory.mktemp("runtimes")
    server = ForkServer(folder / "log", {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)}, lambda pid: None)
    yield lambda **more: ForkedRuntime(server, folder, environment | more)
    server.close()


@pytest.fixture
def runtime(start: Start) -> ForkedRuntime:
    return start()


@pytest.fixture
def saved(artifacts_of: Callable[[str], Artifacts]) -> Callable[[str, str], str]:
    """Return what an agent saved, once it has."""

    def read(session_id: str, name: str) -> str:
        artifacts = artifacts_of(session_id)
        until(lambda: artifacts.exists(name))
        return artifacts.read(name)

    return read


Saved = Callable[[str, str], str]


def ended(journal: Journal, session_id: str) -> Session:
    return until(lambda: (session := journal.get(session_id)).terminal and session)


def failed(journal: Journal, session_id: str) -> Failure:
    session = ended(journal, session_id)
    assert session.status == Status.FAILED
    assert session.error is not None
    return session.error


def are_gone(saved: Saved, session_id: str) -> Callable[[], bool]:
    """Return whether the session's worker and the process that it started have ended."""
    processes = [int(saved(session_id, name)) for name in ("pid", "left")]
    return lambda: not any(map(is_alive, processes))


@pytest.fixture(scope="module")
def abandoned(start: Start, table: Any, s3: Any) -> tuple[str, int]:
    """A session that was failed from outside while its worker works, and the worker, which gets a while to notice."""
    session_id, journal = str(uuid.uuid4()), Journal(table)
    table.put_item(Item={"PK": session_id, "SK": "SESSION", "status": Status.INITIATED})
    start().invoke(session_id, "waits")
    artifacts = Artifacts(s3, "artifacts", journal, session_id)
    until(lambda: artifacts.exists("pid"))
    journal.fail(session_id, Failure("Elsewhere", "somebody else knew better"))
    return session_id, int(artifacts.read("pid"))


def test_a_session_is_accepted_at_once_run_once_and_seen_in_the_ping(
    table: Any, environment: dict[str, str], journal: Journal, initiated: str, saved: Saved, abandoned: Any
) -> None:
    with runtime_process(environment, "-m", "vigil.agent") as runtime:
        assert runtime.status == "Healthy"
        assert runtime.invoke(initiated, "waits") == (200, {"status": "accepted"})
        assert runtime.invoke(initiated, "waits") == (200, {"status": "already running"})
        assert runtime.status == "HealthyBusy"
        let_go(table, initiated)
        assert ended(journal, initiated).status == Status.COMPLETED
        assert saved(initiated, "report.md") == "# Hello"
        until(lambda: runtime.status == "Healthy")
        assert runtime.invoke(initiated) == (200, {"status": "already ended"})


ALTERED = """
import os, random, sys
from itertools import count
import vigil.agent.preload
from vigil.agent import runtime

def same(function):
    def with_the_same_state(*given):
        random.seed(1)
        return function(*given)
    return with_the_same_state

# As if all runtimes had been restored from one snapshot when the session comes.
runtime.work, runtime.Supervisor.start = same(runtime.work), same(runtime.Supervisor.start)
run = runtime.Worker.run

def run_and_tell(worker, environment, detail):
    run(worker, environment, {**detail, "drawn": random.random()})

runtime.Worker.run = run_and_tell
# As if Linux had killed a process for its memory before each look.
runtime._kills_for_memory = count().__next__
# One runtime after another, each at the port that a line names: their imports take a second.
for port in sys.stdin:
    if (pid := os.fork()) == 0:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        sys.argv = ["runtime", "--host", "127.0.0.1", "--port", port]
        runtime.main()
        os._exit(0)
    print(pid, flush=True)
    os.waitpid(pid, 0)
"""


@pytest.fixture(scope="module")
def altered(environment: dict[str, str]) -> Iterator[Altered]:
    """Start a runtime that meets what seldom comes about."""
    words, given = [sys.executable, "-c", ALTERED], environment | {Env.MAX_ATTEMPTS: "3"}
    with subprocess.Popen(words, env=given, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        @contextmanager
        def started() -> Iterator[Runtime]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{(port := free_port())}\n")
            process.stdin.flush()
            pid = int(process.stdout.readline())
            try:
                yield answering(f"127.0.0.1:{port}", lambda: is_alive(pid))
            finally:
                os.kill(pid, signal.SIGTERM)
                until(lambda: not is_alive(pid))

        yield started


def test_sessions_restored_from_one_snapshot_draw_different_numbers(
    table: Any, altered: Altered, journal: Journal, new_session: NewSession, saved: Saved
) -> None:
    drawn = []
    for _ in range(2):
        session_id = new_session()
        with altered() as runtime:
            runtime.invoke(session_id, "draws")
            assert ended(journal, session_id).status == Status.COMPLETED
        drawn += saved(session_id, "report.md").split()
    # By each worker, and by each runtime.
    assert len(set(drawn)) == 4


def test_runtime_serves_one_session(table: Any, runtime: Runtime, journal: Journal, new_session: NewSession) -> None:
    session_id, other = new_session(), new_session()
    runtime.invoke(session_id, "waits")
    status, answer = runtime.invoke(other)
    assert (status, answer["error"]) == (400, f"InvalidInput: this runtime is that of session {session_id}")
    let_go(table, session_id)
    assert ended(journal, session_id).status == Status.COMPLETED
    assert journal.get(other).status == Status.INITIATED


@pytest.mark.parametrize(
    ("agent", "code", "message"),
    [
        ("killed", "AgentCrashed", "signal SIGKILL and no result; it printed last: about to be killed"),
        ("killed_by_a_realtime_signal", "AgentCrashed", f"signal {signal.SIGRTMIN + 1} and no result"),
        ("exits", "AgentCrashed", "exit code 7"),
        ("exits_but_not_its_child", "AgentCrashed", "exit code 7"),
        ("closes_its_descriptors_and_raises", "RuntimeError", "the true cause"),
        ("calls_exit", "AgentIncomplete", "the agent called exit(3)"),
        ("raises", "RuntimeError", "the dependency is broken"),
        ("forgets_everything", "AgentIncomplete", "without saving report.md"),
        ("completes_without_report", "AgentFailed", "save report.md before COMPLETED"),
        ("says_failed", "AgentFailed", "nothing to look at"),
        ("not_an_agent", "AgentUnsupported", "str is no agent that a session can run"),
        ("no_such_agent", "KeyError", "'no_such_agent'"),
    ],
)
def test_misbehaving_agent_fails_its_session_with_the_cause(
    runtime: Runtime, journal: Journal, initiated: str, agent: str, code: str, message: str
) -> None:
    assert runtime.invoke(initiated, agent)[0] == 200
    error = failed(journal, initiated)
    assert error.code == code
    assert message in error.message
    assert "\n" not in error.message


def test_a_worker_that_linux_kills_twice_for_its_memory_fails_the_session(
    table: Any, s3: Any, altered: Altered, journal: Journal, initiated: str
) -> None:
    for attempt in (1, 2):
        given = {Env.SESSION_ID: initiated, Env.BUCKET: "artifacts", Env.TABLE: "sessions", Env.ATTEMPT: str(attempt)}
        with altered() as runtime:
            runtime.invoke(initiated, "killed", environment=given)
            until(lambda: (found := journal.get(initiated)).terminal or found.attempts)
            until(lambda: runtime.status == "Healthy")
    session = journal.get(initiated)
    assert (session.attempt, [ended.code for ended in session.attempts]) == (2, ["AgentCrashed"])
    assert "since the machine was out of memory, and no result" in failed(journal, initiated).message


def test_agent_with_a_report_and_no_status_is_completed(runtime: Runtime, journal: Journal, initiated: str) -> None:
    runtime.invoke(initiated, "forgets_status")
    assert ended(journal, initiated).status == Status.COMPLETED


def test_processes_of_a_crashed_worker_end(runtime: Runtime, journal: Journal, initiated: str, saved: Saved) -> None:
    runtime.invoke(initiated, "leaves_a_process_and_dies")
    assert failed(journal, initiated).code == "AgentCrashed"
    until(are_gone(saved, initiated))


@pytest.mark.parametrize(
    ("where", "states"), [("tool", ["COMPLETED", "INTERRUPTED"]), ("model", ["COMPLETED", "COMPLETED", "INTERRUPTED"])]
)
def test_the_step_in_which_a_worker_was_killed_is_the_interrupted_one(
    runtime: Runtime, journal: Journal, table: Any, initiated: str, where: str, states: list[str]
) -> None:
    runtime.invoke(initiated, detail={"agent": "killed_in_a_step", "where": where})
    assert failed(journal, initiated).code == "AgentCrashed"
    steps = journal.snapshot(initiated).steps
    assert [step.state for step in steps] == states
    assert steps[-1].ended_at == journal.get(initiated).ended_at
    mine = Key("PK").eq(initiated) & Key("SK").begins_with("STEP#")
    items = table.query(KeyConditionExpression=mine, ConsistentRead=True)["Items"]
    assert [item["state"] for item in items] == [*states[:-1], "RUNNING"]
    assert "ended_at" not in items[-1]


def test_session_of_another_worker_is_left_alone(runtime: ForkedRuntime, table: Any, new_session: NewSession) -> None:
    session_id = new_session(Status.BUSY, worker="another", heartbeat_at="2026-01-01T00:00:00.000Z")
    key = {"PK": session_id, "SK": "SESSION"}
    before = table.get_item(Key=key)["Item"]
    runtime.invoke(session_id)
    until(lambda: not is_alive(runtime.pid))
    assert table.get_item(Key=key)["Item"] == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"environment": {}}, "exactly DDB_TABLE_NAME, S3_BUCKET_NAME, SESSION_ID"),
        ({"environment": {"SESSION_ID": "short", "S3_BUCKET_NAME": "b", "DDB_TABLE_NAME": "t"}}, "InvalidSessionId"),
        ({"detail": []}, "detail must be a JSON object, not list"),
    ],
)
def test_a_bad_invocation_is_refused_with_its_reason(runtime: Runtime, changes: dict[str, object], said: str) -> None:
    session_id = str(uuid.uuid4())
    status, answer = runtime.invoke(session_id, **changes)
    assert status == 400
    assert said in answer["error"]
    environment = {"SESSION_ID": session_id, "S3_BUCKET_NAME": "b", "DDB_TABLE_NAME": "t", "PYTHONPATH": "/evil"}
    assert runtime.invoke(session_id, environment=environment)[0] == 400


def test_stopped_runtime_fails_its_session_and_others_go_on(
    table: Any, start: Start, journal: Journal, new_session: NewSession, saved: Saved
) -> None:
    stopped, kept = new_session(), new_session()
    (runtime := start()).invoke(stopped, "leaves_a_process_and_hangs")
    start().invoke(kept, "waits")
    processes_gone, other = are_gone(saved, stopped), int(saved(kept, "pid"))
    runtime.stop()
    error = Failure("AgentStopped", "the agent's environment was shut down before the session ended")
    assert failed(journal, stopped) == error
    until(processes_gone)
    until(lambda: not is_alive(runtime.pid))
    assert is_alive(other)
    let_go(table, kept)
    assert ended(journal, kept).status == Status.COMPLETED
    assert journal.get(stopped).error == error


def test_agent_without_progress_is_lost(start: Start, journal: Journal, new_session: NewSession, saved: Saved) -> None:
    stuck = new_session()
    start(**{Env.PROGRESS_SECONDS: "5"}).invoke(stuck, "leaves_a_process_and_hangs")
    gone = are_gone(saved, stuck)
    error = failed(journal, stuck)
    assert error.code == "AgentLost"
    assert error.message.startswith("the agent made no progress for 5 s; it was last seen at: starting")
    until(gone)


# What Pydantic says of AgentCore's SDK.
@pytest.mark.filterwarnings("ignore:Support for class-based `config`")
@pytest.mark.parametrize(("frozen", "lost"), [((), "AgentLost"), ((600, 600), None)])
def test_time_in_which_the_supervisor_was_frozen_is_not_idle_time(
    monkeypatch: pytest.MonkeyPatch, frozen: tuple[float, ...], lost: str | None
) -> None:
    from vigil.agent import runtime as runtime_module

    now, nap = 0.0, iter(frozen)
    worker: Any = SimpleNamespace(gone="ended", progress="progress")

    def wait(listening: list[Any], timeout: float) -> list[Any]:
        nonlocal now
        now += timeout + next(nap, 0)
        # The worker works for a minute and sends nothing.
        return ["ended"] if frozen and now > sum(frozen) + 60 else []

    monkeypatch.setattr(runtime_module, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(runtime_module, "connection", SimpleNamespace(wait=wait))
    monkeypatch.setattr(runtime_module, "_heartbeat", lambda session: True)
    supervisor = runtime_module.Supervisor(RuntimeSettings(heartbeat_seconds=30, progress_seconds=300), worker)
    error = supervisor._await_end(cast(Any, "session"))
    assert (error and error.code) == lost
    assert now == (sum(frozen) + 90 if frozen else 300)


# What Pydantic says of AgentCore's SDK.
@pytest.mark.filterwarnings("ignore:Support for class-based `config`")
def test_an_agents_output_is_read_even_if_it_cannot_be_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    from vigil.agent import runtime as runtime_module

    # The device that is always full.
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(fileno=lambda: full))
    output, given = multiprocessing.Pipe(duplex=False)
    os.write(given.fileno(), b"one\ntwo\n")
    given.close()
    said: deque[str] = deque()
    runtime_module.forward_output(output, str(uuid.uuid4()), said)
    os.close(full)
    assert list(said) == ["one", "two"]


# What Pydantic says of AgentCore's SDK.
@pytest.mark.filterwarnings("ignore:Support for class-based `config`")
def test_a_heartbeat_without_credentials_is_skipped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The session goes on: the next heartbeat may get them."""
    from vigil.agent import runtime as runtime_module

    session_id = str(uuid.uuid4())
    given = {Env.SESSION_ID: session_id, Env.TABLE: session_id, Env.BUCKET: "bucket", "AWS_REGION": REGION}
    settings = WorkerSettings.from_env(given)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(ContainerMetadataFetcher, "RETRY_ATTEMPTS", 1)
    with refusing() as address:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{address}/credentials")
        assert runtime_module._heartbeat(settings)
    assert f"session {session_id}: no heartbeat: Error when retrieving credentials" in caplog.text


def test_worker_of_an_ended_session_sends_no_heartbeat_and_ends(abandoned: tuple[str, int], journal: Journal) -> None:
    session_id, worker = abandoned
    until(lambda: not is_alive(worker))
    session = journal.get(session_id)
    assert session.error == Failure("Elsewhere", "somebody else knew better")
    assert session.heartbeat_at is not None
    assert session.ended_at is not None
    assert session.heartbeat_at < session.ended_at

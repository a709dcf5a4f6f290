"""The AgentCore contract, spoken over HTTP to a real runtime process, whose workers use a real table and bucket."""

import json
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import Runtime, is_alive, until
from vigil.agent.models import STAND_IN
from vigil.artifacts import Artifacts
from vigil.journal import Journal
from vigil.local.stack import LocalStack
from vigil.names import STOP_PATH, Env
from vigil.session import Failure, Session, Status

NewSession = Callable[..., str]

# As on AgentCore, it takes no orders to stop a session; one works at a time, and is given up soon without progress.
STRICT = {Env.MAX_WORKERS: "1", Env.PROGRESS_SECONDS: "5"}


@pytest.fixture(scope="module")
def runtime_with(
    embedded: LocalStack, table: Any, s3: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[dict[Env, str]], Runtime]]:
    """Return the runtime that has these settings; starts one if none lives."""
    runtimes: dict[str, Runtime] = {}

    def find(settings: dict[Env, str]) -> Runtime:
        name = json.dumps(settings)
        if name not in runtimes or runtimes[name].process.poll() is not None:
            runtimes[name] = Runtime(
                {
                    **embedded.environment(),
                    "PATH": os.environ["PATH"],
                    Env.MODEL: STAND_IN,
                    Env.AGENT: "tests.agents:chosen",
                    Env.HEARTBEAT_SECONDS: "1",
                    **settings,
                },
                *("-m", "vigil.agent"),
                folder=None if settings is STRICT else tmp_path_factory.mktemp("runtime"),
            )
        return runtimes[name]

    yield find
    for runtime in runtimes.values():
        runtime.process.terminate()
        runtime.process.wait()


@pytest.fixture
def runtime(runtime_with: Callable[[dict[Env, str]], Runtime]) -> Runtime:
    return runtime_with({})


@pytest.fixture
def saved(s3: Any) -> Callable[[str, str], str]:
    """Return what an agent saved, once it has."""

    def read(session_id: str, name: str) -> str:
        artifacts = Artifacts(s3, "artifacts", session_id)
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
def abandoned(runtime_with: Callable[[dict[Env, str]], Runtime], table: Any, s3: Any) -> tuple[Runtime, str, int]:
    """A session that was failed from outside while its worker works, and the worker, which gets a while to notice."""
    runtime, session_id, journal = runtime_with({}), str(uuid.uuid4()), Journal(table)
    table.put_item(Item={"PK": session_id, "SK": "SESSION", "status": Status.INITIATED})
    runtime.invoke(session_id, "waits")
    artifacts = Artifacts(s3, "artifacts", session_id)
    until(lambda: artifacts.exists("pid"))
    journal.fail(session_id, Failure("Elsewhere", "somebody else knew better"))
    return runtime, session_id, int(artifacts.read("pid"))


def test_a_session_is_accepted_at_once_run_once_and_seen_in_the_ping(
    runtime_with: Callable[[dict[Env, str]], Runtime],
    journal: Journal,
    new_session: NewSession,
    s3: Any,
    saved: Saved,
    abandoned: Any,
) -> None:
    runtime, session_id = runtime_with(STRICT), new_session()
    assert runtime.status == "Healthy"
    assert runtime.invoke(session_id, "waits") == (200, {"status": "accepted"})
    assert runtime.invoke(session_id, "waits") == (200, {"status": "already running"})
    assert runtime.status == "HealthyBusy"
    Artifacts(s3, "artifacts", session_id).write("go", "")
    assert ended(journal, session_id).status == Status.COMPLETED
    assert saved(session_id, "report.md") == "# Hello"
    until(lambda: runtime.status == "Healthy")
    assert runtime.invoke(session_id) == (200, {"status": "already ended"})


@pytest.mark.parametrize(
    ("agent", "code", "message"),
    [
        ("killed", "AgentCrashed", "signal SIGKILL and no result: about to be killed"),
        ("killed_by_a_realtime_signal", "AgentCrashed", f"signal {signal.SIGRTMIN + 1} and no result"),
        ("exits", "AgentCrashed", "exit code 7"),
        ("calls_exit", "AgentIncomplete", "the agent called exit(3)"),
        ("raises", "RuntimeError", "the dependency is broken"),
        ("forgets_everything", "AgentIncomplete", "without saving report.md"),
        ("completes_without_report", "AgentFailed", "save report.md before COMPLETED"),
        ("says_failed", "AgentFailed", "nothing to look at"),
        ("not_an_agent", "TypeError", "not callable"),
        ("no_such_agent", "KeyError", "'no_such_agent'"),
    ],
)
def test_whatever_the_agent_does_the_session_ends_failed_with_its_cause(
    runtime: Runtime, journal: Journal, new_session: NewSession, agent: str, code: str, message: str
) -> None:
    session_id = new_session()
    assert runtime.invoke(session_id, agent)[0] == 200
    error = failed(journal, session_id)
    assert error.code == code
    assert message in error.message
    assert "\n" not in error.message


def test_an_agent_that_forgets_its_status_but_saved_a_report_is_completed_in_code(
    runtime: Runtime, journal: Journal, new_session: NewSession
) -> None:
    session_id = new_session()
    runtime.invoke(session_id, "forgets_status")
    assert ended(journal, session_id).status == Status.COMPLETED


def test_what_a_crashed_worker_has_started_ends_with_it(
    runtime: Runtime, journal: Journal, new_session: NewSession, saved: Saved
) -> None:
    session_id = new_session()
    runtime.invoke(session_id, "leaves_a_process_and_dies")
    assert failed(journal, session_id).code == "AgentCrashed"
    until(are_gone(saved, session_id))


def test_a_session_that_another_worker_runs_is_left_alone(
    runtime: Runtime, table: Any, new_session: NewSession
) -> None:
    session_id = new_session(Status.BUSY, worker="another", heartbeat_at="2026-01-01T00:00:00.000Z")
    key = {"PK": session_id, "SK": "SESSION"}
    before = table.get_item(Key=key)["Item"]
    runtime.invoke(session_id)
    until(lambda: runtime.invoke(session_id)[1]["status"] == "already ended")
    assert table.get_item(Key=key)["Item"] == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"environment": {}}, "exactly DDB_TABLE_NAME, S3_BUCKET_NAME, SESSION_ID"),
        ({"environment": {"SESSION_ID": "short", "S3_BUCKET_NAME": "b", "DDB_TABLE_NAME": "t"}}, "InvalidSessionId"),
        ({"detail": []}, "detail must be an object, not list"),
    ],
)
def test_a_bad_invocation_is_refused_with_its_reason(runtime: Runtime, changes: dict[str, object], said: str) -> None:
    session_id = str(uuid.uuid4())
    status, answer = runtime.invoke(session_id, **changes)
    assert status == 400
    assert said in answer["error"]
    environment = {"SESSION_ID": session_id, "S3_BUCKET_NAME": "b", "DDB_TABLE_NAME": "t", "PYTHONPATH": "/evil"}
    assert runtime.invoke(session_id, environment=environment)[0] == 400
    assert not runtime.stop(session_id)


def test_one_session_is_stopped_and_the_others_go_on(
    runtime: Runtime, journal: Journal, new_session: NewSession, s3: Any, saved: Saved
) -> None:
    stopped, kept = new_session(), new_session()
    runtime.invoke(stopped, "leaves_a_process_and_hangs")
    runtime.invoke(kept, "waits")
    processes_gone, other = are_gone(saved, stopped), int(saved(kept, "pid"))
    assert runtime.stop(stopped)
    error = Failure("AgentStopped", "the agent's environment was shut down before the session ended")
    assert journal.get(stopped).error == error
    until(processes_gone)
    until(lambda: runtime.invoke(stopped)[1]["status"] == "already ended")
    assert not runtime.stop(stopped)
    assert not runtime.stop(str(uuid.uuid4()))
    assert is_alive(other)
    Artifacts(s3, "artifacts", kept).write("go", "")
    assert ended(journal, kept).status == Status.COMPLETED
    assert journal.get(stopped).error == error


def test_an_agent_without_progress_is_lost_and_a_session_that_waits_its_turn_is_not(
    runtime_with: Callable[[dict[Env, str]], Runtime], journal: Journal, new_session: NewSession, saved: Saved
) -> None:
    runtime, stuck, next_one = runtime_with(STRICT), new_session(), new_session()
    runtime.invoke(stuck, "leaves_a_process_and_hangs")
    gone = are_gone(saved, stuck)
    runtime.invoke(next_one)
    first = until(lambda: journal.get(next_one).heartbeat_at)
    until(lambda: journal.get(next_one).heartbeat_at != first)
    assert journal.get(next_one).status == Status.INITIATED
    error = failed(journal, stuck)
    assert error.code == "AgentLost"
    assert error.message.startswith("the agent made no progress for 5 s; it was last seen at: starting")
    until(gone)
    assert ended(journal, next_one).status == Status.COMPLETED


def test_a_runtime_that_is_asked_to_end_stops_its_sessions_even_those_that_wait(
    runtime_with: Callable[[dict[Env, str]], Runtime], journal: Journal, new_session: NewSession, saved: Saved
) -> None:
    runtime, running, waiting = runtime_with(STRICT), new_session(), new_session()
    assert runtime.call(STOP_PATH, {"session_id": running})[0] == 404
    runtime.invoke(running, "waits")
    worker = int(saved(running, "pid"))
    # Not before: the other one could take the only place.
    runtime.invoke(waiting, "waits")
    runtime.process.terminate()
    runtime.process.wait(30)
    for session_id in (running, waiting):
        assert failed(journal, session_id).code == "AgentStopped"
    until(lambda: not is_alive(worker))


def test_a_worker_whose_session_was_ended_from_outside_does_not_beat_and_ends(
    abandoned: tuple[Runtime, str, int], journal: Journal
) -> None:
    runtime, session_id, worker = abandoned
    until(lambda: not is_alive(worker))
    until(lambda: runtime.invoke(session_id)[1]["status"] == "already ended")
    session = journal.get(session_id)
    assert session.error == Failure("Elsewhere", "somebody else knew better")
    assert session.heartbeat_at is not None
    assert session.ended_at is not None
    assert session.heartbeat_at < session.ended_at


def test_the_workers_of_a_runtime_that_is_killed_end_with_all_that_they_started(
    runtime: Runtime, journal: Journal, new_session: NewSession, saved: Saved
) -> None:
    session_id = new_session()
    runtime.invoke(session_id, "leaves_a_process_and_hangs")
    gone = are_gone(saved, session_id)
    runtime.process.kill()
    runtime.process.wait()
    until(gone)
    assert journal.get(session_id).status == Status.BUSY


def test_a_runtime_ends_with_whoever_started_it(runtime: Runtime, new_session: NewSession, saved: Saved) -> None:
    session_id = new_session()
    runtime.invoke(session_id, "waits")
    worker = int(saved(session_id, "pid"))
    os.close(runtime.stdin)
    runtime.process.wait(30)
    until(lambda: not is_alive(worker))


def test_a_fork_server_that_is_killed_fails_its_sessions_and_a_new_one_takes_the_next(
    runtime: Runtime, journal: Journal, new_session: NewSession, saved: Saved
) -> None:
    session_id, next_one = new_session(), new_session()
    runtime.invoke(session_id, "waits")
    worker = int(saved(session_id, "pid"))
    os.kill(int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)
    error = failed(journal, session_id)
    assert error.code == "AgentCrashed"
    assert "the process that it was forked from has ended" in error.message
    until(lambda: not is_alive(worker))
    runtime.invoke(next_one)
    assert ended(journal, next_one).status == Status.COMPLETED

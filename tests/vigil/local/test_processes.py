"""No process of a session outlives it, whatever kind it is and however its parents end."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import ForkedRuntime, is_alive, parent_of, until
from vigil.agent.session import AgentSession
from vigil.artifacts import Artifacts
from vigil.errors import LocalStackError
from vigil.local.deploy import PROJECT
from vigil.local.processes import ForkServer
from vigil.local.stack import LocalStack
from vigil.names import Env

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to an ancestor"),
    pytest.mark.takes(60),
]

SLEEP = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
DEAF = f"import signal; [signal.signal(s, signal.SIG_IGN) for s in set(range(1, 32)) - {{9, 17, 19}}]; {SLEEP}"
DAEMON = f"import os; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); {SLEEP}"
STOPPED = f"{SLEEP.removesuffix('time.sleep(600)')} os.kill(0, 19)"


def leaves_everything(session: AgentSession) -> Any:
    """Start processes of every kind, save their numbers and its own, and do what the event's detail says."""
    pids = [os.getpid()]
    for script, options in (
        (SLEEP, {}),
        (SLEEP, {"start_new_session": True, "env": {}}),
        (SLEEP, {"process_group": 0}),
        (DEAF, {"start_new_session": True}),
        (STOPPED, {"start_new_session": True}),
        (DAEMON, {}),
    ):
        arguments: Any = {"stdout": subprocess.PIPE, "text": True, **options}
        process = subprocess.Popen([sys.executable, "-ISc", script], **arguments)
        assert process.stdout is not None
        pids.append(int(process.stdout.readline()))
    session.artifacts.write("pids", json.dumps(pids))
    match session.detail["then"]:
        case "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stops itself":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "holds the interpreter":
            sum(range(10**12))
        case "hangs":
            threading.Event().wait()
    session.artifacts.write("report.md", "# Done")
    return lambda prompt: None


@pytest.fixture(scope="module")
def environment(embedded: LocalStack, table: Any, s3: Any) -> dict[str, str]:
    return {
        **embedded.environment(),
        "PATH": os.environ["PATH"],
        Env.AGENT: f"{__name__}:leaves_everything",
        Env.HEARTBEAT_SECONDS: "1",
    }


BASE = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)}


@pytest.fixture(scope="module")
def ended() -> list[int]:
    """The process ids of runtimes that the fork servers reported as ended."""
    return []


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a short name, since the address of a Unix socket has at most 107 bytes."""
    return tmp_path_factory.mktemp("p")


@pytest.fixture(scope="module")
def servers(ended: list[int]) -> Iterator[list[ForkServer]]:
    """The fork server that tests use until one kills it, since each imports for most of a second."""
    servers: list[ForkServer] = []
    yield servers
    for server in servers:
        server.close()


@pytest.fixture
def server(servers: list[ForkServer], tmp_path_factory: pytest.TempPathFactory, ended: list[int]) -> ForkServer:
    """A fork server that other tests use too."""
    if not servers:
        servers.append(ForkServer(tmp_path_factory.mktemp("p") / "log", BASE, ended.append))
    return servers[0]


@pytest.fixture
def own_server(server: ForkServer, servers: list[ForkServer]) -> Iterator[ForkServer]:
    """A fork server that the test may kill: no other test uses it after that."""
    servers.clear()
    yield server
    server.close()


Begin = Callable[..., list[int]]


@pytest.fixture
def begin(new_session: Callable[..., str], artifacts_of: Callable[[str], Artifacts]) -> Begin:
    """Have a runtime run a session, and return the processes that must end with it."""

    def invoke(runtime: ForkedRuntime, then: str = "hangs") -> list[int]:
        session_id = new_session()
        runtime.invoke(session_id, detail={"then": then})
        artifacts = artifacts_of(session_id)
        until(lambda: artifacts.exists("pids"))
        pids = [runtime.pid, *json.loads(artifacts.read("pids"))]
        assert len(set(pids)) == 8
        return pids

    return invoke


def await_end(pids: list[int]) -> None:
    until(lambda: not any(map(is_alive, pids)), 20)


@pytest.mark.parametrize("then", ["ends", "dies"])
def test_processes_that_an_ended_session_left_are_killed(
    server: ForkServer, folder: Path, environment: dict[str, str], begin: Begin, ended: list[int], then: str
) -> None:
    runtime = ForkedRuntime(server, folder, environment)
    await_end(begin(runtime, then))
    until(lambda: ended.count(runtime.pid) == 1)


def test_stopping_a_session_kills_its_processes_and_no_others(
    server: ForkServer, folder: Path, environment: dict[str, str], begin: Begin
) -> None:
    others = begin(ForkedRuntime(server, folder, environment))
    for then in ("hangs", "stops itself", "holds the interpreter"):
        stopped = ForkedRuntime(server, folder, environment)
        pids = begin(stopped, then)
        stopped.stop()
        await_end(pids)
        assert all(map(is_alive, others)), then


def test_killing_the_group_of_a_runtime_ends_that_session_alone(
    server: ForkServer, folder: Path, environment: dict[str, str], begin: Begin
) -> None:
    runtime, other = (ForkedRuntime(server, folder, environment) for _ in range(2))
    others = begin(other)
    os.killpg(os.getpgid(runtime.pid), signal.SIGKILL)
    until(lambda: not is_alive(runtime.pid))
    assert all(map(is_alive, others))
    assert ForkedRuntime(server, folder, environment).status == "Healthy"


def test_stuck_runtime_is_killed(server: ForkServer, folder: Path, environment: dict[str, str], begin: Begin) -> None:
    runtime = ForkedRuntime(server, folder, environment)
    pids = begin(runtime)
    os.kill(runtime.pid, signal.SIGSTOP)
    runtime.stop()
    await_end(pids)


def test_a_sessions_processes_end_when_its_runtime_is_killed(
    server: ForkServer, folder: Path, environment: dict[str, str], begin: Begin, ended: list[int]
) -> None:
    runtimes = {then: ForkedRuntime(server, folder, environment) for then in ("hangs", "stops itself")}
    pids = [pid for then, runtime in runtimes.items() for pid in begin(runtime, then)]
    started = [runtime.pid for runtime in runtimes.values()]
    for pid in started:
        os.kill(pid, signal.SIGKILL)
    await_end(pids)
    until(lambda: all(ended.count(pid) == 1 for pid in started))


def kill_fork_server(server: ForkServer, fork_server: int, runtimes: list[int]) -> None:
    os.kill(fork_server, signal.SIGKILL)


def kill_keeper(server: ForkServer, fork_server: int, runtimes: list[int]) -> None:
    os.kill(parent_of(fork_server), signal.SIGKILL)


def kill_all_but_the_keeper(server: ForkServer, fork_server: int, runtimes: list[int]) -> None:
    for pid in (fork_server, *runtimes):
        os.kill(pid, signal.SIGKILL)


def freeze_fork_server_and_end_its_host(server: ForkServer, fork_server: int, runtimes: list[int]) -> None:
    os.kill(fork_server, signal.SIGSTOP)
    server.close()


@pytest.mark.parametrize(
    "end", [kill_fork_server, kill_keeper, kill_all_but_the_keeper, freeze_fork_server_and_end_its_host]
)
def test_a_sessions_processes_end_however_their_parents_end(
    own_server: ForkServer,
    folder: Path,
    environment: dict[str, str],
    begin: Begin,
    ended: list[int],
    end: Callable[[ForkServer, int, list[int]], None],
) -> None:
    runtimes = {then: ForkedRuntime(own_server, folder, environment) for then in ("hangs", "stops itself")}
    pids = [pid for then, runtime in runtimes.items() for pid in begin(runtime, then)]
    started = [runtime.pid for runtime in runtimes.values()]
    end(own_server, parent_of(started[0]), started)
    await_end(pids)
    until(lambda: all(ended.count(pid) == 1 for pid in started))


def test_a_host_that_is_killed_leaves_no_process(folder: Path, environment: dict[str, str], begin: Begin) -> None:
    script = f"""
import json, sys, time
from pathlib import Path
from tests.support import ForkedRuntime
from vigil.local.processes import ForkServer
server = ForkServer(Path("log"), {BASE}, lambda pid: None)
runtime = ForkedRuntime(server, Path(), json.loads(sys.stdin.readline()))
print(json.dumps([runtime.pid, runtime._socket]), flush=True)
time.sleep(600)
"""
    host: Any = subprocess.Popen(
        [sys.executable, "-c", script], cwd=folder, env=BASE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    host.stdin.write(json.dumps(environment) + "\n")
    host.stdin.flush()
    runtime = ForkedRuntime.__new__(ForkedRuntime)
    runtime.pid, socket = json.loads(host.stdout.readline())
    runtime._host, runtime._socket = "localhost", str(folder / socket)
    pids = [*begin(runtime), parent_of(runtime.pid), parent_of(parent_of(runtime.pid))]
    host.kill()
    host.communicate()
    await_end(pids)


def test_dead_or_hanging_fork_server_fails_the_next_start(
    own_server: ForkServer, folder: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = ForkedRuntime(own_server, folder, environment)
    fork_server = parent_of(runtime.pid)
    monkeypatch.setattr("vigil.local.processes.START_SECONDS", 1.0)
    os.kill(fork_server, signal.SIGSTOP)
    for _ in range(2):
        # The first missed answer may mean a slow machine: running sessions go on.
        assert is_alive(runtime.pid)
        with pytest.raises(LocalStackError, match="does not answer"):
            ForkedRuntime(own_server, folder, environment)
    await_end([runtime.pid, fork_server])
    with pytest.raises(LocalStackError, match="has ended"):
        ForkedRuntime(own_server, folder, environment)


def test_a_failed_start_says_why_and_the_next_start_works(
    server: ForkServer, folder: Path, environment: dict[str, str]
) -> None:
    with pytest.raises(LocalStackError, match="no agent can be started: AF_UNIX path too long"):
        server.start("x" * 200, environment)
    assert ForkedRuntime(server, folder, environment).status == "Healthy"

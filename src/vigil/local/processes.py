"""The processes of sessions on a laptop: each has a runtime of its own, and nothing that it started outlives it.

    embedded AWS ── keeper ── fork server ── runtime ── worker ── what the agent starts

The fork server has imported what every session needs. Linux gives a process whose parent has ended to the nearest
ancestor that adopts orphans (prctl(2), PR_SET_CHILD_SUBREAPER), in any session and process group. Keeper, fork server
and runtimes adopt. When a runtime ends, the fork server gets the processes that it leaves, and kills them. When the
fork server ends, the keeper does the same. Both end when the embedded AWS ends. So a process can only remain if keeper
and fork server die in the same moment. Other systems do not adopt: there, a process that left the group of its worker
remains.
"""

import ctypes
import gc
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from math import inf
from multiprocessing import Pipe, connection
from pathlib import Path
from typing import Any, NoReturn

from vigil.errors import LocalStackError

STOP_SECONDS = 5.0  # how long a runtime that was asked to stop may take to record it
START_SECONDS = 20.0  # how long the fork server may take to start and fork; less than the invoker waits for an answer
LINGER_SECONDS = 1.0  # how long a runtime answers after its session has ended
_SWEEP_SECONDS = 5.0
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class ForkServer:
    """Starts and stops runtimes; ``ended`` is called, in a thread, with the process id of each that has ended."""

    def __init__(self, log: Path, environment: Mapping[str, str], ended: Callable[[int], None]) -> None:
        self._link, server_link = Pipe()
        self._started: queue.SimpleQueue[tuple[str, int | str]] = queue.SimpleQueue()
        self._unanswered = 0
        self._running: set[int] = set()
        self._ended = ended
        self.closed = False  # whether it cannot start another runtime
        with log.open("ab") as output:
            self._keeper = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(server_link.fileno())],
                env=environment,
                # Never written to: the pipe ends with this process, and the keeper with the pipe.
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[server_link.fileno()],
                start_new_session=True,
            )
        server_link.close()
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, address: str, environment: Mapping[str, str]) -> int:
        """Start a runtime on a Unix socket and return its process id. One call at a time.

        Raises LocalStackError if it cannot be started, or if the server has ended or does not answer.
        """
        deadline, answered = time.monotonic() + START_SECONDS, None
        try:
            self._link.send((address, dict(environment)))
            while answered != address:
                answered, started = self._started.get(timeout=max(0.0, deadline - time.monotonic()))
                if answered not in (address, "") and isinstance(started, int):
                    # The call that asked for this runtime has given up.
                    self.stop(started)
                elif answered == "":
                    raise EOFError
        except (OSError, EOFError, queue.Empty) as error:
            self._unanswered += 1
            # The first missing answer may mean a slow machine, or one that slept: running sessions go on.
            if self._unanswered > 1 or not self._running or not isinstance(error, queue.Empty):
                self.close()
            raise LocalStackError("the server that starts agents has ended or does not answer; see the log") from error
        self._unanswered = 0
        if isinstance(started, str):
            raise LocalStackError(f"no agent can be started: {started}")
        return started

    def stop(self, pid: int) -> None:
        """Have a runtime stop its session and end; does not wait for it."""
        with suppress(OSError):
            self._link.send(pid)

    def close(self) -> None:
        """Kill every runtime and its session. They cannot record it: the embedded AWS is about to end."""
        self.closed = True
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        try:
            self._keeper.wait(2 * _SWEEP_SECONDS)
        except subprocess.TimeoutExpired:
            self._keeper.kill()

    def _listen(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                pid, address = self._link.recv()
                if address:
                    if isinstance(pid, int):
                        self._running.add(pid)
                    self._started.put((address, pid))
                else:
                    self._running.discard(pid)
                    self._report_end(pid)
        self._started.put(("", "the server has ended"))
        for pid in self._running:
            self._report_end(pid)

    def _report_end(self, pid: int) -> None:
        # In another thread: the callback may wait for a lock that a call of start() holds, which waits for this thread.
        threading.Thread(target=self._ended, args=(pid,), daemon=True).start()


def children(pid: int) -> Iterator[int]:
    """Yield the children of a process; none where there is no /proc."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if stat.read_text(errors="replace").rpartition(")")[2].split()[1] == str(pid):
                yield int(stat.parent.name)


def _sweep(kept: Collection[int] = ()) -> None:
    """Kill every child that is not ``kept``, and its children, which this process adopts then, until none is left."""
    deadline = time.monotonic() + _SWEEP_SECONDS
    while (orphans := set(children(os.getpid())) - set(kept)) and time.monotonic() < deadline:
        for pid in orphans:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.005)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _run_keeper(link: "connection.Connection[Any, Any]") -> None:
    """Kill all sessions when the embedded AWS or the fork server has ended."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    keeper_ended, keeper_lives = os.pipe()
    server = os.fork()
    if server == 0:
        os.close(keeper_lives)
        _exit_after(_run_fork_server, link, keeper_ended)
    link.close()
    while not select.select([sys.stdin], [], [], 0.2)[0] and not os.waitpid(server, os.WNOHANG)[0]:
        pass
    _sweep()


def _run_fork_server(link: "connection.Connection[Any, Any]", keeper_ended: int) -> None:
    """Start and stop runtimes until the embedded AWS or the keeper has ended."""
    # Every session gets what is imported here.
    gc.disable()  # nothing that it imports is garbage
    import_module("vigil.agent.preload")
    gc.enable()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    child_ended, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    kill_at: dict[int, float] = {}
    with suppress(EOFError, OSError):
        while True:
            wait = min(kill_at.values(), default=inf) - time.monotonic()
            ready = connection.wait([link, keeper_ended, child_ended], None if wait == inf else max(0.0, wait))
            if keeper_ended in ready:
                break
            if child_ended in ready:
                os.read(child_ended, 4096)
                for pid in _ended_children():
                    if kill_at.pop(pid, None) is not None:
                        _sweep(kill_at)
                        link.send((pid, ""))
            for pid in [pid for pid, deadline in kill_at.items() if deadline <= time.monotonic()]:
                os.kill(pid, signal.SIGKILL)
                kill_at[pid] = inf
            if link in ready:
                order = link.recv()
                if not isinstance(order, int):
                    address, environment = order
                    try:
                        pid = _fork(address, environment, (link.fileno(), keeper_ended, child_ended, wakeup))
                        kill_at[pid] = inf
                        link.send((pid, address))
                    except OSError as error:
                        link.send((str(error), address))
                elif order in kill_at:
                    os.kill(order, signal.SIGTERM)
                    kill_at[order] = time.monotonic() + STOP_SECONDS
    _sweep()


def _ended_children() -> Iterator[int]:
    with suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            yield pid


def _fork(address: str, environment: dict[str, str], inherited: Collection[int]) -> int:
    """Fork a runtime that serves on ``address``, and return its process id; raises OSError."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen()
    try:
        pid = os.fork()
    except OSError:
        listening.close()
        os.unlink(address)
        raise
    if pid == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in inherited:
            os.close(descriptor)
        _exit_after(_run_runtime, listening, environment)
    listening.close()
    return pid


def _run_runtime(listening: socket.socket, environment: dict[str, str]) -> None:
    from vigil.agent.runtime import SERVER_OPTIONS, build, prepare

    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Leave the keeper's group: a worker may move to this runtime's group, and kills its own group when this has ended.
    os.setpgid(0, 0)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    supervisor = prepare(listening.fileno())

    def end() -> None:
        supervisor.ended.wait()
        time.sleep(LINGER_SECONDS)
        os._exit(0)

    threading.Thread(target=end, daemon=True).start()
    build(supervisor).run(fd=listening.fileno(), **SERVER_OPTIONS)


def _exit_after(run: Callable[..., None], *arguments: Any) -> NoReturn:
    """Call ``run`` in a process that was forked, and end the process."""
    try:
        run(*arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    _run_keeper(connection.Connection(int(sys.argv[1])))

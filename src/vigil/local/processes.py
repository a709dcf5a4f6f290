"""The processes of sessions on a laptop: each has a runtime of its own, and nothing that it started outlives it.

    embedded AWS ── keeper ── fork server ── runtime ── worker ── what the agent starts

The fork server has imported what every session needs. Linux gives a process whose parent has ended to the nearest
ancestor that adopts orphans (prctl(2), PR_SET_CHILD_SUBREAPER), whatever session and process group it is in. Keeper,
fork server and runtimes adopt. When a runtime ends, whatever it leaves comes to the fork server, which kills it; when
the fork server ends, everything comes to the keeper, which does the same. Both end if the embedded AWS does. So it
takes the death of keeper and fork server in one moment for a process to be left. Other systems have no such thing:
there, a process that left the group of its worker stays.
"""

import ctypes
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

STOP_SECONDS = 5.0
"""How long a runtime that was asked to stop may take to record it."""
START_SECONDS = 20.0
"""How long the fork server may take to fork, its own start included; less than the invoker waits for an answer."""
LINGER_SECONDS = 1.0
"""How long a runtime answers after its session has ended."""
_SWEEP_SECONDS = 5.0
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class ForkServer:
    """Starts and stops runtimes; ``ended`` is called, in a thread, with the process id of each that has ended."""

    def __init__(self, log: Path, environment: Mapping[str, str], ended: Callable[[int], None]) -> None:
        self._link, theirs = Pipe()
        self._started: queue.SimpleQueue[tuple[str, int | str]] = queue.SimpleQueue()
        self._missed = 0
        self._running: set[int] = set()
        self._ended = ended
        with log.open("ab") as output:
            self._keeper = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(theirs.fileno())],
                env=environment,
                # Never written to: the keeper ends when we do, however we do.
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        theirs.close()
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
                    # Nobody waits for it any more.
                    self.stop(started)
                elif answered == "":
                    raise EOFError
        except (OSError, EOFError, queue.Empty) as error:
            self._missed += 1
            # A machine that is slow for once, or slept, must not cost those who run.
            if self._missed > 1 or not self._running or not isinstance(error, queue.Empty):
                self.close()
            raise LocalStackError("the server that starts agents has ended or does not answer; see the log") from error
        self._missed = 0
        if isinstance(started, str):
            raise LocalStackError(f"no agent can be started: {started}")
        return started

    def stop(self, pid: int) -> None:
        """Have a runtime stop its session and end, in a moment."""
        with suppress(OSError):
            self._link.send(pid)

    @property
    def closed(self) -> bool:
        """Whether it is of no more use."""
        return self._keeper.stdin is None or self._keeper.stdin.closed

    def close(self) -> None:
        """End every runtime, and with it its session. Not gently: there is no AWS left to record it in."""
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
                    self._tell(pid)
        self._started.put(("", "the server has ended"))
        for pid in self._running:
            self._tell(pid)

    def _tell(self, pid: int) -> None:
        # Not in this thread: who is told may wait for who waits for a start, which only this thread can tell.
        threading.Thread(target=self._ended, args=(pid,), daemon=True).start()


def children(pid: int) -> Iterator[int]:
    """Yield the children of a process; none where there is no /proc."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if stat.read_text(errors="replace").rpartition(")")[2].split()[1] == str(pid):
                yield int(stat.parent.name)


def _sweep(kept: Collection[int] = ()) -> None:
    """Kill each child that is not ``kept``, and what that had started, which is ours then, until there is none."""
    deadline = time.monotonic() + _SWEEP_SECONDS
    while (strays := set(children(os.getpid())) - set(kept)) and time.monotonic() < deadline:
        for pid in strays:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.005)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _keep(link: "connection.Connection[Any, Any]") -> None:
    """Be the keeper: end all sessions when the embedded AWS or the fork server has ended."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    keeper, lives = os.pipe()
    server = os.fork()
    if server == 0:
        os.close(lives)
        _exit_after(_serve, link, keeper)
    link.close()
    while not select.select([sys.stdin], [], [], 0.2)[0] and not os.waitpid(server, os.WNOHANG)[0]:
        pass
    _sweep()


def _serve(link: "connection.Connection[Any, Any]", keeper: int) -> None:
    """Be the fork server, until the embedded AWS or the keeper has ended."""
    # What is imported here is there in every session.
    import_module("vigil.agent.preload")
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    kill_at: dict[int, float] = {}
    with suppress(EOFError, OSError):
        while True:
            wait = min(kill_at.values(), default=inf) - time.monotonic()
            ready = connection.wait([link, keeper, woken], None if wait == inf else max(0.0, wait))
            if keeper in ready:
                break
            if woken in ready:
                os.read(woken, 4096)
                for pid in _ended():
                    if kill_at.pop(pid, None) is not None:
                        _sweep(kill_at)
                        link.send((pid, ""))
            for pid in [pid for pid, moment in kill_at.items() if moment <= time.monotonic()]:
                os.kill(pid, signal.SIGKILL)
                kill_at[pid] = inf
            if link in ready:
                order = link.recv()
                if not isinstance(order, int):
                    address, environment = order
                    try:
                        pid = _fork(address, environment, (link.fileno(), keeper, woken, wake))
                    except OSError as error:
                        link.send((str(error), address))
                    else:
                        kill_at[pid] = inf
                        link.send((pid, address))
                elif order in kill_at:
                    os.kill(order, signal.SIGTERM)
                    kill_at[order] = time.monotonic() + STOP_SECONDS
    _sweep()


def _ended() -> Iterator[int]:
    """Yield the children that have ended."""
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
        _exit_after(_run, listening, environment)
    listening.close()
    return pid


def _run(listening: socket.socket, environment: dict[str, str]) -> None:
    """Be a runtime."""
    from vigil.agent.runtime import build, prepare

    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Not the keeper's group: a worker may move to ours, and ends its group when we have ended.
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
    build(supervisor).run(fd=listening.fileno())


def _exit_after(be: Callable[..., None], *arguments: Any) -> NoReturn:
    """Be something else in a process that was forked, and end with it."""
    try:
        be(*arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    _keep(connection.Connection(int(sys.argv[1])))

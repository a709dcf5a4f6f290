"""Which local stack runs in this folder: ``.vigil/local.json``, locked while it runs.

The lock, not the file, says that it runs: a killed process leaves the file behind, and another may get its number.
"""

import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from vigil.errors import LocalStackError
from vigil.local.stack import STATE, LocalStack

FILE = STATE / "local.json"
STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Running:
    """A local stack that runs."""

    pid: int
    endpoint: str
    started: str
    log: str
    """The file that the agent logs to."""
    environment: dict[str, str]
    """The standard AWS variables that lead there."""

    def stop(self) -> None:
        """Ask it to end and wait until it has; raises LocalStackError if it does not."""
        os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while find() is not None:
            if time.monotonic() > deadline:
                raise LocalStackError(f"the local stack, process {self.pid}, did not stop in {STOP_SECONDS:.0f} s")
            time.sleep(0.05)


@contextmanager
def claim() -> Iterator[Callable[[LocalStack], None]]:
    """Hold this folder's place for a local stack and yield what announces that it serves.

    Raises LocalStackError if one runs already.
    """
    FILE.parent.mkdir(exist_ok=True)
    with FILE.open("a+") as file:
        # More than once: whoever looks for a running stack holds the lock for a moment.
        for _ in range(10):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.02)
        else:
            raise LocalStackError("a local stack runs in this folder already; `vigil local down` stops it")
        file.truncate(0)
        # Left as it is at the end: the lock goes with this process, and somebody may wait for it on this very file.
        yield _announce


def _announce(stack: LocalStack) -> None:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    running = Running(os.getpid(), stack.endpoint, started, str(stack.agent_log), stack.environment())
    FILE.write_text(json.dumps(asdict(running)))


def find() -> Running | None:
    """Return the local stack that runs in this folder; raises LocalStackError while it starts."""
    try:
        with FILE.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read()
                if not text:
                    raise LocalStackError("a local stack is starting in this folder; try again in a moment") from None
                return Running(**json.loads(text))
    except FileNotFoundError:
        pass
    return None


def require() -> Running:
    """Return the local stack that runs in this folder, or raise LocalStackError."""
    if (running := find()) is None:
        raise LocalStackError("no local stack runs in this folder; `vigil local up` starts one")
    return running

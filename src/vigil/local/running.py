"""Which local stack runs in this folder: a file of the user's own state folder, locked while it runs.

The lock, not the file, says that it runs: a killed process leaves the file behind, and another may get its number. The
file holds the stack's keys and names a process to end, so it lies where no other user can write or read.
"""

import fcntl
import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from vigil.errors import LocalStackError
from vigil.local.stack import LocalStack

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
    with _open(os.O_CREAT) as file:
        # More than once: a command that looks for a running stack holds the lock for a moment.
        for _ in range(10):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.02)
        else:
            raise LocalStackError("a local stack runs in this folder already; `vigil local down` stops it")
        file.truncate(0)

        def announce(stack: LocalStack) -> None:
            started = datetime.now(UTC).isoformat(timespec="seconds")
            running = Running(os.getpid(), stack.endpoint, started, str(stack.agent_log), stack.environment())
            file.write(json.dumps(asdict(running)))
            file.flush()

        # Left as it is at the end: the lock goes with this process, and somebody may wait for it on this very file.
        yield announce


def _open(flags: int) -> TextIO:
    """Open the file of the current folder's stack; raises FileNotFoundError if there has been none."""
    # As the XDG specification has it, which ignores a relative path.
    named = Path(os.environ.get("XDG_STATE_HOME") or "")
    folder = (named if named.is_absolute() else Path.home() / ".local" / "state") / "vigil"
    try:
        here = os.fsencode(Path.cwd())
    except FileNotFoundError:
        raise LocalStackError("the current folder does not exist any more") from None
    name = f"{hashlib.sha256(here).hexdigest()[:32]}.json"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The folder of another user could be changed under us; one that has been opened cannot be another.
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(held).st_uid != os.getuid():
                raise LocalStackError(f"{folder} belongs to another user: set XDG_STATE_HOME to a folder of yours")
            os.fchmod(held, 0o700)
            file = os.fdopen(os.open(name, os.O_RDWR | os.O_NOFOLLOW | flags, 0o600, dir_fd=held), "r+")
        finally:
            os.close(held)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LocalStackError(
            f"{folder / name} cannot be used: {error.strerror}; delete it, or set XDG_STATE_HOME to a folder of yours"
        ) from None
    found = os.fstat(file.fileno())
    if found.st_uid != os.getuid() or found.st_nlink != 1 or found.st_mode & 0o077:
        # Left from a time when others could enter the folder.
        file.close()
        raise LocalStackError(f"{folder / name} is open to other users: delete it")
    return file


def find() -> Running | None:
    """Return the local stack that runs in this folder; raises LocalStackError while it starts."""
    try:
        with _open(0) as file:
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

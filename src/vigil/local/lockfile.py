"""Which local stack runs in this folder: a file in the user's state folder, which the stack locks while it runs.

The lock, not the file, says that the stack runs: a killed process leaves its file behind, and another process may get
its number. The file holds the stack's keys and the number of a process to end, so no other user may read or write it.
"""

import fcntl
import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from vigil.errors import LocalStackError

if TYPE_CHECKING:
    from vigil.local.stack import LocalStack

STOP_SECONDS = 20.0


@dataclass(frozen=True)
class RunningStack:
    """A local stack that runs."""

    pid: int
    endpoint: str
    started: str
    log: str  # the file that the agent logs to
    environment: dict[str, str]  # the standard AWS variables that lead to the stack

    def stop(self) -> None:
        """Stop the stack and wait until it has ended; raises LocalStackError if it does not end."""
        os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while find() is not None:
            if time.monotonic() > deadline:
                raise LocalStackError(f"the local stack, process {self.pid}, did not stop in {STOP_SECONDS:.0f} s")
            time.sleep(0.05)


@contextmanager
def claim() -> Iterator[Callable[["LocalStack"], None]]:
    """Lock this folder's file and yield a function that writes the stack to it; raises LocalStackError if one runs."""
    with _open(os.O_CREAT) as file:
        # Several attempts: a command that looks for a running stack holds the lock for a moment.
        for _ in range(10):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.02)
        else:
            raise LocalStackError("a local stack runs in this folder already; `vigil local down` stops it")
        file.truncate(0)

        def announce(stack: "LocalStack") -> None:
            started = datetime.now(UTC).isoformat(timespec="seconds")
            content = RunningStack(os.getpid(), stack.endpoint, started, str(stack.agent_log), stack.environment())
            file.write(json.dumps(asdict(content)))
            file.flush()

        # The file is not removed: the lock ends with this process, and another command may wait for it on this file.
        yield announce


def _open(flags: int) -> TextIO:
    """Open the file of the current folder; raises FileNotFoundError if no stack has run here."""
    # The XDG specification ignores a relative path.
    state = Path(os.environ.get("XDG_STATE_HOME") or "")
    folder = (state if state.is_absolute() else Path.home() / ".local" / "state") / "vigil"
    try:
        here = os.fsencode(Path.cwd())
    except FileNotFoundError:
        raise LocalStackError("the current folder does not exist any more") from None
    name = f"{hashlib.sha256(here).hexdigest()[:32]}.json"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Another user could replace the folder after the check; a descriptor stays with the folder that was checked.
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(descriptor).st_uid != os.getuid():
                raise LocalStackError(f"{folder} belongs to another user: set XDG_STATE_HOME to a folder of yours")
            os.fchmod(descriptor, 0o700)
            file = os.fdopen(os.open(name, os.O_RDWR | os.O_NOFOLLOW | flags, 0o600, dir_fd=descriptor), "r+")
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LocalStackError(
            f"{folder / name} cannot be used: {error.strerror}; delete it, or set XDG_STATE_HOME to a folder of yours"
        ) from None
    status = os.fstat(file.fileno())
    if status.st_uid != os.getuid() or status.st_nlink != 1 or status.st_mode & 0o077:
        # It was made while other users could enter the folder.
        file.close()
        raise LocalStackError(f"{folder / name} is open to other users: delete it")
    return file


def find() -> RunningStack | None:
    """Return the local stack that runs in this folder; raises LocalStackError while it starts."""
    with suppress(FileNotFoundError), _open(0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = file.read()
            if not text:
                raise LocalStackError("a local stack is starting in this folder; try again in a moment") from None
            return RunningStack(**json.loads(text))
    return None


def require() -> RunningStack:
    """Return the local stack that runs in this folder, or raise LocalStackError."""
    if (stack := find()) is None:
        raise LocalStackError("no local stack runs in this folder; `vigil local up` starts one")
    return stack

"""The AgentCore contract: answer an invocation at once, run the session in a worker process, answer pings.

``python -m vigil.agent`` starts it. One runtime process serves one session, on AWS and on the local stack.
"""

import argparse
import asyncio
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import cache, partial
from importlib import import_module
from multiprocessing import connection
from pathlib import Path
from typing import Any

from bedrock_agentcore import BedrockAgentCoreApp
from bedrock_agentcore.runtime.models import PingStatus
from starlette.requests import Request
from starlette.responses import JSONResponse

from vigil.agent.session import aws_session
from vigil.agent.worker import DONE, Pipe, reseed, work
from vigil.agent_log import attribute
from vigil.attempt import EndedAttempt
from vigil.attributes import iso
from vigil.errors import AgentCrashed, AgentLost, AgentStopped, InvalidInput, SessionEnded, VigilError
from vigil.journal import Journal
from vigil.names import Env
from vigil.session import NO_CHECKPOINT, Failure, check_detail
from vigil.settings import RuntimeSettings, WorkerSettings
from vigil.text import visible

logger = logging.getLogger("vigil.runtime")

STDERR_LINES = 20
STDERR_SECONDS = 2.0
MAX_LINE = 10_000
LOG_FORMAT = "%(levelname)s %(name)s %(message)s"
CHATTY = ("botocore", "httpx")  # libraries that log each of their calls, or where they found credentials
HEARTBEAT_ATTEMPTS = 3  # few: the next heartbeat is near, and nothing watches the worker during the attempts
END_ATTEMPTS = 12
KILLED = "signal SIGKILL"
SERVER_OPTIONS: dict[str, Any] = {"loop": "asyncio", "http": "h11"}
"""uvicorn would take uvloop and httptools where they are installed, as on a laptop, and these on AWS."""
OUT_OF_MEMORY = "signal SIGKILL, since the machine was out of memory,"
GRACE_SECONDS = 10.0  # how long a worker may live on after its session has ended

# The worker is forked from this process while it has one thread, with all imports: no session waits for an import.
_processes = multiprocessing.get_context("fork")


class Worker:
    """The process that will run the session, and the pipes between it and its runtime."""

    def __init__(self, *inherited: int) -> None:
        """Fork the worker, which waits for its session; this process must have one thread. It closes ``inherited``."""
        orders, self._orders = _processes.Pipe()
        self._output, output = _processes.Pipe(duplex=False)
        self.progress, progress = _processes.Pipe(duplex=False)
        ours = (self._orders.fileno(), self._output.fileno(), self.progress.fileno())
        self.process = _processes.Process(target=work, args=(orders, output, progress, (*ours, *inherited)))
        self.process.start()
        for end in (orders, output, progress):
            end.close()
        # Not the process's own sentinel: the worker's children hold it too, and the worker may close it.
        self.gone, self._gone = _processes.Pipe(duplex=False)
        self._waiter = threading.Thread(target=self._wait, daemon=True)
        self._stderr_tail: deque[str] = deque(maxlen=STDERR_LINES)
        self._kills_before = _kills_for_memory()

    def run(self, environment: dict[str, str], detail: dict[str, Any]) -> None:
        """Let the worker run the session."""
        arguments = (self._output, environment[Env.SESSION_ID], self._stderr_tail)
        self._reader = threading.Thread(target=forward_output, args=arguments, daemon=True)
        self._reader.start()
        self._waiter.start()
        # If the worker was killed in the meantime, ``gone`` tells.
        with suppress(OSError):
            self._orders.send((environment, detail))

    def kill(self) -> None:
        """Kill the worker and its process group."""
        assert self.process.pid is not None
        # The group may have ended, or the worker may not lead a group yet.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        # In either case: the worker may have left its group.
        self.process.kill()

    def _wait(self) -> None:
        self.process.join()
        self._gone.close()

    @property
    def done(self) -> bool:
        """Whether the worker has reported that the end of its session is on record."""
        with suppress(OSError, EOFError):
            return self._orders.poll() and self._orders.recv_bytes(MAX_LINE) == DONE
        return False

    def describe_end(self) -> tuple[str, str]:
        """Return the exit code or signal of the worker, and a clause with its last output."""
        self._waiter.join()
        self._reader.join(STDERR_SECONDS)
        code, tail = self.process.exitcode, " ".join(list(self._stderr_tail)).strip()[-600:]
        end = f"exit code {code}"
        if code is not None and code < 0:
            # Real-time signals have no names.
            end = f"signal {next((known.name for known in signal.Signals if known == -code), -code)}"
            if end == KILLED and _kills_for_memory() > self._kills_before:
                end = OUT_OF_MEMORY
        return end, f"; it printed last: {tail}" if tail else ""


def _kills_for_memory() -> int:
    """Return how many processes Linux has killed on this machine because the memory was full; 0 if it is not known."""
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/vmstat").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("oom_kill ")).split()[1])
    return 0


class Supervisor:
    """Lets a worker run the one session of this runtime, sends its heartbeats and records how it ended."""

    def __init__(self, settings: RuntimeSettings, worker: Worker) -> None:
        self._settings = settings
        self.worker = worker
        self._lock = threading.Lock()
        self._session: WorkerSettings | None = None
        self._stopped = False
        self._started_at = ""
        self.ended = threading.Event()  # set when the session has ended

    @property
    def session_id(self) -> str | None:
        """The id of the session, or None before its invocation."""
        return self._session.session_id if self._session else None

    @property
    def busy(self) -> bool:
        """Whether a session has started and not ended."""
        return self._session is not None and not self.ended.is_set()

    def start(self, payload: object) -> str:
        """Start the session unless it was started before; return "accepted" or why nothing was started.

        Raises InvalidInput for a bad payload, and for a second session: AgentCore gives each session its own machine.
        """
        environment, detail = _parse(payload)
        settings = WorkerSettings.from_env({**os.environ, **environment})
        with self._lock:
            if self._session is not None:
                if self._session.session_id != settings.session_id:
                    raise InvalidInput(f"this runtime is that of session {self._session.session_id}")
                return "already ended" if self.ended.is_set() else "already running"
            self._session = settings
            self._started_at = iso(_now())
        reseed()
        environment[Env.WORKER] = settings.worker
        threading.Thread(target=self._run, args=(settings, environment, detail), daemon=True).start()
        return "accepted"

    def stop(self) -> None:
        """Kill the worker, and fail the session as AgentStopped unless it has ended."""
        # First kill: recording the end may take long, and the caller may not wait for it.
        self._stopped = True
        self.worker.kill()
        if self._session is not None and not self.ended.is_set():
            self._end(self._session, AgentStopped("the agent's environment was shut down before the session ended"))
            self.ended.set()

    def _run(self, session: WorkerSettings, environment: dict[str, str], detail: dict[str, Any]) -> None:
        try:
            self.worker.run(environment, detail)
            reason = self._await_end(session)
            # Kill first: the worker must not write any more, and processes that it left hold the pipe open.
            self.worker.kill()
            how, output = self.worker.describe_end()
            if not self._stopped and not self.worker.done:
                crash = AgentCrashed(f"the agent's process ended with {how} and no result{output}")
                own = "no progress" if reason else "" if how == KILLED else how
                self._end(session, reason or crash, own)
        except Exception as error:
            logger.exception("session %s could not be supervised", session.session_id)
            self._end(session, AgentCrashed(f"the agent's supervisor failed: {type(error).__name__}: {error}"))
        finally:
            self.worker.kill()
            if not self._stopped:
                self.ended.set()

    def _end(self, session: WorkerSettings, error: VigilError, how: str = "") -> None:
        """Record the end of the session, or of its attempt if another one can continue it."""
        journal = _journal(session, END_ATTEMPTS)
        try:
            found = journal.get(session.session_id)
            message = " ".join(str(error).split())
            ended = EndedAttempt(error.code, message, how, self._started_at, iso(_now()), found.steps_done or 0)
            last = session.attempt >= self._settings.max_attempts or found.checkpoint == NO_CHECKPOINT
            if last or ended.repeats(found.attempts):
                journal.fail(session.session_id, Failure(error.code, message))
            else:
                journal.end_attempt(session.session_id, ended)
        except SessionEnded:
            logger.info("session %s had ended before this: %s", session.session_id, error)
        except VigilError:
            logger.exception("session %s: this could not be recorded: %s", session.session_id, error)

    def _await_end(self, session: WorkerSettings) -> VigilError | None:
        """Send heartbeats while the worker makes progress; return why it must end, or None when it has ended."""
        gone, progress = self.worker.gone, self.worker.progress
        last_progress, doing = time.monotonic(), "starting"
        next_heartbeat = last_progress + self._settings.heartbeat_seconds
        listening: list[Any] = [gone, progress]
        while True:
            if time.monotonic() >= next_heartbeat:
                if not _heartbeat(session):
                    # The session has ended, so the worker has nothing left to do.
                    connection.wait([gone], GRACE_SECONDS)
                    self.worker.kill()
                next_heartbeat = time.monotonic() + self._settings.heartbeat_seconds
            before, wait = time.monotonic(), max(0.0, next_heartbeat - time.monotonic())
            ready = connection.wait(listening, timeout=wait)
            # A wait longer than its timeout means that the machine was frozen: that time is not idle time.
            last_progress += max(0.0, time.monotonic() - before - wait)
            if gone in ready:
                return None
            if progress in ready:
                if lines := os.read(progress.fileno(), 65_536):
                    last_progress, doing = time.monotonic(), lines.decode(errors="replace").splitlines()[-1]
                else:
                    listening.remove(progress)
            idle = time.monotonic() - last_progress
            if idle >= self._settings.progress_seconds:
                return AgentLost(f"the agent made no progress for {idle:.0f} s; it was last seen at: {doing}")


def forward_output(output: Pipe, session_id: str, tail: deque[str]) -> None:
    """Write what the worker prints to standard error, with the session's id; ``tail`` keeps the last lines."""
    with open(output.fileno(), errors="replace", closefd=False) as lines, output:
        # In pieces: one line may fill the memory.
        for line in iter(partial(lines.readline, MAX_LINE), ""):
            # A full disk must not block the worker: this is the only reader of its pipe.
            with suppress(OSError):
                # One write a line: other processes write to the same file.
                os.write(sys.stderr.fileno(), attribute(session_id, line).encode(errors="backslashreplace"))
            tail.append(" ".join(visible(line).split()))


@cache
def _journal(settings: WorkerSettings, attempts: int) -> Journal:
    journal = Journal.open(aws_session(settings.region), settings.table, attempts)
    return journal.acting_for(settings.worker, settings.attempt)


def _heartbeat(settings: WorkerSettings) -> bool:
    """Record a heartbeat; return False if the session has ended or is another worker's."""
    try:
        _journal(settings, HEARTBEAT_ATTEMPTS).heartbeat(settings.session_id)
    except SessionEnded:
        return False
    except VigilError as error:
        logger.warning("session %s: no heartbeat: %s", settings.session_id, error)
    return True


def _now() -> datetime:
    return datetime.now(UTC)


def _parse(payload: object) -> tuple[dict[str, str], dict[str, Any]]:
    """Return (environment, detail) of an invocation's payload, or raise InvalidInput."""
    if not isinstance(payload, dict) or not isinstance(payload.get("environment"), dict):
        raise InvalidInput('the payload must be {"environment": {...}, "detail": {...}}')
    required = {Env.SESSION_ID, Env.BUCKET, Env.TABLE}
    environment = payload["environment"]
    given = set(environment) - {Env.ATTEMPT}
    if given != required or not all(isinstance(value, str) for value in environment.values()):
        # Other variables could hijack the worker: PYTHONPATH or AWS_ENDPOINT_URL.
        raise InvalidInput(f"environment must hold exactly {', '.join(sorted(required))}, all strings")
    return environment, check_detail(payload.get("detail", {}))


def build(supervisor: Supervisor) -> BedrockAgentCoreApp:
    """Return the web application through which AgentCore reaches ``supervisor``."""

    @asynccontextmanager
    async def lifespan(app: BedrockAgentCoreApp) -> AsyncIterator[None]:
        yield
        # The application shuts down, for example on SIGTERM.
        await asyncio.to_thread(supervisor.stop)

    app = BedrockAgentCoreApp(lifespan=lifespan)

    @app.entrypoint
    def invoke(payload: Any) -> Any:
        """Start the session and answer at once."""
        try:
            return {"status": supervisor.start(payload)}
        except InvalidInput as error:
            return JSONResponse({"status": "refused", "error": f"{error.code}: {error}"}, status_code=400)

    async def refuse_depth(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"status": "refused", "error": "InvalidInput: nested too deeply"}, status_code=400)

    app.add_exception_handler(RecursionError, refuse_depth)

    @app.ping
    def ping() -> PingStatus:
        """Tell AgentCore to keep this environment while the session runs."""
        return PingStatus.HEALTHY_BUSY if supervisor.busy else PingStatus.HEALTHY

    return app


def prepare(*inherited: int) -> Supervisor:
    """Fork the worker, which closes the ``inherited`` descriptors, and return its supervisor."""
    handler = logging.StreamHandler(sys.stderr)
    logging.basicConfig(format=LOG_FORMAT, handlers=[handler], level=logging.INFO)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # It has its own handler, whose lines are JSON and name the session too.
    logging.getLogger("bedrock_agentcore.app").propagate = False
    supervisor = Supervisor(RuntimeSettings.from_env(), Worker(*inherited))

    class Attributing(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            session_id, text = supervisor.session_id, super().format(record)
            return attribute(session_id, text).removesuffix("\n") if session_id else visible(text)

    # After the fork: the worker's lines get the id in forward_output.
    handler.setFormatter(Attributing(LOG_FORMAT))
    return supervisor


def main() -> None:
    """Serve on the address that AgentCore calls, or on that of the options."""
    parser = argparse.ArgumentParser(prog="python -m vigil.agent")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args()
    import_module("vigil.agent.preload")
    supervisor = prepare()
    try:
        build(supervisor).run(host=arguments.host, port=arguments.port, **SERVER_OPTIONS)
    finally:
        supervisor.worker.kill()

"""The AgentCore contract: take an invocation at once, run the session in a worker process, answer pings.

Start with ``python -m vigil.agent``. On AWS AgentCore runs one such process a session; the local stack runs one for all
of them.
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
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from multiprocessing import connection, forkserver
from multiprocessing.context import ForkServerProcess
from typing import Any

from bedrock_agentcore import BedrockAgentCoreApp
from bedrock_agentcore.runtime.models import PingStatus
from starlette.requests import Request
from starlette.responses import JSONResponse

from vigil.agent.session import aws_session
from vigil.agent.worker import work
from vigil.errors import (
    AgentCrashed,
    AgentLost,
    AgentStopped,
    InvalidDetail,
    InvalidInput,
    SessionEnded,
    VigilError,
)
from vigil.journal import Journal
from vigil.names import STOP_PATH, Env
from vigil.session import Failure
from vigil.settings import RuntimeSettings, WorkerSettings
from vigil.text import visible

logger = logging.getLogger("vigil.runtime")

STDERR_LINES = 20
STDERR_SECONDS = 2.0
MAX_LINE = 10_000
BEAT_ATTEMPTS = 3
"""Few: the next beat is near, and meanwhile nobody watches the worker."""
END_ATTEMPTS = 12
GRACE_SECONDS = 10.0
"""How long a worker may live on after its session has ended."""

# Workers are forked from a server that has imported everything: a session does not wait for imports, and shares their
# memory. Only this server is forked, which has one thread.
_processes = multiprocessing.get_context("forkserver")
_UNKNOWN_EXIT = 255
"""What multiprocessing says of a process whose fork server died."""
_journals = threading.Lock()


@dataclass
class _Session:
    """A session that this runtime was given."""

    settings: WorkerSettings
    environment: dict[str, str]
    detail: dict[str, Any]
    process: ForkServerProcess | None = None
    stopped: bool = False
    ended: bool = False
    said: deque[str] = field(default_factory=lambda: deque(maxlen=STDERR_LINES))

    def kill(self) -> None:
        """End the worker and whatever it has started."""
        if self.process is None or self.process.pid is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            # It has ended with all that it started; or it has not come to be the leader of its group yet.
            self.process.kill()


class Supervisor:
    """Runs one worker process a session, says that it lives, and sees how it ends."""

    def __init__(self, settings: RuntimeSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._places = threading.Semaphore(settings.max_workers)
        self._sessions: dict[str, _Session] = {}

    @property
    def busy(self) -> bool:
        """Whether a session has not ended."""
        return bool(self._open())

    def start(self, payload: object) -> str:
        """Start the session unless it was started before; return "accepted" or why nothing was started."""
        environment, detail = _parse(payload)
        settings = WorkerSettings.from_env({**os.environ, **environment})
        with self._lock:
            known = self._sessions.get(settings.session_id)
            if known is not None:
                return "already ended" if known.ended else "already running"
            session = _Session(settings, {**environment, Env.WORKER: settings.worker}, detail)
            self._sessions[settings.session_id] = session
        threading.Thread(target=self._run, args=(session,), daemon=True).start()
        return "accepted"

    def stop(self, session_id: str | None = None) -> bool:
        """Fail a session, or all that run, as AgentStopped, and end the workers. False if there is none."""
        stopping = [s for s in self._open() if session_id in (None, s.settings.session_id)]
        for session in stopping:
            # Ended first: to record it may take long, and whoever stops us may not wait for either.
            session.stopped = True
            session.kill()
        for session in stopping:
            error = AgentStopped("the agent's environment was shut down before the session ended")
            # Who stops one session has recorded its end, if that can be done, and waits for our answer.
            _fail(session.settings, error, END_ATTEMPTS if session_id is None else BEAT_ATTEMPTS)
        return bool(stopping)

    def _open(self) -> list[_Session]:
        with self._lock:
            return [session for session in self._sessions.values() if not session.ended]

    def _run(self, session: _Session) -> None:
        session_id = session.settings.session_id
        try:
            while not self._places.acquire(timeout=self._settings.heartbeat_seconds):
                if session.stopped or not _beat(session.settings):
                    return
            try:
                # Said before there is a worker, which the first session of a runtime waits for.
                if not session.stopped and _beat(session.settings):
                    self._supervise(session)
            finally:
                self._places.release()
        except Exception as error:
            logger.exception("session %s could not be supervised", session_id)
            _fail(session.settings, AgentCrashed(f"the agent's supervisor failed: {type(error).__name__}: {error}"))
        finally:
            session.kill()
            with self._lock:
                session.ended = True
                session.process = None

    def _supervise(self, session: _Session) -> None:
        """Run the session's worker to its end, and see to it that the session has one."""
        output, worker_output = _processes.Pipe(duplex=False)
        progress, worker_progress = _processes.Pipe(duplex=False)
        process = _processes.Process(
            target=work, args=(session.environment, session.detail, worker_output, worker_progress)
        )
        process.start()
        session.process = process
        worker_output.close()
        worker_progress.close()
        reader = threading.Thread(target=_pass_on, args=(output, session.said), daemon=True)
        reader.start()
        # Made now, while there is time: whoever stops the session waits for it.
        _journal(session.settings.region, session.settings.table, END_ATTEMPTS)
        with progress:
            error = self._await_end(session, process, progress)
            # First, so that it has no word in what follows; and what it left behind holds the pipe open.
            session.kill()
        process.join()
        reader.join(STDERR_SECONDS)
        if error is None:
            said = " ".join(list(session.said)).strip()[-600:]
            how = f"{_how(process.exitcode)} and no result" + (f": {said}" if said else "")
            error = AgentCrashed(f"the agent's process ended with {how}")
        if not session.stopped:
            _fail(session.settings, error)

    def _await_end(
        self, session: _Session, process: ForkServerProcess, progress: "connection.Connection[Any, Any]"
    ) -> VigilError | None:
        """Beat while the worker lives and makes progress; return why it must end, or None when it has ended."""
        last, doing = time.monotonic(), "starting"
        beat_at = last + self._settings.heartbeat_seconds
        listening: list[Any] = [process.sentinel, progress]
        while True:
            if session.stopped:
                session.kill()
            elif time.monotonic() >= beat_at:
                if not _beat(session.settings):
                    # Whoever ended the session, there is nothing left to do for its worker.
                    process.join(GRACE_SECONDS)
                    session.kill()
                beat_at = time.monotonic() + self._settings.heartbeat_seconds
            ready = connection.wait(listening, timeout=max(0.0, beat_at - time.monotonic()))
            if process.sentinel in ready:
                return None
            if progress in ready:
                told = os.read(progress.fileno(), 65_536)
                if told:
                    last, doing = time.monotonic(), told.decode(errors="replace").splitlines()[-1]
                else:
                    listening.remove(progress)
            idle = time.monotonic() - last
            if idle >= self._settings.progress_seconds:
                return AgentLost(f"the agent made no progress for {idle:.0f} s; it was last seen at: {doing}")


def _how(code: int | None) -> str:
    if code == _UNKNOWN_EXIT:
        return "an exit code that nobody knows, since the process that it was forked from has ended"
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _pass_on(output: "connection.Connection[Any, Any]", said: deque[str]) -> None:
    with open(output.fileno(), errors="replace", closefd=False) as lines, output:
        # In pieces, since a line may be as long as the memory is; and visible, since a log is read in a terminal.
        for line in map(visible, iter(partial(lines.readline, MAX_LINE), "")):
            sys.stderr.write(line)
            said.append(" ".join(line.split()))


def _journal(region: str, table: str, attempts: int) -> Journal:
    # One at a time: many sessions that start at once would each make their own.
    with _journals:
        return _open_journal(region, table, attempts)


@cache
def _open_journal(region: str, table: str, attempts: int) -> Journal:
    return Journal.open(aws_session(region), table, attempts)


def _beat(settings: WorkerSettings) -> bool:
    """Say that the session's worker lives; False if the session has ended or is another worker's."""
    try:
        _journal(settings.region, settings.table, BEAT_ATTEMPTS).beat(settings.session_id, settings.worker)
    except SessionEnded:
        return False
    except VigilError as error:
        logger.warning("session %s: no heartbeat: %s", settings.session_id, error)
    return True


def _fail(settings: WorkerSettings, error: VigilError, attempts: int = END_ATTEMPTS) -> None:
    """Fail the session unless it has ended; only if it is this worker's, since another host may have been first."""
    try:
        _journal(settings.region, settings.table, attempts).fail(
            settings.session_id, Failure(error.code, " ".join(str(error).split())), settings.worker
        )
    except SessionEnded:
        logger.info("session %s had ended before this: %s", settings.session_id, error)
    except VigilError:
        logger.exception("session %s: this could not be recorded: %s", settings.session_id, error)


def _parse(payload: object) -> tuple[dict[str, str], dict[str, Any]]:
    """Return (environment, detail) of an invocation's payload, or raise InvalidInput."""
    if not isinstance(payload, dict) or not isinstance(payload.get("environment"), dict):
        raise InvalidInput('the payload must be {"environment": {...}, "detail": {...}}')
    allowed = {Env.SESSION_ID, Env.BUCKET, Env.TABLE}
    environment = payload["environment"]
    if set(environment) != allowed or not all(isinstance(value, str) for value in environment.values()):
        # Nothing else may be set from outside: PYTHONPATH or AWS_ENDPOINT_URL would take the worker over.
        raise InvalidInput(f"environment must hold exactly {', '.join(sorted(allowed))}, all strings")
    detail = payload.get("detail", {})
    if not isinstance(detail, dict):
        raise InvalidDetail(f"detail must be an object, not {type(detail).__name__}")
    return environment, detail


def build(supervisor: Supervisor) -> BedrockAgentCoreApp:
    """Return the web application through which AgentCore reaches ``supervisor``."""

    @asynccontextmanager
    async def lifespan(app: BedrockAgentCoreApp) -> AsyncIterator[None]:
        yield
        # On SIGTERM, among others.
        await asyncio.to_thread(supervisor.stop)

    app = BedrockAgentCoreApp(lifespan=lifespan)

    @app.entrypoint
    def invoke(payload: Any) -> Any:
        """Start the session of an invocation and answer at once."""
        try:
            return {"status": supervisor.start(payload)}
        except InvalidInput as error:
            return JSONResponse({"status": "refused", "error": f"{error.code}: {error}"}, status_code=400)

    async def refuse_depth(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"status": "refused", "error": "InvalidInput: nested too deeply"}, status_code=400)

    app.add_exception_handler(RecursionError, refuse_depth)

    @app.ping
    def ping() -> PingStatus:
        """Tell AgentCore to keep this environment while a session runs."""
        return PingStatus.HEALTHY_BUSY if supervisor.busy else PingStatus.HEALTHY

    return app


def _end_with_host() -> None:
    """End with whoever started us and holds our standard input, which can be killed."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Serve on the address that AgentCore expects, or on the one given."""
    parser = argparse.ArgumentParser(prog="python -m vigil.agent")
    # AgentCore calls the container from outside it, on port 8080.
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--uds", help="serve many sessions on this Unix socket: also take orders to stop one")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("vigil").setLevel(logging.INFO)
    supervisor = Supervisor(RuntimeSettings.from_env())
    app = build(supervisor)
    if arguments.uds:
        threading.Thread(target=_end_with_host, daemon=True).start()

        # StopRuntimeSession ends the machine of a session; where sessions share one, it can only ask.
        async def stop(request: Request) -> JSONResponse:
            session_id = (await request.json())["session_id"]
            return JSONResponse({"stopped": await asyncio.to_thread(supervisor.stop, session_id)})

        app.add_route(STOP_PATH, stop, methods=["POST"])
    # It imports what we import, wherever the platform started us.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    _processes.set_forkserver_preload(["vigil.agent.preload"])
    forkserver.ensure_running()
    app.run(port=arguments.port, host=arguments.host, uds=arguments.uds)

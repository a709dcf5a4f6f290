"""The AgentCore contract: take an invocation at once, run the session in a worker process, answer pings.

Start with ``python -m vigil.agent``. There is one such process a session, on AWS and on the local stack.
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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache, partial
from importlib import import_module
from multiprocessing import connection
from typing import Any

from bedrock_agentcore import BedrockAgentCoreApp
from bedrock_agentcore.runtime.models import PingStatus
from starlette.requests import Request
from starlette.responses import JSONResponse

from vigil.agent.session import aws_session
from vigil.agent.worker import DONE, draw_anew, work
from vigil.agent_log import attribute
from vigil.errors import AgentCrashed, AgentLost, AgentStopped, InvalidInput, SessionEnded, VigilError
from vigil.journal import Journal
from vigil.names import Env
from vigil.session import Failure, check_detail
from vigil.settings import RuntimeSettings, WorkerSettings
from vigil.text import visible

logger = logging.getLogger("vigil.runtime")

STDERR_LINES = 20
STDERR_SECONDS = 2.0
MAX_LINE = 10_000
LOG_FORMAT = "%(levelname)s %(name)s %(message)s"
CHATTY = ("botocore", "httpx")
"""Libraries that log each call of theirs, or where they found credentials."""
BEAT_ATTEMPTS = 3
"""Few: the next beat is near, and meanwhile nobody watches the worker."""
END_ATTEMPTS = 12
GRACE_SECONDS = 10.0
"""How long a worker may live on after its session has ended."""

# Forked while this process has one thread, with all that it has imported: a session waits for no import.
_processes = multiprocessing.get_context("fork")


class Worker:
    """The process that will run the session, and the pipes between it and its runtime."""

    def __init__(self, *inherited: int) -> None:
        """Fork it, to wait for its session; call this while there is one thread. It closes what it ``inherited``."""
        orders, self._orders = _processes.Pipe()
        output, given_output = _processes.Pipe(duplex=False)
        self.progress, given_progress = _processes.Pipe(duplex=False)
        ours = (self._orders.fileno(), output.fileno(), self.progress.fileno())
        self.process = _processes.Process(target=work, args=(orders, given_output, given_progress, (*ours, *inherited)))
        self.process.start()
        for given in (orders, given_output, given_progress):
            given.close()
        # Not the process's own sentinel: children of the process hold it too, and the process may close it.
        self.gone, self._gone = _processes.Pipe(duplex=False)
        self._waiter = threading.Thread(target=self._wait, daemon=True)
        self._output = output
        self._said: deque[str] = deque(maxlen=STDERR_LINES)

    def run(self, environment: dict[str, str], detail: dict[str, Any]) -> None:
        """Have it run the session."""
        told = (self._output, environment[Env.SESSION_ID], self._said)
        self._reader = threading.Thread(target=_pass_on, args=told, daemon=True)
        self._reader.start()
        self._waiter.start()
        with suppress(OSError):
            # It may have been killed meanwhile, which who waits for it will see.
            self._orders.send((environment, detail))

    def kill(self) -> None:
        """End it and whatever it has started."""
        assert self.process.pid is not None
        # It may have ended with all that it started; or it has not come to be the leader of its group yet.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        # Also if there is such a group: it may have left it.
        self.process.kill()

    def _wait(self) -> None:
        self.process.join()
        self._gone.close()

    @property
    def done(self) -> bool:
        """Whether it said that its session has its end on record."""
        with suppress(OSError, EOFError):
            return self._orders.poll() and self._orders.recv_bytes(MAX_LINE) == DONE
        return False

    def how_it_ended(self) -> str:
        """Return its exit code or signal, and what it said last."""
        self._waiter.join()
        self._reader.join(STDERR_SECONDS)
        said = " ".join(list(self._said)).strip()[-600:]
        return f"{_how(self.process.exitcode)} and no result" + (f": {said}" if said else "")


class Supervisor:
    """Has a worker run the one session of this runtime, says that it lives, and sees how it ends."""

    def __init__(self, settings: RuntimeSettings, worker: Worker) -> None:
        self._settings = settings
        self._worker = worker
        self._lock = threading.Lock()
        self._session: WorkerSettings | None = None
        self._stopped = False
        self.ended = threading.Event()
        """Set once the session has ended."""

    @property
    def session_id(self) -> str | None:
        """The session, once there is one."""
        return self._session.session_id if self._session else None

    @property
    def busy(self) -> bool:
        """Whether there is a session that has not ended."""
        return self._session is not None and not self.ended.is_set()

    def start(self, payload: object) -> str:
        """Start the session unless it was started before; return "accepted" or why nothing was started.

        Raises InvalidInput, also for another session than the first: AgentCore gives each a machine of its own.
        """
        environment, detail = _parse(payload)
        settings = WorkerSettings.from_env({**os.environ, **environment})
        with self._lock:
            if self._session is not None:
                if self._session.session_id != settings.session_id:
                    raise InvalidInput(f"this runtime is that of session {self._session.session_id}")
                return "already ended" if self.ended.is_set() else "already running"
            self._session = settings
        draw_anew()
        environment[Env.WORKER] = settings.worker
        threading.Thread(target=self._run, args=(settings, environment, detail), daemon=True).start()
        return "accepted"

    def stop(self) -> None:
        """End the worker, and fail the session as AgentStopped unless it has ended."""
        # Ended first: recording it may take long, and the caller may not wait for either.
        self._stopped = True
        self._worker.kill()
        if self._session is not None and not self.ended.is_set():
            _fail(self._session, AgentStopped("the agent's environment was shut down before the session ended"))
            self.ended.set()

    def _run(self, session: WorkerSettings, environment: dict[str, str], detail: dict[str, Any]) -> None:
        try:
            self._worker.run(environment, detail)
            self._supervise(session)
        except Exception as error:
            logger.exception("session %s could not be supervised", session.session_id)
            _fail(session, AgentCrashed(f"the agent's supervisor failed: {type(error).__name__}: {error}"))
        finally:
            self._worker.kill()
            if not self._stopped:
                self.ended.set()

    def _supervise(self, session: WorkerSettings) -> None:
        """See the session's worker to its end, and see to it that the session has one."""
        error = self._await_end(session)
        # First, so that it has no word in what follows; and what it left behind holds the pipe open.
        self._worker.kill()
        how = self._worker.how_it_ended()
        if not self._stopped and not self._worker.done:
            _fail(session, error or AgentCrashed(f"the agent's process ended with {how}"))

    def _await_end(self, session: WorkerSettings) -> VigilError | None:
        """Beat while the worker lives and makes progress; return why it must end, or None when it has ended."""
        gone, progress = self._worker.gone, self._worker.progress
        last, doing = time.monotonic(), "starting"
        beat_at = last + self._settings.heartbeat_seconds
        listening: list[Any] = [gone, progress]
        while True:
            if time.monotonic() >= beat_at:
                if not _beat(session):
                    # Whoever ended the session, there is nothing left to do for its worker.
                    connection.wait([gone], GRACE_SECONDS)
                    self._worker.kill()
                beat_at = time.monotonic() + self._settings.heartbeat_seconds
            looked, wait = time.monotonic(), max(0.0, beat_at - time.monotonic())
            ready = connection.wait(listening, timeout=wait)
            # Longer than asked: we were frozen, and the worker perhaps as well. That is no idleness.
            last += max(0.0, time.monotonic() - looked - wait)
            if gone in ready:
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
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _pass_on(output: "connection.Connection[Any, Any]", session_id: str, said: deque[str]) -> None:
    with open(output.fileno(), errors="replace", closefd=False) as lines, output:
        # In pieces, since a line may be as long as the memory is.
        for line in iter(partial(lines.readline, MAX_LINE), ""):
            # The disk may be full, which must not keep the worker from what it does: nobody else reads its pipe.
            with suppress(OSError):
                # At once: others write to the same file, and no line may begin within another.
                os.write(sys.stderr.fileno(), attribute(session_id, line).encode(errors="backslashreplace"))
            said.append(" ".join(visible(line).split()))


class _Attributed(logging.Formatter):
    """Begins each line with the session of this runtime, once there is one."""

    def __init__(self, supervisor: Supervisor) -> None:
        super().__init__(LOG_FORMAT)
        self._supervisor = supervisor

    def format(self, record: logging.LogRecord) -> str:
        session_id, text = self._supervisor.session_id, super().format(record)
        return attribute(session_id, text).removesuffix("\n") if session_id else visible(text)


@cache
def _journal(region: str, table: str, attempts: int) -> Journal:
    return Journal.open(aws_session(region), table, attempts)


def _beat(settings: WorkerSettings) -> bool:
    """Say that the session's worker lives; False if the session has ended or is another worker's."""
    try:
        _journal(settings.region, settings.table, BEAT_ATTEMPTS).heartbeat(settings.session_id, settings.worker)
    except SessionEnded:
        return False
    except VigilError as error:
        logger.warning("session %s: no heartbeat: %s", settings.session_id, error)
    return True


def _fail(settings: WorkerSettings, error: VigilError) -> None:
    """Fail the session unless it has ended; only if it is this worker's, since another host may have been first."""
    try:
        _journal(settings.region, settings.table, END_ATTEMPTS).fail(
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
    return environment, check_detail(payload.get("detail", {}))


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


def serve(ended: Callable[[], None] = lambda: None, **where: Any) -> None:
    """Be a runtime, on a socket as uvicorn is told of one; call ``ended`` in a thread once its session has ended."""
    handler = logging.StreamHandler(sys.stderr)
    logging.basicConfig(format=LOG_FORMAT, handlers=[handler], level=logging.INFO)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # It has a handler of its own, whose lines are JSON and name the session too.
    logging.getLogger("bedrock_agentcore.app").propagate = False
    settings = RuntimeSettings.from_env()
    worker = Worker(*filter(None, [where.get("fd")]))
    supervisor = Supervisor(settings, worker)
    # Not in the worker, which was forked before: what it prints passes through here.
    handler.setFormatter(_Attributed(supervisor))

    def await_end() -> None:
        supervisor.ended.wait()
        ended()

    threading.Thread(target=await_end, daemon=True).start()
    try:
        build(supervisor).run(**where)
    finally:
        worker.kill()


def main() -> None:
    """Serve on the address that AgentCore expects, or on the one given."""
    parser = argparse.ArgumentParser(prog="python -m vigil.agent")
    # AgentCore calls the container from outside it, on port 8080.
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args()
    import_module("vigil.agent.preload")
    serve(host=arguments.host, port=arguments.port)

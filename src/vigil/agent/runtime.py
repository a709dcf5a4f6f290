"""The AgentCore contract: take an invocation at once, run the session in a worker process, answer pings.

Start with ``python -m vigil.agent.runtime``. On AWS AgentCore runs one such process a session; the local stack runs one
for all of them.
"""

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable
from typing import Any

import boto3
from bedrock_agentcore import BedrockAgentCoreApp
from bedrock_agentcore.runtime.models import PingStatus
from botocore.exceptions import BotoCoreError
from starlette.responses import JSONResponse

from vigil.errors import AgentCrashed, InvalidDetail, InvalidInput, SessionEnded, VigilError
from vigil.journal import Journal
from vigil.names import Env
from vigil.session import Failure
from vigil.settings import WorkerSettings

logger = logging.getLogger("vigil.runtime")

STDERR_LINES = 20
STDERR_SECONDS = 2.0


class Supervisor:
    """Starts one worker process a session and sees how it ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: dict[str, subprocess.Popen[str]] = {}

    @property
    def busy(self) -> bool:
        """Whether a worker lives."""
        with self._lock:
            return any(worker.poll() is None for worker in self._workers.values())

    def start(self, payload: object) -> str:
        """Start the session's worker unless it was started before; return "accepted" or why nothing was started."""
        environment, detail = _parse(payload)
        settings = WorkerSettings.from_env({**os.environ, **environment})
        with self._lock:
            known = self._workers.get(settings.session_id)
            if known is not None:
                return "already running" if known.poll() is None else "already ended"
            worker = subprocess.Popen(
                [sys.executable, "-m", "vigil.agent.worker"],
                # It imports what we import, wherever the platform started us.
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                    **environment,
                    Env.WORKER: settings.worker,
                },
                stdin=subprocess.PIPE,
                stdout=sys.stderr,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
            self._workers[settings.session_id] = worker
        threading.Thread(target=self._watch, args=(worker, settings, detail), daemon=True).start()
        return "accepted"

    def _watch(self, worker: "subprocess.Popen[str]", settings: WorkerSettings, detail: dict[str, Any]) -> None:
        assert worker.stdin is not None
        assert worker.stderr is not None
        tail: deque[str] = deque(maxlen=STDERR_LINES)
        reader = threading.Thread(target=_pass_on, args=(worker.stderr, tail), daemon=True)
        reader.start()
        try:
            with worker.stdin as stdin:
                json.dump(detail, stdin)
        except BrokenPipeError:
            logger.warning("session %s: the worker died before it read its input", settings.session_id)
        code = worker.wait()
        # Not to its end: a process that the agent left behind may hold the pipe open for ever.
        reader.join(STDERR_SECONDS)
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        said = " ".join(list(tail)).strip()[-600:]
        error = AgentCrashed(f"the agent's process ended with {how} and no result: {said}")
        try:
            table = boto3.resource("dynamodb", region_name=settings.region).Table(settings.table)
            # Only if it is this worker's: another host's may have been first.
            failure = Failure(error.code, " ".join(str(error).split()))
            Journal(table).fail(settings.session_id, failure, settings.worker)
        except SessionEnded:
            logger.info("session %s needs no end from us; its worker: %s", settings.session_id, how)
        except (VigilError, BotoCoreError):
            logger.exception(
                "session %s: its worker died (%s) and this could not be recorded", settings.session_id, how
            )


def _pass_on(lines: Iterable[str], tail: deque[str]) -> None:
    for line in lines:
        sys.stderr.write(line)
        tail.append(line)


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


app = BedrockAgentCoreApp()
supervisor = Supervisor()


@app.entrypoint
def invoke(payload: Any) -> Any:
    """Start the session of an invocation and answer at once."""
    try:
        return {"status": supervisor.start(payload)}
    except InvalidInput as error:
        return JSONResponse({"status": "refused", "error": f"{error.code}: {error}"}, status_code=400)


@app.ping
def ping() -> PingStatus:
    """Tell AgentCore to keep this environment while a worker lives."""
    return PingStatus.HEALTHY_BUSY if supervisor.busy else PingStatus.HEALTHY


def main() -> None:
    """Serve on the address that AgentCore expects, or on the one given."""
    parser = argparse.ArgumentParser(prog="python -m vigil.agent.runtime")
    # AgentCore calls the container from outside it, on port 8080.
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args()
    logging.basicConfig(format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("vigil").setLevel(logging.INFO)
    app.run(port=arguments.port, host=arguments.host)


if __name__ == "__main__":
    main()

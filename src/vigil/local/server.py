"""The embedded AWS as one process: ``python -m vigil.local.server --port 0 --folder DIR``.

Reads one line of JSON from its standard input, a `Secrets`, and prints one line, {"port": N}, when it serves. Ends on
SIGTERM, SIGINT and the end of its standard input, which comes when the process that started it dies. It ends all
processes that it started. It removes DIR, which holds its files, only if the process that started it has died.
"""

import argparse
import gc
import json
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from vigil.errors import VigilError
from vigil.local import AGENT_LOG, HOST, REGION, Secrets

_orphaned = threading.Event()  # set when the process that started this one has died


def main(wrap: Callable[[Any], Any] = lambda app: app) -> None:
    """Serve until a signal comes. ``wrap`` may put an ASGI application before the embedded AWS, as tests do."""
    # What ministack holds lives until the end: by default, the garbage collector looks at all of it again and again.
    gc.set_threshold(50_000)
    parser = argparse.ArgumentParser(prog="python -m vigil.local.server")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    # The server replaces this handler.
    signal.signal(signal.SIGTERM, lambda *_: _exit_before_serving(arguments.folder))
    secrets = Secrets(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # With the protocol: without it, asyncio keeps Nagle's algorithm, which delays each answer by 40 ms.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, arguments.port))
    except OSError as error:
        sys.exit(f"port {arguments.port} of {HOST} cannot be used: {error.strerror}")
    port = listener.getsockname()[1]
    # Lambda functions inherit this process's environment, and must import from their own package only.
    python_path = os.environ.pop("PYTHONPATH", "")
    # ministack reads these when it is imported.
    os.environ.update(
        AUTH="true",
        # The root's key, with which ministack checks presigned addresses. A function gets its role's key instead.
        AWS_ACCESS_KEY_ID=secrets.access_key_id,
        AWS_SECRET_ACCESS_KEY=secrets.secret_access_key,
        # By default, both folders have fixed names in /tmp.
        STATE_DIR=str(arguments.folder / "state"),
        S3_DATA_DIR=str(arguments.folder / "s3"),
        GATEWAY_PORT=str(port),
        BIND_HOST=HOST,
        # No limit: ministack_patches.lambda_svc has its own.
        LAMBDA_ACCOUNT_CONCURRENCY="0",
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        MINISTACK_REGION=REGION,
        AWS_ENDPOINT_URL=f"http://{HOST}:{port}",
    )
    from vigil.local import ministack_patches
    from vigil.local.agentcore import LocalAgentCore

    environment = {"PYTHONPATH": python_path, **secrets.agent_environment}
    try:
        agents = LocalAgentCore(os.environ["AWS_ENDPOINT_URL"], REGION, arguments.folder / AGENT_LOG, environment)
        ministack_patches.install(agents)
    except VigilError as error:
        sys.exit(str(error))
    # With httptools, it takes a third less CPU time for a request than asyncio with h11.
    uvloop.run(_serve(listener, agents, arguments.folder, wrap))


def _exit_before_serving(folder: Path) -> None:
    _remove_if_orphaned(folder)
    os._exit(1)


def _remove_if_orphaned(folder: Path) -> None:
    if _orphaned.is_set():
        shutil.rmtree(folder, ignore_errors=True)


def _end_with_parent() -> None:
    sys.stdin.read()
    _orphaned.set()
    os.kill(os.getpid(), signal.SIGTERM)


async def _serve(listener: socket.socket, agents: Any, folder: Path, wrap: Callable[[Any], Any]) -> None:
    from ministack.app import app

    from vigil.local.gate import Gate
    from vigil.local.http import Protocol

    port = listener.getsockname()[1]
    gate = Gate(app, os.environ["AWS_ACCESS_KEY_ID"], port, agents.credentials)

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            print(json.dumps({"port": port}), flush=True)

    options: Any = {"http": Protocol, "timeout_keep_alive": 75, "timeout_graceful_shutdown": 2}
    # ministack sends a date of its own, and the JavaScript SDK cannot read two.
    config = uvicorn.Config(wrap(gate), log_level="warning", date_header=False, proxy_headers=False, **options)
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again when it has shut down; the rest must still end after that.
        signal.signal(signal_number, lambda *_: None)
    try:
        await Server(config).serve(sockets=[listener])
    finally:
        agents.stop()
        _remove_if_orphaned(folder)
        if os.getpgrp() == os.getpid():
            # uvicorn has ended; workers and Lambda functions may remain in the group.
            os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()

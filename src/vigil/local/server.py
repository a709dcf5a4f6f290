"""The embedded AWS as one process: ``python -m vigil.local.server --port 0 --folder DIR``.

Reads one line of JSON from its standard input, a `Secrets`, and prints one, {"port": N}, when it serves. Ends on
SIGTERM, SIGINT and the end of its standard input, that is, when the process that started it has died; and takes with it
what it started, and then also DIR, where its files are, which are otherwise left to the process that started it.
"""

import argparse
import asyncio
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

from vigil.errors import VigilError
from vigil.local import AGENT_LOG, Secrets

HOST = "127.0.0.1"

_orphaned = threading.Event()
"""Set once the process that started this one has died."""


def main(wrap: Callable[[Any], Any] = lambda app: app) -> int:
    """Serve until told to stop. ``wrap`` may put an ASGI application before the embedded AWS, as tests do."""
    parser = argparse.ArgumentParser(prog="python -m vigil.local.server")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    # Until the server has handlers of its own.
    signal.signal(signal.SIGTERM, lambda *_: _end(arguments.folder))
    secrets = Secrets(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return _run(arguments, secrets, wrap)


def _end(folder: Path) -> None:
    _remove(folder)
    os._exit(1)


def _remove(folder: Path) -> None:
    if _orphaned.is_set():
        shutil.rmtree(folder, ignore_errors=True)


def _run(arguments: argparse.Namespace, secrets: Secrets, wrap: Callable[[Any], Any]) -> int:
    # Named, since asyncio disables Nagle's algorithm only then: it would hold each answer back for 40 ms.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, arguments.port))
    except OSError as error:
        print(f"port {arguments.port} of {HOST} cannot be used: {error.strerror}", file=sys.stderr)
        return 1
    port = listener.getsockname()[1]

    # Lambda functions inherit this process's environment, and import from their own package only.
    python_path = os.environ.pop("PYTHONPATH", "")
    # ministack reads these when it is imported.
    os.environ.update(
        AUTH="true",
        # The root's, of which it checks presigned addresses itself; a function gets those of its role instead.
        AWS_ACCESS_KEY_ID=secrets.access_key_id,
        AWS_SECRET_ACCESS_KEY=secrets.secret_access_key,
        # By default, both are folders of fixed names in /tmp.
        STATE_DIR=str(arguments.folder / "state"),
        S3_DATA_DIR=str(arguments.folder / "s3"),
        GATEWAY_PORT=str(port),
        BIND_HOST=HOST,
        # The places are counted elsewhere.
        LAMBDA_ACCOUNT_CONCURRENCY="0",
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        MINISTACK_REGION=arguments.region,
        AWS_ENDPOINT_URL=f"http://{HOST}:{port}",
    )
    from vigil.local import logs, overlay
    from vigil.local.agentcore import AgentHost

    try:
        agents = AgentHost(
            f"http://{HOST}:{port}",
            arguments.region,
            arguments.folder / AGENT_LOG,
            {"PYTHONPATH": python_path, **secrets.agent_environment},
        )
        overlay.install(agents)
        logs.install(arguments.folder / AGENT_LOG)
    except VigilError as error:
        print(error, file=sys.stderr)
        return 1
    asyncio.run(_serve(listener, agents, arguments.folder, wrap))
    return 0


def _end_with_parent() -> None:
    sys.stdin.read()
    _orphaned.set()
    os.kill(os.getpid(), signal.SIGTERM)


async def _serve(listener: socket.socket, agents: Any, folder: Path, wrap: Callable[[Any], Any]) -> None:
    from ministack.app import app as ministack

    from vigil.local.gate import Gate

    async def app(scope: Any, receive: Any, send: Any) -> None:
        # The bucket takes TLS only, as on AWS; on loopback there is none, so say that there is.
        await ministack({**scope, "scheme": "https"}, receive, send)

    gate = Gate(app, os.environ["AWS_ACCESS_KEY_ID"], listener.getsockname()[1], agents.credentials)

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            print(json.dumps({"port": listener.getsockname()[1]}), flush=True)

    config = uvicorn.Config(
        wrap(gate),
        log_level="warning",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
        # ministack sends a date of its own, and the JavaScript SDK cannot read two.
        date_header=False,
        proxy_headers=False,
    )
    server = Server(config)
    for ending in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again when it has shut down, and there is more to end than uvicorn.
        signal.signal(ending, lambda *_: None)
    try:
        await server.serve(sockets=[listener])
    finally:
        agents.stop()
        _remove(folder)
        if os.getpgrp() == os.getpid():
            # What is left of the group are workers and Lambda functions that nobody waits for; uvicorn has ended.
            os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())

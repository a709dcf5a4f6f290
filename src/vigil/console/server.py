"""Serves the console on the loopback address, in the thread of its caller or in one of its own."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from vigil.console.app import Console
from vigil.console.guard import Guard
from vigil.deployment import Deployment
from vigil.errors import InvalidInput
from vigil.local import HOST


class ConsoleServer:
    """The console of ``deployment`` on ``port``; 0 takes a free one. ``link`` opens it. Raises InvalidInput."""

    def __init__(self, deployment: Deployment, port: int, where: str, *, allow_actions: bool) -> None:
        # With the protocol: without it, asyncio keeps Nagle's algorithm, which delays each answer by 40 ms.
        self._listener = socket.socket(proto=socket.IPPROTO_TCP)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._listener.bind((HOST, port))
        except OSError as error:
            self._listener.close()
            raise InvalidInput(f"--port: port {port} of {HOST} cannot be used: {error.strerror}") from error
        guard = Guard(self._listener.getsockname()[1], allow_actions=allow_actions)
        guard.app = Console(deployment, where, guard.form_token, allow_actions=allow_actions).app()
        self.link = guard.link
        config = uvicorn.Config(
            guard, log_level="warning", access_log=False, server_header=False, proxy_headers=False, lifespan="off",
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = uvicorn.Server(config)

    def serve(self) -> None:
        """Serve until a signal comes."""
        self._server.run(sockets=[self._listener])

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Serve in another thread as long as the context lasts."""
        thread = threading.Thread(target=self.serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._server.should_exit = True
            thread.join(5)

"""Serves the console on the loopback address."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from vigil.console.app import Console
from vigil.console.guard import Guard
from vigil.deployment import Deployment
from vigil.errors import InvalidInput
from vigil.local import HOST


class ConsoleServer(uvicorn.Server):
    """The console of ``deployment`` on ``port``; 0 takes a free one. ``link`` opens it. Raises InvalidInput."""

    def __init__(self, deployment: Deployment, port: int = 0, *, allow_actions: bool = False) -> None:
        where, allow_actions = deployment.where, allow_actions or deployment.is_local
        try:
            listener = socket.create_server((HOST, port))  # who opens the link at once waits, instead of being refused
        except OSError as error:
            raise InvalidInput(f"--port: port {port} cannot be used: {os.strerror(error.errno or 0)}") from error
        # With the protocol: without it, asyncio keeps Nagle's algorithm, which delays each answer by 40 ms.
        self._listener = socket.socket(proto=socket.IPPROTO_TCP, fileno=listener.detach())
        guard = Guard(self._listener.getsockname()[1], allow_actions=allow_actions)
        guard.app = Console(deployment, where, guard).app()
        self.link = guard.link
        # The application logs its own faults. uvicorn would also log a stream that the end of the console cuts.
        # By default, uvicorn takes what is installed. The guard is tested behind these.
        options: Any = {"loop": "asyncio", "http": "h11", "lifespan": "off", "ws": "none", "log_level": "critical"}
        options |= {"server_header": False, "proxy_headers": False, "timeout_graceful_shutdown": 1}
        super().__init__(uvicorn.Config(guard, **options))

    def serve_here(self) -> None:
        """Serve until a signal comes."""
        self.run(sockets=[self._listener])

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve in another thread, and provide the link."""
        thread = threading.Thread(target=self.serve_here, daemon=True)
        thread.start()
        try:
            yield self.link
        finally:
            self.should_exit = True
            thread.join(5)

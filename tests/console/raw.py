"""Servers on the loopback address, and requests to them that no browser and no client would send."""

import http.client
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from vigil.console.guard import FORM, Guard

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "STEAL")
Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """An answer, with the names of its headers in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key == name)


@contextmanager
def guarded(make: Callable[[Guard], Any], *, allow_actions: bool = True) -> Iterator[Guard]:
    """Serve what ``make`` returns behind a guard, and provide that."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        guard = Guard(listener.getsockname()[1], allow_actions=allow_actions)
        guard.app = make(guard)
        options: Any = {"loop": "asyncio", "http": "h11", "lifespan": "off", "ws": "none"}
        server = uvicorn.Server(uvicorn.Config(guard, log_level="critical", **options))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        yield guard
        server.should_exit = True
        thread.join(10)


def port_of(guard: Guard) -> int:
    return int(guard.link.split(":")[2].split("/")[0])


def secret_of(guard: Guard) -> str:
    return guard.link.partition("token=")[2]


def own(guard: Guard, **changed: str | None) -> Headers:
    """Return the headers of a form that a page of the console sends, some of them changed or left out (None)."""
    port = port_of(guard)
    headers = {"Host": f"127.0.0.1:{port}", "Origin": f"http://127.0.0.1:{port}", "Content-Type": FORM}
    headers |= {"Cookie": f"vigil-{port}={secret_of(guard)}", "Sec-Fetch-Site": "same-origin"}
    given = {**headers, **{name.replace("_", "-").title(): value for name, value in changed.items()}}
    return [(name, value) for name, value in given.items() if value is not None]


def ask(
    guard: Guard,
    method: str,
    target: str,
    headers: Headers,
    body: bytes = b"",
    chunks: Iterable[bytes] | None = None,
    timeout: float = 10,
    whole: bool = False,
) -> Answer:
    """Send a request as it is given, with a Content-Length unless it has one or comes in ``chunks``.

    Of a stream, read the first line, or ``whole`` until it ends.
    """
    names = {name.lower() for name, _ in headers}
    if chunks is not None:
        headers = [*headers, ("Transfer-Encoding", "chunked")]
    elif (body or method == "POST") and "content-length" not in names:
        headers = [*headers, ("Content-Length", str(len(body)))]
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    with socket.create_connection(("127.0.0.1", port_of(guard)), timeout) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1") + body)
        try:
            for chunk in (*chunks, b"") if chunks is not None else ():
                connection.sendall(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # the answer came before all was sent
        with http.client.HTTPResponse(connection, method=method) as answer:
            answer.begin()
            streams = answer.headers.get_content_type() == "text/event-stream"
            text = answer.readline() if streams and not whole else answer.read()
            return Answer(answer.status, [(key.lower(), value) for key, value in answer.getheaders()], text)

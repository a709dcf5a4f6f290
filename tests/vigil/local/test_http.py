"""What the embedded AWS refuses before it looks at a request: parts of it that would fill the memory."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import uvicorn

from vigil.local.http import MAX_HEAD, Protocol

HOST = b"Host: 127.0.0.1\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
POST = b"POST / HTTP/1.1\r\n" + HOST
BODY = b"a" * 300_000
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


async def _answer_with_size(scope: Any, receive: Any, send: Any) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    body = b"%d bytes" % size
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(_answer_with_size, http=Protocol, lifespan="off", ws="none", log_level="critical")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        yield listener.getsockname()
        server.should_exit = True
        thread.join(10)


def answers(address: tuple[str, int], request: bytes, end: bytes) -> bytes:
    received = b""
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(request)
        while end not in received and (part := connection.recv(65_536)):
            received += part
    return received


@pytest.mark.parametrize(
    ("begin", "repeated"),
    [
        (b"", b"a"),
        (b"GET /", b"a"),
        (GET + b"X: ", b"a"),
        (GET, b"X: a\r\n"),
        (CHUNKED + b"3;", b"a"),
        (CHUNKED + b"0\r\nX: ", b"a"),
        (CHUNKED + b"3\r\nabc\r\n0\r\n", b"X: a\r\n"),
    ],
)
def test_what_is_no_body_is_limited(address: tuple[str, int], begin: bytes, repeated: bytes) -> None:
    # The connection ends: by the answer, or by a reset if more has come than was read.
    with suppress(ConnectionError):
        assert answers(address, begin + repeated * 1_000_000, b"too large").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "request_bytes",
    [
        POST + b"Content-Length: 300000\r\n\r\n" + BODY,
        CHUNKED + b"1\r\na\r\n" * 300_000 + b"0\r\n\r\n",
        GET + b"X: " + b"a" * (MAX_HEAD - 1000) + b"\r\n\r\n" + CHUNKED + b"493e0\r\n" + BODY + b"\r\n0\r\n\r\n",
    ],
    ids=("whole", "in small chunks", "after a large head"),
)
def test_a_large_body_is_read(address: tuple[str, int], request_bytes: bytes) -> None:
    assert b"300000 bytes" in answers(address, request_bytes, b"300000 bytes")


@pytest.mark.parametrize(
    "request_bytes",
    [
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
        GET + b"X : a\r\n\r\n",
        GET + b"X: a\0b\r\n\r\n",
    ],
)
def test_a_request_that_can_be_read_in_two_ways_is_refused(address: tuple[str, int], request_bytes: bytes) -> None:
    assert answers(address, request_bytes, b"received.").startswith(b"HTTP/1.1 400 ")

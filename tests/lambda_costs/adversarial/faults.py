"""Faults between the analysis and the embedded AWS, injected through the clients' events."""

import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from io import BytesIO
from typing import Any, Literal

from boto3 import Session
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config

from lambda_costs.analysis import Analysis, CostAnalysis
from lambda_costs.request import CostRequest

ONE_RETRY = Config(retries={"mode": "standard", "total_max_attempts": 2})

Send = Callable[[AWSPreparedRequest], AWSResponse | None]
"""Answers a request in place of AWS; None lets it through."""

Change = Callable[[dict[str, Any], dict[str, Any]], None]
"""Gets the request and the answer, and changes the answer."""


class Clients:
    """Makes each client once, as the analysis asks for it."""

    def __init__(self, session: Session, now: datetime, **credentials: Any) -> None:
        self._session, self._credentials = session, credentials
        self._made: dict[tuple[str, str], Any] = {}
        self.now = now

    def __call__(self, service: str, region: str) -> Any:
        key = service, region
        if key not in self._made:
            make: Any = self._session.client
            self._made[key] = make(service, region_name=region, config=ONE_RETRY, **self._credentials)
        return self._made[key]

    def analyse(self, functions: str | None, regions: tuple[str, ...] = ("us-east-1",), **request: Any) -> Analysis:
        """Return what is found in the functions of that name."""
        asked = CostRequest(regions=regions, functions=functions, **request)
        return CostAnalysis(asked, self, lambda: self.now).find_savings()

    @contextmanager
    def _handling(self, when: str, operation: str, region: str, handler: Any) -> Iterator[None]:
        """Have ``handler`` called at the event ``when`` of ``operation``, such as ``lambda.ListFunctions``."""
        service, _, name = operation.partition(".")
        meta = self(service, region).meta
        event = f"{when}.{meta.service_model.service_id.hyphenize()}.{name}"
        meta.events.register_first(event, handler)
        try:
            yield
        finally:
            meta.events.unregister(event, handler)

    def sending(self, operation: str, send: Send, region: str = "us-east-1") -> AbstractContextManager[None]:
        """Have ``send`` see every request of ``operation``."""
        return self._handling("before-send", operation, region, lambda request, **_: send(request))

    def instead(self, operation: str, said: dict[str, Any], region: str = "us-east-1") -> AbstractContextManager[None]:
        """Have ``said`` be the answer to every call of ``operation``, which is then not sent."""
        response = AWSResponse("", 200, HTTPHeaders(), None)
        return self._handling("before-call", operation, region, lambda **_: (response, said))

    @contextmanager
    def answering(self, operation: str, change: Change, region: str = "us-east-1") -> Iterator[None]:
        """Have ``change`` alter what AWS answers to ``operation``."""

        def ask(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
            context["asked"] = json.loads(params["body"])

        def alter(parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
            if "Error" not in parsed:
                change(context["asked"], parsed)

        with (
            self._handling("before-call", operation, region, ask),
            self._handling("after-call", operation, region, alter),
        ):
            yield


class _Raw(BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


def answer(request: AWSPreparedRequest, body: object, status: int = 200, error: str | None = None) -> AWSResponse:
    """Return an answer of AWS with ``body`` as JSON."""
    headers = {"Content-Type": "application/json", **({"x-amzn-errortype": error} if error else {})}
    return AWSResponse(request.url, status, HTTPHeaders.from_dict(headers), _Raw(json.dumps(body).encode()))


def body_of(request: AWSPreparedRequest) -> bytes:
    """Return what the request sends."""
    assert isinstance(request.body, bytes)
    return request.body


def failing(code: str, status: int = 400, message: str = "no") -> Send:
    """Answer every request with this error."""
    return lambda request: answer(request, {"__type": code, "message": message}, status, code)


class Once:
    """Does ``send`` to every second request, from the first on: a retry recovers."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.seen = Counter[str]()

    def __call__(self, request: AWSPreparedRequest) -> AWSResponse | None:
        key = f"{request.url} {request.body!r}"
        self.seen[key] += 1
        return self._send(request) if self.seen[key] % 2 else None


class Broken:
    """A server that resets the connection in the middle of its answer, or whose answer is shorter than it says."""

    def __init__(self, how: Literal["reset", "cut"]) -> None:
        self._how = how
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __call__(self, request: AWSPreparedRequest) -> None:
        """Lead the request here."""
        request.url = self.url

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:  # closed
                return
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{")
                if self._how == "reset":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self) -> None:
        """Stop serving."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

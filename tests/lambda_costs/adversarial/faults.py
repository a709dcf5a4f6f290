"""Faults between the analysis and the embedded AWS, put into the clients' own events."""

import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

    def __init__(self, session: Session, now: datetime, **given: Any) -> None:
        self._session, self._given = session, given
        self._made: dict[tuple[str, str], Any] = {}
        self.now = now

    def __call__(self, service: str, region: str) -> Any:
        key = service, region
        if key not in self._made:
            make: Any = self._session.client
            self._made[key] = make(service, region_name=region, config=ONE_RETRY, **self._given)
        return self._made[key]

    def analyse(self, functions: str | None, regions: tuple[str, ...] = ("us-east-1",), **request: Any) -> Analysis:
        """Return what is found in the functions of that name."""
        asked = CostRequest(regions=regions, functions=functions, **request)
        return CostAnalysis(asked, self, lambda: self.now).find_savings()

    @contextmanager
    def sending(self, operation: str, send: Send, region: str = "us-east-1") -> Iterator[None]:
        """Have ``send`` see every request of ``operation``, such as ``lambda.ListFunctions``."""
        service, _, name = operation.partition(".")
        client = self(service, region)
        event = f"before-send.{client.meta.service_model.service_id.hyphenize()}.{name}"

        def handler(request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
            return send(request)

        client.meta.events.register_first(event, handler)
        try:
            yield
        finally:
            client.meta.events.unregister(event, handler)

    @contextmanager
    def instead(self, operation: str, given: dict[str, Any], region: str = "us-east-1") -> Iterator[None]:
        """Have ``given`` be the answer to every call of ``operation``, which is then not sent."""
        service, _, name = operation.partition(".")
        client = self(service, region)
        event = f"before-call.{client.meta.service_model.service_id.hyphenize()}.{name}"

        def handler(**_: Any) -> tuple[AWSResponse, dict[str, Any]]:
            return AWSResponse("", 200, HTTPHeaders(), None), given

        client.meta.events.register(event, handler)
        try:
            yield
        finally:
            client.meta.events.unregister(event, handler)

    @contextmanager
    def answering(self, operation: str, change: Change, region: str = "us-east-1") -> Iterator[None]:
        """Have ``change`` alter what AWS answers to ``operation``."""
        service, _, name = operation.partition(".")
        client = self(service, region)
        of = f"{client.meta.service_model.service_id.hyphenize()}.{name}"

        def ask(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
            context["asked"] = json.loads(params["body"])

        def told(parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
            if "Error" not in parsed:
                change(context["asked"], parsed)

        client.meta.events.register(f"before-call.{of}", ask)
        client.meta.events.register(f"after-call.{of}", told)
        try:
            yield
        finally:
            client.meta.events.unregister(f"before-call.{of}", ask)
            client.meta.events.unregister(f"after-call.{of}", told)


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
    """Does ``send`` to every second request, the first among them: it recovers when it is tried again."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.seen = Counter[str]()

    def __call__(self, request: AWSPreparedRequest) -> AWSResponse | None:
        what = f"{request.url} {request.body!r}"
        self.seen[what] += 1
        return self._send(request) if self.seen[what] % 2 else None


class Broken:
    """A server that answers nothing properly: it resets the connection, or its answer is cut short."""

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

"""The HTTP protocol of the embedded AWS: httptools keeps heads and trailers of any size, so they are limited here."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 64 * 1024  # bytes between two bodies: request line, headers, lines of chunks, trailers


class Protocol(HttpToolsProtocol):
    """Answers 400 when more than ``MAX_HEAD`` bytes have come and are neither a body nor a complete request."""

    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Parse what came; the callbacks below start to count again."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def on_headers_complete(self) -> None:
        """Start the request."""
        self._head_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request."""
        self._head_bytes = 0
        super().on_message_complete()

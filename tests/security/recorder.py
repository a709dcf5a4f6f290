"""An HTTP server that passes requests on as they are, signature and all, and remembers their bodies."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class Recorder:
    """Stands before the server at ``target``, a port of the loopback address."""

    def __init__(self) -> None:
        self.target = 0
        self.bodies: list[bytes] = []
        """Of every request and every answer."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def endpoint(self) -> str:
        """The address to use instead of the target's."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Recorder":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(recorder: Recorder) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            connection = http.client.HTTPConnection("127.0.0.1", recorder.target, timeout=60)
            # The Host header too, which is signed: it names us.
            connection.request("POST", self.path, body, dict(self.headers))
            response = connection.getresponse()
            answer = response.read()
            connection.close()
            recorder.bodies += [body, answer]
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in ("date", "server", "connection", "transfer-encoding", "content-length"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler

"""Who may use the console: the browser that opened its link, by pages of its own.

Every web page that the browser shows, and every user of the machine, can reach a port on the loopback address.
"""

import hmac
import secrets
from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vigil.local import HOST

MAX_BODY = 1024 * 1024  # bytes; the detail of an event has at most 64 KiB, which a form makes three times as long
FORM = "application/x-www-form-urlencoded"
READS = ("GET", "HEAD")
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types vigil",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",  # with no-referrer, forms would be sent without their origin
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
# After a redirect, the browser would still take the page that holds the link for the origin, and keep the cookie back.
ENTRY = '<!doctype html><html lang="en"><title>Vigil</title><meta http-equiv="refresh" content="0;url=/sessions">'


class Guard:
    """The ASGI application before ``app``, which gets only requests that may pass, and the form as ``state.form``."""

    app: ASGIApp

    def __init__(self, port: int, *, allow_actions: bool) -> None:
        # A browser leaves out port 80, the default of HTTP.
        self._hosts = [name if port == 80 else f"{name}:{port}" for name in (HOST, "localhost")]
        self._cookie = f"vigil-{port}"  # cookies do not tell ports apart
        self.allow_actions = allow_actions
        self._secret, self.form_token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.link = f"http://{HOST}:{port}/?token={self._secret}"
        self._limited = RequestBodyLimitMiddleware(self._pass, MAX_BODY)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the application, or refuse it."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                for name, value in HEADERS.items():
                    MutableHeaders(scope=message).setdefault(name, value)
            await send(message)

        await self._limited(scope, receive, send_with_headers)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        answer = self._refusal(request) or self._entry(request)
        if answer is None and request.method not in READS:
            fields = parse_qs((await request.body()).decode(errors="replace"), keep_blank_values=True)
            request.state.form = {name: values[-1] for name, values in fields.items()}
            answer = self._write_refusal(request)
        await (answer or self.app)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        """Refuse a request that another page may have made, whatever its method and path."""
        headers = request.headers
        # Another name may resolve to the loopback address.
        if headers.getlist("host") not in [[host] for host in self._hosts]:
            return _refused(403, f"Host must be one of {', '.join(self._hosts)}")
        own, site = f"http://{headers['host']}", headers.get("sec-fetch-site", "none")
        # The link may stand in a terminal that is a web page. The entry changes nothing.
        entry = request.method == "GET" and request.url.path == "/"
        if not (entry or site in ("none", "same-origin")) or headers.get("origin", own) != own:
            return _refused(403, "no other page may use the console")
        return None if request.method in (*READS, "POST") else _refused(405, "the method must be GET, HEAD or POST")

    def _entry(self, request: Request) -> Response | None:
        """Exchange the token of the link for a cookie; refuse a request that has neither."""
        if request.url.path == "/" and _same(request.query_params.get("token", ""), self._secret):
            answer = HTMLResponse(ENTRY)
            answer.set_cookie(self._cookie, self._secret, httponly=True, samesite="strict")
            return answer
        if _same(request.cookies.get(self._cookie, ""), self._secret):
            return None
        return _refused(401, "open the link that this console has printed: it holds its token")

    def _write_refusal(self, request: Request) -> Response | None:
        if request.headers.get("content-type", "").partition(";")[0] != FORM:
            return _refused(415, f"the content type must be {FORM}")
        if "origin" not in request.headers and request.headers.get("sec-fetch-site") != "same-origin":
            return _refused(403, "a form must come from a page of the console")
        if not _same(request.state.form.get("token", ""), self.form_token):
            return _refused(403, "the form's token is not this console's: reload the page")
        if not self.allow_actions:
            return _refused(403, "this console only shows: start it with --allow-actions to start and stop sessions")
        return None


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(), secret.encode())


def _refused(status: int, reason: str) -> Response:
    # The body may not have been read, and must not be taken for the next request.
    return PlainTextResponse(f"{reason}\n", status, {"connection": "close"})

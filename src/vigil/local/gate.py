"""Who may use the embedded AWS: callers that sign with a key of this stack, and never a browser.

Every web page and every user of the machine can reach a port on the loopback address. ministack itself takes
well-known keys, does not check the root's signatures, and has paths that need no signature at all.
"""

import contextvars
import hashlib
import logging
import math
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from botocore.auth import HmacV1Auth
from ministack.core import iam_actions, iam_evaluator, responses, router, sigv4
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vigil.local import operations
from vigil.text import one_line

logger = logging.getLogger("vigil.gate")

CREDENTIALS_PATH = "/_vigil/agent-credentials"
MAX_BODY = 128 * 1024 * 1024  # bytes of a body that the signature covers; S3 signs large objects in another way
# The body of a refused request may not have been read, and must not be taken for the next request.
CLOSE = {"connection": "close"}
UNKNOWN_KEY = "the access key is not one of this stack: set the variables that `vigil local env` prints"

by_root: contextvars.ContextVar[bool] = contextvars.ContextVar("by_root", default=False)
"""Whether the root signed the current request, by its header: an address that the root presigned does not count."""


class Refused(Exception):
    """A request that is refused; its arguments are the error code that AWS answers, and the message."""


class Gate:
    """The ASGI application in front of ministack; ``root`` is the id of the root's key."""

    def __init__(self, app: ASGIApp, root: str, port: int, credentials: Callable[[str], tuple[int, bytes]]) -> None:
        self._app = app
        self._root = root
        # A client leaves out port 80, the default of HTTP.
        self._hosts = {name if port == 80 else f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        self._credentials = credentials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to ministack, or refuse it before ministack sees it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            # Vigil uses no WebSocket.
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = _headers(scope)
        if reason := self._browser_refusal(headers):
            await Response(reason, 403, {**CLOSE, "content-type": "text/plain"})(scope, receive, send)
            return
        if scope["path"] == CREDENTIALS_PATH:
            # The agent has no key yet; its token identifies its role.
            status, body = self._credentials(headers.get("authorization", ""))
            await Response(body, status, {**CLOSE, "content-type": "application/json"})(scope, receive, send)
            return
        try:
            body = await self._authenticated(scope, headers, receive)
        except (Refused, ArithmeticError, ValueError) as error:
            # ministack's parsing raises these for a date or an address that is out of range.
            refused = error if isinstance(error, Refused) else Refused("IncompleteSignature", "it cannot be read")
            query = parse_qs(scope["query_string"].decode(errors="replace"))
            await _refusal(refused, scope, headers, query)(scope, receive, send)
            return
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive_again() -> Message:
            return next(messages, None) or await receive()

        safe_send = _SafeSend(send)
        try:
            # The bucket's policy requires TLS, as on AWS. Loopback has none, so tell ministack that it has.
            await self._app({**scope, "scheme": "https"}, receive_again, safe_send)
        except Exception as error:
            if safe_send.has_begun:
                raise
            # The path and the error may hold text of the request.
            logger.warning("%s", one_line(f"{scope['method']} {scope['path']}: {type(error).__name__}: {error}"))
            internal = Refused("InternalFailure", f"the embedded AWS cannot do this: {type(error).__name__}")
            answer = _refusal(internal, scope, headers, {})
            answer.status_code = 500
            await answer(scope, receive, safe_send)

    def _browser_refusal(self, headers: Mapping[str, str]) -> str | None:
        """Return why a request that a web page may have sent is refused.

        Host is checked since another name may resolve to the loopback address.
        """
        if headers.get("host") not in self._hosts:
            return f"Host must be one of {', '.join(sorted(self._hosts))}"
        if any(name.startswith("x-forwarded-") for name in headers):
            return "there is no proxy before this server: X-Forwarded headers are refused"
        if "origin" in headers or headers.get("sec-fetch-site", "none") != "none":
            return "no web page may use this server: Origin and Sec-Fetch-Site are refused"
        return None

    async def _authenticated(self, scope: Scope, headers: Mapping[str, str], receive: Receive) -> bytes:
        """Return the body of a request for one operation that a key of this stack has signed, or raise Refused."""
        try:
            query = parse_qs(scope["query_string"].decode(), keep_blank_values=True)
        except ValueError:
            raise Refused("IncompleteSignature", "the query is not UTF-8") from None
        presigned = "authorization" not in headers
        if presigned and "AWSAccessKeyId" in query:
            service, body = "s3", await self._check_presigned_v2(scope, headers, query, receive)
        else:
            service, body = await self._check_signature(scope, headers, query, receive, presigned)
        root = not presigned and router.extract_access_key_id(dict(headers), query) == self._root
        if not root and (reason := operations.refusal(service, scope, query, headers, body)):
            raise Refused("AccessDenied", f"the request is refused: {reason}")
        by_root.set(root)
        return body

    async def _check_signature(
        self, scope: Scope, headers: Mapping[str, str], query: dict[str, list[str]], receive: Receive, presigned: bool
    ) -> tuple[str, bytes]:
        """Return (service, body) of a request that Signature Version 4 signs, or raise Refused."""
        parsed = sigv4.parse_query_signature(query) if presigned else sigv4.parse_header_signature(headers)
        if isinstance(parsed, tuple):
            raise Refused(*parsed)
        if parsed.region_set is not None or not parsed.signature.isascii():
            raise Refused("IncompleteSignature", "the signature must be AWS4-HMAC-SHA256")
        if presigned and parsed.service != "s3":
            raise Refused("AccessDenied", "only S3 takes presigned addresses here")
        _check_time(parsed, query if presigned else None)
        signed = set(parsed.signed_headers.split(";"))
        if "host" not in signed or any(name.startswith("x-amz-") for name in headers.keys() - signed):
            # An x-amz-target that somebody adds to a presigned address would turn it into another request.
            raise Refused("SignatureDoesNotMatch", "the host and every x-amz- header must be signed")
        if router.extract_access_key_id(dict(headers), query) != parsed.access_key_id:
            # Signed with one key and naming another: IAM would check the grants of the other.
            raise Refused("IncompleteSignature", "the request names two access keys")
        token = query.get("X-Amz-Security-Token", [""])[0] if presigned else headers.get("x-amz-security-token", "")
        secret = self._credential(parsed.access_key_id, token).secret_access_key
        declared, encoding = headers.get("x-amz-content-sha256", ""), headers.get("content-encoding", "")
        if parsed.service != "s3" and (
            (declared and len(declared) != 64) or "x-amz-decoded-content-length" in headers or "aws-chunked" in encoding
        ):
            raise Refused("SignatureDoesNotMatch", "only S3 takes a body that is not signed as it is")
        request = (parsed, secret, scope["method"], scope["raw_path"].decode("latin-1"), query, headers)

        def check(body: bytes) -> None:
            if failure := sigv4.header_signature_failure(*request, body, presigned=presigned):
                raise Refused(*failure)

        # If possible, check before reading the body: a key's id is public, and must not be enough to fill the memory.
        if presigned or (declared and not declared.startswith("STREAMING-AWS4-HMAC-SHA256")):
            check(b"")
            body = await _body(receive)
        else:
            body = await _body(receive, MAX_BODY)
            check(body)
        if len(declared) == 64 and declared != hashlib.sha256(body).hexdigest():
            raise Refused("SignatureDoesNotMatch", "x-amz-content-sha256 is not the hash of the body")
        return parsed.service, body

    async def _check_presigned_v2(
        self, scope: Scope, headers: Mapping[str, str], query: dict[str, list[str]], receive: Receive
    ) -> bytes:
        """Return the body of a request to S3 that Signature Version 2, boto3's default, presigns; or raise Refused."""
        key, path = query["AWSAccessKeyId"][0], scope["raw_path"].decode("latin-1")
        expires = query.get("Expires", [""])[0]
        if not (query.get("Signature", [""])[0].isascii() and _is_number(expires, 12)):
            raise Refused("AccessDenied", "Signature and Expires must be those of Signature Version 2")
        if operations.S3_SUBRESOURCES & query.keys() - set(HmacV1Auth.QSAOfInterest):
            raise Refused("SignatureDoesNotMatch", "Signature Version 2 does not sign every parameter")
        # This signature covers no x-amz- parameter, and ministack reads their names in upper and lower case.
        if any(name.lower().startswith("x-amz-") and name != "x-amz-security-token" for name in query):
            raise Refused("SignatureDoesNotMatch", "every x-amz- parameter must be signed")
        account = self._credential(key, query.get("x-amz-security-token", [""])[0]).account_id
        method = scope["method"]
        request = iam_evaluator.SignedRequest(key, method, path, query, dict(headers), sigv2=True, auth_path=path)
        checked = iam_evaluator._sigv2_check(request, account)
        if isinstance(checked, iam_evaluator.AuthError):
            raise Refused(checked.code, checked.message)
        return await _body(receive)

    def _credential(self, key: str, token: str) -> Any:
        """Return ministack's record of an access key, or raise Refused."""
        if key != self._root and iam_evaluator.is_root_access_key(key):
            # ministack takes these for the root: "test", any account's number, and no key at all.
            raise Refused("UnrecognizedClientException", UNKNOWN_KEY)
        try:
            account = responses._account_from_sts_session(key) or iam_evaluator.find_iam_access_key_account(key)
        except iam_evaluator.AmbiguousAccessKeyError:
            account = None
        credential = iam_evaluator.resolve_credential(key, account, token)
        if isinstance(credential, iam_evaluator.CredentialResolutionError):
            is_unknown = credential.code == "UnrecognizedClientException"
            raise Refused(credential.code, UNKNOWN_KEY if is_unknown else credential.message)
        return credential


def _headers(scope: Scope) -> dict[str, str]:
    """Return the headers. The values of a repeated header are joined by commas, as its signature covers them."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), sigv4.decode_header_value(raw_value)
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def _check_time(parsed: Any, presigned: Mapping[str, list[str]] | None) -> None:
    """Raise Refused unless the signature was made now, or is presigned and has not expired."""
    if sigv4._amz_datetime(parsed.amz_date) is None:
        raise Refused("IncompleteSignature", "X-Amz-Date must be like 20260102T030405Z")
    failure = sigv4.request_time_failure(parsed)
    if failure and not (presigned is not None and failure[1].startswith("Signature expired")):
        raise Refused(*failure)
    if presigned is not None:
        expires = presigned.get("X-Amz-Expires", [""])[0]
        if not (_is_number(expires, 6) and int(expires) <= 7 * 86_400):
            raise Refused("AuthorizationQueryParametersError", "X-Amz-Expires must be 0 to 604800 seconds")
        if sigv4.presigned_request_is_expired(parsed.amz_date, expires):
            raise Refused("AccessDenied", "Request has expired")


def _is_number(text: str, digits: int) -> bool:
    return re.fullmatch(f"[0-9]{{1,{digits}}}", text) is not None


async def _body(receive: Receive, max_bytes: float = math.inf) -> bytes:
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused("IncompleteBody", "the connection ended before the body")
        body += message.get("body", b"")
        if len(body) > max_bytes:
            raise Refused("EntityTooLarge", f"the body has more than {max_bytes} bytes")
        more = message.get("more_body", False)
    return bytes(body)


def _refusal(refused: Refused, scope: Scope, headers: Mapping[str, str], query: dict[str, list[str]]) -> Response:
    """Return the answer in the protocol of the requested service, so that any SDK shows the reason."""
    service = router.detect_service(scope["method"], scope["path"], dict(headers), query)
    code, message = refused.args
    status, answer_headers, body = iam_actions.access_denied_response(
        service, "", "", str(uuid.uuid4()), error_code=code, message=message, headers=dict(headers)
    )
    return Response(body, status, {**answer_headers, **CLOSE})


class _SafeSend:
    """An ASGI ``send`` after which no page of another origin can read an answer, and no answer can act as a page."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        self.has_begun = True
        if message["type"] == "http.response.start":
            headers = [pair for pair in message["headers"] if not pair[0].lower().startswith(b"access-control-")]
            # A presigned address may open an artifact, which may be HTML that an agent wrote.
            headers += [(b"content-security-policy", b"sandbox; default-src 'none'; style-src 'unsafe-inline'")]
            message = {**message, "headers": [*headers, (b"x-content-type-options", b"nosniff")]}
        await self._send(message)

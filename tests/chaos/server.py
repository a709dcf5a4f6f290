"""The embedded AWS with faults inside, started in place of ``vigil.local.server``: ``python -m tests.chaos.server``.

``POST /_chaos`` arms a rule and answers {"rule": number}; ``GET /_chaos`` answers how often each rule was met.
"""

import asyncio
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vigil.local import server

PATH = "/_chaos"
Receive = Callable[[], Awaitable[Any]]


@dataclass
class Rule:
    """Which calls of one session go wrong, how often, and how."""

    session: str
    call: str
    """Found in the ARN of a task's resource, or in an HTTP request's x-amz-target or "METHOD /path"."""
    body: str = ""
    """Found in the call's arguments or body."""
    times: int | None = None
    seconds: float | None = None
    """Counted from the first call that meets the rule; with neither, the fault lasts for ever."""

    applied: bool = False
    """The call is carried out before it goes wrong."""
    delay: float = 0
    kill: bool = False
    """Send SIGKILL to the process that calls."""
    reset: bool = False
    """Reset the connection."""
    answer: str = ""
    """A body to answer with, as a success."""
    error: str = ""
    message: str = ""
    status: int = 400
    hurry: float = 1
    """How much faster the workflow tries again, so that a fault that lasts for ever ends within a test."""

    met: int = 0
    until: float | None = None

    def meets(self, call: str, text: str) -> bool:
        """Whether this call goes wrong."""
        if self.session not in text or not re.search(self.call, call) or not re.search(self.body, text):
            return False
        if self.times is not None and self.met >= self.times:
            return False
        if self.seconds is not None:
            self.until = self.until or time.monotonic() + self.seconds
            if time.monotonic() >= self.until:
                return False
        self.met += 1
        return True


_rules: list[Rule] = []
_lock = threading.Lock()
_waiting: dict[str, str] = {}
"""What each task token was stored with: a wake-up names no session."""


def _met(call: str, text: str) -> Rule | None:
    with _lock:
        return next((rule for rule in _rules if rule.meets(call, text)), None)


def wrap(app: Any) -> Any:
    """Put the faults of tasks into the embedded AWS, and return ``app`` with those of requests."""
    _break_tasks()

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        body, again = await read_body(receive)
        if scope["path"] == PATH:
            await answer(send, 200, {}, json.dumps(_control(scope["method"], body)).encode())
            return
        call, headers, by_root = call_of(scope)
        # What the test itself asks as the account's root is never faulty.
        rule = None if by_root else _met(call, _text(scope["path"], headers, body))
        if rule is None:
            await app(scope, again, send)
            return
        held: list[Any] = []

        async def hold(message: Any) -> None:
            held.append(message)

        if rule.applied:
            await app(scope, again, hold)
        await asyncio.sleep(rule.delay)
        if rule.kill:
            os.kill(process_at(scope["client"][1], scope["server"][1]), signal.SIGKILL)
        if rule.kill or rule.reset:
            send.__self__.transport.abort()
            await receive()
        elif rule.answer:
            await answer(send, 200, {"content-type": "application/json"}, rule.answer.encode())
        elif rule.error:
            await answer(send, rule.status, *_error(rule, xml=call.startswith("PUT ")))
        elif rule.applied:
            for message in held:
                await send(message)
        else:
            await app(scope, again, send)

    return broken


async def read_body(receive: Receive) -> tuple[bytes, Receive]:
    """Return the body of a request, and a ``receive`` that gives it again."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    given = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def again() -> Any:
        return next(given, None) or await receive()

    return body, again


def call_of(scope: Any) -> tuple[str, dict[str, str], bool]:
    """Return what a request calls, its headers, and whether the root's key has signed it."""
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    call = headers.get("x-amz-target") or f"{scope['method']} {scope['path']}"
    return call, headers, f"Credential={os.environ['AWS_ACCESS_KEY_ID']}/" in headers.get("authorization", "")


def _control(method: str, body: bytes) -> Any:
    with _lock:
        if method == "POST":
            _rules.append(Rule(**json.loads(body)))
            return {"rule": len(_rules) - 1}
        return [rule.met for rule in _rules]


def _text(path: str, headers: dict[str, str], body: bytes) -> str:
    """Return all of a request that may name its session or tell what it is about."""
    text = body.decode(errors="replace")
    token = json.loads(body).get("taskToken", "") if ".SendTask" in headers.get("x-amz-target", "") else ""
    session = headers.get("x-amzn-bedrock-agentcore-runtime-session-id", "")
    return "\n".join((path, session, text, _waiting.get(token, "")))


def _error(rule: Rule, *, xml: bool) -> tuple[dict[str, str], bytes]:
    if xml:
        document = f"<Error><Code>{rule.error}</Code><Message>{rule.message}</Message></Error>"
        return {"content-type": "application/xml"}, document.encode()
    document = json.dumps({"__type": rule.error, "message": rule.message})
    return {"content-type": "application/json", "x-amzn-errortype": rule.error}, document.encode()


async def answer(send: Callable[[Any], Awaitable[None]], status: int, headers: dict[str, str], body: bytes) -> None:
    """Send an answer with ``body``."""
    told = {**headers, "content-length": str(len(body))}
    pairs = [(name.encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def process_at(port: int, server_port: int) -> int:
    """Return the process whose end of its connection to ``server_port`` is ``port``."""
    sockets = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    # Both ends: a port may be that of several connections, to different servers.
    ends = [f"{end:04X}" for end in (port, server_port)]
    inode = next(fields[9] for fields in sockets if [end[-4:] for end in fields[1:3]] == ends and fields[9] != "0")
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) == f"socket:[{inode}]":
                return int(link.parts[2])
        except OSError:
            continue
    raise LookupError(f"no process has a connection from port {port}")


def _break_tasks() -> None:
    """Let tasks of the workflow, which the embedded AWS carries out by itself, meet the rules."""
    from ministack.services import stepfunctions

    from vigil.local.ministack_patches.stepfunctions import current_execution

    def breaking(carry_out: Callable[..., Any]) -> Callable[..., Any]:
        def carried_out(resource: str, arguments: Any, *rest: Any) -> Any:
            text = json.dumps(arguments)
            if rest:
                _waiting[rest[0]] = text
            rule = _met(resource, text)
            result = carry_out(resource, arguments, *rest) if rule is None or rule.applied else None
            if rule is not None:
                time.sleep(rule.delay)
                raise stepfunctions._ExecutionError(rule.error, rule.message)
            return result

        return carried_out

    find = stepfunctions._find_matching_retrier

    def find_hurried(*arguments: Any) -> Any:
        retrier, index = find(*arguments)
        execution = current_execution.get()
        if retrier is not None and execution is not None:
            with _lock:
                hurry = max((rule.hurry for rule in _rules if rule.session in execution["input"]), default=1)
            retrier = {**retrier, "IntervalSeconds": retrier["IntervalSeconds"] / hurry}
        return retrier, index

    stepfunctions._find_matching_retrier = find_hurried
    stepfunctions._invoke_resource = breaking(stepfunctions._invoke_resource)
    stepfunctions._invoke_with_callback = breaking(stepfunctions._invoke_with_callback)


if __name__ == "__main__":
    sys.exit(server.main(wrap))

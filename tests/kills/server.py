"""The embedded AWS that kills agents at their calls of AWS, started in place of ``vigil.local.server``.

``POST /_kills`` takes the `Plan` of a session; ``GET /_kills?SESSION`` answers with what was `Seen` of it;
``POST /_thaw`` lets the frozen processes of a session go on.
"""

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.server import answer, call_of, process_at, read_body
from vigil.local import server

PATH = "/_kills"
THAW = "/_thaw"
WORKER, RUNTIME, FROZEN = "worker", "runtime", "frozen"
COMPLETED = "status COMPLETED"
UNANSWERED_SECONDS = 30  # longer than the workflow waits for AgentCore


@dataclass
class Strike:
    """What happens to an attempt: its worker or its runtime is killed, or both are frozen."""

    victim: str
    call: int = -1  # at the worker's call of this number, from 0 on
    applied: bool = False  # after the call has been carried out, and not before
    after: float | None = None  # or so many seconds after the worker's first call
    deaf: bool = False  # AgentCore does not answer when the workflow stops the attempt


@dataclass
class Plan:
    """The strikes that a session's attempts meet: the first one meets the first."""

    session: str
    strikes: list[Strike]


@dataclass
class Call:
    """A call of a worker that changes something."""

    attempt: int
    what: str
    done: bool = False  # whether AWS has carried it out


@dataclass
class Seen:
    """What the server has seen of a session."""

    plan: list[Strike]
    workers: list[int] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    struck: int = 0  # how many strikes have hit before the session ended
    frozen: list[int] = field(default_factory=list)


_sessions: dict[str, Seen] = {}
_session_of: dict[int, str] = {}  # by process
_process_of: dict[int, int] = {}  # by port
_thawed: set[str] = set()

_CHANGES = (
    ("model", r"POST /model/.*/converse", ""),
    ("checkpoint", r"PUT /.*checkpoints/", ""),
    ("file", r"PUT /.*sessions/", ""),
    ("step", r"TransactWriteItems", r"STEP#"),
    ("phase", r"TransactWriteItems", r"TASK#"),
    ("artifact", r"TransactWriteItems", r"ARTIFACT#"),
    ("history", r"TransactWriteItems", r"HISTORY#"),
    ("status BUSY", r"UpdateItem", r"busy_at"),
    (COMPLETED, r"UpdateItem", r'"COMPLETED"'),
    ("record", r"UpdateItem", ""),
    ("wake-up", r"SendTaskSuccess", ""),
)
"""Each kind of change by a worker: what its request, and its body, contain."""


def kind_of(call: str, text: str) -> str | None:
    """Return which kind of change a request makes; None if it changes nothing."""
    return next((kind for kind, begins, has in _CHANGES if re.search(begins, call) and has in text), None)


def wrap(app: Any) -> Any:
    """Put the strikes before the embedded AWS ``app``."""
    _do_not_stop_the_deaf()

    async def striking(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        body, again = await read_body(receive)
        if scope["path"] in (PATH, THAW):
            session_id = scope["query_string"].decode()
            told = json.dumps(asdict(_sessions[session_id]) if session_id else _control(scope["path"], body)).encode()
            await answer(send, 200, {}, told)
            return
        call, _, by_root = call_of(scope)
        text = body.decode(errors="replace")
        what = kind_of(call, text)
        pid = None if what is None or by_root else _worker_at(scope, text)
        if what is None or pid is None:
            await app(scope, again, send)
            return
        await _struck(app, scope, again, send, pid, what)

    return striking


async def _struck(app: Any, scope: Any, receive: Any, send: Any, pid: int, what: str) -> None:
    """Carry out a worker's call, and strike the worker before or after it if that is the plan."""
    session_id = _session_of[pid]
    seen = _sessions[session_id]
    attempt = seen.workers.index(pid)
    number = sum(call.attempt == attempt for call in seen.calls)
    call = Call(attempt, what)
    seen.calls.append(call)
    plan = seen.plan[attempt] if attempt < len(seen.plan) else None
    if plan and number == 0 and plan.after is not None:
        asyncio.get_running_loop().call_later(plan.after, _strike, seen, plan, pid)
    held: list[Any] = []
    status = 0

    async def hold(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)
        held.append(message)

    strikes = plan is not None and plan.after is None and plan.call == number
    if strikes and plan and not plan.applied:
        _strike(seen, plan, pid)
        if plan.victim == FROZEN:
            while session_id not in _thawed:
                await asyncio.sleep(0.1)
        else:
            # The request never arrives.
            send.__self__.transport.abort()
            return
    await app(scope, receive, hold)
    call.done = status == 200
    if strikes and plan and plan.applied:
        _strike(seen, plan, pid)
        if plan.victim == FROZEN:
            while session_id not in _thawed:
                await asyncio.sleep(0.1)
    for message in held:
        await send(message)


def _strike(seen: Seen, plan: Strike, worker: int) -> None:
    runtime = parent_of(worker)
    victims = {WORKER: [worker], RUNTIME: [runtime], FROZEN: [runtime, worker]}[plan.victim]
    if not all(victims):
        # The attempt has ended.
        return
    for pid in victims:
        os.kill(pid, signal.SIGSTOP if plan.victim == FROZEN else signal.SIGKILL)
    seen.frozen += victims if plan.victim == FROZEN else []
    seen.struck += not any(call.done and call.what == COMPLETED for call in seen.calls)


def parent_of(pid: int) -> int:
    """Return the process that has started ``pid``; 0 if that has ended."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return 0
    return 0 if state == "Z" else int(parent)


def _control(path: str, body: bytes) -> Any:
    if path == THAW:
        session_id = json.loads(body)
        _thawed.add(session_id)
        for pid in _sessions[session_id].frozen:
            os.kill(pid, signal.SIGCONT)
    else:
        given = json.loads(body)
        _sessions[given["session"]] = Seen([Strike(**strike) for strike in given["strikes"]])
    return {}


def _worker_at(scope: Any, text: str) -> int | None:
    """Return the worker that makes a request; None if another process does."""
    port = scope["client"][1]
    pid = _process_of.get(port)
    if pid is None or not Path(f"/proc/{pid}").exists():
        try:
            pid = _process_of[port] = process_at(port, scope["server"][1])
        except (LookupError, StopIteration):
            # It has been killed.
            return None
    if pid not in _session_of:
        # A worker's ancestors are its runtime, the fork server, that one's keeper, and this process.
        above = pid
        for _ in range(4):
            above = parent_of(above)
        session_id = next((known for known in _sessions if known in text), None)
        if above != os.getpid() or session_id is None:
            return None
        _session_of[pid] = session_id
        _sessions[session_id].workers.append(pid)
    return pid


def _do_not_stop_the_deaf() -> None:
    """Let AgentCore not answer when the workflow stops an attempt whose strike says so."""
    from ministack.services import stepfunctions

    carry_out: Callable[..., Any] = stepfunctions._invoke_resource

    def carried_out(resource: str, arguments: Any, *rest: Any) -> Any:
        seen = _sessions.get(str(arguments.get("RuntimeSessionId", ""))) if "stopRuntimeSession" in resource else None
        if seen and seen.plan and seen.plan[0].deaf:
            time.sleep(UNANSWERED_SECONDS)
            raise stepfunctions._ExecutionError("BedrockAgentCore.SdkClientException", "no answer")
        return carry_out(resource, arguments, *rest)

    stepfunctions._invoke_resource = carried_out


if __name__ == "__main__":
    sys.exit(server.main(wrap))

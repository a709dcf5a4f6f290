"""AgentCore's data plane on a laptop: our real runtime in a process of its own, with the agent role's credentials."""

import json
import os
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from ministack.services import sts

from vigil.errors import LocalStackError
from vigil.local.gate import CREDENTIALS_PATH
from vigil.local.processes import ForkServer
from vigil.names import Env
from vigil.settings import whole_number

_PASSED = {*Env, "AWS_DEFAULT_REGION"}
PLACES = 8
"""How many sessions run at once, unless the environment's VIGIL_MAX_WORKERS says another number."""
PLACE_SECONDS = 30.0
"""How long an invocation waits for a place; with the start of a runtime, less than the invoker waits for an answer."""


@dataclass
class _Running:
    """The process of a session, on a socket, of what AgentCore calls a runtime."""

    pid: int
    address: str
    token: str
    """By it, the process asks for its role's credentials."""
    runtime: dict[str, Any]
    accepted: bool = False
    """Whether it has taken a session."""


class AgentHost:
    """Runs one runtime process for each session, as AgentCore does.

    Each serves on a Unix socket in the current folder, which no other user may enter: its contract has no credentials.
    ``environment`` holds variables of every process, beside those of its runtime.
    """

    def __init__(self, endpoint: str, region: str, log: Path, environment: Mapping[str, str]) -> None:
        self._endpoint = endpoint
        self._region = region
        self._log = log
        self._environment = environment
        self._base = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG", "TZ") if name in os.environ}
        self._lock = threading.Lock()
        self._server: ForkServer | None = None
        self._places = threading.Semaphore(whole_number(environment, Env.MAX_WORKERS, PLACES))
        self._running: dict[int, _Running] = {}
        self._sessions: dict[tuple[str, str], _Running] = {}

    def prepare(self) -> None:
        """Begin to import what agents need, before the first session waits for it."""
        with self._lock:
            self._fork_server()

    def invoke(self, runtime: dict[str, Any], session_id: str, body: bytes) -> tuple[int, bytes]:
        """Pass an invocation on and return the agent's HTTP status and body.

        402 if too many sessions run at once, 500 if the agent cannot be reached.
        """
        try:
            running = self._find_or_start(runtime, session_id)
        except LocalStackError as error:
            return 500, str(error).encode()
        if running is None:
            return 402, b"too many sessions run at once"
        headers = {"X-Amzn-Bedrock-AgentCore-Runtime-Session-Id": session_id}
        try:
            status, answer = _post(running.address, "/invocations", body, headers)
        except httpx.TransportError as error:
            status, answer = 500, f"the agent's runtime process cannot be reached: {error}".encode()
        if status == 200:
            running.accepted = True
        elif not running.accepted:
            # It has no session, and without one it would not end.
            self.stop_session(runtime["agentRuntimeArn"], session_id)
        return status, answer

    def stop_session(self, agent_runtime_arn: str, session_id: str) -> bool:
        """Have the session's runtime end; False if there is none."""
        with self._lock:
            running = self._sessions.pop((agent_runtime_arn, session_id), None)
            if running is None or self._server is None:
                return False
            self._server.stop(running.pid)
            return True

    def _find_or_start(self, runtime: dict[str, Any], session_id: str) -> _Running | None:
        """Return the session's runtime; None if there is none, and no place for one."""
        key = runtime["agentRuntimeArn"], session_id
        if (running := self._sessions.get(key)) is not None:
            return running
        if not self._places.acquire(timeout=PLACE_SECONDS):
            return None
        with self._lock:
            if (running := self._sessions.get(key)) is not None:
                self._places.release()
                return running
            try:
                self._sessions[key] = self._start(runtime)
            except LocalStackError:
                self._places.release()
                raise
            return self._sessions[key]

    def _start(self, runtime: dict[str, Any]) -> _Running:
        # Relative, since the address of a Unix socket has at most 107 bytes.
        token, address = secrets.token_urlsafe(32), f"agent-{secrets.token_hex(8)}.sock"
        # A clean environment: nothing of the host's but what a process needs to run; credentials come as on AWS,
        # from an endpoint that gives out those of the agent's role and no others.
        environment = {
            # Of its runtime, what an agent reads: LD_PRELOAD, PYTHONPATH and others would run as the user.
            **{name: value for name, value in runtime.get("environmentVariables", {}).items() if name in _PASSED},
            **self._base,
            "AWS_REGION": self._region,
            "AWS_ENDPOINT_URL": self._endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": self._endpoint + CREDENTIALS_PATH,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
            **self._environment,
        }
        server = self._fork_server()
        try:
            running = _Running(server.start(address, environment), address, token, runtime)
        except LocalStackError:
            if server.closed:
                # Another one, for the next invocation.
                self._server = None
            raise
        self._running[running.pid] = running
        return running

    def _fork_server(self) -> ForkServer:
        if self._server is None:
            given = {**self._base, **{n: v for n, v in self._environment.items() if n in ("PYTHONPATH", Env.AGENT)}}
            self._server = ForkServer(self._log, given, self._ended)
        return self._server

    def _ended(self, pid: int) -> None:
        """Forget a runtime that has ended."""
        with self._lock:
            running = self._running.pop(pid, None)
            if running is None:
                # It started after we had given up.
                return
            self._sessions = {key: other for key, other in self._sessions.items() if other is not running}
        Path(running.address).unlink(missing_ok=True)
        self._places.release()

    def credentials(self, token: str) -> tuple[int, bytes]:
        """Answer a request for the credentials of the role whose runtime ``token`` was given to."""
        runtime = next((running.runtime for running in list(self._running.values()) if running.token == token), None)
        if runtime is None:
            return 403, b'{"message": "unknown token"}'
        # AWS signs the agent in as AgentCore's service, which no caller of AssumeRole can be; so register the session.
        role, expiration = runtime["roleArn"], datetime.now(UTC) + timedelta(hours=1)
        account, name = role.split(":")[4], role.rsplit("/", 1)[-1]
        answer = {
            "AccessKeyId": f"ASIA{secrets.token_hex(8).upper()}",
            "SecretAccessKey": secrets.token_urlsafe(30),
            "Token": secrets.token_urlsafe(60),
            "Expiration": expiration.isoformat(),
        }
        sts.register_session(
            answer["AccessKeyId"],
            {
                "Arn": f"arn:aws:sts::{account}:assumed-role/{name}/vigil-agent",
                "UserId": f"{name}:vigil-agent",
                "SecretAccessKey": answer["SecretAccessKey"],
                "SessionToken": answer["Token"],
                "Expiration": expiration.timestamp(),
                "AccountId": account,
                "PrincipalType": "AssumedRole",
            },
        )
        return 200, json.dumps(answer).encode()

    def stop(self) -> None:
        """End every session's processes. Not gently: there is no AWS left to record it in."""
        with self._lock:
            if self._server is not None:
                self._server.close()


def _post(address: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    with httpx.Client(transport=httpx.HTTPTransport(uds=address, verify=False), timeout=15, trust_env=False) as client:
        given = {"Content-Type": "application/json", **headers}
        answer = client.post(f"http://localhost{path}", content=body, headers=given)
    return answer.status_code, answer.content

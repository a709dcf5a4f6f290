"""AgentCore on a laptop: runs the real runtime, in a process for each session, with the agent role's credentials."""

import json
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
from vigil.local import inherited
from vigil.local.gate import CREDENTIALS_PATH
from vigil.local.processes import ForkServer
from vigil.names import Env
from vigil.settings import whole_number

# LD_PRELOAD, PYTHONPATH and others would run code as the user.
_RUNTIME_VARIABLES = {*Env, "AWS_DEFAULT_REGION"}  # what a process gets of its runtime's variables: what an agent reads
MAX_SESSIONS = 8  # how many sessions run at once, unless the environment's VIGIL_MAX_WORKERS says another number
SLOT_SECONDS = 30.0  # how long an invocation waits for a slot; with a runtime's start, less than the invoker waits


@dataclass
class _RuntimeProcess:
    """The process of one session, which serves on a socket."""

    pid: int
    address: str
    token: str  # the process asks for its role's credentials with it
    runtime: dict[str, Any]  # the runtime as AgentCore's API describes it
    accepted: bool = False  # whether it has accepted a session


class LocalAgentCore:
    """Runs one runtime process for each session, as AgentCore does.

    Each serves on a Unix socket in the current folder, which no other user may enter: its contract has no credentials.
    ``environment`` holds variables of every process, beside those of its runtime.
    """

    def __init__(self, endpoint: str, region: str, log: Path, environment: Mapping[str, str]) -> None:
        self._endpoint = endpoint
        self._region = region
        self.log = log
        self._environment = environment
        self._base = inherited("PATH", "HOME", "TMPDIR", "LANG", "TZ")
        self._lock = threading.Lock()
        self._server: ForkServer | None = None
        self._slots = threading.Semaphore(whole_number(environment, Env.MAX_WORKERS, MAX_SESSIONS))
        self._by_pid: dict[int, _RuntimeProcess] = {}
        self._by_session: dict[tuple[str, str], _RuntimeProcess] = {}

    def prepare(self) -> None:
        """Begin to import what agents need, before the first session waits for it."""
        with self._lock:
            self._fork_server()

    def invoke(self, runtime: dict[str, Any], session_id: str, body: bytes) -> tuple[int, bytes]:
        """Return the agent's (HTTP status, body); 402 if too many sessions run at once, 500 if it cannot be reached."""
        try:
            process = self._find_or_start(runtime, session_id)
        except LocalStackError as error:
            return 500, str(error).encode()
        if process is None:
            return 402, b"too many sessions run at once"
        try:
            status, answer = _post(process.address, session_id, body)
        except httpx.TransportError as error:
            status, answer = 500, f"the agent's runtime process cannot be reached: {error}".encode()
        if status == 200:
            process.accepted = True
        elif not process.accepted:
            # It has no session, and without one it would not end.
            self.stop_session(runtime["agentRuntimeArn"], session_id)
        return status, answer

    def stop_session(self, agent_runtime_arn: str, session_id: str) -> bool:
        """Have the session's runtime end; False if there is none."""
        with self._lock:
            process = self._by_session.pop((agent_runtime_arn, session_id), None)
            if process is None or self._server is None:
                return False
            self._server.stop(process.pid)
            return True

    def _find_or_start(self, runtime: dict[str, Any], session_id: str) -> _RuntimeProcess | None:
        """Return the session's runtime process; None if there is none and no slot for one."""
        key = runtime["agentRuntimeArn"], session_id
        if (process := self._by_session.get(key)) is not None:
            return process
        if not self._slots.acquire(timeout=SLOT_SECONDS):
            return None
        with self._lock:
            if (process := self._by_session.get(key)) is not None:
                self._slots.release()
                return process
            try:
                process = self._by_session[key] = self._start(runtime)
            except LocalStackError:
                self._slots.release()
                raise
            return process

    def _start(self, runtime: dict[str, Any]) -> _RuntimeProcess:
        # Relative, since the address of a Unix socket has at most 107 bytes.
        token, address = secrets.token_urlsafe(32), f"agent-{secrets.token_hex(8)}.sock"
        # A clean environment: of this machine's variables only what a process needs to run. Credentials come as on AWS,
        # from an endpoint that gives out those of the agent's role and no others.
        variables = runtime.get("environmentVariables", {})
        environment = {
            **{name: value for name, value in variables.items() if name in _RUNTIME_VARIABLES},
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
            process = _RuntimeProcess(server.start(address, environment), address, token, runtime)
        except LocalStackError:
            if server.closed:
                # The next invocation starts another one.
                self._server = None
            raise
        self._by_pid[process.pid] = process
        return process

    def _fork_server(self) -> ForkServer:
        if self._server is None:
            shared = {name: value for name, value in self._environment.items() if name in ("PYTHONPATH", Env.AGENT)}
            self._server = ForkServer(self.log, {**self._base, **shared}, self._forget)
        return self._server

    def _forget(self, pid: int) -> None:
        """Free the slot of a runtime process that has ended."""
        with self._lock:
            process = self._by_pid.pop(pid, None)
            if process is None:
                return  # it started after the invocation had given up
            self._by_session = {key: other for key, other in self._by_session.items() if other is not process}
        Path(process.address).unlink(missing_ok=True)
        self._slots.release()

    def credentials(self, token: str) -> tuple[int, bytes]:
        """Answer a request for the credentials of the role whose runtime process has ``token``."""
        processes = list(self._by_pid.values())
        role = next((process.runtime["roleArn"] for process in processes if process.token == token), None)
        if role is None:
            return 403, b'{"message": "unknown token"}'
        expires = datetime.now(UTC) + timedelta(hours=1)
        return 200, json.dumps(draw_role_credentials(role, "vigil-agent", expires)).encode()

    def stop(self) -> None:
        """End every session's processes. Not gently: there is no AWS left to record it in."""
        with self._lock:
            if self._server is not None:
                self._server.close()


def _post(address: str, session_id: str, body: bytes) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/json", "X-Amzn-Bedrock-AgentCore-Runtime-Session-Id": session_id}
    with httpx.Client(transport=httpx.HTTPTransport(uds=address, verify=False), timeout=15, trust_env=False) as client:
        answer = client.post("http://localhost/invocations", content=body, headers=headers)
    return answer.status_code, answer.content


def draw_role_credentials(role: str, session_name: str, expires: datetime | None = None) -> dict[str, str]:
    """Return new credentials of ``role``, an ARN, by the names of AWS's container credentials.

    AWS assumes the role as a service, which no caller of AssumeRole can be. So this registers the session itself.
    """
    account, role_name = role.split(":")[4], role.rsplit("/", 1)[-1]
    key, secret, token = f"ASIA{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30), secrets.token_urlsafe(60)
    drawn = {"AccessKeyId": key, "SecretAccessKey": secret, "Token": token}
    arn = f"arn:aws:sts::{account}:assumed-role/{role_name}/{session_name}"
    session: dict[str, object] = {"Arn": arn, "UserId": f"{role_name}:{session_name}"}
    session |= {"SecretAccessKey": secret, "SessionToken": token}
    if expires is not None:
        session["Expiration"] = expires.timestamp()
        drawn["Expiration"] = expires.isoformat()
    sts.register_session(key, session)
    return drawn

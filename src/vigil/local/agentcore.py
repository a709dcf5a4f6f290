"""AgentCore's data plane on a laptop: our real runtime in a process of its own, with the agent role's credentials."""

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import httpx
from ministack.services import sts

from vigil.local.gate import CREDENTIALS_PATH
from vigil.names import STOP_PATH, Env

_PASSED = {*Env, "AWS_DEFAULT_REGION"}
START_TIMEOUT = 30.0  # less than the invoker waits for an answer
SESSIONS_PER_SECOND = 25
"""How many new sessions AgentCore takes in a second, by its default quota."""


class AgentHost:
    """Runs one runtime process for each AgentCore runtime that is invoked.

    Each serves on a Unix socket in the current folder, which no other user may enter: its contract has no credentials.
    ``environment`` holds variables of every process, beside those of its runtime.
    """

    def __init__(self, endpoint: str, region: str, log: Path, environment: Mapping[str, str]) -> None:
        self._endpoint = endpoint
        self._region = region
        self._log = log
        self._environment = environment
        self._lock = threading.Lock()
        self._processes: dict[str, tuple[subprocess.Popen[bytes], str]] = {}
        self._tokens: dict[str, dict[str, Any]] = {}
        self._known: set[str] = set()
        self._begun: deque[float] = deque(maxlen=SESSIONS_PER_SECOND)

    def invoke(self, runtime: dict[str, Any], session_id: str, body: bytes) -> tuple[int, bytes]:
        """Pass an invocation on and return the agent's HTTP status and body.

        429 if too many sessions begin at once, 500 if the agent cannot be reached.
        """
        with self._lock:
            if session_id not in self._known:
                if len(self._begun) == SESSIONS_PER_SECOND and self._begun[0] > time.monotonic() - 1:
                    return 429, b"too many new sessions"
                self._begun.append(time.monotonic())
                self._known.add(session_id)
            process, address = self._processes.get(runtime["agentRuntimeArn"], (None, ""))
            if process is None or process.poll() is not None:
                process, address = self._start(runtime)
                self._processes[runtime["agentRuntimeArn"]] = (process, address)
        headers = {"X-Amzn-Bedrock-AgentCore-Runtime-Session-Id": session_id}
        try:
            return _post(address, "/invocations", body, headers)
        except httpx.TransportError as error:
            ended = "" if process.poll() is None else f"; it ended with exit code {process.returncode}"
            return 500, f"the agent's runtime process cannot be reached: {error}{ended}".encode()

    def stop_session(self, agent_runtime_arn: str, session_id: str) -> bool:
        """End a session's worker; False if no such session runs."""
        process, address = self._processes.get(agent_runtime_arn, (None, ""))
        if process is None:
            return False
        try:
            status, body = _post(address, STOP_PATH, json.dumps({"session_id": session_id}).encode(), {})
        except httpx.TransportError:
            return False
        return status == 200 and json.loads(body)["stopped"] is True

    def _start(self, runtime: dict[str, Any]) -> "tuple[subprocess.Popen[bytes], str]":
        # Relative, since the address of a Unix socket has at most 107 bytes.
        address = f"agent-{len(self._tokens)}.sock"
        token = secrets.token_urlsafe(32)
        self._tokens[token] = runtime
        # A clean environment: nothing of the host's but what a process needs to run; credentials come as on AWS,
        # from an endpoint that gives out those of the agent's role and no others.
        environment = {
            # Of its runtime, what an agent reads: LD_PRELOAD, PYTHONPATH and others would run as the user.
            **{name: value for name, value in runtime.get("environmentVariables", {}).items() if name in _PASSED},
            **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ},
            "AWS_REGION": self._region,
            "AWS_ENDPOINT_URL": self._endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": self._endpoint + CREDENTIALS_PATH,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
            **self._environment,
        }
        log: BinaryIO
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "vigil.agent", "--uds", address],
                env=environment,
                # Never written to: it ends when we do, however we do.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while process.poll() is None and time.monotonic() < deadline:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(address) == 0:
                    break
            time.sleep(0.02)
        return process, address

    def credentials(self, token: str) -> tuple[int, bytes]:
        """Answer a request for the credentials of the role whose runtime ``token`` was given to."""
        runtime = self._tokens.get(token)
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
        """End every runtime process, and with it its workers. Not gently: there is no AWS left to record it in."""
        with self._lock:
            for process, _ in self._processes.values():
                process.kill()


def _post(address: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    with httpx.Client(transport=httpx.HTTPTransport(uds=address), timeout=40, trust_env=False) as client:
        given = {"Content-Type": "application/json", **headers}
        answer = client.post(f"http://localhost{path}", content=body, headers=given)
    return answer.status_code, answer.content

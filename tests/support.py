"""What tests of running sessions share."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, TypeVar

import boto3
import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config

from tests import commands
from vigil.deployment import Deployment
from vigil.errors import SessionNotFound
from vigil.local.processes import ForkServer, children
from vigil.local.stack import REGION, LocalStack
from vigil.names import Env, Output
from vigil.session import ARTIFACT_SK_PREFIX, Session

T = TypeVar("T")
BIN = Path(sys.executable).parent


def command(stack: LocalStack | None, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of the virtual environment as a user would whose environment leads to ``stack``."""
    base = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": "/nonexistent", "TZ": os.environ["TZ"]}
    base |= {name: os.environ[name] for name in ("XDG_STATE_HOME",) if name in os.environ}
    given = {**base, **(stack.environment() if stack else {}), **environment}
    # Python reads the others of these when it starts.
    if words[0] == "vigil" and not any(name.startswith(("LANG", "LC_", "PYTHON")) for name in environment):
        return commands.run([str(BIN / words[0]), *words[1:]], given)
    return subprocess.run([str(BIN / words[0]), *words[1:]], env=given, capture_output=True, text=True, timeout=600)


def refused(stack: LocalStack | None, *words: str, **environment: str) -> str:
    """Run a command that must fail with one line and no traceback; returns that line."""
    done = command(stack, *words, **environment)
    assert done.returncode not in (0, None), done.stdout
    assert "Traceback" not in done.stderr
    assert "starting the embedded AWS" not in done.stdout
    line = done.stderr.strip()
    assert "\n" not in line, line
    return line


def until(condition: Callable[[], T | None], seconds: float = 90) -> T:
    """Return what ``condition`` returns once that is true; fails loudly after ``seconds``."""
    deadline, pause = time.monotonic() + seconds, 0.04
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{condition} did not come true in {seconds} s"
        time.sleep(pause)
        # Poll less often over time: each look takes CPU time from the work that the test awaits.
        pause = min(pause * 1.5, 0.4)
    return value


def workflow_definition(
    safety: int = 300, heartbeat: int = 30, starts: float = 25, attempts: int = 3
) -> dict[str, Any]:
    """Return the definition of the workflow, by default with the default parameters."""
    # Not at the top: CDK starts Node, and every test process imports this module.
    from infra.workflow import definition

    given = {"safety": safety, "heartbeat": heartbeat, "progress": 900, "session": 27_000, "starts": starts}
    given["attempts"] = attempts
    timing: Any = SimpleNamespace(**{name: str(value) for name, value in given.items()})
    return definition("sessions", "invoker", "runtime", timing)


@cache
def workflow_states(starts_per_second: int = 25) -> dict[str, Any]:
    """Return the states of the workflow, with the default parameters."""
    return dict(workflow_definition(starts=starts_per_second)["States"])


class Silent(BaseHTTPRequestHandler):
    """A server's handler that logs nothing."""

    def answer(self, status: int, document: object, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve on a free port of loopback and yield the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def refusing() -> Iterator[str]:
    """The address of a port that refuses every connection and that no other process gets: bound, not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def client_at(address: str, service: str, region: str = REGION, **config: Any) -> Any:
    """Return a client that calls ``address``, once each time."""
    settings = Config(retries={"total_max_attempts": 1}, **config)
    return boto3.Session("test", "test", region_name=region).client(service, endpoint_url=address, config=settings)


def new_state_machine(stack: LocalStack, *allowed: dict[str, str], **definition: object) -> str:
    """Create a state machine with a role of its own, whose policy has the statements ``allowed``; return its ARN."""
    iam, name = stack.client("iam"), f"role-{uuid.uuid4()}"
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]
    if allowed:
        document = json.dumps({"Version": "2012-10-17", "Statement": allowed})
        iam.put_role_policy(RoleName=name, PolicyName="only", PolicyDocument=document)
    created = stack.client("stepfunctions").create_state_machine(
        name=f"machine-{uuid.uuid4()}", roleArn=role["Arn"], definition=json.dumps(definition)
    )
    return str(created["stateMachineArn"])


def reconcile(stack: LocalStack, event: object) -> dict[str, Any]:
    """Call the reconciler as its rules do and return its answer, or the error it raised."""
    name, payload = stack.outputs[Output.RECONCILER], json.dumps(event).encode()
    return dict(json.load(stack.client("lambda").invoke(FunctionName=name, Payload=payload)["Payload"]))


def let_go(table: Any, session_id: str) -> None:
    """Release an agent that waits for the artifact "go", also after its session has ended and refuses artifacts."""
    table.put_item(Item={"PK": session_id, "SK": f"{ARTIFACT_SK_PREFIX}go", "key": "none"})


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name: state, parent, and so on; none if there is no process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and whose parent has not asked how does not."""
    return _stat(pid)[:1] not in ([], ["Z"], ["X"])


def parent_of(pid: int) -> int:
    """Return the parent of a process that lives."""
    return int(_stat(pid)[1])


def ask(
    stack: LocalStack, method: str, target: str, body: bytes = b"", *, service: str = "lambda", **headers: str
) -> tuple[int, bytes]:
    """Send a request that is signed with the root's key, and return (status, body) of the answer."""
    request = AWSRequest(method, stack.endpoint + target, headers=headers, data=body)
    SigV4Auth(stack.session().get_credentials(), service, REGION).add_auth(request)
    sent = urllib.request.Request(request.url, data=body or None, headers=dict(request.headers), method=method)
    try:
        with urllib.request.urlopen(sent, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


class Runtime:
    """The client of an agent's runtime, at a port of loopback or at a Unix socket."""

    def __init__(self, host: str, socket: str | None = None) -> None:
        self._host, self._socket = host, socket

    @property
    def address(self) -> str:
        return f"http://{self._host}"

    def call(self, path: str, payload: object = None) -> tuple[int, dict[str, Any]]:
        # Without certificates, which take longest to read.
        transport = httpx.HTTPTransport(uds=self._socket, verify=False, trust_env=False)
        with httpx.Client(transport=transport, timeout=30) as client:
            answer = client.request("GET" if payload is None else "POST", f"{self.address}{path}", json=payload)
        return answer.status_code, answer.json() if "json" in answer.headers["content-type"] else {}

    def invoke(
        self,
        session_id: str,
        agent: str = "hello_agent",
        *,
        table: str = "sessions",
        bucket: str = "artifacts",
        **changes: object,
    ) -> tuple[int, dict[str, Any]]:
        environment = {Env.SESSION_ID: session_id, Env.BUCKET: bucket, Env.TABLE: table}
        return self.call("/invocations", {"environment": environment, "detail": {"agent": agent}, **changes})

    @property
    def status(self) -> str:
        return str(self.call("/ping")[1]["status"])


def free_port() -> int:
    """Return a port of loopback that nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def answering(host: str, runs: Callable[[], bool]) -> Runtime:
    """Return the client of a runtime once that answers; fails if it ``runs`` no more."""
    runtime = Runtime(host)

    def answers() -> bool:
        assert runs()
        with suppress(httpx.TransportError):
            return runtime.call("/ping")[0] == 200
        return False

    until(answers)
    return runtime


@contextmanager
def runtime_process(environment: dict[str, str], *words: str, output: Any = None) -> Iterator[Runtime]:
    """Start a runtime as AgentCore does, Python with ``words``, until it is left; ``output`` gets what it prints."""
    port = str(free_port())
    command = [sys.executable, *words, "--host", "127.0.0.1", "--port", port]
    process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        yield answering(f"127.0.0.1:{port}", lambda: process.poll() is None)
    finally:
        process.terminate()
        process.wait()


class ForkedRuntime(Runtime):
    """The runtime of one session, as the local stack starts it."""

    def __init__(self, server: ForkServer, folder: Path, environment: dict[str, str]) -> None:
        self.server, address = server, str(folder / f"{uuid.uuid4().hex[:8]}.sock")
        self.pid = server.start(address, environment)
        super().__init__("localhost", address)

    def stop(self) -> None:
        self.server.stop(self.pid)


def runtimes(stack: LocalStack) -> list[int]:
    """Return the processes of the sessions' runtimes: what the fork server started, which the keeper did."""

    def started_by(pid: int) -> list[int]:
        return list(filter(is_alive, children(pid)))

    def is_keeper(pid: int) -> bool:
        with suppress(OSError):
            return "vigil.local.processes" in Path(f"/proc/{pid}/cmdline").read_text()
        return False

    keepers = filter(is_keeper, started_by(stack.process.pid))
    return [pid for keeper in keepers for server in started_by(keeper) for pid in started_by(server)]


class Workflow:
    """Starts executions of the deployed workflow and sees how they end."""

    def __init__(self, stack: LocalStack) -> None:
        self.outputs = stack.outputs
        self.sfn = stack.client("stepfunctions")
        self.table = stack.session().resource("dynamodb").Table(stack.outputs[Output.TABLE])
        self.journal = Deployment(stack.session()).journal

    def start(self, session_id: object = None, **given: object) -> tuple[str, str]:
        """Start an execution as the rule does; returns (session id, execution ARN)."""
        session_id = str(uuid.uuid4()) if session_id is None else session_id
        return str(session_id), self.begin(json.dumps({"session_id": session_id, **given}))

    def begin(self, text: str) -> str:
        """Start an execution with an input that need not be well formed; returns its ARN."""
        machine = self.outputs[Output.STATE_MACHINE]
        return str(self.sfn.start_execution(stateMachineArn=machine, input=text)["executionArn"])

    def ended(self, arn: str) -> Any:
        """Wait until the execution has ended and return its description."""

        def look() -> Any:
            execution = self.sfn.describe_execution(executionArn=arn)
            return execution if execution["status"] != "RUNNING" else None

        return until(look)

    def run(self, session_id: object = None, **given: object) -> tuple[Any, Session | None]:
        """Run a session to its end; returns (execution, record or None)."""
        session_id, arn = self.start(session_id, **given)
        return self.ended(arn), self.session(session_id)

    def session(self, session_id: str) -> Session | None:
        """Return the session's record, if there is one."""
        try:
            return self.journal.get(session_id)
        except SessionNotFound:
            return None

    def states(self, arn: str) -> list[str]:
        """Return the names of the states that the execution entered, in order."""
        pages = self.sfn.get_paginator("get_execution_history").paginate(executionArn=arn)
        events = [event for page in pages for event in page["events"]]
        return [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]

    def key(self, session_id: str) -> dict[str, str]:
        """Return the key of the session's record."""
        return {"PK": session_id, "SK": "SESSION"}


def put_event(stack: LocalStack, detail: object) -> str:
    """Publish the event with the plain AWS CLI; returns its id."""
    entry = {"Source": "vigil", "DetailType": "Run Agent", "Detail": json.dumps(detail)}
    done = command(stack, "aws", "events", "put-events", "--entries", json.dumps([entry]))
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["Entries"][0]["EventId"])


def ended(workflow: Workflow, session_id: str) -> Session:
    return until(lambda: (session := workflow.session(session_id)) and session.terminal and session)

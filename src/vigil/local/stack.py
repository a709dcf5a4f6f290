"""The local stack: start the embedded AWS, deploy the template, seed the sample account, and stop all of it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import create_loader

from vigil.agent.models import STAND_IN, check_model
from vigil.agent.package import offered
from vigil.errors import LocalStackError, MissingSetting
from vigil.local import AGENT_LOG, Secrets
from vigil.local.deploy import PROJECT, deploy, synthesize
from vigil.names import Env, Output, Parameter

REGION = "us-east-1"
STATE = Path(".vigil")

# One for all sessions: to read what botocore knows of the services is most of what a client costs.
_DATA = create_loader()

_OF_THE_RUNTIME = {
    Parameter.BUDGET_DOLLARS: Env.BUDGET_DOLLARS,
    Parameter.MAX_SCAN_DOLLARS: Env.MAX_SCAN_DOLLARS,
    Parameter.HEARTBEAT_SECONDS: Env.HEARTBEAT_SECONDS,
    Parameter.PROGRESS_SECONDS: Env.PROGRESS_SECONDS,
}
"""Parameters that the template hands to a runtime that it creates."""


@dataclass
class LocalStack:
    """A running embedded AWS with Vigil deployed in it. A context manager: leaving it stops everything."""

    SERVER: ClassVar[str] = "vigil.local.server"
    """The module that is the embedded AWS; a subclass may name another."""

    process: "subprocess.Popen[str]"
    port: int
    folder: Path
    secrets: Secrets
    outputs: dict[str, str] = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        port: int = 0,
        *,
        agent_environment: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
        sample_account: bool = True,
        progress: Callable[[str], None] = lambda _: None,
    ) -> "LocalStack":
        """Start, deploy and seed; ``port`` 0 takes a free one. ``progress`` hears each step in a few words.

        ``agent_environment`` is all that the agent gets beside its role's credentials; without VIGIL_MODEL in it, the
        stand-in plays the model. ``parameters`` are the template's.

        Raises LocalStackError, with everything stopped again.
        """
        # First, since a port that is taken is found out at once, and a synthesis takes long.
        progress("starting the embedded AWS")
        stack = cls.launch(port, {Env.MODEL: STAND_IN, **(agent_environment or {})})
        try:
            progress("synthesising the stack")
            assembly = synthesize(PROJECT / STATE / "synth")
            progress("deploying the template" + (" and seeding the sample account" if sample_account else ""))
            with ThreadPoolExecutor() as pool:
                deployed = pool.submit(stack._deploy, assembly, parameters or {})
                if sample_account:
                    offered("seed_sample_account")(stack.client, datetime.now(UTC))
                deployed.result()
        except BaseException as error:
            died = stack.how_it_died()
            stack.stop()
            if died and isinstance(error, Exception):
                raise LocalStackError(died) from error
            if isinstance(error, BotoCoreError | ClientError):
                reason = " ".join(str(error).split())
                raise LocalStackError(f"the embedded AWS could not be set up: {reason}") from error
            raise
        return stack

    @classmethod
    def launch(cls, port: int = 0, agent_environment: Mapping[str, str] | None = None) -> "LocalStack":
        """Start the embedded AWS with nothing in it; ``port`` 0 takes a free one. Raises LocalStackError."""
        secrets = Secrets(agent_environment=agent_environment or {})
        folder = Path(tempfile.mkdtemp(prefix="vigil-"))
        # Lambda functions inherit the server's environment, so it holds nothing of the host's but this.
        environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        environment |= {
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "LOG_LEVEL": "WARNING",
            "PYTHONPATH": _python_path(),
        }
        with (folder / "server.log").open("w") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", cls.SERVER),
                    *("--port", str(port)),
                    *("--folder", str(folder)),
                    *("--region", REGION),
                ],
                env=environment,
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # A group of its own: Ctrl-C reaches us alone, and stopping the group stops all that it started.
                start_new_session=True,
            )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with suppress(BrokenPipeError):
                # It ends when this pipe does.
                process.stdin.write(json.dumps(asdict(secrets)) + "\n")
                process.stdin.flush()
            line = process.stdout.readline()
        except BaseException:
            cls(process, port, folder, secrets).stop()
            raise
        if not line:
            process.wait()
            reason = (folder / "server.log").read_text().strip()[-2000:]
            shutil.rmtree(folder, ignore_errors=True)
            raise LocalStackError(reason or f"the embedded AWS ended with exit code {process.returncode}")
        return cls(process, json.loads(line)["port"], folder, secrets)

    def _deploy(self, assembly: Path, parameters: Mapping[str, str]) -> None:
        control = self.client("bedrock-agentcore-control")
        # The runtime must exist before the stack, whose parameter it is, and its role is made by the stack.
        runtime: dict[str, Any] = {
            "agentRuntimeArtifact": {
                "codeConfiguration": {
                    "code": {"s3": {"bucket": "local", "prefix": "vigil.agent"}},
                    "runtime": "PYTHON_3_13",
                    "entryPoint": ["vigil/agent/runtime.py"],
                }
            },
            "networkConfiguration": {"networkMode": "PUBLIC"},
            # What a user passes on to the agent is not among them: GetAgentRuntime tells them to everybody.
            "environmentVariables": {
                variable: parameters[name] for name, variable in _OF_THE_RUNTIME.items() if name in parameters
            },
        }
        created = control.create_agent_runtime(
            agentRuntimeName="vigil", roleArn="arn:aws:iam::000000000000:role/not-yet-deployed", **runtime
        )
        self.outputs = deploy(
            assembly,
            self.session(),
            {
                # The agent's role may invoke this model alone.
                Parameter.MODEL_ID: self.secrets.agent_environment[Env.MODEL] or STAND_IN,
                **parameters,
                Parameter.AGENT_RUNTIME_ARN: created["agentRuntimeArn"],
            },
        )
        control.update_agent_runtime(
            agentRuntimeId=created["agentRuntimeId"], roleArn=self.outputs[Output.AGENT_ROLE], **runtime
        )

    @property
    def endpoint(self) -> str:
        """The address of every service."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def agent_log(self) -> Path:
        """The file that the agent's processes log to."""
        return self.folder / AGENT_LOG

    def environment(self) -> dict[str, str]:
        """Return the standard AWS variables that lead any SDK or CLI here, as the account's root."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": self.secrets.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secrets.secret_access_key,
        }

    def session(self) -> "LocalSession":
        """Return a boto3 session whose clients reach this stack."""
        return LocalSession(self.environment())

    def client(self, service: str) -> Any:
        """Return a boto3 client of this stack."""
        return self.session().client(service)

    def how_it_died(self) -> str:
        """Return, on one line, how the server ended without being asked to; nothing if it did not."""
        code = self.process.poll()
        what = f"the embedded AWS ended with exit code {code}, and all its sessions are gone; its logs stay in"
        return "" if code is None else f"{what} {self.folder}"

    def stop(self) -> None:
        """Stop the server and everything it started, and remove its files, but not the logs of one that had died.

        Another Ctrl-C does not interrupt it: it would leave files, and what holds keys.
        """
        with _uninterrupted():
            self._stop()

    def _stop(self) -> None:
        died = self.process.poll() is not None
        stop_group(self.process.pid, lambda: self.process.poll() is not None)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        for entry in self.folder.iterdir() if died else [self.folder]:
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.suffix != ".log":
                entry.unlink()

    def __enter__(self) -> "LocalStack":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignore the signals that end a command; only a main thread has them."""
    endings = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    main = threading.current_thread() is threading.main_thread()
    before = {ending: signal.signal(ending, signal.SIG_IGN) for ending in endings if main}
    try:
        yield
    finally:
        for ending, handler in before.items():
            signal.signal(ending, handler)


class LocalSession(boto3.Session):
    """A boto3 session of the embedded AWS that ``environment`` leads to, whatever this process's own says."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # Profiles, configuration files, proxies and retries of the machine are for AWS.
        nowhere = (None, None, os.devnull, None)
        core = botocore.session.Session(
            {"profile": (None, None, None, None), "config_file": nowhere, "credentials_file": nowhere}
        )
        core.register_component("data_loader", _DATA)
        core.set_default_client_config(Config(proxies={}, retries={"mode": "standard", "total_max_attempts": 3}))
        keys = (environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
        super().__init__(*keys, region_name=environment["AWS_REGION"], botocore_session=core)
        self._endpoint = environment["AWS_ENDPOINT_URL"]

    def client(self, service: str, **kwargs: Any) -> Any:  # type: ignore[override]
        """Return a client of ``service`` in the embedded AWS."""
        return super().client(service, **{"endpoint_url": self._endpoint, **kwargs})  # type: ignore[call-overload]

    def resource(self, service: str, **kwargs: Any) -> Any:  # type: ignore[override]
        """Return a resource of ``service`` in the embedded AWS."""
        return super().resource(service, **{"endpoint_url": self._endpoint, **kwargs})  # type: ignore[call-overload]


def check_agent(environment: Mapping[str, str]) -> None:
    """Raise MissingSetting unless the model and the agent that ``environment`` names, if it does, can be used.

    The agent is imported in a process with what its own has, which takes some seconds: importing runs its code.
    """
    if Env.MODEL in environment:
        check_model(environment[Env.MODEL])
        _check_key(environment)
    if Env.AGENT not in environment:
        return
    path = environment[Env.AGENT]
    given = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ}
    given |= {"AWS_REGION": REGION, **environment, "PYTHONPATH": _python_path()}
    command = [sys.executable, "-P", "-c", _IMPORT, path]
    done = subprocess.run(command, env=given, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"its module ends Python with {done.returncode}"]
        raise MissingSetting(f"the agent {path} cannot be used: {said[-1].removeprefix(_REFUSED)}")


def _check_key(environment: Mapping[str, str]) -> None:
    provider, slash, _ = environment[Env.MODEL].partition("/")
    name = f"{provider.upper()}_API_KEY"
    # Or what the provider takes instead, such as ANTHROPIC_AUTH_TOKEN. Ollama asks for none.
    if slash and provider in ("anthropic", "openai") and not any(n.startswith(provider.upper()) for n in environment):
        raise MissingSetting(f"--model {environment[Env.MODEL]} needs a key: set {name}, and pass --agent-env {name}")


_IMPORT = "import sys; from vigil.agent.worker import load_agent; load_agent(sys.argv[1])"
_REFUSED = f"{MissingSetting.__module__}.{MissingSetting.__name__}: "


def _python_path() -> str:
    """Return where custom agents are found: what the user named, and the project.

    Never the current folder, in which another user may have put a module.
    """
    named = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return os.pathsep.join([*named, str(PROJECT)])


def stop_group(pid: int, ended: Callable[[], bool], seconds: float = 8) -> None:
    """Ask the process group of ``pid`` to end; after ``seconds``, or when its leader has ended, make it."""

    try:
        os.killpg(pid, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while not ended() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass

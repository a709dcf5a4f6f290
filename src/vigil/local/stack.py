"""The local stack: start the embedded AWS, deploy the template, seed the sample account, and stop all of it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from vigil.agent.models import PROVIDERS, SCRIPTED_MODEL, check_model
from vigil.agent.package import offered
from vigil.agent.session import BOTOCORE_DATA
from vigil.errors import LocalStackError, MissingSetting
from vigil.local import AGENT_LOG, REGION, Secrets, inherited
from vigil.local.deploy import PROJECT, deploy, synthesize
from vigil.names import Env, Output, Parameter

STATE = Path(".vigil")
_RUNTIME_PARAMETERS = ("BUDGET_DOLLARS", "MAX_SCAN_DOLLARS", "MAX_ATTEMPTS", "HEARTBEAT_SECONDS", "PROGRESS_SECONDS")
"""Names in Parameter and in Env of what the template would give to the runtime if it created the runtime."""


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignore the signals that end a command; only the main thread gets them."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    is_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in numbers if is_main}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@dataclass
class LocalStack:
    """A running embedded AWS with Vigil deployed in it. A context manager: leaving it stops everything."""

    SERVER: ClassVar[str] = "vigil.local.server"  # the module that is the embedded AWS; a subclass may name another
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
        """Start, deploy and seed; ``port`` 0 takes a free one. ``progress`` is called with each step in a few words.

        ``agent_environment`` is all that the agent gets beside its role's credentials; without VIGIL_MODEL in it, the
        scripted model answers. ``parameters`` are the template's. After a LocalStackError, everything is stopped again.
        """
        # First: a port that is taken fails at once, and a synthesis takes long.
        progress("starting the embedded AWS")
        stack = cls.launch(port, {Env.MODEL: SCRIPTED_MODEL, **(agent_environment or {})})
        try:
            progress("synthesising the stack")
            assembly = synthesize(PROJECT / STATE / "synth")
            progress("deploying the template" + (" and seeding the sample account" if sample_account else ""))
            with ThreadPoolExecutor() as pool:
                deployed = pool.submit(stack._deploy, assembly, parameters or {})
                if sample_account:
                    # A third of its time goes into checks of what is known to be well formed.
                    unchecked = Config(parameter_validation=False)
                    seeding = partial(stack.session().client, config=unchecked)
                    offered("seed_sample_account")(seeding, datetime.now(UTC))
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
        # Lambda functions inherit the server's environment, so it holds only these of this machine's variables.
        own = {"HOME": str(folder), "TMPDIR": str(folder), "LOG_LEVEL": "WARNING", "PYTHONPATH": _python_path()}
        with (folder / "server.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", cls.SERVER, "--port", str(port), "--folder", str(folder)],
                env={**inherited("PATH", "LANG"), **own},
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # A group of its own: Ctrl-C reaches this process only, and ending the group ends all that it started.
                start_new_session=True,
            )
        assert process.stdin is not None
        assert process.stdout is not None
        stack = cls(process, port, folder, secrets)
        try:
            with suppress(BrokenPipeError):
                # The server ends when this pipe ends.
                print(json.dumps(asdict(secrets)), file=process.stdin, flush=True)
            line = process.stdout.readline()
        except BaseException:
            stack.stop()
            raise
        if not line:
            process.wait()
            reason = (folder / "server.log").read_text().strip()[-2000:]
            shutil.rmtree(folder, ignore_errors=True)
            raise LocalStackError(reason or f"the embedded AWS ended with exit code {process.returncode}")
        stack.port = json.loads(line)["port"]
        return stack

    def _deploy(self, assembly: Path, parameters: Mapping[str, str]) -> None:
        control = self.client("bedrock-agentcore-control")
        code = {"code": {"s3": {"bucket": "local", "prefix": "vigil.agent"}}, "runtime": "PYTHON_3_13"}
        # The runtime must exist before the stack, whose parameter it is, and its role is made by the stack.
        runtime: dict[str, Any] = {
            "agentRuntimeArtifact": {"codeConfiguration": {**code, "entryPoint": ["vigil/agent/runtime.py"]}},
            "networkConfiguration": {"networkMode": "PUBLIC"},
            # Without the user's own variables for the agent: GetAgentRuntime shows these to every caller.
            "environmentVariables": {
                Env[name]: parameters[Parameter[name]] for name in _RUNTIME_PARAMETERS if Parameter[name] in parameters
            },
        }
        no_role = "arn:aws:iam::000000000000:role/not-yet-deployed"
        created = control.create_agent_runtime(agentRuntimeName="vigil", roleArn=no_role, **runtime)
        # The agent's role may invoke this model alone.
        model = self.secrets.agent_environment[Env.MODEL] or SCRIPTED_MODEL
        given = {Parameter.MODEL_ID: model, **parameters, Parameter.AGENT_RUNTIME_ARN: created["agentRuntimeArn"]}
        self.outputs = deploy(assembly, self.session(), given)
        role = self.outputs[Output.AGENT_ROLE]
        control.update_agent_runtime(agentRuntimeId=created["agentRuntimeId"], roleArn=role, **runtime)

    @property
    def endpoint(self) -> str:
        """The address of every service."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def agent_log(self) -> Path:
        """The file that the agent's processes log to."""
        return self.folder / AGENT_LOG

    def environment(self) -> dict[str, str]:
        """Return the standard AWS variables with which any SDK or CLI reaches this stack, as the account's root."""
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
        """Return one line about how the server ended on its own; "" while it runs."""
        code = self.process.poll()
        ended = f"the embedded AWS ended with exit code {code}, and all its sessions are gone"
        return "" if code is None else f"{ended}; its logs stay in {self.folder}"

    @_uninterrupted()
    def stop(self) -> None:
        """Stop the server and everything it started, and remove its files; the logs stay if the server had died.

        Another Ctrl-C does not interrupt this: files and processes with keys would remain.
        """
        died = self.process.poll() is not None
        # Leaving the process waits for its end and closes its pipes.
        with self.process, suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(8)
            # What it started may remain in its group.
            os.killpg(self.process.pid, signal.SIGKILL)
        for entry in self.folder.iterdir() if died else [self.folder]:
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.suffix != ".log":
                entry.unlink()

    def __enter__(self) -> "LocalStack":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class LocalSession(boto3.Session):
    """A boto3 session of the embedded AWS that ``environment`` names; ignores this process's own environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # Profiles, configuration files, proxies and retries of the machine are for AWS.
        none, no_file = (None, None, None, None), (None, None, os.devnull, None)
        core = botocore.session.Session({"profile": none, "config_file": no_file, "credentials_file": no_file})
        core.register_component("data_loader", BOTOCORE_DATA)
        core.set_default_client_config(Config(proxies={}, retries={"mode": "standard", "total_max_attempts": 3}))
        keys = (environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
        super().__init__(*keys, region_name=environment["AWS_REGION"], botocore_session=core)
        self._endpoint = environment["AWS_ENDPOINT_URL"]

    def client(self, service: str, **kwargs: Any) -> Any:  # type: ignore[override]
        """Return a client of ``service`` in the embedded AWS; a resource of boto3 is made from one."""
        kwargs["endpoint_url"] = kwargs.get("endpoint_url") or self._endpoint
        return super().client(service, **kwargs)  # type: ignore[call-overload]


def check_agent(environment: Mapping[str, str]) -> None:
    """Raise MissingSetting unless the model and the agent that ``environment`` may name can be used.

    The agent is imported in a process with the agent's environment, which takes some seconds: importing runs its code.
    """
    if (model := environment.get(Env.MODEL)) is not None:
        check_model(model)
        provider, slash, _ = model.partition("/")
        key = PROVIDERS[provider].key if slash and provider in PROVIDERS else None
        # Another variable of the provider may replace the key, such as ANTHROPIC_AUTH_TOKEN.
        if key is not None and not any(name.startswith(provider.upper()) for name in environment):
            raise MissingSetting(f"--model {model} needs a key: set {key}, and pass --agent-env {key}")
    if (path := environment.get(Env.AGENT)) is None:
        return
    env = {**inherited("PATH", "HOME", "LANG", "TZ"), "AWS_REGION": REGION, **environment, "PYTHONPATH": _python_path()}
    command = [sys.executable, "-P", "-c", _IMPORT, path]
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"its module ends Python with {done.returncode}"]
        raise MissingSetting(f"the agent {path} cannot be used: {lines[-1].removeprefix(_REFUSED)}")


_IMPORT = "import sys; from vigil.agent.worker import load_agent; load_agent(sys.argv[1])"
_REFUSED = f"{MissingSetting.__module__}.{MissingSetting.__name__}: "


def _python_path() -> str:
    """Return the user's PYTHONPATH and the project; never the current folder, where another user may put a module."""
    paths = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return os.pathsep.join([*paths, str(PROJECT)])

"""What is uploaded: the few modules of the Lambda functions, and the agent's package for AgentCore."""

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.support import Workflow, ended, runtime_process
from vigil.deployment import Deployment
from vigil.local.deploy import PROJECT
from vigil.local.stack import LocalStack
from vigil.names import STACK, Env, Output
from vigil.session import Status

LAMBDA_MODULES = {
    *("__init__", "attempt", "attributes", "dead_letter", "errors", "invoker", "journal", "journal_reader", "line"),
    *("names", "notifier", "reconciler", "redact", "session", "settings", "step", "table", "text"),
}
SDK = {"boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six"}


def asset(assembly: Path, name: str) -> Path:
    """Return the folder of the asset that belongs to the construct ``name``."""
    files = json.loads((assembly / f"{STACK}.assets.json").read_text())["files"]
    (source,) = (file["source"]["path"] for file in files.values() if file["displayName"] == name)
    return assembly / source


@pytest.fixture
def package(bundled: Path) -> Path:
    return asset(bundled, "Agent/Runtime/AgentRuntimeArtifact")


def test_the_agents_package_is_built_for_agentcore(package: Path) -> None:
    libraries = [path for path in package.rglob("*") if ".so" in path.suffixes]
    assert libraries
    for library in libraries:
        # The machine field of an ELF header: 0xB7 is AArch64.
        assert library.read_bytes()[18:20] == b"\xb7\x00", library
        assert "cpython" not in library.name or ".cpython-313-aarch64-" in library.name


def test_the_agents_package_fits(package: Path) -> None:
    """AgentCore takes 250 MB zipped; the package is below that before it is."""
    assert sum(path.stat().st_size for path in package.rglob("*") if path.is_file()) < 250_000_000


def test_the_agents_package_holds_the_agent_and_no_client(package: Path) -> None:
    held = {path.name for path in (package / "vigil").iterdir()}
    assert not held & {
        "local",
        "cli",
        "console",
        "session_reader.py",
        "download.py",
        "watch.py",
        "deployment.py",
        "invoker.py",
        "reconciler.py",
        "notifier.py",
    }
    assert not list(package.rglob("ministack"))


PROBE = """
import sys

def agent(session):
    files = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "vigil"]
    session.artifacts.write("report.md", chr(10).join(files))
    return lambda prompt: None
"""


def test_agents_package_alone_runs_a_session(
    package: Path, stack: LocalStack, workflow: Workflow, deployment: Deployment, tmp_path: Path
) -> None:
    # Its dependencies are for another machine; take those of this one.
    shutil.copytree(package / "vigil", tmp_path / "vigil")
    shutil.copyfile(package / "main.py", tmp_path / "main.py")
    (tmp_path / "probe.py").write_text(PROBE)
    session_id = str(uuid.uuid4())
    workflow.table.put_item(Item={**workflow.key(session_id), "status": Status.INITIATED})
    environment = {**stack.environment(), "PATH": os.environ["PATH"], Env.AGENT: "probe:agent"}
    with runtime_process(environment, "-B", str(tmp_path / "main.py")) as runtime:
        runtime.invoke(session_id, table=stack.outputs[Output.TABLE], bucket=stack.outputs[Output.BUCKET])
        session = ended(workflow, session_id)
    assert (session.status, session.error) == (Status.COMPLETED, None)
    files = deployment.artifacts(session_id).read("report.md").splitlines()
    assert str(tmp_path / "vigil" / "agent" / "worker.py") in files
    assert all(Path(file).is_relative_to(tmp_path) for file in files)


@pytest.fixture
def function(assembly: Path) -> Path:
    return asset(assembly, "AgentInvoker/Code")


def test_the_lambda_package_is_a_few_modules_and_the_sdk(function: Path, tmp_path: Path) -> None:
    files = {path.relative_to(function) for path in function.rglob("*") if path.is_file()}
    own = {path.as_posix() for path in files if path.parts[0] == "vigil"}
    assert own == {f"vigil/{module}.py" for module in LAMBDA_MODULES}
    assert {path.parts[0].removesuffix(".py") for path in files} == SDK | {"vigil"}
    # No compiled code, and no models of services that the functions do not call.
    assert {path.suffix for path in files} <= {".py", ".json", ".gz", ".pem", ".typed", ".js"}
    models = {path.parts[2] for path in files if path.match("botocore/data/*/*/*")}
    assert models == {"bedrock-agentcore", "dynamodb", "sns", "sqs", "stepfunctions"}
    assert Path(shutil.make_archive(f"{tmp_path}/asset", "zip", function)).stat().st_size < 1_500_000


def test_packages_built_with_umask_077_are_readable_by_all(bundled: Path) -> None:
    for package in bundled.glob("asset.*"):
        for path in package.rglob("*"):
            # Those of the folders are not in the archive.
            assert path.is_dir() or path.stat().st_mode & 0o777 == 0o644, path


CALLS = """
import json, logging, sys
logging.basicConfig(level=logging.INFO)
sys.path.insert(0, sys.argv[1])
import botocore
from vigil import invoker, reconciler
closed = reconciler.handler({}, None)["closed"]
answer = invoker.handler({"session_id": sys.argv[2]}, None)["answer"]
modules = sorted({name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names)
print(json.dumps([botocore.__version__, closed, answer, modules]))
"""


@pytest.mark.criterion("2.1")
def test_the_lambda_functions_run_with_nothing_but_their_package(
    function: Path, stack: LocalStack, workflow: Workflow, deployment: Deployment
) -> None:
    """Every call of theirs, by the SDK in the package: Query, DescribeExecution, UpdateItem, Stop, Invoke."""
    session_id = str(uuid.uuid4())
    machine = stack.outputs[Output.STATE_MACHINE]
    execution = f"{machine.replace(':stateMachine:', ':execution:')}:never-started"
    record = {"status": Status.INITIATED, "start_time": "2026-01-01T00:00:00.000Z", "execution_arn": execution}
    workflow.table.put_item(Item={**workflow.key(session_id), **record})
    found = {Env.TABLE: Output.TABLE, Env.BUCKET: Output.BUCKET, Env.AGENT_RUNTIME_ARN: Output.AGENT_RUNTIME}
    variables = {Env.STATE_MACHINE_ARN: machine, **{name: stack.outputs[output] for name, output in found.items()}}
    # -S: no site-packages; -I: no variables of Python's, no working directory.
    words = [sys.executable, "-I", "-S", "-B", "-c", CALLS, str(function), session_id]
    done = subprocess.run(words, env={**stack.environment(), **variables}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    version, closed, answer, modules = json.loads(done.stdout)
    assert (version, answer) == (pinned("dev.txt")["botocore"], "accepted")
    # A sweep also closes what other tests of this stack have left open.
    assert session_id in closed
    assert "when calling the StopRuntimeSession operation: no such runtime session" in done.stderr
    assert set(modules) <= {*SDK, "vigil", "__main__", "__mp_main__"}
    session = deployment.journal.get(session_id)
    assert session.error is not None
    assert session.error.code == "WorkflowEnded"


def pinned(lock: str) -> dict[str, str]:
    """Return the version of each package in the lock."""
    text = (PROJECT / "requirements" / lock).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", text, flags=re.MULTILINE))


def test_the_agent_runs_the_same_versions_on_aws_as_here() -> None:
    here = pinned("dev.txt")
    on_aws = pinned("agent.txt")
    assert {"boto3", "strands-agents", "bedrock-agentcore"} <= set(on_aws)
    assert {name: here.get(name) for name in on_aws} == on_aws


def test_every_npm_package_is_locked_by_hash_without_an_address() -> None:
    text = (PROJECT / "requirements" / "package-lock.json").read_text(encoding="utf-8")
    wanted = json.loads((PROJECT / "requirements" / "package.json").read_text(encoding="utf-8"))["dependencies"]
    packages = json.loads(text)["packages"]
    assert packages.pop("")["dependencies"] == wanted
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    # It would be the one of a registry that not everybody uses.
    assert "resolved" not in text


@pytest.mark.parametrize("name", ["Makefile", "README.md", "LOCAL_DEVELOPMENT.md", ".ci/run"])
def test_nothing_is_fetched_without_a_hash(name: str) -> None:
    text = (PROJECT / name).read_text(encoding="utf-8")
    fetching = re.findall(r".*(?:npx|npm exec|npm install|pip install|curl|wget|uvx).*", text)
    hashed = ("--require-hashes", "--no-deps --no-build-isolation --editable .", "--package-lock-only")
    assert [line for line in fetching if not any(words in line for words in hashed)] == []

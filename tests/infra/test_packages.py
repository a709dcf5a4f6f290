"""What is uploaded: the few modules of the Lambda functions, and the agent's package for AgentCore."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.support import Workflow, runtime_process, until
from vigil.deployment import Deployment
from vigil.local.deploy import PROJECT, _zipped
from vigil.local.stack import LocalStack
from vigil.names import STACK, Env, Output
from vigil.session import Status

LAMBDA_MODULES = {
    *("__init__", "errors", "invoker", "journal", "names", "reconciler", "session", "settings", "wakeup"),
}
BOTO = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six")


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
    assert (package / "vigil" / "agent" / "prompt.md").is_file()
    held = {path.name for path in (package / "vigil").iterdir()}
    assert not held & {"local", "cli.py", "watch.py", "deployment.py", "invoker.py", "reconciler.py"}
    assert not list(package.rglob("ministack"))


PROBE = """
import sys

def agent(session):
    files = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "vigil"]
    session.artifacts.write("report.md", chr(10).join(files))
    return lambda prompt: None
"""


def test_the_agents_package_runs_a_session_with_nothing_else_of_vigil(
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
        session = until(lambda: (found := workflow.session(session_id)) and found.terminal and found)
    assert (session.status, session.error) == (Status.COMPLETED, None)
    files = deployment.artifacts(session_id).read("report.md").splitlines()
    assert str(tmp_path / "vigil" / "agent" / "worker.py") in files
    assert all(Path(file).is_relative_to(tmp_path) for file in files)


@pytest.fixture
def function(assembly: Path) -> Path:
    return asset(assembly, "AgentInvoker/Code")


def test_the_lambda_package_is_a_few_modules_and_tiny(function: Path) -> None:
    files = {path.relative_to(function).as_posix() for path in function.rglob("*") if path.is_file()}
    assert files == {f"vigil/{module}.py" for module in LAMBDA_MODULES}
    assert len(_zipped(function)) <= 100_000


@pytest.mark.criterion("2.1")
def test_the_lambda_function_runs_with_nothing_but_its_package_and_boto3(function: Path, tmp_path: Path) -> None:
    for name in BOTO:
        found = importlib.util.find_spec(name)
        assert found is not None
        assert found.origin is not None
        source = Path(found.origin)
        source = source.parent if source.name == "__init__.py" else source
        (tmp_path / source.name).symlink_to(source)
    script = f"""
import sys
sys.path[:0] = [{str(function)!r}, {str(tmp_path)!r}]
import vigil.reconciler
from vigil.errors import InvalidSessionId
from vigil.invoker import handler
try:
    handler({{"session_id": "short"}}, None)
except InvalidSessionId:
    pass
print(*sorted({{name.split(".")[0] for name in sys.modules}} - sys.stdlib_module_names))
print(*(name for name in sys.modules if name.startswith("vigil")))
"""
    # -S: no site-packages; -I: no variables of Python's, no working directory. No AWS settings in the environment.
    environment = {Env.TABLE: "table", Env.BUCKET: "bucket", Env.AGENT_RUNTIME_ARN: "arn"}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", script], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    others, own = (set(line.split()) for line in done.stdout.splitlines())
    assert others <= {*BOTO, "vigil", "__main__", "__mp_main__"}
    assert own == {"vigil"} | {f"vigil.{module}" for module in LAMBDA_MODULES - {"__init__"}}
    assert json.loads(done.stderr)["session_id"] == "short"


def test_the_agent_runs_the_same_versions_on_aws_as_here() -> None:
    def pinned(lock: str) -> dict[str, str]:
        text = (PROJECT / "requirements" / lock).read_text(encoding="utf-8")
        return dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", text, flags=re.MULTILINE))

    here = pinned("dev.txt")
    on_aws = pinned("agent.txt")
    assert {"boto3", "strands-agents", "bedrock-agentcore"} <= set(on_aws)
    assert {name: here.get(name) for name in on_aws} == on_aws


def test_every_package_of_npm_is_locked_with_its_hash_and_without_an_address() -> None:
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
    fetching = re.findall(
        r".*(?:npx|npm exec|npm install|pip install|curl|wget|uvx).*", (PROJECT / name).read_text(encoding="utf-8")
    )
    hashed = ("--require-hashes", "--no-deps --no-build-isolation --editable .", "--package-lock-only")
    assert [line for line in fetching if not any(words in line for words in hashed)] == []

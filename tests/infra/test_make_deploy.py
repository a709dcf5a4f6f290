"""``make bootstrap``, ``deploy`` and ``destroy``, with the real CDK CLI, against an account of the embedded AWS."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.documents import checkout
from tests.support import BIN, command
from vigil.local.deploy import PROJECT
from vigil.local.stack import LocalStack
from vigil.names import STACK, Parameter

pytestmark = pytest.mark.takes(30)

BUILT = ("--old-file=synth", "--old-file=package")


@pytest.fixture
def account() -> Iterator[LocalStack]:
    """An embedded AWS of its own: stacks have one name in an account."""
    account = LocalStack.launch()
    yield account
    account.stop()


@pytest.fixture
def folder(bundled: Path, tmp_path: Path) -> Path:
    """A checkout in which ``make package`` has run; of the agent's dependencies, which take long to zip, it has one."""
    folder = checkout(tmp_path / "checkout")
    shutil.copytree(bundled, folder / "cdk.out")
    (agent,) = (path.parent for path in (folder / "cdk.out").glob("asset.*/main.py"))
    kept = {"main.py", "strands", *(path.name for path in (PROJECT / "src").iterdir())}
    for entry in agent.iterdir():
        if entry.name not in kept:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    return folder


@pytest.mark.parametrize(("target", "builds"), [("bootstrap", ""), ("deploy", "VIGIL_BUNDLE=1 "), ("destroy", "")])
def test_what_the_cdk_cli_needs_is_built_first(target: str, builds: str) -> None:
    printed = subprocess.run(["make", "--dry-run", target], cwd=PROJECT, capture_output=True, text=True, check=True)
    done = [line for line in printed.stdout.splitlines() if re.search(r"\bapp\.py$|/cdk ", line)]
    assert done[0] == f"{builds}.venv/bin/python app.py"
    assert [line.split()[:4] for line in done[1:]] == [[".venv/npm/node_modules/.bin/cdk", "--app", "cdk.out", target]]


def test_the_stack_is_deployed_and_removed_by_the_cdk_cli(account: LocalStack, folder: Path) -> None:
    environment = {
        # Nothing that leads to another AWS.
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        **account.environment(),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "CI": "true",
        "CDK_DISABLE_CLI_TELEMETRY": "true",
    }

    def make(*words: str) -> None:
        done = subprocess.run(["make", *BUILT, *words], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    make("bootstrap")
    container = {"containerUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/x:1"}
    runtime = account.client("bedrock-agentcore-control").create_agent_runtime(
        agentRuntimeName="given",
        roleArn="arn:aws:iam::000000000000:role/given",
        agentRuntimeArtifact={"containerConfiguration": container},
        networkConfiguration={"networkMode": "PUBLIC"},
    )["agentRuntimeArn"]
    options = {
        Parameter.AGENT_RUNTIME_ARN: runtime,
        # With characters that mean something to make, to the shell and to the CLI.
        Parameter.SCHEDULE: "cron(0 8 ? * MON *)",
        Parameter.SCHEDULE_DETAIL: '{"days": 7, "note": "a = b, c"}',
        Parameter.NOTIFY_EMAIL: "operator@example.org",
    }
    make("deploy", "ARGS=" + " ".join(f"--parameters {name}='{value}'" for name, value in options.items()))
    assert command(account, "vigil", "sessions").stdout.strip() == "no sessions"
    shown = command(account, "vigil", "schedule").stdout.splitlines()
    assert shown[0].split(maxsplit=1) == ["expression", "cron(0 8 ? * MON *)"]
    assert shown[2].split(maxsplit=1) == ["detail", '{"days": 7, "note": "a = b, c"}']
    make("destroy")
    with pytest.raises(ClientError, match="does not exist"):
        account.client("cloudformation").describe_stacks(StackName=STACK)

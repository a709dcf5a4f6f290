"""``make bootstrap``, ``deploy`` and ``destroy``, with the real CDK CLI, against an account of the embedded AWS."""

import os
import subprocess
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from tests.support import BIN, command
from vigil.local.deploy import PROJECT
from vigil.local.stack import LocalStack
from vigil.names import STACK, Parameter

pytestmark = pytest.mark.takes(40)


@pytest.fixture
def account() -> Iterator[LocalStack]:
    """An embedded AWS of its own: stacks have one name in an account."""
    account = LocalStack.launch()
    yield account
    account.stop()


def test_the_stack_is_deployed_and_removed_by_the_cdk_cli(account: LocalStack) -> None:
    environment = {
        # Whatever leads uv and npm to their registries, and nothing that leads to another AWS.
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        **account.environment(),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "CI": "true",
        # CDK's own validation takes longer than the synthesis; test_nag asks it.
        "CDK_VALIDATION": "false",
    }

    def make(*words: str) -> None:
        done = subprocess.run(["make", *words], cwd=PROJECT, env=environment, capture_output=True, text=True)
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
    # The template is there already.
    make("--old-file=synth", "destroy")
    with pytest.raises(ClientError, match="does not exist"):
        account.client("cloudformation").describe_stacks(StackName=STACK)

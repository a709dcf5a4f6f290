"""Secrets of the analysed functions and of the agent are written nowhere and sent to no model."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lambda_costs.security.planted import API_KEY, NAME, PLANTED
from tests.lambda_costs.security.server import LOG
from tests.support import Workflow, command
from vigil.deployment import Deployment
from vigil.local.stack import LocalStack
from vigil.names import Output

ACCESS_KEY = re.compile(rb"ASIA[0-9A-Z]{16}")
"""Of temporary credentials, such as the agent's."""

Written = dict[str, bytes]


def objects(stack: LocalStack) -> Iterator[bytes]:
    """Yield every version of every object in the bucket."""
    s3, bucket = stack.client("s3"), stack.outputs[Output.BUCKET]
    for version in s3.list_object_versions(Bucket=bucket)["Versions"]:
        yield s3.get_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])["Body"].read()


def history(workflow: Workflow, arn: str) -> Iterator[Any]:
    yield workflow.sfn.describe_execution(executionArn=arn)
    yield from workflow.sfn.get_paginator("get_execution_history").paginate(executionArn=arn)


def logs(stack: LocalStack) -> Iterator[Any]:
    """Yield the contents of Vigil's own log groups."""
    client = stack.client("logs")
    for group in client.describe_log_groups(logGroupNamePrefix="/aws/cloudformation/")["logGroups"]:
        yield from client.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])


def text(pages: Iterator[Any]) -> bytes:
    return json.dumps(list(pages), default=str).encode()


@pytest.fixture(scope="module")
def session_id(stack: LocalStack, deployment: Deployment) -> str:
    """A session of the cost agent, the first in the model's log."""
    (stack.folder / LOG).write_bytes(b"")
    return deployment.trigger({"functions": "orders-*"})


@pytest.fixture(scope="module")
def written(stack: LocalStack, workflow: Workflow, deployment: Deployment, session_id: str) -> Written:
    """Everything that the session wrote, by place."""
    outcome = command(stack, "vigil", "watch", session_id)
    assert outcome.returncode == 0, outcome.stderr
    arn = deployment.journal.get(session_id).execution_arn
    assert arn is not None
    return {
        "input and output of the model": (stack.folder / LOG).read_bytes(),
        "artifacts": b"\n".join(objects(stack)),
        "table": text(iter(workflow.table.scan()["Items"])),
        "execution": text(history(workflow, arn)),
        "log groups": text(logs(stack)),
        **{path.name: path.read_bytes() for path in stack.folder.glob("*.log")},
        "vigil watch": outcome.stdout.encode(),
        "vigil show": command(stack, "vigil", "show", session_id).stdout.encode(),
    }


def test_search_covers_every_place_where_a_session_writes(written: Written, session_id: str) -> None:
    assert NAME.encode() in written["input and output of the model"]
    assert NAME.encode() in written["artifacts"]
    for place in ("table", "execution", "log groups", "agent.log", "vigil show"):
        assert session_id.encode() in written[place], place


@pytest.mark.parametrize("kind", PLANTED)
def test_secret_of_a_function_is_nowhere(stack: LocalStack, written: Written, kind: str) -> None:
    secret = PLANTED[kind].encode()
    assert secret in text(readable(stack))
    assert [place for place, found in written.items() if secret in found] == []


def readable(stack: LocalStack) -> Iterator[Any]:
    """Yield what AWS returns about the function that holds the secrets, to show that they exist."""
    yield stack.client("lambda").get_function(FunctionName=NAME)
    for name in (NAME, "orders-export"):
        yield from stack.client("logs").get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}")


def test_secret_of_the_agent_is_nowhere(written: Written) -> None:
    found = {place: ACCESS_KEY.findall(text) + re.findall(API_KEY.encode(), text) for place, text in written.items()}
    assert not any(found.values()), found

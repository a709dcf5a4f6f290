"""The whole path: an event on the bus becomes a session, and its end is in the record, the execution and the bucket."""

import json
import subprocess
import sys

import pytest

from tests.support import Workflow, ended, put_event
from vigil.deployment import Deployment
from vigil.local.deploy import PROJECT
from vigil.local.stack import LocalStack
from vigil.session import Status


@pytest.mark.criterion("1.2", "1.3", "2.1", "2.2", "7.3", "7.4", "7.5")
def test_event_id_is_the_session_id_up_to_the_agent(
    stack: LocalStack, workflow: Workflow, deployment: Deployment
) -> None:
    event_id = put_event(stack, {"agent": "tells_environment"})
    ended(workflow, event_id)
    session = workflow.session(event_id)
    assert session is not None
    assert (session.status, session.error) == (Status.COMPLETED, None)
    assert session.report_uri == deployment.artifacts(event_id).uri("report.md")
    assert session.report_uri.startswith(f"s3://{stack.outputs['BucketName']}/sessions/{event_id}/")
    assert session.execution_arn is not None
    execution = workflow.ended(session.execution_arn)
    assert execution["status"] == "SUCCEEDED"
    assert json.loads(execution["input"])["session_id"] == event_id
    ended_with = {"session_id": event_id, "status": Status.COMPLETED, "report_uri": session.report_uri}
    assert json.loads(execution["output"]) == ended_with
    environment = json.loads(deployment.artifacts(event_id).read("environment.json"))
    assert environment["SESSION_ID"] == event_id
    assert environment["S3_BUCKET_NAME"] == stack.outputs["BucketName"]
    assert environment["DDB_TABLE_NAME"] == stack.outputs["TableName"]


def test_agent_sees_only_its_own_credentials(stack: LocalStack, workflow: Workflow, deployment: Deployment) -> None:
    _, session = workflow.run(detail={"agent": "tells_environment"})
    assert session is not None
    environment = json.loads(deployment.artifacts(session.session_id).read("environment.json"))
    assert set(environment) <= {
        *("SESSION_ID", "S3_BUCKET_NAME", "DDB_TABLE_NAME", "VIGIL_MODEL", "VIGIL_AGENT", "VIGIL_WORKER"),
        *("VIGIL_HEARTBEAT_SECONDS", "VIGIL_BUDGET_DOLLARS", "VIGIL_MAX_SCAN_DOLLARS"),
        *("AWS_REGION", "AWS_ENDPOINT_URL", "AWS_EC2_METADATA_DISABLED"),
        *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        *("PATH", "PYTHONPATH", "HOME", "TMPDIR", "LANG", "LC_CTYPE"),
        *added_by_the_machine(),
    }
    assert environment["HOME"] == str(stack.folder)


def added_by_the_machine() -> list[str]:
    """Return the names of the variables that a process has although it was started with none."""
    words = [sys.executable, "-c", "import os; print(*os.environ)"]
    return subprocess.run(words, env={}, capture_output=True, text=True).stdout.split()


def test_an_event_of_another_kind_starts_nothing(stack: LocalStack, workflow: Workflow) -> None:
    entries = [
        {"Source": "vigil", "DetailType": "Something else", "Detail": "{}"},
        {"Source": "other", "DetailType": "Run Agent", "Detail": "{}"},
    ]
    answer = stack.client("events").put_events(Entries=entries)
    # An event of ours that comes after them ends; theirs would have begun by then.
    _, session = workflow.run(detail={"agent": "hello_agent"})
    assert session is not None
    assert [workflow.session(entry["EventId"]) for entry in answer["Entries"]] == [None, None]


def test_15_line_agent_runs_the_whole_path(stack: LocalStack, workflow: Workflow, deployment: Deployment) -> None:
    event_id = put_event(stack, {"agent": "hello_agent"})
    ended(workflow, event_id)
    assert deployment.artifacts(event_id).read("report.md") == "# Hello"
    body = (PROJECT / "examples" / "hello_agent.py").read_text(encoding="utf-8").partition('"""\n\n')[2]
    assert len([line for line in body.splitlines() if line.strip()]) <= 15

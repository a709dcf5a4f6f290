"""The whole path: an event on the bus becomes a session, and its end is in the record, the execution and the bucket."""

import json
import subprocess
import sys

import pytest

from lambda_costs.sample_account import build
from tests.support import Workflow, command, until
from vigil.deployment import Deployment
from vigil.local.deploy import PROJECT
from vigil.local.stack import LocalStack
from vigil.session import HISTORY_PK_PREFIX, Failure, Session, Status


def put_event(stack: LocalStack, detail: object) -> str:
    """Publish the event with the plain AWS CLI; returns its id."""
    entry = {"Source": "vigil", "DetailType": "Run Agent", "Detail": json.dumps(detail)}
    done = command(stack, "aws", "events", "put-events", "--entries", json.dumps([entry]))
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["Entries"][0]["EventId"])


def ended(workflow: Workflow, session_id: str) -> Session:
    return until(lambda: (session := workflow.session(session_id)) and session.terminal and session)


@pytest.mark.criterion("1.2")
@pytest.mark.criterion("1.3")
@pytest.mark.criterion("2.1")
@pytest.mark.criterion("2.2")
@pytest.mark.criterion("7.3")
@pytest.mark.criterion("7.4")
@pytest.mark.criterion("7.5")
def test_the_id_of_an_event_from_the_aws_cli_is_the_session_id_all_the_way_to_the_agent(
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
    assert json.loads(execution["output"]) == {
        "session_id": event_id,
        "status": Status.COMPLETED,
        "report_uri": session.report_uri,
    }
    environment = json.loads(deployment.artifacts(event_id).read("environment.json"))
    assert environment["SESSION_ID"] == event_id
    assert environment["S3_BUCKET_NAME"] == stack.outputs["BucketName"]
    assert environment["DDB_TABLE_NAME"] == stack.outputs["TableName"]


def test_the_agent_sees_its_own_credentials_and_nothing_of_the_host(
    stack: LocalStack, workflow: Workflow, deployment: Deployment
) -> None:
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
    done = subprocess.run(
        [sys.executable, "-c", "import os; print(*os.environ)"], env={}, capture_output=True, text=True
    )
    return done.stdout.split()


@pytest.mark.criterion("1.1")
@pytest.mark.criterion("1.4")
def test_the_cost_agent_journals_its_phases_and_reports_the_waste_that_is_there(
    workflow: Workflow, deployment: Deployment
) -> None:
    execution, session = workflow.run(detail={"days": 30})
    assert session is not None
    assert (execution["status"], session.status) == ("SUCCEEDED", Status.COMPLETED)
    phases = [(task.name, task.state) for task in deployment.journal.tasks(session.session_id)]
    assert phases == [(name, "COMPLETED") for name in ("inventory", "usage", "findings", "report")]
    artifacts = deployment.artifacts(session.session_id)
    findings = json.loads(artifacts.read("findings.json"))
    found = {(item["function"], item["kind"]) for item in findings["findings"]}
    planted, tolerated = (
        {(item.function, item.kind) for item in items} for items in (build().planted, build().tolerated)
    )
    assert found - tolerated == planted
    report = artifacts.read("report.md")
    assert "no language model" in report
    assert "access denied" not in report
    told = [item for item in findings["findings"] if item["savings"]["high"] == 0 or item["savings"]["high"] >= 0.01]
    assert len(told) > 20
    assert all(item["function"] in report for item in told)


def test_the_detail_of_the_event_narrows_the_analysis(stack: LocalStack, workflow: Workflow) -> None:
    # Functions that no other test asks about: the first analysis of them has none to be compared with.
    detail = {"functions": "invoices-*", "days": 14, "regions": ["us-east-1"], "max_scan_dollars": 1.5}
    event_id = put_event(stack, detail)
    ended(workflow, event_id)
    findings = json.loads(Deployment(stack.session()).artifacts(event_id).read("findings.json"))
    assert findings["request"] == detail
    assert {item["name"] for item in findings["functions"]} == {
        item.name for item in build().functions if item.name.startswith("invoices-")
    }
    assert findings["comparison"] is None
    # The same on another day: it is compared with the last one.
    (kept,) = [
        item
        for item in workflow.table.scan()["Items"]
        if item["PK"].startswith(HISTORY_PK_PREFIX) and item["SK"].endswith(event_id)
    ]
    workflow.table.put_item(Item={**kept, "SK": kept["SK"].replace(findings["window"]["end"], "2026-01-01")})
    event_id = put_event(stack, detail)
    ended(workflow, event_id)
    compared = json.loads(Deployment(stack.session()).artifacts(event_id).read("findings.json"))["comparison"]
    assert compared["since"] == findings["window"]["end"]
    assert set(compared["counts"].values()) == {0}


def test_an_event_may_not_let_an_analysis_cost_more_than_the_stack_allows(
    stack: LocalStack, workflow: Workflow
) -> None:
    session = ended(workflow, put_event(stack, {"max_scan_dollars": 1000}))
    said = "detail: max_scan_dollars must be a number from 0 to 2, the stack's MaxScanDollars"
    assert session.error == Failure("InvalidDetail", said)


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


def test_an_agent_of_ones_own_of_fifteen_lines_runs_the_whole_path(
    stack: LocalStack, workflow: Workflow, deployment: Deployment
) -> None:
    event_id = put_event(stack, {"agent": "hello_agent"})
    ended(workflow, event_id)
    assert deployment.artifacts(event_id).read("report.md") == "# Hello"
    source = (PROJECT / "examples" / "hello_agent.py").read_text(encoding="utf-8")
    body = source.partition('"""\n\n')[2]
    assert len([line for line in body.splitlines() if line.strip()]) <= 15

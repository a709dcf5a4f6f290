"""The path of a cost session: the event's detail narrows the analysis, and the report shows the waste that is there."""

import json
from datetime import UTC, datetime

import pytest

from benchmarks.findings.run import analyse
from lambda_costs.sample_account import build
from tests.support import Workflow, ended
from vigil.deployment import Deployment
from vigil.local.stack import LocalStack
from vigil.session import HISTORY_PK_PREFIX, Failure, Status


@pytest.mark.criterion("1.1", "1.4")
def test_cost_agent_records_its_phases_and_reports_all_planted_waste(
    workflow: Workflow, deployment: Deployment
) -> None:
    # The README's run shows the same for the whole account.
    execution, session = workflow.run(detail={"days": 30, "functions": "orders-*"})
    assert session is not None
    assert (execution["status"], session.status) == ("SUCCEEDED", Status.COMPLETED)
    phases = [(task.name, task.state) for task in deployment.journal.tasks(session.session_id)]
    assert phases == [(name, "COMPLETED") for name in ("inventory", "usage", "findings", "report")]
    artifacts = deployment.artifacts(session.session_id)
    findings = json.loads(artifacts.read("findings.json"))
    found = {(item["function"], item["kind"]) for item in findings["findings"]}
    both = (build().planted, build().tolerated)
    planted, tolerated = (
        {(item.function, item.kind) for item in items if item.function.startswith("orders-")} for items in both
    )
    assert found - tolerated == planted
    report = artifacts.read("report.md")
    assert "no language model" in report
    assert "access denied" not in report
    told = [item for item in findings["findings"] if item["savings"]["high"] == 0 or item["savings"]["high"] >= 0.01]
    assert len(told) > 3
    assert all(item["function"] in report for item in told)


def test_the_detail_of_the_event_narrows_the_analysis(workflow: Workflow, deployment: Deployment) -> None:
    # Functions that no other test asks about: the first analysis of them has none to be compared with.
    detail = {"functions": "invoices-*", "days": 3, "regions": ["us-east-1"], "max_scan_dollars": 1.5}
    event_id = deployment.trigger(detail)
    ended(workflow, event_id)
    findings = json.loads(deployment.artifacts(event_id).read("findings.json"))
    assert findings["request"] == detail
    invoices = {item.name for item in build().functions if item.name.startswith("invoices-")}
    assert {item["name"] for item in findings["functions"]} == invoices
    assert findings["comparison"] is None
    # The same on another day: it is compared with the last one.
    history = [item for item in workflow.table.scan()["Items"] if item["PK"].startswith(HISTORY_PK_PREFIX)]
    (kept,) = [item for item in history if item["SK"].endswith(event_id)]
    workflow.table.put_item(Item={**kept, "SK": kept["SK"].replace(findings["window"]["end"], "2026-01-01")})
    event_id = deployment.trigger(detail)
    ended(workflow, event_id)
    compared = json.loads(deployment.artifacts(event_id).read("findings.json"))["comparison"]
    assert compared["since"] == findings["window"]["end"]
    assert set(compared["counts"].values()) == {0}


def test_a_second_analysis_writes_the_same_bytes(stack: LocalStack) -> None:
    now = datetime.now(UTC)
    first, second = (analyse(stack, now, "orders-*") for _ in range(2))
    assert len(json.loads(first)["findings"]) > 5
    assert first == second


def test_event_cannot_raise_the_scan_limit_of_the_stack(workflow: Workflow, deployment: Deployment) -> None:
    session = ended(workflow, deployment.trigger({"max_scan_dollars": 1000}))
    said = "detail: max_scan_dollars must be a number from 0 to 2, the stack's MaxScanDollars"
    assert session.error == Failure("InvalidDetail", said)


def test_a_detail_that_the_agent_refuses_fails_with_its_reason(workflow: Workflow, deployment: Deployment) -> None:
    session = ended(workflow, deployment.trigger({"days": "30", "dais": 30}))
    assert session.error is not None
    assert session.error.code == "InvalidDetail"
    assert "days must be a whole number from 1 to 90" in session.error.message

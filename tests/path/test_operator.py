"""What the commands call with the operator's own credentials is what docs/permissions.md lists."""

import json
import re
import uuid
from typing import Any

import pytest

from tests.support import Workflow
from vigil import watch as watching
from vigil.deployment import Deployment
from vigil.errors import SessionNotFound
from vigil.local.deploy import PROJECT
from vigil.local.stack import LocalStack
from vigil.names import EVENT_DETAIL_TYPE, EVENT_SOURCE, Output
from vigil.watch import await_end, watch

_IAM = {"sfn": "states", "eventbridge": "events"}
# A batch is checked as its entries are.
_ACTIONS = {"ChangeMessageVisibilityBatch": "ChangeMessageVisibility"}


def test_an_operator_needs_what_the_page_lists(
    stack: LocalStack, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: set[str] = set()

    def note(model: Any, **_: Any) -> None:
        service = model.service_model.service_id.hyphenize()
        called.add(f"{_IAM.get(service, service)}:{_ACTIONS.get(model.name, model.name)}")

    session = stack.session()
    session.events.register("before-call", note)
    deployment = Deployment(session)
    session_id = deployment.trigger({"agent": "hello_agent"})
    list(watch(deployment, session_id))
    deployment.journal.recent()
    deployment.count_dead_letters()
    deployment.journal.get(session_id)
    deployment.artifacts(session_id).read("report.md")
    waits, _ = workflow.start(detail={"agent": "waits"})
    # Until its workflow waits, and so will be woken.
    next(moment for moment in watch(deployment, waits) if getattr(moment, "text", "") == "WaitForChange")
    deployment.stop(waits, "enough")
    await_end(deployment, waits)
    event = {"id": str(uuid.uuid4()), "source": EVENT_SOURCE, "detail-type": EVENT_DETAIL_TYPE, "detail": {}}
    stack.client("sqs").send_message(
        QueueUrl=stack.outputs[Output.DEAD_LETTERS],
        MessageBody=json.dumps({**event, "detail": {"agent": "hello_agent"}}),
    )
    assert [result.started for result in deployment.resend_dead_letters()] == [True]
    monkeypatch.setattr(watching, "APPEAR_SECONDS", 3.0)
    stack.client("sqs").send_message(QueueUrl=stack.outputs[Output.DEAD_LETTERS], MessageBody="no event")
    with pytest.raises(SessionNotFound):
        list(watch(deployment, str(uuid.uuid4())))
    stack.client("sqs").purge_queue(QueueUrl=stack.outputs[Output.DEAD_LETTERS])
    page = (PROJECT / "docs" / "permissions.md").read_text(encoding="utf-8")
    section = page.partition("## What an operator needs")[2].partition("\n## ")[0]
    assert called == set(re.findall(r"^\| ([a-z0-9-]+:\w+) \|", section, flags=re.MULTILINE))

import logging
import uuid
from typing import Any

import pytest

from tests.support import client_at, new_state_machine, refusing, until
from vigil.journal import Journal, wake
from vigil.local.stack import LocalStack
from vigil.session import Status


def test_final_write_wakes_the_workflow(embedded: LocalStack, table: Any, caplog: pytest.LogCaptureFixture) -> None:
    sfn, session_id = embedded.client("stepfunctions"), str(uuid.uuid4())
    item = {"PK": session_id, "SK": "SESSION", "status": Status.BUSY, "task_token": "{% $states.context.Task.Token %}"}
    arguments = {"TableName": table.name, "Item": {name: {"S": value} for name, value in item.items()}}
    put_item = "arn:aws:states:::aws-sdk:dynamodb:putItem.waitForTaskToken"
    states = {"Wait": {"Type": "Task", "Resource": put_item, "Arguments": arguments, "End": True}}
    allowed = {"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": table.table_arn}
    machine = new_state_machine(embedded, allowed, QueryLanguage="JSONata", StartAt="Wait", States=states)
    arn = sfn.start_execution(stateMachineArn=machine)["executionArn"]
    journal = Journal.open(embedded.session(), table.name)
    until(lambda: "Item" in table.get_item(Key={"PK": session_id, "SK": "SESSION"}))
    journal.complete(session_id, "s3://bucket/report.md")
    execution = until(lambda: (found := sfn.describe_execution(executionArn=arn))["status"] != "RUNNING" and found)
    assert (execution["status"], execution["output"]) == ("SUCCEEDED", "{}")
    # No execution waits with the token any longer.
    token = table.get_item(Key={"PK": session_id, "SK": "SESSION"})["Item"]["task_token"]
    with caplog.at_level(logging.INFO):
        wake(lambda: sfn, token)
    assert "the workflow was not woken: " in caplog.text
    assert "TaskDoesNotExist" in caplog.text


def test_a_wake_up_that_fails_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with refusing() as address, caplog.at_level(logging.INFO):
        wake(lambda: client_at(address, "stepfunctions"), "token")
    assert "the workflow was not woken: Could not connect" in caplog.text

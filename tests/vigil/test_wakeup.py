import json
import logging
import socket
import uuid
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.support import until
from vigil.journal import Journal, wake
from vigil.local.stack import REGION, LocalStack
from vigil.session import Status


def test_write_that_ends_the_session_wakes_its_workflow(
    embedded: LocalStack, table: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sfn, session_id = embedded.client("stepfunctions"), str(uuid.uuid4())
    item = {"PK": session_id, "SK": "SESSION", "status": Status.BUSY, "task_token": "{% $states.context.Task.Token %}"}
    wait = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:dynamodb:putItem.waitForTaskToken",
        "Arguments": {"TableName": table.name, "Item": {name: {"S": value} for name, value in item.items()}},
        "End": True,
    }
    role = embedded.client("iam").create_role(RoleName=f"role-{uuid.uuid4()}", AssumeRolePolicyDocument="{}")["Role"]
    allowed = {"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": table.table_arn}
    embedded.client("iam").put_role_policy(
        RoleName=role["RoleName"],
        PolicyName="only",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
    )
    machine = sfn.create_state_machine(
        name=f"machine-{uuid.uuid4()}",
        roleArn=role["Arn"],
        definition=json.dumps({"QueryLanguage": "JSONata", "StartAt": "Wait", "States": {"Wait": wait}}),
    )["stateMachineArn"]
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
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        client = boto3.client(
            "stepfunctions",
            endpoint_url=f"http://127.0.0.1:{refusing.getsockname()[1]}",
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}),
        )
        with caplog.at_level(logging.INFO):
            wake(lambda: client, "token")
    assert "the workflow was not woken: Could not connect" in caplog.text

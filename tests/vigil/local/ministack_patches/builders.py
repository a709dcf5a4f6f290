"""What the conformance tests of several services build: functions, state machines, and expected refusals."""

import io
import json
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support import until
from vigil.local.stack import LocalStack

ACCOUNT = "000000000000"
KEYED_BY_PK: Any = {
    "KeySchema": [{"AttributeName": "PK", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "PK", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}
"""What describes a table but for its name."""

Caller = Callable[..., Any]
Role = Callable[..., str]
State = dict[str, Any]

HANDLER = """
import os, time

def handler(event, context):
    time.sleep(event.get("sleep", 0))
    if "exit" in event:
        os._exit(event["exit"])
    if "raise" in event:
        raise type(event["raise"], (Exception,), {})("went wrong")
    return event
"""


@contextmanager
def refused(code: str, match: str | None = None) -> "Iterator[pytest.ExceptionInfo[ClientError]]":
    """Expect that AWS refuses what is done inside with the error ``code``."""
    with pytest.raises(ClientError, match=match) as raised:
        yield raised
    assert raised.value.response["Error"]["Code"] == code


def package(text: str) -> bytes:
    """Return the package of a function with one module."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("code.py", text)
    return packed.getvalue()


def create_function(embedded: LocalStack, role_arn: str) -> str:
    """Create a function that sleeps, exits or raises as its event says, or returns it; return its ARN."""
    code = {"Runtime": "python3.14", "Handler": "code.handler", "Code": {"ZipFile": package(HANDLER)}}
    awslambda, name = embedded.client("lambda"), f"function-{uuid.uuid4()}"
    return str(awslambda.create_function(FunctionName=name, Role=role_arn, **code)["FunctionArn"])


def invocation(function: str, payload: dict[str, Any], **more: Any) -> State:
    """Return a task that invokes a function and catches every error."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": function, "Payload": payload},
        "Catch": [{"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput %}", "Next": "Caught"}],
        **more,
    }


class Machines:
    """Runs state machines of one state; what that state catches ends in a second one, ``Caught``."""

    def __init__(self, embedded: LocalStack) -> None:
        self.sfn = embedded.client("stepfunctions")

    def create(self, role_arn: str, state: State) -> str:
        """Create a state machine and return its ARN."""
        states = {"Only": {**state, "End": True}, "Caught": {"Type": "Pass", "End": True}}
        definition = json.dumps({"QueryLanguage": "JSONata", "StartAt": "Only", "States": states})
        created = self.sfn.create_state_machine(name=f"machine-{uuid.uuid4()}", roleArn=role_arn, definition=definition)
        return str(created["stateMachineArn"])

    def start(self, role_arn: str, state: State) -> str:
        """Start an execution and return its ARN."""
        return str(self.sfn.start_execution(stateMachineArn=self.create(role_arn, state))["executionArn"])

    def ended(self, arn: str) -> Any:
        """Return the execution once it has ended."""
        return until(lambda: (found := self.sfn.describe_execution(executionArn=arn))["status"] != "RUNNING" and found)

    def run(self, role_arn: str, state: State) -> Any:
        """Run an execution to its end and return it."""
        return self.ended(self.start(role_arn, state))

    def events(self, arn: str) -> list[str]:
        """Return the types of the execution's events."""
        return [event["type"] for event in self.sfn.get_execution_history(executionArn=arn)["events"]]


TOO_DEEP = '{"a": ' * 100_000 + "1" + "}" * 100_000
NOT_JSON = ["nojson", "", "{", '{"a": NaN}', '{"a": -Infinity}', TOO_DEEP]

"""What tests of running sessions share."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from vigil.deployment import Deployment
from vigil.errors import SessionNotFound
from vigil.local.stack import LocalStack
from vigil.names import Output
from vigil.session import Session

T = TypeVar("T")
BIN = Path(sys.executable).parent


def command(stack: LocalStack | None, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of the virtual environment as a user would whose environment leads to ``stack``."""
    base = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": "/nonexistent", "COLUMNS": "200"}
    given = {**base, **(stack.environment() if stack else {}), **environment}
    return subprocess.run([str(BIN / words[0]), *words[1:]], env=given, capture_output=True, text=True, timeout=120)


def until(condition: Callable[[], T | None], seconds: float = 90) -> T:
    """Return what ``condition`` returns once that is true; fails loudly after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{condition} did not come true in {seconds} s"
        time.sleep(0.05)
    return value


class Workflow:
    """Starts executions of the deployed workflow and sees how they end."""

    def __init__(self, stack: LocalStack) -> None:
        self.outputs = stack.outputs
        self.sfn = stack.client("stepfunctions")
        self.table = stack.session().resource("dynamodb").Table(stack.outputs[Output.TABLE])
        self.journal = Deployment(stack.session()).journal

    def start(self, session_id: object = None, **given: object) -> tuple[str, str]:
        """Start an execution as the rule does; returns (session id, execution ARN)."""
        session_id = str(uuid.uuid4()) if session_id is None else session_id
        machine = self.outputs[Output.STATE_MACHINE]
        answer = self.sfn.start_execution(
            stateMachineArn=machine, input=json.dumps({"session_id": session_id, **given})
        )
        return str(session_id), answer["executionArn"]

    def ended(self, arn: str) -> Any:
        """Wait until the execution has ended and return its description."""

        def look() -> Any:
            execution = self.sfn.describe_execution(executionArn=arn)
            return execution if execution["status"] != "RUNNING" else None

        return until(look)

    def run(self, session_id: object = None, **given: object) -> tuple[Any, Session | None]:
        """Run a session to its end; returns (execution, record or None)."""
        session_id, arn = self.start(session_id, **given)
        return self.ended(arn), self.session(session_id)

    def session(self, session_id: str) -> Session | None:
        """Return the session's record, if there is one."""
        try:
            return self.journal.get(session_id)
        except SessionNotFound:
            return None

    def states(self, arn: str) -> list[str]:
        """Return the names of the states that the execution entered, in order."""
        pages = self.sfn.get_paginator("get_execution_history").paginate(executionArn=arn)
        events = [event for page in pages for event in page["events"]]
        return [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]

    def key(self, session_id: str) -> dict[str, str]:
        """Return the key of the session's record."""
        return {"PK": session_id, "SK": "SESSION"}

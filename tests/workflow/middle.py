"""Executions that begin in the middle, in a machine of the deployed states."""

import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support import Workflow
from vigil.attributes import iso
from vigil.names import Output
from vigil.session import Status

HELLO = {"agent": "hello_agent"}
FIRST = {"ticket": 0, "turn": 0, "refusals": 0, "refused": False, "at": 0, "step": 42, "code": "", "message": ""}


class Middle:
    """Machines that do what the deployed one does from some state on."""

    def __init__(self, workflow: Workflow, **timing: tuple[str, str]) -> None:
        """Take the deployed definition, with the second value of each ``timing`` in place of the first."""
        self.workflow = workflow
        deployed = workflow.sfn.describe_state_machine(stateMachineArn=workflow.outputs[Output.STATE_MACHINE])
        self.role = deployed["roleArn"]
        text = deployed["definition"]
        for name, (before, after) in timing.items():
            assert f"$floor({before})" in text, name
            text = text.replace(f"$floor({before})", f"$floor({after})")
        self.definition: dict[str, Any] = json.loads(text)
        self.states = [name for name, state in self.definition["States"].items() if state["Type"] != "Succeed"]
        variables = (
            *("session_id", "valid", "detail", "deadline", "status", "otherExecution"),
            *("report_uri", "lastHeartbeat", "error", "line", "attempt", "invoked", "taken", "mayContinue"),
        )
        assign = {name: f"{{% $states.input.variables.{name} %}}" for name in variables}
        into = [{"Condition": f"{{% $states.input.state = '{name}' %}}", "Next": name} for name in self.states]
        self.definition["States"]["Into"] = {"Type": "Choice", "Choices": [{**to, "Assign": assign} for to in into]}
        self.definition["StartAt"] = "Into"
        self.machine = self.create(self.role, self.definition)

    def create(self, role: str, definition: dict[str, Any]) -> str:
        given = {"name": f"middle-{uuid.uuid4()}", "roleArn": role, "definition": json.dumps(definition)}
        return str(self.workflow.sfn.create_state_machine(**given)["stateMachineArn"])

    def arn(self, session_id: str) -> str:
        """Return the ARN of the session's execution, begun or not."""
        return self.machine.replace(":stateMachine:", ":execution:") + f":{session_id}"

    def record(self, session_id: str, status: str = Status.INITIATED, **more: object) -> None:
        """Write the session's record as the execution did before it was aborted."""
        times = dict.fromkeys(("start_time", "created_at", "updated_at"), iso(datetime.now(UTC) - timedelta(hours=2)))
        item = {"status": status, "execution_arn": self.arn(session_id), "expires_at": 1_900_000_000, **times, **more}
        self.workflow.table.put_item(Item={**self.workflow.key(session_id), **item})

    def start(self, session_id: str, state: str, machine: str | None = None, **variables: object) -> str:
        """Go on at ``state``, with the variables as they were hours ago unless ``variables`` say otherwise."""
        hours_ago = 1000 * (time.time() - 7200)
        beat = iso(datetime.fromtimestamp(hours_ago / 1000, UTC))
        given = {
            "session_id": session_id,
            "valid": True,
            "detail": HELLO,
            "deadline": 1000 * (time.time() + 3600),
            "status": Status.BUSY,
            "otherExecution": False,
            "report_uri": "",
            "lastHeartbeat": {"value": beat, "since": hours_ago, "checkedAt": hours_ago, "unchangedMs": 0},
            "error": {"code": "", "message": ""},
            "line": FIRST,
            **{"attempt": 1, "invoked": 1, "taken": False, "mayContinue": False},
            **variables,
        }
        text = json.dumps({"session_id": session_id, "detail": HELLO, "state": state, "variables": given})
        how = {"stateMachineArn": machine or self.machine, "name": session_id, "input": text}
        return str(self.workflow.sfn.start_execution(**how)["executionArn"])

"""The state machine's definition, read as AWS reads it.

cfn-lint looks into a definition only if it is one literal string, which that of the stack is not: it holds references.
So these tests resolve them first. It checks the fields of every state; where a state leads to, it does not check.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonata import jsonata

from tests.support import command
from vigil.local.deploy import PROJECT

Definition = dict[str, Any]

VALUES = {
    "<Sessions>": "Vigil-Sessions",
    "<AgentInvoker.Arn>": "arn:aws:lambda:us-east-1:123456789012:function:Vigil-AgentInvoker",
    "<PollSeconds>": "5",
}

# What the local stack checks the state machine's role for; another integration would pass there without any grant.
ENFORCED = {f"arn:aws:states:::dynamodb:{operation}Item" for operation in ("get", "put", "update")} | {
    "arn:aws:states:::lambda:invoke"
}


@pytest.mark.criterion("6.1")
def test_the_workflow_stands_in_its_own_module_and_the_stack_imports_it() -> None:
    sources = {path.name: path.read_text() for path in (PROJECT / "infra").glob("*.py")}
    assert "from infra.workflow import agent_workflow" in sources["stack.py"]
    assert [name for name, source in sources.items() if "sfn.StateMachine(" in source] == ["workflow.py"]


def test_it_has_these_states(definition: Definition) -> None:
    assert definition["QueryLanguage"] == "JSONata"
    assert definition["StartAt"] == "InitializeSession"
    assert {name: state["Type"] for name, state in definition["States"].items()} == {
        "InitializeSession": "Task",
        "InvokeAgent": "Task",
        "CheckStatus": "Task",
        "EvaluateStatus": "Choice",
        "WaitForCompletion": "Wait",
        "MarkFailed": "Task",
        "SessionCompleted": "Succeed",
        "SessionFailed": "Fail",
    }


@pytest.mark.criterion("6.3")
def test_table_and_function_are_references(definition: Definition) -> None:
    named = {
        name: state["Arguments"].get("TableName") or state["Arguments"]["FunctionName"]
        for name, state in definition["States"].items()
        if state["Type"] == "Task"
    }
    assert named == {
        "InitializeSession": "<Sessions>",
        "InvokeAgent": "<AgentInvoker.Arn>",
        "CheckStatus": "<Sessions>",
        "MarkFailed": "<Sessions>",
    }
    assert set(re.findall(r"<[A-Za-z][^<> ]*>", json.dumps(definition))) == set(VALUES)


def test_every_integration_is_one_whose_role_the_local_stack_enforces(definition: Definition) -> None:
    used = {state["Resource"] for state in definition["States"].values() if state["Type"] == "Task"}
    assert used == ENFORCED


def test_every_task_catches_whatever_fails(definition: Definition) -> None:
    for name, state in definition["States"].items():
        if state["Type"] == "Task":
            assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"], name


def unresolved(definition: Definition) -> set[str]:
    """Return the states that are missing or that nothing leads to."""
    states = definition["States"]
    leads_to = {
        name: {
            found
            for node in (state, *state.get("Catch", []), *state.get("Choices", []))
            for found in (node.get("Next"), node.get("Default"))
            if found
        }
        for name, state in states.items()
    }
    seen: set[str] = set()
    ahead = {definition["StartAt"]}
    while ahead:
        seen |= ahead
        ahead = {target for name in ahead for target in leads_to.get(name, set())} - seen
    ends = {name for name, state in states.items() if state["Type"] in {"Succeed", "Fail"}}
    stuck = {name for name, targets in leads_to.items() if not targets} ^ ends
    return (seen ^ set(states)) | stuck


def test_every_transition_leads_to_a_state_and_every_state_is_reached(definition: Definition) -> None:
    assert not unresolved(definition)


@pytest.mark.parametrize(
    "state", ["InvokeAgent", "CheckStatus", "EvaluateStatus", "WaitForCompletion", "MarkFailed", "SessionFailed"]
)
def test_a_transition_into_nothing_would_be_found(definition: Definition, state: str) -> None:
    broken = copy.deepcopy(definition)
    broken["States"]["Lost"] = broken["States"].pop(state)
    assert unresolved(broken) == {state, "Lost"} | (
        # What only the lost state leads to is lost with it.
        {"InvokeAgent": set(), "CheckStatus": {"EvaluateStatus", "WaitForCompletion", "SessionCompleted"}}
        | {"EvaluateStatus": {"WaitForCompletion", "SessionCompleted"}}
    ).get(state, set())


def expressions(node: Any) -> Iterator[str]:
    """Yield the JSONata of every ``{% ... %}`` below ``node``."""
    if isinstance(node, str):
        if node.startswith("{%"):
            assert node.endswith("%}"), node
            yield node[2:-2]
    elif isinstance(node, dict | list):
        for inner in node.values() if isinstance(node, dict) else node:
            yield from expressions(inner)


def test_every_expression_is_jsonata(definition: Definition) -> None:
    found = list(expressions(resolved(definition)))
    assert len(found) > 20
    for expression in found:
        jsonata.Jsonata(expression)


def resolved(definition: Definition) -> Definition:
    text = json.dumps(definition)
    for reference, value in VALUES.items():
        text = text.replace(reference, value)
    result: Definition = json.loads(text)
    return result


def _misspelt_type(states: Definition) -> None:
    states["CheckStatus"]["Type"] = "Tusk"


def _jsonpath_field(states: Definition) -> None:
    states["CheckStatus"]["ResultPath"] = "$.session"


def _choice_without_choices(states: Definition) -> None:
    del states["EvaluateStatus"]["Choices"]


@pytest.mark.parametrize("broken", [None, _misspelt_type, _jsonpath_field, _choice_without_choices])
def test_cfn_lint_takes_the_definition_and_would_refuse_a_broken_one(
    definition: Definition, tmp_path: Path, broken: Callable[[Definition], None] | None
) -> None:
    whole = resolved(definition)
    if broken:
        broken(whole["States"])
    role = "arn:aws:iam::123456789012:role/workflow"
    machine = {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {"RoleArn": role, "DefinitionString": json.dumps(whole)},
    }
    path = tmp_path / "template.json"
    path.write_text(json.dumps({"Resources": {"Workflow": machine}}))
    linted = command(None, "cfn-lint", "--", str(path))
    assert (linted.returncode != 0, "E3601" in linted.stdout) == (bool(broken), bool(broken)), linted.stdout

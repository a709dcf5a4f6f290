"""The state machine's definition, read as AWS reads it.

cfn-lint looks into a definition only if it is one literal string, which that of the stack is not: it holds references.
So these tests resolve them first. It checks the fields of every state; where a state leads to, it does not check.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jsonata import jsonata

from benchmarks.virtual_time import START, evaluated
from tests.console.test_graph import check, passed_by
from tests.infra.template import Template
from vigil.local.deploy import PROJECT
from vigil.names import Parameter

Definition = dict[str, Any]

RUNTIME = "<<AgentRuntime.AgentRuntimeArn> or <AgentRuntimeArn>>"
VALUES = {
    "<Sessions>": "Vigil-Sessions",
    "<AgentInvoker.Arn>": "arn:aws:lambda:us-east-1:123456789012:function:Vigil-AgentInvoker",
    RUNTIME: "arn:aws:bedrock-agentcore:us-east-1:123456789012:runtime/vigil-abc",
    "<SafetySeconds>": "300",
    "<HeartbeatSeconds>": "30",
    "<MaxSessionSeconds>": "27000",
    "<StartsPerSecond>": "25",
    "<MaxAttempts>": "3",
}
ON_TABLE = (
    *("InitializeSession", "CheckLine", "RescheduleLine", "CheckStatus", "WaitForChange"),
    *("BeginAttempt", "MarkFailed"),
)
"""The tasks that read or write the table."""

# What the local stack checks the state machine's role for; another integration would pass there without any grant.
ENFORCED = {f"arn:aws:states:::dynamodb:{operation}Item" for operation in ("get", "put", "update")} | {
    "arn:aws:states:::lambda:invoke",
    "arn:aws:states:::aws-sdk:dynamodb:updateItem.waitForTaskToken",
    "arn:aws:states:::aws-sdk:bedrockagentcore:stopRuntimeSession",
}


@pytest.mark.criterion("6.1")
def test_the_workflow_stands_in_its_own_module_and_the_stack_imports_it() -> None:
    sources = {path.name: path.read_text() for path in (PROJECT / "infra").rglob("*.py")}
    assert "from infra.workflow import agent_workflow" in sources["stack.py"]
    assert [name for name, source in sources.items() if "sfn.StateMachine(" in source] == ["workflow.py"]


def test_state_machine_has_exactly_these_states(definition: Definition) -> None:
    assert definition["QueryLanguage"] == "JSONata"
    assert definition["StartAt"] == "InitializeSession"
    assert {name: state["Type"] for name, state in definition["States"].items()} == {
        **dict.fromkeys((*ON_TABLE, "InvokeAgent", "StopAgent"), "Task"),
        **dict.fromkeys(("RouteByInputError", "RouteByTurn", "RouteByStatus", "CheckOutcome"), "Choice"),
        **{"WaitBeforeRetry": "Wait", "SessionCompleted": "Succeed", "SessionFailed": "Fail"},
    }


@pytest.mark.criterion("6.3")
def test_table_function_and_runtime_are_references(definition: Definition) -> None:
    names = ("TableName", "FunctionName", "AgentRuntimeArn")
    named = {
        name: [state["Arguments"][key] for key in names if key in state["Arguments"]]
        for name, state in definition["States"].items()
        if state["Type"] == "Task"
    }
    others = {"InvokeAgent": ["<AgentInvoker.Arn>"], "StopAgent": [RUNTIME]}
    assert named == {**{name: ["<Sessions>"] for name in ON_TABLE}, **others}
    assert all(reference in json.dumps(definition) for reference in VALUES)
    assert not re.findall(r"<[A-Za-z][^<> ]*>", json.dumps(resolved(definition)))


def test_local_stack_enforces_the_role_of_every_integration(definition: Definition) -> None:
    assert {state["Resource"] for state in definition["States"].values() if state["Type"] == "Task"} == ENFORCED


def test_every_task_catches_whatever_fails(definition: Definition) -> None:
    for name, state in definition["States"].items():
        if state["Type"] == "Task":
            assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"], name


def retries(definition: Definition) -> Iterator[tuple[str, Any]]:
    """Yield (state, retry) for each retry of a state."""
    for name, state in definition["States"].items():
        for retry in state.get("Retry", []):
            yield name, retry


def test_every_task_is_tried_again_for_what_passes(definition: Definition) -> None:
    tried_again = {name: error for name, retry in retries(definition) for error in retry["ErrorEquals"]}
    assert set(tried_again) == {name for name, state in definition["States"].items() if state["Type"] == "Task"}
    errors: dict[str, set[str]] = {}
    for name, retry in retries(definition):
        errors.setdefault(name, set()).update(retry["ErrorEquals"])
    # The optimized integration and the SDK's spell their prefix in two ways.
    for name in ("InitializeSession", "CheckStatus", "MarkFailed"):
        assert {"DynamoDB.ProvisionedThroughputExceededException", "DynamoDB.ThrottlingException"} <= errors[name]
    sdk = {"DynamoDb.ProvisionedThroughputExceededException", "DynamoDb.ThrottlingException"}
    assert sdk <= errors["WaitForChange"]
    assert "AgentUnavailable" in errors["InvokeAgent"]
    assert "BedrockAgentCore.ThrottlingException" in errors["StopAgent"]


def test_tries_are_bounded_and_spread_out(definition: Definition) -> None:
    for name, retry in retries(definition):
        assert retry["MaxDelaySeconds"] <= 60, name
        assert retry["JitterStrategy"] == "FULL", name
        assert retry["BackoffRate"] >= 2, name
        assert 1 <= retry["MaxAttempts"] <= 15, name


def longest(state: Any) -> float:
    """Return how long all tries of a task may take if every one of them hangs."""
    again = [retry for retry in state["Retry"] if "States.Timeout" in retry["ErrorEquals"]]
    tries = sum(retry["MaxAttempts"] for retry in again)
    pauses = sum(retry["MaxAttempts"] * retry["MaxDelaySeconds"] for retry in again)
    return float((1 + tries) * state["TimeoutSeconds"] + pauses)


def test_tasks_time_out_after_their_callee_and_before_the_deadline(definition: Definition, template: Template) -> None:
    tasks = {name: state for name, state in definition["States"].items() if state["Type"] == "Task"}
    assert [name for name, state in tasks.items() if "TimeoutSeconds" not in state] == []
    # It computes for how long it waits.
    del tasks["WaitForChange"]
    # Lambda may take ten seconds to start a function, and DynamoDB a few to answer when it is not well.
    least = {"InvokeAgent": template.named("AgentInvoker")["Timeout"] + 10, "StopAgent": 5}
    deadline = template.body["Parameters"][Parameter.MAX_SESSION_SECONDS]["Default"]
    for name, state in tasks.items():
        assert state["TimeoutSeconds"] >= least.get(name, 10), name
        assert longest(state) <= deadline / 10, name
    # A call that hangs is repeated, except StopAgent: no state waits for its effect.
    assert {name for name, state in tasks.items() if longest(state) == state["TimeoutSeconds"]} == {"StopAgent"}
    assert tasks["StopAgent"]["TimeoutSeconds"] <= 15


@pytest.mark.parametrize(
    ("heartbeat", "left", "seconds"), [("", 9999, 60), ("a beat", 9999, 300), ("a beat", 100, 100), ("a beat", -0.1, 1)]
)
def test_wait_ends_at_the_next_check_and_never_beyond_the_deadline(
    definition: Definition, heartbeat: str, left: float, seconds: int
) -> None:
    timeout = resolved(definition)["States"]["WaitForChange"]["TimeoutSeconds"]
    variables = {"lastHeartbeat": {"value": heartbeat}, "deadline": START + 1000 * left}
    assert evaluated(timeout, {}, variables, lambda: START) == seconds


# What is invalid, denied or not there; and what the integrations call whatever they have no name of its own for.
LASTING = (
    r"States\.(?!Timeout)|[Vv]alid|Denied|Auth|Condition|NotFound|NotAccepted|Missing"
    r"|AWSLambdaException|AmazonDynamoDBException|DynamoDbException|BedrockAgentCoreException"
)


def test_nothing_is_tried_again_that_would_fail_again(definition: Definition) -> None:
    for name, retry in retries(definition):
        for error in retry["ErrorEquals"]:
            assert not re.search(LASTING, error), (name, error)


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
    return (seen ^ set(states)) | ({name for name, targets in leads_to.items() if not targets} ^ ends)


def test_every_transition_leads_to_a_state_and_every_state_is_reached(definition: Definition) -> None:
    assert not unresolved(definition)


@pytest.mark.parametrize(
    ("state", "lost_with_it"),
    [
        ("CheckLine", {"RouteByTurn", "RescheduleLine"}),
        ("RouteByTurn", {"RescheduleLine"}),
        ("CheckStatus", {"RouteByStatus", "BeginAttempt"}),
        ("RouteByStatus", {"BeginAttempt"}),
        ("CheckOutcome", {"SessionCompleted"}),
        *((state, set()) for state in ("InvokeAgent", "BeginAttempt", "WaitForChange", "WaitBeforeRetry")),
        *((state, set()) for state in ("MarkFailed", "StopAgent", "SessionFailed")),
    ],
)
def test_a_transition_into_nothing_would_be_found(definition: Definition, state: str, lost_with_it: set[str]) -> None:
    broken = copy.deepcopy(definition)
    broken["States"]["Lost"] = broken["States"].pop(state)
    assert unresolved(broken) == {state, "Lost"} | lost_with_it


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
    return dict(json.loads(text))


def lint(properties: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what cfn-lint finds in a state machine, (rule, message) each, by its rule of definitions.

    `make check` applies all rules. Here are that one and those which lead to it: to load all takes longest.
    """
    # Not at the top: every test process imports this module.
    import cfnlint.api
    from cfnlint.rules import RulesCollection
    from cfnlint.rules.jsonschema.CfnLint import CfnLint
    from cfnlint.rules.jsonschema.JsonSchema import JsonSchema
    from cfnlint.rules.resources.Configuration import Configuration
    from cfnlint.rules.resources.properties.Properties import Properties
    from cfnlint.rules.resources.stepfunctions.StateMachineDefinition import StateMachineDefinition

    rules = RulesCollection()
    for rule in (JsonSchema, CfnLint, Configuration, Properties, StateMachineDefinition):
        rules.register(rule())
    machine = {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}
    found = cfnlint.api.lint(json.dumps({"Resources": {"Workflow": machine}}), rules, ["us-east-1"])
    return [(match.rule.id, match.message) for match in found]


@pytest.mark.parametrize(
    ("broken", "break_it"),
    [
        ("", lambda states: None),
        ("'Tusk' is not one of", lambda states: states["CheckStatus"].update(Type="Tusk")),
        ("ResultPath", lambda states: states["CheckStatus"].update(ResultPath="$.session")),
        ("'Choices' is a required property", lambda states: states["RouteByStatus"].pop("Choices")),
    ],
    ids=["whole", "misspelt-type", "jsonpath-field", "choice-without-choices"],
)
def test_cfn_lint_accepts_the_definition_and_refuses_a_broken_one(
    definition: Definition, broken: str, break_it: Callable[[Any], object]
) -> None:
    whole = resolved(definition)
    # AWS takes an expression, which cfn-lint does not know yet.
    assert list(expressions(whole["States"]["WaitForChange"]["TimeoutSeconds"]))
    whole["States"]["WaitForChange"]["TimeoutSeconds"] = 60
    break_it(whole["States"])
    found = lint({"RoleArn": "arn:aws:iam::123456789012:role/workflow", "DefinitionString": json.dumps(whole)})
    assert {rule for rule, _ in found} == ({"E3601"} if broken else set())
    assert all(broken in message for _, message in found)


def test_console_draws_it_in_a_narrow_column(definition: Definition) -> None:
    names = [*definition["States"]]
    graph = check(definition, passed_by(*names[:3], *names[:3], ended=False))
    assert graph.width < 760
    assert graph.height < 1000

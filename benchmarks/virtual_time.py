"""A state machine walked in virtual time: the states that a session enters, and the events that AWS writes of them.

The definition is the deployed one, and its expressions are evaluated as they stand. Only waiting takes time.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from jsonata import jsonata

from vigil.session import Status

START = 1_767_225_600_000  # 2026-01-01, in milliseconds
ERRORS = {"TaskSubmitFailed": "DynamoDb.ConditionalCheckFailedException", "TaskTimedOut": "States.Timeout"}

ONLY_ON_AWS = ("TaskStarted", "TaskSubmitted")
"""Events that the embedded AWS does not write; a timeout and a refused submission it calls TaskFailed."""


@dataclass(frozen=True)
class Life:
    """What becomes of a session; seconds that its machine is awake after the start of its execution."""

    invoked: float = 0  # how long it takes until the agent is invoked
    ends: float = float("inf")  # when the agent writes COMPLETED
    dies: float = float("inf")  # when the agent sends its last heartbeat
    first_beat: float = 1
    beat: float = 30
    sleeps: float = float("inf")  # when the machine of both agent and workflow falls asleep, as a laptop does
    asleep: float = 0  # How long it sleeps. The waits that run go on afterwards; the clock shows the true time.

    @property
    def ended(self) -> float:
        """When the agent writes COMPLETED, in seconds since the start."""
        return self.later(0, self.ends)

    def later(self, now: float, seconds: float) -> float:
        """Return when the machine has been awake for ``seconds`` after ``now``."""
        return now + seconds + (self.asleep if now <= self.sleeps < now + seconds else 0)

    def item(self, now: float) -> dict[str, Any]:
        """Return the session record at ``now``, as far as a workflow reads it."""
        if now >= self.ended:
            return {"status": {"S": Status.COMPLETED}}
        now = min(now, self.sleeps) + max(0.0, now - self.sleeps - self.asleep)
        last = min(now, self.dies)
        if last < self.first_beat:
            return {"status": {"S": Status.INITIATED}}
        return {"status": {"S": Status.BUSY}, "heartbeat_at": {"S": str(int((last - self.first_beat) // self.beat))}}


@dataclass
class Walk:
    """What a walk has seen."""

    seconds: float = 0.0
    states: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=lambda: ["ExecutionStarted"])
    variables: dict[str, Any] = field(default_factory=dict)

    @property
    def transitions(self) -> int:
        """What AWS charges for: each state that was entered."""
        return len(self.states)

    @property
    def embedded_events(self) -> int:
        """How many of the events the embedded AWS writes."""
        return sum(event not in ONLY_ON_AWS for event in self.events)


def evaluated(node: Any, states: Mapping[str, Any], variables: Mapping[str, Any], millis: Callable[[], int]) -> Any:
    """Return ``node`` with the value of each of its expressions in their place."""
    if isinstance(node, dict):
        return {name: evaluated(inner, states, variables, millis) for name, inner in node.items()}
    if isinstance(node, list):
        return [evaluated(inner, states, variables, millis) for inner in node]
    if not isinstance(node, str) or not node.startswith("{%"):
        return node
    expression = _compiled(node[2:-2])
    expression.register_lambda("millis", millis)
    return expression.evaluate(None, {**variables, "states": states})


@cache
def _compiled(expression: str) -> Any:
    compiled = jsonata.Jsonata(expression)
    compiled.register_lambda("parse", json.loads)
    return compiled


def walk(definition: dict[str, Any], life: Life, detail: Mapping[str, Any] | None = None) -> Walk:
    """Walk ``definition`` from its start to its end with a session that lives ``life``."""
    done = Walk()
    name: str | None = definition["StartAt"]
    given = {"session_id": "0" * 36, "detail": detail or {}}
    while name:
        state = definition["States"][name]
        done.states.append(name)
        done.events.append(f"{state['Type']}StateEntered")
        name = _step(state, life, done, given)
        if state["Type"] != "Fail":
            done.events.append(f"{state['Type']}StateExited")
    done.events.append("ExecutionFailed" if state["Type"] == "Fail" else "ExecutionSucceeded")
    return done


def _step(state: dict[str, Any], life: Life, done: Walk, given: Any) -> str | None:
    """Do what ``state`` does and return the name of the next one."""
    now = iso(done.seconds)
    states: dict[str, Any] = {
        "input": given,
        "context": {
            "Execution": {"Id": "execution", "StartTime": iso(0)},
            "State": {"EnteredTime": now},
            "Task": {"Token": "token"},
        },
    }

    def value(node: Any) -> Any:
        return evaluated(node, states, done.variables, lambda: START + round(1000 * done.seconds))

    follow = state
    if state["Type"] == "Choice":
        follow = chosen(state, value)
    elif state["Type"] == "Wait":
        done.seconds = life.later(done.seconds, value(state["Seconds"]))
    elif state["Type"] == "Task":
        value(state["Arguments"])
        done.events += ("TaskScheduled", "TaskStarted")
        outcome = "TaskSucceeded"
        if state["Resource"].endswith(".waitForTaskToken"):
            outcome = _await_token(value(state["TimeoutSeconds"]), life, done)
        elif state["Resource"].endswith("lambda:invoke"):
            done.seconds = life.later(done.seconds, life.invoked)
        elif state["Resource"].endswith(":getItem"):
            states["result"] = {"Item": life.item(done.seconds)}
        done.events.append(outcome)
        if outcome in ERRORS:
            follow = caught(state, ERRORS[outcome])
    done.variables |= value(follow.get("Assign", {}))
    following: str | None = follow.get("Next")
    return following


def chosen(choice: dict[str, Any], value: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the rule that a Choice follows, by the values of its conditions; without one, what it does by default."""
    otherwise = {"Next": choice.get("Default"), "Assign": choice.get("Assign", {})}
    return next((rule for rule in choice["Choices"] if value(rule["Condition"])), otherwise)


def caught(task: dict[str, Any], error: str) -> dict[str, Any]:
    """Return the part of a Task's Catch that takes ``error``."""
    return next(part for part in task["Catch"] if {error, "States.ALL"} & set(part["ErrorEquals"]))


def _await_token(timeout: float, life: Life, done: Walk) -> str:
    if done.seconds >= life.ended:
        return "TaskSubmitFailed"
    done.events.append("TaskSubmitted")
    waited = life.later(done.seconds, timeout)
    done.seconds = min(waited, life.ended)
    return "TaskTimedOut" if waited < life.ended else "TaskSucceeded"


def iso(seconds: float) -> str:
    """Return the moment so many seconds after START."""
    moment: str = _compiled("$fromMillis($at)").evaluate(None, {"at": START + round(1000 * seconds)})
    return moment

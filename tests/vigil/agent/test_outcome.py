"""How a session ends by what its agent, or one of the agents that it consists of, did last."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from strands import Agent, AgentBase, ToolContext, tool
from strands.multiagent import GraphBuilder, Swarm
from strands.multiagent.base import MultiAgentBase
from strands.types.event_loop import StopReason
from strands.types.exceptions import ContextWindowOverflowException
from strands.types.streaming import StreamEvent

from tests import agents
from tests.agents import SONNET, Scripted
from vigil.agent.outcome import RAISED, STOPPED
from vigil.agent.session import AgentSession
from vigil.session import Session, Status

Call = tuple[str, dict[str, Any]]
EndOf = Callable[..., Session]
Make = Callable[[AgentSession], object]

DRAFT: Call = ("storage_write", {"name": "report.md", "text": "# Draft"})
COMPLETED: Call = ("journal_set_status", {"status": "COMPLETED"})
ASK: Call = ("ask", {})
CANCEL: Call = ("cancel", {})


@tool(context=True)
def ask(tool_context: ToolContext) -> str:
    """Ask a person."""
    return str(tool_context.interrupt("approval"))


@tool(context=True)
def cancel(tool_context: ToolContext) -> None:
    """Give up."""
    tool_context.agent.cancel()


def bare(model: Scripted, name: str = "first", *tools: Any) -> Agent:
    return Agent(model=model, name=name, tools=[ask, cancel, *tools], callback_handler=None)


def equipped(session: AgentSession, model: Scripted, **options: Any) -> Agent:
    return agents.equipped(session, model, ask, cancel, **options)


def scripted(*script: Call, stops: str = "end_turn", **usage: int) -> Scripted:
    model = Scripted(SONNET, script, **usage)
    model.stops = stops
    return model


class Raising(Scripted):
    """Raises an error when it is called."""

    def __init__(self, error: BaseException) -> None:
        super().__init__("raising", [])
        self.error = error

    async def stream(self, *_: Any, **__: Any) -> AsyncIterator[StreamEvent]:
        raise self.error
        yield


def overflowing() -> Raising:
    """Finds the conversation too long, and says so as a provider's model does."""
    error = ContextWindowOverflowException("too long")
    error.__cause__ = ValueError("ValidationException")
    return Raising(error)


def reported(agent: object) -> Make:
    """Return a factory of the agent that has saved a report."""

    def make(session: AgentSession) -> object:
        session.artifacts.write("report.md", "# Draft")
        return agent

    return make


def said(record: Session) -> str:
    """Return the error in the record of a failed session."""
    assert record.status == Status.FAILED
    assert record.error is not None
    return f"{record.error.code}: {record.error.message}"


def test_every_stop_reason_of_strands_has_a_meaning() -> None:
    assert set(get_args(StopReason)) - {"end_turn"} <= set(STOPPED)
    assert set(RAISED.values()) <= set(STOPPED)


# Strands lets a model that says "tool_use" and names no tool answer again.
@pytest.mark.parametrize("reason", sorted({*get_args(StopReason), *STOPPED, "pause_turn"} - {"end_turn", "tool_use"}))
@pytest.mark.parametrize("draft", [[DRAFT], []], ids=["draft", "no draft"])
def test_an_agent_that_is_cut_off_fails_with_the_stop_reason(end_of: EndOf, reason: str, draft: list[Call]) -> None:
    code, meaning = STOPPED.get(reason, ("PauseTurn", "nothing more is known"))
    error = said(end_of(lambda session: equipped(session, scripted(*draft, stops=reason))))
    assert error == f"{code}: the agent stopped before its turn ended, with stop reason {reason}: {meaning}"


class Answer(BaseModel):
    text: str


YES: Call = ("Answer", {"text": "Yes."})


def limited(limit: str) -> Make:
    return lambda session: lambda prompt: equipped(session, scripted(DRAFT, outputTokens=9))(prompt, limits={limit: 1})


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda session: equipped(session, scripted(DRAFT, ASK)), "interrupt"),
        (lambda session: equipped(session, scripted(DRAFT, CANCEL)), "cancelled"),
        (lambda session: equipped(session, scripted(DRAFT), checkpointing=True), "checkpoint"),
        (lambda session: equipped(session, scripted(DRAFT, YES), structured_output_model=Answer), "tool_use"),
        (lambda session: bare(overflowing()), "model_context_window_exceeded"),
        (limited("turns"), "limit_turns"),
        (limited("total_tokens"), "limit_total_tokens"),
        (limited("output_tokens"), "limit_output_tokens"),
    ],
)
def test_reason_that_cut_an_agent_off_is_the_cause(end_of: EndOf, make: Make, reason: str) -> None:
    code, meaning = STOPPED[reason]
    error = said(end_of(make))
    assert error == f"{code}: the agent stopped before its turn ended, with stop reason {reason}: {meaning}"


def test_agent_that_set_completed_stays_completed(end_of: EndOf) -> None:
    model = scripted(DRAFT, COMPLETED, stops="content_filtered")
    assert end_of(lambda session: equipped(session, model)).status == Status.COMPLETED


async def awaited(session: AgentSession) -> None:
    await asyncio.sleep(0)
    session.artifacts.write("report.md", "# Done")


@pytest.mark.parametrize(
    "make",
    [
        lambda session: equipped(session, scripted(DRAFT)),
        lambda session: lambda prompt: session.artifacts.write("report.md", "# Done"),
        lambda session: lambda prompt: awaited(session),
    ],
    ids=["agent", "function", "async function"],
)
def test_an_agent_that_ends_its_turn_with_a_report_is_completed(end_of: EndOf, make: Make) -> None:
    assert end_of(make).status == Status.COMPLETED


@pytest.mark.parametrize(
    "make", [lambda session: bare(scripted()), lambda session: lambda prompt: None], ids=["agent", "function"]
)
def test_an_agent_that_ends_its_turn_without_a_report_fails(end_of: EndOf, make: Make) -> None:
    error = said(end_of(make))
    assert error == "AgentIncomplete: the agent stopped without saving report.md and without a final status"


def graph(*parts: Any) -> Any:
    """The parts one after another."""
    builder = GraphBuilder().set_max_node_executions(9)
    for before, after in pairwise([builder.add_node(part, f"node {number}") for number, part in enumerate(parts)]):
        builder.add_edge(before, after)
    return builder.build()


Shape = Callable[..., Any]
ALONE: dict[str, tuple[list[Call], Shape]] = {
    "graph": ([], lambda first, second: graph(bare(first), bare(second))),
    "swarm": (
        [("handoff_to_agent", {"agent_name": "second", "message": "Go on."})],
        lambda first, second: Swarm([bare(first), bare(second, "second")]),
    ),
    "nested": ([], lambda first, second: graph(graph(bare(first)), Swarm([bare(second)]))),
}
"""Two models: what the first has to call so that the second's turn comes, and the agents that are made of them."""
CALL: Call = ("second", {"input": "Go on."})
AS_TOOL: dict[str, tuple[list[Call], Shape]] = {
    "tool": ([CALL], lambda first, second: bare(first, "first", bare(second, "second"))),
    "delegate": ([CALL], lambda first, second: bare(first, "first", bare(second, "second").as_tool(delegate=True))),
    "tool of a node": ([CALL], lambda first, second: graph(bare(first, "first", bare(second, "second")))),
}


@pytest.mark.parametrize(("script", "make"), [*ALONE.values(), *AS_TOOL.values()], ids=[*ALONE, *AS_TOOL])
class TestModelCalls:
    """A model call costs $1.50."""

    def test_all_are_counted_and_told(self, end_of: EndOf, script: list[Call], make: Shape) -> None:
        told: list[str] = []
        first, second = scripted(*script, outputTokens=100_000), scripted(outputTokens=100_000)
        record = end_of(reported(make(first, second)), keep_alive=told.append)
        calls = first.calls + second.calls
        assert (record.status, second.calls) == (Status.COMPLETED, 1)
        assert record.usage is not None
        assert record.usage.dollars == Decimal("1.5") * calls
        assert told.count("calling the model") == told.count("the model has answered") == calls

    def test_what_one_has_spent_no_other_may_spend(self, end_of: EndOf, script: list[Call], make: Shape) -> None:
        first, second = scripted(*script, outputTokens=100_000), scripted(outputTokens=100_000)
        error = said(end_of(reported(make(first, second)), budget_dollars=Decimal("1.5")))
        spent = "the model calls have cost $1.50 of a budget of $1.50: 0 tokens in, 100,000 out"
        assert error.startswith(f"BudgetExceeded: {spent}")
        assert (first.calls, second.calls) == (1, 0)


@tool
def helper() -> str:
    """Ask another agent."""
    return str(bare(HELPER, "helper")("Go on."))


HELPER = scripted(outputTokens=100_000)


@pytest.mark.parametrize(
    "make",
    [
        lambda model: lambda prompt: bare(model)(prompt),
        lambda model: partial(bare(model), limits={"turns": 9}),
        lambda model: bare(model).invoke_async,
        lambda model: bare(scripted(("helper", {}), outputTokens=0), "first", helper),
    ],
    ids=["function", "partial", "method", "tool"],
)
def test_an_agent_that_is_made_and_called_elsewhere_is_followed(end_of: EndOf, make: Callable[..., Any]) -> None:
    told: list[str] = []

    def factory(session: AgentSession) -> object:
        session.artifacts.write("report.md", "# Draft")
        return make(scripted(outputTokens=100_000))

    record = end_of(factory, keep_alive=told.append)
    assert record.status == Status.COMPLETED
    assert record.usage is not None
    assert record.usage.dollars == Decimal("1.5")
    assert "the model has answered" in told


@pytest.mark.parametrize(("script", "make"), ALONE.values(), ids=ALONE)
@pytest.mark.parametrize(
    ("model", "code"),
    [
        (lambda: Raising(ValueError("no such region")), "ValueError"),
        (lambda: Raising(SystemExit(3)), "AgentIncomplete"),
        (lambda: Raising(KeyboardInterrupt()), "KeyboardInterrupt"),
        (lambda: Raising(asyncio.CancelledError()), "AgentCancelled"),
        (overflowing, "ContextOverflow"),
        (lambda: scripted(stops="max_tokens"), "MaxTokens"),
        (lambda: scripted(stops="guardrail_intervened"), "GuardrailIntervened"),
        (lambda: scripted(ASK), "AgentInterrupted"),
        (lambda: scripted(CANCEL), "AgentCancelled"),
    ],
)
def test_what_stops_a_node_is_the_cause(
    end_of: EndOf, script: list[Call], make: Shape, model: Callable[[], Scripted], code: str
) -> None:
    assert re.match(f"({code}): ", said(end_of(reported(make(scripted(*script), model())))))


@pytest.mark.parametrize(("script", "make"), ALONE.values(), ids=ALONE)
def test_unfinished_node_fails_the_session_though_others_finish(end_of: EndOf, script: list[Call], make: Shape) -> None:
    second = scripted()
    error = said(end_of(reported(make(scripted(*script, stops="content_filtered"), second))))
    assert error.startswith("ContentFiltered: ")
    assert second.calls == 1


@pytest.mark.parametrize(
    ("reason", "code"),
    [("content_filtered", "ContentFiltered"), ("refusal", "ModelRefused"), ("stop_sequence", "StopSequence")],
)
def test_a_delegate_that_is_cut_off_has_not_ended_the_turn(end_of: EndOf, reason: str, code: str) -> None:
    first, second = scripted(CALL), scripted(stops=reason)
    error = said(end_of(reported(bare(first, "first", bare(second, "second").as_tool(delegate=True)))))
    assert error.startswith(f"{code}: ")
    assert (first.calls, second.calls) == (1, 1)


def test_a_graph_that_reaches_its_limit_fails(end_of: EndOf) -> None:
    agents = graph(bare(scripted()), bare(scripted()))
    agents.max_node_executions = 1
    assert said(end_of(reported(agents))) == (
        "AgentIncomplete: the agents stopped with the status failed: they reached a limit that their graph sets,"
        " or a hook cancelled one of them"
    )


class Remote(AgentBase):
    """An agent that runs elsewhere, such as Strands' A2AAgent."""

    def __call__(self, prompt: Any = None, **_: Any) -> Any:
        raise AssertionError

    async def invoke_async(self, prompt: Any = None, **_: Any) -> Any:
        raise AssertionError

    async def stream_async(self, prompt: Any = None, **_: Any) -> Any:
        raise AssertionError
        yield


class Team(MultiAgentBase):
    """A team whose agents Vigil cannot find."""

    async def invoke_async(self, *_: Any, **__: Any) -> Any:
        raise AssertionError


@pytest.mark.parametrize(
    ("made", "name"),
    [(Remote(), "Remote"), (Team(), "Team"), (object(), "object"), ("agent", "str"), (None, "NoneType")],
)
@pytest.mark.parametrize("in_graph", [False, True])
def test_what_is_no_agent_is_refused_before_a_model_call(end_of: EndOf, made: Any, name: str, in_graph: bool) -> None:
    model, told = scripted(), list[str]()
    error = said(end_of(reported(graph(bare(model), made) if in_graph else made), keep_alive=told.append))
    assert error.startswith(f"AgentUnsupported: {name} is no agent that a session can run: a factory returns an Agent")
    assert (model.calls, told) == (0, [])


def later(prompt: str) -> Future[None]:
    """Return a future whose result is read by no code."""
    return Future()


async def nested(prompt: str) -> Any:
    """Return a coroutine instead of awaiting it."""
    return asyncio.sleep(0)


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (lambda prompt: (step for step in [1]), "generator"),
        (lambda prompt: bare(scripted()).stream_async(prompt), "async_generator"),
        (later, "Future"),
        (nested, "coroutine"),
        (lambda prompt: bare(scripted()), "Agent"),
        (lambda prompt: graph(bare(scripted())), "Graph"),
        (lambda prompt: ["done", (step for step in [1])], "generator"),
    ],
)
# The coroutine is never awaited, which is the point.
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_was_not_run_to_its_end_is_not_completed(end_of: EndOf, agent: Any, name: str) -> None:
    assert said(end_of(reported(agent))).startswith(f"AgentUnsupported: the agent returned a {name}, which is not run")

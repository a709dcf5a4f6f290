"""Every call of a model and of a tool is a step, with the real agent loop, as the table's items hold it."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest
from boto3.dynamodb.conditions import Key
from strands import Agent, tool
from strands.hooks import AfterModelCallEvent, BeforeModelCallEvent, BeforeToolCallEvent
from strands.multiagent import GraphBuilder, Swarm
from strands.tools.executors import SequentialToolExecutor
from strands.types.exceptions import ModelThrottledException
from strands.types.streaming import StreamEvent

from tests.agents import SONNET, Scripted
from vigil.agent.session import AgentSession
from vigil.agent.steps import UNKNOWN_TOOL
from vigil.agent.tools.journal import journal_tools
from vigil.errors import AwsUnavailable, SessionEnded
from vigil.journal import Journal, StepsSoFar
from vigil.session import TTL_DAYS, Session, Status
from vigil.step import MAX_STEP_TEXT, Step, Usage

EndOf = Callable[..., Session]
Call = tuple[str, str, dict[str, Any]]
Brief = tuple[str, str, int | None]  # name, state and parent of a step
CHAT, OK, FAILED = SONNET, "COMPLETED", "FAILED"


class Answers(Scripted):
    """A model each of whose answers calls several tools, each with an id and an input, or raises, or is a text."""

    def __init__(self, *answers: list[Call] | Exception | str) -> None:
        super().__init__(SONNET, [], inputTokens=1_000, outputTokens=70)
        self.answers = iter(answers)

    async def stream(self, *_: Any, **__: Any) -> AsyncIterator[StreamEvent]:
        self.calls += 1
        answer = next(self.answers, "Done.")
        if isinstance(answer, Exception):
            raise answer
        yield {"messageStart": {"role": "assistant"}}
        if isinstance(answer, str):
            yield {"contentBlockDelta": {"delta": {"text": answer}}}
            yield {"contentBlockStop": {}}
        for use_id, name, given in answer if isinstance(answer, list) else ():
            yield {"contentBlockStart": {"start": {"toolUse": {"toolUseId": use_id, "name": name}}}}
            yield {"contentBlockDelta": {"delta": {"toolUse": {"input": json.dumps(given)}}}}
            yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "end_turn" if isinstance(answer, str) else "tool_use"}}
        yield {"metadata": {"usage": {**self.usage, "totalTokens": 1_070}, "metrics": {"latencyMs": 0}}}


def call(name: str, use_id: str = "1", **given: Any) -> list[Call]:
    return [(use_id, name, given)]


@tool
def echo(text: str = "") -> str:
    """Say it again."""
    return text


@tool
def broken() -> str:
    """Fail."""
    raise RuntimeError("no such luck")


def agent(model: Scripted, *tools: Any, **options: Any) -> Agent:
    return Agent(model=model, tools=[echo, broken, *tools], callback_handler=None, **options)


def all_at_once() -> object:
    together = threading.Barrier(3)

    @tool
    def meet(text: str) -> str:
        """Wait for the others, and end in the order of the texts."""
        together.wait(30)
        time.sleep(0.1 * "abc".index(text))
        return text

    # The model gives two of its calls the same id.
    calls = [("1", "meet", {"text": "a"}), ("1", "meet", {"text": "b"}), ("3", "meet", {"text": "c"})]
    return agent(Answers([*calls, ("4", "broken", {}), ("5", "nothing-like-it", {})]), meet)


def calls_agent(executor: Any = None, *, raises: bool = False) -> object:
    """An agent whose tool awaits another agent in its own context."""

    @tool
    async def ask() -> str:
        """Ask another agent."""
        answers = [call("echo"), RuntimeError("broken")] if raises else [call("echo")]
        await agent(Answers(*answers), tool_executor=executor).invoke_async("Go on.")
        return "asked"

    return agent(Answers([*call("ask"), ("2", "echo", {})]), ask, tool_executor=executor)


NODES = {"first": [call("echo")], "second": []}


def graph() -> object:
    builder = GraphBuilder().set_max_node_executions(9)
    first, second = (builder.add_node(agent(Answers(*answers)), name) for name, answers in NODES.items())
    builder.add_edge(first, second)
    return builder.build()


def swarm() -> object:
    handoff = call("handoff_to_agent", agent_name="second", message="Go on.")
    return Swarm([agent(Answers(handoff), name="first"), agent(Answers(), name="second")])


def cancelled() -> object:
    made = agent(Answers(call("echo"), "never said"))

    def refuse(event: BeforeModelCallEvent) -> None:
        event.cancel = "no more" if made.messages[-1]["role"] == "user" and len(made.messages) > 1 else False

    made.add_hook(lambda event: setattr(event, "cancel_tool", "not this one"), BeforeToolCallEvent)
    made.add_hook(refuse, BeforeModelCallEvent)
    return made


def throttled() -> object:
    made = agent(Answers(ModelThrottledException("slow down"), ModelThrottledException("slow down"), "Well."))
    made.add_hook(lambda event: setattr(event, "retry", bool(event.exception)), AfterModelCallEvent)
    return made


def direct() -> object:
    def function(prompt: str) -> None:
        made = agent(Answers())
        made.tool.echo(text="direct")

    return function


MEET: Brief = ("meet", OK, None)
ECHO_AND_END: list[Brief] = [("echo", OK, None), (CHAT, OK, None)]
SHAPES: dict[str, tuple[Callable[[], object], list[Brief]]] = {
    "all at once": (
        all_at_once,
        [(CHAT, OK, None), MEET, MEET, MEET, ("broken", FAILED, None), (UNKNOWN_TOOL, FAILED, None), (CHAT, OK, None)],
    ),
    "agent as tool": (
        lambda: agent(Answers(call("second", input="x")), agent(Answers(call("echo")), name="second")),
        [(CHAT, OK, None), ("second", OK, None), (CHAT, OK, 2), ("echo", OK, 2), (CHAT, OK, 2), (CHAT, OK, None)],
    ),
    "tool that calls an agent": (
        lambda: calls_agent(SequentialToolExecutor()),
        [(CHAT, OK, None), ("ask", OK, None), (CHAT, OK, 2), ("echo", OK, 2), (CHAT, OK, 2), *ECHO_AND_END],
    ),
    "tool whose agent raises": (
        lambda: calls_agent(SequentialToolExecutor(), raises=True),
        [(CHAT, OK, None), ("ask", FAILED, None), (CHAT, OK, 2), ("echo", OK, 2), (CHAT, FAILED, 2), *ECHO_AND_END],
    ),
    "graph": (graph, [(CHAT, OK, None), ("echo", OK, None), (CHAT, OK, None), (CHAT, OK, None)]),
    "swarm": (swarm, [(CHAT, OK, None), ("handoff_to_agent", OK, None), (CHAT, OK, None), (CHAT, OK, None)]),
    "cancelled": (cancelled, [(CHAT, OK, None), ("echo", FAILED, None), (CHAT, OK, None)]),
    "throttled": (throttled, [(CHAT, FAILED, None), (CHAT, FAILED, None), (CHAT, OK, None)]),
    "direct": (direct, [("echo", OK, None)]),
}


@pytest.fixture
def kept(table: Any) -> Callable[[str], list[dict[str, Any]]]:
    """Return the items of a session's steps."""

    def read(session_id: str) -> list[dict[str, Any]]:
        mine = Key("PK").eq(session_id) & Key("SK").begins_with("STEP#")
        return list(table.query(KeyConditionExpression=mine, ConsistentRead=True)["Items"])

    return read


Kept = Callable[[str], list[dict[str, Any]]]


def total(items: list[dict[str, Any]]) -> Usage | None:
    """Return the sum of what the steps have used."""
    used = [usage for item in items if (usage := Usage.from_item(item.get("usage")))]
    return sum(used[1:], used[0]) if used else None


def check(record: Session, items: list[dict[str, Any]]) -> None:
    """Check what is true of the steps of any session."""
    assert total(items) == record.usage
    assert [int(item["number"]) for item in items] == [*range(1, len(items) + 1)]
    assert (record.step_count, record.steps_done) == (len(items), len([item for item in items if "ended_at" in item]))
    assert [item["started_at"] for item in items] == sorted(item["started_at"] for item in items)
    assert all(item["started_at"] <= item.get("ended_at", "9") for item in items)


@pytest.mark.parametrize(("make", "expected"), SHAPES.values(), ids=SHAPES)
def test_each_call_is_a_step_that_is_written_when_it_begins_and_when_it_ends(
    end_of: EndOf, kept: Kept, monkeypatch: pytest.MonkeyPatch, make: Callable[[], object], expected: list[Brief]
) -> None:
    written: dict[int, list[str]] = {}
    write = Journal.write_steps

    def note(self: Journal, session_id: str, steps: list[Step], so_far: StepsSoFar) -> None:
        for step in steps:
            written.setdefault(step.number, []).append(step.state)
        write(self, session_id, steps, so_far)

    monkeypatch.setattr(Journal, "write_steps", note)
    record = end_of(lambda session: make())
    items = kept(record.session_id)
    check(record, items)
    assert [(item["name"], item["state"], item.get("parent")) for item in items] == expected
    assert [written[int(item["number"])] for item in items] == [["RUNNING", item["state"]] for item in items]
    outputs = [item["output"]["text"] for item in items if item["name"] == "meet"]
    assert outputs == ["a", "b", "c"][: len(outputs)]


def test_an_agent_that_ends_its_session_is_asked_no_more_and_logs_no_error(
    end_of: EndOf, caplog: pytest.LogCaptureFixture
) -> None:
    model = Answers(call("journal_set_status", status="FAILED", message="the account is empty"), call("echo"))
    record = end_of(lambda session: agent(model, *journal_tools(session)))
    assert (record.status, model.calls) == (Status.FAILED, 1)
    assert [told.getMessage() for told in caplog.records if told.levelno >= logging.WARNING] == []


def test_the_log_shows_where_a_tool_has_raised_unless_vigil_refuses_its_input(
    end_of: EndOf, caplog: pytest.LogCaptureFixture
) -> None:
    refused = call("journal_finish_phase", phase="none")
    end_of(lambda session: agent(Answers(refused, call("broken")), *journal_tools(session)))
    (told,) = [told for told in caplog.records if told.name == "vigil.steps"]
    assert "in broken\n" in logging.Formatter().format(told)


def test_a_throttled_call_has_ended_before_its_repetition_is_waited_for(end_of: EndOf, kept: Kept) -> None:
    seen: list[str] = []

    def factory(session: AgentSession) -> Agent:
        made = agent(Answers(ModelThrottledException("slow down"), "Well."))

        def wait(event: AfterModelCallEvent) -> None:
            event.retry = bool(event.exception)
            seen.append(kept(session.session_id)[-1]["state"])

        made.add_hook(wait, AfterModelCallEvent)
        return made

    end_of(factory)
    assert seen == ["FAILED", "COMPLETED"]


def test_parallel_agents_and_a_failed_session_leave_sums_that_match(end_of: EndOf, kept: Kept) -> None:
    models = [Answers(*[call("echo", str(n)) for n in range(30)]) for _ in range(4)]

    def factory(session: AgentSession) -> object:
        async def together(prompt: str) -> None:
            await asyncio.gather(*(asyncio.to_thread(agent(model), "Go.") for model in models))

        return together

    # A call costs $0.00405: the budget ends the session in the middle.
    record = end_of(factory, budget_dollars=Decimal("0.1"))
    assert record.error
    assert record.error.code == "BudgetExceeded"
    items = kept(record.session_id)
    check(record, items)
    used = total(items)
    assert used
    assert Decimal("0.1") <= used.dollars <= Decimal("0.1") + 4 * Decimal("0.00405")
    assert used.input_tokens == 1_000 * (used.dollars / Decimal("0.00405"))


@pytest.mark.parametrize(("calls", "lost"), [(1, range(1, 3)), (60, range(1, 230))], ids=["short", "long"])
def test_steps_that_could_not_be_written_come_with_the_next_one(
    end_of: EndOf, kept: Kept, monkeypatch: pytest.MonkeyPatch, calls: int, lost: range
) -> None:
    write, sent = Journal.write_steps, list[int]()

    def lose(self: Journal, session_id: str, steps: list[Step], so_far: StepsSoFar) -> None:
        sent.append(len(steps))
        if len(sent) - 1 in lost:
            raise AwsUnavailable("the table cannot be reached")
        write(self, session_id, steps, so_far)

    monkeypatch.setattr(Journal, "write_steps", lose)
    record = end_of(lambda session: agent(Answers(*[call("echo", str(n)) for n in range(calls)])))
    items = kept(record.session_id)
    check(record, items)
    assert len(items) == 2 * calls + 1
    assert {item["state"] for item in items} == {OK}
    assert max(sent) == min(2 * calls, 99)


@pytest.mark.parametrize("change", [{"worker": "another"}, {"status": Status.FAILED}])
def test_steps_are_written_for_the_worker_of_a_busy_session_alone(
    session: AgentSession, table: Any, kept: Kept, change: dict[str, str]
) -> None:
    step = Step(1, "chat", "a.model", "agent", "2026-11-29T12:00:00.000Z")
    session.journal.write_steps(session.session_id, [step], StepsSoFar(1, 0))
    name, value = next(iter(change.items()))
    names, values = {"#name": name}, {":value": value}
    key = {"PK": session.session_id, "SK": "SESSION"}
    update = {"UpdateExpression": "SET #name = :value", "ExpressionAttributeNames": names}
    table.update_item(Key=key, **update, ExpressionAttributeValues=values)
    before = kept(session.session_id), session.journal.get(session.session_id)
    with pytest.raises(SessionEnded):
        session.journal.write_steps(session.session_id, [step], StepsSoFar(2, 1))
    assert (kept(session.session_id), session.journal.get(session.session_id)) == before


def test_first_and_last_steps_are_kept_and_a_late_end_replaces_no_newer_one(
    end_of: EndOf, kept: Kept, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vigil.step.MAX_STEPS", 6)
    monkeypatch.setattr("vigil.journal_reader.MAX_STEPS", 6)

    @tool
    def ask() -> str:
        """Ask another agent, whose steps take the place of this one."""
        agent(Answers(*[call("echo")] * 3))("Go on.")
        return "asked"

    record = end_of(lambda session: agent(Answers(call("echo"), call("ask")), ask))
    items = kept(record.session_id)
    # 1 model, 2 echo, 3 model, 4 ask, 5 to 11 of the other agent, 12 model
    assert sorted(int(item["number"]) for item in items) == [1, 2, 3, 10, 11, 12]
    assert record.step_count == 12
    assert record.usage
    assert record.usage.input_tokens == 7_000
    for first in (1, 5, 13):
        # A reader of the newest steps gets them all, also from places that older steps had.
        found = journal.snapshot(record.session_id, first).steps
        assert [step.number for step in found][-3:] == [10, 11, 12]


SECRETS = {
    "environment": "an environment's secret",
    "AWS": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "bearer": "Bearer opaque-7c2f.9~x_1",
    "PEM": "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq3\n-----END RSA PRIVATE KEY-----",
    "address": "postgres://app:hunter22@db.example/x",
    "JSON": json.dumps({"password": "hunter22", "of": json.dumps({"password": "hunter22"})}),
}
PARTS = ("an environment's", "wJalrXUtn", "opaque-7c2f", "MIIEpAIBAA", "hunter22")


@pytest.mark.parametrize("before", [0, MAX_STEP_TEXT - 15])
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_no_secret_reaches_a_step(
    end_of: EndOf, kept: Kept, monkeypatch: pytest.MonkeyPatch, secret: str, before: int
) -> None:
    text = "." * before + f"\n{secret}\n" + "." * 100

    @tool
    def tells(text: str) -> str:
        """Say it again."""
        return text

    @tool
    def fails(text: str) -> str:
        """Fail with it."""
        raise RuntimeError(text)

    answers = [call("tells", text=text), call("fails", text=text), call(f"no {text}"), text, RuntimeError(text)]

    def factory(session: AgentSession) -> object:
        # As a module does that reads its settings from a file.
        monkeypatch.setenv("MY_TOKEN", SECRETS["environment"])
        made = agent(Answers(*answers), tells, fails)
        return lambda prompt: [made(text), made(text)]

    items = kept(end_of(factory).session_id)
    assert len(items) == 7
    assert not [(part, item) for part in PARTS for item in items if part in repr(item)]


def test_a_text_is_cut_with_its_length_and_digest_and_a_step_expires(end_of: EndOf, kept: Kept) -> None:
    text = "é\ud83d" * MAX_STEP_TEXT
    record = end_of(lambda session: agent(Answers(call("tells", text=text)), tool(name="tells")(lambda text="": text)))
    items = kept(record.session_id)
    whole = text.encode(errors="backslashreplace")
    output = items[1]["output"]
    assert output["text"] == whole.decode()[:MAX_STEP_TEXT]
    assert (output["length"], output["sha256"]) == (7 * MAX_STEP_TEXT, sha256(whole).hexdigest())
    begun = [datetime.fromisoformat(item["started_at"]).timestamp() for item in items]
    days = [(int(item["expires_at"]) - at) / 86_400 for item, at in zip(items, begun, strict=True)]
    assert days == pytest.approx([TTL_DAYS] * 3, abs=0.1)

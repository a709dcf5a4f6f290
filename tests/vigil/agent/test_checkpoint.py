"""An agent that was killed is continued by a fresh one from its checkpoint, with the real agent loop and a real table.

A tool "kills" its agent: it ends the attempt as a supervisor does. From then on nothing that the agent still does can
reach the table, so that the next attempt finds what it would find after a kill at that moment.
"""

import base64
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from strands import Agent, tool
from strands.hooks import AfterToolCallEvent, BeforeToolCallEvent, HookProvider, HookRegistry
from strands.tools.executors import SequentialToolExecutor
from strands.types.content import Message
from strands.types.streaming import StreamEvent

from tests.agents import results
from tests.fixtures.table import BUCKET
from tests.vigil.agent.test_steps import Answers, Call, call
from vigil.agent.checkpoint import OUTCOME_UNKNOWN
from vigil.agent.session import AgentSession
from vigil.agent.worker import run
from vigil.artifacts import Artifacts
from vigil.attempt import EndedAttempt
from vigil.errors import AwsUnavailable, InvalidArtifact, SessionEnded
from vigil.journal import Journal
from vigil.sdk import run_once
from vigil.session import NO_CHECKPOINT, Failure, Session
from vigil.step import Step

KILLED = EndedAttempt("AgentCrashed", "signal SIGKILL", "", "", "2026-01-01T00:00:09.000Z")
Begun = Callable[..., AgentSession]


class Asked(Answers):
    """A model that remembers with which messages it was called."""

    def __init__(self, *answers: list[Call] | Exception | str) -> None:
        super().__init__(*answers)
        self.asked: list[list[Message]] = []

    async def stream(self, messages: Any = None, *_: Any, **__: Any) -> AsyncIterator[StreamEvent]:
        self.asked.append(list(messages))
        async for event in super().stream():
            yield event


class Attempts:
    """A session and the attempts that it has had."""

    def __init__(self, session: AgentSession, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.first, self._monkeypatch, self._folder = session, monkeypatch, folder
        self.session = session
        self.agent: Any = None

    def run(self, model: Answers, *tools: Any, attempt: int = 1, **options: Any) -> list[str]:
        """Run an attempt with a fresh agent, and return what the tools have answered to its model."""
        worker = self.first.worker if attempt == 1 else f"worker of {attempt}"
        journal = self.first.journal.acting_for(worker, attempt)
        artifacts = Artifacts(self.first.artifacts._s3, BUCKET, journal, self.first.session_id)
        self.session = replace(self.first, attempt=attempt, worker=worker, journal=journal, artifacts=artifacts)

        def make(session: AgentSession) -> Agent:
            self.agent = Agent(model=model, tools=[*tools], callback_handler=None, **options)
            return self.agent

        self._monkeypatch.setattr("tests.agents.given", make, raising=False)
        run(replace(self.session, agent="tests.agents:given"))
        return results(self.agent)

    def kill(self) -> None:
        self.session.journal.end_attempt(self.session.session_id, KILLED)

    def count(self, name: str) -> int:
        """Count a run of the tool ``name``, in a file as what outlives the agent; return which one it is."""
        with (self._folder / name).open("a") as file:
            file.write(".")
        return self.runs(name)

    def runs(self, name: str) -> int:
        file = self._folder / name
        return len(file.read_text()) if file.exists() else 0

    def counted(self, name: str, *, kills: bool = False, once: bool = False) -> Any:
        """Return a tool that counts its runs, and kills its agent at the first of them if it ``kills``."""

        def counts() -> str:
            number = self.count(name)
            if kills and number == 1:
                self.kill()
            return f"{name} {number}"

        made = tool(name=name, description="Count.")(counts)
        return run_once(made) if once else made

    @property
    def record(self) -> Session:
        return self.first.journal.get(self.first.session_id)

    @property
    def steps(self) -> list[Step]:
        return self.first.journal.snapshot(self.first.session_id).steps


class KilledAtCall(Asked):
    """A model whose agent is killed at the call of this number."""

    def __init__(self, attempts: Attempts, number: int, *answers: list[Call]) -> None:
        super().__init__(*answers)
        self._attempts, self._number = attempts, number

    async def stream(self, messages: Any = None, *_: Any, **__: Any) -> AsyncIterator[StreamEvent]:
        if self.calls + 1 == self._number:
            self._attempts.kill()
        async for event in super().stream(messages):
            yield event


@pytest.fixture
def attempts(session: AgentSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Attempts:
    return Attempts(session, monkeypatch, tmp_path)


def states(attempts: Attempts) -> list[tuple[int, int, str, str]]:
    """Return (number, attempt, kind, state) of each step."""
    return [(step.number, step.attempt, step.kind, step.state) for step in attempts.steps]


def test_an_interrupted_call_runs_again_and_one_that_had_ended_does_not(attempts: Attempts) -> None:
    done, again = attempts.counted("done"), attempts.counted("again", kills=True)
    attempts.run(Asked(call("done", "1"), call("again", "2")), done, again)
    assert (attempts.runs("done"), attempts.runs("again")) == (1, 1)
    killed = attempts.record
    assert (killed.attempt, killed.step_count, killed.steps_done) == (2, 4, 3)
    model = Asked("Done.")
    assert attempts.run(model, done, again, attempt=2) == ["done 1", "again 2"]
    assert (attempts.runs("done"), attempts.runs("again")) == (1, 2)
    # The model reads all that was said before, as if nothing had happened.
    ((prompt, *said),) = model.asked
    assert prompt["content"][0]["text"].startswith("Run the session. Its input: ")
    assert [message["role"] for message in said] == ["assistant", "user", "assistant", "user"]
    assert states(attempts) == [
        *((1, 1, "model", "COMPLETED"), (2, 1, "tool", "COMPLETED"), (3, 1, "model", "COMPLETED")),
        *((4, 1, "tool", "INTERRUPTED"), (5, 2, "tool", "COMPLETED"), (6, 2, "model", "COMPLETED")),
    ]
    assert attempts.steps[3].ended_at == KILLED.ended_at
    now = attempts.record
    assert (now.step_count, now.steps_done) == (6, 5)
    # Three calls of 1,000 tokens in and 70 out.
    assert now.usage is not None
    assert (now.usage.input_tokens, now.usage.output_tokens) == (3_000, 210)


def test_the_budget_is_that_of_all_attempts(attempts: Attempts) -> None:
    kills = attempts.counted("kills", kills=True)
    attempts.first = replace(attempts.first, budget_dollars=Decimal("0.006"))
    # A call costs $0.00405.
    attempts.run(Asked(call("kills")), kills)
    model = Asked(call("kills", "2"), "never said")
    attempts.run(model, kills, attempt=2)
    assert model.calls == 1
    error = attempts.record.error
    assert error
    assert (error.code, "$0.01 of a budget of $0.01" in error.message) == ("BudgetExceeded", True)


def test_an_agent_killed_before_its_first_checkpoint_begins_from_the_start(attempts: Attempts) -> None:
    attempts.run(KilledAtCall(attempts, 1))
    assert attempts.record.checkpoint is None
    model = Asked("Done.")
    attempts.run(model, attempt=2)
    ((prompt,),) = model.asked
    assert prompt["role"] == "user"
    assert states(attempts) == [(1, 1, "model", "INTERRUPTED"), (2, 2, "model", "COMPLETED")]


def test_a_tool_that_must_not_run_twice_is_not_repeated_and_the_model_reads_so(attempts: Attempts) -> None:
    pays = attempts.counted("pays", kills=True, once=True)
    attempts.run(Asked(call("pays", "1")), pays)
    # It is killed again before the model has heard of it.
    assert attempts.run(KilledAtCall(attempts, 1), pays, attempt=2) == [OUTCOME_UNKNOWN]
    model = Asked()
    assert attempts.run(model, pays, attempt=3) == [OUTCOME_UNKNOWN]
    assert attempts.runs("pays") == 1
    (last,) = model.asked[-1][-1]["content"]
    assert last["toolResult"]["status"] == "error"
    # The call of the first attempt is the only one.
    assert [step[2:] for step in states(attempts) if step[2] == "tool"] == [("tool", "INTERRUPTED")]


def test_the_model_may_call_such_a_tool_again_with_the_same_id(attempts: Attempts) -> None:
    # Some models name each call like its tool.
    pays = attempts.counted("pays", kills=True, once=True)
    attempts.run(Asked(call("pays", "pays")), pays)
    assert attempts.run(Asked(call("pays", "pays")), pays, attempt=2) == [OUTCOME_UNKNOWN, "pays 2"]


def test_a_method_may_be_such_a_tool(attempts: Attempts) -> None:
    class Shop:
        @run_once
        @tool
        def pays(self) -> str:
            """Pay."""
            if attempts.count("pays") == 1:
                attempts.kill()
            return "paid"

    attempts.run(Asked(call("pays")), Shop().pays)
    assert attempts.run(Asked(), run_once(Shop().pays), attempt=2) == [OUTCOME_UNKNOWN]


@pytest.mark.parametrize("use_id", ["2", "2" * 2000], ids=["short", "long"])
def test_such_a_tool_is_not_repeated_though_the_record_lacks_its_call(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch, use_id: str
) -> None:
    # A step keeps a part of a long id, and newer steps replace it.
    monkeypatch.setattr("vigil.step.MAX_STEPS", 4)

    @run_once
    @tool
    async def pays() -> str:
        """Let other agents take the places of this step."""
        if attempts.count("pays") == 1:
            for _ in range(2):
                await Agent(model=Asked(), callback_handler=None).invoke_async("Go on.")
            attempts.kill()
        return "paid"

    done = attempts.counted("done")
    attempts.run(Asked(call("done", "1"), call("pays", use_id)), done, pays)
    assert "pays" not in [step.name for step in attempts.steps]
    assert attempts.run(Asked(), done, pays, attempt=2) == ["done 1", OUTCOME_UNKNOWN]


class Meddles(HookProvider):
    """Adds to each result, or refuses each call."""

    def __init__(self, *, refuses: bool) -> None:
        self._refuses = refuses

    def register_hooks(self, registry: HookRegistry, **_: Any) -> None:
        registry.add_callback(BeforeToolCallEvent, self._refuse)
        registry.add_callback(AfterToolCallEvent, self._add)

    def _refuse(self, event: BeforeToolCallEvent) -> None:
        event.cancel_tool = self._refuses

    def _add(self, event: AfterToolCallEvent) -> None:
        event.result["content"].append({"text": "added"})


@pytest.mark.parametrize("refuses", [False, True])
def test_hooks_do_not_change_a_saved_result(attempts: Attempts, refuses: bool) -> None:
    done, kills = attempts.counted("done"), attempts.counted("kills", kills=True)
    options: Any = {"hooks": [Meddles(refuses=False)], "tool_executor": SequentialToolExecutor()}
    attempts.run(Asked([("1", "done", {}), ("2", "kills", {})]), done, kills, **options)
    options["hooks"] = [Meddles(refuses=refuses)]
    attempts.run(Asked(), done, kills, attempt=2, **options)
    first, _ = attempts.agent.messages[2]["content"]
    assert first["toolResult"]["content"] == [{"text": "done 1"}, {"text": "added"}]


@pytest.mark.parametrize("once", [False, True])
def test_calls_of_several_messages_with_one_id_run_each(attempts: Attempts, once: bool) -> None:
    echo = attempts.counted("echo", once=once)
    model = Asked(*[call("echo", "same")] * 3)
    assert attempts.run(model, echo) == ["echo 1", "echo 2", "echo 3"]


def test_such_a_tool_is_not_called_if_its_call_cannot_be_recorded(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Journal.write_steps

    def lose(self: Journal, session_id: str, steps: list[Step], *more: Any) -> None:
        if any(step.kind == "tool" and step.state == "RUNNING" for step in steps):
            raise AwsUnavailable("the table cannot be reached")
        write(self, session_id, steps, *more)

    monkeypatch.setattr(Journal, "write_steps", lose)
    usual, pays = attempts.counted("usual"), attempts.counted("pays", once=True)
    attempts.run(Asked(call("usual", "1"), call("pays", "2")), usual, pays)
    assert (attempts.runs("usual"), attempts.runs("pays")) == (1, 0)
    error = attempts.record.error
    assert error
    assert "the call of pays could not be recorded" in error.message


@pytest.mark.parametrize("killed", ["while one runs", "when both have ended"])
def test_of_parallel_tools_those_that_had_ended_do_not_run_again(attempts: Attempts, killed: str) -> None:
    quick = attempts.counted("quick")
    both = threading.Barrier(2)

    @tool
    def slow() -> str:
        """Outlive the other tool."""
        number = attempts.count("slow")
        both.wait(30) if number == 1 else None
        if number == 1:
            # The other one has ended as soon as a checkpoint says so.
            waiter = threading.Event()
            while (attempts.record.steps_done or 0) < 2:
                waiter.wait(0.05)
            if killed == "while one runs":
                attempts.kill()
        return f"slow {number}"

    @tool
    def quick_too() -> str:
        """End while the other tool runs."""
        both.wait(30)
        return str(quick())

    repeated = killed == "while one runs"
    calls = [("1", "slow", {}), ("2", "quick_too", {})]
    attempts.run(Asked(calls) if repeated else KilledAtCall(attempts, 2, calls), slow, quick_too)
    assert attempts.record.attempt == 2
    assert attempts.run(Asked(), slow, quick_too, attempt=2) == [f"slow {1 + repeated}", "quick 1"]
    assert (attempts.runs("slow"), attempts.runs("quick")) == (1 + repeated, 1)
    assert [step.number for step in attempts.steps] == [*range(1, len(attempts.steps) + 1)]
    assert len([step for step in attempts.steps if step.kind == "tool"]) == 2 + repeated


def test_calls_of_one_message_that_share_an_id_run_each_and_leave_no_checkpoint(attempts: Attempts) -> None:
    seen: list[str | None] = []

    @tool
    def look() -> str:
        """Read the record."""
        seen.append(attempts.record.checkpoint)
        return str(attempts.count("look"))

    twice = [("same", "look", {}), ("same", "look", {})]
    answers = attempts.run(Asked(twice, call("look", "other")), look, tool_executor=SequentialToolExecutor())
    assert answers == ["1", "2", "3"]
    assert seen[:2] == [NO_CHECKPOINT] * 2
    # The next message has one again.
    assert str(seen[2]).startswith(f"checkpoints/{attempts.first.session_id}/")


def test_a_checkpoint_that_cannot_be_saved_is_none_until_one_is(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = attempts.first.artifacts._s3
    put, seen = s3.put_object, list[str | None]()

    def deny(**given: Any) -> Any:
        if attempts.runs("look") == 0:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject")
        return put(**given)

    monkeypatch.setattr(s3, "put_object", deny)

    @tool
    def look() -> str:
        """Read the record."""
        seen.append(attempts.record.checkpoint)
        return str(attempts.count("look"))

    assert attempts.run(Asked(call("look", "1"), call("look", "2")), look) == ["1", "2"]
    assert seen[0] == NO_CHECKPOINT
    assert str(seen[1]).startswith("checkpoints/")


def fails() -> object:
    raise LookupError("no state")


@pytest.mark.parametrize("get_state", [lambda: {"odd": object()}, fails])
def test_an_agent_whose_state_is_no_json_leaves_no_checkpoint(
    attempts: Attempts, get_state: Callable[[], object]
) -> None:
    seen: list[str | None] = []

    @tool
    def look() -> str:
        """Read the record."""
        seen.append(attempts.record.checkpoint)
        attempts.agent.conversation_manager.get_state = get_state
        return "looked"

    assert attempts.run(Asked(call("look", "1"), call("look", "2")), look) == ["looked", "looked"]
    assert seen[1] == NO_CHECKPOINT


def test_an_agent_with_background_tasks_leaves_no_checkpoint(attempts: Attempts) -> None:
    attempts.run(Asked(call("look")), attempts.counted("look"), background_tasks=True)
    assert attempts.record.checkpoint == NO_CHECKPOINT


def test_a_checkpoint_of_another_session_is_refused(attempts: Attempts, begun: Begun, table: Any) -> None:
    other = begun()
    key = other.artifacts.write_checkpoint("{}")
    assert other.artifacts.read_checkpoint(key) == "{}"
    with pytest.raises(InvalidArtifact, match=f"is no checkpoint of session {attempts.first.session_id}"):
        attempts.first.artifacts.read_checkpoint(key)
    table.update_item(
        Key={"PK": attempts.first.session_id, "SK": "SESSION"},
        UpdateExpression="SET checkpoint = :key",
        ExpressionAttributeValues={":key": key},
    )
    model = Asked()
    with pytest.raises(InvalidArtifact):
        attempts.run(model)
    assert model.calls == 0


def test_a_checkpoint_that_is_gone_ends_the_attempt_before_anything_is_done(attempts: Attempts, s3: Any) -> None:
    kills = attempts.counted("kills", kills=True)
    attempts.run(Asked(call("kills")), kills)
    key = attempts.record.checkpoint
    s3.delete_object(Bucket=BUCKET, Key=key)
    model = Asked()
    with pytest.raises(AwsUnavailable):
        attempts.run(model, kills, attempt=2)
    assert (model.calls, attempts.runs("kills"), attempts.record.error) == (0, 1, None)


def test_bytes_survive_in_messages_and_in_results(attempts: Attempts) -> None:
    picture = b"\x89PNG\r\n\x1a\n\x00\xff"

    @tool
    def draw() -> dict[str, Any]:
        """Draw."""
        attempts.count("draw")
        image = {"image": {"format": "png", "source": {"bytes": picture}}}
        return {"status": "success", "content": [image, {"text": "drawn"}]}

    kills = attempts.counted("kills", kills=True)

    # Once in a message, and once in a result beside the tool that was interrupted.
    second = [("2", "draw", {}), ("3", "kills", {})]
    attempts.run(Asked(call("draw", "1"), second), draw, kills, tool_executor=SequentialToolExecutor())
    assert attempts.record.attempt == 2
    model = Asked()
    attempts.run(model, draw, kills, attempt=2, tool_executor=SequentialToolExecutor())
    assert attempts.runs("draw") == 2
    drawn = [
        block["image"]["source"]["bytes"]
        for message in model.asked[-1]
        for outer in message["content"]
        for block in outer.get("toolResult", {}).get("content", [])
        if "image" in block
    ]
    assert drawn == [picture, picture]
    assert base64.b64encode(picture).decode() in attempts.first.artifacts.read_checkpoint(
        attempts.record.checkpoint or ""
    )


def test_the_agents_state_survives(attempts: Attempts) -> None:
    @tool
    def notes() -> str:
        """Note it."""
        state = attempts.agent.state
        state.set("noted", [*(state.get("noted") or []), attempts.session.attempt])
        return "noted"

    kills = attempts.counted("kills", kills=True)
    attempts.run(Asked(call("notes", "1"), call("kills", "2")), notes, kills)
    attempts.run(Asked(call("notes", "3")), notes, kills, attempt=2)
    assert attempts.agent.state.get("noted") == [1, 2]


def test_an_old_agent_that_lives_on_writes_nothing(attempts: Attempts) -> None:
    kills = attempts.counted("kills", kills=True)
    more = attempts.counted("more")
    model = Asked([("1", "kills", {})], call("more", "2"))
    attempts.run(model, kills, more)
    # After the kill it comes to its next model call and no further.
    assert (model.calls, attempts.runs("more")) == (1, 0)
    with pytest.raises(SessionEnded):
        attempts.session.artifacts.write("report.md", "late")
    assert [step.state for step in attempts.steps] == ["COMPLETED", "INTERRUPTED"]


def test_a_session_writes_by_the_journal_of_its_worker_and_attempt(opened: AgentSession) -> None:
    assert opened.artifacts._journal is opened.journal
    assert (opened.journal._worker, opened.journal._attempt) == (opened.worker, opened.attempt)


def test_a_tool_that_new_code_no_longer_has_is_an_error_that_the_model_reads(attempts: Attempts) -> None:
    kills = attempts.counted("kills", kills=True)
    attempts.run(Asked(call("kills")), kills)
    model = Asked("Done.")
    (answer,) = attempts.run(model, attempts.counted("other"), attempt=2)
    assert "Unknown tool: kills" in answer
    assert (model.calls, attempts.runs("kills")) == (1, 1)


def test_new_code_has_the_prompt_of_the_new_code(attempts: Attempts) -> None:
    kills = attempts.counted("kills", kills=True)
    attempts.run(Asked(call("kills")), kills, system_prompt="Old.")
    attempts.run(Asked("Done."), kills, attempt=2, system_prompt="New.")
    assert attempts.agent.system_prompt == "New."


def test_new_code_that_makes_no_agent_does_not_begin_again(attempts: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    kills = attempts.counted("kills", kills=True)
    attempts.run(Asked(call("kills")), kills)
    called: list[object] = []
    journal = attempts.first.journal.acting_for("second", 2)
    monkeypatch.setattr("tests.agents.given", lambda session: called.append, raising=False)
    second = replace(attempts.first, attempt=2, worker="second", journal=journal, agent="tests.agents:given")
    run(second)
    assert called == []
    assert attempts.record.error is not None
    assert attempts.record.error.code == "AgentUnsupported"


def test_a_result_that_looks_like_encoded_bytes_leaves_no_checkpoint(attempts: Attempts) -> None:
    @tool
    def hostile() -> dict[str, Any]:
        """Return what Strands would read as bytes."""
        data = {"__bytes_encoded__": True, "data": "eA=="}
        return {"status": "success", "content": [{"json": data}]}

    attempts.run(Asked(call("hostile"), "Done."), hostile)
    assert attempts.record.checkpoint == NO_CHECKPOINT


def test_an_attempt_that_cannot_continue_fails_with_the_cause_of_the_one_before(attempts: Attempts) -> None:
    attempts.first.journal.forbid_attempts(attempts.first.session_id)
    attempts.kill()
    model = Asked()
    with suppress(AttributeError):
        # There is no agent whose results could be read.
        attempts.run(model, attempt=2)
    assert (model.calls, attempts.record.error) == (0, Failure(KILLED.code, KILLED.message))

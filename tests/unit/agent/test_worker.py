"""A session's run, in the test's own process: what it tells its supervisor, and whose session it leaves alone."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from vigil.agent.session import AgentSession
from vigil.agent.worker import load_agent, run
from vigil.errors import MissingSetting, SessionEnded, SessionTaken
from vigil.session import Status, Usage

NewSession = Callable[..., str]
HELLO = "examples.hello_agent:hello_agent"


def test_the_supervisor_hears_of_every_call_of_the_model_and_of_a_tool(session: AgentSession) -> None:
    told: list[str] = []
    run(replace(session, agent=HELLO, alive=told.append))
    assert session.journal.get(session.session_id).status == Status.COMPLETED
    model = ["calling the model", "the model has answered"]
    tools = ["journal_set_status", "storage_write", "journal_set_status"]
    assert told == [
        *(line for name in tools for line in (*model, f"tool {name}", f"tool {name} has answered")),
        *model,
    ]


def test_a_note_is_a_sign_of_progress_too(session: AgentSession) -> None:
    told: list[str] = []
    replace(session, alive=told.append).note("7 of 12 functions")
    assert told == [session.journal.get(session.session_id).progress] == ["7 of 12 functions"]


def test_a_session_of_another_worker_is_not_begun(session: AgentSession) -> None:
    before = session.journal.get(session.session_id)
    with pytest.raises(SessionTaken, match="another worker runs it"):
        run(replace(session, agent="tests.agents:says_failed", worker="another"))
    assert session.journal.get(session.session_id) == before


def test_a_session_that_has_ended_is_not_begun(session: AgentSession, new_session: NewSession) -> None:
    ended = new_session(Status.FAILED)
    with pytest.raises(SessionEnded):
        run(replace(session, session_id=ended, agent=HELLO))


def test_the_first_end_of_a_session_stands_whatever_its_agent_does_after_it(session: AgentSession) -> None:
    run(replace(session, agent="tests.agents:completes_and_raises"))
    record = session.journal.get(session.session_id)
    assert (record.status, record.error) == (Status.COMPLETED, None)


def test_the_usage_of_the_model_is_recorded_until_the_agent_ends_its_session(session: AgentSession) -> None:
    run(replace(session, agent="tests.agents:reports_usage"))
    record = session.journal.get(session.session_id)
    assert record.status == Status.COMPLETED
    # Of the three calls, the last one came after that.
    assert record.usage == Usage("global.anthropic.claude-sonnet-4-6", 2_000, 400, Decimal("0.012"))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("tests.agents:no_such_factory", "has no attribute 'no_such_factory'"),
        ("no.such.module:agent", "No module named 'no'"),
        ("tests.agents", "has no attribute ''"),
        ("", "Empty module name"),
    ],
)
def test_a_factory_that_cannot_be_found_is_named(path: str, said: str) -> None:
    with pytest.raises(MissingSetting, match=said) as raised:
        load_agent(path)
    assert f"VIGIL_AGENT={path} is not package.module:factory" in str(raised.value)


def test_a_factory_must_be_callable() -> None:
    with pytest.raises(MissingSetting, match=r"VIGIL_AGENT=vigil\.settings:DEFAULT_AGENT is not callable"):
        load_agent("vigil.settings:DEFAULT_AGENT")

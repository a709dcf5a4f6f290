"""The agent's tools, called by the real agent loop: a refusal says what the next call must change."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.agents import follows, results
from vigil.agent.session import AgentSession
from vigil.agent.tools.journal import journal_tools
from vigil.agent.tools.storage import MAX_READ, storage_tools
from vigil.errors import InvalidArtifact
from vigil.session import Status

NewSession = Callable[..., str]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ('journal_set_status(status="DONE")', "Input should be 'BUSY', 'COMPLETED' or 'FAILED'"),
        ('journal_set_status(status="INITIATED")', "Input should be 'BUSY', 'COMPLETED' or 'FAILED'"),
        ('journal_set_status(status="FAILED")', "FAILED needs a message that says why"),
        ('journal_set_status(status="COMPLETED")', "save report.md before COMPLETED"),
        ('journal_start_phase(phase="")', "phase must be 1 to 60 printable characters"),
        ('journal_start_phase(phase="a#b")', "phase must be 1 to 60 printable characters"),
        ('journal_finish_phase(phase="never")', "phase 'never' is not running; running: none"),
        ('storage_write(name="", text="x")', "artifact name must be"),
        ('storage_write(name="../other/report.md", text="x")', "artifact name must be"),
        ('storage_read(name="none.md")', "no artifact none.md in this session"),
        ('storage_read(name="../../secrets")', "artifact name must be"),
    ],
)
def test_tool_refusal_reaches_the_model_and_the_record(session: AgentSession, call: str, said: str) -> None:
    agent = follows(session, f"1. `{call}`")
    agent("go")
    assert said in results(agent)[0]
    record = session.journal.get(session.session_id)
    assert record.status == Status.FAILED
    assert record.error is not None
    assert said in record.error.message


@pytest.mark.criterion("1.1", "1.3", "1.4")
def test_the_tools_write_to_their_session_and_set_busy_once(session: AgentSession, new_session: NewSession) -> None:
    session = replace(session, session_id=new_session())
    agent = follows(
        session,
        """1. `journal_set_status(status="BUSY")`
2. `journal_set_status(status="BUSY")`
3. `journal_start_phase(phase="work")`
4. `storage_write(name="report.md", text="# Done")`
5. `storage_read(name="report.md")`
6. `journal_finish_phase(phase="work", outcome="fail", message="half done")`
7. `journal_set_status(status="COMPLETED")`""",
    )
    agent("go")
    assert results(agent) == [
        "BUSY",
        "BUSY was set already; nothing changed",
        "started work",
        session.artifacts.uri("report.md"),
        "# Done",
        "finished work",
        "COMPLETED",
    ]
    assert session.journal.get(session.session_id).status == Status.COMPLETED
    told = [(task.name, task.state, task.message) for task in session.journal.tasks(session.session_id)]
    assert told == [("work", "FAILED", "half done")]


@pytest.mark.parametrize("make", [journal_tools, storage_tools])
def test_no_tool_takes_a_session_table_or_bucket_from_the_model(
    session: AgentSession, make: Callable[[AgentSession], list[Any]]
) -> None:
    names = {name for tool in make(session) for name in tool.tool_spec["inputSchema"]["json"]["properties"]}
    assert names <= {"status", "message", "phase", "outcome", "name", "text", "start"}


def test_the_schema_of_a_status_says_what_its_validation_takes(session: AgentSession) -> None:
    status = journal_tools(session)[0].tool_spec["inputSchema"]["json"]["properties"]["status"]
    assert status["enum"] == ["BUSY", "COMPLETED", "FAILED"]


def test_an_artifact_of_ten_megabytes_is_refused_whole(session: AgentSession) -> None:
    write = storage_tools(session)[0]
    with pytest.raises(InvalidArtifact, match="10000000 bytes; at most 5242880 are allowed"):
        write(name="big.txt", text="x" * 10_000_000)
    assert not session.artifacts.exists("big.txt")


def test_a_long_artifact_is_read_in_parts(session: AgentSession) -> None:
    write, read = storage_tools(session)
    text = "".join(f"{number}, " for number in range(2_000))
    write(name="long.txt", text=text)
    part, _, said = read(name="long.txt").rpartition("\n")
    assert said == f"[{len(text) - MAX_READ} more characters: start={MAX_READ}]"
    assert part + read(name="long.txt", start=MAX_READ) == text
    assert read(name="long.txt", start=-1).startswith("0, 1, ")
    assert read(name="long.txt", start=len(text)) == ""

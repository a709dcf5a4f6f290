"""The tool that saves the report: what it saves, in which order, and what the next session makes of it."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.costs.analyses import analysis, finding
from vigil.agent.session import AgentSession
from vigil.agent.tools.lambda_costs import lambda_cost_tools
from vigil.artifacts import Artifacts
from vigil.costs.analysis import Analysis, Analyst
from vigil.costs.document import findings_json
from vigil.costs.request import CostRequest
from vigil.costs.usage import Window
from vigil.errors import InvalidInput, SessionEnded
from vigil.names import BY_FINDING, BY_FUNCTION, FINDINGS, PAGE, REPORT
from vigil.session import Status


@pytest.fixture
def found() -> Analysis:
    """An analysis of functions that no other test looks at."""
    return analysis([finding()], request=CostRequest(regions=("us-east-1",), functions=uuid.uuid4().hex))


@pytest.fixture
def save(session: AgentSession, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Save the report of an analysis as an agent does, in the session or in another one."""

    def call(found: Analysis, of: AgentSession = session, summary: str = "Look.") -> str:
        monkeypatch.setattr(Analyst, "find_savings", lambda self: found)
        tools = {tool.tool_name: tool for tool in lambda_cost_tools(of, "the stand-in")}
        return str(tools["save_report"](summary=summary))

    return call


@pytest.fixture
def other(session: AgentSession, s3: Any, new_session: Callable[..., str]) -> AgentSession:
    """Another session that a worker has begun."""
    session_id = new_session(Status.BUSY, worker=session.worker)
    return replace(session, session_id=session_id, artifacts=Artifacts(s3, "artifacts", session_id))


@pytest.fixture
def put(s3: Any) -> Iterator[list[str]]:
    """The names of what is put into the bucket, in order."""
    names: list[str] = []

    def told(params: dict[str, Any], **_: object) -> None:
        names.append(params["Key"].rpartition("/")[2])

    s3.meta.events.register("provide-client-params.s3.PutObject", told)
    yield names
    s3.meta.events.unregister("provide-client-params.s3.PutObject", told)


def next_day(found: Analysis) -> Analysis:
    """Return the same analysis, of a window that ends a day later."""
    window = Window(found.usage.window.start + timedelta(days=1), found.usage.window.end + timedelta(days=1))
    return replace(found, usage=replace(found.usage, window=window))


def test_the_report_is_saved_last(
    save: Callable[..., str], session: AgentSession, put: list[str], found: Analysis
) -> None:
    assert save(found) == session.artifacts.uri(REPORT)
    kept, *names = put
    assert kept == f"2026-07-01_{session.session_id}.json"
    assert names == [FINDINGS, BY_FINDING, BY_FUNCTION, PAGE, REPORT]


def test_a_session_that_has_ended_keeps_the_report_that_it_has(
    save: Callable[..., str], session: AgentSession, put: list[str], found: Analysis
) -> None:
    session.fail("AgentFailed", "enough")
    with pytest.raises(SessionEnded):
        save(found)
    assert put == []


def test_what_is_refused_leaves_nothing_behind(save: Callable[..., str], put: list[str], found: Analysis) -> None:
    with pytest.raises(InvalidInput):
        save(found, summary="Saves 5 dollars.")
    assert put == []


def test_a_session_compares_with_the_last_one_of_the_same_functions_and_not_with_itself(
    save: Callable[..., str], session: AgentSession, other: AgentSession, found: Analysis
) -> None:
    none = "there is none of the same functions on record"
    save(found)
    save(found)
    assert none in session.artifacts.read(REPORT)
    # Of the same day as the first, which is not earlier; the next day both are.
    save(found, other)
    assert none in other.artifacts.read(REPORT)
    save(next_day(found), other)
    assert "**Since 2026-07-01:** 0 new" in other.artifacts.read(REPORT)
    save(replace(found, request=CostRequest(regions=("us-east-1",), functions=uuid.uuid4().hex)), other)
    assert "there is none of the same functions on record" in other.artifacts.read(REPORT)


def test_a_history_that_is_damaged_breaks_no_session(
    save: Callable[..., str], session: AgentSession, other: AgentSession, s3: Any, put: list[str], found: Analysis
) -> None:
    save(found, other)
    key = next(
        item["Key"]
        for item in s3.list_objects_v2(Bucket="artifacts", Prefix="history/")["Contents"]
        if item["Key"].endswith(put[0])
    )
    s3.put_object(Bucket="artifacts", Key=key, Body=b"\xff{")
    save(next_day(found))
    assert "no comparison" in session.artifacts.read(REPORT)
    good, _, _ = key.rpartition("/")
    s3.put_object(Bucket="artifacts", Key=f"{good}/2026-06-01_{uuid.uuid4()}.json", Body=findings_json(found).encode())
    save(next_day(found))
    assert "**Since 2026-07-01:** 0 new" in session.artifacts.read(REPORT)

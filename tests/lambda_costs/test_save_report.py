"""The tool that saves the report: what it saves, in which order, and how the next session uses it."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lambda_costs.analysis import Analysis, CostAnalysis
from lambda_costs.collect.usage import Window
from lambda_costs.report.artifacts import findings_json, headline, history_key
from lambda_costs.report.charts import BY_FINDING, BY_FUNCTION
from lambda_costs.request import CostRequest
from lambda_costs.tools import lambda_cost_tools
from tests.lambda_costs.analyses import analysis, finding
from vigil.agent.session import AgentSession
from vigil.errors import InvalidInput, SessionEnded
from vigil.names import FINDINGS, PAGE, REPORT


@pytest.fixture
def found() -> Analysis:
    """An analysis of functions that no other test looks at."""
    return analysis([finding()], request=CostRequest(regions=("us-east-1",), functions=uuid.uuid4().hex))


@pytest.fixture
def save(session: AgentSession, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Save the report of an analysis as an agent does, in the session or in another one."""

    def call(found: Analysis, to: AgentSession = session, summary: str = "Look.") -> str:
        monkeypatch.setattr(CostAnalysis, "find_savings", lambda self: found)
        tools = {tool.tool_name: tool for tool in lambda_cost_tools(to, "the script")}
        return str(tools["save_report"](summary=summary))

    return call


@pytest.fixture
def put(s3: Any) -> Iterator[list[str]]:
    """The names of the objects that are put into the bucket, in order."""
    names: list[str] = []

    def record(params: dict[str, Any], **_: object) -> None:
        names.append(params["Key"].rpartition("/")[2])

    s3.meta.events.register("provide-client-params.s3.PutObject", record)
    yield names
    s3.meta.events.unregister("provide-client-params.s3.PutObject", record)


def next_day(found: Analysis) -> Analysis:
    """Return the same analysis, of a window that ends a day later."""
    window = Window(found.usage.window.start + timedelta(days=1), found.usage.window.end + timedelta(days=1))
    return replace(found, usage=replace(found.usage, window=window))


def test_report_is_saved_last(save: Callable[..., str], session: AgentSession, put: list[str], found: Analysis) -> None:
    assert save(found) == session.artifacts.uri(REPORT)
    kept, *names = put
    assert kept.startswith("history-")
    assert names == [FINDINGS, BY_FINDING, BY_FUNCTION, PAGE, REPORT]


def test_ended_session_keeps_its_report(save: Callable[..., str], session: AgentSession, found: Analysis) -> None:
    save(found)
    report = session.artifacts.read(REPORT)
    session.fail("AgentFailed", "enough")
    with pytest.raises(SessionEnded):
        save(found, summary="Something else.")
    assert session.artifacts.read(REPORT) == report


def test_refused_report_saves_nothing(save: Callable[..., str], put: list[str], found: Analysis) -> None:
    with pytest.raises(InvalidInput):
        save(found, summary="Saves 5 dollars.")
    assert put == []


def test_session_is_compared_with_the_last_completed_one(
    save: Callable[..., str], begun: Callable[..., AgentSession], found: Analysis
) -> None:
    first_analysis = "first analysis of these functions"
    first, second, third = begun(), begun(), begun()
    save(found, first)
    save(next_day(found), second)
    assert first_analysis in second.artifacts.read(REPORT)
    first.complete()
    # The first is of the same day, and so not earlier; on the next day it is.
    save(found, second)
    assert first_analysis in second.artifacts.read(REPORT)
    save(next_day(found), second)
    assert "**Since 2026-07-01:** 0 new" in second.artifacts.read(REPORT)
    save(replace(found, request=CostRequest(regions=("us-east-1",), functions=uuid.uuid4().hex)), third)
    assert first_analysis in third.artifacts.read(REPORT)


def test_damaged_history_breaks_no_session(
    save: Callable[..., str], begun: Callable[..., AgentSession], s3: Any, found: Analysis
) -> None:
    found = replace(found, request=CostRequest(regions=("us-east-1",), functions=uuid.uuid4().hex))
    damaged, good, last = begun(), begun(), begun()
    series = history_key(found.request)
    for session, text in ((good, findings_json(found)), (damaged, "{")):
        session.artifacts.keep(series, found.end, text)
        session.artifacts.write(REPORT, "# Done")
        session.complete()
        save(next_day(found), last)
        assert "**Since 2026-07-01:** 0 new" in last.artifacts.read(REPORT)


def test_the_session_completes_with_the_headline_of_its_report(
    save: Callable[..., str], session: AgentSession, found: Analysis
) -> None:
    save(found)
    session.complete()
    assert session.journal.get(session.session_id).headline == headline(session.artifacts.read(FINDINGS))

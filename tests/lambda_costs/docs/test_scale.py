"""docs/scale.md states the load that the code causes."""

import re
from math import ceil
from typing import Any

import pytest

from lambda_costs.report.charts import BY_FINDING, BY_FUNCTION
from vigil.agent.session import PROGRESS_INTERVAL_SECONDS
from vigil.journal_reader import MOST_HISTORY
from vigil.local.deploy import PROJECT
from vigil.local.scripted_model import procedure
from vigil.names import FINDINGS, PAGE, REPORT
from vigil.reconciler import CLOSING_SECONDS, STOPPING_SECONDS, STOPS_AT_ONCE
from vigil.settings import HEARTBEAT_SECONDS
from vigil.step import MAX_STEP_TEXT
from vigil.watch import ASK_SECONDS, MAX_ASK_SECONDS

SAVED = (REPORT, FINDINGS, PAGE, BY_FINDING, BY_FUNCTION)
SECONDS = 15 * 60
RECORD = 2
"""Write units of a record that holds a task token."""
CHECKED = 2 * RECORD + 2
"""Of an item that is written in one transaction with a look at the record: each counts twice."""


@pytest.fixture(scope="module")
def page() -> str:
    return (PROJECT / "docs" / "scale.md").read_text(encoding="utf-8")


def load() -> dict[str, int]:
    """The load of a session, by its name in the page."""
    # Not at the top: CDK starts Node, and every test process imports this module.
    from benchmarks.waiting import computed
    from infra.stack import LISTED

    walked, _ = computed(SECONDS)
    tokens = walked.events.count("TaskSubmitted")
    prompt = (PROJECT / "src" / "lambda_costs" / "prompt.md").read_text(encoding="utf-8")
    phases = len(re.findall(r"`journal_start_phase\(", prompt))
    # Each tool is called by one call of the model.
    steps = 2 * len(procedure(prompt))
    # A step of full length has one text when it begins and two when it ends, and less than 1 KB beside them.
    step = sum(2 * ceil((1000 + texts * MAX_STEP_TEXT) / 1024) for texts in (1, 2))
    by_start, by_status = 3, 5
    # What both indexes hold is written to them with each of the three.
    assert {"status", "created_at", "ended_at"} <= LISTED
    assert not {"heartbeat_at", "progress", "task_token", "updated_at"} & LISTED
    units = {
        "creation, BUSY and COMPLETED": 1 + 2 * RECORD + by_start + by_status,
        "task tokens": tokens * RECORD,
        "heartbeats": (SECONDS // HEARTBEAT_SECONDS + 1) * RECORD,
        "notes of progress, at most": ceil(SECONDS / PROGRESS_INTERVAL_SECONDS) * RECORD,
        "work phases": phases * (RECORD + CHECKED + CHECKED),
        "artifacts": (len(SAVED) + 1) * CHECKED,
        "steps, at most": steps * (2 * 2 * RECORD + step),
    }
    return {
        **{"state transitions": walked.transitions, "history events": len(walked.events)},
        **{"checks by its workflow": walked.states.count("CheckStatus"), "task tokens stored": tokens},
        **{f"write units: {name}": value for name, value in units.items()},
        "write units in all, at most": sum(units.values()),
        **{"units of the index by start": by_start, "units of the index by status": by_status},
    }


def test_the_load_of_a_session_is_what_the_code_makes_it(page: str) -> None:
    section = page.partition("## The load of a session")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| ([\d,]+) \|", section, flags=re.MULTILINE)
    assert {name: int(number.replace(",", "")) for name, number in rows} == load()


def test_where_a_stage_saturates_follows_from_the_load(page: str) -> None:
    found = load()
    assert f"{5_000 // found['state transitions']} sessions/s begun and ended" in page
    assert f"{1_000 // found['units of the index by start']} new sessions/s" in page
    assert f"{5_000 // SECONDS} sessions/s for ever" in page
    # A checkpoint when a tool begins, since each message asks for one tool, and one when it ends.
    prompt = (PROJECT / "src" / "lambda_costs" / "prompt.md").read_text(encoding="utf-8")
    checkpoints, files = 2 * len(procedure(prompt)), len(SAVED) + 1
    assert f"{checkpoints + files}: {checkpoints} checkpoints and {files} files" in page
    assert f"{3_500 // (checkpoints + files)} sessions/s |" in page
    most = found["write units in all, at most"]
    assert f"{most} in 15 minutes" in page
    assert round(4_000 * SECONDS / most, -2) == 3_700


def test_the_bounds_of_the_helpers_are_those_of_the_code(page: str) -> None:
    from infra.reconciler import BATCH, CONCURRENCY

    for said in (
        f"{CONCURRENCY} instances at once, {BATCH} messages a call",
        f"closes for {CLOSING_SECONDS} s and stops {STOPS_AT_ONCE} agents at a time until {STOPPING_SECONDS} s",
        f"every {ASK_SECONDS:.0f} to {MAX_ASK_SECONDS:.0f} s",
        f"{20 * ASK_SECONDS:.0f} watchers",
        f"the last {MOST_HISTORY} sessions",
    ):
        assert said in page


def test_what_an_analysis_asks_of_lambda_is_what_was_measured(page: str) -> None:
    benchmarks = (PROJECT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    header, *rows = re.findall(r"^\| (API calls|Lambda \w+) +\|(.+)\|$", benchmarks, flags=re.MULTILINE)
    column = [cell.strip() for cell in header[1].split("|")].index("500 functions")
    calls: dict[str, Any] = {name: int(cells.split("|")[column].replace(",", "")) for name, cells in rows}
    policies = calls.pop("Lambda GetPolicy")
    shared = sum(calls.values())
    assert f"{shared:,} calls for 500 functions" in page
    assert f"and {policies} of GetPolicy" in page
    assert f"{shared / 15:.0f} s of the account's rate: {15 * 86_400 // shared:,} analyses a day" in page


def test_what_steps_write_is_what_was_computed_from_a_session(page: str) -> None:
    benchmarks = (PROJECT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    section = benchmarks.partition("<!-- steps: begin -->")[2].partition("<!-- steps: end -->")[0]
    measured, most = re.findall(r"\| +(\d+) \| +\$[\d.]+ \|$", section, flags=re.MULTILINE)
    assert f"[{measured} as measured]" in page
    assert int(most) == load()["write units: steps, at most"]

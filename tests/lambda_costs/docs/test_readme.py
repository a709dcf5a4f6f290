"""README and guides show what the commands print: each is run and compared, with ids, times and dates masked."""

import json
import re
import subprocess
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from benchmarks.findings.score import GOALS, Summary, score
from lambda_costs.report.history import read_document
from lambda_costs.sample_account import build
from vigil.local.deploy import PROJECT

pytestmark = pytest.mark.takes(40)

README = (PROJECT / "README.md").read_text(encoding="utf-8")
MASKS = {
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "ID",
    r"\d{4}-\d\d-\d\d": "DATE",
    r"\d+\.\d s\b": "TIME",
    r" +TIME": "TIME",
    r"(?m) +$": "",
    r"installing into \.venv: .*": "",  # once, whatever the first target is
    r"(runtime deprecated, or soon to be) in \d+ functions? \([^)]*\)": r"\1",  # more of them with time
}


def shown(after: str) -> str:
    """Return the output that the README shows after the command ``after``."""
    match = re.search(rf"```sh\n{re.escape(after)}\n```\n\n```text\n(.*?)```", README, re.DOTALL)
    assert match is not None, after
    return match[1]


def masked(text: str) -> list[str]:
    """Return the lines of ``text`` without what differs from run to run, their order included."""
    for pattern, mask in MASKS.items():
        text = re.sub(pattern, mask, text)
    # A status may pass between two looks at the record.
    return sorted(line for line in text.splitlines() if line and not re.search("session +(INITIATED|BUSY)$", line))


def assert_shown(after: str, printed: str) -> None:
    """Assert that ``printed`` has all lines that the README shows after a command; "…" stands for others."""
    assert not Counter(line for line in masked(shown(after)) if line != "…") - Counter(masked(printed))


def make_run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Return what ``make run`` printed, of a run within one day in UTC: the sample account ends at its beginning."""
    command = ["make", "--no-print-directory", "run", f"ARGS={' '.join(arguments)}"]
    while True:
        began = datetime.now(UTC).date()
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
        if datetime.now(UTC).date() == began:
            return done


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What ``make run`` printed, and the folder with what it saved."""
    folder = tmp_path_factory.mktemp("run") / "out"
    done = make_run("--out", str(folder))
    assert done.returncode == 0, done.stderr
    return done.stdout.replace(str(folder), "out"), folder


def test_make_run_prints_what_the_readme_shows_and_saves_the_report(run: tuple[str, Path]) -> None:
    printed, folder = run
    assert_shown("make run", printed)
    assert (folder / "report.md").read_text(encoding="utf-8").startswith("# What this account overpays")
    assert "Invocation completed" in (folder / "agent.log").read_text(encoding="utf-8")


def test_the_analysis_of_the_sample_account_reaches_every_goal(run: tuple[str, Path]) -> None:
    findings = (run[1] / "findings.json").read_text(encoding="utf-8")
    scored = score(build(), json.loads(findings))
    assert (scored.wrong, scored.missed) == (set(), set())
    summary = Summary((scored,))
    missed = {goal.name: goal.measure(summary) for goal in GOALS if not goal.met(summary)}
    assert not missed, scored.abstained
    # And the next analysis can compare with it.
    assert read_document(findings, date.max)


def test_the_guide_shows_the_example_as_it_is() -> None:
    page = (PROJECT / "docs" / "agents.md").read_text(encoding="utf-8")
    assert (PROJECT / "examples" / "hello_agent.py").read_text(encoding="utf-8").strip() in page


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 120


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a document."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", sorted(PROJECT.glob("*.md")) + sorted((PROJECT / "docs").glob("*.md")))
def test_every_link_leads_somewhere(document: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", document.read_text(encoding="utf-8")):
        linked = document.parent / target if target else document
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


def test_every_make_target_that_a_document_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    for document in PROJECT.glob("*.md"):
        named = set(re.findall(r"`?\bmake ([a-z-]+)[`\s]", document.read_text(encoding="utf-8")))
        assert named - {"sure"} <= targets, document

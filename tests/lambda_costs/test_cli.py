"""The command line with the agent that ships: its options, its artifacts, and what it refuses."""

import json
import re
from pathlib import Path

import pytest

from tests.support import command, refused
from vigil.deployment import Deployment
from vigil.folder import LISTING
from vigil.local.stack import LocalStack
from vigil.names import FINDINGS, PAGE, REPORT


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test saves what it saves in a folder of its own."""
    monkeypatch.chdir(tmp_path)


def test_run_shows_a_session_live_and_saves_a_report(stack: LocalStack, deployment: Deployment, tmp_path: Path) -> None:
    done = command(stack, "vigil", "run", "--functions", "orders-*", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    moments = ("InitializeSession", "BUSY", "inventory completed", "SessionCompleted", "COMPLETED after")
    for shown in (*moments, "## Summary"):
        assert shown in done.stdout
    assert "## Savings" not in done.stdout
    report = (tmp_path / "out" / "report.md").read_text()
    assert report.startswith("# What this account overpays for AWS Lambda")
    # Beside it is the page, and every chart that it shows.
    charts = re.findall(r"\]\((\S+\.svg)\)", report)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {REPORT, FINDINGS, PAGE, LISTING, *charts}
    assert f"as a page with charts: {tmp_path / 'out' / PAGE}" in done.stdout
    assert "<h2>Summary</h2>" in (tmp_path / "out" / PAGE).read_text()
    # The cost agent's artifacts come through to the byte.
    artifacts = deployment.artifacts(done.stdout.partition("session ")[2].split()[0])
    for name in (REPORT, FINDINGS, PAGE, *charts):
        assert (tmp_path / "out" / name).read_text() == artifacts.read(name)
    assert json.loads((tmp_path / "out" / "findings.json").read_text())["request"]["functions"] == "orders-*"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trigger", "--days", "0"], "days must be a whole number from 1 to 90"),
        (["trigger", "--functions", ""], "functions must be a name filter"),
        (["run", "--region", "nowhere"], "regions must be a list of 1 to 20"),
        (["run", "--local", "--detail", '{"day": 1}'], "'day' is not known"),
    ],
)
def test_input_that_the_agent_would_refuse_starts_nothing(stack: LocalStack, words: list[str], said: str) -> None:
    assert said in refused(stack, "vigil", *words)


def test_other_peoples_text_is_shown_as_it_is(stack: LocalStack) -> None:
    done = command(stack, "vigil", "run", "--detail", '{"[/x]": 1}')
    assert done.returncode == 1
    assert "'[/x]' is not known" in done.stderr
    session_id = done.stdout.split()[1]
    said = refused(stack, "vigil", "report", session_id)
    assert said == f"vigil: session {session_id} is FAILED: no artifact report.md in this session"
    listed = command(stack, "vigil", "sessions", "--limit", "1")
    assert listed.returncode == 0, listed.stderr
    assert "InvalidDetail" in listed.stdout


def test_watch_shows_why_the_agent_refused_the_detail(stack: LocalStack) -> None:
    done = command(stack, "vigil", "run", "--detail", '{"days": 1000}')
    assert done.returncode == 1
    assert "InvalidDetail" in done.stderr
    assert "days must be a whole number from 1 to 90" in done.stderr

"""CONTRIBUTING.md: its example of a finding needs no other edit for the analysis, report, tests and benchmark."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vigil.local.deploy import PROJECT

pytestmark = pytest.mark.takes(15)

USE = """
from benchmarks.findings.__main__ import kinds_table
from benchmarks.findings.run import run
from benchmarks.findings.score import Summary
from benchmarks.report import Report
from lambda_costs.report.markdown import render_report
from lambda_costs.sample_account import assemble
from lambda_costs.sample_account.scenarios import PLANTED
from tests.lambda_costs.cases import analyse, function
from tests.lambda_costs.findings.test_timeout_low import USED


def test_use():
    print(render_report(analyse({function(timeout_seconds=10): USED}), summary="Look.", written_by="a test"))
    scored = run("an account", assemble(7, [PLANTED["timeout low"]]))
    kinds_table(Report("findings"), Summary((scored.score,)))
"""
FINDINGS = Path("tests", "lambda_costs", "findings")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's code with the example of the page in it."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("src", "tests", "benchmarks", "infra"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "app.py"):
        shutil.copy(PROJECT / name, folder)
    page = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Add a finding")[2]
    rule, test, scenario = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    paths = re.findall(r"`((?:src|tests)/\S+\.py)`", page)
    (folder / paths[0]).write_text(rule)
    (folder / paths[1]).write_text(test)
    scenarios = folder / paths[2]
    head, declared, rest = scenarios.read_text().partition("PLANTED: dict[str, Scenario] = {\n")
    assert declared
    scenarios.write_text(head + declared + scenario + rest)
    return folder


@pytest.fixture(scope="module")
def shown(copy: Path) -> str:
    """What the tests of findings and the use of the new one print, in one process: imports take longest."""
    (copy / FINDINGS / "test_timeout_use.py").write_text(USE)
    # The project is installed in the environment; the copy comes first.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (copy / "src", copy)))}
    words = [sys.executable, "-m", "pytest", "-vvs", "-p", "no:cacheprovider", str(FINDINGS), "-k", "timeout"]
    done = subprocess.run(words, env=environment, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_of_a_finding_passes_the_tests_of_findings(shown: str) -> None:
    assert re.search(r"\btest_findings\.py::\S*timeout-low\S* PASSED", shown)
    assert re.search(r"\btest_timeout_low\.py::\S* PASSED", shown)


def test_the_report_and_the_benchmark_show_the_example(shown: str) -> None:
    assert "### Timeout set low (1)" in shown
    (row,) = (line.split() for line in shown.splitlines() if line.startswith("| timeout-low "))
    assert row[:8] == ["|", "timeout-low", "|", "1", "|", "100.0%", "|", "100.0%"]

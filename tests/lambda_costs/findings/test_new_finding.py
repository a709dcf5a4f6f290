"""To add a finding, a module in the package ``findings`` is enough for the analysis, the report and the benchmark."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import lambda_costs
from vigil.local.deploy import PROJECT

MODULE = """
from lambda_costs.model.context import FindingKind
from lambda_costs.model.finding import Finding, SavingsRange


def find(context):
    texts = {"formula": "1 + 1", "change": "Try it", "risk": "None.", "validate": "Look."}
    about = context.identity(FINDING.kind)
    yield Finding(**about, evidence={}, savings=SavingsRange(1.0, 2.0, 3.0), **texts)


FINDING = FindingKind(kind="brand-new", title="Brand new waste", rule=find, urgent=True)
"""

USE = """
import json
from benchmarks.findings.__main__ import kinds_table
from benchmarks.findings.score import Summary, score
from benchmarks.report import Report
from lambda_costs.report.artifacts import findings_json
from lambda_costs.report.markdown import render_report
from lambda_costs.sample_account import assemble
from lambda_costs.sample_account.scenarios import Scenario
from tests.lambda_costs.cases import analyse, function, usage

account = assemble(7, [Scenario(kinds=frozenset({"brand-new"}))])
analysis = analyse({function(account.functions[0].name): usage()})
print(render_report(analysis, summary="Look.", written_by="a test"))
kinds_table(Report("findings"), Summary((score(account, json.loads(findings_json(analysis))),)))
"""


def test_a_module_is_all_that_a_new_finding_needs(tmp_path: Path) -> None:
    package = Path(lambda_costs.__file__).parent
    copy = shutil.copytree(package, tmp_path / "lambda_costs", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "findings" / "brand_new.py").write_text(MODULE)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, PROJECT)))}
    done = subprocess.run([sys.executable, "-c", USE], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "**Urgent:** brand new waste in 1 function" in done.stdout
    assert "Brand new waste, us-east-1, `brand-new:" in done.stdout
    (row,) = (line.split() for line in done.stdout.splitlines() if line.startswith("| brand-new "))
    assert row[:8] == ["|", "brand-new", "|", "1", "|", "100.0%", "|", "100.0%"]

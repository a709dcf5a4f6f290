import json
from datetime import date

import pytest

from benchmarks.findings.run import run
from benchmarks.findings.score import GOALS, Summary
from lambda_costs.report.history import read_document
from lambda_costs.sample_account import build


@pytest.mark.slow
def test_the_analysis_of_the_sample_account_reaches_every_goal() -> None:
    scored = run("default", build())
    summary = Summary((scored.score,))
    missed = {goal.name: goal.measure(summary) for goal in GOALS if not goal.met(summary)}
    # And the next analysis can compare with it.
    assert read_document(json.dumps(scored.document), date.max)
    assert not missed, (sorted(scored.score.wrong), sorted(scored.score.missed), scored.score.abstained)

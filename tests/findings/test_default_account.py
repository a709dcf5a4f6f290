from benchmarks.findings.run import run
from benchmarks.findings.score import GOALS, Summary
from vigil.local.sample_account import build


def test_the_analysis_of_the_sample_account_reaches_every_goal() -> None:
    scored = run("default", build())
    summary = Summary((scored.score,))
    missed = {goal.name: goal.of(summary) for goal in GOALS if not goal.met(summary)}
    assert not missed, (sorted(scored.score.wrong), sorted(scored.score.missed), scored.score.abstained)

"""What the analysis finds and misses in accounts of known truth: ``python -m benchmarks.findings``."""

import argparse
import sys
from collections.abc import Iterator

from benchmarks.findings.accounts import free_tier_account, random_account
from benchmarks.findings.run import Scored, run
from benchmarks.findings.score import GOALS, Summary
from benchmarks.report import Report, machine
from lambda_costs.findings import KINDS
from lambda_costs.sample_account import SampleAccount, build

TUNING_SEEDS = (1, 2, 3, 4, 5)  # the analysis may be tuned on these
REPORT_SEEDS = (101, 102, 103, 104, 105)  # the report is about these


def accounts(seeds: list[int], sizes: list[int]) -> Iterator[tuple[str, SampleAccount]]:
    """Yield the accounts to score, each with its name."""
    yield "default", build()
    yield "inside the free tier", free_tier_account()
    for size in sizes:
        for seed in seeds:
            yield f"{size:,} functions, seed {seed}", random_account(seed, size)


def main() -> int:
    """Score, print, and write if asked to; fails if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.findings", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=REPORT_SEEDS, help=f"tune on {TUNING_SEEDS}")
    parser.add_argument("--functions", type=int, nargs="*", default=(100,), help="sizes of the random accounts")
    parser.add_argument("--verbose", action="store_true", help="name what is wrong, missed and not covered")
    parser.add_argument("--write", action="store_true", help="write the result into docs/benchmarks.md")
    arguments = parser.parse_args()
    report = Report("findings")
    report.say(machine())
    scored = []
    for name, account in accounts(arguments.seeds, arguments.functions):
        scored.append(run(name, account))
        if arguments.verbose:
            explain(scored[-1])
    summary = Summary(tuple(item.score for item in scored))
    _accounts_table(report, scored)
    kinds_table(report, summary)
    _goals_table(report, summary)
    if arguments.write:
        report.write()
    return int(not all(goal.met(summary) for goal in GOALS))


def explain(scored: Scored) -> None:
    """Print what is wrong, function by function, with its hidden parameters."""
    functions = {function.name: function for function in scored.account.functions}
    gaps = {gap["subject"]: gap["reason"] for gap in scored.document["gaps"]}
    problems = [
        (item.function, f"{verdict} {item.kind}")
        for verdict in ("wrong", "missed")
        for item in sorted(getattr(scored.score, verdict))
    ]
    problems += [
        (claim.planted.function, str(claim)) for claim in scored.score.claims if not claim.covered or claim.error > 0.5
    ]
    problems += [(name, "did not abstain") for name, done in scored.score.abstained.items() if not done]
    for name, problem in problems:
        print(f"{scored.name}: {problem}\n  {gaps.get(name)}\n  {functions[name]}")


def _accounts_table(report: Report, scored: list[Scored]) -> None:
    counts = ("Account", "functions", "planted", "found", "wrong")
    report.table(
        (*counts, "saved, gross", "in truth", "error", "net", "in truth", "abstained"),
        (
            (
                item.name,
                item.score.functions,
                len(item.score.right) + len(item.score.missed),
                len(item.score.right),
                len(item.score.wrong),
                f"${item.score.gross.expected:,.2f}",
                f"${item.score.gross.truth:,.2f}",
                _percent(item.score.gross.error) if item.score.gross.matters else "",
                f"${item.score.net.expected:,.2f}",
                f"${item.score.net.truth:,.2f}",
                f"{sum(item.score.abstained.values())} of {len(item.score.abstained)}",
            )
            for item in scored
        ),
    )


def kinds_table(report: Report, summary: Summary) -> None:
    """Add the table of the kinds to ``report``."""
    report.table(
        ("Finding", "planted", "precision", "recall", "median error of its savings", "intervals that hold the truth"),
        (
            (
                kind,
                summary.planted(kind),
                _percent(summary.precision(kind)),
                _percent(summary.recall(kind)),
                "" if (error := summary.error(kind)) is None else _percent(error),
                "" if error is None else _percent(summary.covered(kind)),
            )
            for kind in KINDS
        ),
    )


def _goals_table(report: Report, summary: Summary) -> None:
    report.table(
        ("All accounts", "measured", "goal", ""),
        (
            (goal.name, _percent(goal.measure(summary)), str(goal), "met" if goal.met(summary) else "MISSED")
            for goal in GOALS
        ),
    )


def _percent(value: float) -> str:
    return f"{value:.1%}"


if __name__ == "__main__":
    sys.exit(main())

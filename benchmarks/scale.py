"""What the analysis of a large account takes: ``python -m benchmarks.scale``."""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from benchmarks.findings.accounts import random_account
from benchmarks.report import Report, machine
from lambda_costs.analysis import CostAnalysis
from lambda_costs.report.artifacts import findings_json
from lambda_costs.request import CostRequest
from lambda_costs.sample_account import seed_account
from vigil.local.stack import REGION, LocalSession, LocalStack

SIZES = (125, 250, 500, 1000)
SEED = 101
MOST_SECONDS = 40
MOST_MB = 200  # goals, of the largest account


@dataclass(frozen=True)
class Run:
    """One analysis, in a process of its own."""

    functions: int
    seconds: float
    peak_mb: float  # most memory that the process had, with the interpreter and boto3
    calls: dict[str, int]  # API calls by operation


def analyse() -> dict[str, Any]:
    """Analyse the account that the environment leads to in this process, and return a Run's values."""
    session, calls = LocalSession(os.environ), list[str]()

    def client(service: str, region: str) -> Any:
        made = session.client(service, region_name=region)
        made.meta.events.register(
            "before-call", lambda model, **_: calls.append(f"{model.service_model.service_id} {model.name}")
        )
        return made

    began = time.monotonic()
    document = findings_json(CostAnalysis(CostRequest(regions=(REGION,)), client).find_savings())
    seconds = time.monotonic() - began
    assert document
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak_mb": peak_mb, "calls": Counter(calls)}


def run(size: int) -> Run:
    """Analyse an account of ``size`` functions in an embedded AWS of its own."""
    with LocalStack.launch() as stack:
        seed_account(random_account(SEED, size), stack.client, datetime.now(UTC))
        command = [sys.executable, "-m", "benchmarks.scale", "--analyse"]
        environment = {**os.environ, **stack.environment()}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return Run(size, **json.loads(done.stdout))


def main() -> int:
    """Measure, print, and write if asked to; fails if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--functions", type=int, nargs="+", default=SIZES, help="sizes of the accounts")
    parser.add_argument("--write", action="store_true", help="write the result into docs/benchmarks.md")
    parser.add_argument("--analyse", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.analyse:
        print(json.dumps(analyse()))
        return 0
    report = Report("scale")
    report.say(machine())
    runs = [run(size) for size in arguments.functions]
    report.table(
        ("Functions", "seconds", "a function", "most memory", "API calls", "a function"),
        (
            (
                f"{item.functions:,}",
                f"{item.seconds:.1f}",
                f"{1000 * item.seconds / item.functions:.0f} ms",
                f"{item.peak_mb:,.0f} MB",
                f"{sum(item.calls.values()):,}",
                f"{sum(item.calls.values()) / item.functions:.1f}",
            )
            for item in runs
        ),
    )
    operations = sorted({name for item in runs for name in item.calls})
    report.table(
        ("API calls", *(f"{item.functions:,} functions" for item in runs)),
        ((name, *(f"{item.calls.get(name, 0):,}" for item in runs)) for name in operations),
    )
    report.say(f"Goals for the largest: {MOST_SECONDS} s and {MOST_MB} MB.")
    if arguments.write:
        report.write()
    return int(runs[-1].seconds > MOST_SECONDS or runs[-1].peak_mb > MOST_MB)


if __name__ == "__main__":
    sys.exit(main())

"""What it costs that a session can be continued: ``python -m benchmarks.attempts``."""

import argparse
import random
from datetime import datetime
from statistics import median
from typing import Any

from benchmarks.report import Report, machine
from vigil.artifacts import CHECKPOINT_PREFIX
from vigil.deployment import Deployment
from vigil.local.stack import LocalStack
from vigil.names import Env, Output
from vigil.watch import SessionOutcome, watch

SAVED = ("nothing", "steps", "steps and checkpoints")
ROUNDS = 25
PUT = 0.005 / 1000  # dollars of a PutObject
STORED = 0.023 / 30  # dollars of a GB in S3 for a day
DAYS = 4  # that the bucket keeps a checkpoint, with the day in an older version


def seconds_of(deployment: Deployment, saved: str) -> tuple[str, float]:
    """Run a session of the cost agent; return its id, and the seconds from BUSY to its end."""
    session_id = deployment.trigger({"saved": saved})
    *_, outcome = watch(deployment, session_id)
    if not isinstance(outcome, SessionOutcome) or not outcome.completed:
        raise RuntimeError(f"the session failed: {outcome}")
    session = deployment.journal.get(session_id)
    began, ended = (datetime.fromisoformat(at or "") for at in (session.busy_at, session.ended_at))
    return session_id, (ended - began).total_seconds()


def checkpoints_of(s3: Any, bucket: str, session_id: str) -> list[int]:
    """Return the sizes of the session's checkpoints in bytes."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{CHECKPOINT_PREFIX}{session_id}/")
    return [found["Size"] for page in pages for found in page.get("Contents", ())]


def main() -> None:
    """Run sessions, each kind once a round, in an order that is drawn; print, and write if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attempts", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="sessions of each kind")
    parser.add_argument("--write", action="store_true", help="write the result into docs/benchmarks.md")
    arguments = parser.parse_args()
    report = Report("attempts")
    report.say(machine())
    seconds: dict[str, list[float]] = {saved: [] for saved in SAVED}
    sizes: list[int] = []
    with LocalStack.start(agent_environment={Env.AGENT: "benchmarks.agents:chosen"}) as stack:
        deployment, s3 = Deployment(stack.session()), stack.client("s3")
        for _ in range(arguments.rounds):
            for saved in random.sample(SAVED, len(SAVED)):
                session_id, took = seconds_of(deployment, saved)
                seconds[saved].append(took)
                sizes = checkpoints_of(s3, stack.outputs[Output.BUCKET], session_id) or sizes

    def ratio(saved: str, less: str) -> str:
        pairs = zip(seconds[saved], seconds[less], strict=True)
        return f"{median(took / other for took, other in pairs):.1%}"

    nothing, steps, both = SAVED
    report.table(
        ("Saved of a session", "seconds, median", "of one that saves nothing", "of one that saves its steps alone"),
        (
            (nothing, f"{median(seconds[nothing]):.2f}", "", ""),
            (steps, f"{median(seconds[steps]):.2f}", ratio(steps, nothing), ""),
            (both, f"{median(seconds[both]):.2f}", ratio(both, nothing), ratio(both, steps)),
        ),
    )
    report.say("The ratios are medians over pairs of sessions that ran one after the other.")
    dollars = len(sizes) * PUT + sum(sizes) / 2**30 * STORED * DAYS
    report.say(
        f"A session saves {len(sizes)} checkpoints of {min(sizes):,} to {max(sizes):,} bytes."
        f" On S3, those of 1,000 sessions cost ${1000 * dollars:.2f}."
    )
    if arguments.write:
        report.write()


if __name__ == "__main__":
    main()

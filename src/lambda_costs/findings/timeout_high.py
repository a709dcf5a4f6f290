"""Time-out set high: it bounds what a function that hangs costs, and bounds little here. A risk; it saves nothing."""

from collections.abc import Iterator
from math import ceil

from lambda_costs.collect.gaps import Gap
from lambda_costs.model.context import Case, as_code
from lambda_costs.model.finding import Finding, Measure, money
from lambda_costs.thresholds import MIN_TIMEOUT_SECONDS, TIMEOUT_SHARE

KIND = "timeout-high"


def find(case: Case) -> Iterator[Finding | Gap]:
    """Yield the finding if the 99th percentile of every day is below half of the time-out."""
    used, p99, today = case.compute, case.usage.p99_ms, case.function.timeout_seconds
    if isinstance(used, str) or p99 is None:
        yield case.gap(used if isinstance(used, str) else "no 99th percentile of its duration")
        return
    slowest = max(p99.by_day.values()) / 1000
    if today < MIN_TIMEOUT_SECONDS or slowest >= TIMEOUT_SHARE * today:
        return
    new = max(1, ceil(2 * slowest))
    hanging = today * case.memory_gb * case.price
    yield case.finding(
        KIND,
        evidence={
            "Time-out": Measure(today, "s"),
            "99th percentile of the slowest day": Measure(round(slowest, 3), "s"),
            "One invocation that hangs costs": Measure(f"{money(hanging)}"),
        },
        formula=(
            f"{slowest:.3f} s < {TIMEOUT_SHARE:g} × {today:,} s. A lower time-out saves nothing while nothing hangs."
        ),
        change=f"Set the time-out from {today:,} s to about {new:,} s",
        proposed={"timeout_seconds": new},
        how_to=case.command("update-function-configuration", f"--timeout {new}"),
        as_code=as_code(f"Timeout: {new}", f"timeout=Duration.seconds({new})"),
        risk=(
            "An invocation slower than any seen would be cut off; so would slow ones after a change of memory or"
            " architecture: lower it after those. Callers and queues have time-outs that must fit."
        ),
        validate="Watch Errors and the 99th percentile of Duration for a week.",
    )

"""Timeout set high: a timeout bounds the cost of a function that hangs. A risk; a change saves nothing."""

from math import ceil

from lambda_costs.model.compute import Compute
from lambda_costs.model.context import FindingKind, FunctionContext, Results, as_code, needs_compute
from lambda_costs.model.finding import Finding, Measurement, money

MAX_P99_SHARE = 0.5  # a timeout is high if the 99th percentile of the duration is below this share; our own choice
MARGIN = 1.5  # least proposed timeout divided by the longest duration; our own choice

MIN_TIMEOUT_SECONDS = 10  # a shorter timeout bounds the cost of a function that hangs well enough; our own choice


@needs_compute()
def find(context: FunctionContext, used: Compute) -> Results:
    """Yield the finding if the 99th percentile of every day is below half of the timeout."""
    p99, today = context.usage.p99_ms, context.function.timeout_seconds
    if p99 is None:
        yield context.gap("no 99th percentile of its duration")
        return
    slowest = max(p99.by_day.values()) / 1000
    if today < MIN_TIMEOUT_SECONDS or slowest >= MAX_P99_SHARE * today:
        return
    # Of a heavy tail, the 99th percentile tells little: the slowest of all must end, too.
    new = max(1, ceil(2 * slowest), ceil(MARGIN * used.slowest_seconds))
    if new >= today:
        return
    hanging = today * context.memory_gb * context.price
    yield Finding(
        **context.identity(FINDING.kind),
        evidence={
            "Timeout": Measurement(today, "s"),
            "99th percentile of the slowest day": Measurement(round(slowest, 3), "s"),
            "Slowest invocation that did not time out": Measurement(round(used.slowest_seconds, 3), "s"),
            "One invocation that hangs costs": Measurement(money(hanging)),
        },
        formula=(f"{slowest:.3f} s < {MAX_P99_SHARE:g} × {today:,} s. A lower timeout saves nothing unless one hangs."),
        change=f"Set the timeout from {today:,} s to about {new:,} s",
        proposed={"timeout_seconds": new},
        how_to=context.command("update-function-configuration", f"--timeout {new}"),
        as_code=as_code(f"Timeout: {new}", f"timeout=Duration.seconds({new})"),
        risk=(
            "It cuts off an invocation slower than any seen, and slow ones after a change of memory or architecture:"
            " lower it after those changes. The timeouts of callers and queues must fit."
        ),
        validate="Watch Errors and the 99th percentile of Duration for a week.",
    )


FINDING = FindingKind(kind="timeout-high", title="Timeout set high", rule=find, settings={"timeout_seconds": ()})

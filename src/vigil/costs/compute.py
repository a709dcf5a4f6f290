"""What a function's invocations cost at today's settings, or why the data cannot tell."""

from dataclasses import dataclass

from vigil.costs.finding import PERIOD_DAYS
from vigil.costs.inventory import Function
from vigil.costs.usage import FunctionUsage

MIN_INVOCATIONS = 50
MIN_DAYS = 14
"""Below these the data carry no claim (AWS Compute Optimizer asks for 50 invocations in 14 days, too)."""

MB_PER_GB = 1024
"""As Lambda bills it."""


@dataclass(frozen=True)
class Compute:
    """Invocations at today's memory size, per 30 days."""

    invocations: float
    billed_seconds: float
    """Mean of the REPORT lines read."""
    gb_seconds: float
    lines: int
    """REPORT lines read at today's memory size."""
    sampled: bool
    """Whether there were more invocations than lines, so that the greatest of them may not have been seen."""


def compute(function: Function, usage: FunctionUsage, window_days: int) -> Compute | str:
    """Return what ``function`` uses per 30 days, or the reason why the data carry no claim.

    Invocations are averaged over the whole window, also where a function is younger: that understates savings.
    """
    if function.capacity_provider:
        return "runs on a capacity provider, which is not billed by the GB-second"
    if window_days < MIN_DAYS:
        return f"the window asked for is shorter than {MIN_DAYS} days"
    seen = usage.invocations
    if seen is None:
        return "no Invocations datapoint in the window: unused, or its metrics are missing"
    if seen.total < MIN_INVOCATIONS:
        return f"fewer than {MIN_INVOCATIONS} invocations in the window"
    if seen.days < MIN_DAYS:
        return f"less than {MIN_DAYS} days of data"
    if usage.reports is None:
        return "no REPORT lines could be read"
    billed = usage.reports.by_memory.get(function.memory_mb)
    if billed is None or billed.lines < MIN_INVOCATIONS:
        return f"fewer than {MIN_INVOCATIONS} REPORT lines at today's memory size"
    # Versions may run with other sizes; the metric counts them all, so take today's size's share of the lines.
    invocations = seen.total * billed.lines / usage.reports.lines * PERIOD_DAYS / window_days
    seconds = billed.milliseconds / billed.lines / 1000
    return Compute(
        invocations=invocations,
        billed_seconds=seconds,
        gb_seconds=invocations * seconds * function.memory_mb / MB_PER_GB,
        lines=billed.lines,
        sampled=usage.reports.lines < seen.total,
    )

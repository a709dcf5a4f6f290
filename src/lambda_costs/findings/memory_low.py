"""Memory too low: a function that uses nearly all of its memory, or runs out of it.

More memory usually costs more; whether it pays for itself by a shorter duration is claimed only where that is known.
"""

from collections.abc import Iterator
from math import ceil

from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.report_lines import Outcome
from lambda_costs.findings.memory_high import MAX_MB, STEP_MB, memory_evidence
from lambda_costs.model.context import Case, as_code, compute_evidence
from lambda_costs.model.finding import NOTHING, Finding, Interval, Measure, Scaling, money
from lambda_costs.thresholds import HEADROOM, HIGH_USED_SHARE

KIND = "memory-too-low"


def find(case: Case) -> Iterator[Finding | Gap]:
    """Yield the finding if more than 90 % of today's memory was used, or an invocation ran out of it."""
    used, reports = case.on_demand(), case.usage.reports
    if isinstance(used, str) or reports is None:
        yield case.gap(str(used))
        return
    today = case.function.memory_mb
    days = reports.days_of_size[today]
    most, died = reports.where(days=days).max_used_mb, reports.where(days=days, outcome=Outcome.OUT_OF_MEMORY).lines
    if not (case.usage.errors and case.usage.errors.total):
        died = 0  # the metric counts them as errors, and nobody can forge it
    if (most <= HIGH_USED_SHARE * today and not died) or today >= MAX_MB:
        return
    # What ran out of memory would have used more: nobody knows how much.
    new = min(MAX_MB, ceil((today if died else most) * HEADROOM / STEP_MB) * STEP_MB)
    cost, factor = case.cost(used), used.model.factor(new)
    low, expected, high = (cost * (1 - new * it / today) for it in (factor.high, factor.expected, factor.low))
    claims = used.model.measured and not case.free
    yield case.finding(
        KIND,
        evidence={
            **memory_evidence(today, most),
            "Invocations out of memory": Measure(died, "of the REPORT lines read"),
            **compute_evidence(used),
            "Costs more": Measure(f"{money(max(0.0, -high))} to {money(max(0.0, -low))}", "per 30 days"),
            "Rests on": Measure(used.model.basis),
        },
        formula=(
            f"{money(cost)} of compute × (1 − {new:,} × k / {today:,}), where k from {factor.low:.3f} to"
            f" {factor.high:.3f} is the duration at the proposed size over that of today."
            + ("" if used.model.measured else " What k is has not been measured, so that no money is claimed.")
        ),
        change=f"Set memory from {today:,} MB to {new:,} MB",
        proposed={"memory_mb": new},
        how_to=case.command("update-function-configuration", f"--memory-size {new}"),
        as_code=as_code(f"MemorySize: {new}", f"memory_size={new}"),
        risk="It costs more unless it gets faster; left as it is, it may run out of memory.",
        validate=f"After a week, check that Max Memory Used stays below {round(HIGH_USED_SHARE * new):,} MB.",
        savings=Interval(low, expected, high) if claims else NOTHING,
        scaling=Scaling(cost, used.gb_seconds) if claims else None,
    )

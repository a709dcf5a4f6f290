"""Memory too low: a function that uses nearly all of its memory, or runs out of it.

More memory usually costs more. Money is claimed only where it is known how the duration changes.
"""

from math import ceil

from lambda_costs.collect.inventory import MAX_MEMORY_MB
from lambda_costs.collect.report_lines import Outcome
from lambda_costs.findings.memory_high import HEADROOM, STEP_MB, memory_evidence
from lambda_costs.model.compute import Compute
from lambda_costs.model.context import FindingKind, FunctionContext, Results, as_code, compute_evidence, needs_compute
from lambda_costs.model.finding import NO_SAVINGS, ComputeShare, Finding, Measurement, SavingsRange, money

HIGH_USED_SHARE = 0.9  # above this share of memory used, it is too little; our own choice


@needs_compute(FunctionContext.on_demand)
def find(context: FunctionContext, used: Compute) -> Results:
    """Yield the finding if more than 90 % of today's memory was used, or an invocation ran out of it."""
    today, reports = context.function.memory_mb, context.reports
    days = reports.days_of_size[today]
    most, died = reports.where(days=days).max_used_mb, reports.where(days=days, outcome=Outcome.OUT_OF_MEMORY).lines
    if not (context.usage.errors and context.usage.errors.total):
        died = 0  # CloudWatch counts these as errors, and no function can forge its metrics
    if (most <= HIGH_USED_SHARE * today and not died) or today >= MAX_MEMORY_MB:
        return
    # An invocation that ran out of memory would have used more, by an unknown amount.
    new = min(MAX_MEMORY_MB, ceil((today if died else most) * HEADROOM / STEP_MB) * STEP_MB)
    cost, factor = context.cost(used), used.model.factor(new)
    low, expected, high = (cost * (1 - new * slower / today) for slower in (factor.high, factor.expected, factor.low))
    claims = used.model.measured and not context.free
    yield Finding(
        **context.identity(FINDING.kind),
        evidence={
            **memory_evidence(today, most),
            "Invocations out of memory": Measurement(died, "of the REPORT lines read"),
            **compute_evidence(used),
            "Costs more": Measurement(f"{money(max(0.0, -high))} to {money(max(0.0, -low))}", "per 30 days"),
            "Rests on": Measurement(used.model.basis),
        },
        formula=(
            f"{money(cost)} of compute × (1 − {new:,} × k / {today:,}), where k from {factor.low:.3f} to"
            f" {factor.high:.3f} is the duration at the proposed size divided by today's."
            + ("" if used.model.measured else " As k has not been measured, no money is claimed.")
        ),
        change=f"Set memory from {today:,} MB to {new:,} MB",
        proposed={"memory_mb": new},
        how_to=context.command("update-function-configuration", f"--memory-size {new}"),
        as_code=as_code(f"MemorySize: {new}", f"memory_size={new}"),
        risk="It costs more unless it gets faster; with today's memory, it may run out of memory.",
        validate=f"After a week, check that Max Memory Used stays below {round(HIGH_USED_SHARE * new):,} MB.",
        savings=SavingsRange(low, expected, high) if claims else NO_SAVINGS,
        scaling=ComputeShare(cost, used.gb_seconds) if claims else None,
    )


FINDING = FindingKind(kind="memory-too-low", title="Memory set too low", rule=find, settings={"memory_mb": ()})

"""Memory too low: a function that uses nearly all of its memory, or runs out of it.

More memory usually costs more. Money is claimed only where it is known how the duration changes.
"""

from math import ceil

from lambda_costs.collect.inventory import MAX_MEMORY_MB
from lambda_costs.collect.report_lines import Outcome
from lambda_costs.findings.memory_high import HEADROOM, STEP_MB, memory_evidence
from lambda_costs.model.compute import RANGE_OF_INVOCATIONS, Compute
from lambda_costs.model.context import FindingKind, FunctionContext, Results, as_code, compute_evidence, needs_compute
from lambda_costs.model.finding import NO_SAVINGS, Finding, Measurement, money
from lambda_costs.model.power_tuning import tuning_input

HIGH_USED_SHARE = 0.9  # above this share of memory used, it is too little; our own choice


@needs_compute(FunctionContext.on_demand)
def find(context: FunctionContext, used: Compute) -> Results:
    """Yield the finding if more than 90 % of today's memory was used, or an invocation ran out of it."""
    today, reports = context.function.memory_mb, context.reports
    most = reports.where(memory_mb=today).max_used_mb
    died = reports.where(memory_mb=today, outcome=Outcome.OUT_OF_MEMORY).lines
    if not (context.usage.errors and context.usage.errors.total):
        died = 0  # CloudWatch counts these as errors, and no function can forge its metrics
    if most <= HIGH_USED_SHARE * today and not died:
        return
    # An invocation that ran out of memory would have used more, by an unknown amount.
    new = min(MAX_MEMORY_MB, ceil((today if died else most) * HEADROOM / STEP_MB) * STEP_MB)
    if new - today < STEP_MB:
        yield _no_more(context, most, died)
        return
    cost, factor = context.cost(used), used.factor(new)
    after = used.at_today * context.price * new / today
    savings = used.share(cost).scaled(*(cost - after * slower for slower in (factor.high, factor.expected, factor.low)))
    claims = used.model.measured and not context.free
    yield Finding(
        **context.identity(FINDING.kind),
        evidence={
            **memory_evidence(today, most),
            "Invocations out of memory": Measurement(died, "of the REPORT lines read"),
            **compute_evidence(used),
            "Costs more": Measurement(
                f"{money(max(0.0, -savings.high))} to {money(max(0.0, -savings.low))}", "in 30 days"
            ),
            "Rests on": Measurement(used.model.basis),
        },
        formula=(
            f"{money(cost)} of compute − {money(after)} × k at {new:,} MB, where k from {factor.low:.3f} to"
            f" {factor.high:.3f} is the billed time at the proposed size divided by today's."
            + (
                f" {RANGE_OF_INVOCATIONS}"
                if used.model.measured
                else " As k has not been measured, no money is claimed."
            )
        ),
        change=f"Set memory from {today:,} MB to {new:,} MB",
        proposed={"memory_mb": new},
        how_to=context.command("update-function-configuration", f"--memory-size {new}"),
        as_code=as_code(f"MemorySize: {new}", f"memory_size={new}"),
        risk="It costs more unless it gets faster; with today's memory, it may run out of memory.",
        validate=f"After a week, check that Max Memory Used stays below {round(HIGH_USED_SHARE * new):,} MB.",
        savings=savings if claims else NO_SAVINGS,
        test=tuning_input(context.function.arn, (today, new)),
        scaling=used.share(cost) if claims else None,
    )


def _no_more(context: FunctionContext, most: int, died: int) -> Finding:
    """Return the finding of a function that Lambda has no larger size for."""
    return Finding(
        **context.identity(FINDING.kind),
        evidence={
            **memory_evidence(context.function.memory_mb, most),
            "Invocations out of memory": Measurement(died, "of the REPORT lines read"),
        },
        formula=f"Lambda has no more than {MAX_MEMORY_MB:,} MB: a few megabytes more would not help.",
        change="Split its work, or move it: Lambda has no more memory to give",
        risk="With today's memory, it may run out of memory.",
        validate="Check that Max Memory Used of the parts stays below 90 % of their memory.",
    )


FINDING = FindingKind(kind="memory-too-low", title="Memory set too low", rule=find, settings={"memory_mb": ()})

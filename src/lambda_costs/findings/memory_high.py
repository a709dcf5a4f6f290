"""Memory too high: a function that never used most of its memory and may need less.

Less memory means less CPU: what it saves depends on how the duration changes (``lambda_costs.model.duration``).
"""

from math import ceil

from lambda_costs.collect.inventory import MAX_TIMEOUT_SECONDS, MIN_MEMORY_MB
from lambda_costs.model.compute import Compute
from lambda_costs.model.context import FindingKind, FunctionContext, Results, as_code, compute_evidence, needs_compute
from lambda_costs.model.duration import DurationModel
from lambda_costs.model.finding import ComputeShare, Finding, Measurement, SavingsRange, money, rate

STEP_MB = 64  # proposed sizes are multiples of this, though Lambda takes any number of megabytes; our own choice
HEADROOM = 1.2  # least proposed size divided by the maximum memory used; our own choice
MAX_USED_SHARE = 0.6  # largest share of the memory ever used that is too little; our own choice
MIN_SAVED_SHARE = 0.05  # least expected saving as a share of the compute cost that is worth the risk; our own choice
EQUAL_COST_SHARE = 0.01  # sizes whose costs differ by at most this share of today's are equally cheap; our own choice


def least_mb(max_used_mb: int) -> int:
    """Return the least memory size to propose for a function that uses up to ``max_used_mb``."""
    return max(MIN_MEMORY_MB, ceil(max_used_mb * HEADROOM / STEP_MB) * STEP_MB)


@needs_compute(FunctionContext.billed)
def find(context: FunctionContext, used: Compute) -> Results:
    """Yield the finding if at most 60 % was ever used and a smaller size can be expected to cost less."""
    today, most = context.function.memory_mb, context.reports.all.max_used_mb
    p99, limit = context.usage.p99_ms, context.function.timeout_seconds
    slowest = max(p99.by_day.values()) / 1000 if p99 else 0.0
    new = _best_size(used.model, today, least_mb(most), slowest)
    if most > MAX_USED_SHARE * today or new is None:
        return
    cost, factor = context.cost(used), used.model.factor(new)
    # The slowest invocations get slower by that factor, too, and must not time out.
    needed = min(MAX_TIMEOUT_SECONDS, max(limit, ceil(slowest * factor.high)))
    option, yaml, cdk = "", "", ""
    if needed > limit:
        option, yaml, cdk = f" --timeout {needed}", f"\nTimeout: {needed}", f", timeout=Duration.seconds({needed})"
    factors = (factor.high, factor.expected, factor.low)
    # Rounded: a rounding error must not show as savings.
    savings = SavingsRange(*(cost * round(1 - new * slower / today, 9) for slower in factors))
    if savings.expected < MIN_SAVED_SHARE * cost:
        return
    yield Finding(
        **context.identity(FINDING.kind),
        evidence={
            **memory_evidence(today, most),
            **compute_evidence(used),
            "Duration at the proposed size": Measurement(f"{factor.low:.3f} to {factor.high:.3f}", "times today's"),
            "99th percentile of the slowest day": Measurement(round(slowest, 3), "s"),
            "Timeout": Measurement(limit, "s"),
            "Rests on": Measurement(used.model.basis),
            "Duration price": Measurement(context.price, "$ per GB-second"),
        },
        formula=(
            f"{used.invocations:,.0f} invocations × {used.billed_seconds:.4f} s × {rate(context.price)} ×"
            f" ({today:,} − {new:,} × k) MB / 1,024, where k is the factor of the duration:"
            f" k = {factor.expected:.3f} is expected ({money(savings.expected)}), k = {factor.high:.3f} saves"
            f" {money(savings.low)} and k = {factor.low:.3f} saves {money(savings.high)}."
            f" k rests on {used.model.basis}."
        ),
        change=f"Set memory from {today:,} MB to {new:,} MB",
        proposed={"memory_mb": new},
        how_to=(
            context.command("update-function-configuration", f"--memory-size {new}{option}")
            + "\n# for callers of an alias or a version, publish a new version"
        ),
        as_code=as_code(f"MemorySize: {new}{yaml}", f"memory_size={new}{cdk}"),
        risk=(
            "It may get slower, since CPU follows memory; an input larger than any seen may run out of memory."
            + (f" Its slowest invocations may exceed the present timeout of {limit:,} s." if option else "")
            + (" The maximum memory used is that of a sample of the invocations." if used.sampled else "")
        ),
        validate=(
            f"After a week, check that Max Memory Used stays below {round(new / HEADROOM):,} MB and that the billed"
            f" duration has grown by less than the factor {today / new:.2f}, at which the change saves nothing."
        ),
        savings=savings,
        scaling=ComputeShare(cost, used.gb_seconds),
    )


def memory_evidence(today_mb: int, max_used_mb: int) -> dict[str, Measurement]:
    """Return the evidence that findings about memory share."""
    return {
        "Memory today": Measurement(today_mb, "MB"),
        "Maximum memory used": Measurement(max_used_mb, "MB"),
        "Share used": Measurement(round(100 * max_used_mb / today_mb, 1), "%"),
    }


def _best_size(model: DurationModel, today: int, least: int, slowest_seconds: float) -> int | None:
    """Return the largest, and so the fastest, of the cheapest sizes from ``least`` on that are fast enough."""
    costs = {
        size: size * factor / today
        for size in range(least, today, STEP_MB)
        if slowest_seconds * (factor := model.factor(size).expected) <= MAX_TIMEOUT_SECONDS
    }
    return max((size for size in costs if costs[size] <= min(costs.values()) + EQUAL_COST_SHARE), default=None)


FINDING = FindingKind(kind="memory-too-high", title="Memory set too high", rule=find, settings={"memory_mb": ()})

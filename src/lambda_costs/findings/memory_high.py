"""Memory too high: a function that never used most of its memory and may need less.

Less memory means less CPU: what it saves depends on how the duration changes (``lambda_costs.model.duration``).
"""

from math import ceil

from lambda_costs.collect.inventory import MIN_MEMORY_MB
from lambda_costs.model.compute import RANGE_OF_INVOCATIONS, Compute
from lambda_costs.model.context import FindingKind, FunctionContext, Results, as_code, compute_evidence, needs_compute
from lambda_costs.model.finding import Finding, Measurement, SavingsRange, basis, money, rate
from lambda_costs.model.power_tuning import tuning_input

STEP_MB = 64  # proposed sizes are multiples of this, though Lambda takes any number of megabytes; our own choice
HEADROOM = 1.2  # least proposed size divided by the maximum memory used; our own choice
SAMPLE_HEADROOM = 1.4  # the same where the maximum is that of a sample: others may use more; our own choice
MAX_USED_SHARE = 0.6  # largest share of the memory ever used that is too little; our own choice
TAPER = 0.05  # below that share by less than this, less is claimed, so that nothing jumps there; our own choice
MIN_SAVED_SHARE = 0.05  # least expected saving as a share of the compute cost that is worth the risk; our own choice
EQUAL_COST_SHARE = 0.01  # sizes whose costs differ by at most this share of today's are equally cheap; our own choice


def least_mb(max_used_mb: int, headroom: float) -> int:
    """Return the least memory size to propose for a function that uses up to ``max_used_mb``."""
    return max(MIN_MEMORY_MB, ceil(max_used_mb * headroom / STEP_MB) * STEP_MB)


@needs_compute(FunctionContext.billed)
def find(context: FunctionContext, used: Compute) -> Results:
    """Yield the finding if at most 60 % was ever used and a smaller size can be expected to cost less."""
    today, most = context.function.memory_mb, context.reports.all.max_used_mb
    least = least_mb(most, SAMPLE_HEADROOM if used.sampled else HEADROOM)
    new, below = _best_size(context, used, least), MAX_USED_SHARE - most / today
    if below < 0 or new is None:
        return
    cost, factor = context.cost(used), used.factor(new)
    after = used.at_today * context.price * new / today
    # Rounded: a rounding error must not show as savings.
    low, expected, high = (round(cost - after * slower, 9) for slower in (factor.high, factor.expected, factor.low))
    if expected < MIN_SAVED_SHARE * cost:
        return
    taper = min(1.0, below / TAPER)
    savings = used.share(cost).scaled(low * (taper if low > 0 else 1), expected * taper, high)
    yield Finding(
        **context.identity(FINDING.kind),
        evidence={
            **memory_evidence(today, most),
            **compute_evidence(used),
            "Billed time at the proposed size": Measurement(f"{factor.low:.3f} to {factor.high:.3f}", "times today's"),
            "Slowest invocation": Measurement(round(used.slowest_seconds, 3), "s"),
            "Timeout": Measurement(context.function.timeout_seconds, "s"),
            "Rests on": Measurement(used.model.basis),
            "Duration price": Measurement(context.price, "$ per GB-second"),
        },
        formula=(
            f"{money(cost)} of compute − {money(after)} × k at {new:,} MB, where k is the billed time there divided by"
            f" today's: k = {factor.expected:.3f} is expected ({money(expected)}), k = {factor.high:.3f} saves"
            f" {money(low)} and k = {factor.low:.3f} saves {money(high)}. k rests on {used.model.basis}."
            f" The compute is {used.gb_seconds:,.0f} GB-seconds × {rate(context.price)}. {RANGE_OF_INVOCATIONS}"
            + (
                f" {taper:.0%} of this is expected: the share used is near {MAX_USED_SHARE:.0%}."
                if round(taper, 2) < 1
                else ""
            )
        ),
        change=f"Set memory from {today:,} MB to {new:,} MB",
        proposed={"memory_mb": new},
        how_to=(
            context.command("update-function-configuration", f"--memory-size {new}")
            + "\n# for callers of an alias or a version, publish a new version"
        ),
        as_code=as_code(f"MemorySize: {new}", f"memory_size={new}"),
        risk=(
            "It may get slower, since CPU follows memory; an input larger than any seen may run out of memory."
            + (" The maximum memory used is that of a sample of the invocations." if used.sampled else "")
        ),
        validate=(
            f"After a week, check that Max Memory Used stays below {round(new / HEADROOM):,} MB and that the billed"
            f" duration has grown by less than the factor {cost / after:.2f}, at which the change saves nothing."
        ),
        savings=savings,
        basis=basis(SavingsRange(low, expected, high), measured=used.model.measured),
        slowdown=factor.high,
        test=tuning_input(context.function.arn, (least, new, min(today, least_mb((new + today) // 2, 1.0)), today)),
        scaling=used.share(cost),
    )


def memory_evidence(today_mb: int, max_used_mb: int) -> dict[str, Measurement]:
    """Return the evidence that findings about memory share."""
    return {
        "Memory today": Measurement(today_mb, "MB"),
        "Maximum memory used": Measurement(max_used_mb, "MB"),
        "Share used": Measurement(round(100 * max_used_mb / today_mb, 1), "%"),
    }


def _best_size(context: FunctionContext, used: Compute, least: int) -> int | None:
    """Return the largest, and so the fastest, of the cheapest sizes from ``least`` on that no invocation times out at.

    The slowest invocation may be one that only computes, and slows down the most.
    """
    today = context.function.memory_mb
    costs = {
        size: size * used.factor(size).expected / today
        for size in range(least, today, STEP_MB)
        if used.slowest_seconds * used.model.slowest_factor(size) <= context.function.timeout_seconds
    }
    return max((size for size in costs if costs[size] <= min(costs.values()) + EQUAL_COST_SHARE), default=None)


FINDING = FindingKind(kind="memory-too-high", title="Memory set too high", rule=find, settings={"memory_mb": ()})

"""Memory too high: a function that has never used most of its memory, and may do with less.

Less memory is also less CPU, so what it saves depends on how the duration moves: see ``lambda_costs.model.duration``.
"""

from collections.abc import Iterator, Sequence
from math import ceil

from lambda_costs.collect.gaps import Gap
from lambda_costs.model.context import Case, as_code, compute_evidence
from lambda_costs.model.duration import Estimate, Model
from lambda_costs.model.finding import Finding, Interval, Measure, Scaling, money, rate
from lambda_costs.thresholds import AS_GOOD, HEADROOM, MAX_USED_SHARE, MIN_SHARE

KIND = "memory-too-high"

STEP_MB = 64
"""Proposed sizes are multiples of this; Lambda takes every megabyte from 128 to 10,240."""
MIN_MB, MAX_MB = 128, 10_240
MAX_SECONDS = 900
"""The longest time-out that Lambda takes."""


def least_mb(max_used_mb: int) -> int:
    """Return the least memory size for a function that uses up to ``max_used_mb``: the next multiple of 64 MB."""
    return max(MIN_MB, ceil(max_used_mb * HEADROOM / STEP_MB) * STEP_MB)


def find(case: Case) -> Iterator[Finding | Gap]:
    """Yield the finding if at most 60 % was ever used and a smaller size can be expected to cost less."""
    used = case.billed()
    reports = case.usage.reports
    if isinstance(used, str) or reports is None:
        yield case.gap(str(used))
        return
    today, least, most = case.function.memory_mb, least_mb(reports.all.max_used_mb), reports.all.max_used_mb
    if most > MAX_USED_SHARE * today or least >= today:
        return
    p99 = case.usage.p99_ms
    slowest = max(p99.by_day.values()) / 1000 if p99 else 0.0
    sizes = [size for size in range(least, today, STEP_MB) if slowest * used.model.factor(size).expected <= MAX_SECONDS]
    if not sizes:
        return
    new = _best(used.model, today, sizes)
    factor = used.model.factor(new)
    # The slowest invocations get slower by that factor, too, and must still end.
    limit = case.function.timeout_seconds
    needed = min(MAX_SECONDS, max(limit, ceil(slowest * factor.high)))
    raised = needed > limit
    cost = case.cost(used)
    savings = Interval(*(cost * _saved(today, new, slower) for slower in (factor.high, factor.expected, factor.low)))
    if savings.expected < MIN_SHARE * cost:
        return
    yield case.finding(
        KIND,
        evidence={
            **memory_evidence(today, most),
            **compute_evidence(used),
            "Duration at the proposed size": Measure(_range(factor), "times today's"),
            "99th percentile of the slowest day": Measure(round(slowest, 3), "s"),
            "Time-out": Measure(limit, "s"),
            "Rests on": Measure(used.model.basis),
            "Duration price": Measure(case.price, "$ per GB-second"),
        },
        formula=(
            f"{used.invocations:,.0f} invocations × {used.billed_seconds:.4f} s × {rate(case.price)} ×"
            f" ({today:,} − {new:,} × k) MB / 1,024, where k says how much slower it gets:"
            f" k = {factor.expected:.3f} is expected ({money(savings.expected)}), k = {factor.high:.3f} saves"
            f" {money(savings.low)} and k = {factor.low:.3f} saves {money(savings.high)}."
            f" k rests on {used.model.basis}."
        ),
        change=f"Set memory from {today:,} MB to {new:,} MB",
        proposed={"memory_mb": new},
        how_to=(
            case.command(
                "update-function-configuration", f"--memory-size {new}" + (f" --timeout {needed}" if raised else "")
            )
            + "\n# callers of an alias or a version see it once a new version is published"
        ),
        as_code=as_code(
            f"MemorySize: {new}" + (f"\nTimeout: {needed}" if raised else ""),
            f"memory_size={new}" + (f", timeout=Duration.seconds({needed})" if raised else ""),
        ),
        risk=(
            "It may get slower, since CPU follows memory; an input larger than any seen may run out of memory."
            + (f" Its slowest invocations may then take longer than its time-out of {limit:,} s." if raised else "")
            + (" The maximum used is that of a sample of the invocations." if used.sampled else "")
        ),
        validate=(
            f"After a week, check that Max Memory Used stays below {round(new / HEADROOM):,} MB and that billed"
            f" duration has grown by less than the factor {today / new:.2f}, from which on the change costs money."
        ),
        savings=savings,
        scaling=Scaling(cost, used.gb_seconds),
    )


def memory_evidence(today_mb: int, max_used_mb: int) -> dict[str, Measure]:
    """Return the evidence that findings about memory share."""
    return {
        "Memory today": Measure(today_mb, "MB"),
        "Maximum memory used": Measure(max_used_mb, "MB"),
        "Share used": Measure(round(100 * max_used_mb / today_mb, 1), "%"),
    }


def _best(model: Model, today: int, sizes: Sequence[int]) -> int:
    """Return the cheapest of ``sizes``; of those that cost as much, the largest, which is the fastest."""
    shares = {size: size * model.factor(size).expected / today for size in sizes}
    return max(size for size, share in shares.items() if share <= min(shares.values()) + AS_GOOD)


def _saved(today: int, new: int, slower: float) -> float:
    # Rounded, lest an error of rounding shows where nothing is saved.
    return round(1 - new * slower / today, 9)


def _range(factor: Estimate) -> str:
    return f"{factor.low:.3f} to {factor.high:.3f}"

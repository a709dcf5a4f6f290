"""Memory too high: a function that has never used most of its memory, and may do with less.

CPU follows memory, one vCPU at 1,769 MB (AWS Lambda Developer Guide, "Configure Lambda function memory"). REPORT lines
of one memory size do not tell how much of the duration is CPU time, so savings are an interval between the extremes.
"""

from collections.abc import Iterator
from math import ceil
from shlex import quote

from vigil.costs.case import Case, compute_evidence
from vigil.costs.compute import MB_PER_GB
from vigil.costs.finding import Finding, Interval, Measure, money, rate
from vigil.costs.gaps import Gap

KIND = "memory-too-high"

MAX_USED_SHARE = 0.6
"""Above this share of today's memory, nothing is proposed."""
HEADROOM = 1.2
"""The proposed size is at least this much of the maximum used: the maximum, since an average does not run out."""
STEP_MB = 64
MIN_MB = 128
FULL_VCPU_MB = 1769


def proposed_mb(max_used_mb: int) -> int:
    """Return the memory size for a function that uses up to ``max_used_mb``: the next multiple of 64 MB."""
    return max(MIN_MB, ceil(max_used_mb * HEADROOM / STEP_MB) * STEP_MB)


def slowdown(today_mb: int, proposed: int) -> float:
    """Return the factor by which one CPU-bound thread gets slower; memory above one vCPU does not speed it up."""
    return min(today_mb, FULL_VCPU_MB) / min(proposed, FULL_VCPU_MB)


def find(case: Case) -> Iterator[Finding | Gap]:
    """Yield the finding if the maximum used is at most 60 % and the proposed size is below today's."""
    used = case.on_demand()
    reports = case.usage.reports
    if isinstance(used, str) or reports is None:
        yield case.gap(str(used))
        return
    today, new = case.function.memory_mb, proposed_mb(reports.max_used_mb)
    if reports.max_used_mb > MAX_USED_SHARE * today or new >= today:
        return
    price = case.rates.duration[case.function.architecture]
    per_mb = used.invocations * used.billed_seconds * price / MB_PER_GB
    high = per_mb * (today - new)
    # new × slowdown, without the rounding error that would show where nothing is saved.
    low = per_mb * (today - max(new, min(today, FULL_VCPU_MB)))
    yield case.finding(
        KIND,
        evidence={
            "Memory today": Measure(today, "MB"),
            "Maximum memory used": Measure(reports.max_used_mb, "MB"),
            "Share used": Measure(round(100 * reports.max_used_mb / today, 1), "%"),
            **compute_evidence(used),
            "Duration price": Measure(price, "$ per GB-second"),
        },
        formula=(
            f"{used.invocations:,.0f} invocations × {used.billed_seconds:.4f} s × {rate(price)} ×"
            f" ({today:,} − {new:,} × k) MB / 1,024, where k says how much slower it gets:"
            f" k = 1 if it waits for I/O ({money(high)}),"
            f" k = {slowdown(today, new):.3f} if one thread computes all the time ({money(low)})."
            " Expected is the middle, as REPORT lines of one memory size do not tell the share of CPU time."
        ),
        change=f"Set memory from {today:,} MB to {new:,} MB",
        how_to=(
            f"aws lambda update-function-configuration --region {case.function.region}"
            f" --function-name {quote(case.function.name)} --memory-size {new}"
        ),
        risk=(
            "It may get slower, since CPU follows memory; an input larger than any seen may run out of memory."
            + (" The maximum used is that of a sample of the invocations." if used.sampled else "")
        ),
        validate=(
            f"After a week, check that Max Memory Used stays below {round(new / HEADROOM):,} MB and that billed"
            f" duration has grown by less than the factor {today / new:.2f}, from which on the change costs money."
        ),
        savings=Interval(low, (low + high) / 2, high),
        share_of=per_mb * today,
    )

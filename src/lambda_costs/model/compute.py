"""What a function's invocations cost at today's settings, or why the data cannot tell."""

from dataclasses import dataclass
from datetime import date
from math import fsum, sqrt

from lambda_costs.collect.inventory import Function
from lambda_costs.collect.report_lines import Reports
from lambda_costs.collect.usage import FunctionUsage
from lambda_costs.model import duration
from lambda_costs.model.finding import PERIOD_DAYS

MB_PER_GB = 1024  # as Lambda bills it
MIN_DAYS = 14
MIN_INVOCATIONS = 50
"""Less data support no claim. AWS Compute Optimizer also asks for 50 invocations in 14 days (its User Guide,
"Requirements")."""
SAMPLE_FACTOR = 1.5  # largest factor between the mean duration of REPORT lines and that of the metric; our own choice


@dataclass(frozen=True)
class NoClaim:
    """The data support no claim."""

    reason: str


@dataclass(frozen=True)
class Compute:
    """Invocations at today's memory size, per 30 days."""

    invocations: float
    billed_seconds: float  # mean of an invocation: the metric's duration, and what REPORT lines bill on top of it
    gb_seconds: float
    lines: int  # REPORT lines read of days at today's memory size
    sampled: bool  # whether there were more invocations than lines, so that the largest values may be missing
    init_share: float  # share of the billed time
    inits: float  # cold starts, per 30 days
    model: duration.DurationModel


def compute(function: Function, usage: FunctionUsage, window_days: int) -> Compute | NoClaim:
    """Return what ``function`` uses per 30 days, or why the data do not show it.

    Invocations are averaged over the whole window even if the function is younger, which understates savings.
    """
    if reason := _missing_data(function, usage, window_days):
        return NoClaim(reason)
    invocations, reports = usage.invocations, usage.reports
    assert invocations is not None
    assert reports is not None
    days = reports.days_of_size.get(function.memory_mb, frozenset())
    today = _point(function.memory_mb, days, usage)
    lines = reports.where(days=days)
    if today is None or lines.lines < MIN_INVOCATIONS:
        few = f"fewer than {MIN_INVOCATIONS} invocations"
        return NoClaim(f"{few} on days whose REPORT lines all show today's memory size")
    sampled = reports.all.lines < invocations.total
    mean = lines.duration_ms / lines.lines / 1000
    if sampled and not today.seconds / SAMPLE_FACTOR <= mean <= today.seconds * SAMPLE_FACTOR:
        return NoClaim("the REPORT lines read do not fit its Duration metric: there are too few, or some are forged")
    # The metric has every invocation's duration; the lines show what is billed on top: rounding and init.
    seconds = today.seconds + (lines.billed_ms - lines.duration_ms) / lines.lines / 1000
    per_period = invocations.total / window_days * PERIOD_DAYS
    return Compute(
        invocations=per_period,
        billed_seconds=seconds,
        gb_seconds=per_period * seconds * function.memory_mb / MB_PER_GB,
        lines=lines.lines,
        sampled=sampled,
        init_share=min(1.0, lines.init_ms / lines.lines / 1000 / seconds),
        inits=per_period * lines.inits / lines.lines,
        model=_model(function, today, usage, reports),
    )


def _missing_data(function: Function, usage: FunctionUsage, window_days: int) -> str | None:
    if function.capacity_provider:
        return "runs on a capacity provider, which is not billed by the GB-second"
    if window_days < MIN_DAYS:
        return f"the window asked for is shorter than {MIN_DAYS} days"
    if usage.unread:
        return usage.unread
    invocations, reports = usage.invocations, usage.reports
    if invocations is None:
        return "no Invocations datapoint in the window: unused, or its metrics are missing"
    if invocations.total < MIN_INVOCATIONS:
        return f"fewer than {MIN_INVOCATIONS} invocations in the window"
    if invocations.days < MIN_DAYS:
        return f"less than {MIN_DAYS} days of data"
    if usage.duration_ms is None:
        return "no Duration datapoint in the window"
    kept = usage.log_group.retention_days if usage.log_group else None
    if kept is not None and kept < MIN_DAYS:
        return f"its log group keeps REPORT lines for {kept} day{'' if kept == 1 else 's'}: {MIN_DAYS} are needed"
    if reports is None:
        return "no REPORT lines could be read"
    # Events expire at the hour at which they were written: the first day is incomplete.
    if (invocations.end - reports.first_day).days < MIN_DAYS - 1:
        return f"its REPORT lines cover less than {MIN_DAYS - 1} days: older ones have expired"
    return None


def _model(function: Function, today: duration.Point, usage: FunctionUsage, reports: Reports) -> duration.DurationModel:
    points = (_point(size, days, usage) for size, days in reports.days_of_size.items() if size != function.memory_mb)
    model = duration.fit_cpu_share(today, [point for point in points if point and point.seconds])
    if model is None and usage.cpu_ms and usage.invocations:
        common = usage.cpu_ms.by_day.keys() & usage.invocations.by_day.keys()
        calls = fsum(usage.invocations.by_day[day] for day in common)
        cpu = fsum(usage.cpu_ms.by_day[day] for day in sorted(common)) / calls / 1000 if calls else 0.0
        # The function's own machine reports its CPU time: ignore impossible values.
        vcpus = max(1.0, function.memory_mb / duration.FULL_VCPU_MB)
        if calls >= MIN_INVOCATIONS and 0 < cpu <= today.seconds * vcpus:
            model = duration.from_cpu_time(function.memory_mb, today.seconds, cpu)
    return model or duration.unknown_cpu_share(function.memory_mb)


def _point(memory_mb: int, days: frozenset[date], usage: FunctionUsage) -> duration.Point | None:
    """Return the mean duration of the invocations on those of ``days`` that show it; None if there were too few."""
    assert usage.invocations is not None
    assert usage.duration_ms is not None
    seconds = {day: milliseconds / 1000 for day, milliseconds in usage.duration_ms.by_day.items() if day in days}
    calls = {day: count for day, count in usage.invocations.by_day.items() if day in seconds and count > 0}
    total = fsum(calls.values())
    if total < MIN_INVOCATIONS:
        return None
    mean = fsum(seconds[day] for day in calls) / total
    if len(calls) < 2:
        return duration.Point(memory_mb, mean, duration.MIN_ERROR * mean)
    # The standard error of the mean follows from how the days' means differ.
    variance = fsum((count / total) ** 2 * (seconds[day] / count - mean) ** 2 for day, count in calls.items())
    return duration.Point(memory_mb, mean, sqrt(variance * len(calls) / (len(calls) - 1)))

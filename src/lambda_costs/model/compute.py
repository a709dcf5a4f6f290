"""What a function's invocations will cost at today's settings, or why the data cannot tell."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from math import fsum, sqrt

from lambda_costs.collect.inventory import Function
from lambda_costs.collect.metrics import Daily
from lambda_costs.collect.report_lines import CROSSING, CROSSING_SHARE, Outcome, Reports
from lambda_costs.collect.usage import FunctionUsage, Window
from lambda_costs.model import duration
from lambda_costs.model.finding import ComputeShare
from lambda_costs.model.volume import MAX_MORE, Volume, missing_days, project, stopped_on

MB_PER_GB = 1024  # as Lambda bills it

MIN_DAYS = 14
MIN_INVOCATIONS = 50
"""Less data support no claim. AWS Compute Optimizer also asks for 50 invocations in 14 days (its User Guide,
"Requirements")."""

SAMPLE_FACTOR = 1.5  # largest factor between the mean duration of REPORT lines and that of the metric; our own choice
DAY_ERROR = 0.25  # relative deviation of a day's mean duration where too few days show it; our own choice
SEEN_DAYS = 2 / 3  # least share of the active days whose lines show the largest values; our own choice
DAY_LINES = 20  # least lines of a day that show the sizes of an alias; our own choice
JUMP_ERRORS = 4  # standard errors up to which chance explains the largest change between two days; our own choice
FEW_DAYS = 7  # fewer days of one memory size have a larger error than their spread shows: they may be unlike others

RANGE_OF_INVOCATIONS = "The range also covers fewer and more, shorter and longer invocations."
"""What ``Compute.share`` adds to the range of a finding's formula."""


@dataclass(frozen=True)
class NoClaim:
    """The data support no claim."""

    reason: str


@dataclass(frozen=True)
class Compute:
    """The invocations of the coming 30 days at today's settings."""

    invocations: Volume
    volume: Volume  # of the mean duration: the range covers longer and shorter invocations, too
    billed_seconds: float  # mean of an invocation: the metric's duration, and what REPORT lines bill on top of it
    gb_seconds: float
    at_today: float  # GB-seconds if all versions had today's memory size; ``gb_seconds`` unless an alias mixes sizes
    start_share: float  # of the billed time at today's size: init and rounding, which the memory size hardly changes
    lines: int  # REPORT lines read of days at today's memory size
    sampled: bool  # whether there were more invocations than lines, so that the largest values may be missing
    init_share: float  # share of the billed time
    inits: float  # cold starts
    slowest_seconds: float  # the longest invocation that did not time out
    model: duration.DurationModel

    def factor(self, memory_mb: int) -> duration.DurationFactor:
        """Return the billed time at another memory size divided by that at today's."""
        whole = self.model.factor(memory_mb)
        # The init phase hardly depends on the memory size, but nothing measures that: the range has it both ways.
        low, expected, high = (
            1 + (1 - self.start_share) * (factor - 1) for factor in (whole.low, whole.expected, whole.high)
        )
        return duration.DurationFactor(min(whole.low, low), expected, max(whole.high, high))

    def share(self, cost: float, repriced: float = 1.0) -> ComputeShare:
        """Return ``cost``, that of the expected invocations, with the range of invocations."""
        fewer, more = (end / self.volume.expected for end in (self.volume.low, self.volume.high))
        # The division rounds, and the next analysis rejects more than MAX_MORE.
        return ComputeShare(cost, self.gb_seconds, repriced, fewer, min(more, MAX_MORE))


@dataclass(frozen=True)
class _Day:
    """Invocations of one day at one memory size."""

    calls: float
    seconds: float  # mean duration


def compute(function: Function, usage: FunctionUsage, window: Window) -> Compute | NoClaim:
    """Return what ``function`` will use in the coming 30 days, or why the data do not show it."""
    if reason := _missing_data(function, usage, window.days):
        return NoClaim(reason)
    invocations, reports = usage.invocations, usage.reports
    assert invocations is not None
    assert reports is not None
    missing = missing_days(invocations, reports.logged_days, window.start.date())
    if stopped := stopped_on(invocations, missing):
        return NoClaim(f"not invoked since {stopped}: nothing is claimed for the coming 30 days")
    by_size = _days_by_size(usage, reports)
    points = {size: point for size, days in by_size.items() if (point := _point(size, days, by_size))}
    mix = _mix(reports, function.memory_mb)
    lines = reports.where(memory_mb=function.memory_mb)
    if function.memory_mb not in points or function.memory_mb not in mix or lines.lines < MIN_INVOCATIONS:
        few = f"fewer than {MIN_INVOCATIONS} invocations"
        return NoClaim(f"{few} on days whose REPORT lines show today's memory size")
    today, sampled = points[function.memory_mb], _is_sample(reports, invocations)
    at_size = {size: points.get(size, today).seconds for size in mix}
    metric = fsum(mix[size] * seconds for size, seconds in at_size.items())
    if sampled and not _fits(usage, reports, function.memory_mb):
        return NoClaim("the REPORT lines read do not fit its Duration metric: there are too few, or some are forged")
    # The metric has every invocation's duration; the lines show what is billed on top: rounding and init.
    more = (lines.billed_ms - lines.duration_ms) / lines.lines / 1000
    if metric + more <= 0:
        return NoClaim("its Duration metric and its REPORT lines show no billed time")
    start = window.start.date()
    number = project(invocations, missing, start)
    volume = number
    if len(by_size) == 1 and today.seconds:
        # Days of one memory size show how the billed time moves, also where the invocations get longer.
        assert usage.duration_ms is not None
        equal = {day: ms / 1000 / today.seconds for day, ms in usage.duration_ms.by_day.items()}
        # A day without a duration is as the others.
        volume = project(Daily({**invocations.by_day, **equal}, invocations.end), missing, start)
    gigabytes = {size: size / MB_PER_GB for size in mix}
    return Compute(
        invocations=number,
        volume=volume.widened(duration.Z_95 * today.error / today.seconds if today.seconds else 0.0),
        billed_seconds=(metric + more) * volume.expected / number.expected,
        gb_seconds=volume.expected * fsum(mix[size] * (at_size[size] + more) * gigabytes[size] for size in mix),
        at_today=volume.expected * (today.seconds + more) * gigabytes[function.memory_mb],
        start_share=more / (today.seconds + more) if today.seconds + more else 0.0,
        lines=lines.lines,
        sampled=sampled,
        init_share=min(1.0, lines.init_ms / lines.lines / 1000 / (metric + more)),
        inits=number.expected * lines.inits / lines.lines,
        slowest_seconds=_slowest(function, usage, reports, sampled),
        model=_model(function, today, [point for size, point in points.items() if size != function.memory_mb], usage),
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


def _days_by_size(usage: FunctionUsage, reports: Reports) -> Mapping[int, Sequence[_Day]]:
    """Return the days at each memory size. Metrics show a day of one size, only the lines a day of several."""
    assert usage.invocations is not None
    assert usage.duration_ms is not None
    calls, durations = usage.invocations.by_day, usage.duration_ms.by_day
    found: dict[int, list[_Day]] = defaultdict(list)
    for day, sizes in reports.sizes_of_day.items():
        for size, tally in sizes.items():
            if len(sizes) > 1:
                found[size].append(_Day(tally.lines, tally.duration_ms / tally.lines / 1000))
            elif calls.get(day) and day in durations:
                found[size].append(_Day(calls[day], durations[day] / calls[day] / 1000))
    return found


def _fits(usage: FunctionUsage, reports: Reports, memory_mb: int) -> bool:
    """Return whether the lines of days at ``memory_mb`` last about as long as the metric says of all invocations."""
    assert usage.invocations is not None
    assert usage.duration_ms is not None
    calls, durations = usage.invocations.by_day, usage.duration_ms.by_day
    shown = expected = 0.0
    for day, sizes in reports.sizes_of_day.items():
        if memory_mb in sizes and calls.get(day) and day in durations:
            shown += fsum(tally.duration_ms for tally in sizes.values())
            expected += durations[day] / calls[day] * sum(tally.lines for tally in sizes.values())
    return expected / SAMPLE_FACTOR <= shown <= expected * SAMPLE_FACTOR


def _is_sample(reports: Reports, invocations: Daily) -> bool:
    """Return whether the lines are of a part of the invocations, or of too few days to see the largest values."""
    days = reports.sizes_of_day.keys()
    # The line of an invocation around midnight may be on the next day.
    calls = fsum(invocations.by_day.get(day, 0.0) for day in days)
    few = reports.all.lines < (1 - CROSSING_SHARE) * calls - CROSSING
    # Lines that a function forged must not hide those of their day.
    return few or bool(reports.days_dropped) or len(days) < SEEN_DAYS * len(invocations.by_day)


def _mix(reports: Reports, today_mb: int) -> Mapping[int, float]:
    """Return the share of each memory size in today's invocations: an alias may run several versions at once."""
    by_day = [sizes for _, sizes in sorted(reports.sizes_of_day.items(), reverse=True)]
    # Few lines of the last day do not show all sizes.
    days = list(dropwhile(lambda sizes: sum(tally.lines for tally in sizes.values()) < DAY_LINES, by_day)) or by_day
    last = days[0].keys()
    if today_mb in last and len(days) > 1 and len(days[1]) == 1:
        # The only day with several sizes is that of a change.
        return {today_mb: 1.0}
    lines = dict.fromkeys(last, 0)
    for sizes in days[:FEW_DAYS]:
        if sizes.keys() != last:
            break
        for size, tally in sizes.items():
            lines[size] += tally.lines
    return {size: count / sum(lines.values()) for size, count in lines.items()}


def _point(size: int, days: Sequence[_Day], by_size: Mapping[int, Sequence[_Day]]) -> duration.Point | None:
    """Return the mean duration at ``size``; None if there were too few invocations."""
    total = fsum(day.calls for day in days)
    if total < MIN_INVOCATIONS:
        return None
    mean = fsum(day.calls * day.seconds for day in days) / total
    # How much a day's mean differs from the others of its size: all sizes show it.
    squares, freedom = 0.0, 0
    for others in by_size.values():
        number = fsum(day.calls for day in others)
        middle = fsum(day.calls * day.seconds for day in others) / number
        if middle:
            squares += fsum(day.calls / number * len(others) * (day.seconds / middle - 1) ** 2 for day in others)
            freedom += len(others) - 1
    spread = sqrt(squares / freedom) if freedom else DAY_ERROR
    few = duration.MIN_ERROR * sqrt(FEW_DAYS / min(FEW_DAYS, len(days)))
    # Of several sizes, one may have come with other code. Of one size, the volume has what changed.
    jump = _jump(days) if len(by_size) > 1 else 0.0
    return duration.Point(size, mean, max(mean * max(spread / sqrt(len(days)), few), jump / 2))


def _jump(days: Sequence[_Day]) -> float:
    """Return by how many seconds the mean duration changed, on the day where that is least likely to be chance.

    0 if chance explains it.
    """
    unlikely, seconds = 0.0, 0.0
    for first in range(2, len(days) - 1):
        parts = [(len(part), fsum(day.calls for day in part), part) for part in (days[:first], days[first:])]
        means = [fsum(day.calls * day.seconds for day in part) / calls for _, calls, part in parts]
        squares = fsum(
            day.calls / calls * number * (day.seconds - mean) ** 2
            for (number, calls, part), mean in zip(parts, means, strict=True)
            for day in part
        )
        error = sqrt(squares / (len(days) - 2) * fsum(1 / number for number, _, _ in parts))
        change = abs(means[0] - means[1])
        unlikely, seconds = max((unlikely, seconds), (change / max(error, 1e-9), change))
    return seconds * min(1.0, max(0.0, unlikely - JUMP_ERRORS))


def _slowest(function: Function, usage: FunctionUsage, reports: Reports, sampled: bool) -> float:
    """Return the longest duration in seconds of an invocation that did not time out."""
    ended = max(
        (tally.slowest_ms for key, tally in reports.tallies.items() if key.outcome is not Outcome.TIMEOUT), default=0.0
    )
    if sampled and usage.slowest_ms:
        most = max(usage.slowest_ms.by_day.values())
        # The metric includes invocations that timed out. Without them, the sample shows what is usual.
        ended = most if most < 1000 * function.timeout_seconds else SAMPLE_FACTOR * ended
    return min(ended / 1000, float(function.timeout_seconds))


def _model(
    function: Function, today: duration.Point, others: Sequence[duration.Point], usage: FunctionUsage
) -> duration.DurationModel:
    model = duration.fit_cpu_share(today, [point for point in others if point.seconds]) if today.seconds else None
    if model is None and usage.cpu_ms and usage.invocations:
        common = usage.cpu_ms.by_day.keys() & usage.invocations.by_day.keys()
        calls = fsum(usage.invocations.by_day[day] for day in common)
        cpu = fsum(usage.cpu_ms.by_day[day] for day in sorted(common)) / calls / 1000 if calls else 0.0
        # The function's own machine reports its CPU time: ignore impossible values.
        vcpus = max(1.0, function.memory_mb / duration.FULL_VCPU_MB)
        if calls >= MIN_INVOCATIONS and 0 < cpu <= today.seconds * vcpus:
            model = duration.from_cpu_time(function.memory_mb, today.seconds, cpu)
    return model or duration.unknown_cpu_share(function.memory_mb)

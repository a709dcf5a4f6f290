"""How often a function will be invoked in the coming 30 days, by what the last ones and the last 7 days show."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from math import fsum, sqrt

from lambda_costs.collect.metrics import Daily
from lambda_costs.model.duration import Z_95
from lambda_costs.model.finding import PERIOD_DAYS

RECENT_DAYS = 7  # a whole week, since weekdays differ
MAX_MORE = 30.0  # the most that the range allows, over what is expected: then too little is known for a number
IMPROBABLE = 0.001  # a silence with less chance than this is no chance; our own choice


@dataclass(frozen=True)
class Volume:
    """Invocations in the coming 30 days. The range holds the last month's number and the last week's rate."""

    low: float
    expected: float
    high: float

    def widened(self, error: float) -> "Volume":
        """Return the volume with its range widened by a relative ``error`` on both sides."""
        return Volume(
            self.low * max(0.0, 1 - error), self.expected, min(self.high * (1 + error), MAX_MORE * self.expected)
        )


def missing_days(calls: Daily, logged: frozenset[date], start: date) -> frozenset[date]:
    """Return the days from ``start`` on whose invocations CloudWatch does not show.

    Either the logs have lines of them (``logged``), or a function that is rarely silent for a day has been silent for
    so long, and was active again, that chance does not explain it.
    """
    active = sorted(day for day, count in calls.by_day.items() if count > 0)
    missing = {day for day in logged - set(active) if start <= day < calls.end}
    for before, after in pairwise(active):
        gap = {before + timedelta(days=ago) for ago in range(1, (after - before).days)}
        others = (active[-1] - active[0]).days + 1 - len(gap)
        if _chance_of_silence(others, len(active), len(gap)) < IMPROBABLE:
            missing |= gap
    return frozenset(missing)


def stopped_on(calls: Daily, missing: frozenset[date]) -> date | None:
    """Return the day after the last invocation if chance does not explain the silence since; None if it goes on."""
    active = {day for day, count in calls.by_day.items() if count > 0}
    if not active:
        return calls.first_day
    last, first = max(active), min(active)
    silent = sum(last + timedelta(days=ahead) not in missing for ahead in range(1, (calls.end - last).days))
    known = (last - first).days + 1 - sum(first <= day <= last for day in missing)
    return last + timedelta(days=1) if _chance_of_silence(known, len(active), silent) < IMPROBABLE else None


def project(calls: Daily, missing: frozenset[date], start: date) -> Volume:
    """Return the volume of the coming 30 days; ``start`` is the window's first day."""
    first = min(calls.first_day, *missing) if missing else calls.first_day
    days = [start + timedelta(days=index) for index in range((calls.end - start).days)]
    known = [calls.by_day.get(day, 0.0) for day in days if day >= first and day not in missing]
    seen = fsum(known)
    month = (seen + seen / len(known) * len(missing)) / len(days) * PERIOD_DAYS
    recent = known[-RECENT_DAYS:]
    week = fsum(recent) / len(recent) * PERIOD_DAYS
    error = Z_95 * sqrt(_dispersion(known) / max(1.0, fsum(recent)))
    # The mean of both where they differ no more than chance explains, and the last week's rate where they differ more.
    apart = abs(week - month) / max(error * week, 1e-9) if week else 0.0
    weight = 0.5 + 0.5 * min(1.0, max(0.0, apart - 1))
    expected = weight * week + (1 - weight) * month
    most = max(month, week * (1 + error))
    return Volume(min(month, week * max(0.0, 1 - error)), expected, min(most, MAX_MORE * expected))


def _chance_of_silence(days: int, active: int, silent: int) -> float:
    """Return the chance of ``silent`` days in a row for a function active on ``active`` of ``days`` days."""
    return float(((days - active + 1) / (days + 2)) ** silent)


def _dispersion(counts: Sequence[float]) -> float:
    """Return the variance of a week's invocations over their mean, without a trend; 1 if they come independently."""
    weeks = [fsum(counts[last - RECENT_DAYS : last]) for last in range(len(counts), RECENT_DAYS - 1, -RECENT_DAYS)]
    if len(weeks) < 3:
        # The days of a week differ, too, which makes this larger than that of weeks.
        mean = fsum(counts) / len(counts)
        return max(1.0, fsum((count - mean) ** 2 for count in counts) / len(counts) / max(1.0, mean))
    bends = [before - 2 * week + after for before, week, after in zip(weeks, weeks[1:], weeks[2:], strict=False)]
    # The variance of a - 2 b + c is six times that of each.
    variance = fsum(bend**2 for bend in bends) / len(bends) / 6
    return max(1.0, variance * len(weeks) / max(1.0, fsum(weeks)))

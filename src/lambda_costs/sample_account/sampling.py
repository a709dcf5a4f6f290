"""A function's metrics and REPORT lines, sampled from its hidden parameters with noise."""

import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from math import ceil, exp, floor, sqrt
from statistics import NormalDist
from typing import NamedTuple
from uuid import UUID

from lambda_costs.sample_account.function import DAYS, FULL_VCPU_MB, Mode, SampleFunction, growth

ALL_LINES = 450  # a function with fewer invocations in the window logs all of them

_QUANTILES = (0.0, 0.25, 0.6, 0.9, 0.98, 1.0)  # bounds of the bins of a day's durations; p99 falls into the last bin
_FEW = 40  # most durations a day that are drawn one by one
_MAX_TIMEOUT_SHARE = 0.98  # longest duration of an invocation that does not time out, as a share of the timeout
_OFFICE = (8 / 24, 18 / 24)
_NORMAL = NormalDist()


class Line(NamedTuple):
    """One invocation, as its REPORT line shows it."""

    day: float  # days after the beginning of the window
    request: str
    duration_ms: float
    billed_ms: int
    memory_mb: int
    used_mb: int
    init_ms: float | None
    status: str
    error_type: str | None


@dataclass
class Day:
    """One day's metrics; ``durations`` counts invocations by milliseconds."""

    index: int
    invocations: int = 0
    errors: int = 0
    provisioned: int = 0
    cpu_ms: float = 0.0
    log_bytes: float = 0.0
    durations: Counter[float] = field(default_factory=Counter)


@dataclass(frozen=True)
class Sample:
    """What an analysis can see of a function."""

    days: list[Day]
    lines: list[Line]
    earlier: dict[int, int]  # invocations before the window, by days before its end


def sample(function: SampleFunction, rng: random.Random) -> Sample:
    """Return a sample of ``function``; the same state of ``rng`` gives the same sample."""
    weights = _weights(function, rng)
    pace = [rng.lognormvariate(0, 0.02) for _ in range(DAYS)]
    if function.daily_invocations * sum(weights) <= ALL_LINES:
        counts = [_poisson(rng, function.daily_invocations * weight) for weight in weights]
        if function.traffic == "monthly":
            counts = [ceil(weight) for weight in weights]
        lines = [
            _invoke(function, index + _time_of_day(function, rng), pace[index], _mode(function, rng), rng)
            for index, count in enumerate(counts)
            for _ in range(count)
        ]
        days = _add_up(function, lines, rng)
    else:
        days = [_day(function, index, weights[index], pace[index], rng) for index in range(DAYS) if weights[index]]
        lines = list(_lines(function, weights, pace, rng))
    earlier = {}
    if function.last_used_days and function.traffic == "monthly":
        earlier = {DAYS - days[0].index + DAYS * month: 1 for month in range(1, 9)}
    elif function.last_used_days:
        earlier = {function.last_used_days + 5 * step: rng.randint(10, 400) for step in range(20)}
    return Sample(days, lines, earlier)


def _weights(function: SampleFunction, rng: random.Random) -> list[float]:
    """Return each day's traffic divided by the mean of the days that have any."""
    days = range(DAYS)
    if function.traffic == "monthly":
        only = rng.randrange(3, DAYS - 3)
        return [1.0 if day == only else 0.0 for day in days]
    weekend = {"weekly": 0.4, "business-hours": 0.05}.get(function.traffic, 1.0)
    weights = [weekend if day % 7 in (5, 6) else 1.0 for day in days]
    if function.traffic == "bursts":
        high = rng.sample(days, 3)
        weights = [6.0 if day in high else 1.0 for day in days]
    elif function.traffic == "growing":
        weights = [growth(day) for day in days]
    weights[: function.first_day] = [0.0] * function.first_day
    mean = sum(weights) / (DAYS - function.first_day)
    return [weight / mean for weight in weights]


def _time_of_day(function: SampleFunction, rng: random.Random) -> float:
    return rng.uniform(*_OFFICE) if function.traffic == "business-hours" else rng.random()


def _mode(function: SampleFunction, rng: random.Random) -> Mode:
    if len(function.modes) == 1:
        return function.modes[0]
    return rng.choices(function.modes, [mode.share for mode in function.modes])[0]


def _invoke(function: SampleFunction, day: float, pace: float, mode: Mode, rng: random.Random) -> Line:
    memory = function.memory_on(floor(day))
    limit = function.timeout_seconds * 1000.0
    duration = function.plain_ms(memory) * mode.slowness * pace
    duration *= rng.lognormvariate(-(function.spread**2) / 2, function.spread)
    duration = round(min(duration, limit * _MAX_TIMEOUT_SHARE), 2)
    used = min(memory, round(mode.need_mb * (1 - 0.3 * rng.random() ** 2)))
    init = None
    if rng.random() >= function.on_provisioned and rng.random() < function.cold_share:
        init = round(function.init_ms * rng.lognormvariate(0, 0.1), 2)
    status, error_type = "success", None
    outcome = rng.random()
    if outcome < function.timeout_share:
        duration, status = limit, "timeout"
    elif outcome < function.timeout_share + function.out_of_memory_share_at(memory):
        used, status, error_type = memory, "error", "Runtime.OutOfMemory"
    elif rng.random() < function.error_share_on(floor(day)):
        status, error_type = "error", "Runtime.ExitError"
    billed = ceil(duration + (init or 0.0))
    return Line(day, str(UUID(int=rng.getrandbits(128))), duration, billed, memory, used, init, status, error_type)


def _lines(function: SampleFunction, weights: list[float], pace: list[float], rng: random.Random) -> Iterator[Line]:
    kept = min(function.log_days, function.retention_days or DAYS, DAYS)
    first = DAYS - ceil(kept)
    if not kept:
        return
    count, running = function.log_lines, list(accumulate(weights[first:]))
    # The sample has one invocation of each rare payload.
    rare = {rng.randrange(count): mode for mode in function.modes[1:]}
    for index in range(count):
        day = first + bisect_left(running, (index + rng.random()) / count * running[-1])
        mode = rare.get(index) or _mode(function, rng)
        yield _invoke(function, day + _time_of_day(function, rng), pace[day], mode, rng)


def _day(function: SampleFunction, index: int, weight: float, pace: float, rng: random.Random) -> Day:
    memory = function.memory_on(index)
    count = _poisson(rng, function.daily_invocations * weight)
    late = _binomial(rng, count, function.timeout_share)
    failed = _binomial(rng, count - late, function.out_of_memory_share_at(memory) + function.error_share_on(index))
    day = Day(
        index,
        count,
        errors=late + failed,
        provisioned=_binomial(rng, count, function.on_provisioned),
        cpu_ms=count * _cpu_ms(function) * pace * rng.gauss(1, 0.01),
        log_bytes=count * function.log_bytes * rng.gauss(1, 0.02),
    )
    if late:
        day.durations[function.timeout_seconds * 1000.0] = late
    limit = function.timeout_seconds * 1000 * _MAX_TIMEOUT_SHARE
    left = count - late
    for mode in reversed(function.modes):
        # What the rare payloads leave is plain.
        of_mode = left if mode is function.modes[0] else _binomial(rng, count - late, mode.share)
        left -= of_mode
        mean = function.plain_ms(memory) * mode.slowness * pace
        for factor, number in _factors(function.spread, of_mode, rng):
            day.durations[round(min(mean * factor, limit), 2)] += number
    return day


def _factors(sigma: float, count: int, rng: random.Random) -> list[tuple[float, int]]:
    """Return ``count`` durations divided by their expected mean, and how often each occurs."""
    if count <= _FEW:
        return [(rng.lognormvariate(-(sigma**2) / 2, sigma), 1) for _ in range(count)]
    noise = rng.gauss(1, sqrt((exp(sigma**2) - 1) / count))
    numbers = [upper - lower for lower, upper in pairwise(round(count * quantile) for quantile in _QUANTILES)]
    return [(value * noise, number) for value, number in zip(_bin_means(sigma), numbers, strict=True) if number]


def _bin_means(sigma: float) -> list[float]:
    """Return the mean of each bin of a lognormal whose mean is 1."""
    # A lognormal's partial mean below the quantile z is the normal distribution below z - sigma.
    below = [_NORMAL.cdf(_NORMAL.inv_cdf(q) - sigma) if 0 < q < 1 else q for q in _QUANTILES]
    bins = zip(pairwise(below), pairwise(_QUANTILES), strict=True)
    return [(upper - lower) / (high - low) for (lower, upper), (low, high) in bins]


def _add_up(function: SampleFunction, lines: list[Line], rng: random.Random) -> list[Day]:
    days: dict[int, Day] = {}
    for line in lines:
        day = days.setdefault(floor(line.day), Day(floor(line.day)))
        day.invocations += 1
        day.errors += line.status != "success"
        day.cpu_ms += _cpu_ms(function) * rng.gauss(1, 0.05)
        day.log_bytes += function.log_bytes
        day.durations[line.duration_ms] += 1
    return [days[index] for index in sorted(days)]


def _cpu_ms(function: SampleFunction) -> float:
    # In milliseconds of a whole vCPU, at any memory size.
    return function.cpu_mb_ms / FULL_VCPU_MB * function.mean_slowness


def _poisson(rng: random.Random, mean: float) -> int:
    if mean > 50:
        return max(0, round(rng.gauss(mean, sqrt(mean))))
    limit, product, count = exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def _binomial(rng: random.Random, count: int, share: float) -> int:
    mean = count * share
    if mean > 50:
        return min(count, max(0, round(rng.gauss(mean, sqrt(mean * (1 - share))))))
    return min(count, _poisson(rng, mean)) if share else 0

"""A function of an account: what AWS shows of it, and the hidden parameters of what it does.

Times are seconds and days from the midnight (UTC) that begins the day of the analysis: the past is negative. Whatever
is drawn depends on the account's seed, the function's name and the day alone, never on the hour of the analysis.
"""

import math
import random
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from typing import NamedTuple

DAY = 86_400
PAST_DAYS = 455
"""CloudWatch keeps daily values for so long."""
MONTH = 30


@dataclass(frozen=True)
class Arrivals:
    """When a function is invoked."""

    daily: float
    """Mean invocations of a weekday, before growth; of a job, on each of its days."""
    rhythm: float = 0.0
    """0 is flat, 1 means that nothing comes at the quietest hour."""
    peak: int = 14
    """Hour (UTC) of most invocations."""
    weekend: float = 1.0
    growth: float = 0.0
    """Of the logarithm of the rate, a day."""
    born: int = PAST_DAYS
    """Days ago."""
    stopped: int = 0
    """Days ago; 0 means that it has not stopped."""
    job: str = ""
    """"monthly" and "yearly" run on one day of the month or year only."""
    clock: bool = False
    """A schedule invokes it at equal distances."""
    burst: int = 1
    """Mean number of invocations that arrive together."""

    def level(self, day: int) -> float:
        """Return the growth factor of ``day``; from today on it stays what it was in the last seven days."""
        if day < -self.born or (self.stopped and day >= -self.stopped):
            return 0.0
        if day < 0:
            return math.exp(self.growth * day)
        return math.fsum(math.exp(self.growth * ago) for ago in range(-7, 0)) / 7

    def rate(self, day: int, today: date) -> float:
        """Return the mean number of invocations on ``day``."""
        at = today + timedelta(days=day)
        if (self.job and at.day != 1) or (self.job == "yearly" and at.month != 1):
            return 0.0
        return self.daily * self.level(day) * (self.weekend if at.weekday() >= 5 else 1.0)

    @cached_property
    def hours(self) -> tuple[float, ...]:
        """Share of a day's invocations that have come by the end of each hour."""
        weights = [
            # A job has its hour.
            (not self.job or hour == self.peak) * (1 + self.rhythm * math.cos((hour - self.peak) * math.tau / 24))
            + 1e-9
            for hour in range(24)
        ]
        total = math.fsum(weights)
        return tuple(math.fsum(weights[: hour + 1]) / total for hour in range(24))


@dataclass(frozen=True)
class Provisioned:
    """Provisioned concurrency of an alias."""

    alias: str
    executions: int
    """At all hours, or the least."""
    by_day: int = 0
    """From ``hours[0]`` to ``hours[1]`` on weekdays, by scheduled actions; 0 if there are none."""
    hours: tuple[int, int] = (7, 19)
    tracking: int = 0
    """The most that target tracking allocates, which follows the daily rhythm; 0 if there is none."""

    def allocated(self, hour: int, weekday: int, busy: float) -> int:
        """Return what is allocated; ``busy``: what share of the peak's load the hour has."""
        if self.by_day and weekday < 5 and self.hours[0] <= hour < self.hours[1]:
            return self.by_day
        if self.tracking:
            return max(self.executions, math.ceil(self.tracking * busy))
        return self.executions


@dataclass(frozen=True)
class Function:
    """One function. The second half is hidden from the analysis."""

    name: str
    shape: str
    """What kind of function was drawn, for a person."""
    arrivals: Arrivals
    memory_mb: int = 512
    timeout_s: int = 30
    architecture: str = "x86_64"
    runtime: str | None = "python3.13"
    """None is a container image."""
    layers: tuple[str, ...] = ()
    tmp_mb: int = 512
    snapstart: bool = False
    edge: bool = False
    managed: bool = False
    recursion: str = ""
    """"allowed" or "dropped"."""
    history: tuple[tuple[int, int], ...] = ()
    """(until so many days ago, memory in MB) of earlier sizes, the oldest first."""
    provisioned: tuple[Provisioned, ...] = ()
    alias_share: tuple[tuple[str, float], ...] = ()
    """Share of the invocations that go to each alias; the rest is unqualified."""
    second_version: tuple[float, int] = (0.0, 0)
    """Share of the invocations that a weighted alias sends to another version, and its memory in MB."""
    alias_policy: bool = False
    json_logs: bool = False
    group: str = ""
    retention: int | None = None
    infrequent: bool = False
    denied: bool = False
    group_days: int = PAST_DAYS
    """Days since the log group was created; 0 is today, -1 means that there is none."""
    missing_metrics: tuple[int, int] = (0, 0)
    """Days ago between which CloudWatch has no datapoint."""

    io_s: float = 0.1
    io_sigma: float = 0.4
    cpu_s: float = 0.02
    """Seconds of one vCPU."""
    cpu_sigma: float = 0.3
    threads: int = 1
    """vCPUs that it can use at once."""
    tail_share: float = 0.0
    tail_alpha: float = 1.5
    """Pareto exponent of how much longer the waiting takes of that share."""
    base_mb: float = 80.0
    spread_mb: float = 10.0
    rhythm_mb: float = 0.0
    """More at the hour ``rhythm_peak`` than twelve hours off."""
    rhythm_peak: int = 15
    rare_share: float = 0.0
    rare_mb: float = 0.0
    leak_mb: float = 0.0
    """More with each invocation in one execution environment."""
    init_s: float = 0.4
    restore_s: float = 0.25
    keep_s: float = 420.0
    """How long an idle execution environment is kept."""
    lifetime_s: float = 7_200.0
    arm_ratio: float = 1.0
    """CPU time on arm64 over that on x86_64."""
    error_share: float = 0.0
    stuck_share: float = 0.0
    trouble_days: int = PAST_DAYS
    """Errors and stuck calls began so many days ago."""
    retried: bool = False
    """Asynchronous: failures are tried again after one and after three minutes."""
    tmp_need_mb: int = 100
    log_bytes: int = 400
    """Of an invocation, beside Lambda's own lines."""
    seed: str = field(default="0", repr=False)

    @property
    def log_group(self) -> str:
        """Where it logs to."""
        return self.group or f"/aws/lambda/{'us-east-1.' if self.edge else ''}{self.name}"

    @property
    def measured_by_insights(self) -> bool:
        """Whether the Lambda Insights extension measures its CPU time."""
        return any("LambdaInsightsExtension" in layer for layer in self.layers)

    def past_memory(self, day: float) -> int:
        """Return the memory size of $LATEST on ``day``."""
        return next((size for until, size in self.history if day < -until), self.memory_mb)


FINE, ERROR, STUCK = 0, 1, 2


class Request(NamedTuple):
    """One invocation and what it needs."""

    at: float
    io_s: float
    cpu_s: float
    need_mb: float
    fate: int
    retry: bool
    alias: str
    second: bool
    """Whether a weighted alias sends it to the other version."""


def count_on(function: Function, day: int, today: date, rng: random.Random | None = None) -> int:
    """Return how often the function is first invoked on ``day``; retries come on top."""
    rng = rng or random.Random(f"{function.seed}/{function.name}/{day}")
    arrivals = function.arrivals
    mean = arrivals.rate(day, today)
    if arrivals.clock:
        return round(mean)
    return sum(_poisson(rng, arrivals.burst - 1) + 1 for _ in range(_poisson(rng, mean / arrivals.burst)))


def requests_of(function: Function, first: int, last: int, today: date) -> list[Request]:
    """Return the invocations from day ``first`` to the end of the day before ``last``, in time order."""
    found: list[Request] = []
    for day in range(first, last):
        rng = random.Random(f"{function.seed}/{function.name}/{day}")
        for at in _moments(function, day, count_on(function, day, today, rng), rng):
            request = draw(function, at, rng)
            found.append(request)
            if function.retried and request.fate != FINE:
                found += [request._replace(at=at + pause, retry=True) for pause in (60, 180)]
    found.sort()
    return found


def _moments(function: Function, day: int, count: int, rng: random.Random) -> list[float]:
    arrivals = function.arrivals
    if arrivals.clock:
        return [day * DAY + (index + 0.5) * DAY / count for index in range(count)]
    found: list[float] = []
    while len(found) < count:
        share = rng.random()
        hour = min(23, bisect_right(arrivals.hours, share))
        at = day * DAY + (hour + rng.random()) * 3600
        size = 1 if arrivals.burst == 1 else min(count - len(found), 1 + _poisson(rng, arrivals.burst - 1))
        found += [at + 5 * rng.random() * (size > 1) for _ in range(size)]
    return sorted(found)


def draw(function: Function, at: float, rng: random.Random) -> Request:
    """Return what an invocation at ``at`` needs."""
    size = math.exp(rng.gauss(0, function.cpu_sigma))
    io = function.io_s * math.exp(rng.gauss(0, function.io_sigma))
    if function.tail_share and rng.random() < function.tail_share:
        io *= rng.paretovariate(function.tail_alpha)
    need = function.base_mb + function.spread_mb * min(size, 4.0)
    if function.rhythm_mb:
        hour = at % DAY / 3600
        need += function.rhythm_mb * (1 + math.cos((hour - function.rhythm_peak) * math.tau / 24)) / 2
    if function.rare_share and rng.random() < function.rare_share:
        need += function.rare_mb
    trouble = at >= -function.trouble_days * DAY
    luck = rng.random()
    fate = STUCK if luck < function.stuck_share else ERROR if luck > 1 - function.error_share else FINE
    choice, alias = rng.random(), ""
    for name, share in function.alias_share:
        if 0 <= choice < share:
            alias = name
        choice -= share
    second = rng.random() < function.second_version[0]
    return Request(at, io, function.cpu_s * size, need, fate if trouble else FINE, False, alias, second)


def _poisson(rng: random.Random, mean: float) -> int:
    if mean > 40:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    bound, count, product = math.exp(-mean), 0, rng.random()
    while product > bound:
        count += 1
        product *= rng.random()
    return count

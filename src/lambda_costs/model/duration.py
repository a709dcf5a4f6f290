"""How a function's duration changes with its memory.

CPU is proportional to memory, one vCPU at 1,769 MB (AWS Lambda Developer Guide, "Configure Lambda function memory"). A
function waits for one part of its duration and computes for the rest, on as many vCPUs as its code uses at once:
d(M) = a + b / min(M / 1769, vCPUs). Durations at two memory sizes give a and b, and so does the CPU time that Lambda
Insights measures. Below 1,769 MB, the number of vCPUs does not matter; above, one memory size does not show it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import fsum, sqrt

FULL_VCPU_MB = 1769
MAX_VCPUS = 6  # at 10,240 MB (AWS Lambda Developer Guide, "Configure Lambda function memory")

Z_95 = 1.96  # half-width of a 95 % confidence interval, in standard errors
MIN_ERROR = 0.02  # least relative error of a mean duration: days differ by more than chance
CLEAR = 0.2  # half-width of the interval of a share up to which the fitted one is expected; our own choice
CPU_ERROR = 0.1  # relative error of measured CPU time: agents on the machine use some of it, too


@dataclass(frozen=True)
class DurationFactor:
    """The duration at some memory size divided by today's duration."""

    low: float
    expected: float
    high: float


@dataclass(frozen=True)
class Behaviour:
    """One way in which a function may use its CPU."""

    share: float  # of today's duration that it computes
    vcpus: float  # the most that it uses at once

    def factor(self, today_mb: int, memory_mb: int) -> float:
        """Return the duration at ``memory_mb`` divided by that at ``today_mb``."""
        return 1 + self.share * (self._speed(today_mb) / self._speed(memory_mb) - 1)

    def _speed(self, memory_mb: int) -> float:
        return min(memory_mb / FULL_VCPU_MB, self.vcpus)


@dataclass(frozen=True)
class Point:
    """The mean duration at one memory size."""

    memory_mb: int
    seconds: float
    error: float  # standard error of the mean, in seconds


@dataclass(frozen=True)
class DurationModel:
    """How a function's duration changes with its memory: the behaviours that the data allow."""

    today_mb: int
    expected: tuple[Behaviour, ...]  # the mean of their factors is expected
    extremes: tuple[Behaviour, ...]
    basis: str  # the data it rests on, for the report
    measured: bool = True  # whether any data show the share of CPU time

    def factor(self, memory_mb: int) -> DurationFactor:
        """Return the expected factor and its bounds."""
        expected, extremes = (
            [item.factor(self.today_mb, memory_mb) for item in items] for items in (self.expected, self.extremes)
        )
        mean = fsum(expected) / len(expected)
        return DurationFactor(min(*extremes, mean), mean, max(*extremes, mean))

    def slowest_factor(self, memory_mb: int) -> float:
        """Return the factor of an invocation that only computes: a slow one may be slow for that reason."""
        return max(Behaviour(1.0, item.vcpus).factor(self.today_mb, memory_mb) for item in self.extremes)


def unknown_cpu_share(today_mb: int) -> DurationModel:
    """Return the model of a function seen at one memory size: it may always wait, or always compute."""
    basis = "REPORT lines of one memory size, which do not show the share of CPU time"
    most = _most_vcpus(today_mb)
    extremes = (Behaviour(0.0, 1.0), Behaviour(1.0, 1.0), Behaviour(1.0, MAX_VCPUS))
    return DurationModel(today_mb, (Behaviour(0.5, 1.0), Behaviour(0.5, most)), extremes, basis, measured=False)


def from_cpu_time(today_mb: int, seconds: float, cpu_seconds: float) -> DurationModel:
    """Return the model of a function that uses ``cpu_seconds`` of CPU in a duration of ``seconds``."""
    most = _most_vcpus(today_mb)
    # It cannot compute for longer than it takes.
    least = min(most, max(1.0, cpu_seconds / seconds))

    def behaviour(vcpus: float, error: float = 0.0) -> Behaviour:
        return Behaviour(_clamp((1 + error) * cpu_seconds / seconds / min(today_mb / FULL_VCPU_MB, vcpus)), vcpus)

    share = behaviour(least).share
    return DurationModel(
        today_mb,
        (behaviour(least), behaviour(most)),
        # A larger size has more vCPUs than today's.
        tuple(behaviour(vcpus, error) for vcpus in (least, MAX_VCPUS) for error in (-CPU_ERROR, CPU_ERROR)),
        f"Lambda Insights: {cpu_seconds * 1000:,.1f} ms of CPU time an invocation, {share:.0%} of the duration"
        + (f" on one vCPU; today's size has {most:.1f}" if most > 1 else ""),
    )


def fit_cpu_share(today: Point, others: Sequence[Point]) -> DurationModel | None:
    """Return the model that fits the mean durations, all above zero, at today's and other sizes.

    Least squares of d = a + b / min(M / 1769, vCPUs), weighted by the errors, with 95 % bounds, for each number of
    vCPUs that the sizes have. None if all sizes have the same CPU, or the durations contradict the model.
    """
    points = [today, *others]
    sizes = sorted(point.memory_mb for point in points)
    if sizes[0] == sizes[-1]:
        return None
    fits = [fit for vcpus in _numbers_of_vcpus(sizes[-1]) for fit in _fit(points, vcpus)]
    if not any(fit[0] for fit in fits):
        return None
    expected = tuple(Behaviour(_expected(share, off), vcpus) for _, vcpus, share, off in fits)
    extremes = (
        Behaviour(_clamp(_clamp(share) + way * off), most)
        for _, vcpus, share, off in fits
        # Code that uses all vCPUs of the largest size may use those of a larger one, too.
        for most in ((vcpus, MAX_VCPUS) if vcpus >= sizes[-1] / FULL_VCPU_MB else (vcpus,))
        for way in (-1, 1)
    )
    shares = sorted({f"{item.share:.0%}" for item in expected}, key=lambda text: float(text[:-1]))
    listed = " and ".join(f"{size:,} MB" for size in sizes)
    share = " to ".join(dict.fromkeys((shares[0], shares[-1])))
    basis = f"a fit of the durations at {listed}: {share} of today's is CPU time"
    return DurationModel(today.memory_mb, expected, tuple(extremes), basis)


def _expected(share: float, off: float) -> float:
    """Return the share to expect: the middle of all shares, the less the interval of the fitted one tells."""
    unknown = _clamp((off - CLEAR) / (0.5 - CLEAR))
    return (1 - unknown) * _clamp(share) + unknown * 0.5


def _numbers_of_vcpus(largest_mb: int) -> Iterable[float]:
    yield 1.0
    whole = 2
    while whole < largest_mb / FULL_VCPU_MB:
        yield float(whole)
        whole += 1
    if largest_mb > FULL_VCPU_MB:
        yield largest_mb / FULL_VCPU_MB


def _fit(points: Sequence[Point], vcpus: float) -> Iterator[tuple[bool, float, float, float]]:
    """Yield (whether it was measured, ``vcpus``, share, half-width of its 95 % interval) if the durations allow it."""
    x = [1 / min(point.memory_mb / FULL_VCPU_MB, vcpus) for point in points]
    w = [1 / max(point.error, MIN_ERROR * point.seconds) ** 2 for point in points]
    total = fsum(w)
    mean_x = fsum(wi * xi for wi, xi in zip(w, x, strict=True)) / total
    mean_d = fsum(wi * point.seconds for wi, point in zip(w, points, strict=True)) / total
    spread = fsum(wi * (xi - mean_x) ** 2 for wi, xi in zip(w, x, strict=True))
    if spread < 1e-12 * total:
        # The same CPU at all sizes: no share explains durations that differ, any share those that do not.
        if all(abs(point.seconds - mean_d) <= 2 * Z_95 / sqrt(wi) for wi, point in zip(w, points, strict=True)):
            yield False, vcpus, 0.5, 0.5
        return
    b = fsum(wi * (xi - mean_x) * (point.seconds - mean_d) for wi, xi, point in zip(w, x, points, strict=True)) / spread
    at_today = mean_d + b * (x[0] - mean_x)
    if at_today <= 0:
        return
    share = b * x[0] / at_today
    # The errors of mean_d and b are independent. Three sizes may deviate from the model by more than their errors.
    misfit = fsum(wi * (p.seconds - mean_d - b * (xi - mean_x)) ** 2 for wi, xi, p in zip(w, x, points, strict=True))
    stretch = sqrt(max(1.0, misfit / max(1, len(points) - 2)))
    off = Z_95 * stretch * x[0] / at_today**2 * sqrt(mean_d**2 / spread + b**2 / total)
    if share - off <= 1 and share + off >= 0:
        yield True, vcpus, share, off


def _most_vcpus(memory_mb: int) -> float:
    return max(1.0, memory_mb / FULL_VCPU_MB)


def _clamp(share: float) -> float:
    return min(1.0, max(0.0, share))

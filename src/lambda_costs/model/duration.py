"""How a function's duration changes with its memory.

CPU is proportional to memory, one vCPU at 1,769 MB (AWS Lambda Developer Guide, "Configure Lambda function memory").
Single-threaded code partly waits and partly computes: d(M) = a + b / min(M, 1769). Durations at two memory sizes give
a and b, and so does the CPU time that Lambda Insights measures; one size alone gives only the extremes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt

FULL_VCPU_MB = 1769
Z_95 = 1.96  # half-width of a 95 % confidence interval, in standard errors
MIN_ERROR = 0.02  # least relative error of a mean duration: days differ by more than chance
CPU_ERROR = 0.1  # relative error of measured CPU time: agents on the machine use some of it, too


@dataclass(frozen=True)
class DurationFactor:
    """The duration at some memory size divided by today's duration."""

    low: float
    expected: float
    high: float


def effective_cpu_mb(memory_mb: int) -> float:
    """Return the memory size that counts for CPU-bound code: one thread gains nothing above one vCPU."""
    return min(memory_mb, FULL_VCPU_MB)


@dataclass(frozen=True)
class Point:
    """The mean duration at one memory size."""

    memory_mb: int
    seconds: float
    error: float  # standard error of the mean, in seconds


@dataclass(frozen=True)
class DurationModel:
    """How a function's duration changes with its memory: by the CPU-bound share of today's duration."""

    today_mb: int
    low: float
    share: float
    high: float
    basis: str  # the data it rests on, for the report
    measured: bool = True  # whether any data show the share

    def factor(self, memory_mb: int) -> DurationFactor:
        """Return the factor for the share and for its bounds."""
        stretch = effective_cpu_mb(self.today_mb) / effective_cpu_mb(memory_mb) - 1
        low, high = sorted(1 + share * stretch for share in (self.low, self.high))
        return DurationFactor(low, 1 + self.share * stretch, high)


def unknown_cpu_share(today_mb: int) -> DurationModel:
    """Return the model of a function seen at one memory size: it may always wait, or always compute on one thread."""
    basis = "REPORT lines of one memory size, which do not show the share of CPU time"
    return DurationModel(today_mb, 0.0, 0.5, 1.0, basis, measured=False)


def from_cpu_time(today_mb: int, seconds: float, cpu_seconds: float) -> DurationModel:
    """Return the model of a function that uses ``cpu_seconds`` of CPU in a duration of ``seconds``."""
    # A fraction of a vCPU needs proportionally longer than the CPU time.
    share = cpu_seconds * FULL_VCPU_MB / effective_cpu_mb(today_mb) / seconds
    low, expected, high = (_clamp(share * factor) for factor in (1 - CPU_ERROR, 1.0, 1 + CPU_ERROR))
    basis = f"Lambda Insights: {cpu_seconds * 1000:,.1f} ms of CPU time an invocation, {expected:.0%} of the duration"
    return DurationModel(today_mb, low, expected, high, basis)


def fit_cpu_share(today: Point, others: Sequence[Point]) -> DurationModel | None:
    """Return the model that fits the mean durations, all above zero, at today's and other sizes.

    Least squares of d = a + b / min(M, 1769), weighted by the errors, with 95 % bounds. None if all sizes have the same
    CPU, or the durations contradict the model.
    """
    points = [today, *others]
    x = [1 / effective_cpu_mb(point.memory_mb) for point in points]
    if len(set(x)) < 2:
        return None
    w = [1 / max(point.error, MIN_ERROR * point.seconds) ** 2 for point in points]
    total = fsum(w)
    mean_x = fsum(wi * xi for wi, xi in zip(w, x, strict=True)) / total
    spread = fsum(wi * (xi - mean_x) ** 2 for wi, xi in zip(w, x, strict=True))
    mean_d = fsum(wi * point.seconds for wi, point in zip(w, points, strict=True)) / total
    b = fsum(wi * (xi - mean_x) * (point.seconds - mean_d) for wi, xi, point in zip(w, x, points, strict=True)) / spread
    at_today = mean_d + b * (x[0] - mean_x)
    if at_today <= 0:
        return None
    share = b * x[0] / at_today
    # The errors of mean_d and b are independent.
    off = Z_95 * x[0] / at_today**2 * sqrt(mean_d**2 / spread + b**2 / total)
    low, expected, high = map(_clamp, (share - off, share, share + off))
    sizes = " and ".join(f"{point.memory_mb:,} MB" for point in sorted(points, key=lambda point: point.memory_mb))
    basis = f"a fit of the durations at {sizes}: {expected:.0%} of today's is CPU time"
    return DurationModel(today.memory_mb, low, expected, high, basis)


def _clamp(share: float) -> float:
    return min(1.0, max(0.0, share))

"""How a function's duration moves with its memory.

CPU is proportional to memory, one vCPU at 1,769 MB (AWS Lambda Developer Guide, "Configure Lambda function memory").
Of single-threaded code a part waits and another computes: d(M) = a + b / min(M, 1769). Two memory sizes tell both
parts, and so does the CPU time that Lambda Insights measures; of one size alone, only the extremes are known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt

FULL_VCPU_MB = 1769

SURE = 1.96
"""Standard errors to either side that hold the truth in 95 of 100 cases."""
MIN_ERROR = 0.02
"""Share of a duration by which an estimate is taken to be off at least: days differ in more than chance."""
CPU_ERROR = 0.1
"""Share by which CPU time as measured may be off: the agents on the machine use some, too."""


@dataclass(frozen=True)
class Estimate:
    """A duration at some memory size over that of today: factors."""

    low: float
    expected: float
    high: float


def speed(memory_mb: int) -> float:
    """Return what the CPU-bound part of a duration is divided by; memory above one vCPU does not speed it up."""
    return min(memory_mb, FULL_VCPU_MB)


@dataclass(frozen=True)
class Point:
    """The mean duration at one memory size."""

    memory_mb: int
    seconds: float
    error: float
    """Standard error of the mean, in seconds."""


@dataclass(frozen=True)
class Unmeasured:
    """One memory size: from I/O-bound, which keeps its duration, to one thread that computes all the time."""

    today_mb: int
    basis: str = "REPORT lines of one memory size, which do not tell the share of CPU time"
    """What it rests on, for a person."""
    measured: bool = False
    """Whether anything tells the share of CPU time."""

    def factor(self, memory_mb: int) -> Estimate:
        """Return the extremes; expected is the middle."""
        bound = speed(self.today_mb) / speed(memory_mb)
        low, high = min(1.0, bound), max(1.0, bound)
        return Estimate(low, (low + high) / 2, high)


@dataclass(frozen=True)
class Shared:
    """The CPU-bound share of today's duration, with its bounds."""

    today_mb: int
    low: float
    share: float
    high: float
    basis: str
    measured: bool = True

    def factor(self, memory_mb: int) -> Estimate:
        """Return what follows from the share and its bounds."""
        stretch = speed(self.today_mb) / speed(memory_mb) - 1
        ends = sorted(1 + share * stretch for share in (self.low, self.high))
        return Estimate(ends[0], 1 + self.share * stretch, ends[1])


Model = Unmeasured | Shared
"""What is known about a function's duration at other memory sizes."""


def from_cpu_time(today_mb: int, seconds: float, cpu_seconds: float) -> Shared:
    """Return the model of a function that uses ``cpu_seconds`` of CPU in a duration of ``seconds``."""
    # Less than one vCPU needs longer than the CPU time, by just so much.
    share = cpu_seconds * FULL_VCPU_MB / speed(today_mb) / seconds
    low, expected, high = (_clamp(share * factor) for factor in (1 - CPU_ERROR, 1.0, 1 + CPU_ERROR))
    return Shared(
        today_mb, low, expected, high,
        f"Lambda Insights: {cpu_seconds * 1000:,.1f} ms of CPU time an invocation, {expected:.0%} of the duration",
    )  # fmt: skip


def fitted(today: Point, others: Sequence[Point]) -> Shared | None:
    """Return the model that fits the mean durations, all above zero, at today's and other sizes.

    None if their CPUs are equally fast, or the durations are not at all what the model expects. Least squares of
    d = a + b / min(M, 1769), weighted by the errors; the bounds are those of 95 %.
    """
    points = [today, *others]
    x = [1 / speed(point.memory_mb) for point in points]
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
    # mean_d and b err independently; the share is off by what both do to it.
    off = SURE * x[0] / at_today**2 * sqrt(mean_d**2 / spread + b**2 / total)
    low, expected, high = (_clamp(it) for it in (share - off, share, share + off))
    sizes = " and ".join(f"{point.memory_mb:,} MB" for point in sorted(points, key=lambda point: point.memory_mb))
    return Shared(
        today.memory_mb, low, expected, high,
        f"fitted to the durations at {sizes}: {expected:.0%} of today's is CPU time",
    )  # fmt: skip


def _clamp(share: float) -> float:
    return min(1.0, max(0.0, share))

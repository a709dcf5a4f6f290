"""The model of duration is d(M) = a + b / min(M, 1769): the expectations are worked out from that formula alone."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_costs.model.duration import DurationModel, Point, fit_cpu_share, from_cpu_time, unknown_cpu_share


def known(model: DurationModel | None) -> DurationModel:
    assert model is not None
    return model


def factors(model: DurationModel, memory_mb: int) -> tuple[float, float, float]:
    estimate = model.factor(memory_mb)
    return estimate.low, estimate.expected, estimate.high


@pytest.mark.parametrize(
    ("today", "new", "low", "high"),
    [
        (1024, 512, 1, 2),  # I/O-bound it stays, CPU-bound it takes twice as long with half the CPU
        (512, 1024, 0.5, 1),
        (3008, 1769, 1, 1),  # one thread has no use for more than one vCPU
        (3538, 884.5, 1, 2),
        (1024, 1024, 1, 1),
    ],
)
def test_one_size_gives_only_the_extremes(today: int, new: int, low: float, high: float) -> None:
    assert factors(unknown_cpu_share(today), new) == pytest.approx((low, (low + high) / 2, high))


# a = 0.5 s and b = 512 s·MB: 1 s at 1,024 MB, half of it CPU time; 1.5 s at 512 MB; 0.5 + 512/1769 at 2,048 MB.
AT_1024, AT_512, AT_VCPU = (Point(1024, 1.0, 0), Point(512, 1.5, 0), Point(2048, 0.5 + 512 / 1769, 0))


@pytest.mark.parametrize(
    ("today", "others", "share"),
    [
        (AT_1024, [AT_512], 0.5),
        (AT_512, [AT_1024], 1 / 1.5),  # 512/512 = 1 s of 1.5 s
        (AT_1024, [AT_512, AT_VCPU], 0.5),
        (AT_VCPU, [AT_512, AT_1024], (512 / 1769) / (0.5 + 512 / 1769)),
    ],
)
def test_fit_to_two_or_three_sizes_recovers_the_cpu_share(today: Point, others: list[Point], share: float) -> None:
    model = known(fit_cpu_share(today, others))
    assert model.share == pytest.approx(share)
    assert model.low < share < model.high


def test_a_fit_to_two_sizes_is_as_sure_as_the_two_durations() -> None:
    # share = (d1/d0 − 1) / (1024/512 − 1). Each duration is off by 2 % at least, so d1/d0 = 1.5 is off by
    # 1.5 × √(0.02² + 0.02²) = 0.0424264, and the share by as much; 1.96 times that is 0.0831558.
    model = known(fit_cpu_share(AT_1024, [AT_512]))
    assert (model.low, model.high) == pytest.approx((0.5 - 0.0831558, 0.5 + 0.0831558), abs=1e-6)
    # At 256 MB a quarter of the CPU is left: 1 + share × 3.
    assert factors(model, 256) == pytest.approx((2.2505326, 2.5, 2.7494674))
    assert "512 MB and 1,024 MB: 50%" in model.basis


def test_the_bounds_hold_the_truth_in_95_of_100_cases() -> None:
    # d = 0.1 + 1 × 1024/M: 1.1 s at 1,024 MB, 4.1 s at 256 MB, each measured with an error of 5 %.
    random, truth = Random(1), 1 / 1.1

    def measured(memory: int, seconds: float) -> Point:
        return Point(memory, random.gauss(seconds, 0.05 * seconds), 0.05 * seconds)

    fits = [known(fit_cpu_share(measured(1024, 1.1), [measured(256, 4.1)])) for _ in range(2000)]
    assert sum(fit.low <= truth <= fit.high for fit in fits) >= 0.94 * len(fits)


@pytest.mark.parametrize("others", [[], [Point(4096, 0.7, 0)], [Point(1769, 0.7, 0), Point(10_240, 0.6, 0)]])
def test_sizes_with_equal_cpu_give_no_fit(others: list[Point]) -> None:
    assert fit_cpu_share(Point(2048, 1.0, 0), others) is None


def test_durations_that_no_share_explains_give_no_fit() -> None:
    # Through 1 s at 512 MB and 10 s at 256 MB goes a line that is below zero at 1,024 MB.
    assert fit_cpu_share(Point(1024, 0.1, 10), [Point(512, 1.0, 0), Point(256, 10.0, 0)]) is None


@pytest.mark.parametrize(
    ("at_512", "share"),
    [
        (0.9, 0.0),  # faster with less CPU: chance
        (3.0, 1.0),  # more than twice as slow with half of the CPU: more than CPU time can be
    ],
)
def test_a_share_is_none_or_all_at_the_extremes(at_512: float, share: float) -> None:
    model = known(fit_cpu_share(AT_1024, [Point(512, at_512, 0)]))
    assert (model.low, model.share, model.high) == (share, share, share)


@pytest.mark.parametrize(
    ("today", "seconds", "cpu", "low", "share", "high"),
    [
        # 0.256 s of CPU take 0.256 × 1769/1024 = 0.44225 s at 1,024 MB; measured within a tenth.
        (1024, 1.0, 0.256, 0.398025, 0.44225, 0.486475),
        (3008, 2.0, 0.5, 0.225, 0.25, 0.275),  # one thread gets one vCPU
        (3008, 1.0, 0.95, 0.855, 0.95, 1.0),
        (3008, 1.0, 1.7, 1.0, 1.0, 1.0),  # several threads
        (1024, 1.0, 0.0, 0.0, 0.0, 0.0),
    ],
)
def test_cpu_time_gives_a_share(today: int, seconds: float, cpu: float, low: float, share: float, high: float) -> None:
    model = from_cpu_time(today, seconds, cpu)
    assert (model.low, model.share, model.high) == pytest.approx((low, share, high))


sizes = st.integers(128, 10_240)
positive = st.floats(0.001, 1000)


@st.composite
def models(draw: st.DrawFn) -> DurationModel:
    today, seconds = draw(sizes), draw(positive)
    kind = draw(st.sampled_from(["unmeasured", "cpu time", "fit"]))
    if kind == "cpu time":
        return from_cpu_time(today, seconds, draw(st.floats(0, 2000)))
    point = Point(today, seconds, draw(st.floats(0, 10)))
    other = Point(draw(sizes), draw(positive), draw(st.floats(0, 10)))
    return (kind == "fit" and fit_cpu_share(point, [other])) or unknown_cpu_share(today)


@given(models(), st.lists(sizes, min_size=1, max_size=8))
def test_more_memory_is_never_slower_nor_faster_than_its_cpu(model: DurationModel, memory: list[int]) -> None:
    assert factors(model, model.today_mb) == (1, 1, 1)
    for one in memory:
        estimate, cpu = model.factor(one), min(model.today_mb, 1769) / min(one, 1769)
        assert min(1, cpu) - 1e-9 <= estimate.low <= estimate.expected + 1e-9
        assert estimate.expected - 1e-9 <= estimate.high <= max(1, cpu) + 1e-9
    for less, more in pairwise(sorted(memory)):
        slow, fast = factors(model, less), factors(model, more)
        assert all(a >= b - 1e-9 for a, b in zip(slow, fast, strict=True))


@given(st.floats(0, 100), st.floats(0, 1e5), st.lists(sizes, min_size=2, max_size=4, unique=True), sizes)
def test_for_all_a_and_b_the_fit_gives_back_the_durations(a: float, b: float, measured: list[int], new: int) -> None:
    def duration(memory: int) -> float:
        return a + b / min(memory, 1769)

    if duration(new) < 0.001:
        return
    points = [Point(memory, duration(memory), 0) for memory in measured]
    model = fit_cpu_share(points[0], points[1:])
    if model is None:
        assert min(measured) >= 1769
        return
    estimate, truth = model.factor(new), duration(new) / duration(measured[0])
    # Sizes that differ by a megabyte tell little, in floats too.
    assert estimate.expected == pytest.approx(truth, rel=1e-4)
    assert estimate.low - 1e-4 <= truth <= estimate.high + 1e-4

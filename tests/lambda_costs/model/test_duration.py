"""The model of duration is d(M) = a + b / min(M / 1769, vCPUs): the expectations are worked out from that alone."""

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lambda_costs.model.duration import Behaviour, DurationModel, Point, fit_cpu_share, from_cpu_time, unknown_cpu_share


def known(model: DurationModel | None) -> DurationModel:
    assert model is not None
    return model


def shares(model: DurationModel) -> tuple[float, float, float]:
    """Return the least, the expected and the largest share of CPU time of code on one thread."""
    [expected] = [item.share for item in model.expected if item.vcpus == 1][:1]
    extremes = [item.share for item in model.extremes if item.vcpus == 1]
    return min(extremes), expected, max(extremes)


def factors(model: DurationModel, memory_mb: int) -> tuple[float, float, float]:
    estimate = model.factor(memory_mb)
    return estimate.low, estimate.expected, estimate.high


@pytest.mark.parametrize(
    ("today", "new", "low", "expected", "high"),
    [
        (
            1024,
            512,
            1,
            1.5,
            2,
        ),  # code that waits stays the same, code that computes takes twice as long on half the CPU
        (512, 1024, 0.5, 0.75, 1),
        (1024, 1024, 1, 1, 1),
        # Code on one thread has no use for more than a vCPU; on all, it takes 3008/1769 = 1.7004 times as long. Half of
        # the time each, and half of both: 1 + 0.7004 / 4.
        (3008, 1769, 1, 1.1751, 1.7004),
        # Twice as long on one thread, from one vCPU to half; four times on all. 1 + 1/2 and 1 + 3/2 are expected.
        (3538, 884.5, 1, 2, 4),
        # From 1024/1769 of a vCPU to one, or to 2048/1769 of one: one thread is expected, 1 − 0.42114 / 2.
        (1024, 2048, 0.5, 0.78943, 1),
    ],
)
def test_one_size_gives_only_the_extremes(today: int, new: int, low: float, expected: float, high: float) -> None:
    model = unknown_cpu_share(today)
    assert factors(model, new) == pytest.approx((low, expected, high), rel=1e-5)
    assert not model.measured


@pytest.mark.parametrize(
    ("model", "new", "factor"),
    [
        (unknown_cpu_share(1024), 256, 4),
        (unknown_cpu_share(3538), 1769, 2),  # it may use both vCPUs
        (from_cpu_time(1024, 1.0, 0.01), 256, 4),  # others hardly compute, but this one may
        (fit_cpu_share(Point(1024, 1.0, 0), [Point(512, 1.0, 0)]), 256, 4),
        # 3,538 MB and 1,769 MB take as long: one thread, or no CPU time at all.
        (fit_cpu_share(Point(3538, 1.0, 0), [Point(1769, 1.0, 0)]), 1769, 2),
        # 3,538 MB is twice as fast: all of it computes, on both vCPUs.
        (fit_cpu_share(Point(3538, 1.0, 0), [Point(1769, 2.0, 0)]), 884.5, 4),
    ],
)
def test_the_slowest_invocation_may_be_one_that_only_computes(model: DurationModel, new: int, factor: float) -> None:
    assert model.slowest_factor(new) == pytest.approx(factor)


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
    least, expected, most = shares(known(fit_cpu_share(today, others)))
    assert expected == pytest.approx(share)
    assert least < share < most


def test_a_fit_to_two_sizes_is_as_sure_as_the_two_durations() -> None:
    # share = (d1/d0 − 1) / (1024/512 − 1). Each duration is off by 2 % at least, so d1/d0 = 1.5 is off by
    # 1.5 × √(0.02² + 0.02²) = 0.0424264, and the share by as much; 1.96 times that is 0.0831558.
    model = known(fit_cpu_share(AT_1024, [AT_512]))
    assert shares(model) == pytest.approx((0.5 - 0.0831558, 0.5, 0.5 + 0.0831558), abs=1e-6)
    # At 256 MB a quarter of the CPU is left: 1 + share × 3.
    assert factors(model, 256) == pytest.approx((2.2505326, 2.5, 2.7494674))
    assert "512 MB and 1,024 MB: 50%" in model.basis


def test_the_bounds_hold_the_truth_in_95_of_100_cases() -> None:
    # d = 0.1 + 1 × 1024/M: 1.1 s at 1,024 MB, 4.1 s at 256 MB, each measured with an error of 5 %.
    random, truth = Random(1), 1 / 1.1

    def measured(memory: int, seconds: float) -> Point:
        return Point(memory, random.gauss(seconds, 0.05 * seconds), 0.05 * seconds)

    fits = [
        shares(fit_cpu_share(measured(1024, 1.1), [measured(256, 4.1)]) or unknown_cpu_share(1024)) for _ in range(2000)
    ]
    assert sum(least <= truth <= most for least, _, most in fits) >= 0.94 * len(fits)


@pytest.mark.parametrize("others", [[], [Point(2048, 0.7, 0)]])
def test_one_size_gives_no_fit(others: list[Point]) -> None:
    assert fit_cpu_share(Point(2048, 1.0, 0), others) is None


def test_above_one_vcpu_a_fit_has_each_number_of_vcpus() -> None:
    # 1 s at 2,048 MB, 0.7 s at 4,096 MB: not on one thread. x(4096)/x(2048) is 2048/1769/2 = 0.578858 with 2 vCPUs, and
    # 0.5 with all of them; the share is (1 − 0.7) / (1 − x/x).
    model = known(fit_cpu_share(Point(2048, 1.0, 0), [Point(4096, 0.7, 0)]))
    assert [(item.vcpus, item.share) for item in model.expected] == [
        (2, pytest.approx(0.712349, rel=1e-5)),
        (pytest.approx(4096 / 1769), pytest.approx(0.6)),
    ]
    assert "2,048 MB and 4,096 MB: 60% to 71% of today's is CPU time" in model.basis


def test_equal_durations_above_one_vcpu_are_one_thread_or_no_cpu() -> None:
    model = known(fit_cpu_share(Point(2048, 1.0, 0), [Point(4096, 1.0, 0)]))
    assert model.expected == (
        Behaviour(0.5, 1),
        Behaviour(pytest.approx(0), 2),
        Behaviour(pytest.approx(0), 4096 / 1769),
    )
    # At 1,024 MB, one thread may take 1769/1024 = 1.727539 times as long. One of three ways, with half of its time:
    # 1 + 0.727539 / 2 / 3.
    assert factors(model, 1024) == pytest.approx((1, 1.121257, 1.727539))


def test_a_fit_below_one_vcpu_leaves_the_number_of_threads_open() -> None:
    # All of it computes. From 1,024 MB to 3,538 MB, one thread gets 1769/1024 times the CPU, two get 3538/1024 times.
    model = known(fit_cpu_share(Point(1024, 1.0, 0), [Point(512, 2.0, 0)]))
    assert factors(model, 3538)[:2] == pytest.approx((1024 / 3538, 1024 / 1769))
    by_insights = from_cpu_time(1024, 1.0, 1024 / 1769)
    assert factors(by_insights, 3538)[:2] == pytest.approx((1024 / 3538, 1024 / 1769))


def test_three_sizes_that_deviate_from_the_model_widen_its_range() -> None:
    # 1, 1.8 and 2.5 s at 1, 2 and 4 times x(1024), each ± 0.1 s. The line through them has b = 2.2333 / 4.6667, that is
    # 0.478571, and 1.128571 s at 1,024 MB: a share of 0.424051. They are off it by −0.128571, 0.192857 and −0.064286 s,
    # √5.7857 times their errors. 1.96 × √5.7857 / 1.128571² × √(1.766667² / 466.667 + 0.478571² / 300) = 0.319522.
    # Of 0.2 to 0.5, these are 0.398407: so much of the middle is expected, and the rest of the fit.
    model = known(fit_cpu_share(Point(1024, 1.0, 0.1), [Point(512, 1.8, 0.1), Point(256, 2.5, 0.1)]))
    assert shares(model) == pytest.approx((0.104529, 0.454310, 0.743573), rel=1e-5)


@pytest.mark.parametrize(("error", "expected"), [(0.04, 1.0), (0.07, 0.8577), (0.11, 0.6029), (0.2, 0.5)])
def test_the_less_a_fit_tells_the_more_is_the_middle_expected(error: float, expected: float) -> None:
    # 1 s at 1,024 MB and 2 s at 512 MB: all of it computes, ± 1.96 × 2 × √(error² + 0.02²), that is 0.1753, 0.2854,
    # 0.4383 or more. Of 0.2 to 0.5, these are none, 28.46 %, 79.42 % and all.
    model = known(fit_cpu_share(Point(1024, 1.0, error), [Point(512, 2.0, 0)]))
    assert shares(model)[1] == pytest.approx(expected, abs=1e-3)


def test_durations_that_no_share_explains_give_no_fit() -> None:
    # Through 1 s at 512 MB and 10 s at 256 MB goes a line that is below zero at 1,024 MB.
    assert fit_cpu_share(Point(1024, 0.1, 10), [Point(512, 1.0, 0), Point(256, 10.0, 0)]) is None


@pytest.mark.parametrize(
    ("at_512", "share"),
    [
        # 0.97 / 1 − 1 = −3 %, ± 1.96 × 0.97 × √2 × 2 % = 5.3776 %: chance, and it waits all of the time.
        (0.97, (0, 0, 0.053776)),
        # 2.04 − 1 = 104 %, ± 11.3097 %: it computes all of the time.
        (2.04, (0.886903, 1, 1)),
        (0.9, None),  # faster with less CPU, by more than chance
        (3.0, None),  # more than twice as slow with half of the CPU
    ],
)
def test_a_share_is_none_or_all_where_chance_explains_it(
    at_512: float, share: tuple[float, float, float] | None
) -> None:
    model = fit_cpu_share(AT_1024, [Point(512, at_512, 0)])
    assert (model and shares(model)) == (share and pytest.approx(share, rel=1e-4))


@pytest.mark.parametrize(
    ("today", "seconds", "cpu", "expected", "extremes"),
    [
        # 0.256 s of CPU take 0.256 × 1769/1024 = 0.44225 s at 1,024 MB; measured within a tenth.
        (1024, 1.0, 0.256, [(0.44225, 1), (0.44225, 1)], (0.398025, 0.486475)),
        # One thread computes for a quarter of 2 s; all of 3538/1769 = 2 vCPUs for half of that.
        (3538, 2.0, 0.5, [(0.25, 1), (0.125, 2)], (0.1125, 0.275)),
        (3538, 1.0, 0.96, [(0.96, 1), (0.48, 2)], (0.432, 1.0)),
        # More CPU time than it takes: 1.6 threads compute all of the time, or 2 for 80 % of it.
        (3538, 1.0, 1.6, [(1.0, 1.6), (0.8, 2)], (0.72, 1.0)),
        (1024, 1.0, 0.0, [(0.0, 1), (0.0, 1)], (0.0, 0.0)),
    ],
)
def test_cpu_time_gives_a_share_for_one_thread_and_for_all_vcpus(
    today: int, seconds: float, cpu: float, expected: list[tuple[float, float]], extremes: tuple[float, float]
) -> None:
    model = from_cpu_time(today, seconds, cpu)
    assert [number for item in model.expected for number in (item.share, item.vcpus)] == pytest.approx(
        [number for pair in expected for number in pair]
    )
    found = [item.share for item in model.extremes]
    assert (min(found), max(found)) == pytest.approx(extremes)


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
        estimate, cpu = model.factor(one), model.today_mb / one
        assert min(1, cpu) - 1e-9 <= estimate.low <= estimate.expected + 1e-9
        assert estimate.expected - 1e-9 <= estimate.high <= max(1, cpu) + 1e-9
        assert estimate.high - 1e-9 <= max(1, model.slowest_factor(one))
    for less, more in pairwise(sorted(memory)):
        slow, fast = factors(model, less), factors(model, more)
        assert all(a >= b - 1e-9 for a, b in zip(slow, fast, strict=True))


@example(a=0.0, b=2.0, measured=[5289, 5290], new=128, vcpus=1.0)  # a megabyte is less than 0.02 % of the CPU
@example(a=0.0, b=2.0, measured=[10_239, 10_240], new=128, vcpus=1.0)
@example(a=0.0, b=4.0, measured=[128, 1844], new=1847, vcpus=2.0)  # (1844 / 1769) × 1769 < 1844 in floats
@given(
    st.floats(0, 100),
    st.floats(0, 1e5),
    st.lists(sizes, min_size=2, max_size=4, unique=True),
    sizes,
    st.sampled_from([1.0, 2.0, 6.0]),
)
def test_for_all_a_and_b_the_fit_holds_the_durations(
    a: float, b: float, measured: list[int], new: int, vcpus: float
) -> None:
    def duration(memory: int) -> float:
        return a + b / 1769 / min(memory / 1769, vcpus)

    if duration(10_240) < 0.001:
        return
    points = [Point(memory, duration(memory), 0) for memory in measured]
    estimate, truth = known(fit_cpu_share(points[0], points[1:])).factor(new), duration(new) / duration(measured[0])
    # Sizes that differ by a megabyte tell little, in floats too.
    assert estimate.low - 1e-4 <= truth <= estimate.high + 1e-4
    # Sizes close to each other leave a wide range, of which the middle is expected.
    if max(measured) <= 1769 and new <= 1769 and max(measured) >= 1.5 * min(measured):
        assert estimate.expected == pytest.approx(truth, rel=1e-4)


@given(positive, positive, positive, sizes, sizes, st.floats(0, 10), st.floats(0, 10))
def test_less_certain_durations_never_give_a_narrower_range(
    today: float, other: float, factor: float, size: int, new: int, error: float, more: float
) -> None:
    points = (Point(1024, today, error), Point(size, other, error))
    model = fit_cpu_share(points[0], [points[1]])
    worse = fit_cpu_share(replace(points[0], error=error + more), [replace(points[1], error=error + more)])
    if model is None or worse is None:
        return
    sure, unsure = model.factor(new), worse.factor(new)
    assert unsure.low <= sure.low + 1e-9
    assert unsure.high >= sure.high - 1e-9

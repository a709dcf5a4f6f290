# ruff: noqa: E501 - one shape a line
"""Which functions an account has: most are small and well, a few spend a lot, and about half are odd in some way."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.field.function import PAST_DAYS, Arrivals, Function, Provisioned, draw
from benchmarks.field.machine import seconds

SIZES = (128, 192, 256, 384, 512, 768, 1024, 1536, 1769, 2048, 3008, 4096, 5120, 6144, 8192, 10_240)
TIMEOUTS = (3, 6, 10, 15, 20, 30, 60, 90, 120, 180, 300, 600, 900)
RUNTIMES = ("python3.13", "python3.12", "nodejs22.x", "nodejs24.x", "java21", "dotnet10", "provided.al2023", "ruby3.4")

Random = random.Random

INSIGHTS = "arn:aws:lambda:us-east-1:580247275435:layer:LambdaInsightsExtension:53"
INSIGHTS_ARM = "arn:aws:lambda:us-east-1:580247275435:layer:LambdaInsightsExtension-Arm64:20"
LAYER = "arn:aws:lambda:us-east-1:111122223333:layer:common:7"

KINDS: dict[str, tuple[float, dict[str, tuple[float, float]], dict[str, Any]]] = {
    # name: (weight, ranges of hidden parameters, settings)
    "api": (6, {"daily": (20, 500), "io_s": (0.02, 0.4), "cpu_s": (0.005, 0.1), "base_mb": (55, 180)}, {"rhythm": 0.8}),
    "queue": (4, {"daily": (40, 400), "io_s": (0.1, 2), "cpu_s": (0.05, 1), "base_mb": (80, 300)}, {"burst": 8}),
    "cron": (4, {"daily": (24, 288), "io_s": (0.2, 4), "cpu_s": (0.02, 1), "base_mb": (60, 250)}, {"clock": True}),
    "hook": (3, {"daily": (3, 40), "io_s": (0.1, 1.5), "cpu_s": (0.02, 0.3), "base_mb": (60, 150)}, {"rhythm": 0.6}),
    "stream": (2, {"daily": (300, 800), "io_s": (0.03, 0.3), "cpu_s": (0.02, 0.4), "base_mb": (80, 300)}, {}),
    "etl": (1.5, {"daily": (15, 150), "io_s": (4, 50), "cpu_s": (4, 80), "base_mb": (300, 2200)}, {"threads": 2}),
    "media": (1.2, {"daily": (80, 600), "io_s": (0.2, 3), "cpu_s": (3, 40), "base_mb": (200, 1200)}, {"threads": 4}),
    "model": (0.8, {"daily": (80, 700), "io_s": (0.05, 0.5), "cpu_s": (1, 12), "base_mb": (700, 3000)}, {"threads": 6}),
}
"""Workloads by kind; a range is drawn from evenly on a logarithmic scale."""


def base(rng: Random, name: str, kind: str, seed: str) -> Function:
    """Return a function that is well: with enough memory and time, and not much more."""
    _, ranges, given = KINDS[kind]
    drawn: dict[str, Any] = {key: _log(rng, low, high) for key, (low, high) in ranges.items()}
    clock = bool(given.get("clock"))
    daily = float(rng.choice((24, 48, 96, 144, 288))) if clock else drawn.pop("daily")
    drawn.pop("daily", None)
    arrivals = Arrivals(
        daily, rhythm=given.get("rhythm", 0.3), peak=rng.choice((2, 9, 13, 15, 18)), clock=clock,
        weekend=1.0 if clock else rng.uniform(0.3, 1.1), burst=given.get("burst", 1),
        growth=rng.gauss(0, 0.003), born=rng.choice((PAST_DAYS, PAST_DAYS, 300, 120)),
    )  # fmt: skip
    function = Function(
        name, kind, arrivals, seed=seed, **drawn,
        runtime=rng.choice(RUNTIMES), architecture=rng.choice(("x86_64", "x86_64", "arm64")),
        cpu_sigma=rng.uniform(0.1, 0.5), io_sigma=rng.uniform(0.1, 0.7), spread_mb=drawn["base_mb"] * rng.uniform(0.03, 0.15),
        threads=rng.choice((1, given["threads"])) if "threads" in given else 1,
        init_s=rng.uniform(0.15, 1.2), keep_s=rng.uniform(300, 900), arm_ratio=rng.triangular(0.7, 1.4, 0.92),
        error_share=rng.choice((0.0, 0.001, 0.01)), json_logs=rng.random() < 0.25,
        retention=rng.choice((None, None, None, 30, 90, 365)), log_bytes=int(math.exp(rng.uniform(5, 9))),
    )  # fmt: skip
    return timed(rng, sized(rng, function, rng.uniform(0.62, 0.86)))


def sample(rng: Random, function: Function) -> list[Any]:
    """Return what some invocations of any hour of a week need, as its developer has seen them."""
    return [draw(function, rng.uniform(-7, 0) * 86_400, rng) for _ in range(500)]


def most_mb(rng: Random, function: Function) -> float:
    """Return about the most memory that it ever needs."""
    return float(max(item.need_mb for item in sample(rng, function)) + function.rare_mb)


def sized(rng: Random, function: Function, used: float) -> Function:
    """Return the function with a memory size of which it uses about this share, or the smallest that there is."""
    wanted = most_mb(rng, function) / used
    return replace(function, memory_mb=min(10_240, max(128, math.ceil(wanted / 64) * 64)))


def oversized(rng: Random, function: Function, times: float) -> Function:
    """Return the function with a usual size, at least ``times`` what it needs."""
    wanted = most_mb(rng, function) * times
    return timed(rng, replace(function, memory_mb=next((size for size in SIZES if size >= wanted), 10_240)))


def timed(rng: Random, function: Function, factor: float | None = None) -> Function:
    """Return the function with a usual timeout that no invocation comes near, nor any at half the memory."""
    slowest = max(seconds(function, item, function.memory_mb, "x86_64") for item in sample(rng, function))
    wanted = slowest * (factor or rng.uniform(2.5, 4))
    return replace(function, timeout_s=next((it for it in TIMEOUTS if it >= wanted), 900))


def _arrive(function: Function, **changes: Any) -> Function:
    return replace(function, arrivals=replace(function.arrivals, clock=False, **changes))


def _log(rng: Random, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _busy(rng: Random, function: Function, low: float = 60, high: float = 450) -> Function:
    """Enough invocations for a claim, and some money."""
    function = replace(function, cpu_s=_log(rng, 0.2, 6), io_s=_log(rng, 0.3, 20), base_mb=_log(rng, 100, 900))
    function = sized(rng, function, rng.uniform(0.62, 0.86))
    return timed(rng, _arrive(function, daily=_log(rng, low, high), born=PAST_DAYS))


def _big(rng: Random, function: Function, threads: int) -> Function:
    function = _busy(rng, function, 80, 400)
    function = replace(
        function, cpu_s=_log(rng, 5, 80), io_s=_log(rng, 0.3, 10), threads=threads, base_mb=rng.uniform(150, 900)
    )
    return timed(rng, replace(function, memory_mb=rng.choice((3008, 4096, 6144, 8192, 10_240))), 8)


def _two_sizes(rng: Random, function: Function, days: int) -> Function:
    function = oversized(rng, _busy(rng, function), rng.uniform(2, 4))
    other = rng.choice([size for size in SIZES if size != function.memory_mb and size >= 1.3 * most_mb(rng, function)])
    return timed(rng, replace(function, history=((days, other),)), 8)


def _on_alias(rng: Random, function: Function, share: float, **provisioned: Any) -> Function:
    item = Provisioned("live", **provisioned)
    function = _busy(rng, replace(function, architecture="x86_64"), 200, 600)
    return replace(function, provisioned=(item,), alias_share=(("live", share),), init_s=rng.uniform(1, 5))


def _filling(rng: Random, function: Function, utilisation: float) -> Function:
    """One environment that is kept warm, busy for this share of the time, by a function that comes evenly."""
    function = _on_alias(rng, function, 1.0, executions=1)
    function = replace(function, cpu_s=rng.uniform(0.5, 2), io_s=rng.uniform(20, 60), io_sigma=0.2, timeout_s=300)
    takes = function.io_s + function.cpu_s * 1769 / min(1769, function.memory_mb)
    # Some spill over while it is busy, so that a little more must come.
    return _arrive(function, daily=86_400 * utilisation * (1 + utilisation / 2) / takes, rhythm=0, weekend=1, burst=1)


def _scheduled(rng: Random, function: Function, executions: int) -> Function:
    """Kept warm on weekdays from seven to seven, and busy for most of that."""
    function = _on_alias(rng, function, 1.0, executions=0, by_day=executions)
    function = _arrive(function, rhythm=0.9, peak=13, weekend=0.1, burst=1)
    busy = executions * rng.uniform(0.7, 0.9) * 12 * 3600
    takes = busy / (0.75 * function.arrivals.daily)
    return replace(
        function, io_s=0.8 * takes, cpu_s=0.2 * takes * min(1, function.memory_mb / 1769), timeout_s=900, io_sigma=0.2
    )


def _slow(rng: Random, function: Function, share: float) -> Function:
    """Its timeout is too short for so many of its invocations."""
    function = replace(_busy(rng, function), io_sigma=0.9, io_s=rng.uniform(3, 15))
    takes = sorted(seconds(function, item, function.memory_mb, function.architecture) for item in sample(rng, function))
    return replace(function, timeout_s=max(3, round(takes[int(len(takes) * (1 - share))])))


def _heavy_init(rng: Random, function: Function, runtime: str | None, **changes: Any) -> Function:
    function = replace(function, runtime=runtime, init_s=rng.uniform(3, 8), keep_s=300, **changes)
    return oversized(rng, _arrive(function, daily=rng.uniform(60, 250), rhythm=0.0, burst=1), 1.3)


Shape = Callable[[Random, Function], Function]

SHAPES: dict[str, tuple[float, Shape]] = {
    # name: (how many of an account, on average, what is changed)
    "oversized": (7, lambda r, f: oversized(r, _busy(r, f), r.uniform(2.2, 6))),
    "oversized, small spend": (5, lambda r, f: oversized(r, f, r.uniform(2.2, 8))),
    "large, many threads": (5, lambda r, f: _big(r, f, r.choice((3, 4, 6)))),
    "large, one thread": (2, lambda r, f: _big(r, f, 1)),
    "two sizes": (5, lambda r, f: _two_sizes(r, f, r.randint(5, 25))),
    "another size on one day": (1, lambda r, f: _two_sizes(r, f, 29)),
    "Lambda Insights": (2, lambda r, f: oversized(r, _busy(r, replace(f, architecture="arm64", layers=(INSIGHTS_ARM,))), 3)),
    "Lambda Insights on x86": (2, lambda r, f: oversized(r, _busy(r, replace(f, architecture="x86_64", layers=(INSIGHTS,))), 3)),
    "layers": (2, lambda r, f: replace(f, layers=(LAYER,))),
    "container image": (3, lambda r, f: oversized(r, replace(_busy(r, f), runtime=None), 2.5)),
    "PC unused": (1, lambda r, f: _on_alias(r, f, 0.3, executions=r.randint(2, 6))),
    "PC used": (0.7, lambda r, f: _filling(r, f, 0.85)),
    "PC near break-even": (1, lambda r, f: _filling(r, f, r.uniform(0.5, 0.7))),
    "PC by schedule": (1, lambda r, f: _on_alias(r, f, 0.9, executions=0, by_day=r.randint(2, 8))),
    "PC by schedule, paying for itself": (1.5, lambda r, f: _scheduled(r, f, r.randint(1, 2))),
    "PC by schedule, never off": (1, lambda r, f: _on_alias(r, f, 0.9, executions=1, by_day=r.randint(4, 9))),
    "PC by target tracking": (1, lambda r, f: _on_alias(r, _arrive(f, rhythm=0.9), 0.9, executions=1, tracking=r.randint(4, 8))),
    "PC on two aliases": (1.2, lambda r, f: replace(
        _on_alias(r, f, 0.2, executions=2), alias_share=(("live", 0.75), ("beta", 0.05)),
        provisioned=(Provisioned("live", 2), Provisioned("beta", r.randint(1, 3))))),
    "weighted alias": (3, lambda r, f: replace(
        oversized(r, _busy(r, f), 3), second_version=(r.uniform(0.1, 0.4), r.choice((1024, 1536, 2048, 3008))),
        alias_share=(("live", 1.0),))),
    "stopped": (3, lambda r, f: _arrive(oversized(r, _busy(r, f), 3), stopped=r.randint(8, 25))),
    "growing": (4, lambda r, f: _arrive(oversized(r, _busy(r, f), 3), growth=r.uniform(0.02, 0.06))),
    "shrinking": (2, lambda r, f: _arrive(oversized(r, _busy(r, f, 80, 150), 3), growth=r.uniform(-0.06, -0.02))),
    "young": (2, lambda r, f: _arrive(oversized(r, _busy(r, f), 3), born=r.randint(15, 25))),
    "too young": (1, lambda r, f: _arrive(oversized(r, _busy(r, f), 3), born=r.randint(2, 12))),
    "rarely used": (3, lambda r, f: _arrive(oversized(r, f, 4), daily=r.uniform(0.2, 1.3), burst=1)),
    "metrics of a part": (4, lambda r, f: replace(oversized(r, _busy(r, f), 3), missing_metrics=r.choice(((31, 20), (20, 10), (25, 15))))),
    "memory follows the day": (5, lambda r, f: replace(
        oversized(r, _busy(r, f, 1500, 3500), 3), rhythm_mb=f.base_mb * r.uniform(3, 6), rhythm_peak=r.choice((6, 18, 20)), memory_mb=3008)),
    "leak": (5, lambda r, f: replace(
        oversized(r, _busy(r, f, 700, 1500), 3), leak_mb=r.uniform(0.5, 4), lifetime_s=r.uniform(3e4, 9e4), keep_s=3600, memory_mb=2048)),
    "rare large input": (3, lambda r, f: oversized(r, replace(_busy(r, f, 1000, 3000), rare_share=r.uniform(0.002, 0.02), rare_mb=f.base_mb * 5), 1.25)),
    "stuck calls": (2, lambda r, f: replace(_busy(r, f), stuck_share=r.uniform(0.13, 0.3))),
    "stuck calls of late": (3, lambda r, f: replace(_busy(r, f, 1200, 2500), stuck_share=r.uniform(0.15, 0.4), trouble_days=r.randint(2, 6))),
    "stuck calls, retried": (1, lambda r, f: replace(_busy(r, f), stuck_share=r.uniform(0.1, 0.2), retried=True)),
    "slow calls time out": (1.5, lambda r, f: _slow(r, f, r.uniform(0.14, 0.25))),
    "a few time out": (1, lambda r, f: _slow(r, f, 0.04)),
    "errors": (2, lambda r, f: replace(_busy(r, f), error_share=r.uniform(0.14, 0.4))),
    "errors of late, retried": (1, lambda r, f: replace(_busy(r, f), error_share=0.2, trouble_days=4, retried=True)),
    "heavy tail": (4, lambda r, f: replace(timed(r, _busy(r, f), 12), tail_share=r.uniform(0.003, 0.01), tail_alpha=r.uniform(0.7, 1.3))),
    "runs out of memory": (1, lambda r, f: sized(r, replace(_busy(r, f), rare_share=0.01, rare_mb=1.5 * f.base_mb), 1.3)),
    "runs out of all memory": (0.5, lambda r, f: replace(_busy(r, f, 50, 100), base_mb=9_000, rare_share=0.02, rare_mb=5_000, memory_mb=10_239)),
    "nearly full": (2, lambda r, f: sized(r, _busy(r, f), r.uniform(0.94, 0.98))),
    "idle": (4, lambda r, f: _arrive(f, stopped=r.randint(45, 440))),
    "never used": (1, lambda r, f: _arrive(f, daily=0)),
    "monthly job": (2, lambda r, f: _arrive(oversized(r, f, 3), job="monthly", daily=r.uniform(1, 90), weekend=1, burst=1)),
    "yearly job": (1, lambda r, f: _arrive(f, job="yearly", daily=5, weekend=1, burst=1)),
    "idle with an alias policy": (1, lambda r, f: replace(_arrive(f, stopped=r.randint(60, 300)), alias_policy=True, alias_share=(("live", 1.0),))),
    "Lambda@Edge": (1.5, lambda r, f: replace(f, edge=True, memory_mb=128, timeout_s=5, runtime="nodejs22.x", architecture="x86_64")),
    "Managed Instances": (1, lambda r, f: replace(_busy(r, f), managed=True, memory_mb=4096, runtime="python3.13")),
    "Managed Instances, idle": (0.7, lambda r, f: replace(_arrive(f, stopped=r.randint(60, 200)), managed=True, memory_mb=4096)),
    "logs a lot": (2, lambda r, f: replace(f, log_bytes=int(r.uniform(1e5, 1e6)), retention=None)),
    "logs a lot, infrequent access": (1, lambda r, f: replace(f, log_bytes=int(r.uniform(5e4, 4e5)), infrequent=True)),
    "infrequent access": (1, lambda r, f: replace(oversized(r, _busy(r, f), 3), infrequent=True)),
    "log group denied": (1, lambda r, f: replace(oversized(r, _busy(r, f), 3), denied=True)),
    "shared log group": (1, lambda r, f: replace(oversized(r, _busy(r, f), 3), group="/shared/workers")),
    "short retention": (1, lambda r, f: replace(oversized(r, _busy(r, f), 3), retention=r.choice((1, 3, 7)))),
    "no log group": (1, lambda r, f: replace(oversized(r, f, 3), group_days=-1)),
    "log group made anew today": (0.7, lambda r, f: replace(oversized(r, _busy(r, f), 3), group_days=0)),
    "large /tmp": (1, lambda r, f: replace(_busy(r, f), tmp_mb=r.choice((2048, 10_240)), tmp_need_mb=300)),
    "large /tmp, used": (1, lambda r, f: replace(_busy(r, f), tmp_mb=4096, tmp_need_mb=3000)),
    "long init, SnapStart possible": (1.5, lambda r, f: _heavy_init(r, f, r.choice(("java21", "java17", "python3.13", "dotnet8")))),
    "long init": (1, lambda r, f: _heavy_init(r, f, r.choice(("nodejs22.x", "provided.al2023", None)))),
    "SnapStart": (0.7, lambda r, f: _heavy_init(r, f, "java21", snapstart=True)),
    "unknown runtime": (1, lambda r, f: _heavy_init(r, f, r.choice(("java29", "python3.19", "nodejs34.x")))),
    "oldest runtime": (1, lambda r, f: replace(f, runtime=r.choice(("nodejs4.3", "nodejs8.10", "dotnetcore1.0")), architecture="x86_64")),
    "old runtime": (3, lambda r, f: replace(f, runtime=r.choice(("python3.8", "nodejs16.x", "nodejs18.x", "go1.x", "java8", "dotnet6")), architecture="x86_64")),
    "recursion allowed": (0.7, lambda r, f: replace(f, recursion="allowed")),
    "recursion dropped": (0.7, lambda r, f: replace(f, recursion="dropped")),
}  # fmt: skip
"""What is odd about a function."""

ODD = 84
"""Of a hundred and twenty functions, about so many have one of these shapes."""


def draw_functions(seed: int, count: int = 120) -> tuple[Function, ...]:
    """Return the functions of the account of ``seed``."""
    rng = Random(f"field/{seed}")
    odd = round(count * ODD / 120)
    names, weights = list(SHAPES), [weight for weight, _ in SHAPES.values()]
    shapes = [*rng.choices(names, weights, k=odd), *[""] * (count - odd)]
    kinds = rng.choices(list(KINDS), [weight for weight, *_ in KINDS.values()], k=count)
    functions = []
    for index, (shape, kind) in enumerate(zip(shapes, kinds, strict=True)):
        own = Random(f"field/{seed}/{index}")
        function = base(own, f"{kind}-{own.getrandbits(32):08x}", kind, f"field/{seed}")
        if shape:
            function = replace(SHAPES[shape][1](own, function), shape=shape)
        functions.append(function)
    return tuple(sorted(functions, key=lambda function: function.name))

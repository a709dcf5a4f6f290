"""One function of a sample account: its visible configuration, its hidden parameters, and how they are drawn."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import exp
from typing import Any, Literal

DAYS = 30  # length of the window that the account's present is drawn for

FULL_VCPU_MB = 1769  # memory size with one vCPU (AWS Lambda Developer Guide, "Configure Lambda function memory")

Choices = Mapping[str, Any]
"""By name: a tuple is a range to draw from, a list has the values to choose from, anything else is the value."""


def growth(day: float) -> float:
    """Return the traffic of a growing function on ``day`` of the window, relative to that of its middle."""
    return 0.5 + day / DAYS


@dataclass(frozen=True)
class Mode:
    """A kind of payload."""

    share: float  # of the invocations
    slowness: float  # its mean duration divided by that of the plain payload
    need_mb: float  # the most memory that one of them needs


@dataclass(frozen=True)
class SampleFunction:
    """A function and its last 30 days."""

    name: str
    runtime: str
    architecture: str
    memory_mb: int
    timeout_seconds: int
    retention_days: int | None
    json_logs: bool
    ephemeral_mb: int
    layer: Literal["LambdaInsightsExtension-Arm64", "native-x86"] | None
    recursive_loop: bool  # whether recursive loops are allowed
    provisioned_concurrency: int  # executions of provisioned concurrency on the alias ``live``

    io_ms: float  # mean duration that memory does not change
    cpu_mb_ms: float  # CPU part of the mean duration: d(M) = io_ms + cpu_mb_ms / min(M, 1769)
    spread: float  # Sigma of the lognormal duration
    modes: tuple[Mode, ...]  # shares add up to 1
    arm64_ratio: float  # duration on arm64 over that on x86_64
    init_ms: float
    restore_ms: float  # what is billed in place of the init phase under SnapStart
    used_tmp_mb: float  # the most of /tmp that an invocation fills
    cold_share: float
    daily_invocations: float  # mean over the days that have any
    traffic: Literal["constant", "weekly", "business-hours", "bursts", "growing", "monthly"]
    on_provisioned: float  # share of the invocations that run on provisioned concurrency
    timeout_share: float
    out_of_memory_share: float
    error_share: float
    failing_share: float  # share of errors while it fails
    failing_days: int
    failing_ended_days: int  # days before the window's end when it stopped failing
    dropped_daily: int  # recursive invocations that Lambda dropped
    log_bytes: float  # ingested by an invocation; without retention, the bytes of the lines written count instead
    old_log_bytes: int  # log events older than the window
    earlier_memory_mb: int
    earlier_share: float  # share of the window, from its start, with the earlier memory size
    first_day: int  # day of the window, from 0, with the first invocation
    log_lines: int  # REPORT lines of a busy function: fewer than its invocations, like logs that are sampled or expire
    log_days: float  # latest days with log events, if retention keeps them so long
    last_used_days: int  # days since an idle function's last invocation; 0 if it never had one
    metrics: bool  # whether CloudWatch has its metrics

    def plain_ms(self, memory_mb: int) -> float:
        """Return the mean duration of a plain payload at ``memory_mb`` on today's architecture, without init."""
        return self.io_ms + self.cpu_mb_ms / min(memory_mb, FULL_VCPU_MB)

    def duration_ms(self, memory_mb: int) -> float:
        """Return the mean duration of all payloads."""
        return self.plain_ms(memory_mb) * self.mean_slowness

    @property
    def mean_slowness(self) -> float:
        """The mean duration of all payloads divided by that of the plain one."""
        return sum(mode.share * mode.slowness for mode in self.modes)

    def memory_on(self, day: float) -> int:
        """Return the memory size ``day`` days into the window."""
        return self.earlier_memory_mb if day < self.earlier_share * DAYS else self.memory_mb

    def out_of_memory_share_at(self, memory_mb: int) -> float:
        """Return the share of invocations that run out of memory at ``memory_mb``."""
        return self.out_of_memory_share if memory_mb == self.memory_mb else 0.0

    def error_share_on(self, day: int) -> float:
        """Return the share of errors on day ``day`` of the window."""
        end = DAYS - self.failing_ended_days
        return self.failing_share if end - self.failing_days <= day < end else self.error_share

    @property
    def need_mb(self) -> float:
        """The most memory that an invocation needs."""
        return max(mode.need_mb for mode in self.modes)

    @property
    def log_group(self) -> str:
        """The function's log group."""
        return f"/aws/lambda/{self.name}"


WELL_SIZED: Choices = {
    "runtime": ["python3.12", "python3.13", "provided.al2023", "java21", "provided.al2023"],
    "architecture": "arm64",
    "memory_mb": [256, 512, 1024, 1536],
    "need": (0.68, 0.84),  # of memory, at most
    "large_payloads": None,  # share, slowness and need of those that differ
    "cpu": (0.0, 1.0),  # share of the duration at today's memory
    "arm64_ratio": None,  # drawn below
    "timeout_seconds": [1, 2, 3, 5, 10],
    "p99": (0.68, 0.85),  # of the timeout
    "spread": (0.25, 0.45),
    "daily_invocations": [800, 2_000, 6_000, 20_000, 60_000],
    "traffic": ["constant", "weekly", "business-hours", "bursts", "growing"],
    "init_ms": (150.0, 900.0),
    "init": (0.002, 0.02),  # of the billed time
    "ingestion": (0.02, 0.12),  # its cost over that of compute
    "retention_days": [30, 60, 90, 180],
    "json_logs": [False] * 5 + [True],
    "ephemeral_mb": 512,
    "layer": None,
    "recursive_loop": False,
    "error_share": 0.001,
    **dict.fromkeys(("dropped_daily", "provisioned_concurrency", "utilisation", "timeout_share"), 0),
    **dict.fromkeys(("out_of_memory_share", "failing_share", "failing_days", "failing_ended_days"), 0),
    "old_log_bytes": 0,
    "earlier": 1,  # times today's memory, until somewhere in the middle of the window
    "earlier_share": (0.4, 0.6),
    "first_day": 0,
    "log_lines": 150,
    "log_days": DAYS,
    "last_used_days": 0,
    "metrics": True,
}
"""A function without findings."""

_GB_SECOND = 0.0000133334
_INGESTED_BYTE = 0.50 / 2**30
_LEAST_LOG_BYTES = 300  # START, END and REPORT of one invocation


def generate(rng: random.Random, name: str, choices: Choices) -> SampleFunction:
    """Return a function that is well sized except for ``choices``."""
    if unknown := choices.keys() - WELL_SIZED.keys():
        raise ValueError(f"unknown choices: {', '.join(sorted(unknown))}")
    # Drawn in a fixed order, so that the choices of a scenario do not shift the other values.
    c = {key: _draw(rng, choices.get(key, value)) for key, value in WELL_SIZED.items()}
    memory = c["memory_mb"]
    earlier = round(memory * c["earlier"])
    large = c["large_payloads"] or {"share": 0.0}
    modes = [Mode(1 - large["share"], 1.0, c["need"] * memory)]
    if large["share"]:
        modes.append(Mode(large["share"], large["slowness"], large["need"] * memory))
    # The slowest of what the window shows stays below the timeout.
    slowest = c["timeout_seconds"] * 1000 * c["p99"] / exp(2.326 * c["spread"] - c["spread"] ** 2 / 2)
    slowest /= max(mode.slowness for mode in modes)
    cpu_of = {size: c["cpu"] * min(memory, FULL_VCPU_MB) / min(size, FULL_VCPU_MB) for size in (memory, earlier)}
    duration = slowest / (1 - c["cpu"] + max(cpu_of.values()))
    mean = duration * sum(mode.share * mode.slowness for mode in modes)
    daily = c["daily_invocations"]
    if c["provisioned_concurrency"] and c["utilisation"]:
        daily = c["utilisation"] * c["provisioned_concurrency"] * 86_400_000 / mean
    compute = mean / 1000 * memory / 1024 * _GB_SECOND
    ratio = c["arm64_ratio"] or rng.lognormvariate(-0.0305, 0.06)  # around 0.97
    computed = {
        "name": name,
        "io_ms": duration * (1 - c["cpu"]),
        "cpu_mb_ms": duration * c["cpu"] * min(memory, FULL_VCPU_MB),
        "modes": tuple(modes),
        # Code that waits takes the same time on both architectures.
        "arm64_ratio": ratio if c["cpu"] > 0.1 else 1.0,
        "restore_ms": c["init_ms"] * rng.uniform(0.03, 0.12),
        "used_tmp_mb": c["ephemeral_mb"] * rng.random(),
        "cold_share": min(1.0, c["init"] / (1 - c["init"]) * mean / c["init_ms"]),
        "daily_invocations": daily,
        "on_provisioned": 0.97 if c["provisioned_concurrency"] else 0.0,
        # With few invocations, one error a day would be a large share.
        "error_share": c["error_share"] if daily >= 2_000 else 0.0,
        "log_bytes": max(_LEAST_LOG_BYTES, c["ingestion"] * compute / _INGESTED_BYTE),
        "earlier_memory_mb": earlier,
        "earlier_share": c["earlier_share"] if earlier != memory else 0.0,
    }
    return SampleFunction(**{field.name: {**c, **computed}[field.name] for field in fields(SampleFunction)})


def _draw(rng: random.Random, choice: Any) -> Any:
    if isinstance(choice, tuple):
        low, high = choice
        return rng.randint(low, high) if isinstance(low, int) else rng.uniform(low, high)
    return rng.choice(choice) if isinstance(choice, list) else choice

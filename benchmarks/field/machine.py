"""Lambda itself: runs a function's invocations, one by one, under any setting.

CPU is proportional to memory, one vCPU at 1,769 MB, and memory is what an environment has used so far: where
invocations share one, Lambda reports the most of all of them (Developer Guide, "Configure Lambda function memory" and
"Working with Lambda function logs").
"""

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from enum import IntEnum
from typing import Any, NamedTuple

from benchmarks.field.function import DAY, ERROR, STUCK, Function, Provisioned, Request

VCPU_MB = 1769


class Status(IntEnum):
    """How an invocation ended."""

    FINE, ERROR, TIMEOUT, OUT_OF_MEMORY = range(4)


class Run(NamedTuple):
    """One invocation as it ran."""

    at: float
    duration_ms: float
    init_ms: float
    """Of a cold start."""
    restore_ms: float
    memory_mb: int
    used_mb: int
    status: Status
    provisioned: bool
    alias: str
    cpu_ms: float
    second: bool

    @property
    def billed_ms(self) -> int:
        """Whole milliseconds, rounded up, with what starting took."""
        return math.ceil(round(self.duration_ms + self.init_ms + self.restore_ms, 6))

    @property
    def end(self) -> float:
        """When it ended."""
        return self.at + (self.duration_ms + self.init_ms + self.restore_ms) / 1000

    @property
    def broken(self) -> bool:
        """Whether a limit cut it off."""
        return self.status in (Status.TIMEOUT, Status.OUT_OF_MEMORY)


@dataclass(frozen=True)
class Setting:
    """What may be changed about a function."""

    memory_mb: int
    timeout_s: int
    architecture: str
    tmp_mb: int
    snapstart: bool
    provisioned: tuple[Provisioned, ...]
    second_mb: int
    history: bool = False
    """Whether to use the sizes that the function had, where it had others."""
    fixed: bool = False
    """Whether the cause of its stuck calls is gone."""

    @classmethod
    def of(cls, function: Function, *, history: bool = False) -> "Setting":
        """Return today's setting."""
        return cls(
            function.memory_mb, function.timeout_s, function.architecture, function.tmp_mb, function.snapstart,
            function.provisioned, function.second_version[1], history,
        )  # fmt: skip

    def changed(self, finding: Mapping[str, Any]) -> "Setting | None":
        """Return the setting after what a finding of findings.json proposes; None if it is no setting of compute."""
        proposed = finding.get("proposed") or {}
        match finding["kind"]:
            case "memory-too-high" | "memory-too-low" if "memory_mb" in proposed:
                return replace(self, memory_mb=proposed["memory_mb"], second_mb=proposed["memory_mb"])
            case "arm64":
                return replace(self, architecture="arm64")
            case "timeout-high" if "timeout_seconds" in proposed:
                return replace(self, timeout_s=proposed["timeout_seconds"])
            case "timeouts":
                return replace(self, fixed=True)
            case "ephemeral-storage":
                return replace(self, tmp_mb=proposed.get("ephemeral_mb", 512))
            case "init-cost":
                return replace(self, snapstart=True)
            case "provisioned-concurrency-unused" if "provisioned_concurrency" in proposed:
                alias, number = finding["id"].rpartition(":")[2], proposed["provisioned_concurrency"]
                kept = [item for item in self.provisioned if item.alias != alias]
                kept += [Provisioned(alias, number)] if number else []
                return replace(self, provisioned=tuple(kept))
        return None


@dataclass
class _Environment:
    born: float
    free_at: float = 0.0
    peak_mb: float = 0.0
    invocations: int = 0

    def __lt__(self, other: "_Environment") -> bool:
        return self.free_at < other.free_at


@dataclass
class _Pool:
    """Environments of one memory size."""

    idle: list[_Environment] = field(default_factory=list)
    busy: list[_Environment] = field(default_factory=list)

    def take(self, at: float, function: Function) -> tuple[_Environment, bool]:
        """Return an environment that is free at ``at``, and whether it starts cold: the one used last comes first."""
        while self.busy and self.busy[0].free_at <= at:
            self.idle.append(heapq.heappop(self.busy))
        while self.idle:
            found = self.idle.pop()
            if at - found.free_at > function.keep_s:
                self.idle.clear()
            elif at - found.born <= function.lifetime_s:
                return found, False
        return _Environment(at), True


def run(function: Function, requests: Iterable[Request], setting: Setting, today: date) -> list[Run]:
    """Return how ``requests``, in time order, run under ``setting``."""
    pools: dict[int, _Pool] = {}
    warm: dict[str, list[_Environment]] = {item.alias: [] for item in setting.provisioned}
    configured = {item.alias: item for item in setting.provisioned}
    runs: list[Run] = []
    for request in requests:
        if setting.fixed and request.retry and request.fate == STUCK:
            continue
        memory = function.past_memory(request.at / DAY) if setting.history else setting.memory_mb
        if request.second:
            memory = setting.second_mb
        on_provisioned = False
        if request.alias in configured:
            active = warm[request.alias]
            while active and active[0].free_at <= request.at:
                heapq.heappop(active)
            on_provisioned = len(active) < allocated(function, configured[request.alias], request.at, today)
        if on_provisioned:
            environment, cold = _Environment(request.at), False
        else:
            environment, cold = pools.setdefault(memory, _Pool()).take(request.at, function)
        result = _invoke(function, request, setting, memory, environment, cold, on_provisioned)
        runs.append(result)
        environment.free_at = result.end
        if on_provisioned:
            heapq.heappush(warm[request.alias], environment)
        elif not result.broken:
            heapq.heappush(pools[memory].busy, environment)
    return runs


def seconds(function: Function, request: Request, memory_mb: int, architecture: str) -> float:
    """Return how long an invocation takes that nothing stops."""
    return request.io_s + cpu_seconds(function, request, architecture) / vcpus(function, memory_mb)


def vcpus(function: Function, memory_mb: int) -> float:
    """Return how many vCPUs the function can use at a memory size."""
    return min(memory_mb / VCPU_MB, function.threads)


def cpu_seconds(function: Function, request: Request, architecture: str) -> float:
    """Return the CPU time of an invocation; ``cpu_s`` is that on x86_64."""
    return request.cpu_s * (function.arm_ratio if architecture == "arm64" else 1.0)


def _invoke(
    function: Function, request: Request, setting: Setting, memory: int, environment: _Environment,
    cold: bool, on_provisioned: bool,
) -> Run:  # fmt: skip
    takes = seconds(function, request, memory, setting.architecture)
    cpu, status = cpu_seconds(function, request, setting.architecture), Status.FINE
    need = request.need_mb + function.leak_mb * environment.invocations
    environment.invocations += 1
    environment.peak_mb = max(environment.peak_mb, need)
    if request.fate == ERROR:
        takes, cpu, status = takes / 2, cpu / 2, Status.ERROR
    if need > memory:
        takes, cpu, status = takes * 0.6, cpu * 0.6, Status.OUT_OF_MEMORY
    elif request.fate == STUCK and not setting.fixed:
        takes = math.inf
    if takes > setting.timeout_s:
        takes, status = setting.timeout_s, Status.TIMEOUT
    # Not two environments start equally fast.
    start = 1000 * (0.8 + 0.4 * (abs(request.at) * 7.13 % 1)) if cold else 0.0
    return Run(
        request.at,
        round(takes * 1000, 2),
        0.0 if setting.snapstart else round(start * function.init_s, 2),
        round(start * function.restore_s, 2) if setting.snapstart else 0.0,
        memory,
        round(min(memory, environment.peak_mb)),
        status,
        on_provisioned,
        request.alias,
        cpu * 1000,
        request.second,
    )


def allocated(function: Function, item: Provisioned, at: float, today: date) -> int:
    """Return the provisioned concurrency at a moment."""
    day, hour = math.floor(at / DAY), int(at % DAY // 3600)
    shares = function.arrivals.hours
    by_hour = [end - begin for begin, end in zip((0.0, *shares), shares, strict=False)]
    return item.allocated(hour, (today.weekday() + day) % 7, by_hour[hour] / max(by_hour))

"""What a change truly saves in a sample account: the bill before less the bill after, by the hidden parameters."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import fsum
from statistics import fmean
from typing import Any

from lambda_costs.sample_account.function import DAYS, SampleFunction, growth

# AWS Price List, us-east-1, October 2025. Not imported: a wrong price in the analysis must not be wrong here, too.
DURATION = {"x86_64": 0.0000166667, "arm64": 0.0000133334}
"""$ per GB-second, in the first tier: up to 6 billion GB-seconds a month."""
PROVISIONED = {"x86_64": 0.0000041667, "arm64": 0.0000033334}
PROVISIONED_DURATION = {"x86_64": 0.0000097222, "arm64": 0.0000077778}
TMP = 0.0000000309  # $ per GB-second beyond 512 MB
FREE_TMP_MB = 512
FREE_GB_SECONDS = 400_000
SNAPSTART_CACHE = 0.0000015046  # $ per GB-second, for runtimes other than Java
SNAPSTART_RESTORE = 0.0001397998  # $ per GB, likewise
LOG_STORAGE = 0.03  # $ per GB-month

MONTH_SECONDS = DAYS * 86_400
ROUNDED_UP_MS = 0.5  # duration is billed by the whole millisecond


@dataclass(frozen=True)
class Settings:
    """What may be changed about a function, named as findings propose it."""

    memory_mb: int
    architecture: str
    provisioned_concurrency: int
    ephemeral_mb: int
    retention_days: int | None
    snapstart: bool = False
    fixed: bool = False  # whether the cause of its timeouts is fixed

    @classmethod
    def of(cls, function: SampleFunction) -> "Settings":
        """Return today's settings."""
        names = (field.name for field in fields(cls))
        return cls(**{name: getattr(function, name) for name in names if hasattr(function, name)})

    def changed(self, finding: Mapping[str, Any]) -> "Settings":
        """Return the settings after what ``finding``, of findings.json, proposes."""
        proposed = {name: value for name, value in finding["proposed"].items() if hasattr(self, name)}
        return replace(self, **proposed, fixed=self.fixed or finding["kind"] == "timeouts")


@dataclass(frozen=True)
class Bill:
    """Expected cost of the coming 30 days, without costs that no change affects."""

    on_demand: float  # US dollars for the GB-seconds that the free tier covers first
    gb_seconds: float
    other: float  # US dollars


def bill(function: SampleFunction, settings: Settings) -> Bill:
    """Return what ``function`` costs in the coming 30 days under ``settings``."""
    invocations = expected_invocations(function)
    gb = settings.memory_mb / 1024
    ratio = 1.0
    if settings.architecture != function.architecture:
        ratio = function.arm64_ratio if settings.architecture == "arm64" else 1 / function.arm64_ratio
    late = 0.0 if settings.fixed else function.timeout_share
    duration = function.duration_ms(settings.memory_mb) * ratio + ROUNDED_UP_MS
    duration = ((1 - late) * duration + late * function.timeout_seconds * 1000) / 1000
    init = function.cold_share * (function.restore_ms if settings.snapstart else function.init_ms * ratio) / 1000
    warm = function.on_provisioned * invocations if settings.provisioned_concurrency else 0.0
    on_demand = (invocations - warm) * (duration + init) * gb
    other = warm * duration * gb * PROVISIONED_DURATION[settings.architecture]
    other += settings.provisioned_concurrency * gb * MONTH_SECONDS * PROVISIONED[settings.architecture]
    # The function needs the part of /tmp that it fills.
    tmp = max(settings.ephemeral_mb, function.used_tmp_mb, FREE_TMP_MB) - FREE_TMP_MB
    other += (on_demand / gb + warm * duration) * tmp / 1024 * TMP
    if settings.snapstart and not function.runtime.startswith("java"):
        other += gb * (MONTH_SECONDS * SNAPSTART_CACHE + invocations * function.cold_share * SNAPSTART_RESTORE)
    if settings.retention_days is None:
        other += function.old_log_bytes / 2**30 * LOG_STORAGE
    return Bill(on_demand * DURATION[settings.architecture], on_demand, other)


def expected_invocations(function: SampleFunction) -> float:
    """Return the expected invocations of the coming 30 days. Growth ends: they are as frequent as in the last week."""
    if function.traffic == "monthly":
        return function.daily_invocations
    mean = fmean(map(growth, range(function.first_day, DAYS)))
    week = fmean(map(growth, range(DAYS - 7, DAYS)))
    return function.daily_invocations * DAYS * (week / mean if function.traffic == "growing" else 1.0)


def savings(function: SampleFunction, findings: Iterable[Mapping[str, Any]]) -> float:
    """Return the dollars that ``findings`` about ``function`` save when applied together."""
    before, after = (_gross([bill(function, settings)]) for settings in _before_and_after(function, findings))
    return before - after


def account_savings(functions: Iterable[SampleFunction], findings: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Return the dollars that all ``findings`` save together: before the free tier, and after it."""
    before, after = [], []
    for function in functions:
        today, changed = _before_and_after(function, (item for item in findings if item["function"] == function.name))
        before.append(bill(function, today))
        after.append(bill(function, changed))
    return _gross(before) - _gross(after), _net(before) - _net(after)


def _before_and_after(function: SampleFunction, findings: Iterable[Mapping[str, Any]]) -> tuple[Settings, Settings]:
    today = after = Settings.of(function)
    for finding in findings:
        after = after.changed(finding)
    return today, after


def _gross(bills: Iterable[Bill]) -> float:
    return fsum(item.on_demand + item.other for item in bills)


def _net(bills: Iterable[Bill]) -> float:
    bills = list(bills)
    gb_seconds = fsum(item.gb_seconds for item in bills)
    # AWS does not say which GB-seconds are free: assume the same share of each function's.
    charged = max(0.0, 1 - FREE_GB_SECONDS / gb_seconds) if gb_seconds else 0.0
    return fsum(item.on_demand for item in bills) * charged + fsum(item.other for item in bills)

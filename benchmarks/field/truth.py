"""What is true of each function, kind by kind, and what a proposal truly does: every invocation is run again.

The kinds follow the published rules of docs/analysis.md. Near a threshold, and where AWS shows too little, a finding
may be made or not.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from typing import Any

from benchmarks.field import billing
from benchmarks.field.account import Account
from benchmarks.field.function import DAY, MONTH, PAST_DAYS, Function, Provisioned, count_on
from benchmarks.field.logs import stored_bytes
from benchmarks.field.machine import Run, Setting, Status
from benchmarks.field.metrics import logged_bytes

MUST, MAY, NOT = "must", "may", "not"

GB = 2**30
CENTS = 0.05
"""US dollars per 30 days below which a saving need not be found."""

ENDED = {
    "nodejs4.3": date(2020, 3, 6), "nodejs8.10": date(2020, 3, 6), "dotnetcore1.0": date(2019, 7, 30),
    "python3.8": date(2024, 10, 14), "nodejs16.x": date(2024, 6, 12), "nodejs18.x": date(2025, 9, 1),
    "go1.x": date(2024, 1, 8), "java8": date(2024, 1, 8), "dotnet6": date(2024, 12, 20), "dotnet8": date(2026, 11, 10),
    "nodejs22.x": date(2027, 4, 30), "python3.12": date(2028, 10, 31), "python3.13": date(2029, 6, 30),
    "nodejs24.x": date(2028, 4, 30), "java17": date(2027, 6, 30), "java21": date(2029, 6, 30),
    "dotnet10": date(2028, 11, 14), "provided.al2023": date(2029, 6, 30), "ruby3.4": date(2028, 3, 31),
}  # fmt: skip
"""When each runtime is deprecated: Lambda Developer Guide, "Lambda runtimes", 2026. Others do not exist."""
NO_ARM = {"nodejs4.3", "nodejs8.10", "dotnetcore1.0", "go1.x", "java8"}
SNAPSTART = {"java17", "java21", "python3.12", "python3.13", "dotnet8", "dotnet10"}


@dataclass(frozen=True)
class Facts:
    """What is true of one function."""

    account: Account
    function: Function

    @cached_property
    def month(self) -> list[Run]:
        """What ran last month."""
        return list(self.account.last_month(self.function))

    @cached_property
    def today(self) -> Setting:
        """Its setting."""
        return Setting.of(self.function)

    @cached_property
    def _outcomes(self) -> dict[Setting, tuple[float, float, float]]:
        return {}

    def _outcome(self, setting: Setting) -> tuple[float, float, float]:
        """Return the bills of last month and of the next 30 days, and the share of last month that is cut off."""
        if setting not in self._outcomes:
            runs = self.account.runs(self.function, setting)
            last, ahead = (
                billing.compute_bill(runs, self.function, setting, first, first + MONTH, self.account.today)
                for first in (-MONTH, 0)
            )
            broken = [item.broken for item in runs if -MONTH * DAY <= item.at < 0]
            self._outcomes[setting] = last, ahead, sum(broken) / max(1, len(broken))
        return self._outcomes[setting]

    def bill(self, setting: Setting, *, ahead: bool = False) -> float:
        """Return the bill of last month, or of the next 30 days, under ``setting``."""
        return self._outcome(setting)[ahead]

    def saved(self, setting: Setting, *, ahead: bool = False) -> float:
        """Return what ``setting`` saves instead of today's."""
        return self.bill(self.today, ahead=ahead) - self.bill(setting, ahead=ahead)

    def broken(self, setting: Setting) -> float:
        """Return the share of last month's invocations that ``setting`` cuts off and today's does not."""
        return max(0.0, self._outcome(setting)[2] - self._outcome(self.today)[2])

    @cached_property
    def most_mb(self) -> int:
        """The most memory that any invocation of last month used."""
        return max((item.used_mb for item in self.month), default=0)

    @cached_property
    def evidence(self) -> str:
        """Whether AWS shows enough for a claim about compute: MUST, MAY, or NOT."""
        it, number = self.function, len(self.month)
        seen = -min((item.at for item in self.month), default=0) / DAY
        if it.managed or it.edge or number < 45 or seen < 12.5:
            return NOT
        odd = it.denied or it.infrequent or it.group or it.provisioned or it.second_version[0] or it.history
        short = (it.retention or PAST_DAYS) < 15 or it.group_days < 15 or it.missing_metrics != (0, 0)
        return MAY if odd or short or number < 70 or seen < 16 or it.arrivals.stopped else MUST

    def daily_share(self, *statuses: Status) -> float:
        """Return the largest share of invocations that ended so, of the last seven days with 20 or more."""
        worst = 0.0
        for day in range(-7, 0):
            runs = [item.status in statuses for item in self.month if day * DAY <= item.at < (day + 1) * DAY]
            if len(runs) >= 20:
                worst = max(worst, sum(runs) / len(runs))
        return worst

    @cached_property
    def silent_days(self) -> int:
        """Days since the last invocation."""
        if self.month:
            return -int(self.month[-1].at // DAY)
        days = range(1, min(PAST_DAYS, self.function.arrivals.born))
        return next(
            (day for day in days if count_on(self.function, -day, self.account.today)), self.function.arrivals.born
        )


def _at(value: float, threshold: float, slack: float = 0.12) -> str:
    """Return whether a value above a threshold must be found; near it, it may be."""
    return MUST if value > threshold * (1 + slack) else NOT if value < threshold * (1 - slack) else MAY


def _weaker(*verdicts: str) -> str:
    return next((verdict for verdict in (NOT, MAY) if verdict in verdicts), MUST)


def _memory_high(it: Facts) -> str:
    rule = _at(0.6 * it.function.memory_mb, it.most_mb, 0.05) if it.month else NOT
    size = max(128, round(1.25 * it.most_mb))
    if _weaker(rule, it.evidence) == NOT or size >= it.function.memory_mb:
        return NOT
    worth = it.saved(replace(it.today, memory_mb=size), ahead=True) >= max(CENTS, 0.08 * it.bill(it.today))
    return _weaker(rule, it.evidence, MUST if worth else MAY)


def _memory_low(it: Facts) -> str:
    full = sum(item.used_mb > 0.92 * item.memory_mb for item in it.month)
    rule = MUST if full >= max(3, 0.002 * len(it.month)) else NOT
    if rule == NOT and it.most_mb > 0.88 * it.function.memory_mb:
        rule = MAY
    return NOT if it.function.memory_mb >= 10_200 else _weaker(rule, it.evidence)


def _arm64(it: Facts) -> str:
    function = it.function
    exists = function.runtime in ENDED and function.runtime not in NO_ARM and function.architecture == "x86_64"
    if not exists or (function.layers and not function.measured_by_insights):
        return NOT
    at_par = 0.2 * it.bill(replace(it.today, provisioned=()))
    return _weaker(it.evidence, MAY if function.layers or at_par < CENTS else MUST)


def _idle(it: Facts) -> str:
    function = it.function
    if it.silent_days <= MONTH or function.edge:
        return NOT
    if function.arrivals.job:
        # One run alone shows no rhythm.
        days = range(-PAST_DAYS, -MONTH)
        return NOT if sum(count_on(function, day, it.account.today) > 0 for day in days) > 1 else MAY
    return MAY if function.managed or function.alias_policy else MUST


def _provisioned(it: Facts, item: Provisioned) -> str:
    without = replace(it.today, provisioned=tuple(other for other in it.today.provisioned if other != item))
    saved = it.saved(without)
    follows = item.by_day or item.tracking
    return NOT if saved <= 0 else MAY if follows or saved < 0.1 * it.bill(it.today) or it.evidence == NOT else MUST


def _timeouts(it: Facts) -> str:
    return _weaker(_at(it.daily_share(Status.TIMEOUT), 0.1, 0.2), it.evidence)


def _errors(it: Facts) -> str:
    return _weaker(_at(it.daily_share(Status.ERROR, Status.OUT_OF_MEMORY), 0.1, 0.2), it.evidence)


def _timeout_high(it: Facts) -> str:
    by_day: dict[int, list[float]] = {}
    for item in it.month:
        by_day.setdefault(int(item.at // DAY), []).append(item.duration_ms / 1000)
    p99 = max((sorted(day)[max(0, -(-99 * len(day) // 100) - 1)] for day in by_day.values()), default=0)
    most = max((item.duration_ms / 1000 for item in it.month), default=0)
    if not p99 or it.function.timeout_s < 10:
        return NOT
    rule = _at(0.5 * it.function.timeout_s, p99, 0.1)
    return _weaker(rule, it.evidence, MUST if most < 0.5 * it.function.timeout_s else MAY)


def _retention(it: Facts) -> str:
    if it.function.retention or it.function.group_days < 0:
        return NOT
    worth = billing.storage_bill(stored_bytes(it.account, it.function.log_group)[0] / GB) > 0.01
    return MUST if worth and not it.function.group and not it.function.edge else MAY


def _ingestion(it: Facts) -> str:
    gigabytes = len(it.month) * logged_bytes(it.function) / GB
    cost = billing.ingestion_bill(gigabytes, infrequent=it.function.infrequent)
    rule = _weaker(_at(cost, max(1e-9, it.bill(it.today)), 0.2), _at(cost, 1.0, 0.2))
    return _weaker(rule, it.evidence, MUST if it.function.group_days > MONTH and not it.function.infrequent else MAY)


def _runtime(it: Facts) -> str:
    ends = ENDED.get(it.function.runtime or "")
    return MUST if ends and ends <= it.account.today + timedelta(days=180) else NOT


def _ephemeral(it: Facts) -> str:
    return _weaker(it.evidence, MUST) if it.function.tmp_mb > 512 else NOT


def _init(it: Facts) -> str:
    billed = sum(item.billed_ms for item in it.month)
    if it.function.snapstart or not billed:
        return NOT
    rule = _at(sum(item.init_ms for item in it.month) / billed, 0.1, 0.15)
    # Where SnapStart costs more than it saves, nothing need be said.
    return _weaker(rule, it.evidence, MAY if it.function.runtime in SNAPSTART or it.bill(it.today) < CENTS else MUST)


def _recursion(it: Facts) -> str:
    recursion = it.function.recursion
    return MUST if recursion == "allowed" or (recursion and len(it.month) > 50) else MAY if recursion else NOT


ORACLES: Mapping[str, Callable[[Facts], str]] = {
    "memory-too-high": _memory_high, "memory-too-low": _memory_low, "arm64": _arm64, "idle": _idle,
    "timeouts": _timeouts, "errors": _errors, "timeout-high": _timeout_high, "log-retention-unset": _retention,
    "log-ingestion-high": _ingestion, "runtime-deprecated": _runtime, "ephemeral-storage": _ephemeral,
    "init-cost": _init, "recursion": _recursion,
}  # fmt: skip

PROVISIONED = "provisioned-concurrency-unused"
COMPUTE = ("memory-too-high", "memory-too-low", "arm64", "init-cost", "timeouts", "ephemeral-storage", PROVISIONED)
"""Kinds whose savings come from invocations."""


def expectations(it: Facts) -> Iterator[tuple[str, str]]:
    """Yield (kind, MUST, MAY or NOT); of provisioned concurrency, the kind with each alias."""
    for kind, oracle in ORACLES.items():
        yield kind, oracle(it)
    for item in it.function.provisioned:
        yield f"{PROVISIONED}:{item.alias}", _provisioned(it, item)


def what(finding: Mapping[str, Any]) -> str:
    """Return what a finding says, in the words of ``expectations``."""
    kind = str(finding["kind"])
    return f"{kind}:{finding['id'].rpartition(':')[2]}" if kind == PROVISIONED else kind


def true_savings(it: Facts, finding: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return what a finding truly saves of last month's bill and of the next 30 days'; None if nobody can tell."""
    if finding["kind"] == "log-retention-unset":
        days = finding.get("proposed", {}).get("retention_days")
        saved = billing.storage_bill(stored_bytes(it.account, it.function.log_group)[0] / GB)
        return (saved, saved) if days == MONTH else None
    setting = it.today.changed(finding)
    if setting is None or finding["kind"] == "timeout-high":
        return None
    if finding["kind"] == "ephemeral-storage" and it.function.tmp_need_mb > setting.tmp_mb:
        return 0.0, 0.0  # it needs what it has
    return it.saved(setting), it.saved(setting, ahead=True)


def fault(it: Facts, finding: Mapping[str, Any], truth: tuple[float, float] | None, *, tested: bool) -> str | None:
    """Return why a finding is wrong although its kind may be found, or None."""
    kind, function, text = finding["kind"], it.function, str(finding).lower()
    setting = it.today.changed(finding)
    # A timeout changes nothing else, so that nothing need run again.
    late = [item.duration_ms / 1000 > setting.timeout_s for item in it.month if not item.broken] if setting else []
    share = it.broken(setting) if setting and kind == "memory-too-high" else sum(late) / max(1, len(late))
    if kind in ("memory-too-high", "timeout-high") and share > 0.001:
        return f"breaks {share:.2%} of the invocations"
    if kind == "arm64" and function.layers and "layer" not in text:
        return "the layer of Lambda Insights is for x86_64: the change as told breaks every invocation"
    removes = any(word in finding.get("how_to", "") for word in ("delete-function", "reserved-concurrent-executions 0"))
    if kind == "idle" and removes and (function.alias_policy or function.managed):
        return "advises to remove what an alias policy or a capacity provider serves"
    claimed = finding["savings"]["expected"]
    if kind in COMPUTE and claimed > CENTS and truth:
        if truth[1] <= 0 and function.arrivals.stopped:
            return "claims money of a function that has stopped"
        if truth[0] <= 0 and kind in ("memory-too-high", PROVISIONED) and not tested:
            return "claims money and costs money"
    return None

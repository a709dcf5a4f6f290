"""The scenarios: waste, traps for a hasty analysis, and functions whose data support no claim."""

from collections.abc import Iterable
from typing import Any


class Scenario:
    """How a function differs from a well-sized one, and the findings it must have."""

    def __init__(self, *kinds: str, tolerated: Iterable[str] = (), abstain: bool = False, **choices: Any) -> None:
        self.choices, self.kinds = choices, frozenset(kinds)
        self.tolerated = frozenset(tolerated)  # kinds that may be found or not: it is borderline, or kinds overlap
        self.abstain = abstain  # whether the data support no claim: an analysis must say so and claim no money

    def without_labels(self) -> "Scenario":
        """Return the same scenario with findings that may be found or not."""
        return Scenario(tolerated=self.kinds | self.tolerated, **self.choices)

    def __or__(self, other: "Scenario") -> "Scenario":
        """Return both in one function; the other's choices take precedence."""
        kinds, tolerated = self.kinds | other.kinds, self.tolerated | other.tolerated
        abstain = self.abstain or other.abstain
        return Scenario(*kinds, tolerated=tolerated, abstain=abstain, **{**self.choices, **other.choices})


_INSIGHTS = Scenario(layer="LambdaInsightsExtension-Arm64")
# Both phases must lie between half and all of the timeout.
_CHANGED = Scenario(earlier=1.5, p99=(0.86, 0.93), retention_days=[60, 90, 180], log_lines=300)
_RARE = Scenario(
    traffic="constant", daily_invocations=(5, 12), timeout_seconds=30, p99=(0.85, 0.9), spread=(0.15, 0.25),
    init=(0.01, 0.02), ingestion=0.0,
)  # fmt: skip
# With the least memory, the slowest invocation still ends within the timeout; one below 10 s is never too high.
_QUICK = Scenario(timeout_seconds=[3, 5, 9], p99=(0.06, 0.14))
_ROOMY = _QUICK | Scenario(
    "memory-too-high", memory_mb=[1024, 1536, 3008], need=(0.15, 0.4), cpu=(0.0, 0.85), retention_days=[60, 90, 180],
    daily_invocations=[6_000, 20_000, 60_000],
)  # fmt: skip
_FITTED = _ROOMY | Scenario(memory_mb=[1024, 1536], cpu=(0.05, 0.65))
_X86 = Scenario(
    "arm64", architecture="x86_64", runtime=["python3.12", "python3.13", "provided.al2023", "java21"],
    retention_days=[60, 90, 180],
)  # fmt: skip
_OLD_LOGS = Scenario("log-retention-unset", retention_days=None, old_log_bytes=[600_000, 900_000, 1_200_000])
_STARVED = Scenario(
    "memory-too-low", memory_mb=[256, 512], need=(0.95, 0.98), out_of_memory_share=0.015,
    retention_days=[60, 90, 180], daily_invocations=[2_000, 6_000, 20_000],
)  # fmt: skip
_IDLE = Scenario("idle", daily_invocations=0, utilisation=0.0, last_used_days=(45, 200), error_share=0.0)
_KEPT_WARM = Scenario(
    "provisioned-concurrency-unused", memory_mb=[1024, 1536], provisioned_concurrency=[5, 10, 20],
    utilisation=(0.03, 0.25), retention_days=60,
)  # fmt: skip

PLANTED: dict[str, Scenario] = {
    "memory": _ROOMY,
    "memory, JSON logs": _ROOMY | Scenario(json_logs=True),
    "memory, changed": _FITTED | _CHANGED | _QUICK,
    "memory, raised": _FITTED
    | _CHANGED
    | _QUICK
    | Scenario(memory_mb=[1536, 2048], earlier=0.75, need=(0.15, 0.3), cpu=(0.05, 0.7)),
    "memory, Insights": _FITTED | _INSIGHTS,
    "arm64": _X86,
    "arm64, memory": _X86 | _FITTED | _CHANGED | _QUICK,
    "arm64, tmp": _X86 | Scenario("ephemeral-storage", ephemeral_mb=[5120, 10240]),
    "starved": _STARVED,
    "starved, cut": _STARVED | _CHANGED | Scenario(cpu=(0.3, 0.9)),
    "idle": _IDLE | _OLD_LOGS,
    "kept warm": _KEPT_WARM,
    "kept warm, idle": _KEPT_WARM | _IDLE,
    # CloudWatch counts a timeout as an error.
    "timeouts": Scenario(
        "timeouts", tolerated=("errors",), timeout_seconds=[10, 30], p99=(0.06, 0.1), timeout_share=(0.2, 0.3),
        retention_days=[60, 90], daily_invocations=[2_000, 6_000], log_lines=1_200,
    ),
    "errors": Scenario("errors", failing_share=(0.2, 0.4), failing_days=(4, 6), daily_invocations=[6_000, 20_000]),
    "old runtime": Scenario(
        "runtime-deprecated", "timeout-high", runtime=["python3.8", "nodejs16.x"], timeout_seconds=[300, 900],
        p99=(0.005, 0.03),
    ),
    "logs kept": _ROOMY | _RARE | _QUICK | _OLD_LOGS,
    "chatty": Scenario("log-ingestion-high", ingestion=(3.0, 8.0)),
    # SnapStart costs nothing for Java.
    "slow start": Scenario(
        "init-cost", runtime="java21", init_ms=(2500.0, 6000.0), init=(0.2, 0.4), retention_days=[60, 90, 180],
        daily_invocations=[6_000, 20_000], log_lines=1_200,
    ),
    "loop": Scenario("recursion", recursive_loop=True),
}  # fmt: skip
"""Functions with findings."""

TRAPS: dict[str, Scenario] = {
    "CPU-bound, Insights": _INSIGHTS | Scenario(memory_mb=[1024, 1536], need=(0.35, 0.42), cpu=1.0),
    "CPU-bound, changed": _CHANGED | Scenario(memory_mb=1024, need=(0.35, 0.42), cpu=1.0),
    # The data do not show it: an analysis may propose less memory and say that it may save nothing.
    "CPU-bound": _ROOMY.without_labels() | Scenario(memory_mb=[1024, 1536], cpu=(0.85, 1.0)),
    "rare spike": Scenario(
        memory_mb=[1024, 2048], need=(0.2, 0.3), retention_days=60, daily_invocations=6_000,
        large_payloads={"share": 0.0002, "slowness": 1.0, "need": 0.86},
    ),
    "warm and busy": Scenario(
        memory_mb=1024, provisioned_concurrency=[4, 8], utilisation=(0.72, 0.9), retention_days=60
    ),
    "monthly job": Scenario(
        memory_mb=3008, need=(0.1, 0.2), architecture="x86_64", runtime="python3.12", abstain=True, traffic="monthly",
        daily_invocations=1, last_used_days=30, timeout_seconds=900, retention_days=180, error_share=0.0,
        init=(0.001, 0.002),
    ),
    "x86-only layer": Scenario(layer="native-x86", architecture="x86_64", runtime="python3.12"),
    "smallest": Scenario(memory_mb=128, need=(0.4, 0.5), timeout_seconds=[2, 3, 5]),
    # SnapStart would cost more than it saves, or does not exist.
    "slow start": Scenario(
        tolerated=("init-cost",), runtime=["python3.13", "provided.al2023"], init_ms=(2500.0, 6000.0), init=(0.2, 0.4),
        daily_invocations=6_000,
    ),
    "fixed errors": Scenario(failing_share=0.4, failing_days=5, failing_ended_days=9, daily_invocations=6_000),
    "few timeouts": Scenario(timeout_seconds=10, timeout_share=0.02, daily_invocations=6_000, log_lines=1_200),
    "timeout alone": Scenario("timeout-high", timeout_seconds=[300, 900], p99=(0.005, 0.03)),
    "two payloads": Scenario(
        memory_mb=[1024, 2048], need=(0.15, 0.25), large_payloads={"share": 0.1, "slowness": 1.5, "need": 0.8},
        retention_days=60,
    ),
    "raised": _CHANGED | Scenario(memory_mb=[512, 640], earlier=2, p99=(0.9, 0.95), need=(0.72, 0.8), cpu=(0.0, 0.6)),
}  # fmt: skip
"""Functions that a hasty analysis would change; only a high timeout is to be found in one."""

_TEMPTING = Scenario(
    abstain=True, memory_mb=2048, need=(0.1, 0.25), architecture="x86_64", runtime="python3.12", retention_days=60,
    daily_invocations=20_000,
)  # fmt: skip
ABSTAIN: dict[str, Scenario] = {
    "young": _TEMPTING | Scenario(first_day=22),
    "hardly used": _TEMPTING | _RARE | Scenario(daily_invocations=0.8),
    "no logs": _TEMPTING | Scenario(log_days=0),
    "expired logs": _TEMPTING | Scenario(retention_days=1, log_days=1),
    "another size": _TEMPTING | Scenario(earlier=0.5, earlier_share=1.0),
    "never used": _TEMPTING | Scenario(daily_invocations=0, log_days=0),
    "no metrics": _TEMPTING | Scenario(metrics=False),
}
"""Functions that look wasteful but whose data support no claim."""

STACKABLE: dict[str, Scenario] = {
    "tmp": Scenario("ephemeral-storage", ephemeral_mb=[2048, 10240]),
    "timeout": Scenario("timeout-high", timeout_seconds=[300, 900], p99=(0.005, 0.03)),
    "loop": Scenario("recursion", recursive_loop=True),
    "dropped": Scenario("recursion", dropped_daily=3),
}
"""Findings that most functions can have beside another."""

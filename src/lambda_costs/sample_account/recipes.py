"""What is planted: waste, traps for a hasty analysis, and functions whose data carry no claim."""

from dataclasses import dataclass, field
from typing import Any

from lambda_costs.sample_account.drawing import Choices

(
    MEMORY_TOO_HIGH,
    MEMORY_TOO_LOW,
    ARM64,
    IDLE,
    PROVISIONED,
    TIME_OUTS,
    ERRORS,
    TIMEOUT_HIGH,
    LOG_RETENTION,
    LOG_INGESTION,
    RUNTIME,
    EPHEMERAL_STORAGE,
    INIT_COST,
    RECURSION,
) = KINDS = (
    "memory-too-high",
    "memory-too-low",
    "arm64",
    "idle",
    "provisioned-concurrency-unused",
    "timeouts",
    "errors",
    "timeout-high",
    "log-retention-unset",
    "log-ingestion-high",
    "runtime-deprecated",
    "ephemeral-storage",
    "init-cost",
    "recursion",
)


@dataclass(frozen=True)
class Recipe:
    """What sets a function apart from a well-sized one, and what is to be found in it."""

    choices: Choices = field(default_factory=dict)
    kinds: frozenset[str] = frozenset()
    tolerated: frozenset[str] = frozenset()
    """Kinds that one may find or not: the function is at the edge, or the kinds overlap."""
    abstain: bool = False
    """Whether the data carry no claim, so that an analysis must say so and claim no money."""

    def without_labels(self) -> "Recipe":
        """Return the same function with nothing that must be found in it."""
        return Recipe(self.choices, frozenset(), self.kinds | self.tolerated)

    def __or__(self, other: "Recipe") -> "Recipe":
        """Return both in one function; where they differ, the other's choice counts."""
        return Recipe(
            {**self.choices, **other.choices},
            self.kinds | other.kinds,
            self.tolerated | other.tolerated,
            self.abstain or other.abstain,
        )


def _recipe(*kinds: str, tolerated: tuple[str, ...] = (), abstain: bool = False, **choices: Any) -> Recipe:
    return Recipe(choices, frozenset(kinds), frozenset(tolerated), abstain)


_INSIGHTS = _recipe(layer="LambdaInsightsExtension-Arm64")
# Both phases must lie between half and all of the timeout.
_CHANGED = _recipe(earlier=1.5, p99=(0.86, 0.93), retention_days=[60, 90, 180], log_lines=300)
_RARE = _recipe(
    traffic="constant", daily_invocations=(5, 12), timeout_seconds=30, p99=(0.85, 0.9), spread=(0.15, 0.25),
    init=(0.01, 0.02), ingestion=0.0,
)  # fmt: skip
_ROOMY = _recipe(
    MEMORY_TOO_HIGH, memory_mb=[1024, 1536, 3008], need=(0.15, 0.4), cpu=(0.0, 0.85), retention_days=[60, 90, 180],
    daily_invocations=[6_000, 20_000, 60_000],
)  # fmt: skip
_FITTED = _ROOMY | _recipe(memory_mb=[1024, 1536], cpu=(0.05, 0.65))
_X86 = _recipe(
    ARM64, architecture="x86_64", runtime=["python3.12", "python3.13", "provided.al2023", "java21"],
    retention_days=[60, 90, 180],
)  # fmt: skip
_OLD_LOGS = _recipe(LOG_RETENTION, retention_days=None, old_log_bytes=[600_000, 900_000, 1_200_000])
_STARVED = _recipe(
    MEMORY_TOO_LOW, memory_mb=[256, 512], need=(0.95, 0.98), out_of_memory_share=0.015,
    retention_days=[60, 90, 180], daily_invocations=[2_000, 6_000, 20_000],
)  # fmt: skip
_IDLE = _recipe(IDLE, daily_invocations=0, utilisation=0.0, last_used_days=(45, 200), error_share=0.0)
_KEPT_WARM = _recipe(
    PROVISIONED, memory_mb=[1024, 1536], provisioned=[5, 10, 20], utilisation=(0.03, 0.25), retention_days=60
)

PLANTED: dict[str, Recipe] = {
    "memory": _ROOMY,
    "memory, JSON logs": _ROOMY | _recipe(json_logs=True),
    "memory, changed": _FITTED | _CHANGED,
    "memory, raised": _FITTED
    | _CHANGED
    | _recipe(memory_mb=[1536, 2048], earlier=0.75, need=(0.15, 0.3), cpu=(0.05, 0.7)),
    "memory, Insights": _FITTED | _INSIGHTS,
    "arm64": _X86,
    "arm64, memory": _X86 | _FITTED | _CHANGED,
    "arm64, tmp": _X86 | _recipe(EPHEMERAL_STORAGE, tmp_mb=[5120, 10240]),
    "starved": _STARVED,
    "starved, cut": _STARVED | _CHANGED | _recipe(cpu=(0.3, 0.9)),
    "idle": _IDLE | _OLD_LOGS,
    "kept warm": _KEPT_WARM,
    "kept warm, idle": _KEPT_WARM | _IDLE,
    # A time-out is an error to CloudWatch.
    "time-outs": _recipe(
        TIME_OUTS, tolerated=(ERRORS,), timeout_seconds=[10, 30], p99=(0.06, 0.1), timeout_share=(0.2, 0.3),
        retention_days=[60, 90], daily_invocations=[2_000, 6_000], log_lines=1_200,
    ),
    "errors": _recipe(ERRORS, failing_share=(0.2, 0.4), failing_days=(4, 6), daily_invocations=[6_000, 20_000]),
    "old runtime": _recipe(
        RUNTIME, TIMEOUT_HIGH, runtime=["python3.8", "nodejs16.x"], timeout_seconds=[300, 900], p99=(0.005, 0.03)
    ),
    "logs kept": _ROOMY | _RARE | _OLD_LOGS,
    "chatty": _recipe(LOG_INGESTION, ingestion=(3.0, 8.0)),
    # SnapStart costs nothing for Java.
    "slow start": _recipe(
        INIT_COST, runtime="java21", init_ms=(2500.0, 6000.0), init=(0.2, 0.4), retention_days=[60, 90, 180],
        daily_invocations=[6_000, 20_000], log_lines=1_200,
    ),
    "loop": _recipe(RECURSION, recursive_loop=True),
}  # fmt: skip
"""Functions with something to find, by what it is."""

TRAPS: dict[str, Recipe] = {
    "CPU-bound, Insights": _INSIGHTS | _recipe(memory_mb=[1024, 1536], need=(0.35, 0.42), cpu=1.0),
    "CPU-bound, changed": _CHANGED | _recipe(memory_mb=1024, need=(0.35, 0.42), cpu=1.0),
    # Nothing tells that it is: one may propose less memory, and say that it may save nothing.
    "CPU-bound": _ROOMY.without_labels() | _recipe(memory_mb=[1024, 1536], cpu=(0.85, 1.0)),
    "rare spike": _recipe(
        memory_mb=[1024, 2048], need=(0.2, 0.3), retention_days=60, daily_invocations=6_000,
        large_payloads={"share": 0.0002, "slowness": 1.0, "need": 0.86},
    ),
    "warm and busy": _recipe(memory_mb=1024, provisioned=[4, 8], utilisation=(0.72, 0.9), retention_days=60),
    "monthly job": _recipe(
        memory_mb=3008, need=(0.1, 0.2), architecture="x86_64", runtime="python3.12", abstain=True, traffic="monthly",
        daily_invocations=1, last_used_days=30, timeout_seconds=900, retention_days=180, error_share=0.0,
        init=(0.001, 0.002),
    ),
    "x86-only layer": _recipe(layer="native-x86", architecture="x86_64", runtime="python3.12"),
    "smallest": _recipe(memory_mb=128, need=(0.4, 0.5), timeout_seconds=[2, 3, 5]),
    # SnapStart would cost more than it saves, or does not exist.
    "slow start": _recipe(
        tolerated=(INIT_COST,), runtime=["python3.13", "provided.al2023"], init_ms=(2500.0, 6000.0), init=(0.2, 0.4),
        daily_invocations=6_000,
    ),
    "mended errors": _recipe(failing_share=0.4, failing_days=5, failing_ended_days=9, daily_invocations=6_000),
    "few time-outs": _recipe(timeout_seconds=10, timeout_share=0.02, daily_invocations=6_000, log_lines=1_200),
    "timeout alone": _recipe(TIMEOUT_HIGH, timeout_seconds=[300, 900], p99=(0.005, 0.03)),
    "two payloads": _recipe(
        memory_mb=[1024, 2048], need=(0.15, 0.25), large_payloads={"share": 0.1, "slowness": 1.5, "need": 0.8},
        retention_days=60,
    ),
    "mended": _CHANGED | _recipe(memory_mb=[512, 640], earlier=2, p99=(0.9, 0.95), need=(0.72, 0.8), cpu=(0.0, 0.6)),
}  # fmt: skip
"""Functions that a hasty analysis would have changed. All is well with them, but for a timeout."""

_TEMPTING = _recipe(
    abstain=True, memory_mb=2048, need=(0.1, 0.25), architecture="x86_64", runtime="python3.12", retention_days=60,
    daily_invocations=20_000,
)  # fmt: skip
ABSTAIN: dict[str, Recipe] = {
    "young": _TEMPTING | _recipe(first_day=22),
    "hardly used": _TEMPTING | _RARE | _recipe(daily_invocations=0.8),
    "no logs": _TEMPTING | _recipe(log_days=0),
    "expired logs": _TEMPTING | _recipe(retention_days=1, log_days=1),
    "another size": _TEMPTING | _recipe(earlier=0.5, earlier_share=1.0),
    "never used": _TEMPTING | _recipe(daily_invocations=0, log_days=0),
    "no metrics": _TEMPTING | _recipe(metrics=False),
}
"""Functions that would tempt to a claim, which their data do not carry."""

STACKABLE: dict[str, Recipe] = {
    "tmp": _recipe(EPHEMERAL_STORAGE, tmp_mb=[2048, 10240]),
    "timeout": _recipe(TIMEOUT_HIGH, timeout_seconds=[300, 900], p99=(0.005, 0.03)),
    "loop": _recipe(RECURSION, recursive_loop=True),
    "dropped": _recipe(RECURSION, dropped_daily=3),
}
"""What may be found in most functions beside something else."""

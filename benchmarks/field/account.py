"""An account at a moment: its functions, and how their invocations ran."""

import random
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cached_property

from benchmarks.field.function import DAY, MONTH, Function, Request, requests_of
from benchmarks.field.machine import Run, Setting, run
from benchmarks.field.shapes import draw_functions

REGION = "us-east-1"
NUMBER = "111122223333"


@dataclass(frozen=True)
class Account:
    """Everything that is true, whether AWS shows it or not."""

    functions: tuple[Function, ...]
    now: datetime
    logs_insights: bool
    """Whether the caller may query Logs Insights; otherwise only FilterLogEvents tells REPORT lines."""
    enrolled: bool = False
    """Whether AWS Compute Optimizer looks at it."""
    kept_share: float = 1.0
    """Bytes that a log group stores, and that are billed, over bytes that it took in."""

    @classmethod
    def drawn(cls, seed: int, now: datetime, *, logs_insights: bool, count: int = 120) -> "Account":
        """Return the account of ``seed``, of so many functions."""
        rng = random.Random(f"field/account/{seed}")
        functions = draw_functions(seed, count)
        return cls(functions, now, logs_insights, rng.random() < 0.3, rng.choice((0.15, 0.3, 1.0)))

    @cached_property
    def today(self) -> date:
        """The day of the analysis (UTC)."""
        return self.now.astimezone(UTC).date()

    @cached_property
    def midnight(self) -> float:
        """The Unix time of what is second 0 to a function."""
        return datetime.combine(self.today, time(), UTC).timestamp()

    @cached_property
    def clock(self) -> float:
        """Seconds of today that have passed."""
        return self.now.timestamp() - self.midnight

    @cached_property
    def _requests(self) -> dict[str, list[Request]]:
        return {}

    def requests(self, function: Function) -> list[Request]:
        """Return what comes from the day before last month to the end of the next 30 days."""
        if function.name not in self._requests:
            self._requests[function.name] = requests_of(function, -MONTH - 1, MONTH, self.today)
        return self._requests[function.name]

    @cached_property
    def _as_it_is(self) -> dict[tuple[str, bool], list[Run]]:
        return {}

    def runs(self, function: Function, setting: Setting) -> list[Run]:
        """Return how all of that runs under ``setting``."""
        if setting != Setting.of(function, history=setting.history):
            return run(function, self.requests(function), setting, self.today)
        key = function.name, setting.history
        if key not in self._as_it_is:
            self._as_it_is[key] = run(function, self.requests(function), setting, self.today)
        return self._as_it_is[key]

    def seen(self, function: Function) -> list[Run]:
        """Return what has happened by now, as it happened."""
        runs = self.runs(function, Setting.of(function, history=bool(function.history)))
        return runs[: bisect_left(runs, self.clock, key=lambda item: item.at)]

    def last_month(self, function: Function) -> Sequence[Run]:
        """Return what happened in the 30 days before today."""
        return [item for item in self.seen(function) if -MONTH * DAY <= item.at < 0]

    def named(self, name: str) -> Function:
        """Return a function by its name."""
        return next(function for function in self.functions if function.name == name)

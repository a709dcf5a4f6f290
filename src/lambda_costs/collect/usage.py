"""What the functions used in the window: the data that every finding rests on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.log_groups import LogGroup
from lambda_costs.collect.metrics import Daily
from lambda_costs.collect.provisioned import Provisioned
from lambda_costs.collect.report_lines import Reports


@dataclass(frozen=True)
class Window:
    """Whole days in UTC, up to the last midnight: two analyses on one day see the same."""

    start: datetime
    end: datetime

    @classmethod
    def before(cls, now: datetime, days: int) -> "Window":
        """Return the ``days`` that had ended by ``now``."""
        end = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
        return cls(end - timedelta(days=days), end)

    @property
    def days(self) -> int:
        """Length in days."""
        return (self.end - self.start).days

    def kept(self, retention_days: int | None) -> "Window":
        """Return the days of which a log group with this retention still has every event, at any hour of today.

        An event expires at the hour at which it was written. A part of one more day is left, and shrinks by the hour.
        None keeps events for ever.
        """
        if retention_days is None:
            return self
        first = self.end - timedelta(days=retention_days - 1)
        return Window(min(max(self.start, first), self.end), self.end)


@dataclass(frozen=True)
class FunctionUsage:
    """What one function used; None stands for no data, never for nothing."""

    unread: str | None = None
    """Why its metrics could not be read; None if they could, and no datapoint means that there was none."""
    invocations: Daily | None = None
    duration_ms: Daily | None = None
    """Without the init phase."""
    p99_ms: Daily | None = None
    """The 99th percentile of the duration, each day's own."""
    errors: Daily | None = None
    recursions_dropped: Daily | None = None
    cpu_ms: Daily | None = None
    """CPU time, where Lambda Insights measures it."""
    last_invoked: date | None = None
    """The last day with an invocation in the past that CloudWatch keeps, of a function that had none in the window."""
    triggers: tuple[str, ...] | None = None
    """What may invoke it, of a function that had no invocation in the window; None if that could not be read."""
    reports: Reports | None = None
    provisioned: tuple[Provisioned, ...] | None = None
    """Empty if it has none, None if that could not be read."""
    recursion_allowed: bool | None = None
    log_group: LogGroup | None = None
    ingested_bytes: Daily | None = None
    """What went into its log group, uncompressed."""


@dataclass(frozen=True)
class Usage:
    """What every function of the inventory used in the window."""

    window: Window
    by_arn: Mapping[str, FunctionUsage]
    gaps: tuple[Gap, ...]

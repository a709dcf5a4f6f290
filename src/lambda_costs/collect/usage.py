"""What the functions used in the window."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.log_groups import LogGroup
from lambda_costs.collect.metrics import Daily
from lambda_costs.collect.report_lines import Reports
from lambda_costs.collect.settings import Provisioned

IDLE_DAYS = 30  # days without an invocation after which a function is idle; our own choice
LOOK_BACK_DAYS = 455
"""How far back we look for the last invocation: CloudWatch keeps daily values so long (its User Guide, "Metrics
retention")."""


@dataclass(frozen=True)
class Window:
    """Whole days in UTC up to the last midnight, so that two analyses on one day see the same data."""

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
        """Return the days whose events a log group with this retention has completely; None keeps events for ever.

        Events expire at the hour at which they were written, so the oldest day is incomplete and does not count.
        """
        if retention_days is None:
            return self
        first = self.end - timedelta(days=retention_days - 1)
        return Window(min(max(self.start, first), self.end), self.end)


@dataclass(frozen=True)
class FunctionUsage:
    """What one function used; None means no data, never zero."""

    unread: str | None = None  # why its metrics were not read; if they were, a missing datapoint means no activity
    invocations: Daily | None = None
    duration_ms: Daily | None = None  # without the init phase
    p99_ms: Daily | None = None  # the 99th percentile of each day's durations
    slowest_ms: Daily | None = None  # the longest duration of each day
    errors: Daily | None = None
    recursions_dropped: Daily | None = None
    cpu_ms: Daily | None = None  # CPU time, where Lambda Insights measures it
    last_invoked: date | None = None
    """The last day with an invocation, looked for in LOOK_BACK_DAYS if nothing invoked the function recently."""
    longest_pause: int | None = None  # the most days between two with invocations in LOOK_BACK_DAYS; None below two
    triggers: tuple[str, ...] | None = None  # what may invoke it, if nothing did recently; None if that was not read
    reports: Reports | None = None
    provisioned: tuple[Provisioned, ...] | None = None  # empty if it has none, None if that could not be read
    recursion_allowed: bool | None = None
    log_group: LogGroup | None = None
    ingested_bytes: Daily | None = None  # ingested into its log group, uncompressed


@dataclass(frozen=True)
class Usage:
    """What every function of the inventory used in the window."""

    window: Window
    by_arn: Mapping[str, FunctionUsage]
    gaps: tuple[Gap, ...]

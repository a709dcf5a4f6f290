"""What the functions used in the window: the data that every finding rests on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from vigil.costs.gaps import Gap
from vigil.costs.log_groups import LogGroup
from vigil.costs.metrics import Observed
from vigil.costs.provisioned import Provisioned
from vigil.costs.report_lines import Reports


@dataclass(frozen=True)
class Window:
    """Whole days in UTC, up to the last midnight: two runs on one day see the same."""

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


@dataclass(frozen=True)
class FunctionUsage:
    """What one function used; None stands for no data, never for nothing."""

    invocations: Observed | None = None
    reports: Reports | None = None
    provisioned: tuple[Provisioned, ...] | None = None
    """Empty if it has none, None if that could not be read."""
    log_group: LogGroup | None = None


@dataclass(frozen=True)
class Usage:
    """What every function of the inventory used in the window."""

    window: Window
    by_arn: Mapping[str, FunctionUsage]
    gaps: tuple[Gap, ...]

    def for_model(self) -> dict[str, Any]:
        """Return a summary that fits a model's context whatever the account's size."""
        used = self.by_arn.values()
        return {
            "window": [self.window.start.date().isoformat(), self.window.end.date().isoformat()],
            "functions": len(used),
            "with_invocations": sum(item.invocations is not None for item in used),
            "with_report_lines": sum(item.reports is not None for item in used),
            "report_lines": sum(item.reports.lines for item in used if item.reports),
            "with_provisioned_concurrency": sum(bool(item.provisioned) for item in used),
            "not_looked_at": len(self.gaps),
        }

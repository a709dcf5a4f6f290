"""Builders for functions, what they used, and findings: round numbers to compute by hand.

By default a function bills a million invocations of half a second in 30 days at 1,024 MB on x86_64: 500,000
GB-seconds, which cost 500,000 × $0.0000166667 = $8.33335.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from math import sqrt
from typing import Any

from lambda_costs.analysis import Analysis, CollectedData
from lambda_costs.analysis import analyse as analyse_data
from lambda_costs.collect.compute_optimizer import Recommendation
from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.inventory import Function, Inventory
from lambda_costs.collect.log_groups import LogGroup
from lambda_costs.collect.metrics import Daily
from lambda_costs.collect.price_list import PriceList
from lambda_costs.collect.prices import PRICES
from lambda_costs.collect.report_lines import Outcome, Reports, Tally, TallyKey
from lambda_costs.collect.scan import ScanCost
from lambda_costs.collect.settings import Provisioned
from lambda_costs.collect.usage import FunctionUsage, Usage, Window
from lambda_costs.model.compute import compute
from lambda_costs.model.context import FunctionContext, Rule
from lambda_costs.model.finding import ComputeShare, Finding, SavingsRange
from lambda_costs.request import CostRequest

NOW = datetime(2026, 7, 1, 9, 30, tzinfo=UTC)
END = date(2026, 7, 1)
DAYS = 30
COST = 8.33335

# As many on each day: the last week's number is off by chance, 1.96 / √233,333 or 0.406 %, and the mean duration by the
# 2 % that it is taken to be off at least, times 1.96.
FEWER, MORE = ((1 + way * 1.96 / sqrt(1e6 * 7 / 30)) * (1 + way * 1.96 * 0.02) for way in (-1, 1))
GIB = 2**30
WINDOW = Window.before(NOW, DAYS)


def function(name: str = "orders", **changes: Any) -> Function:
    region = changes.get("region", "us-east-1")
    defaults: dict[str, Any] = {
        **{"name": name, "arn": f"arn:aws:lambda:{region}:000000000000:function:{name}", "region": region},
        **{"runtime": "python3.12", "architecture": "x86_64", "package_type": "Zip", "layers": 0},
        **{"memory_mb": 1024, "timeout_seconds": 3, "ephemeral_mb": 512, "last_modified": ago(100)},
        **dict.fromkeys(("insights", "file_system", "snapstart", "json_logs", "capacity_provider"), False),
    }
    return Function(**{**defaults, "log_group": f"/aws/lambda/{name}", **changes})


def ago(days: int) -> date:
    return END - timedelta(days=days)


def daily(total: float, days: int = DAYS, first: int | None = None) -> Daily:
    """Return ``total`` spread evenly over ``days`` days, which begin ``first`` days before the end."""
    begin = ago(days if first is None else first)
    return Daily({begin + timedelta(days=day): total / days for day in range(days)}, END)


def on_days(values: Mapping[int, float]) -> Daily:
    """Return a metric with ``values`` by days ago."""
    return Daily({ago(day): value for day, value in values.items()}, END)


def tally(
    lines: int = 100,
    seconds: float = 0.5,
    max_used_mb: int = 900,
    init_seconds: float = 0,
    inits: int = 0,
    slowest: float | None = None,
) -> Tally:
    """Return lines that bill ``seconds`` each on average, cold starts of ``init_seconds`` in all among them."""
    billed = lines * seconds * 1000
    longest = 1000 * (seconds if slowest is None else slowest)
    return Tally(lines, billed - init_seconds * 1000, billed, init_seconds * 1000, inits, max_used_mb, longest)


def reports(memory_mb: int = 1024, days: int = DAYS, first: int | None = None, **changes: Any) -> Reports:
    """Return the lines of ``tally`` on each of ``days`` days, all successful."""
    begin = ago(days if first is None else first)
    keys = [TallyKey(begin + timedelta(days=day), memory_mb, Outcome.SUCCESS) for day in range(days)]
    return Reports({key: tally(**{"lines": 10, **changes}) for key in keys}, 0)


def together(*several: Reports) -> Reports:
    return Reports({key: item for one in several for key, item in one.tallies.items()}, 0)


def usage(**changes: Any) -> FunctionUsage:
    defaults: dict[str, Any] = {
        **{"invocations": daily(1_000_000), "duration_ms": daily(1_000_000 * 500), "errors": daily(0)},
        **{"p99_ms": on_days(dict.fromkeys(range(1, DAYS + 1), 2_000.0)), "reports": reports()},
        **{"provisioned": (), "recursion_allowed": False},
    }
    return FunctionUsage(**{**defaults, **changes})


def used_at(memory_mb: int, max_used_mb: int, **changes: Any) -> FunctionUsage:
    return usage(reports=reports(memory_mb, max_used_mb=max_used_mb), **changes)


def measured(max_used_mb: int) -> FunctionUsage:
    """Return 15 days of 1.5 s at 512 MB, then 15 of 1 s at 1,024 MB: half of that is CPU time (test_duration.py)."""
    durations = {day: (1500 if day < ago(15) else 1000) * 1e6 / 30 for day in daily(1).by_day}
    lines = together(reports(512, 15, 30, max_used_mb=90), reports(1024, 15, seconds=1, max_used_mb=max_used_mb))
    return usage(duration_ms=Daily(durations, END), reports=lines)


def failing(failed: Mapping[int, int], calls: int = 100, **changes: Any) -> FunctionUsage:
    """Return 30 days of ``calls`` lines of 0.5 s, of which ``failed`` ran into the timeout of 3 s, by days ago."""
    lines = {}
    for day in range(1, 31):
        lines[TallyKey(ago(day), 1024, Outcome.SUCCESS)] = tally(calls - failed.get(day, 0))
        if day in failed:
            lines[TallyKey(ago(day), 1024, Outcome.TIMEOUT)] = tally(failed[day], seconds=3)
    every = {day: float(failed.get(day, 0)) for day in range(1, 31)}
    milliseconds = {day: 500 * (calls - number) + 3000 * number for day, number in every.items()}
    read = {"invocations": daily(30 * calls), "duration_ms": on_days(milliseconds), "errors": on_days(every)}
    return usage(**{**read, "reports": Reports(lines, 0), **changes})


def retally(used: FunctionUsage, change: Callable[[TallyKey, Tally], Tally | None]) -> FunctionUsage:
    """Return ``used`` with each tally of its lines as ``change`` returns it, and without those that it drops."""
    assert used.reports
    lines = {key: new for key, item in used.reports.tallies.items() if (new := change(key, item))}
    return replace(used, reports=Reports(lines, 0))


@dataclass(frozen=True)
class Example:
    """A function with a finding: each test module of a finding has one, named EXAMPLE."""

    configured: Mapping[str, Any] = field(default_factory=dict)
    used: FunctionUsage = field(default_factory=usage)
    needs: str | None = None
    """"compute", "on_demand" or "billed": what the rule cannot do without, as the methods of FunctionContext."""


# A name that a shell would run.
EVIL = "$(reboot) `id`; 'rm' -rf ~"


def provisioned(invocations: Daily | None, executions: int = 1) -> tuple[Provisioned, ...]:
    return (Provisioned("live", executions, invocations=invocations),)


def log_group(stored_bytes: float | None, **changes: Any) -> LogGroup:
    stored = None if stored_bytes is None else int(stored_bytes)
    defaults = {"name": "/aws/lambda/orders", "functions": ("orders",), "retention_days": None}
    return LogGroup(**{**defaults, **changes, "stored_bytes": stored})


def context(target: Function | None = None, used: FunctionUsage | None = None, free: bool = False) -> FunctionContext:
    target, used = target or function(), used or usage()
    rates = PRICES["us-east-1"].at({})
    return FunctionContext(target, used, compute(target, used, WINDOW), rates, target.name, WINDOW, free)


def found(rule: Rule, *about: Any, **given: Any) -> Finding | None:
    """Return the one finding that ``rule`` yields in a context of ``about`` and ``given``; fails if it abstains."""
    yielded = list(rule(context(*about, **given)))
    assert len(yielded) <= 1
    assert not any(isinstance(item, Gap) for item in yielded), yielded
    return yielded[0] if yielded else None  # type: ignore[return-value]


def claimed(rule: Rule, *about: Any, **given: Any) -> Finding:
    """Return the finding that ``rule`` yields; fails if it yields none."""
    result = found(rule, *about, **given)
    assert result
    return result


def abstained(rule: Rule, *about: Any, **given: Any) -> str:
    """Return why ``rule`` abstains; fails if it does not."""
    (result,) = rule(context(*about, **given))
    assert isinstance(result, Gap), result
    return result.reason


def amounts(interval: SavingsRange) -> tuple[float, float, float]:
    return interval.low, interval.expected, interval.high


def finding(
    name: str = "orders",
    savings: tuple[float, float, float] = (1.0, 2.0, 3.0),
    kind: str = "arm64",
    *,
    cost: float | None = None,
    **changes: Any,
) -> Finding:
    """Return a finding about the function ``name``; ``cost`` is that of the compute which it saves a share of."""
    defaults: dict[str, Any] = {
        **{"id": f"{kind}:{name}", "kind": kind, "function": name, "region": "us-east-1", "arn": function(name).arn},
        **{"evidence": {}, "formula": "2 × 1", "change": "Change it", "proposed": {}, "how_to": "aws lambda change"},
        **{"as_code": "# CDK\nchange: it", "risk": "It may break.", "validate": "Look at it."},
        **{"savings": SavingsRange(*savings), "scaling": ComputeShare(cost, 1000.0) if cost else None},
    }
    return Finding(**{**defaults, **changes})


def analyse(
    used: Mapping[Function, FunctionUsage],
    gaps: Iterable[Gap] = (),
    regions: int = 1,
    recommendations: Mapping[str, Recommendation] | None = None,
    **request: Any,
) -> Analysis:
    """Return the analysis of functions and what they used, without AWS."""
    data = CollectedData(
        Usage(WINDOW, {item.arn: usage for item, usage in used.items()}, ()),
        PriceList(PRICES, {"us-east-1": "AWS Price List, table of 2025-10"}),
        recommendations or {},
        ScanCost(6, 0, 0.00006, 5.0),
    )
    asked = CostRequest(regions=("us-east-1", "eu-west-1")[:regions], **request)
    return analyse_data(asked, Inventory(tuple(used), tuple(gaps)), data)

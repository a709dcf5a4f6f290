"""Functions and what they used, as the tests of the cost analysis need them: round numbers to compute by hand.

Unless told otherwise a function bills a million invocations of half a second in 30 days at 1,024 MB on x86_64: 500,000
GB-seconds, which cost 500,000 × $0.0000166667 = $8.33335.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from lambda_costs.analysis import Analysis, Readings
from lambda_costs.analysis import analyse as analyse_readings
from lambda_costs.collect.compute_optimizer import Recommendation
from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.inventory import Function, Inventory
from lambda_costs.collect.log_groups import LogGroup
from lambda_costs.collect.metrics import Daily
from lambda_costs.collect.price_list import PriceList
from lambda_costs.collect.prices import PRICES
from lambda_costs.collect.provisioned import Provisioned
from lambda_costs.collect.report_lines import Key, Outcome, Reports, Tally
from lambda_costs.collect.scan import Scan
from lambda_costs.collect.usage import FunctionUsage, Usage, Window
from lambda_costs.findings import Rule
from lambda_costs.model.compute import compute
from lambda_costs.model.context import Case
from lambda_costs.model.finding import Finding, Interval
from lambda_costs.request import CostRequest

NOW = datetime(2026, 7, 1, 9, 30, tzinfo=UTC)
END = date(2026, 7, 1)
DAYS = 30
COST = 8.33335
GIB = 2**30


def function(name: str = "orders", **given: Any) -> Function:
    region = given.get("region", "us-east-1")
    return Function(
        **{
            "name": name,
            "arn": f"arn:aws:lambda:{region}:000000000000:function:{name}",
            "region": region,
            "runtime": "python3.12",
            "architecture": "x86_64",
            "package_type": "Zip",
            "memory_mb": 1024,
            "timeout_seconds": 3,
            "ephemeral_mb": 512,
            "last_modified": END - timedelta(days=100),
            "layers": 0,
            "insights": False,
            "file_system": False,
            "snapstart": False,
            "log_group": f"/aws/lambda/{name}",
            "json_logs": False,
            "capacity_provider": False,
            **given,
        }
    )


def daily(total: float, days: int = DAYS, first: int | None = None) -> Daily:
    """Return ``total`` spread evenly over ``days`` days, which begin ``first`` days before the end."""
    begin = END - timedelta(days=days if first is None else first)
    return Daily({begin + timedelta(days=day): total / days for day in range(days)}, END)


def tally(
    lines: int = 100, seconds: float = 0.5, max_used_mb: int = 900, init_seconds: float = 0, inits: int = 0
) -> Tally:
    """Return lines that bill ``seconds`` each on average, cold starts of ``init_seconds`` in all among them."""
    billed = lines * seconds * 1000
    return Tally(lines, billed - init_seconds * 1000, billed, init_seconds * 1000, inits, max_used_mb)


def reports(memory_mb: int = 1024, days: int = DAYS, first: int | None = None, **given: Any) -> Reports:
    """Return the lines of ``tally`` on each of ``days`` days, all successful."""
    begin = END - timedelta(days=days if first is None else first)
    return Reports(
        {
            Key(begin + timedelta(days=day), memory_mb, Outcome.SUCCESS): tally(**{"lines": 10, **given})
            for day in range(days)
        },
        0,
    )


def together(*several: Reports) -> Reports:
    return Reports({key: item for one in several for key, item in one.tallies.items()}, 0)


def usage(**given: Any) -> FunctionUsage:
    return FunctionUsage(
        **{
            "invocations": daily(1_000_000),
            "duration_ms": daily(1_000_000 * 500),
            "p99_ms": Daily({END - timedelta(days=day): 2_000.0 for day in range(1, DAYS + 1)}, END),
            "errors": daily(0),
            "reports": reports(),
            "provisioned": (),
            "recursion_allowed": False,
            **given,
        }
    )


def provisioned(invocations: Daily | None, executions: int = 1) -> tuple[Provisioned, ...]:
    return (Provisioned("live", executions, invocations),)


def log_group(stored_bytes: float | None, **given: Any) -> LogGroup:
    stored = None if stored_bytes is None else int(stored_bytes)
    return LogGroup(**{"name": "/aws/lambda/orders", "functions": ("orders",), "retention_days": None, **given,
                       "stored_bytes": stored})  # fmt: skip


def case(of: Function | None = None, used: FunctionUsage | None = None, free: bool = False) -> Case:
    of, used = of or function(), used or usage()
    return Case(of, used, compute(of, used, DAYS), PRICES["us-east-1"].at({}), of.name, END, free)


def found(
    rule: Rule, of: Function | None = None, used: FunctionUsage | None = None, free: bool = False
) -> Finding | Gap | None:
    """Return the one thing that ``rule`` yields, or None if it yields nothing."""
    yielded = list(rule(case(of, used, free)))
    assert len(yielded) <= 1
    return yielded[0] if yielded else None


def claimed(rule: Rule, of: Function | None = None, used: FunctionUsage | None = None, free: bool = False) -> Finding:
    """Return the finding that ``rule`` yields; fails if it yields none."""
    result = found(rule, of, used, free)
    assert isinstance(result, Finding), result
    return result


def abstained(rule: Rule, of: Function | None = None, used: FunctionUsage | None = None, free: bool = False) -> str:
    """Return why ``rule`` abstains; fails if it does not."""
    result = found(rule, of, used, free)
    assert isinstance(result, Gap), result
    return result.why


def amounts(interval: Interval) -> tuple[float, float, float]:
    return interval.low, interval.expected, interval.high


def finding(name: str = "orders", savings: tuple[float, float, float] = (1, 2, 3), **given: Any) -> Finding:
    text = {"formula": "f", "change": "change it", "how_to": "aws", "as_code": "", "risk": "risk", "validate": "look"}
    return Finding(
        **{
            "id": f"arm64:{name}",
            "kind": "arm64",
            "function": name,
            "region": "us-east-1",
            "arn": function(name).arn,
            "evidence": {},
            "proposed": {"architecture": "arm64"},
            **text,
            "savings": Interval(*savings),
            **given,
        }
    )


def analyse(
    used: Mapping[Function, FunctionUsage],
    gaps: Iterable[Gap] = (),
    regions: int = 1,
    recommendations: Mapping[str, Recommendation] | None = None,
    **request: Any,
) -> Analysis:
    """Return the analysis of functions and what they used, without AWS."""
    readings = Readings(
        Usage(Window.before(NOW, DAYS), {item.arn: what for item, what in used.items()}, ()),
        PriceList(PRICES, {"us-east-1": "AWS Price List, table of 2025-10"}),
        recommendations or {},
        Scan(6, 0, 0.00006, 5.0),
    )
    return analyse_readings(
        CostRequest(regions=("us-east-1", "eu-west-1")[:regions], **request),
        Inventory(tuple(used), tuple(gaps)),
        readings,
    )

"""Functions and what they used, as the tests of the cost analysis need them: round numbers to compute by hand.

Unless told otherwise a function bills a million invocations of half a second in 30 days at 1,024 MB on x86_64: 500,000
GB-seconds, which cost 500,000 × $0.0000166667 = $8.33335.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from vigil.costs.analysis import Analysis, Analyst
from vigil.costs.case import Case
from vigil.costs.compute import compute
from vigil.costs.finding import Finding, Interval
from vigil.costs.findings import Rule
from vigil.costs.gaps import Gap
from vigil.costs.inventory import Function, Inventory
from vigil.costs.log_groups import LogGroup
from vigil.costs.metrics import Observed
from vigil.costs.prices import PRICES
from vigil.costs.provisioned import Provisioned
from vigil.costs.report_lines import Billed, Reports
from vigil.costs.request import CostRequest
from vigil.costs.usage import FunctionUsage, Usage, Window

NOW = datetime(2026, 7, 1, 9, 30, tzinfo=UTC)
END = date(2026, 7, 1)
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
            "layers": 0,
            "log_group": f"/aws/lambda/{name}",
            "json_logs": False,
            "capacity_provider": False,
            **given,
        }
    )


def observed(total: float, days: int = 30) -> Observed:
    return Observed(total, END - timedelta(days=days), END)


def reports(max_used_mb: int = 900, lines: int = 100, seconds: float = 0.5, memory_mb: int = 1024) -> Reports:
    return Reports(lines, max_used_mb, {memory_mb: Billed(lines, lines * seconds * 1000)})


def usage(**given: Any) -> FunctionUsage:
    return FunctionUsage(
        **{"invocations": observed(1_000_000), "reports": reports(), "provisioned": (), "log_group": None, **given}
    )


def provisioned(invocations: Observed | None, executions: int = 1) -> tuple[Provisioned, ...]:
    return (Provisioned("live", executions, invocations),)


def log_group(stored_bytes: float | None, ingested: Observed | None = None, **given: Any) -> LogGroup:
    stored = None if stored_bytes is None else int(stored_bytes)
    return LogGroup(**{"name": "/aws/lambda/orders", "functions": ("orders",), "retention_days": None, **given,
                       "stored_bytes": stored, "ingested": ingested})  # fmt: skip


def found(rule: Rule, of: Function | None = None, used: FunctionUsage | None = None) -> Finding | Gap | None:
    """Return the one thing that ``rule`` yields, or None if it yields nothing."""
    of, used = of or function(), used or usage()
    yielded = list(rule(Case(of, used, compute(of, used, 30), PRICES["us-east-1"].at({}), of.name)))
    assert len(yielded) <= 1
    return yielded[0] if yielded else None


def finding(name: str = "orders", savings: tuple[float, float, float] = (1, 2, 3), **given: Any) -> Finding:
    text = {"formula": "f", "change": "change it", "how_to": "aws", "risk": "risk", "validate": "look"}
    return Finding(
        **{
            "id": f"arm64:{name}",
            "kind": "arm64",
            "function": name,
            "region": "us-east-1",
            "arn": function(name).arn,
            "evidence": {},
            **text,
            "savings": Interval(*savings),
            **given,
        }
    )


def analyse(used: Mapping[Function, FunctionUsage], gaps: Iterable[Gap] = (), regions: int = 1) -> Analysis:
    """Return the analysis of functions and what they used, without AWS."""
    request = CostRequest(regions=("us-east-1", "eu-west-1")[:regions])
    analyst = Analyst(request, lambda *_: None)
    analyst._inventory = Inventory(tuple(used), tuple(gaps))
    analyst._usage = Usage(Window.before(NOW, 30), {item.arn: what for item, what in used.items()}, ())
    return analyst.find_savings()

"""Analyses for the tests of the report, which state every number in them."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from math import fsum
from typing import Any

from lambda_costs.analysis import Analysis
from lambda_costs.collect.inventory import Function
from lambda_costs.collect.scan import ScanCost
from lambda_costs.collect.usage import FunctionUsage, Usage, Window
from lambda_costs.model.compute import Compute
from lambda_costs.model.duration import unknown_cpu_share
from lambda_costs.model.finding import Finding, rank
from lambda_costs.model.totals import ComputeSpend, measured_and_more
from lambda_costs.model.volume import Volume
from lambda_costs.request import CostRequest
from tests.lambda_costs.cases import finding, function

END = datetime(2026, 7, 1, tzinfo=UTC)


def observation(name: str = "orders", kind: str = "timeout-high", **changes: Any) -> Finding:
    return finding(name, (0.0, 0.0, 0.0), kind, **changes)


def used(invocations: float) -> Compute:
    """Return a Compute of half a second an invocation at 1,024 MB."""
    exactly = Volume(invocations, invocations, invocations)
    return Compute(
        **{"invocations": exactly, "volume": exactly, "billed_seconds": 0.5, "gb_seconds": 0.5 * invocations},
        **{"at_today": 0.5 * invocations, "start_share": 0.0, "lines": 100, "sampled": False, "init_share": 0.0},
        **{"inits": 0.0, "slowest_seconds": 0.5, "model": unknown_cpu_share(1024)},
    )


def analysis(
    findings: Iterable[Finding] = (),
    functions: Iterable[Function] | None = None,
    *,
    usage: Mapping[str, FunctionUsage] | None = None,
    cost: Mapping[str, float] | None = None,
    end: datetime = END,
    **changes: Any,
) -> Analysis:
    """Return an analysis with ``findings``, of the functions that they are about by default."""
    findings = rank(findings)
    if functions is None:
        functions = {item.arn: function(item.function, region=item.region, arn=item.arn) for item in findings}.values()
    functions, cost = tuple(functions), cost or {}
    read = {item.arn: FunctionUsage() for item in functions} | {function(n).arn: of for n, of in (usage or {}).items()}
    spend = ComputeSpend(fsum(cost.values()), 1_000_000.0)
    defaults: dict[str, Any] = {
        **{"request": CostRequest(regions=("us-east-1",)), "functions": functions, "findings": findings, "cost": cost},
        **{"usage": Usage(Window(end - timedelta(days=30), end), read, ()), "compute": {}, "gaps": ()},
        **dict(zip(("totals", "more"), measured_and_more(findings, spend), strict=True)),
        **{"prices": {"us-east-1": "a table of 2025-10"}, "recommendations": {}},
        "scan": ScanCost(metrics=12, queried_bytes=2**30, estimated=0.01, limit=1.0),
    }
    return Analysis(**{**defaults, **changes})

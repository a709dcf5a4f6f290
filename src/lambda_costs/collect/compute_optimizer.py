"""AWS Compute Optimizer's recommendations on memory, which the report shows beside our own findings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from lambda_costs.collect.gaps import Gap, explain
from lambda_costs.collect.inventory import Client

ARNS_A_CALL = 100  # the API reference names no limit; a page of results has up to 1,000

_ALL = [{"name": "Finding", "values": ["Optimized", "NotOptimized", "Unavailable"]}]
"""Without this filter, the API leaves out functions that it could not judge."""


@dataclass(frozen=True)
class Recommendation:
    """What Compute Optimizer says of a function's $LATEST version (API reference: LambdaFunctionRecommendation)."""

    finding: str  # optimized, NotOptimized or Unavailable
    reasons: tuple[str, ...]  # MemoryOverprovisioned, MemoryUnderprovisioned, InsufficientData, Inconclusive
    memory_mb: int | None  # the size ranked first; None if it proposes none
    monthly_savings: float | None
    """US dollars a month at that size, before discounts; None unless the account has opted in to estimates."""
    lookback_days: float | None
    performance_risk: str | None = None  # of today's size: VeryLow, Low, Medium or High
    projected_ms: Mapping[str, float] = field(default_factory=dict)
    """Duration at the size ranked first: LowerBound, Expected and UpperBound, in milliseconds."""

    def contradicts(self, today_mb: int, proposed_mb: int) -> bool:
        """Return whether it says that the memory should not move from ``today_mb`` towards ``proposed_mb``."""
        if self.finding == "Unavailable":
            return False
        wanted = today_mb if self.memory_mb is None else self.memory_mb
        return (wanted - today_mb) * (proposed_mb - today_mb) <= 0


def read_recommendations(
    client: Client, region: str, arns: Sequence[str], gaps: list[Gap]
) -> Mapping[str, Recommendation]:
    """Return the recommendations by unqualified ARN; if AWS does not answer, one Gap says why."""
    found: dict[str, Recommendation] = {}
    if not arns:
        return found
    try:
        optimizer = client("compute-optimizer", region)
        if optimizer.get_enrollment_status().get("status") == "Active":
            for start in range(0, len(arns), ARNS_A_CALL):
                found |= _recommendations(optimizer, arns[start : start + ARNS_A_CALL])
            return found
        reason = "not enrolled"
    except ClientError as error:
        opted_in = error.response.get("Error", {}).get("Code") != "OptInRequiredException"
        reason = f"{error.operation_name}: {explain(error)}" if opted_in else "not enrolled"
    except (BotoCoreError, ResponseParserError) as error:
        reason = f"not available here: {explain(error)}"
    gaps.append(Gap(f"Compute Optimizer in {region}", reason))
    return found


def _recommendations(client: Any, arns: Sequence[str]) -> dict[str, Recommendation]:
    pages = client.get_paginator("get_lambda_function_recommendations").paginate(functionArns=list(arns), filters=_ALL)
    return {
        # arn:aws:lambda:region:account:function:name:version
        ":".join(item["functionArn"].split(":")[:7]): _recommendation(item)
        for page in pages
        for item in page.get("lambdaFunctionRecommendations", [])
        if item.get("functionVersion", "$LATEST") == "$LATEST"
    }


def _recommendation(item: Mapping[str, Any]) -> Recommendation:
    options = item.get("memorySizeRecommendationOptions", [])
    best: Mapping[str, Any] = min(options, key=lambda option: option["rank"], default={})
    savings = best.get("savingsOpportunity", {}).get("estimatedMonthlySavings", {})
    return Recommendation(
        finding=item["finding"],
        reasons=tuple(item.get("findingReasonCodes", [])),
        memory_mb=best.get("memorySize"),
        monthly_savings=savings["value"] if savings.get("currency") == "USD" else None,
        lookback_days=item.get("lookbackPeriodInDays"),
        performance_risk=item.get("currentPerformanceRisk"),
        projected_ms={
            metric["statistic"]: metric["value"]
            for metric in best.get("projectedUtilizationMetrics", [])
            if metric.get("name") == "Duration"
        },
    )

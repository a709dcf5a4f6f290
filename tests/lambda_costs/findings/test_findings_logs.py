"""Logs: $0.03 for a GB-month of storage, $0.50 for a GB of ingestion, in us-east-1; a GB is 2**30 bytes."""

from typing import Any

import pytest

from lambda_costs.findings import log_ingestion, log_retention
from lambda_costs.model.finding import NOTHING, Measure
from tests.lambda_costs.cases import GIB, abstained, amounts, claimed, daily, found, function, log_group, reports, usage


@pytest.mark.parametrize(
    ("ingested", "low", "expected", "high"),
    [
        # Of 10 GB 2 are recent and 8 old. Low: they are billed at 15 %. High: the recent 2 GB take 0.3 of the 10.
        (daily(2 * GIB), 8 * 0.15 * 0.03, 8 * 0.03, 9.7 * 0.03),
        # A young group: 1 GB in 10 days is 3 GB in 30.
        (daily(GIB, 10), 7 * 0.15 * 0.03, 7 * 0.03, 9.55 * 0.03),
        # Without a datapoint, nothing tells how old they are.
        (None, 0, 0.15, 0.3),
    ],
)
def test_log_retention_claims_only_the_storage_of_what_would_expire(
    ingested: Any, low: float, expected: float, high: float
) -> None:
    result = claimed(log_retention.find, used=usage(log_group=log_group(10 * GIB), ingested_bytes=ingested))
    assert amounts(result.savings) == pytest.approx((low, expected, high))
    assert result.scaling is None
    assert result.proposed == {"retention_days": 30}
    assert "--log-group-name=/aws/lambda/orders --retention-in-days 30" in result.how_to
    assert "compliance" in result.risk
    assert (result.evidence["Ingested"] == Measure("no datapoint")) is (ingested is None)


@pytest.mark.parametrize(
    ("group", "ingested_gb"),
    [
        (None, None),
        (log_group(10 * GIB, retention_days=30), None),
        (log_group(10 * GIB, functions=("another", "orders")), None),  # told once, at its first function
        (log_group(2 * GIB), 2),  # nothing is old
        (log_group(2 * GIB), 5),
        (log_group(0), None),
    ],
)
def test_log_retention_says_nothing_where_nothing_would_be_saved(group: Any, ingested_gb: int | None) -> None:
    ingested = daily(ingested_gb * GIB) if ingested_gb else None
    assert found(log_retention.find, used=usage(log_group=group, ingested_bytes=ingested)) is None


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"log_group": log_group(None)}, "log retention: the size of its log group is not known"),
        ({"log_group": log_group(GIB), "unread": "access denied"}, "log retention: access denied"),
    ],
)
def test_log_retention_abstains_without_a_size_or_the_ingestion(given: dict[str, Any], why: str) -> None:
    assert abstained(log_retention.find, used=usage(**given)) == why


@pytest.mark.parametrize(
    ("ingested", "memory_mb", "functions", "is_found"),
    [
        (daily(17 * GIB), 1024, ("orders",), True),  # $8.50 > $8.33335
        (daily(16 * GIB), 1024, ("orders",), False),  # $8.00
        (daily(8.5 * GIB, 15), 1024, ("orders",), False),  # of all invocations, whatever days it is from: $4.25
        (daily(2 * GIB), 64, ("orders",), True),  # $1.00, more than $0.52; but
        (daily(1.9 * GIB), 64, ("orders",), False),  # $0.95 is nothing to talk about
        (daily(17 * GIB), 1024, ("orders", "returns"), False),  # whose logs these are is not known
        (None, 1024, ("orders",), False),
    ],
)
def test_log_ingestion_is_an_exposure_where_it_costs_more_than_compute(
    ingested: Any, memory_mb: int, functions: tuple[str, ...], is_found: bool
) -> None:
    used = usage(log_group=log_group(GIB, functions=functions), ingested_bytes=ingested, reports=reports(memory_mb))
    result = found(log_ingestion.find, function(memory_mb=memory_mb), used)
    assert (result is not None) is is_found


def test_log_ingestion_claims_no_money() -> None:
    result = claimed(log_ingestion.find, used=usage(log_group=log_group(GIB), ingested_bytes=daily(20 * GIB)))
    assert (result.savings, result.proposed) == (NOTHING, {})
    assert "20.000 GB × $0.5 = $10.00 > $8.33 of compute" in result.formula
    # 20 × 2**30 / 1,000,000
    assert result.evidence["An invocation logs"] == Measure(21475, "bytes")

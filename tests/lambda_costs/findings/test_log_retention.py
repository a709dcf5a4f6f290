"""Logs: $0.03 for a GB-month of storage in us-east-1; a GB is 2**30 bytes."""

from typing import Any

import pytest

from lambda_costs.findings.log_retention import find
from lambda_costs.model.finding import Measurement
from tests.lambda_costs.cases import EVIL, GIB, Example, abstained, amounts, claimed, daily, found, log_group, usage

HOSTILE_GROUP = log_group(GIB, name=f"/aws/lambda/{EVIL}", functions=(EVIL,))

EXAMPLE = Example({}, usage(log_group=HOSTILE_GROUP))


@pytest.mark.parametrize(
    ("ingested", "low", "expected", "high"),
    [
        # Of 10 GB 2 are recent and 8 old. Low: they are billed at 15 %. High: the recent 2 GB take 0.3 of the 10.
        (daily(2 * GIB), 8 * 0.15 * 0.03, 8 * 0.03, 9.7 * 0.03),
        # A young group: 1 GB in 10 days is 3 GB in 30.
        (daily(GIB, 10), 7 * 0.15 * 0.03, 7 * 0.03, 9.55 * 0.03),
        # Without a datapoint, their age is not known.
        (None, 0, 0.15, 0.3),
    ],
)
def test_the_claim_is_the_storage_of_what_would_expire(ingested: Any, low: float, expected: float, high: float) -> None:
    result = claimed(find, used=usage(log_group=log_group(10 * GIB), ingested_bytes=ingested))
    assert amounts(result.savings) == pytest.approx((low, expected, high))
    assert result.scaling is None
    assert result.proposed == {"retention_days": 30}
    assert "--log-group-name=/aws/lambda/orders --retention-in-days 30" in result.how_to
    assert "compliance" in result.risk
    assert (result.evidence["Ingested"] == Measurement("no datapoint")) is (ingested is None)


@pytest.mark.parametrize(
    ("group", "ingested_gb"),
    [
        (None, None),
        (log_group(10 * GIB, retention_days=30), None),
        (log_group(10 * GIB, functions=("another", "orders")), None),  # found once, for its first function
        (log_group(2 * GIB), 2),  # nothing is old
        (log_group(2 * GIB), 5),
        (log_group(0), None),
    ],
)
def test_nothing_is_found_where_nothing_would_be_saved(group: Any, ingested_gb: int | None) -> None:
    ingested = daily(ingested_gb * GIB) if ingested_gb else None
    assert found(find, used=usage(log_group=group, ingested_bytes=ingested)) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"log_group": log_group(None)}, "log retention: the size of its log group is not known"),
        ({"log_group": log_group(GIB), "unread": "access denied"}, "log retention: access denied"),
    ],
)
def test_the_size_and_the_ingestion_must_be_known(changes: dict[str, Any], reason: str) -> None:
    assert abstained(find, used=usage(**changes)) == reason

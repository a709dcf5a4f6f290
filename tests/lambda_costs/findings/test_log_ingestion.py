"""Logs: $0.50 for a GB of ingestion in us-east-1; a GB is 2**30 bytes."""

from typing import Any

import pytest

from lambda_costs.findings.log_ingestion import find
from lambda_costs.model.finding import NO_SAVINGS, Measurement
from tests.lambda_costs.cases import GIB, Example, claimed, daily, found, function, log_group, reports, usage
from tests.lambda_costs.findings.test_log_retention import HOSTILE_GROUP

EXAMPLE = Example({}, usage(log_group=HOSTILE_GROUP, ingested_bytes=daily(99 * GIB)), needs="compute")


@pytest.mark.parametrize(
    ("ingested", "memory_mb", "functions", "is_found"),
    [
        (daily(17 * GIB), 1024, ("orders",), True),  # $8.50 > $8.33335
        (daily(16 * GIB), 1024, ("orders",), False),  # $8.00
        (daily(8.5 * GIB, 15), 1024, ("orders",), False),  # of all invocations, whatever days it is from: $4.25
        (daily(2 * GIB), 64, ("orders",), True),  # $1.00, more than $0.52
        (daily(1.9 * GIB), 64, ("orders",), False),  # $0.95 is too little to report
        (daily(17 * GIB), 1024, ("orders", "returns"), False),  # whose logs these are is not known
        (None, 1024, ("orders",), False),
    ],
)
def test_ingestion_is_found_where_it_costs_more_than_compute(
    ingested: Any, memory_mb: int, functions: tuple[str, ...], is_found: bool
) -> None:
    used = usage(log_group=log_group(GIB, functions=functions), ingested_bytes=ingested, reports=reports(memory_mb))
    assert bool(found(find, function(memory_mb=memory_mb), used)) is is_found


def test_ingestion_claims_no_money() -> None:
    result = claimed(find, used=usage(log_group=log_group(GIB), ingested_bytes=daily(20 * GIB)))
    assert (result.savings, result.proposed) == (NO_SAVINGS, {})
    assert "20.000 GB × $0.5 = $10.00 > $8.33 of compute" in result.formula
    # 20 × 2**30 / 1,000,000
    assert result.evidence["An invocation logs"] == Measurement(21475, "bytes")

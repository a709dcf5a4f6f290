"""Logs: $0.50 for a GB of ingestion in us-east-1, $0.25 of Infrequent Access; a GB is 2**30 bytes."""

from dataclasses import replace
from typing import Any

import pytest

from lambda_costs.collect.gaps import Gap
from lambda_costs.findings.log_ingestion import find
from lambda_costs.model.finding import NO_SAVINGS, Measurement
from tests.lambda_costs.cases import GIB, Example, claimed, context, daily, found, function, log_group, reports, usage
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


@pytest.mark.parametrize(
    ("gigabytes", "infrequent", "is_found"),
    [
        (100, True, False),  # $25 < $30.00
        (100, False, True),  # $50
        (121, True, True),  # $30.25
    ],
)
def test_ingestion_into_infrequent_access_costs_half(gigabytes: int, infrequent: bool, is_found: bool) -> None:
    # 4.5 million invocations of half a second: 2,250,000 GB-s × $0.0000133334 = $30.00 on arm64.
    used = usage(
        invocations=daily(4.5e6),
        duration_ms=daily(4.5e6 * 500),
        log_group=log_group(GIB, infrequent=infrequent),
        ingested_bytes=daily(gigabytes * GIB),
    )
    assert bool(found(find, function(architecture="arm64"), used)) is is_found


def test_an_unknown_price_of_infrequent_access_is_a_gap() -> None:
    here = context(used=usage(log_group=log_group(GIB, infrequent=True), ingested_bytes=daily(99 * GIB)))
    [gap] = find(replace(here, known_rates=replace(here.rates, log_ingestion_infrequent=None)))
    assert isinstance(gap, Gap)
    assert "Infrequent Access is not known" in gap.reason


def test_ingestion_claims_no_money() -> None:
    result = claimed(find, used=usage(log_group=log_group(GIB), ingested_bytes=daily(20 * GIB)))
    assert (result.savings, result.proposed) == (NO_SAVINGS, {})
    assert "20.000 GB × $0.5 = $10.00 > $8.33 of compute" in result.formula
    # 20 × 2**30 / 1,000,000
    assert result.evidence["An invocation logs"] == Measurement(21475, "bytes")

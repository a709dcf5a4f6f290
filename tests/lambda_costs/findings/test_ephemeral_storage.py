"""/tmp costs (MB − 512)/1024 × 500,000 s × $0.0000000309."""

from typing import Any

import pytest

from lambda_costs.findings.ephemeral_storage import find
from lambda_costs.model.finding import Basis
from tests.lambda_costs.cases import MORE, Example, amounts, daily, found, function, provisioned, usage

EXAMPLE = Example({"ephemeral_mb": 1024}, needs="compute")


@pytest.mark.parametrize(
    ("ephemeral_mb", "cost"),
    [
        (512, None),
        (1024, 0.007725),  # 0.5 GB
        (10_240, 0.146775),  # 9.5 GB
    ],
)
@pytest.mark.parametrize("used", [usage(), usage(provisioned=provisioned(daily(0)))])  # billed on PC, too
def test_the_excess_of_tmp_over_512_mb_is_billed(ephemeral_mb: int, cost: float | None, used: Any) -> None:
    result = found(find, function(ephemeral_mb=ephemeral_mb), used)
    assert bool(result) is bool(cost)
    if result and cost:
        # How much of it is used is not known.
        assert amounts(result.savings) == pytest.approx((0, cost / 2, cost * MORE))
        assert result.basis is Basis.TO_TEST
        assert result.proposed == {"ephemeral_mb": 512}
        assert result.scaling is None

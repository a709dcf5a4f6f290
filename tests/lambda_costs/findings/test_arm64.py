"""arm64 saves G·(p_x86 − r·p_arm), from r = 1.25 to r = 0.8; prices of us-east-1, AWS Price List of 2025-10."""

from typing import Any

import pytest

from lambda_costs.findings.arm64 import find
from lambda_costs.model.finding import Measurement
from tests.lambda_costs.cases import COST, Example, abstained, amounts, claimed, found, function

EXAMPLE = Example(needs="billed")


def test_arm64_saves_a_fifth_and_breaks_even_at_a_quarter_slower() -> None:
    result = claimed(find)
    # 500,000 GB-s × ($0.0000166667 − 1.25 × $0.0000133334 = −$0.00000000005), × $0.0000033333, × $0.00000599998.
    assert amounts(result.savings) == pytest.approx((-0.000025, 1.66665, 2.99999))
    assert result.scaling
    assert (result.scaling.cost, result.scaling.gb_seconds) == pytest.approx((COST, 500_000))
    assert result.scaling.repriced == pytest.approx(0.0000133334 / 0.0000166667)
    assert result.evidence["Billed"] == Measurement(500_000, "GB-seconds per 30 days")
    assert "500,000 GB-s × ($0.0000166667 − r × $0.0000133334)" in result.formula
    assert "$1.67 at r = 1, $3.00 at r = 0.8. It breaks even at r = 1.25" in result.formula
    assert result.proposed == {"architecture": "arm64"}
    assert "--architectures arm64" in result.how_to


@pytest.mark.parametrize(
    "changes", [{"architecture": "arm64"}, {"runtime": "java8"}, {"runtime": "go1.x"}, {"runtime": "python3.7"}]
)
def test_nothing_is_found_on_arm64_or_for_runtimes_without_it(changes: dict[str, Any]) -> None:
    assert found(find, function(**changes)) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"package_type": "Image", "runtime": None}, "container image"),
        ({"layers": 1}, "layers"),
        ({"runtime": "cobol85"}, "runtime cobol85 is not in the table"),
    ],
)
def test_unknown_code_may_not_run_on_arm64(changes: dict[str, Any], reason: str) -> None:
    assert reason in abstained(find, function(**changes))

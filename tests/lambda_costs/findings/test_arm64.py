"""arm64 saves G·(p_x86 − r·p_arm), from r = 1.4 to r = 0.75; prices of us-east-1, AWS Price List of 2025-10."""

from typing import Any

import pytest

from lambda_costs.findings.arm64 import find
from lambda_costs.model.finding import Basis, Measurement
from tests.lambda_costs.cases import COST, MORE, Example, abstained, amounts, claimed, found, function

EXAMPLE = Example(needs="billed")


def test_arm64_saves_a_fifth_and_breaks_even_at_a_quarter_slower() -> None:
    result = claimed(find)
    # 500,000 GB-s × ($0.0000166667 − 1.4 × $0.0000133334 = −$0.00000200006), × $0.0000033333, × $0.00000666665. More
    # invocations make both ends larger.
    assert amounts(result.savings) == pytest.approx((-1.00003 * MORE, 1.66665, 3.333325 * MORE))
    assert result.basis is Basis.TO_TEST
    assert result.scaling
    assert (result.scaling.cost, result.scaling.gb_seconds) == pytest.approx((COST, 500_000))
    assert result.scaling.repriced == pytest.approx(0.0000133334 / 0.0000166667)
    assert result.evidence["Billed"] == Measurement(500_000, "GB-seconds per 30 days")
    assert "500,000 GB-s × ($0.0000166667 − r × $0.0000133334)" in result.formula
    assert "$1.67 at r = 1, $3.33 at r = 0.75 and −$1.00 at r = 1.4. It breaks even at r = 1.25" in result.formula
    assert result.proposed == {"architecture": "arm64"}
    assert "--architectures arm64" in result.how_to
    assert (result.test["lambdaARN"], result.test["powerValues"]) == (result.arn, [1024])


@pytest.mark.parametrize("insights", [True, False])
def test_arm64_needs_another_layer_of_lambda_insights(insights: bool) -> None:
    result = claimed(find, function(insights=insights))
    assert ("LambdaInsightsExtension-Arm64" in result.how_to) is insights
    assert ("LambdaInsightsExtension-Arm64" in result.as_code) is insights
    assert ("fails every invocation" in result.risk) is insights


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "arm64"},
        *[{"runtime": name} for name in ("java8", "go1.x", "python3.7", "nodejs", "nodejs4.3-edge", "dotnetcore2.0")],
    ],
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

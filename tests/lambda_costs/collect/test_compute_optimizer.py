from collections.abc import Callable
from typing import Any

import pytest
from botocore.stub import Stubber

from lambda_costs.collect.compute_optimizer import ARNS_A_CALL, Recommendation, read_recommendations
from lambda_costs.collect.gaps import Gap
from tests.lambda_costs.conftest import Stubbed
from vigil.local.stack import LocalStack

REGION = "us-east-1"
ORDERS = f"arn:aws:lambda:{REGION}:000000000000:function:orders"
SUBJECT = f"Compute Optimizer in {REGION}"
EVERY_FINDING = [{"name": "Finding", "values": ["Optimized", "NotOptimized", "Unavailable"]}]


class Optimizer:
    """A client with prepared answers."""

    def __init__(self, client: Any, stub: Stubber) -> None:
        self.client, self.stub = client, stub

    def is_enrolled(self, status: str = "Active") -> None:
        self.stub.add_response("get_enrollment_status", {"status": status}, {})

    def recommends(self, arns: list[str], *items: dict[str, Any], after: str = "", more: str = "") -> None:
        answer = {"lambdaFunctionRecommendations": list(items), **({"nextToken": more} if more else {})}
        asked = {"functionArns": arns, "filters": EVERY_FINDING, **({"nextToken": after} if after else {})}
        self.stub.add_response("get_lambda_function_recommendations", answer, asked)

    def read(self, *arns: str) -> tuple[Any, list[Gap]]:
        gaps: list[Gap] = []
        return read_recommendations(lambda *of: self.client, REGION, arns, gaps), gaps


@pytest.fixture
def optimizer(stubbed: Stubbed) -> Optimizer:
    return Optimizer(*stubbed("compute-optimizer"))


def item(arn: str = ORDERS, version: str = "$LATEST", **given: Any) -> dict[str, Any]:
    of = {"functionArn": f"{arn}:{version}", "functionVersion": version, "currentMemorySize": 1024}
    return {**of, "lookbackPeriodInDays": 14.0, "finding": "Optimized", **given}


def option(rank: int, memory_mb: int, value: float, currency: str = "USD") -> dict[str, Any]:
    savings = {"savingsOpportunityPercentage": 9.0, "estimatedMonthlySavings": {"currency": currency, "value": value}}
    return {"rank": rank, "memorySize": memory_mb, "savingsOpportunity": savings}


def test_the_option_ranked_first_is_the_recommendation(optimizer: Optimizer) -> None:
    optimizer.is_enrolled()
    projected = [
        {"name": "Duration", "statistic": name, "value": value}
        for name, value in (("LowerBound", 480.0), ("Expected", 500.0), ("UpperBound", 530.0))
    ]
    first = {**option(1, 512, 3.25), "projectedUtilizationMetrics": projected}
    options = [option(2, 768, 1.5), first, option(3, 900, 0.5)]
    reasons = {"findingReasonCodes": ["MemoryOverprovisioned"], "currentPerformanceRisk": "Low"}
    optimizer.recommends([ORDERS], item(finding="NotOptimized", **reasons, memorySizeRecommendationOptions=options))
    ends = {"LowerBound": 480.0, "Expected": 500.0, "UpperBound": 530.0}
    expected = Recommendation("NotOptimized", ("MemoryOverprovisioned",), 512, 3.25, 14.0, "Low", ends)
    assert optimizer.read(ORDERS) == ({ORDERS: expected}, [])


@pytest.mark.parametrize(
    ("given", "finding", "reasons", "memory_mb", "savings"),
    [
        ({"memorySizeRecommendationOptions": []}, "Optimized", (), None, None),
        ({"finding": "Unavailable", "findingReasonCodes": ["InsufficientData"]},
         "Unavailable", ("InsufficientData",), None, None),
        ({"memorySizeRecommendationOptions": [{"rank": 1, "memorySize": 512}]}, "Optimized", (), 512, None),
        ({"memorySizeRecommendationOptions": [option(1, 512, 9.0, "CNY")]}, "Optimized", (), 512, None),
        ({"memorySizeRecommendationOptions": [option(1, 512, 0.0)]}, "Optimized", (), 512, 0.0),
    ],
)  # fmt: skip
def test_missing_fields_of_a_recommendation_are_none(
    optimizer: Optimizer, given: dict[str, Any], finding: str, reasons: Any, memory_mb: Any, savings: Any
) -> None:
    optimizer.is_enrolled()
    optimizer.recommends([ORDERS], item(**given))
    assert optimizer.read(ORDERS) == ({ORDERS: Recommendation(finding, reasons, memory_mb, savings, 14.0)}, [])


def test_recommendations_for_published_versions_are_ignored(optimizer: Optimizer) -> None:
    optimizer.is_enrolled()
    optimizer.recommends([ORDERS], item(), item(version="7", finding="NotOptimized"))
    found, _ = optimizer.read(ORDERS)
    assert found[ORDERS].finding == "Optimized"


def test_many_functions_are_read_in_batches_to_the_last_page(optimizer: Optimizer) -> None:
    arns = [f"{ORDERS}-{number}" for number in range(ARNS_A_CALL + 1)]
    optimizer.is_enrolled()
    optimizer.recommends(arns[:-1], *map(item, arns[:60]), more="second")
    optimizer.recommends(arns[:-1], *map(item, arns[60:-1]), after="second")
    optimizer.recommends(arns[-1:], item(arns[-1]))
    found, gaps = optimizer.read(*arns)
    assert (list(found), gaps) == (arns, [])


@pytest.mark.parametrize("status", ["Inactive", "Pending", "Failed"])
def test_an_account_that_is_not_enrolled_has_no_recommendations(optimizer: Optimizer, status: str) -> None:
    optimizer.is_enrolled(status)
    assert optimizer.read(ORDERS) == ({}, [Gap(SUBJECT, "not enrolled")])


@pytest.mark.parametrize(
    ("code", "reason"),
    [("AccessDeniedException", "GetEnrollmentStatus: access denied"), ("400", "GetEnrollmentStatus: error 400")],
)
def test_a_refused_enrollment_status_is_a_gap(optimizer: Optimizer, code: str, reason: str) -> None:
    optimizer.stub.add_client_error("get_enrollment_status", code)
    assert optimizer.read(ORDERS) == ({}, [Gap(SUBJECT, reason)])


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("AccessDeniedException", "GetLambdaFunctionRecommendations: access denied"),
        ("ThrottlingException", "GetLambdaFunctionRecommendations: throttled"),
        ("OptInRequiredException", "not enrolled"),
    ],
)
def test_recommendations_read_before_a_refusal_are_kept(optimizer: Optimizer, code: str, reason: str) -> None:
    arns = [f"{ORDERS}-{number}" for number in range(ARNS_A_CALL + 1)]
    optimizer.is_enrolled()
    optimizer.recommends(arns[:-1], item(arns[0]))
    optimizer.stub.add_client_error("get_lambda_function_recommendations", code)
    found, gaps = optimizer.read(*arns)
    assert (list(found), gaps) == (arns[:1], [Gap(SUBJECT, reason)])


def test_without_functions_there_is_no_call(optimizer: Optimizer) -> None:
    assert optimizer.read() == ({}, [])


def test_an_unreachable_service_is_a_gap(nowhere: Callable[[str, str], Any]) -> None:
    gaps: list[Gap] = []
    assert read_recommendations(nowhere, REGION, [ORDERS], gaps) == {}
    assert gaps == [Gap(SUBJECT, "not available here: cannot be reached")]


def test_the_embedded_aws_has_no_compute_optimizer(embedded: LocalStack) -> None:
    gaps: list[Gap] = []
    assert read_recommendations(lambda service, region: embedded.client(service), REGION, [ORDERS], gaps) == {}
    assert gaps == [Gap(SUBJECT, "GetEnrollmentStatus: error 400")]


@pytest.mark.parametrize(
    ("finding", "wanted", "proposed", "contradicts"),
    [
        ("NotOptimized", 512, 768, False),  # less memory as well
        ("NotOptimized", 512, 2048, True),
        ("NotOptimized", 2048, 512, True),
        ("NotOptimized", 2048, 1536, False),
        ("NotOptimized", None, 512, True),  # it proposes no other size
        ("Optimized", None, 512, True),
        ("Optimized", 1024, 512, True),
        ("Unavailable", None, 512, False),  # it could not judge
    ],
)
def test_a_recommendation_contradicts_a_move_the_other_way(
    finding: str, wanted: int | None, proposed: int, contradicts: bool
) -> None:
    assert Recommendation(finding, (), wanted, None, 14.0).contradicts(1024, proposed) is contradicts

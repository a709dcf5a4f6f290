from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from lambda_costs.collect.compute_optimizer import ARNS_A_CALL, Recommendation, read_recommendations
from lambda_costs.collect.gaps import Gap
from vigil.local.stack import LocalStack

REGION = "eu-west-1"
ORDERS = f"arn:aws:lambda:{REGION}:000000000000:function:orders"
WHAT = f"Compute Optimizer in {REGION}"
EVERY_FINDING = [{"name": "Finding", "values": ["Optimized", "NotOptimized", "Unavailable"]}]


class Optimizer:
    """A client whose answers are told beforehand, and held against botocore's model of the service."""

    def __init__(self) -> None:
        keys = {"aws_access_key_id": "nobody", "aws_secret_access_key": "nothing"}
        self._client = boto3.client("compute-optimizer", REGION, **keys)
        self.stub = Stubber(self._client)

    def client(self, service: str, region: str) -> Any:
        assert (service, region) == ("compute-optimizer", REGION)
        return self._client

    def is_enrolled(self, status: str = "Active") -> None:
        self.stub.add_response("get_enrollment_status", {"status": status}, {})

    def recommends(
        self, arns: list[str], *items: dict[str, Any], after: str | None = None, more: str | None = None
    ) -> None:
        answer = {"lambdaFunctionRecommendations": list(items), **({"nextToken": more} if more else {})}
        asked = {"functionArns": arns, "filters": EVERY_FINDING, **({"nextToken": after} if after else {})}
        self.stub.add_response("get_lambda_function_recommendations", answer, asked)

    def read(self, *arns: str) -> tuple[Any, list[Gap]]:
        gaps: list[Gap] = []
        return read_recommendations(self.client, REGION, arns, gaps), gaps


@pytest.fixture
def optimizer() -> Iterator[Optimizer]:
    optimizer = Optimizer()
    with optimizer.stub:
        yield optimizer
    optimizer.stub.assert_no_pending_responses()


def item(arn: str = ORDERS, version: str = "$LATEST", **given: Any) -> dict[str, Any]:
    return {
        "functionArn": f"{arn}:{version}",
        "functionVersion": version,
        "currentMemorySize": 1024,
        "lookbackPeriodInDays": 14.0,
        "finding": "Optimized",
        **given,
    }


def option(rank: int, memory_mb: int, value: float, currency: str = "USD") -> dict[str, Any]:
    savings = {"savingsOpportunityPercentage": 9.0, "estimatedMonthlySavings": {"currency": currency, "value": value}}
    return {"rank": rank, "memorySize": memory_mb, "savingsOpportunity": savings}


def test_the_option_that_is_ranked_first_is_what_it_recommends(optimizer: Optimizer) -> None:
    optimizer.is_enrolled()
    options = [option(2, 768, 1.5), option(1, 512, 3.25), option(3, 900, 0.5)]
    found = item(
        finding="NotOptimized",
        findingReasonCodes=["MemoryOverprovisioned"],
        memorySizeRecommendationOptions=options,
    )
    optimizer.recommends([ORDERS], found)
    expected = Recommendation("NotOptimized", ("MemoryOverprovisioned",), 512, 3.25, 14.0)
    assert optimizer.read(ORDERS) == ({ORDERS: expected}, [])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"memorySizeRecommendationOptions": []}, Recommendation("Optimized", (), None, None, 14.0)),
        (
            {"finding": "Unavailable", "findingReasonCodes": ["InsufficientData"]},
            Recommendation("Unavailable", ("InsufficientData",), None, None, 14.0),
        ),
        (
            {"memorySizeRecommendationOptions": [{"rank": 1, "memorySize": 512}]},
            Recommendation("Optimized", (), 512, None, 14.0),
        ),
        (
            {"memorySizeRecommendationOptions": [option(1, 512, 9.0, "CNY")]},
            Recommendation("Optimized", (), 512, None, 14.0),
        ),
        (
            {"memorySizeRecommendationOptions": [option(1, 512, 0.0)]},
            Recommendation("Optimized", (), 512, 0.0, 14.0),
        ),
    ],
)  # fmt: skip
def test_what_it_does_not_say_is_none(optimizer: Optimizer, given: dict[str, Any], expected: Recommendation) -> None:
    optimizer.is_enrolled()
    optimizer.recommends([ORDERS], item(**given))
    assert optimizer.read(ORDERS) == ({ORDERS: expected}, [])


def test_what_is_said_of_a_published_version_is_not_said_of_the_function(optimizer: Optimizer) -> None:
    optimizer.is_enrolled()
    optimizer.recommends([ORDERS], item(), item(version="7", finding="NotOptimized"))
    found, _ = optimizer.read(ORDERS)
    assert found[ORDERS].finding == "Optimized"


def test_many_functions_are_asked_about_in_parts_and_to_the_last_page(optimizer: Optimizer) -> None:
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
    assert optimizer.read(ORDERS) == ({}, [Gap(WHAT, "not enrolled")])


@pytest.mark.parametrize(
    ("code", "why"),
    [("AccessDeniedException", "GetEnrollmentStatus: access denied"), ("400", "GetEnrollmentStatus: error 400")],
)
def test_who_may_not_ask_whether_it_is_enrolled_is_told_so(optimizer: Optimizer, code: str, why: str) -> None:
    optimizer.stub.add_client_error("get_enrollment_status", code)
    assert optimizer.read(ORDERS) == ({}, [Gap(WHAT, why)])


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("AccessDeniedException", "GetLambdaFunctionRecommendations: access denied"),
        ("ThrottlingException", "GetLambdaFunctionRecommendations: throttled"),
        ("OptInRequiredException", "not enrolled"),
    ],
)
def test_what_was_said_before_a_refusal_is_kept(optimizer: Optimizer, code: str, why: str) -> None:
    arns = [f"{ORDERS}-{number}" for number in range(ARNS_A_CALL + 1)]
    optimizer.is_enrolled()
    optimizer.recommends(arns[:-1], item(arns[0]))
    optimizer.stub.add_client_error("get_lambda_function_recommendations", code)
    found, gaps = optimizer.read(*arns)
    assert (list(found), gaps) == (arns[:1], [Gap(WHAT, why)])


def test_of_no_functions_nothing_is_asked(optimizer: Optimizer) -> None:
    assert optimizer.read() == ({}, [])


def test_where_nobody_answers_it_is_not_available(nowhere: Callable[[str, str], Any]) -> None:
    gaps: list[Gap] = []
    assert read_recommendations(nowhere, REGION, [ORDERS], gaps) == {}
    assert gaps == [Gap(WHAT, "not available here: cannot be reached")]


def test_the_embedded_aws_has_no_compute_optimizer(embedded: LocalStack) -> None:
    gaps: list[Gap] = []
    assert read_recommendations(lambda service, region: embedded.client(service), REGION, [ORDERS], gaps) == {}
    assert gaps == [Gap(WHAT, "GetEnrollmentStatus: error 400")]

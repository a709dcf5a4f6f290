"""Accounts of many pages: every function is looked at once, whatever happens between two pages."""

from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from lambda_costs.analysis import Analysis
from tests.lambda_costs.adversarial.account import ROLE, Account
from tests.lambda_costs.adversarial.conftest import NOW
from tests.lambda_costs.adversarial.faults import Clients, Once, answer, failing

REGION = "eu-central-1"
"""A region of its own; that it has no prices does not matter here."""
MANY = 120
HUGE = 1000
PAGE = 50


def name(index: int) -> str:
    return f"many-{index:04}"


def arn(index: int) -> str:
    return f"arn:aws:lambda:{REGION}:000000000000:function:{name(index)}"


@pytest.fixture(scope="module")
def many(clients: Clients) -> None:
    """Functions with a log group, an invocation and an event source mapping each."""
    awslambda, logs = clients("lambda", REGION), clients("logs", REGION)
    code = Account(clients, REGION, NOW).code
    for index in range(MANY):
        awslambda.create_function(
            FunctionName=name(index),
            Role=f"arn:aws:iam::000000000000:role/{ROLE}",
            Runtime="python3.12",
            Handler="index.handler",
            Code={"ZipFile": code},
        )
        awslambda.create_event_source_mapping(
            FunctionName=name(index),
            EventSourceArn=f"arn:aws:sqs:{REGION}:000000000000:queue-{index}",
            Enabled=False,
        )
        logs.create_log_group(logGroupName=f"/aws/lambda/{name(index)}")


def looked_at(found: Analysis) -> None:
    """Check that the analysis knows of every function what there is to know."""
    assert [function.name for function in found.functions] == [name(index) for index in range(MANY)]
    for index in range(MANY):
        used = found.usage.by_arn[arn(index)]
        assert used.log_group is not None
        assert used.triggers == (f"arn:aws:sqs:{REGION}:000000000000:queue-{index}",)
        assert used.provisioned == ()
        assert used.unread is None


def test_every_function_of_three_pages_is_looked_at_once(clients: Clients, many: None) -> None:
    asked, pages = Counter[str](), Counter[str]()

    def count(request: AWSPreparedRequest) -> None:
        asked[urlsplit(request.url).path] += 1

    def turn(request: AWSPreparedRequest) -> None:
        pages["functions"] += 1

    with (
        clients.sending("lambda.ListFunctions", turn, REGION),
        clients.sending("lambda.GetFunctionRecursionConfig", count, REGION),
    ):
        looked_at(clients.analyse("many-*", (REGION,)))
    assert pages["functions"] == 3
    assert asked == {f"/2024-08-31/functions/{name(index)}/recursion-config": 1 for index in range(MANY)}


@pytest.fixture
def short_pages(clients: Clients) -> Iterator[None]:
    """Have AWS give pages of 50, as it does for functions and log groups anyhow."""
    client = clients("lambda", REGION)

    def limit(params: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**params, "MaxItems": PAGE}

    event = "provide-client-params.lambda.ListEventSourceMappings"
    client.meta.events.register(event, limit)
    yield
    client.meta.events.unregister(event, limit)


@pytest.fixture
def no_settings(clients: Clients) -> Iterator[None]:
    """Ask nothing of each function: it takes long, and has been shown."""
    with (
        clients.instead("lambda.ListProvisionedConcurrencyConfigs", {"ProvisionedConcurrencyConfigs": []}, REGION),
        clients.instead("lambda.GetFunctionRecursionConfig", {"RecursiveLoop": "Terminate"}, REGION),
        clients.instead("lambda.GetPolicy", {"Policy": "{}"}, REGION),
    ):
        yield


def later_page(request: AWSPreparedRequest) -> bool:
    return "Marker" in parse_qs(urlsplit(request.url).query) or b"nextToken" in (request.body or b"")


@pytest.mark.usefixtures("many", "short_pages", "no_settings")
def test_pages_that_are_throttled_once_are_read_at_last(clients: Clients) -> None:
    throttled = failing("ThrottlingException", 429)
    once = [Once(lambda request: throttled(request) if later_page(request) else None) for _ in range(3)]
    with (
        clients.sending("lambda.ListFunctions", once[0], REGION),
        clients.sending("lambda.ListEventSourceMappings", once[1], REGION),
        clients.sending("logs.DescribeLogGroups", once[2], REGION),
    ):
        looked_at(clients.analyse("many-*", (REGION,)))
    # The first page, and two that were asked for twice.
    assert [sorted(send.seen.values()) for send in once] == [[1, 2, 2]] * 3


@pytest.mark.usefixtures("many", "short_pages", "no_settings")
def test_of_pages_that_never_come_nothing_is_concluded(clients: Clients) -> None:
    throttled = failing("ThrottlingException", 429)

    def send(request: AWSPreparedRequest) -> AWSResponse | None:
        return throttled(request) if later_page(request) else None

    with (
        clients.sending("lambda.ListFunctions", send, REGION),
        clients.sending("lambda.ListEventSourceMappings", send, REGION),
        clients.sending("logs.DescribeLogGroups", send, REGION),
    ):
        found = clients.analyse("many-*", (REGION, "eu-north-1"))
    assert {gap.subject: gap.reason for gap in found.gaps if gap.subject.endswith(f" in {REGION}")}.items() >= {
        (f"functions in {REGION}", "ListFunctions: throttled"),
        (f"event source mappings in {REGION}", "ListEventSourceMappings: throttled"),
        (f"log groups in {REGION}", "DescribeLogGroups: throttled"),
    }
    # Not "no triggers", nor "no log group": nobody knows.
    assert len(found.functions) == PAGE
    assert all(used.triggers is None and used.log_group is None for used in found.usage.by_arn.values())


@pytest.mark.usefixtures("no_settings")
def test_a_thousand_functions_and_one_that_stands_on_two_pages(clients: Clients) -> None:
    pages: list[int] = []

    def list_functions(request: AWSPreparedRequest) -> AWSResponse:
        first = int(parse_qs(urlsplit(request.url).query).get("Marker", ["0"])[0])
        pages.append(first)
        # A function that is new, and stands before the page, moves the last one to the next page.
        shown = range(max(0, first - 1), min(HUGE, first + PAGE))
        functions = [{"FunctionName": name(index), "FunctionArn": arn(index), "MemorySize": 128} for index in shown]
        more = {"NextMarker": str(first + PAGE)} if first + PAGE < HUGE else {}
        return answer(request, {"Functions": functions, **more})

    asked: list[int] = []

    def count(asked_for: dict[str, Any], given: dict[str, Any]) -> None:
        asked.append(len(asked_for["MetricDataQueries"]))

    with (
        clients.sending("lambda.ListFunctions", list_functions, REGION),
        clients.answering("cloudwatch.GetMetricData", count, REGION),
    ):
        found = clients.analyse(None, (REGION,))
    assert pages == list(range(0, HUGE, PAGE))
    assert [function.name for function in found.functions] == [name(index) for index in range(HUGE)]
    assert all(used.unread is None and used.triggers is not None for used in found.usage.by_arn.values())
    # Six metrics each, and once more their invocations in the past.
    assert sum(asked) == found.scan.metrics == 7 * HUGE
    assert max(asked) == 500

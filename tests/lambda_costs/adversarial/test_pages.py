"""Accounts of many pages: every function is read once, whatever happens between two pages."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from lambda_costs.analysis import Analysis
from tests.lambda_costs.adversarial.account import Account
from tests.lambda_costs.adversarial.conftest import NOW
from tests.lambda_costs.adversarial.faults import Clients, Once, Send, answer, failing

REGION = "eu-central-1"
"""A region that no other test uses; its prices do not matter here."""
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
    account = Account(clients, REGION, NOW)
    for index in range(MANY):
        account.create(name(index))
        queue = f"arn:aws:sqs:{REGION}:000000000000:queue-{index}"
        awslambda.create_event_source_mapping(FunctionName=name(index), EventSourceArn=queue, Enabled=False)
        logs.create_log_group(logGroupName=f"/aws/lambda/{name(index)}")


def assert_complete(found: Analysis) -> None:
    """Check that the analysis knows of every function what there is to know."""
    assert [function.name for function in found.functions] == [name(index) for index in range(MANY)]
    for index in range(MANY):
        used = found.usage.by_arn[arn(index)]
        assert used.log_group is not None
        assert used.triggers == (f"arn:aws:sqs:{REGION}:000000000000:queue-{index}",)
        assert used.provisioned == ()
        assert used.unread is None


def test_every_function_of_three_pages_is_read_once(clients: Clients, many: None) -> None:
    asked, pages = Counter[str](), Counter[str]()

    def count(request: AWSPreparedRequest) -> None:
        asked[urlsplit(request.url).path] += 1

    def turn(request: AWSPreparedRequest) -> None:
        pages["functions"] += 1

    with (
        clients.sending("lambda.ListFunctions", turn, REGION),
        clients.sending("lambda.GetFunctionRecursionConfig", count, REGION),
    ):
        assert_complete(clients.analyse("many-*", (REGION,)))
    assert pages["functions"] == 3
    assert asked == {f"/2024-08-31/functions/{name(index)}/recursion-config": 1 for index in range(MANY)}


@pytest.fixture
def short_pages(clients: Clients) -> Iterator[None]:
    """Have AWS return pages of 50, as it does for functions and log groups."""
    client = clients("lambda", REGION)

    def limit(params: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**params, "MaxItems": PAGE}

    event = "provide-client-params.lambda.ListEventSourceMappings"
    client.meta.events.register(event, limit)
    yield
    client.meta.events.unregister(event, limit)


@pytest.fixture
def no_settings(clients: Clients) -> Iterator[None]:
    """Ask nothing about single functions: it takes long, and another test does."""
    with (
        clients.instead("lambda.ListProvisionedConcurrencyConfigs", {"ProvisionedConcurrencyConfigs": []}, REGION),
        clients.instead("lambda.GetFunctionRecursionConfig", {"RecursiveLoop": "Terminate"}, REGION),
        clients.instead("lambda.GetPolicy", {"Policy": "{}"}, REGION),
        clients.instead("lambda.ListAliases", {"Aliases": []}, REGION),
        clients.instead("lambda.ListVersionsByFunction", {"Versions": []}, REGION),
    ):
        yield


@contextmanager
def sending_all(clients: Clients, *sends: Send) -> Iterator[None]:
    """Have each of ``sends`` see the requests of one operation that has pages."""
    operations = ("lambda.ListFunctions", "lambda.ListEventSourceMappings", "logs.DescribeLogGroups")
    with ExitStack() as stack:
        for operation, send in zip(operations, sends, strict=True):
            stack.enter_context(clients.sending(operation, send, REGION))
        yield


def later_page(request: AWSPreparedRequest) -> bool:
    return "Marker" in parse_qs(urlsplit(request.url).query) or b"nextToken" in (request.body or b"")


@pytest.mark.usefixtures("many", "short_pages", "no_settings")
def test_pages_that_are_throttled_once_are_read_again(clients: Clients) -> None:
    throttled = failing("ThrottlingException", 429)
    once = [Once(lambda request: throttled(request) if later_page(request) else None) for _ in range(3)]
    with sending_all(clients, *once):
        assert_complete(clients.analyse("many-*", (REGION,)))
    # The first page, and two that were asked for twice.
    assert [sorted(send.seen.values()) for send in once] == [[1, 2, 2]] * 3


@pytest.mark.usefixtures("many", "short_pages", "no_settings")
def test_missing_pages_lead_to_no_conclusion(clients: Clients) -> None:
    throttled = failing("ThrottlingException", 429)

    def send(request: AWSPreparedRequest) -> AWSResponse | None:
        return throttled(request) if later_page(request) else None

    with sending_all(clients, send, send, send):
        found = clients.analyse("many-*", (REGION, "eu-north-1"))
    assert {gap.subject: gap.reason for gap in found.gaps if gap.subject.endswith(f" in {REGION}")}.items() >= {
        (f"functions in {REGION}", "ListFunctions: throttled"),
        (f"event source mappings in {REGION}", "ListEventSourceMappings: throttled"),
        (f"log groups in {REGION}", "DescribeLogGroups: throttled"),
    }
    # Unknown, and not "no triggers" or "no log group".
    assert len(found.functions) == PAGE
    assert all(used.triggers is None and used.log_group is None for used in found.usage.by_arn.values())


@pytest.mark.usefixtures("no_settings")
def test_a_thousand_functions_and_one_on_two_pages(clients: Clients) -> None:
    pages: list[int] = []

    def list_functions(request: AWSPreparedRequest) -> AWSResponse:
        first = int(parse_qs(urlsplit(request.url).query).get("Marker", ["0"])[0])
        pages.append(first)
        # A new function before the page moves its last function to the next page.
        shown = range(max(0, first - 1), min(HUGE, first + PAGE))
        functions = [{"FunctionName": name(index), "FunctionArn": arn(index), "MemorySize": 128} for index in shown]
        more = {"NextMarker": str(first + PAGE)} if first + PAGE < HUGE else {}
        return answer(request, {"Functions": functions, **more})

    asked: list[int] = []

    def count(asked_for: dict[str, Any], answered: dict[str, Any]) -> None:
        asked.append(len(asked_for["MetricDataQueries"]))

    with (
        clients.sending("lambda.ListFunctions", list_functions, REGION),
        clients.answering("cloudwatch.GetMetricData", count, REGION),
    ):
        found = clients.analyse(None, (REGION,))
    assert pages == list(range(0, HUGE, PAGE))
    assert [function.name for function in found.functions] == [name(index) for index in range(HUGE)]
    assert all(used.unread is None and used.triggers is not None for used in found.usage.by_arn.values())
    # Seven metrics each, and once more their invocations in the past.
    assert sum(asked) == found.scan.metrics == 8 * HUGE
    assert max(asked) == 500

"""AWS fails during an analysis: retries recover, and data that stay missing are reported and never counted as zero."""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest

from lambda_costs import READ_ACTIONS
from lambda_costs.analysis import Analysis, CostAnalysis
from lambda_costs.collect.scan import metrics_cost
from lambda_costs.model.finding import Finding
from lambda_costs.report.artifacts import findings_json
from lambda_costs.report.markdown import render_report
from lambda_costs.request import CostRequest
from tests.lambda_costs.adversarial.account import Account
from tests.lambda_costs.adversarial.faults import Broken, Clients, Once, Send, body_of, failing
from tests.lambda_costs.adversarial.insights import logs_insights
from vigil.errors import AwsUnavailable, InvalidDetail

pytestmark = pytest.mark.takes(30)

REGION = "us-east-1"
SOME = "base-[im]*"
"""base-idle and base-memory."""


@pytest.fixture(scope="module")
def some(clients: Clients, account: Account) -> Analysis:
    """What is found in SOME if nothing goes wrong."""
    return clients.analyse(SOME)


@pytest.fixture
def broken() -> Iterator[dict[str, Broken]]:
    """Servers that reset the connection, or whose answer is cut."""
    servers = {"reset": Broken("reset"), "cut": Broken("cut")}
    yield servers
    for server in servers.values():
        server.close()


def of(analysis: Analysis, name: str) -> list[Finding]:
    return [finding for finding in analysis.findings if finding.function == name]


def reasons(analysis: Analysis, subject: str) -> set[str]:
    return {gap.reason for gap in analysis.gaps if gap.subject == subject}


def test_error_that_recovers_changes_nothing(clients: Clients, some: Analysis, broken: dict[str, Broken]) -> None:
    faults: dict[str, Send] = {
        "lambda.ListFunctions": broken["reset"],
        "lambda.ListProvisionedConcurrencyConfigs": failing("TooManyRequestsException", 429),
        "lambda.GetFunctionRecursionConfig": failing("ServiceException", 500),
        "lambda.ListEventSourceMappings": broken["cut"],
        "lambda.GetPolicy": failing("InternalFailure", 503),
        "lambda.ListAliases": broken["reset"],
        "lambda.ListVersionsByFunction": failing("ServiceException", 500),
        "application-autoscaling.DescribeScalableTargets": failing("ConcurrentUpdateException", 500),
        "cloudwatch.GetMetricData": failing("ThrottlingException"),
        "logs.DescribeLogGroups": failing("ServiceUnavailableException", 503),
        "logs.FilterLogEvents": broken["cut"],
    }
    with ExitStack() as stack:
        once = {operation: Once(send) for operation, send in faults.items()}
        for operation, send in once.items():
            stack.enter_context(clients.sending(operation, send))
        found = clients.analyse(SOME)
    assert all(send.seen.total() >= 2 for send in once.values())
    assert findings_json(found) == findings_json(some)


@pytest.mark.parametrize(
    ("call", "about", "gone"),
    [
        ("cloudwatch.GetMetricData", f"metrics in {REGION}", {"base-memory", "base-idle"}),
        ("logs.FilterLogEvents", "base-memory", {"base-memory"}),
        ("lambda.ListProvisionedConcurrencyConfigs", "base-memory", {"base-memory"}),
        ("lambda.GetFunctionRecursionConfig", "base-memory", set()),
        ("logs.DescribeLogGroups", f"log groups in {REGION}", set()),
        ("lambda.ListEventSourceMappings", f"event source mappings in {REGION}", set()),
        ("lambda.GetPolicy", "base-idle", set()),
        ("lambda.ListAliases", "base-idle", set()),
        ("lambda.ListVersionsByFunction", "base-idle", set()),
        ("application-autoscaling.DescribeScalableTargets", f"scaling of provisioned concurrency in {REGION}", set()),
        ("logs.StartQuery", f"Logs Insights in {REGION}", set()),
    ],
)
def test_permanent_throttling_is_a_gap(clients: Clients, some: Analysis, call: str, about: str, gone: set[str]) -> None:
    with clients.sending(call, failing("ThrottlingException")):
        found = clients.analyse(SOME)
    assert any(f"{call.partition('.')[2]}: throttled" in reason for reason in reasons(found, about))
    assert {finding.function for finding in found.findings} == {"base-memory", "base-idle"} - gone
    kept = [finding.savings for finding in some.findings if finding.function not in gone]
    assert [finding.savings for finding in found.findings] == kept


ANSWERS = {
    ("GetPolicy", "ResourceNotFoundException"),
    ("GetEnrollmentStatus", "OptInRequiredException"),
    ("GetLambdaFunctionRecommendations", "OptInRequiredException"),
}
"""Errors that are data: the function has no policy, the account is not enrolled."""


TARGETS = ("application-autoscaling.DescribeScalableTargets", {"ScalableTargets": [
    {"ResourceId": "function:base-warm:live", "MinCapacity": 0, "MaxCapacity": 9}]})  # fmt: skip
PRECEDING: dict[str, tuple[str, dict[str, Any]]] = {
    "GetLambdaFunctionRecommendations": ("compute-optimizer.GetEnrollmentStatus", {"status": "Active"}),
    "DescribeScheduledActions": TARGETS,
    "DescribeScalingPolicies": TARGETS,
}
"""Of a call that the embedded AWS gives no reason for: what is answered to the call before it."""


def codes(clients: Clients, service: str, name: str) -> list[str]:
    """Return the codes of errors that an operation of AWS may fail with, its service's own and those of all."""
    model = clients(service, REGION).meta.service_model
    shapes = (model.shape_for(shape) for shape in model.shape_names)
    own = {shape.error_code or shape.name for shape in shapes if shape.metadata.get("exception")}
    return [
        *sorted(code for code in own if (name, code) not in ANSWERS),
        *("InternalFailure", "ServiceUnavailable", "ExpiredTokenException", "SignatureDoesNotMatch", "Odd", ""),
    ]


@pytest.mark.parametrize(
    "action", [action for action in READ_ACTIONS if action not in ("lambda:ListFunctions", "logs:StopQuery")]
)
def test_every_error_of_aws_is_stated_in_the_report(clients: Clients, some: Analysis, action: str) -> None:
    service, _, name = action.partition(":")
    code, http = random.choice(codes(clients, service, name)), random.choice([400, 403, 404, 409, 500, 503])
    first = PRECEDING.get(name)
    with (
        clients.instead(*first) if first else nullcontext(),
        clients.sending(f"{service}.{name}", failing(code, http)),
    ):
        found = clients.analyse(SOME)
    report = render_report(found, summary="", written_by="nobody")
    assert ("the Price List API could not be read: " if service == "pricing" else f"{name}: ") in report, (code, http)
    saved = {finding.id: finding.savings for finding in some.findings}
    assert {finding.id: finding.savings for finding in found.findings}.items() <= saved.items()


def test_log_group_that_no_query_may_name_loses_no_finding(clients: Clients, some: Analysis) -> None:
    message = "Query's end date and time is either before the log groups creation time or exceeds the log groups log"
    with clients.sending("logs.StartQuery", failing("MalformedQueryException", message=message)):
        found = clients.analyse(SOME)
    reason = "StartQuery: error MalformedQueryException; REPORT lines were read one by one"
    assert reasons(found, f"Logs Insights in {REGION}, base-memory") == {reason}
    assert found.findings == some.findings


def test_a_log_group_that_cannot_be_filtered_loses_only_its_function(clients: Clients, honest: Analysis) -> None:
    # As of the class Infrequent Access where Logs Insights does not answer.
    def refuse(request: AWSPreparedRequest) -> Any:
        return failing("InvalidOperationException")(request) if b"base-loops" in body_of(request) else None

    with clients.sending("logs.FilterLogEvents", refuse):
        found = clients.analyse("base-*")
    assert "FilterLogEvents: error InvalidOperationException" in reasons(found, "base-loops")
    assert of(found, "base-memory") == of(honest, "base-memory")


def test_only_the_group_that_a_query_is_refused_for_is_read_otherwise(clients: Clients, honest: Analysis) -> None:
    def refuse(request: AWSPreparedRequest) -> Any:
        return failing("MalformedQueryException")(request) if b"base-loops" in (request.body or b"") else None

    with clients.sending("logs.StartQuery", refuse), logs_insights(clients) as insights:
        found = clients.analyse("base-*")
    about = [gap.subject for gap in found.gaps if gap.subject.startswith("Logs Insights")]
    assert about == [f"Logs Insights in {REGION}, base-loops"]
    # Ten that log text: of these 5 and 5, of the first 2 and 3, of these 1, which is alone, and 2. One logs JSON.
    assert len(insights.groups) == 10 + (5 + 5) + (2 + 3) + (1 + 2) + 1
    assert found.findings == honest.findings


@pytest.mark.parametrize(("code", "http"), [("AccessDeniedException", 400), ("InternalFailure", 500)])
def test_queries_are_not_split_if_the_service_refuses_all(
    clients: Clients, honest: Analysis, code: str, http: int
) -> None:
    asked = []

    def refuse(request: AWSPreparedRequest) -> Any:
        asked.append(body_of(request))
        return failing(code, http)(request)

    with clients.sending("logs.StartQuery", refuse):
        found = clients.analyse("base-*")
    assert len(set(asked)) == 1
    assert len([gap for gap in found.gaps if gap.subject.startswith("Logs Insights")]) == 1
    assert found.findings == honest.findings


@pytest.mark.parametrize("send", [failing("ServiceException", 500), "cut", "reset"])
def test_permanent_failure_is_one_line(
    clients: Clients, account: Account, broken: dict[str, Broken], send: Send | str
) -> None:
    with (
        clients.sending("lambda.ListFunctions", broken[send] if isinstance(send, str) else send),
        pytest.raises(AwsUnavailable, match=r"^functions in us-east-1: [^\n]+$"),
    ):
        clients.analyse(SOME)


def of_metric(name: str, function: str, change: Callable[[dict[str, Any], list[Any]], None]) -> Any:
    """Change the results of one metric of one function."""

    of_function = {"Name": "FunctionName", "Value": function}

    def changed(asked: dict[str, Any], answer: dict[str, Any]) -> None:
        queried = {query["Id"]: query["MetricStat"]["Metric"] for query in asked["MetricDataQueries"]}
        of_name = [identifier for identifier, metric in queried.items() if metric["MetricName"] == name]
        wanted = {identifier for identifier in of_name if of_function in queried[identifier]["Dimensions"]}
        for result in list(answer["MetricDataResults"]):
            if result["Id"] in wanted:
                change(result, answer["MetricDataResults"])

    return changed


def status(code: str) -> Callable[[dict[str, Any], list[Any]], None]:
    def change(result: dict[str, Any], results: list[Any]) -> None:
        result.update(StatusCode=code, Timestamps=[], Values=[])

    return change


def left_out(result: dict[str, Any], results: list[Any]) -> None:
    results.remove(result)


@pytest.mark.parametrize("change", [status("PartialData"), status("InternalError"), status("Forbidden"), left_out])
@pytest.mark.parametrize(
    ("function", "metric"), [("base-idle", "Invocations"), ("base-memory", "Invocations"), ("base-memory", "Duration")]
)
def test_incomplete_metrics_lead_to_no_finding(
    clients: Clients, some: Analysis, function: str, metric: str, change: Callable[[dict[str, Any], list[Any]], None]
) -> None:
    with clients.answering("cloudwatch.GetMetricData", of_metric(metric, function, change)):
        found = clients.analyse(SOME)
    other = "base-idle" if function == "base-memory" else "base-memory"
    assert not of(found, function)
    assert of(found, other) == of(some, other)
    assert f"CloudWatch gave only a part of its data: {metric}" in reasons(found, function)


@pytest.mark.parametrize("ended", ["Failed", "Cancelled", "Timeout"])
def test_failed_query_is_reported_and_lines_are_read_otherwise(clients: Clients, some: Analysis, ended: str) -> None:
    with logs_insights(clients, ended) as insights:
        found = clients.analyse(SOME)
    assert insights.groups == ["/aws/lambda/base-memory"]
    reason = f"a query of Logs Insights ended as {ended}; REPORT lines were read one by one"
    assert reasons(found, f"Logs Insights in {REGION}") == {reason}
    assert found.findings == some.findings
    # A failed query costs the same.
    assert found.scan.queried_bytes == some.scan.queried_bytes > 0


def test_unreadable_regions_do_not_change_the_others(clients: Clients, some: Analysis) -> None:
    def unreachable(request: AWSPreparedRequest) -> None:
        request.url = "http://127.0.0.1:1/"

    disabled, missing = "ap-east-1", "xx-nowhere-1"
    with (
        clients.sending("lambda.ListFunctions", failing("UnrecognizedClientException", 403), disabled),
        clients.sending("lambda.ListFunctions", unreachable, missing),
    ):
        found = clients.analyse(SOME, (disabled, REGION, missing))
        with pytest.raises(AwsUnavailable, match=disabled):
            clients.analyse(SOME, (disabled, missing))
    expected = [(finding.function, finding.savings) for finding in some.findings]
    assert [(finding.function, finding.savings) for finding in found.findings] == expected
    assert reasons(found, f"functions in {disabled}") == {"ListFunctions: not enabled for this account"}
    assert reasons(found, f"functions in {missing}") == {"cannot be reached"}


@pytest.mark.parametrize("limit", [0.0, metrics_cost(2) / 2])
def test_limit_below_metrics_cost_is_refused_before_reading(clients: Clients, account: Account, limit: float) -> None:
    asked: list[str] = []

    def client(service: str, region: str) -> Any:
        asked.append(service)
        return clients(service, region)

    analyst = CostAnalysis(CostRequest(regions=(REGION,), functions=SOME, max_scan_dollars=limit), client)
    with pytest.raises(InvalidDetail, match=r"^detail: max_scan_dollars is [^\n]+ 2 functions alone may cost [^\n]+$"):
        analyst.collect_usage()
    assert asked == ["lambda"]


@pytest.mark.parametrize(
    ("dollars", "queried", "full"),
    [(0.0, 0, False), (0.0014, 2, False), (5.0, 11, False), (0.0014, 2, True)],
    ids=["nothing-left", "smallest-groups", "all-but-the-largest", "full-answers"],
)
def test_logs_are_queried_within_the_rest_of_the_limit(
    clients: Clients, honest: Analysis, monkeypatch: pytest.MonkeyPatch, dollars: float, queried: int, full: bool
) -> None:
    if full:
        # Every answer is full, as forged lines of many kinds make it; asking in parts would cost as much again.
        monkeypatch.setattr("lambda_costs.collect.insights.MAX_ROWS", 1)
    # To go through a log group of 300 MB costs $0.0014, the smallest next to nothing, and the largest $5.59.
    limit = metrics_cost(len(honest.functions)) + dollars
    with logs_insights(clients) as insights:
        found = clients.analyse("base-*", max_scan_dollars=limit)
    assert len(insights.groups) == queried
    assert found.scan.estimated <= limit
    assert found.findings == honest.findings


def test_throttled_page_is_read_again_or_its_function_is_skipped(clients: Clients, some: Analysis) -> None:
    # Two pages of one function's lines, which the embedded AWS would give at once.
    pages: list[str] = []

    def second_page(asked: dict[str, Any], answer: dict[str, Any]) -> None:
        half = len(answer["events"]) // 2
        pages.append(asked.get("nextToken", "first"))
        if "nextToken" in asked:
            answer["events"] = answer["events"][half:]
        else:
            answer.update(events=answer["events"][:half], nextToken="second")

    def throttle(request: AWSPreparedRequest) -> Any:
        return failing("ThrottlingException")(request) if b"nextToken" in (request.body or b"") else None

    with clients.answering("logs.FilterLogEvents", second_page):
        with clients.sending("logs.FilterLogEvents", Once(throttle)):
            recovered = clients.analyse(SOME)
        with clients.sending("logs.FilterLogEvents", throttle):
            lost = clients.analyse(SOME)
    assert pages == ["first", "second", "first"]
    assert recovered.findings == some.findings
    assert reasons(lost, "base-memory") >= {"FilterLogEvents: throttled"}
    assert not of(lost, "base-memory")
    assert of(lost, "base-idle") == of(some, "base-idle")

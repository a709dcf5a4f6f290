"""A policy denies each action that the analysis needs in turn: it becomes a gap, and no finding rests on it."""

import json
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from lambda_costs import READ_ACTIONS
from lambda_costs.analysis import Analysis
from tests.lambda_costs.adversarial.conftest import NOW, TRUST
from tests.lambda_costs.adversarial.faults import Clients, answer
from tests.lambda_costs.findings.test_findings import that_need
from vigil.errors import AwsUnavailable
from vigil.local.stack import LocalStack

ON_DEMAND = {kind.kind for kind in that_need("on_demand", "billed")} | {"provisioned-concurrency-unused"}
BY_COMPUTE = {kind.kind for kind in that_need("compute", "on_demand", "billed")}
SCALING, TARGETS = "application-autoscaling", "DescribeScalableTargets"
ON_TARGETS = ("DescribeScheduledActions", "DescribeScalingPolicies")  # called where there is a target
REST_ON = {
    "lambda:ListProvisionedConcurrencyConfigs": ON_DEMAND,
    "lambda:GetFunctionRecursionConfig": {"recursion"},
    "cloudwatch:GetMetricData": BY_COMPUTE | {"idle", "log-retention-unset"},
    "logs:DescribeLogGroups": {"log-retention-unset", "log-ingestion-high"},
    "logs:FilterLogEvents": BY_COMPUTE,
    **{f"{SCALING}:{name}": {"provisioned-concurrency-unused"} for name in (TARGETS, *ON_TARGETS)},
}
"""The kinds of findings that rest on an action; on every other, none does."""

LIST_FUNCTIONS = "lambda:ListFunctions"
SERVICES = ("lambda", "logs", "cloudwatch", "pricing", "compute-optimizer", SCALING)
# The table's prices tell of the first, and the second is called after 15 minutes only.
TOLD_ELSEWHERE = ("pricing:GetProducts", "logs:StopQuery")

Deny = Callable[[str], None]


@pytest.fixture(scope="module")
def reader(aws: LocalStack) -> Clients:
    """Clients of a role that may do what its policy ``reads`` allows."""
    aws.client("iam").create_role(RoleName="reader", AssumeRolePolicyDocument=TRUST)
    role = "arn:aws:iam::000000000000:role/reader"
    keys = aws.client("sts").assume_role(RoleArn=role, RoleSessionName="reader")["Credentials"]
    names = {"access_key_id": "AccessKeyId", "secret_access_key": "SecretAccessKey", "session_token": "SessionToken"}
    return Clients(aws.session(), NOW, **{f"aws_{name}": keys[key] for name, key in names.items()})


@pytest.fixture
def deny(aws: LocalStack) -> Deny:
    """Let the reader do all that the analysis needs but one action."""

    def put(action: str) -> None:
        statement = {"Effect": "Allow", "Action": [item for item in READ_ACTIONS if item != action], "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        aws.client("iam").put_role_policy(RoleName="reader", PolicyName="reads", PolicyDocument=document)

    return put


def enrolled(request: AWSPreparedRequest) -> AWSResponse:
    """Have Compute Optimizer, which the embedded AWS lacks, go on to its recommendations."""
    return answer(request, {"status": "Active"})


def with_target(request: AWSPreparedRequest) -> AWSResponse:
    """Have Application Auto Scaling, which lists nothing in the embedded AWS, know a target."""
    target = {"ResourceId": "function:base-warm:live", "MinCapacity": 1, "MaxCapacity": 20}
    return answer(request, {"ScalableTargets": [target]})


def kinds(analysis: Analysis) -> set[str]:
    return {finding.kind for finding in analysis.findings}


def test_with_all_actions_nothing_is_missing(reader: Clients, deny: Deny, honest: Analysis) -> None:
    deny("nothing")
    called: set[str] = set()

    def note(event_name: str, **_: object) -> None:
        called.add(event_name.removeprefix("before-call."))

    for service in SERVICES:
        reader(service, "us-east-1").meta.events.register("before-call", note)
    found = reader.analyse("base-*")
    for service in SERVICES:
        reader(service, "us-east-1").meta.events.unregister("before-call", note)
    assert found.findings == honest.findings
    assert not any("denied" in gap.reason for gap in found.gaps)
    # The embedded AWS has no Compute Optimizer that recommends and nothing that scales, and no query is stopped.
    ids = {"logs": "cloudwatch-logs", SCALING: "application-auto-scaling"}  # where botocore has another name
    pairs = (action.split(":") for action in READ_ACTIONS)
    needed = {f"{ids.get(service, service)}.{name}" for service, name in pairs}
    uncalled = {"compute-optimizer.GetLambdaFunctionRecommendations", "cloudwatch-logs.StopQuery"}
    assert called == needed - uncalled - {f"application-auto-scaling.{name}" for name in ON_TARGETS}


@pytest.mark.parametrize("action", [name for name in READ_ACTIONS if name not in (LIST_FUNCTIONS, *TOLD_ELSEWHERE)])
def test_denied_action_is_a_gap_no_finding_rests_on(reader: Clients, deny: Deny, honest: Analysis, action: str) -> None:
    deny(action)
    with ExitStack() as stack:
        if action == "compute-optimizer:GetLambdaFunctionRecommendations":
            stack.enter_context(reader.sending("compute-optimizer.GetEnrollmentStatus", enrolled))
        if action.partition(":")[2] in ON_TARGETS:
            stack.enter_context(reader.sending(f"{SCALING}.{TARGETS}", with_target))
        found = reader.analyse("base-*")
    assert any(f"{action.partition(':')[2]}: access denied" in gap.reason for gap in found.gaps)
    assert kinds(honest) - kinds(found) == REST_ON.get(action, set())
    before = {finding.id: finding for finding in honest.findings}
    for finding in found.findings:
        assert finding.savings == before[finding.id].savings
        if finding.kind != "idle":
            assert finding == before[finding.id]
        else:
            differ = {name for name, text in finding.evidence.items() if text != before[finding.id].evidence[name]}
            assert {finding.evidence[name].value for name in differ} <= {"not known"}


def test_without_list_functions_the_analysis_fails(reader: Clients, deny: Deny, honest: Analysis) -> None:
    deny(LIST_FUNCTIONS)
    with pytest.raises(AwsUnavailable, match="ListFunctions: access denied"):
        reader.analyse("base-*")


def test_without_the_price_list_the_dated_table_is_used(reader: Clients, deny: Deny, honest: Analysis) -> None:
    deny("pricing:GetProducts")
    found = reader.analyse("base-*")
    assert found.findings == honest.findings
    assert "could not be read: access denied" in found.prices["us-east-1"]

"""Checks of the machine and the account: versions, quotas, the CDK bootstrap, access to the model."""

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from botocore.exceptions import ConnectionError as NoConnection

from vigil.agent.models import remedy as model_remedy
from vigil.deployment import Deployment, aws_errors, error_code
from vigil.doctor.result import CheckResult, CheckResults, Verdict, guard, judge
from vigil.errors import AwsUnavailable

BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
BOOTSTRAP_VERSION = 6  # the oldest bootstrap that the template takes
CONCURRENCY = 10  # what Lambda gives a new account; fewer are left only where other functions have reserved the rest
LOG_POLICIES = 10  # most resource policies of CloudWatch Logs in a region (PutResourcePolicy, CloudWatch Logs API)
QUOTAS = {
    "bedrock-agentcore": (
        "Total Agents per Account",
        "Active Session Workloads per Account",
        "Rate of new Runtime session creation",
    ),
    "states": (
        "StartExecution throttle token refill rate per second",
        "StateTransition throttle token refill rate per second",
    ),
}
"""Quotas by the names that Service Quotas gives them. There are accounts in which AgentCore's are 0."""
BOOTSTRAP = "Run `make bootstrap`"
ASK_FOR_MORE = "Ask for more in the console of Service Quotas"


def sentence(advice: str) -> str:
    """Return ``advice`` with a capital letter."""
    return advice[:1].upper() + advice[1:]


def check(deployment: Deployment) -> CheckResults:
    """Yield the results of the checks of the account."""
    yield from guard("AgentCore", _agentcore(deployment))
    yield from guard("Lambda's concurrency", _concurrency(deployment))
    for service, names in QUOTAS.items():
        yield from guard(f"quotas of {service}", _quotas(deployment, service, names))
    yield from guard("CDK bootstrap", _bootstrap(deployment), BOOTSTRAP)
    yield from guard("log policies", _log_policies(deployment))


def versions() -> CheckResults:
    """Yield the versions of Python, Vigil, boto3 and Node."""
    here = f"Python {platform.python_version()}, vigil {version('vigil')}, boto3 {version('boto3')}"
    yield CheckResult(Verdict.OK, f"versions: {here}")
    # The Node that `make deploy` takes.
    search = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    if (node := shutil.which("node", path=search)) is None:
        reason = "none was found; `make deploy` needs it, and `make install` brings it"
        yield CheckResult(Verdict.NOT_CHECKED, f"Node: {reason}")
        return
    ran = subprocess.run([node, "--version"], capture_output=True, text=True, errors="replace")
    yield judge(not ran.returncode, f"Node: {(ran.stdout or ran.stderr).strip()}", "Run `make install` in a new .venv")


def _agentcore(deployment: Deployment) -> CheckResults:
    what = f"AgentCore in {deployment.region}"
    try:
        deployment.client("bedrock-agentcore-control").list_agent_runtimes(maxResults=1)
    except NoConnection as error:
        yield CheckResult(Verdict.PROBLEM, f"{what}: {error}", "Choose a region that has it: set AWS_REGION")
        return
    yield CheckResult(Verdict.OK, f"{what}: it answers")


def _concurrency(deployment: Deployment) -> CheckResults:
    left = deployment.client("lambda").get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    what = f"Lambda's concurrency: {left} for all functions without a reservation"
    yield judge(left >= CONCURRENCY, what, f"{ASK_FOR_MORE}: Lambda, Concurrent executions")


def _quotas(deployment: Deployment, service: str, names: tuple[str, ...]) -> CheckResults:
    pages = deployment.client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode=service)
    values = {quota.get("QuotaName"): quota.get("Value") for page in pages for quota in page["Quotas"]}
    for name in names:
        what, value = f"quota of {service}, {name}", values.get(name)
        if value is None:
            yield CheckResult(Verdict.NOT_CHECKED, f"{what}: Service Quotas lists no value, so it is AWS's default")
        else:
            yield judge(value >= 1, f"{what}: {value:g}", ASK_FOR_MORE)


def _bootstrap(deployment: Deployment) -> CheckResults:
    value = deployment.client("ssm").get_parameter(Name=BOOTSTRAP_PARAMETER)["Parameter"]["Value"]
    good = re.fullmatch("[0-9]{1,9}", value) is not None and int(value) >= BOOTSTRAP_VERSION
    yield judge(good, f"CDK bootstrap: version {value}, at least {BOOTSTRAP_VERSION} is needed", BOOTSTRAP)


def _log_policies(deployment: Deployment) -> CheckResults:
    policies = deployment.client("logs").describe_resource_policies()["resourcePolicies"]
    delivers = any("delivery.logs.amazonaws.com" in policy.get("policyDocument", "") for policy in policies)
    what = f"log policies: {len(policies)} of at most {LOG_POLICIES} in this region"
    yield judge(delivers or len(policies) < LOG_POLICIES, what, "Merge two: Step Functions must add one to write logs")


def model(deployment: Deployment, model_id: str) -> CheckResults:
    """Check by one short call that the account may use the model."""
    if "/" in model_id and not model_id.startswith("arn:"):
        yield CheckResult(Verdict.NOT_CHECKED, f"model {model_id}: it is another provider's")
        return
    try:
        with aws_errors():
            usage = deployment.client("bedrock-runtime").converse(
                modelId=model_id,
                messages=[{"role": "user", "content": [{"text": "Say OK."}]}],
                inferenceConfig={"maxTokens": 16},
            )["usage"]
    except AwsUnavailable as error:
        remedy = error.__cause__ and model_remedy(error.__cause__)
        if not remedy and error_code(error) == "ValidationException":
            remedy = "choose another model: `--parameters ModelId=...`"
        # The caller's own permission says nothing of the agent's, which has another role.
        if not remedy or "identity-based policy allows the bedrock:InvokeModel" in str(error):
            yield CheckResult(Verdict.NOT_CHECKED, f"model {model_id}: {error}")
        else:
            yield CheckResult(Verdict.PROBLEM, f"model {model_id}: {error}", sentence(remedy))
        return
    tokens = f"{usage.get('inputTokens')} tokens in, {usage.get('outputTokens')} out"
    yield CheckResult(Verdict.OK, f"model {model_id}: it answered ({tokens}: a fraction of a cent)")

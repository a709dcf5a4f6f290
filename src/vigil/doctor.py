"""``vigil doctor``: what can be learnt about an account and a stack before and after a deployment.

Each check is a small function that yields findings. It reads; the only thing that it spends is one short call of the
model. What AWS refuses to tell or the embedded AWS lacks is "not checked", with the reason.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from botocore.exceptions import ConnectionError as NoConnection

from vigil.agent_log import log_group
from vigil.artifacts import PREFIX
from vigil.deployment import Deployment, aws_errors, connection_advice
from vigil.errors import AwsUnavailable, SessionNotFound, StackNotDeployed
from vigil.names import INDEX_BY_START, INDEX_BY_STATUS, Output, Parameter
from vigil.settings import DEFAULT_MODEL
from vigil.text import quote

BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
BOOTSTRAP_VERSION = 6
"""The oldest bootstrap that the template takes."""
CONCURRENCY = 10
"""What Lambda gives a new account; fewer are left only where other functions have reserved the rest."""
LOG_POLICIES = 10
"""Most resource policies of CloudWatch Logs in an account and region (PutResourcePolicy, CloudWatch Logs API)."""
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

BUS, STACK, TABLE = "the default event bus", "the stack", "the table"
BY_START, BY_STATUS = "the index by start", "the index by status"
ARTIFACTS, QUEUE, RUNTIME = f"`{PREFIX}*` in the bucket", "the dead-letter queue", "the agent's runtime"
AGENT_LOGS = "the agent's log group"
WORKFLOW, EXECUTIONS = "the workflow", "the workflow's executions"

_FIND = (("cloudformation:DescribeStacks", STACK),)
_READ = (*_FIND, ("dynamodb:GetItem", TABLE))
_LIST_LOST = (("sqs:ReceiveMessage", QUEUE), ("sqs:ChangeMessageVisibility", QUEUE))
_AWAIT = (
    *_READ,
    ("states:GetExecutionHistory", EXECUTIONS),
    ("states:DescribeExecution", EXECUTIONS),
    ("states:ListExecutions", WORKFLOW),
    *_LIST_LOST,
)
COMMANDS = {
    "trigger": (*_FIND, ("events:PutEvents", BUS)),
    "retry": (*_READ, ("events:PutEvents", BUS)),
    "watch": (*_AWAIT, ("dynamodb:Query", TABLE)),
    "sessions": (
        *_FIND,
        ("dynamodb:Query", BY_START),
        ("dynamodb:Query", BY_STATUS),
        ("sqs:GetQueueAttributes", QUEUE),
    ),
    "show": (*_READ, ("dynamodb:Query", TABLE)),
    "logs": (*_READ, ("logs:FilterLogEvents", AGENT_LOGS)),
    "report": (*_READ, ("s3:GetObject", ARTIFACTS)),
    "stop": (
        *_AWAIT,
        ("dynamodb:UpdateItem", TABLE),
        ("states:SendTaskSuccess", WORKFLOW),
        ("bedrock-agentcore:StopRuntimeSession", RUNTIME),
    ),
    "lost": (*_FIND, *_LIST_LOST),
    "lost --resend": (*_READ, *_LIST_LOST, ("states:StartExecution", WORKFLOW), ("sqs:DeleteMessage", QUEUE)),
}
"""The permissions that each command needs, as (action, resource); ``run`` needs those of trigger, watch and report."""

_SIGN_IN = (
    "Sign in, such as by `aws sso login`, and set AWS_PROFILE and AWS_REGION."
    " A region that is not enabled in the account refuses valid credentials too"
)
_DEPLOY_AGAIN = "What was deleted by hand comes back only with a new stack: `make destroy`, then `make deploy`"
_GRANT = "Have the policy changed by docs/permissions.md, which lists what each command needs"
_ELSEWHERE = "If it is elsewhere, set AWS_PROFILE, AWS_REGION and VIGIL_STACK"
_ASK = "Ask for more in the console of Service Quotas"
_MISSING = re.compile(r"NotFound|NotExist|NonExistent|NoSuch|^404$")
_DENIED = re.compile(r"AccessDenied|UnauthorizedOperation|^403$")

_MODEL_REMEDIES = (
    (
        r"use case",
        "Submit Anthropic's form in the console of Bedrock: model catalog, any Claude model. Then wait 15 min",
    ),
    (r"aws-marketplace", "Have somebody who may subscribe in AWS Marketplace run `vigil doctor` once, and wait 15 min"),
    (r"^Throttling", "Look at the model's requests and tokens per minute and per day in the console of Service Quotas"),
    (r"^(AccessDenied|ResourceNotFound|Validation)", "Choose another model: `--parameters ModelId=...`"),
)
"""What to do about a refusal, by what is in its code and message. Any other refusal says nothing of the access."""


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    PROBLEM = "problem"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Finding:
    """What a check found, and for a problem what to do about it; both may repeat text of AWS."""

    status: Status
    what: str
    remedy: str = ""


Findings = Iterator[Finding]


def examine(connect: Callable[[], Deployment], *, call_model: bool = True) -> Findings:
    """Yield what every check finds. ``connect`` returns the deployment that the environment leads to."""
    yield from _versions()
    try:
        deployment = connect()
        if not deployment.region:
            raise AwsUnavailable("no AWS region: set AWS_REGION")
        with aws_errors():
            # STS would answer without a region too.
            caller = str(deployment.client("sts").get_caller_identity()["Arn"])
    except AwsUnavailable as error:
        advice = connection_advice(error) or _SIGN_IN
        yield Finding(Status.PROBLEM, f"credentials or region: {error}", advice[0].upper() + advice[1:])
        yield Finding(Status.NOT_CHECKED, "everything in the account: that needs credentials")
        return
    yield Finding(Status.OK, f"credentials: {caller}")
    yield from _guarded("AgentCore", partial(_agentcore, deployment))
    yield from _guarded("Lambda's concurrency", partial(_concurrency, deployment))
    for service, names in QUOTAS.items():
        yield from _guarded(f"quotas of {service}", partial(_quotas, deployment, service, names))
    yield from _guarded("CDK bootstrap", partial(_bootstrap, deployment), "Run `make bootstrap`")
    yield from _guarded("log policies", partial(_log_policies, deployment))
    stack = yield from _stack(deployment)
    model = _model_of(stack)
    if call_model:
        yield from _guarded(f"model {model}", partial(_model, deployment, model))
    else:
        yield Finding(Status.NOT_CHECKED, f"model {model}: left out by --no-model")
    if stack is None:
        yield Finding(Status.NOT_CHECKED, "resources and permissions: that needs the stack")
        return
    for check, output in _RESOURCES:
        name = deployment.output(output)
        yield from _guarded(f"{output} {name}", partial(check, deployment, name), _DEPLOY_AGAIN)
    yield from _guarded("permissions", partial(_permissions, deployment, caller))


def _guarded(what: str, check: Callable[[], Findings], missing: str = "") -> Findings:
    """Yield what ``check`` finds, or why it found nothing; ``missing`` is what to do if AWS says "not found"."""
    try:
        with aws_errors():
            yield from check()
    except AwsUnavailable as error:
        if missing and _MISSING.search(_code(error)):
            yield Finding(Status.PROBLEM, f"{what}: {_reason(error)}", missing)
        else:
            yield Finding(Status.NOT_CHECKED, f"{what}: {_reason(error)}")
    except (LookupError, TypeError) as error:
        yield Finding(Status.NOT_CHECKED, f"{what}: the answer cannot be read: {error!r}")


def _code(error: AwsUnavailable) -> str:
    cause = error.__cause__
    return str(cause.response.get("Error", {}).get("Code", "")) if isinstance(cause, ClientError) else ""


def _reason(error: AwsUnavailable) -> str:
    cause = error.__cause__
    if isinstance(cause, ClientError) and not cause.response.get("Error", {}).get("Message"):
        return f"{cause.operation_name} was refused without a reason; a local stack has no such service"
    return str(error)


def _judged(good: bool, what: str, remedy: str) -> Finding:
    return Finding(Status.OK, what) if good else Finding(Status.PROBLEM, what, remedy)


def _versions() -> Findings:
    yield Finding(
        Status.OK, f"versions: Python {platform.python_version()}, vigil {version('vigil')}, boto3 {version('boto3')}"
    )
    # The one that `make deploy` takes.
    search = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    if (node := shutil.which("node", path=search)) is None:
        yield Finding(Status.NOT_CHECKED, "Node: none was found; `make deploy` needs it, and `make install` brings it")
        return
    done = subprocess.run([node, "--version"], capture_output=True, text=True, errors="replace")
    yield _judged(
        done.returncode == 0, f"Node: {(done.stdout or done.stderr).strip()}", "Run `make install` in a new .venv"
    )


def _agentcore(deployment: Deployment) -> Findings:
    region = deployment.region
    try:
        deployment.client("bedrock-agentcore-control").list_agent_runtimes(maxResults=1)
    except NoConnection as error:
        yield Finding(Status.PROBLEM, f"AgentCore in {region}: {error}", "Choose a region that has it: set AWS_REGION")
        return
    yield Finding(Status.OK, f"AgentCore in {region}: it answers")


def _concurrency(deployment: Deployment) -> Findings:
    left = deployment.client("lambda").get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    what = f"Lambda's concurrency: {left} for all functions without a reservation"
    yield _judged(left >= CONCURRENCY, what, f"{_ASK}: Lambda, Concurrent executions")


def _quotas(deployment: Deployment, service: str, names: tuple[str, ...]) -> Findings:
    pages = deployment.client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode=service)
    values = {quota.get("QuotaName"): quota.get("Value") for page in pages for quota in page["Quotas"]}
    for name in names:
        what, value = f"quota of {service}, {name}", values.get(name)
        if value is None:
            yield Finding(Status.NOT_CHECKED, f"{what}: Service Quotas lists no value, so it is AWS's default")
        else:
            yield _judged(value >= 1, f"{what}: {value:g}", _ASK)


def _bootstrap(deployment: Deployment) -> Findings:
    value = deployment.client("ssm").get_parameter(Name=BOOTSTRAP_PARAMETER)["Parameter"]["Value"]
    good = re.fullmatch("[0-9]{1,9}", value) is not None and int(value) >= BOOTSTRAP_VERSION
    what = f"CDK bootstrap: version {value}, at least {BOOTSTRAP_VERSION} is needed"
    yield _judged(good, what, "Run `make bootstrap`")


def _log_policies(deployment: Deployment) -> Findings:
    policies = deployment.client("logs").describe_resource_policies()["resourcePolicies"]
    delivers = any("delivery.logs.amazonaws.com" in policy.get("policyDocument", "") for policy in policies)
    what = f"log policies: {len(policies)} of at most {LOG_POLICIES} in this region"
    yield _judged(
        delivers or len(policies) < LOG_POLICIES, what, "Merge two: Step Functions must add one to write logs"
    )


def _stack(deployment: Deployment) -> Generator[Finding, None, Mapping[str, Any] | None]:
    """Yield the stack's state and return its description, or None if it is not whole."""
    try:
        stack = deployment.description
        for output in Output:
            deployment.output(output)
    except StackNotDeployed as error:
        yield Finding(Status.PROBLEM, f"stack: {error}", _ELSEWHERE)
        return None
    except AwsUnavailable as error:
        yield Finding(Status.NOT_CHECKED, f"stack: {error}")
        return None
    state = str(stack.get("StackStatus"))
    good = state.endswith("_COMPLETE") and "ROLLBACK" not in state
    remedy = f"Read why: `aws cloudformation describe-stack-events --stack-name {quote(stack['StackName'])}`"
    yield _judged(good, f"stack {stack['StackName']}: {state}", remedy)
    return stack


def _model_of(stack: Mapping[str, Any] | None) -> str:
    given = {item.get("ParameterKey"): item.get("ParameterValue") for item in (stack or {}).get("Parameters", [])}
    return str(given.get(Parameter.MODEL_ID) or DEFAULT_MODEL)


def _model(deployment: Deployment, model: str) -> Findings:
    if "/" in model and not model.startswith("arn:"):
        yield Finding(Status.NOT_CHECKED, f"model {model}: it is another provider's")
        return
    try:
        with aws_errors():
            usage = deployment.client("bedrock-runtime").converse(
                modelId=model,
                messages=[{"role": "user", "content": [{"text": "Say OK."}]}],
                inferenceConfig={"maxTokens": 16},
            )["usage"]
    except AwsUnavailable as error:
        refused = f"{_code(error)}: {error}"
        remedy = next((remedy for pattern, remedy in _MODEL_REMEDIES if re.search(pattern, refused)), "")
        # That you may not call it says nothing of the agent, which has a role of its own.
        yours = "identity-based policy allows the bedrock:InvokeModel" in refused
        status = Status.PROBLEM if remedy and not yours else Status.NOT_CHECKED
        yield Finding(status, f"model {model}: {error}", remedy if status == Status.PROBLEM else "")
        return
    tokens = f"{usage.get('inputTokens')} tokens in, {usage.get('outputTokens')} out"
    yield Finding(Status.OK, f"model {model}: it answered ({tokens}: a fraction of a cent)")


def _table(deployment: Deployment, name: str) -> Findings:
    state = deployment.client("dynamodb").describe_table(TableName=name)["Table"].get("TableStatus")
    yield _judged(state == "ACTIVE", f"table {name}: {state}", "Wait, and look at the table in the console")


def _bucket(deployment: Deployment, name: str) -> Findings:
    deployment.client("s3").head_bucket(Bucket=name)
    yield Finding(Status.OK, f"bucket {name}: it is there")


def _workflow(deployment: Deployment, arn: str) -> Findings:
    state = deployment.stepfunctions.describe_state_machine(stateMachineArn=arn).get("status")
    yield _judged(state == "ACTIVE", f"workflow {arn}: {state}", _DEPLOY_AGAIN)


def _rule(deployment: Deployment, name: str) -> Findings:
    state = deployment.client("events").describe_rule(Name=name).get("State")
    remedy = f"No event starts a session until you run `aws events enable-rule --name {quote(name)}`"
    yield _judged(state == "ENABLED", f"rule {name}: {state}", remedy)


def _function(deployment: Deployment, name: str) -> Findings:
    found = deployment.client("lambda").get_function_configuration(FunctionName=name)
    states = (found.get("State"), found.get("LastUpdateStatus"))
    reasons = filter(None, (found.get("StateReason"), found.get("LastUpdateStatusReason")))
    what = "; ".join((f"function {name}: {states[0]}, last update {states[1]}", *reasons))
    yield _judged(states == ("Active", "Successful"), what, "Do what the reason says, then `make deploy`")


def _runtime(deployment: Deployment, arn: str) -> Findings:
    found = deployment.client("bedrock-agentcore-control").get_agent_runtime(agentRuntimeId=arn.rpartition("/")[2])
    state = found.get("status")
    what = "; ".join(
        filter(None, (f"runtime {arn}: {state}", found.get("platformVersion"), found.get("failureReason")))
    )
    yield _judged(state == "READY", what, "Wait if it is being made; or do what the reason says, then `make deploy`")


def _dead_letters(deployment: Deployment, url: str) -> Findings:
    # Not by receiving them: a short poll may come back empty although there are some.
    name = "ApproximateNumberOfMessages"
    answer = deployment.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[name])
    count = answer.get("Attributes", {}).get(name)
    remedy = f"`vigil sessions` says why. When that is fixed: `aws sqs purge-queue --queue-url {quote(url)}`"
    yield _judged(count == "0", f"dead-letter queue: {count} events that never became sessions", remedy)


_RESOURCES = (
    (_table, Output.TABLE),
    (_bucket, Output.BUCKET),
    (_workflow, Output.STATE_MACHINE),
    (_rule, Output.RULE),
    (_function, Output.INVOKER),
    (_function, Output.RECONCILER),
    (_runtime, Output.AGENT_RUNTIME),
    (_dead_letters, Output.DEAD_LETTERS),
)


def _permissions(deployment: Deployment, caller: str) -> Findings:
    """Yield for each command whether IAM's simulator allows its calls; where it cannot tell, some are tried."""
    try:
        with aws_errors():
            allowed = _simulated(deployment, caller)
    except AwsUnavailable as error:
        yield from _tried(deployment, _reason(error))
        return
    for command, grants in COMMANDS.items():
        denied = [f"{action} on {on}" for action, on in grants if (action, on) not in allowed]
        what = f"permissions of `vigil {command}`: {'denied ' + ', '.join(denied) if denied else 'allowed'}"
        yield _judged(not denied, what, _GRANT)


def _simulated(deployment: Deployment, caller: str) -> set[tuple[str, str]]:
    """Return what ``caller`` may do, as (action, resource of COMMANDS); raises ValueError if IAM cannot simulate it."""
    _, partition, _, _, account, who = caller.split(":", 5)
    iam = deployment.client("iam")
    if who.startswith("assumed-role/"):
        # The ARN of a role may have a path, which that of its session lacks.
        caller = iam.get_role(RoleName=who.split("/")[1])["Role"]["Arn"]
    elif not who.startswith("user/"):
        raise ValueError(f"IAM cannot simulate {caller}")
    allowed: set[tuple[str, str]] = set()
    for on, arn in _arns(deployment, partition, account).items():
        actions = sorted({action for grants in COMMANDS.values() for action, named in grants if named == on})
        answer = iam.simulate_principal_policy(PolicySourceArn=caller, ActionNames=actions, ResourceArns=[arn])
        results = answer["EvaluationResults"]
        allowed |= {(result["EvalActionName"], on) for result in results if result["EvalDecision"] == "allowed"}
    return allowed


def _arns(deployment: Deployment, partition: str, account: str) -> dict[str, str]:
    def here(service: str, name: str) -> str:
        return f"arn:{partition}:{service}:{deployment.region}:{account}:{name}"

    table = here("dynamodb", f"table/{deployment.output(Output.TABLE)}")
    workflow, runtime = deployment.state_machine_arn, deployment.output(Output.AGENT_RUNTIME)
    return {
        STACK: str(deployment.description["StackId"]),
        BUS: here("events", "event-bus/default"),
        TABLE: table,
        BY_START: f"{table}/index/{INDEX_BY_START}",
        BY_STATUS: f"{table}/index/{INDEX_BY_STATUS}",
        ARTIFACTS: f"arn:{partition}:s3:::{deployment.output(Output.BUCKET)}/{PREFIX}any",
        QUEUE: here("sqs", deployment.output(Output.DEAD_LETTERS).rpartition("/")[2]),
        WORKFLOW: workflow,
        EXECUTIONS: workflow.replace(":stateMachine:", ":execution:") + ":any",
        RUNTIME: runtime,
        AGENT_LOGS: here("logs", f"log-group:{log_group(runtime)}:*"),
    }


def _tried(deployment: Deployment, reason: str) -> Findings:
    def sessions() -> None:
        deployment.journal.recent(1)
        deployment.count_dead_letters()

    def show() -> None:
        nobody = str(uuid.UUID(int=0))
        deployment.journal.tasks(nobody)
        deployment.journal.get(nobody)

    for name, read in (("sessions", sessions), ("show", show)):
        what = f"permissions of `vigil {name}`"
        try:
            read()
        except SessionNotFound:
            pass
        except AwsUnavailable as error:
            if _DENIED.search(_code(error)):
                yield Finding(Status.PROBLEM, f"{what}: {error}", _GRANT)
            else:
                yield Finding(Status.NOT_CHECKED, f"{what}: {error}")
            continue
        yield Finding(Status.OK, f"{what}: its reads are allowed")
    others = ", ".join(f"`vigil {name}`" for name in COMMANDS if name not in ("sessions", "show"))
    yield Finding(Status.NOT_CHECKED, f"permissions of {others}: {reason}")

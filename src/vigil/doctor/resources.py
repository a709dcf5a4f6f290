"""Checks of the stack and its resources."""

from collections.abc import Generator, Mapping
from typing import Any

from vigil.deployment import Deployment
from vigil.doctor.result import CheckResult, CheckResults, Verdict, guard, judge
from vigil.errors import AwsUnavailable, StackNotDeployed
from vigil.names import OptionalOutput, Output, Parameter
from vigil.settings import DEFAULT_MODEL
from vigil.text import quote

DEPLOY_AGAIN = "What was deleted by hand comes back only with a new stack: `make destroy`, then `make deploy`"
ELSEWHERE = "If it is elsewhere, set AWS_PROFILE, AWS_REGION and VIGIL_STACK"


def stack(deployment: Deployment) -> Generator[CheckResult, None, Mapping[str, Any] | None]:
    """Yield the stack's state and return its description, or None if the stack or one of its outputs is missing."""
    try:
        found = deployment.description
        for output in Output:
            deployment.output(output)
    except StackNotDeployed as error:
        yield CheckResult(Verdict.PROBLEM, f"stack: {error}", ELSEWHERE)
        return None
    except AwsUnavailable as error:
        yield CheckResult(Verdict.NOT_CHECKED, f"stack: {error}")
        return None
    state = str(found.get("StackStatus"))
    good = state.endswith("_COMPLETE") and "ROLLBACK" not in state
    remedy = f"Read why: `aws cloudformation describe-stack-events --stack-name {quote(found['StackName'])}`"
    yield judge(good, f"stack {found['StackName']}: {state}", remedy)
    return found


def model_of(description: Mapping[str, Any] | None) -> str:
    """Return the model of the stack, or the default without a stack."""
    parameters = (description or {}).get("Parameters", [])
    values = {parameter.get("ParameterKey"): parameter.get("ParameterValue") for parameter in parameters}
    return str(values.get(Parameter.MODEL_ID) or DEFAULT_MODEL)


def check(deployment: Deployment) -> CheckResults:
    """Yield the state of each resource."""
    for check_one, output in _CHECKS:
        name = deployment.output(output)
        yield from guard(f"{output} {name}", check_one(deployment, name), DEPLOY_AGAIN)
    if topic := deployment.outputs.get(OptionalOutput.TOPIC):
        yield from guard(f"topic {topic}", _subscribers(deployment, topic), DEPLOY_AGAIN)


def _table(deployment: Deployment, name: str) -> CheckResults:
    state = deployment.client("dynamodb").describe_table(TableName=name)["Table"].get("TableStatus")
    yield judge(state == "ACTIVE", f"table {name}: {state}", "Wait, and look at the table in the console")


def _bucket(deployment: Deployment, name: str) -> CheckResults:
    deployment.client("s3").head_bucket(Bucket=name)
    yield CheckResult(Verdict.OK, f"bucket {name}: it is there")


def _workflow(deployment: Deployment, arn: str) -> CheckResults:
    state = deployment.stepfunctions.describe_state_machine(stateMachineArn=arn).get("status")
    yield judge(state == "ACTIVE", f"workflow {arn}: {state}", DEPLOY_AGAIN)


def _rule(deployment: Deployment, name: str) -> CheckResults:
    state = deployment.client("events").describe_rule(Name=name).get("State")
    remedy = f"No event starts a session until you run `aws events enable-rule --name {quote(name)}`"
    yield judge(state == "ENABLED", f"rule {name}: {state}", remedy)


def _function(deployment: Deployment, name: str) -> CheckResults:
    found = deployment.client("lambda").get_function_configuration(FunctionName=name)
    states = (found.get("State"), found.get("LastUpdateStatus"))
    reasons = filter(None, (found.get("StateReason"), found.get("LastUpdateStatusReason")))
    what = "; ".join((f"function {name}: {states[0]}, last update {states[1]}", *reasons))
    yield judge(states == ("Active", "Successful"), what, "Do what the reason says, then `make deploy`")


def _runtime(deployment: Deployment, arn: str) -> CheckResults:
    seen = deployment.client("bedrock-agentcore-control").get_agent_runtime(agentRuntimeId=arn.rpartition("/")[2])
    state = seen.get("status")
    what = "; ".join(filter(None, (f"runtime {arn}: {state}", seen.get("platformVersion"), seen.get("failureReason"))))
    yield judge(state == "READY", what, "Wait if it is being made; or do what the reason says, then `make deploy`")


def _dead_letters(deployment: Deployment, _: str) -> CheckResults:
    # Messages are counted, not received: a short poll may find none although there are some.
    count = deployment.count_dead_letters()
    remedy = "`vigil lost` says why. When that is fixed: `vigil lost --resend` starts their sessions"
    yield judge(count == 0, f"dead-letter queue: {count} event{'s' * (count != 1)} that never became a session", remedy)


def _subscribers(deployment: Deployment, topic: str) -> CheckResults:
    found = deployment.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    confirmed = [item for item in found if item["SubscriptionArn"] != "PendingConfirmation"]
    what = f"topic {topic}: {len(confirmed)} of {len(found)} subscribers have confirmed"
    remedy = "Confirm the subscription in the mail from AWS; until then, no other mail comes"
    yield judge(bool(found) and confirmed == found, what, remedy)


_CHECKS = (
    (_table, Output.TABLE),
    (_bucket, Output.BUCKET),
    (_workflow, Output.STATE_MACHINE),
    (_rule, Output.RULE),
    (_function, Output.INVOKER),
    (_function, Output.RECONCILER),
    (_runtime, Output.AGENT_RUNTIME),
    (_dead_letters, Output.DEAD_LETTERS),
)

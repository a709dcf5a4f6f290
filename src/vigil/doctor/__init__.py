"""``vigil doctor``: checks of an account and a stack, before and after a deployment.

Each check is a small function that yields results. The checks only read; the one thing that costs money is one short
call of the model. What AWS refuses to tell or the embedded AWS lacks is "not checked", with the reason.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from botocore.exceptions import ClientError

from vigil.deployment import Deployment, aws_errors, connection_advice, error_code
from vigil.errors import AwsUnavailable

SIGN_IN = (
    "Sign in, such as by `aws sso login`, and set AWS_PROFILE and AWS_REGION."
    " A region that is not enabled in the account refuses valid credentials too"
)


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    PROBLEM = "problem"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class CheckResult:
    """What a check found, and how to solve a problem; both may repeat text of AWS."""

    status: Verdict
    what: str
    remedy: str = ""


CheckResults = Iterator[CheckResult]


def judge(good: bool, what: str, remedy: str) -> CheckResult:
    """Return OK, or a problem with its remedy."""
    return CheckResult(Verdict.OK, what) if good else CheckResult(Verdict.PROBLEM, what, remedy)


def guard(what: str, check: CheckResults, if_missing: str = "") -> CheckResults:
    """Yield the results of ``check``, or why it has none; ``if_missing`` is the remedy if AWS says "not found"."""
    try:
        with aws_errors():
            yield from check
    except AwsUnavailable as error:
        missing = if_missing and re.search("^404$|NotFound|NotExist|NonExistent|NoSuch", error_code(error))
        status = Verdict.PROBLEM if missing else Verdict.NOT_CHECKED
        yield CheckResult(status, f"{what}: {reason(error)}", if_missing if missing else "")
    except (LookupError, TypeError) as error:
        yield CheckResult(Verdict.NOT_CHECKED, f"{what}: the answer cannot be read: {error!r}")


def reason(error: AwsUnavailable) -> str:
    """Return why AWS did not answer."""
    cause = error.__cause__
    if isinstance(cause, ClientError) and not cause.response.get("Error", {}).get("Message"):
        return f"{cause.operation_name} was refused without a reason; a local stack has no such service"
    return str(error)


def examine(connect: Callable[[], Deployment], *, call_model: bool = True) -> CheckResults:
    """Yield the results of all checks. ``connect`` returns the deployment that the environment leads to."""
    # These modules import this one.
    from vigil.doctor import account, permissions, resources

    yield from account.versions()
    try:
        deployment = connect()
        if not deployment.region:
            raise AwsUnavailable("no AWS region: set AWS_REGION")
        with aws_errors():
            # STS would answer without a region too.
            caller = str(deployment.client("sts").get_caller_identity()["Arn"])
    except AwsUnavailable as error:
        remedy = account.sentence(connection_advice(error) or SIGN_IN)
        yield CheckResult(Verdict.PROBLEM, f"credentials or region: {error}", remedy)
        yield CheckResult(Verdict.NOT_CHECKED, "everything in the account: that needs credentials")
        return
    yield CheckResult(Verdict.OK, f"credentials: {caller}")
    yield from account.check(deployment)
    stack = yield from resources.stack(deployment)
    model = resources.model_of(stack)
    if call_model:
        yield from guard(f"model {model}", account.model(deployment, model))
    else:
        yield CheckResult(Verdict.NOT_CHECKED, f"model {model}: left out by --no-model")
    if stack is None:
        yield CheckResult(Verdict.NOT_CHECKED, "resources and permissions: that needs the stack")
        return
    yield from resources.check(deployment)
    yield from guard("permissions", permissions.check(deployment, caller))

"""``vigil doctor``: checks of an account and a stack, before and after a deployment.

Each check is a small function that yields results. The checks only read; the one thing that costs money is one short
call of the model. What AWS refuses to tell or the embedded AWS lacks is "not checked", with the reason.
"""

from collections.abc import Callable

from vigil.deployment import Deployment, aws_errors, connection_advice
from vigil.doctor import account, permissions, resources
from vigil.doctor.result import CheckResult, CheckResults, Verdict, guard
from vigil.errors import AwsUnavailable

SIGN_IN = (
    "Sign in, such as by `aws sso login`, and set AWS_PROFILE and AWS_REGION."
    " A region that is not enabled in the account refuses valid credentials too"
)


def examine(connect: Callable[[], Deployment], *, call_model: bool = True) -> CheckResults:
    """Yield the results of all checks. ``connect`` returns the deployment that the environment leads to."""
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

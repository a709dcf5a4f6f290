"""What a check returns, and how the checks deal with the errors of AWS."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from botocore.exceptions import ClientError

from vigil.deployment import aws_errors, error_code
from vigil.errors import AwsUnavailable


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

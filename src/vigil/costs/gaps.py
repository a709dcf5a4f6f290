"""What the analysis could not see. A gap is reported; it is never taken for a zero."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from vigil.errors import AwsUnavailable

_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"})
# botocore has retried these; what is left of them costs one reading, not the session.
_THROTTLED = frozenset({"Throttling", "ThrottlingException", "TooManyRequestsException", "LimitExceededException"})
_MISSING = frozenset({"ResourceNotFoundException", "ResourceNotFound"})


@dataclass(frozen=True, order=True)
class Gap:
    """Something that was not looked at, and why."""

    what: str
    why: str


@contextmanager
def reading(what: str, gaps: list[Gap]) -> Iterator[None]:
    """Turn AWS's refusal to let us read ``what`` into a Gap; raises AwsUnavailable for every other failure."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        why = _why(code)
        if why is None:
            raise AwsUnavailable(f"{what}: {' '.join(str(error).split())}") from error
        gaps.append(Gap(what, f"{error.operation_name}: {why}"))
    except BotoCoreError as error:
        raise AwsUnavailable(f"{what}: {' '.join(str(error).split())}") from error


def _why(code: str) -> str | None:
    if code in _DENIED:
        return "access denied"
    if code in _THROTTLED:
        return "throttled"
    return "does not exist" if code in _MISSING else None

"""What the analysis could not see. A gap is reported; it is never taken for a zero."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

from vigil.errors import AwsUnavailable

_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"})
# botocore has retried these; what is left of them costs one reading, not the session.
_THROTTLED = frozenset({"Throttling", "ThrottlingException", "TooManyRequestsException", "LimitExceededException"})
_MISSING = frozenset({"ResourceNotFoundException", "ResourceNotFound"})
# What a region that the account has not enabled answers to credentials that are good elsewhere.
_DISABLED = frozenset({"UnrecognizedClientException", "InvalidClientTokenId", "AuthFailure", "OptInRequired"})


@dataclass(frozen=True, order=True)
class Gap:
    """Something that was not looked at, and why."""

    what: str
    why: str


@contextmanager
def reading(what: str, gaps: list[Gap], *, whole_region: bool = False) -> Iterator[None]:
    """Turn AWS's refusal to let us read ``what`` into a Gap; raises AwsUnavailable for every other failure.

    ``whole_region`` takes a region that is not enabled or cannot be reached for a gap, too.
    """
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        why = _why(code) or ("is not enabled for this account" if whole_region and code in _DISABLED else None)
        if why is None:
            raise AwsUnavailable(f"{what}: {' '.join(str(error).split())}") from error
        gaps.append(Gap(what, f"{error.operation_name}: {why}"))
    except BotoCoreError as error:
        if whole_region and isinstance(error, EndpointConnectionError):
            gaps.append(Gap(what, "the region cannot be reached: does it exist?"))
            return
        raise AwsUnavailable(f"{what}: {' '.join(str(error).split())}") from error


def explain(error: BotoCoreError | ClientError) -> str:
    """Return in a few words why AWS did not let us read what the analysis can do without."""
    if isinstance(error, BotoCoreError):
        return "no answer"
    code = error.response.get("Error", {}).get("Code", "")
    return _why(code) or f"error {code}"


def _why(code: str) -> str | None:
    if code in _DENIED:
        return "access denied"
    if code in _THROTTLED:
        return "throttled"
    return "does not exist" if code in _MISSING else None

"""What the analysis could not see. A gap is reported; it is never taken for a zero."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError
from botocore.parsers import ResponseParserError

_REASONS = {
    ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"): "access denied",
    # botocore has retried these.
    ("Throttling", "ThrottlingException", "TooManyRequestsException", "LimitExceededException"): "throttled",
    ("ResourceNotFoundException", "ResourceNotFound"): "does not exist",
    # What a region that the account has not enabled answers to credentials that are good elsewhere.
    (
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "AuthFailure",
        "OptInRequired",
    ): "not enabled for this account",
}


@dataclass(frozen=True, order=True)
class Gap:
    """Something that was not looked at, and why."""

    what: str
    why: str


@contextmanager
def reading(what: str, gaps: list[Gap]) -> Iterator[None]:
    """Turn every failure of AWS to let us read ``what`` into a Gap: none is known that all other data is worth."""
    try:
        yield
    except ClientError as error:
        gaps.append(Gap(what, f"{error.operation_name}: {explain(error)}"))
    except (BotoCoreError, ResponseParserError) as error:
        gaps.append(Gap(what, explain(error)))


def explain(error: BotoCoreError | ClientError | ResponseParserError) -> str:
    """Return in a few words why AWS did not let us read something; not in AWS's, which name what they are about."""
    if isinstance(error, EndpointConnectionError):
        return "cannot be reached"
    if not isinstance(error, ClientError):
        return f"no answer ({type(error).__name__})"
    code = error.response.get("Error", {}).get("Code", "")
    for codes, why in _REASONS.items():
        if code in codes:
            return why
    return f"error {code}"

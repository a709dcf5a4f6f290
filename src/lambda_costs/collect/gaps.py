"""What the analysis could not read. The report names every gap; a gap never counts as zero."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError
from botocore.parsers import ResponseParserError

_REASONS = {
    "access denied": "AccessDenied AccessDeniedException UnauthorizedOperation AuthorizationError",
    # After botocore's retries.
    "throttled": "Throttling ThrottlingException TooManyRequestsException LimitExceededException",
    "does not exist": "ResourceNotFoundException ResourceNotFound",
    # The answer to valid credentials in a region that the account has not enabled.
    "not enabled for this account": "UnrecognizedClientException InvalidClientTokenId AuthFailure OptInRequired",
}
"""Error codes of AWS by what they mean."""
_OF_THE_CALLER = ("access denied", "throttled", "not enabled for this account")


@dataclass(frozen=True, order=True)
class Gap:
    """Something that was not analysed, and why."""

    subject: str
    reason: str


@contextmanager
def record_gap_if_denied(subject: str, gaps: list[Gap]) -> Iterator[None]:
    """Record a Gap if AWS does not let us read ``subject``: the analysis goes on with all other data."""
    try:
        yield
    except ClientError as error:
        gaps.append(Gap(subject, f"{error.operation_name}: {explain(error)}"))
    except (BotoCoreError, ResponseParserError) as error:
        gaps.append(Gap(subject, explain(error)))


def explain(error: BotoCoreError | ClientError | ResponseParserError) -> str:
    """Return in a few words why AWS did not answer. Its own message may name resources, and is not used."""
    if isinstance(error, EndpointConnectionError):
        return "cannot be reached"
    if not isinstance(error, ClientError):
        return f"no answer ({type(error).__name__})"
    code = error.response.get("Error", {}).get("Code", "")
    return next((reason for reason, codes in _REASONS.items() if code in codes.split()), f"error {code}")


def refuses_request(error: ClientError) -> bool:
    """Return whether AWS refused what was asked for, and would answer the caller something else."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    return status < 500 and explain(error) not in _OF_THE_CALLER

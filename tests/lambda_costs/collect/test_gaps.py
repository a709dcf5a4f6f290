import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from lambda_costs.collect.gaps import Gap, record_gap_if_denied


def refusal(code: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "GetThing")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (refusal("AccessDenied"), "GetThing: access denied"),
        (refusal("AccessDeniedException"), "GetThing: access denied"),
        (refusal("Throttling"), "GetThing: throttled"),
        (refusal("TooManyRequestsException"), "GetThing: throttled"),
        (refusal("ResourceNotFoundException"), "GetThing: does not exist"),
        (refusal("InvalidClientTokenId"), "GetThing: not enabled for this account"),
        (refusal("OptInRequired"), "GetThing: not enabled for this account"),
        (refusal("MalformedQueryException", "two\nlines"), "GetThing: error MalformedQueryException"),
        (EndpointConnectionError(endpoint_url="http://nowhere"), "cannot be reached"),
        (ReadTimeoutError(endpoint_url="http://slow"), "no answer (ReadTimeoutError)"),
        (NoCredentialsError(), "no answer (NoCredentialsError)"),
        (ResponseParserError("<html>"), "no answer (ResponseParserError)"),
    ],
)
def test_every_failure_of_aws_is_a_gap(error: Exception, reason: str) -> None:
    gaps: list[Gap] = []
    with record_gap_if_denied("orders", gaps):
        raise error
    assert gaps == [Gap("orders", reason)]


def test_a_bug_is_no_gap() -> None:
    with pytest.raises(KeyError), record_gap_if_denied("orders", []):
        raise KeyError("bug")

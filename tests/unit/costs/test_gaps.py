import pytest
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

from vigil.costs.gaps import Gap, reading
from vigil.errors import AwsUnavailable


def refusal(code: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "GetThing")


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("AccessDenied", "access denied"),
        ("AccessDeniedException", "access denied"),
        ("Throttling", "throttled"),
        ("TooManyRequestsException", "throttled"),
        ("ResourceNotFoundException", "does not exist"),
    ],
)
def test_a_refusal_becomes_a_gap(code: str, why: str) -> None:
    gaps: list[Gap] = []
    with reading("orders", gaps):
        raise refusal(code)
    assert gaps == [Gap("orders", f"GetThing: {why}")]


@pytest.mark.parametrize(
    "error",
    [refusal("InternalFailure", "two\nlines"), refusal(""), EndpointConnectionError(endpoint_url="http://nowhere")],
)
def test_any_other_failure_of_aws_is_raised_in_one_line(error: ClientError | BotoCoreError) -> None:
    gaps: list[Gap] = []
    with pytest.raises(AwsUnavailable, match=r"^orders: ") as raised, reading("orders", gaps):
        raise error
    assert "\n" not in str(raised.value)
    assert gaps == []


def test_a_bug_is_no_gap() -> None:
    with pytest.raises(KeyError), reading("orders", []):
        raise KeyError("bug")

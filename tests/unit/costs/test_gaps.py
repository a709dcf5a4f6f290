import pytest
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, ReadTimeoutError

from vigil.costs.gaps import Gap, explain, reading
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
    [
        refusal("InternalFailure", "two\nlines"),
        refusal(""),
        refusal("InvalidClientTokenId"),
        EndpointConnectionError(endpoint_url="http://nowhere"),
        ReadTimeoutError(endpoint_url="http://slow"),
    ],
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


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (refusal("InvalidClientTokenId"), "GetThing: is not enabled for this account"),
        (refusal("OptInRequired"), "GetThing: is not enabled for this account"),
        (refusal("AccessDenied"), "GetThing: access denied"),
        (EndpointConnectionError(endpoint_url="http://nowhere"), "the region cannot be reached: does it exist?"),
    ],
)
def test_a_whole_region_that_does_not_answer_is_a_gap(error: ClientError | BotoCoreError, why: str) -> None:
    gaps: list[Gap] = []
    with reading("functions", gaps, whole_region=True):
        raise error
    assert gaps == [Gap("functions", why)]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (refusal("AccessDenied"), "access denied"),
        (refusal("Broken"), "error Broken"),
        (ReadTimeoutError(endpoint_url="http://slow"), "no answer"),
    ],
)
def test_what_the_analysis_can_do_without_is_told_in_a_few_words(error: ClientError | BotoCoreError, why: str) -> None:
    assert explain(error) == why

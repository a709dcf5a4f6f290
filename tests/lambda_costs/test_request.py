from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_costs.request import CostRequest, parse_request
from vigil.errors import InvalidDetail

REGIONS = r"regions must be a list of 1 to 20 different region names such as us-east-1"
DAYS = "days must be a whole number from 1 to 90"
FUNCTIONS = r"functions must be a name filter such as orders-\*"
DOLLARS = "max_scan_dollars must be a number from 0 to 5, the stack's MaxScanDollars"
UNKNOWN = r"is not known \(known: regions, days, functions, max_scan_dollars\)"


def test_an_empty_detail_asks_for_30_days_of_all_functions_here() -> None:
    expected = CostRequest(regions=("eu-west-1",), days=30, functions=None, max_scan_dollars=5.0)
    assert parse_request({}, "eu-west-1") == expected


@pytest.mark.parametrize(
    "detail",
    [
        {"regions": ["us-east-1", "ap-southeast-2", "us-gov-west-1"]},
        {"regions": [f"eu-west-{number}" for number in range(1, 21)]},
        {"days": 1},
        {"days": 90},
        {"functions": "orders-*"},
        {"functions": "[!a]_?" + "x" * 122},
        {"functions": None},
        {"max_scan_dollars": 0},
        {"max_scan_dollars": 0.25},
        {"max_scan_dollars": 5},
    ],
)
def test_a_valid_detail_is_accepted(detail: dict[str, Any]) -> None:
    request = parse_request(detail, "us-east-1").model_dump(mode="json")
    assert request == {"regions": ["us-east-1"], "days": 30, "functions": None, "max_scan_dollars": 5, **detail}


BAD_DAYS = (True, "30", 30.0, 30.5, None, 0, -1, 91, 10**400)
BAD_REGIONS = (
    *("us-east-1", {"us-east-1": 1}, [], [f"eu-west-{number}" for number in range(1, 22)], ["us-east-1", "us-east-1"]),
    *(["US-EAST-1"], ["us-east-1\n"], ["us-east-1.example.com/"], [1], None),
)
BAD_DOLLARS = (-0.01, 5.01, 1000, "5", True, None, float("nan"), float("inf"), 10**400)


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        *(({"days": value}, DAYS) for value in BAD_DAYS),
        *(({"regions": value}, REGIONS) for value in BAD_REGIONS),
        *(({"functions": value}, FUNCTIONS) for value in ("", "a b", "a\n", "x" * 129, ["orders"])),
        *(({"max_scan_dollars": value}, DOLLARS) for value in BAD_DOLLARS),
        ({"region": ["us-east-1"]}, f"'region' {UNKNOWN}"),
        ({"Days": 3}, f"'Days' {UNKNOWN}"),
        ({"a\nb": 1}, rf"'a\\nb' {UNKNOWN}"),
        ({"days": 0, "regions": [], "x": 1, "functions": 5}, f"{REGIONS}; {DAYS}; {FUNCTIONS}; 'x' {UNKNOWN}"),
    ],
)
def test_a_wrong_detail_is_refused_with_what_is_allowed(detail: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidDetail, match=rf"^detail: {said}$"):
        parse_request(detail, "us-east-1")


@pytest.mark.parametrize("detail", [None, [], "us-east-1", 5, True])
def test_a_detail_that_is_not_an_object_is_refused(detail: object) -> None:
    said = rf"with regions, days, functions, max_scan_dollars, not {type(detail).__name__}$"
    with pytest.raises(InvalidDetail, match=said):
        parse_request(detail, "us-east-1")


@pytest.mark.parametrize(("stack", "default"), [(0.5, 0.5), (5, 5), (1000, 5)])
def test_the_stacks_limit_applies_to_every_event(stack: float, default: float) -> None:
    assert parse_request({}, "us-east-1", stack).max_scan_dollars == default
    assert parse_request({"max_scan_dollars": stack}, "us-east-1", stack).max_scan_dollars == stack
    said = rf"^detail: max_scan_dollars must be a number from 0 to {stack:g}, the stack's MaxScanDollars$"
    with pytest.raises(InvalidDetail, match=said):
        parse_request({"max_scan_dollars": stack + 0.01}, "us-east-1", stack)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(), some, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(["regions", "days", "functions", "max_scan_dollars"])


@settings(deadline=None)
@given(json_values | st.dictionaries(keys | st.text(), json_values))
def test_any_json_is_a_request_or_refused_in_one_line(detail: object) -> None:
    try:
        request = parse_request(detail, "us-east-1")
    except InvalidDetail as error:
        said = str(error)
    else:
        said = f"{len(request.regions)} regions, {request.days} days"
    assert said.splitlines() == [said]

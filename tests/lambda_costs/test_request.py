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
KNOWN = r"\(known: regions, days, functions, max_scan_dollars\)"


def test_an_empty_detail_asks_for_30_days_of_all_functions_here() -> None:
    assert parse_request({}, "eu-west-1") == CostRequest(
        regions=("eu-west-1",), days=30, functions=None, max_scan_dollars=5.0
    )


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


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        ({"days": True}, DAYS),
        ({"days": "30"}, DAYS),
        ({"days": 30.0}, DAYS),
        ({"days": 30.5}, DAYS),
        ({"days": None}, DAYS),
        ({"days": 0}, DAYS),
        ({"days": -1}, DAYS),
        ({"days": 91}, DAYS),
        ({"days": 10**400}, DAYS),
        ({"regions": "us-east-1"}, REGIONS),
        ({"regions": {"us-east-1": 1}}, REGIONS),
        ({"regions": []}, REGIONS),
        ({"regions": [f"eu-west-{number}" for number in range(1, 22)]}, REGIONS),
        ({"regions": ["us-east-1", "us-east-1"]}, REGIONS),
        ({"regions": ["US-EAST-1"]}, REGIONS),
        ({"regions": ["us-east-1\n"]}, REGIONS),
        ({"regions": ["us-east-1.example.com/"]}, REGIONS),
        ({"regions": [1]}, REGIONS),
        ({"regions": None}, REGIONS),
        ({"functions": ""}, FUNCTIONS),
        ({"functions": "a b"}, FUNCTIONS),
        ({"functions": "a\n"}, FUNCTIONS),
        ({"functions": "x" * 129}, FUNCTIONS),
        ({"functions": ["orders"]}, FUNCTIONS),
        ({"max_scan_dollars": -0.01}, DOLLARS),
        ({"max_scan_dollars": 5.01}, DOLLARS),
        ({"max_scan_dollars": 1000}, DOLLARS),
        ({"max_scan_dollars": "5"}, DOLLARS),
        ({"max_scan_dollars": True}, DOLLARS),
        ({"max_scan_dollars": None}, DOLLARS),
        ({"max_scan_dollars": float("nan")}, DOLLARS),
        ({"max_scan_dollars": float("inf")}, DOLLARS),
        ({"max_scan_dollars": 10**400}, DOLLARS),
        ({"region": ["us-east-1"]}, f"'region' is not known {KNOWN}"),
        ({"Days": 3}, f"'Days' is not known {KNOWN}"),
        ({"a\nb": 1}, rf"'a\\nb' is not known {KNOWN}"),
        (
            {"days": 0, "regions": [], "x": 1, "functions": 5},
            f"{REGIONS}; {DAYS}; {FUNCTIONS}; 'x' is not known {KNOWN}",
        ),
    ],
)
def test_a_wrong_detail_is_refused_with_what_is_allowed(detail: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidDetail, match=rf"^detail: {said}$"):
        parse_request(detail, "us-east-1")


@pytest.mark.parametrize("detail", [None, [], "us-east-1", 5, True])
def test_a_detail_that_is_not_an_object_is_refused(detail: object) -> None:
    with pytest.raises(
        InvalidDetail, match=rf"with regions, days, functions, max_scan_dollars, not {type(detail).__name__}$"
    ):
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


@settings(deadline=None)
@given(
    json_values
    | st.dictionaries(st.sampled_from(["regions", "days", "functions", "max_scan_dollars"]) | st.text(), json_values)
)
def test_any_json_is_a_request_or_refused_in_one_line(detail: object) -> None:
    try:
        request = parse_request(detail, "us-east-1")
    except InvalidDetail as error:
        said = str(error)
    else:
        said = f"{len(request.regions)} regions, {request.days} days"
    assert said.splitlines() == [said]

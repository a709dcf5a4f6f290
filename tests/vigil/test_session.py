import dataclasses
import json
from decimal import Decimal
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.hostile import TEXT
from vigil.errors import InvalidDetail, InvalidSessionId, InvalidStatus
from vigil.session import (
    ALLOWED_FROM,
    MAX_DETAIL_BYTES,
    MAX_DETAIL_DEPTH,
    TERMINAL,
    Failure,
    Session,
    Status,
    Task,
    check_detail,
    check_session_id,
    parse_status,
)
from vigil.step import Usage
from vigil.text import to_json


@pytest.mark.parametrize("good", ["0b5c1f6e-7a7b-4c7e-9a51-3d2f5b8f3c11", "a" * 33, "A-1" * 33 + "z"])
def test_a_session_id_is_taken(good: str) -> None:
    assert check_session_id(good) == good


@pytest.mark.parametrize("bad", ["a" * 32, "a" * 101, "a" * 40 + "/", "a" * 40 + "#", "a" * 40 + "\n", "", None, 7, {}])
def test_any_other_session_id_is_refused_with_the_rule(bad: object) -> None:
    with pytest.raises(InvalidSessionId, match="33 to 100 letters, digits or '-'") as refused:
        check_session_id(bad)
    assert "\n" not in str(refused.value)


def nested(depth: int) -> dict[str, Any]:
    value: Any = 1
    for number in range(depth - 1):
        value = [value] if number % 2 else {"x": value}
    return {"x": value}


LONGEST = {"x": "é" * (MAX_DETAIL_BYTES // 2 - 5)}


@pytest.mark.parametrize("good", [{}, {"days": 3, "x": [None, 1e308, "é😀"]}, nested(MAX_DETAIL_DEPTH - 1), LONGEST])
def test_a_detail_is_an_object_of_json(good: dict[str, Any]) -> None:
    assert check_detail(good) is good
    assert json.loads(json.dumps(good, allow_nan=False)) == good


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([], "a JSON object, not list"),
        ("text", "a JSON object, not str"),
        (None, "a JSON object, not NoneType"),
        ({"x": float("nan")}, "no NaN and no Infinity"),
        ({"x": [{"y": float("-inf")}]}, "no NaN and no Infinity"),
        ({"x": ["\ud83d"]}, "half a surrogate pair"),
        ({"\udcff": 1}, "half a surrogate pair"),
        (nested(MAX_DETAIL_DEPTH + 1), f"deeper than {MAX_DETAIL_DEPTH} levels"),
        (nested(100_000), f"deeper than {MAX_DETAIL_DEPTH} levels"),
        ({"x": LONGEST["x"] + "yy"}, f"{MAX_DETAIL_BYTES + 1} bytes; at most {MAX_DETAIL_BYTES} are allowed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_any_other_detail_is_refused_with_the_rule(bad: object, said: str) -> None:
    with pytest.raises(InvalidDetail, match=f"^detail [^\n]*{said}"):
        check_detail(bad)


def test_a_terminal_status_has_no_successor() -> None:
    for status in Status:
        if status in TERMINAL:
            assert all(status not in before for before in ALLOWED_FROM.values())


@pytest.mark.criterion("1.1")
def test_busy_is_a_status_beside_completed_and_failed() -> None:
    assert {parse_status(name) for name in ("BUSY", "COMPLETED", "FAILED")} < set(Status)


def test_an_unknown_status_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidStatus, match="INITIATED, BUSY, COMPLETED, FAILED, not 'DONE'"):
        parse_status("DONE")


NUMBERS = [Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"), Decimal("1E+999999"), Decimal("1E-9"), -1]
USAGE = ("model", "input_tokens", "output_tokens", "dollars", "price_assumed")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.binary() | TEXT | st.sampled_from(NUMBERS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXT, inner, max_size=3)
        | st.sets(st.integers() | TEXT, max_size=3)
        | st.fixed_dictionaries(dict.fromkeys(("code", "message"), inner))
        | st.fixed_dictionaries(dict.fromkeys(USAGE, inner))
    ),
    max_leaves=8,
)
FIELDS = (*(field.name for field in dataclasses.fields(Session)), "PK", "SK", "state", "started_at", "message")
ITEMS = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, ANYTHING))


@settings(deadline=None)
@given(ITEMS)
@example({"SK": "TASK#x"})
@example({"SK": "TASK#1"})
@example({"error": "boom", "usage": {}, "expires_at": Decimal("Infinity")})
def test_any_item_of_the_table_is_a_record_of_plain_types(item: dict[str, Any]) -> None:
    for record in (Session.from_item(item), Task.from_item(item)):
        for name, declared in get_type_hints(type(record)).items():
            kinds = (tuple,) if get_origin(declared) is tuple else get_args(declared) or (declared,)
            assert type(getattr(record, name)) in kinds
        json.loads(to_json(dataclasses.asdict(record)), parse_constant=pytest.fail)
        str(getattr(record, "usage", None))


def test_a_malformed_cause_is_shown() -> None:
    assert Session.from_item({"error": "boom"}).error == Failure("", "boom")
    assert Session.from_item({"error": {"code": 5}}).error == Failure("5", "")
    assert Session.from_item({"error": 10**5000, "expires_at": 10**5000}).error == Failure("", "(int)")


@pytest.mark.parametrize("number", [None, "1", *NUMBERS[:4], {}])
def test_usage_with_an_invalid_number_is_none(number: object) -> None:
    usage = {"model": "m", "input_tokens": Decimal(1), "output_tokens": Decimal(2), "dollars": Decimal("0.5")}
    assert Usage.from_item({**usage, "price_assumed": False}) == Usage("m", 1, 2, Decimal("0.5"))
    for name in ("input_tokens", "output_tokens", "dollars"):
        assert Usage.from_item({**usage, name: number}) is None


@pytest.mark.parametrize(
    ("key", "number", "name"),
    [("TASK#007#a", 7, "a"), ("TASK#1#a#b", 1, "a#b"), ("TASK#x", 0, "x"), ("TASK#x#y", 0, "y"), ("TASK#²#y", 0, "y")],
)
def test_a_phase_has_the_name_and_the_number_of_its_key(key: str, number: int, name: str) -> None:
    task = Task.from_item({"SK": key})
    assert (task.number, task.name) == (number, name)


@pytest.mark.parametrize(
    ("status", "since"), [("INITIATED", "0"), ("BUSY", "2"), ("COMPLETED", "4"), ("FAILED", "4"), ("odd", "4")]
)
def test_status_is_dated_by_its_own_change_not_the_last_one(status: str, since: str) -> None:
    times = {"start_time": "0", "created_at": "1", "busy_at": "2", "updated_at": "3", "ended_at": "4"}
    session = Session.from_item({"PK": "a" * 36, "status": status, **times})
    assert session.statuses[session.status] == since


@pytest.mark.parametrize("detail", [None, "", "{", "[1]", '"text"', "[" * 100_000, 7])
def test_a_record_that_holds_no_input_says_so_on_one_line(detail: object) -> None:
    session = Session.from_item({"PK": "a" * 36, "detail": detail})
    with pytest.raises(InvalidDetail, match="holds no input to repeat"):
        session.input()

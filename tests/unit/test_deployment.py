"""What lies in the dead-letter queue: anything, and yet it can be listed."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile import TEXT
from vigil.deployment import DeadLetter

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
EVENT = st.fixed_dictionaries({}, optional={"id": JSON, "time": JSON}) | JSON
ATTRIBUTE = st.fixed_dictionaries({}, optional={"StringValue": JSON, "DataType": JSON}) | JSON
ATTRIBUTES = st.fixed_dictionaries({}, optional={"ERROR_CODE": ATTRIBUTE, "ERROR_MESSAGE": ATTRIBUTE}) | JSON
MESSAGE = st.fixed_dictionaries(
    {}, optional={"Body": EVENT.map(json.dumps) | TEXT | JSON, "MessageAttributes": ATTRIBUTES}
)


@settings(deadline=None)
@given(MESSAGE)
def test_any_message_is_an_event_of_plain_text(message: dict[str, Any]) -> None:
    assert {type(value) for value in vars(DeadLetter.from_message(message)).values()} == {str}


@pytest.mark.parametrize("body", ["[" * 100_000, '{"id":' * 100_000, "", "nul", '{"id": [1], "time": {}}', "[1]"])
def test_a_body_that_is_no_event_has_no_id(body: str) -> None:
    assert DeadLetter.from_message({"Body": body}) == DeadLetter("?", "?", "unknown")


def test_an_event_is_told_with_its_reason() -> None:
    attributes = {"ERROR_CODE": {"StringValue": "NO"}, "ERROR_MESSAGE": {"StringValue": "denied"}}
    message = {"Body": '{"id": "a", "time": "b"}', "MessageAttributes": attributes}
    assert DeadLetter.from_message(message) == DeadLetter("a", "b", "NO: denied")

"""The attempts of a session, as its record tells them and as its steps and AgentCore know them."""

from dataclasses import asdict
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.hostile import TEXT
from vigil.attempt import EndedAttempt
from vigil.session import Session, check_session_id, runtime_session_id
from vigil.settings import LAST_ATTEMPT
from vigil.step import Step
from vigil.text import to_json

TEXTS = ("code", "message", "how", "started_at", "ended_at")
ANY = st.recursive(
    st.none() | st.booleans() | TEXT | st.integers() | st.decimals() | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
ITEM = ANY | st.fixed_dictionaries({}, optional=dict.fromkeys((*TEXTS, "steps_done", "more"), ANY))
DIED = EndedAttempt("AgentCrashed", "it died", "exit code 1", "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:09.000Z", 7)


@given(ITEM)
@example({"steps_done": Decimal("NaN")})
@example({"code": 10**5000, "steps_done": 10**5000})
def test_any_item_is_an_attempt_of_plain_types(item: object) -> None:
    attempt = EndedAttempt.from_item(item)
    assert {type(getattr(attempt, name)) for name in TEXTS} == {str}
    assert type(attempt.steps_done) is int
    to_json(asdict(attempt))
    assert not EndedAttempt.from_item({}).repeats([attempt])


@given(ANY | st.lists(ITEM, max_size=4), ANY)
@example([{}], Decimal(-3))
def test_any_record_has_a_tuple_of_attempts_and_a_number_from_1_on(attempts: object, attempt: object) -> None:
    session = Session.from_item({"PK": "s", "attempts": attempts, "attempt": attempt})
    assert len(session.attempts) == (len(attempts) if isinstance(attempts, list) else 0)
    assert type(session.attempt) is int
    assert session.attempt >= 1


def test_an_attempt_is_read_as_it_was_written() -> None:
    assert EndedAttempt.from_item({**asdict(DIED), "steps_done": Decimal(7)}) == DIED


def died(how: str, steps_done: int) -> EndedAttempt:
    return EndedAttempt("AgentCrashed", "", how, "", "", steps_done)


@pytest.mark.parametrize(
    ("last", "earlier", "repeats"),
    [
        (died("exit code 1", 7), [], False),
        (died("exit code 1", 7), [died("exit code 1", 7)], True),
        # It came further, or died in another way.
        (died("exit code 1", 8), [died("exit code 1", 7)], False),
        (died("exit code 1", 7), [died("exit code 2", 7)], False),
        # Only the last one counts.
        (died("exit code 1", 7), [died("exit code 1", 7), died("exit code 2", 7)], False),
        (died("exit code 1", 7), [died("exit code 2", 7), died("exit code 1", 7)], True),
        # Killed from outside, whatever was before.
        (died("", 7), [died("", 7)], False),
        (died("exit code 1", 7), [died("", 7)], False),
    ],
)
def test_an_attempt_repeats_the_last_one_that_died_alike_at_the_same_step(
    last: EndedAttempt, earlier: list[EndedAttempt], repeats: bool
) -> None:
    assert last.repeats(earlier) is repeats


@given(st.integers(-5, 5) | ANY, st.sampled_from(["RUNNING", "COMPLETED", "FAILED"]), st.integers(0, 4))
def test_what_ran_when_its_attempt_ended_was_interrupted_then(attempt: object, state: str, ended: int) -> None:
    ends = [f"2026-01-01T00:00:0{number}.000Z" for number in range(ended)]
    step = Step.from_item({"number": 1, "state": state, "attempt": attempt})
    now = step.ended_with_attempt(ends)
    if state == "RUNNING" and step.attempt <= ended:
        assert (now.state, now.ended_at) == ("INTERRUPTED", ends[step.attempt - 1])
    else:
        assert now == step


@pytest.mark.parametrize("session_id", ["0b5c1f6e-7a7b-4c7e-9a51-3d2f5b8f3c11", "A" * 100])
def test_agentcore_knows_each_attempt_by_an_id_of_its_own(session_id: str) -> None:
    attempts = range(1, LAST_ATTEMPT + 1)
    ids = [runtime_session_id(session_id, attempt) for attempt in attempts]
    assert ids[0] == session_id
    assert len(set(ids)) == len(ids)
    # InvokeAgentRuntime takes 33 to 256 characters.
    assert all(33 <= len(check_session_id(known[-100:])) <= len(known) <= 256 for known in ids)

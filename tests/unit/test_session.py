import pytest

from vigil.errors import InvalidSessionId, InvalidStatus
from vigil.session import ALLOWED_FROM, Status, check_session_id, parse_status


@pytest.mark.parametrize("good", ["0b5c1f6e-7a7b-4c7e-9a51-3d2f5b8f3c11", "a" * 33, "A-1" * 33 + "z"])
def test_a_session_id_is_taken(good: str) -> None:
    assert check_session_id(good) == good


@pytest.mark.parametrize("bad", ["a" * 32, "a" * 101, "a" * 40 + "/", "a" * 40 + "#", "a" * 40 + "\n", "", None, 7, {}])
def test_anything_else_is_refused_with_what_is_allowed(bad: object) -> None:
    with pytest.raises(InvalidSessionId, match="33 to 100 letters, digits or '-'") as refused:
        check_session_id(bad)
    assert "\n" not in str(refused.value)


def test_a_terminal_status_has_no_successor() -> None:
    for status in Status:
        if status.terminal:
            assert all(status not in before for before in ALLOWED_FROM.values())


@pytest.mark.criterion("1.1")
def test_busy_is_a_status_beside_completed_and_failed() -> None:
    assert {parse_status(name) for name in ("BUSY", "COMPLETED", "FAILED")} < set(Status)


def test_an_unknown_status_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidStatus, match="INITIATED, BUSY, COMPLETED, FAILED, not 'DONE'"):
        parse_status("DONE")

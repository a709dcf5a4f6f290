import pytest

from vigil.session import Session
from vigil.watch import how_it_ended


@pytest.mark.parametrize(
    ("execution", "record", "end"),
    [
        ({"status": "SUCCEEDED"}, {"status": "COMPLETED"}, (True, None, None)),
        ({"status": "ABORTED"}, {"status": "COMPLETED"}, (True, None, None)),
        ({"status": "FAILED", "error": "Mine", "cause": "a"}, {"status": "FAILED"}, (False, "Mine", "a")),
        ({"status": "ABORTED"}, {"status": "FAILED", "error": {"code": "B", "message": "b"}}, (False, "B", "b")),
        (
            {"status": "ABORTED", "error": "Mine", "cause": "a"},
            {"status": "BUSY"},
            (False, "WorkflowEnded", "its workflow ended without it: ABORTED, Mine: a"),
        ),
        ({"status": "TIMED_OUT"}, None, (False, "WorkflowEnded", "its workflow ended without it: TIMED_OUT")),
    ],
)
def test_a_session_ended_as_its_record_says_or_will_say(
    execution: dict[str, str], record: dict[str, object] | None, end: tuple[object, ...]
) -> None:
    assert how_it_ended(execution, Session.from_item(record) if record else None) == end

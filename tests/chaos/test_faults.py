"""Every fault of the matrix: its session ends as docs/faults.md promises, and nothing is left of it."""

import pytest

from tests.chaos.document import DOCUMENT, promised, render
from tests.chaos.faults import FAULTS
from tests.chaos.matrix import run

pytestmark = pytest.mark.takes(90)


def test_every_session_that_meets_a_fault_ends_as_promised(subtests: pytest.Subtests) -> None:
    outcomes, left = run(FAULTS)
    for outcome in outcomes:
        with subtests.test(outcome.fault.name):
            assert outcome.problems == []
    assert left == []


def test_the_document_promises_what_is_tested() -> None:
    rows = ((fault, None) for fault in FAULTS)
    assert promised(DOCUMENT.read_text(encoding="utf-8")) == promised(render(rows)), "run `make faults`"

"""Faults of the matrix: their sessions end as docs/faults.md promises, and nothing is left of them.

A run draws some of the faults. ``make faults`` lets sessions meet all of them, as before each change that lands.
"""

import random

import pytest

from tests.chaos.document import DOCUMENT, promised, render
from tests.chaos.endings import ENDINGS, Ending
from tests.chaos.faults import FAULTS
from tests.chaos.matrix import run

pytestmark = pytest.mark.takes(50)


def test_every_session_that_meets_a_fault_ends_as_promised(subtests: pytest.Subtests) -> None:
    # Of one kind: a second stack would take as long as all these sessions.
    apart = random.choice(FAULTS).apart
    outcomes, left = run(random.sample([fault for fault in FAULTS if fault.apart == apart], 6))
    for outcome in outcomes:
        with subtests.test(outcome.fault.name):
            assert outcome.problems == []
    assert left == []


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.how)
def test_faults_show_whether_an_ending_is_retried(ending: Ending) -> None:
    assert ending.is_shown({fault.name: fault.end for fault in FAULTS})


def test_the_document_promises_what_is_tested() -> None:
    rows = ((fault, None) for fault in FAULTS)
    assert promised(DOCUMENT.read_text(encoding="utf-8")) == promised(render(rows)), "run `make faults`"

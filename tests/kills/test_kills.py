"""Sessions whose agents are killed or frozen end as if nobody had disturbed them: a few of those of ``make kills``."""

import random

import pytest

from tests.kills.proof import prove, proving
from tests.kills.server import FROZEN, RUNTIME, WORKER

pytestmark = pytest.mark.takes(80)

AT_RANDOM = 1


def test_sessions_that_are_struck_end_as_if_undisturbed(subtests: pytest.Subtests) -> None:
    with proving() as proof:
        rng = random.Random(random.getrandbits(32))
        drawn = list(proof.at_random(rng, AT_RANDOM))
        struck = rng.choice([WORKER, RUNTIME, FROZEN])
        drawn.append(rng.choice([strikes for strikes in proof.at_calls() if strikes[0].victim == struck]))
        for verdict in prove(proof, drawn):
            with subtests.test(proof.describe(verdict.strikes)):
                assert verdict.problems == []
        reference = proof.reference.calls
        assert proof.leftovers() == []
    assert {"model", "step", "checkpoint", "file", "artifact", "phase", "history", "status COMPLETED"} <= {*reference}

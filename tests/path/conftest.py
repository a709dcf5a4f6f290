"""A local stack for this folder: the tests of one stack run in one process, and all of them would take longest."""

from collections.abc import Iterator

import pytest

from tests.conftest import TIMING
from vigil.local.stack import LocalStack
from vigil.names import Env


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """A local stack without the sample account, which no test of this folder looks at."""
    agent = {Env.AGENT: "tests.agents:chosen"}
    with LocalStack.start(agent_environment=agent, parameters=TIMING, sample_account=False) as started:
        yield started

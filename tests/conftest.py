"""Fixtures that several folders of tests use: real parts, started once a test process."""

from collections.abc import Iterator

import pytest

from tests.support import Workflow
from vigil.deployment import Deployment
from vigil.local.stack import LocalStack
from vigil.names import Env, Parameter

MAX_SESSION_SECONDS = 4500
# A workflow looks at a session after 6 s if the agent has not beaten, else every 5 s, and gives it up after 12 s.
TIMING = {
    Parameter.HEARTBEAT_SECONDS: "3",
    Parameter.SAFETY_SECONDS: "5",
    Parameter.MAX_SESSION_SECONDS: str(MAX_SESSION_SECONDS),
}


@pytest.fixture(scope="session")
def embedded() -> Iterator[LocalStack]:
    """The embedded AWS with nothing deployed in it."""
    stack = LocalStack._launch(0)
    yield stack
    stack.stop()


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """The local stack as ``make run`` starts it, with the sample account; an event's detail may choose its agent."""
    with LocalStack.start(agent_environment={Env.AGENT: "tests.agents:chosen"}, parameters=TIMING) as started:
        yield started


@pytest.fixture(scope="session")
def deployment(stack: LocalStack) -> Deployment:
    """A client of the local stack."""
    return Deployment(stack.session())


@pytest.fixture(scope="session")
def workflow(stack: LocalStack) -> Workflow:
    """Executions of the local stack's workflow."""
    return Workflow(stack)

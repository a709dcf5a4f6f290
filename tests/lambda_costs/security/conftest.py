"""One local stack for all of this folder: functions with secrets in them, and a record of what the model is told."""

from collections.abc import Iterator

import pytest

from tests.lambda_costs.security.planted import API_KEY, plant
from tests.support import Workflow
from vigil.deployment import Deployment
from vigil.local.stack import LocalStack
from vigil.names import Env, Parameter

# An agent that does not beat is lost after 6 s, and a workflow that nobody wakes looks again after 5.
TIMING = {
    Parameter.HEARTBEAT_SECONDS: "3",
    Parameter.SAFETY_SECONDS: "5",
    Parameter.MAX_SESSION_SECONDS: "4500",
}


class RecordingStack(LocalStack):
    """A local stack that writes down what the models of its agents are told and say."""

    SERVER = "tests.lambda_costs.security.server"


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """A local stack whose account holds a few functions with secrets; an event's detail may choose its agent."""
    environment = {
        Env.AGENT: "tests.agents:chosen",
        "SOME_API_KEY": API_KEY,
    }
    with RecordingStack.start(agent_environment=environment, parameters=TIMING, sample_account=False) as started:
        plant(started)
        yield started


@pytest.fixture(scope="session")
def deployment(stack: LocalStack) -> Deployment:
    """A client of this folder's stack."""
    return Deployment(stack.session())


@pytest.fixture(scope="session")
def workflow(stack: LocalStack) -> Workflow:
    """Executions of the workflow of this folder's stack."""
    return Workflow(stack)

"""One local stack for this folder: its functions hold secrets, and it records the model's input."""

from collections.abc import Iterator

import pytest
from botocore.credentials import Credentials

from tests.lambda_costs.security.planted import API_KEY, plant
from tests.lambda_costs.security.raw_requests import user
from vigil.local.stack import LocalStack
from vigil.names import Env, Parameter

# An agent without heartbeat is lost after 6 s, and a workflow that nothing wakes looks again after 5 s.
TIMING = {Parameter.HEARTBEAT_SECONDS: "3", Parameter.SAFETY_SECONDS: "5", Parameter.MAX_SESSION_SECONDS: "4500"}
# Every option is on, so that every role exists. The schedule never runs here.
OPTIONS = {Parameter.SCHEDULE: "cron(0 0 1 1 ? 2199)", Parameter.NOTIFY_EMAIL: "operator@example.org"}


class RecordingStack(LocalStack):
    """A local stack that records input and answers of its agents' models."""

    SERVER = "tests.lambda_costs.security.server"


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """A local stack whose account holds a few functions with secrets; an event's detail may choose its agent."""
    environment = {Env.AGENT: "tests.agents:chosen", "SOME_API_KEY": API_KEY}
    with RecordingStack.start(
        agent_environment=environment, parameters=TIMING | OPTIONS, sample_account=False
    ) as started:
        plant(started)
        yield started


@pytest.fixture(scope="session")
def nobody(stack: LocalStack) -> Iterator[Credentials]:
    """The key of a user who may do nothing."""
    with user(stack, "nobody", []) as credentials:
        yield credentials

"""Fixtures that several folders of tests use: real parts, started once a test process."""

from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

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
    Parameter.BUDGET_DOLLARS: "2",
    Parameter.MAX_SCAN_DOLLARS: "2",
}


STACK_USERS = (
    "infra/test_one_template",
    "path/test_cli",
    "path/test_hostile_text",
    "path/test_path",
    "workflow/test_workflow",
)
LONG = (
    "chaos/test_faults",
    "stack",
    "security",
    "docs/test_local_development",
    "infra/test_make_deploy",
    "docs/test_readme",
)
"""What takes longest, and so starts first."""


def part(nodeid: str) -> str:
    """Return what runs in one process: the tests of a file, or of the files that share a local stack."""
    name = nodeid.partition("::")[0].removeprefix("tests/").removesuffix(".py")
    if name.startswith("security/"):
        return "security"
    return "stack" if name in STACK_USERS else name


class Parts(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return part(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Parts:
    return Parts(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    parts = {item: part(item.nodeid) for item in items}
    items.sort(key=lambda item: LONG.index(parts[item]) if parts[item] in LONG else len(LONG))


@pytest.fixture(scope="session")
def embedded() -> Iterator[LocalStack]:
    """The embedded AWS with nothing deployed in it."""
    stack = LocalStack.launch()
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

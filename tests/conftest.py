"""Fixtures that several folders of tests use: real parts, started once a test process.

Each run draws the order of the tests, a time zone and what Hypothesis tries from one seed, and says which.
"""

import os
import random
import time
from collections.abc import Iterator
from typing import Any

import hypothesis
import hypothesis.core
import hypothesis.internal.conjecture.providers as drawing
import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.support import Workflow
from vigil.deployment import Deployment
from vigil.local.stack import LocalStack
from vigil.names import Env, Parameter

# How long an example takes says nothing on a machine that has much else to do.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

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
    "path/test_doctor",
    "path/test_hostile_text",
    "path/test_path",
    "workflow/test_workflow",
)
LONG = (
    "stack",
    "security",
    "path/test_cli",
    "chaos/test_faults",
    "unit/local/test_processes",
    "docs/test_local_development",
    "path/test_local_stack",
    "workflow/test_line",
    "unit/agent/test_runtime",
    "infra/test_make_deploy",
    "docs/test_readme",
    "unit/local/ministack_patches/test_stepfunctions",
    "adversarial/test_faults",
)
"""What takes longest, and so starts first."""


def draw_zone(seed: int) -> str:
    """Return a time zone as POSIX writes it, half of them with daylight saving time: no list of zones is needed."""
    drawn = random.Random(seed)

    def name(minutes: int) -> str:
        hours, rest = divmod(abs(minutes), 60)
        # The name counts to the east, and the offset of POSIX to the west.
        return f"<{'-' if minutes < 0 else '+'}{hours:02}{rest:02}>{'+' if minutes < 0 else '-'}{hours:02}:{rest:02}"

    offset = 15 * drawn.randint(-12 * 4, 13 * 4)
    if drawn.random() < 0.5:
        return name(offset)
    begins, ends = drawn.sample(range(1, 13), 2)
    return f"{name(offset)}{name(offset + 60)},M{begins}.{drawn.randint(1, 5)}.0,M{ends}.{drawn.randint(1, 5)}.0"


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    seed = config.getoption("randomly_seed")
    # The developer's own account, profile and region are no part of the tests.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["TZ"] = draw_zone(seed)
    time.tzset()
    hypothesis.core.global_force_seed = seed
    # Hypothesis also tries the constants of all modules that are loaded, which depends on what ran before.
    drawing._get_local_constants = lambda: drawing._local_constants


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    seed = config.getoption("randomly_seed")
    terminalreporter.write_line(f"seed {seed}, time zone {draw_zone(seed)}: make test SEED={seed} runs the same again")


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

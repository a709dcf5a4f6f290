"""Fixtures that several folders of tests use: real parts, started once a test process.

Each run draws the order of the tests, a time zone and what Hypothesis tries from one seed, and says which.
"""

import gc
import os
import random
import time
from collections.abc import Iterator
from typing import Any

import hypothesis
import hypothesis.core
import hypothesis.internal.conjecture.providers as drawing
import pytest

from tests import commands
from tests.support import Workflow
from vigil.deployment import Deployment
from vigil.local.stack import LocalStack
from vigil.names import Env, Parameter

# How long an example takes says nothing on a machine that has much else to do. Each run tries others.
hypothesis.settings.register_profile(
    "patient", deadline=None, max_examples=20, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

commands.speed_up_boto3()

pytest_plugins = [
    "tests.fixtures.browser",
    "tests.fixtures.session",
    "tests.fixtures.synthesis",
    "tests.fixtures.table",
]

LONG_FIXTURES = {"embedded", "stack", "aws", "moto", "bundled", "browser"}
"""Fixtures that start a server or a browser, or build a package. Tests that need one are slow."""
MAX_SESSION_SECONDS = 4500
# A workflow checks a session after 6 s if the agent has sent no heartbeat, else every 5 s; after 12 s it is lost.
TIMING = {
    Parameter.HEARTBEAT_SECONDS: "3",
    Parameter.SAFETY_SECONDS: "5",
    Parameter.MAX_SESSION_SECONDS: str(MAX_SESSION_SECONDS),
    Parameter.BUDGET_DOLLARS: "2",
    Parameter.MAX_SCAN_DOLLARS: "2",
}


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
    seed = config.getoption("randomly_seed", default=0)
    # The developer's own account, profile and region are no part of the tests.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["TZ"] = draw_zone(seed)
    time.tzset()
    if config.getoption("numprocesses", default=None) and not hasattr(config, "workerinput"):
        # One for all test processes.
        commands.start()
    hypothesis.core.global_force_seed = seed
    # Hypothesis also tries the constants of all modules that are loaded, which depends on what ran before.
    drawing._get_local_constants = lambda: drawing._local_constants


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    seed = config.getoption("randomly_seed", default=0)
    terminalreporter.write_line(f"seed {seed}, time zone {draw_zone(seed)}: make test SEED={seed} runs the same again")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Iterator[None]:
    # The garbage collector took a quarter of the tests' time: it looks at all modules and tests again and again.
    gc.disable()
    gc.set_threshold(50_000)
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def group(item: pytest.Item) -> str:
    """Return what runs in one process: the tests of a file, or all that share a stack."""
    marker = item.get_closest_marker("xdist_group")
    return str(marker.args[0]) if marker else item.nodeid.partition("::")[0]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    # A folder may have a stack or an account of its own, and a file whose tests use one uses it as a whole.
    stacks = {
        item.path: f"{name} of {definitions[-1].baseid}"
        for item in items
        for name in ("aws", "stack")
        if (definitions := item._fixtureinfo.name2fixturedefs.get(name))
    }
    for item in items:
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(stacks.get(item.path, item.nodeid.partition("::")[0])))
        if LONG_FIXTURES & set(getattr(item, "fixturenames", ())) or item.get_closest_marker("takes"):
            item.add_marker("slow")
    yield
    seconds = dict.fromkeys(stacks.values(), 100)
    for item in items:
        if marker := item.get_closest_marker("takes"):
            seconds[group(item)] = max(marker.args[0], seconds.get(group(item), 0))
    # What takes longest starts first.
    items.sort(key=lambda item: -seconds.get(group(item), 0))


@pytest.fixture(scope="session")
def embedded() -> Iterator[LocalStack]:
    """The embedded AWS with nothing deployed in it."""
    stack = LocalStack.launch()
    yield stack
    stack.stop()


def start_stack() -> LocalStack:
    """Start the local stack as ``make run`` does, with the sample account; an event's detail may choose its agent."""
    return LocalStack.start(agent_environment={Env.AGENT: "tests.agents:chosen"}, parameters=TIMING)


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """The local stack of all folders that have none of their own."""
    with start_stack() as started:
        yield started


@pytest.fixture(scope="module")
def deployment(stack: LocalStack) -> Deployment:
    """A client of the folder's local stack."""
    return Deployment(stack.session())


@pytest.fixture(scope="module")
def workflow(stack: LocalStack) -> Workflow:
    """Executions of the workflow of the folder's local stack."""
    return Workflow(stack)

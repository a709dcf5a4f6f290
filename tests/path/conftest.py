"""A local stack for this folder: the tests of one stack run in one process, and all of them would take longest."""

from collections.abc import Iterator

import pytest

from tests.conftest import start_stack
from vigil.local.stack import LocalStack


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    with start_stack() as started:
        yield started

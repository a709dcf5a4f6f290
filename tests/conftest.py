"""Fixtures that several folders of tests use: real parts, started once a test process."""

from collections.abc import Iterator

import pytest

from vigil.local.stack import LocalStack


@pytest.fixture(scope="session")
def embedded() -> Iterator[LocalStack]:
    """The embedded AWS with nothing deployed in it."""
    stack = LocalStack._launch(0)
    yield stack
    stack.stop()

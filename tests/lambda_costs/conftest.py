"""Clients that reach nothing, or have prepared answers."""

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from tests.support import client_at, refusing

Stubbed = Callable[[str], tuple[Any, Stubber]]
"""Makes (client, stubber) of a service; requests and answers are checked against botocore's model of it."""

_SESSION = boto3.Session("nobody", "nothing", region_name="us-east-1")


@pytest.fixture
def nowhere() -> Iterator[Callable[[str, str], Any]]:
    """Makes clients of an address that refuses connections."""
    with refusing() as address:
        yield lambda service, region: client_at(address, service, region)


@pytest.fixture
def stubbed() -> Iterator[Stubbed]:
    """Clients with prepared answers, all of which must be requested."""
    stubbers: list[Stubber] = []

    def make(service: str) -> tuple[Any, Stubber]:
        client = _SESSION.client(service)
        stubbers.append(Stubber(client))
        stubbers[-1].activate()
        return client, stubbers[-1]

    yield make
    for stubber in stubbers:
        stubber.assert_no_pending_responses()

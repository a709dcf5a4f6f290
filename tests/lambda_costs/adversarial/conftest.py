"""One embedded AWS for all of this folder, with a small account in it, and clients that faults can be put into."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from lambda_costs.analysis import Analysis
from tests.lambda_costs.adversarial.account import ROLE, Account, Planted
from tests.lambda_costs.adversarial.faults import Clients
from vigil.local.stack import LocalStack

NOW = datetime.now(UTC)
TRUSTED = {"Service": "lambda.amazonaws.com", "AWS": "arn:aws:iam::000000000000:root"}
STATEMENT = {"Effect": "Allow", "Principal": TRUSTED, "Action": "sts:AssumeRole"}
TRUST = json.dumps({"Version": "2012-10-17", "Statement": [STATEMENT]})
ACCOUNT = (
    Planted("base-memory"),
    Planted("base-json", json_logs=True, memory_mb=1536, architecture="arm64"),
    Planted("base-starved", memory_mb=256, used_mb=250, architecture="arm64"),
    Planted("base-idle", daily=0, last_used=40),
    Planted("base-warm", provisioned=10, architecture="arm64", used_mb=900),
    Planted("base-times-out", timeout=10, lines=20, timed_out=5, errors=25, architecture="arm64", used_mb=900),
    Planted("base-fails", errors=30, architecture="arm64", used_mb=900),
    Planted("base-starts-slowly", runtime="java21", init_ms=2_000, architecture="arm64", used_mb=900),
    Planted("base-loops", loop=True, architecture="arm64", used_mb=900),
    Planted("base-old", runtime="python3.8", timeout=900, used_mb=900, architecture="arm64"),
    Planted("base-chatty", ingested=40_000_000_000, architecture="arm64", used_mb=900),
    Planted("base-keeps", retention=None, ingested=100, architecture="arm64", used_mb=900),
    Planted("base-tmp", tmp_mb=10_240, architecture="arm64", used_mb=900),
)
"""A function for each kind of finding, with the waste in its name; base-memory may run on arm64, too."""


@pytest.fixture(scope="session")
def aws() -> Iterator[LocalStack]:
    """An embedded AWS of our own, since what is planted here must not be met elsewhere."""
    with LocalStack.launch() as stack:
        stack.client("iam").create_role(RoleName=ROLE, AssumeRolePolicyDocument=TRUST)
        yield stack


@pytest.fixture(scope="session")
def clients(aws: LocalStack) -> Clients:
    """Clients of the account's root."""
    return Clients(aws.session(), NOW)


@pytest.fixture(scope="session")
def account(clients: Clients) -> Account:
    """The region that all functions are in, with those of ACCOUNT."""
    written = Account(clients, "us-east-1", NOW)
    written.write(ACCOUNT)
    return written


@pytest.fixture(scope="session")
def honest(clients: Clients, account: Account) -> Analysis:
    """What is found in ACCOUNT if nothing goes wrong."""
    return clients.analyse("base-*")

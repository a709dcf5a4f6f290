"""Callers, roles, functions and state machines, on one embedded AWS."""

import json
import uuid
from typing import Any

import boto3
import pytest

from tests.vigil.local.ministack_patches.builders import Caller, Machines, Role, create_function
from vigil.local.stack import REGION, LocalStack


def policy(*grants: tuple[str, str]) -> str:
    """Return a policy document that allows each (action, resource)."""
    statements = [{"Effect": "Allow", "Action": action, "Resource": resource} for action, resource in grants]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


@pytest.fixture(scope="session")
def role(embedded: LocalStack) -> Role:
    """Create a role with just these grants and return its ARN."""
    iam = embedded.client("iam")

    def create(*grants: tuple[str, str], service: str = "states.amazonaws.com") -> str:
        trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        name = f"role-{uuid.uuid4()}"
        trusts = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        created = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusts)
        if grants:
            iam.put_role_policy(RoleName=name, PolicyName="only", PolicyDocument=policy(*grants))
        return str(created["Role"]["Arn"])

    return create


@pytest.fixture(scope="session")
def caller(embedded: LocalStack) -> Caller:
    """Return a client of a user with just these grants."""
    iam = embedded.client("iam")

    def create(service: str, *grants: tuple[str, str]) -> Any:
        name = f"user-{uuid.uuid4()}"
        iam.create_user(UserName=name)
        if grants:
            iam.put_user_policy(UserName=name, PolicyName="only", PolicyDocument=policy(*grants))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=REGION)
        return session.client(service, endpoint_url=embedded.endpoint)

    return create


@pytest.fixture(scope="session")
def function(embedded: LocalStack, role: Role) -> str:
    """The ARN of a function."""
    return create_function(embedded, role(service="lambda.amazonaws.com"))


@pytest.fixture(scope="session")
def machines(embedded: LocalStack) -> Machines:
    return Machines(embedded)

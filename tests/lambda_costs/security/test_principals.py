"""Every role's credentials allow what the role needs and nothing else."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.lambda_costs.security.principals import GRANTED, ROLES, ROWS, Caller, Row, World
from tests.support import Workflow, let_go, until
from vigil.deployment import Deployment
from vigil.local.stack import LocalStack


@pytest.fixture(scope="module")
def world(stack: LocalStack, workflow: Workflow, deployment: Deployment) -> Iterator[World]:
    """The stack, another bucket beside its own, and a workflow that waits."""
    stack.client("s3").create_bucket(Bucket="other")
    session_id, arn = workflow.start(detail={"agent": "waits"})

    def token() -> Any:
        record = workflow.table.get_item(Key=workflow.key(session_id), ConsistentRead=True)
        return record.get("Item", {}).get("task_token")

    yield World(stack, lambda: str(until(token)))
    let_go(workflow.table, session_id)
    assert workflow.ended(arn)["status"] == "SUCCEEDED"


@pytest.mark.criterion("6.2")
def test_every_role_may_do_what_it_needs_and_nothing_else(world: World) -> None:
    callers = {role: Caller(world, role) for role in ROLES}

    def measured(row: Row) -> tuple[str, str, tuple[str, ...]]:
        return row.action, row.on, tuple(role for role in ROLES if callers[role].may(row))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(measured, ROWS)) == [(row.action, row.on, row.allowed) for row in ROWS]


def test_every_action_of_every_role_is_tried(world: World) -> None:
    iam = world.client("iam")
    for role, name in world.roles.items():
        held = set()
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
            for statement in iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]["Statement"]:
                actions = statement["Action"]
                held |= {actions} if isinstance(actions, str) else set(actions)
        assert held == {row.action for row in GRANTED if role in row.allowed}
        assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []

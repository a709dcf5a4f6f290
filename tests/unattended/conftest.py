"""A local stack that starts sessions by itself and tells how they end."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC

import pytest

from tests.support import Workflow, until
from vigil.local.stack import LocalStack
from vigil.names import TICK_KEY, Env, OptionalOutput, Parameter
from vigil.session import session_id_of

PARAMETERS = {
    Parameter.HEARTBEAT_SECONDS: "3",
    Parameter.SAFETY_SECONDS: "5",
    # It runs when it is created, and not again while a test runs.
    Parameter.SCHEDULE: "rate(1000 days)",
    Parameter.SCHEDULE_TIMEZONE: "Europe/Berlin",
    Parameter.SCHEDULE_DETAIL: '{"agent": "hello_agent"}',
    Parameter.NOTIFY_EMAIL: "operator@example.org",
}
Without = Callable[[str], AbstractContextManager[None]]


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    agent = {Env.AGENT: "tests.agents:chosen"}
    with LocalStack.start(agent_environment=agent, parameters=PARAMETERS, sample_account=False) as started:
        # The tests look into the dead-letter queue themselves.
        events = started.client("events")
        (look,) = (rule["Name"] for rule in events.list_rules()["Rules"] if "-NotificationsLook" in rule["Name"])
        events.disable_rule(Name=look)
        # What a test takes away must not meet the first event of the schedule.
        schedule = started.client("scheduler").get_schedule(Name=started.outputs[OptionalOutput.SCHEDULE])
        tick = f"{schedule['CreationDate'].astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        workflow = Workflow(started)
        until(lambda: workflow.session(str(session_id_of("", {TICK_KEY: tick}))))
        yield started


@pytest.fixture(scope="session")
def without(stack: LocalStack) -> Without:
    """Take the statement with a Sid out of its role's policy, and give it back."""
    iam = stack.client("iam")

    @contextmanager
    def take(sid: str) -> Iterator[None]:
        for role in (found["RoleName"] for found in iam.list_roles()["Roles"]):
            for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
                policy = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
                rest = [statement for statement in policy["Statement"] if statement.get("Sid") != sid]
                if len(rest) < len(policy["Statement"]):
                    names = {"RoleName": role, "PolicyName": name}
                    # A policy needs a statement: everybody may do this one anyway.
                    harmless = {"Effect": "Allow", "Action": "sts:GetCallerIdentity", "Resource": "*"}
                    changed = {**policy, "Statement": rest or [harmless]}
                    iam.put_role_policy(**names, PolicyDocument=json.dumps(changed))
                    try:
                        yield
                    finally:
                        iam.put_role_policy(**names, PolicyDocument=json.dumps(policy))
                    return
        raise AssertionError(f"no role has a statement {sid}")

    return take

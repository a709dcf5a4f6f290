"""Which service may assume a role, for whom, and what the role may do."""

import json
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_iam as iam

from infra.nag import iam5_id, suppress


def trusted(stack: Stack, service: str, source: str) -> iam.ServicePrincipal:
    """Return ``service``, such as states, as a role's principal: on behalf of ``source`` in this account alone.

    ``source`` is an ARN that may hold wildcards. A service that forwards requests of another account would pass that
    account's ("The confused deputy problem", IAM User Guide). Lambda tells neither when it assumes a function's role.
    """
    return iam.ServicePrincipal(
        f"{service}.amazonaws.com",
        conditions={"StringEquals": {"aws:SourceAccount": stack.account}, "ArnLike": {"aws:SourceArn": source}},
    )


def grant(role: iam.Role, sid: str, actions: str, *resources: str, conditions: dict[str, Any] | None = None) -> None:
    """Let ``role`` do ``actions``, separated by blanks, by a statement of its own."""
    statement = iam.PolicyStatement(sid=sid, actions=actions.split(), resources=[*resources], conditions=conditions)
    role.add_to_policy(statement)


def grant_on_runtime(role: iam.Role, sid: str, action: str, agent_runtime_arn: str) -> None:
    """Let ``role`` do ``action`` on the runtime, and on the endpoint of it that the call goes to."""
    grant(role, sid, action, agent_runtime_arn, f"{agent_runtime_arn}/runtime-endpoint/*")
    arn = json.dumps(Stack.of(role).resolve(agent_runtime_arn), separators=(",", ":"))
    reason = "The endpoints of the one runtime; their names are AgentCore's."
    suppress(role, {iam5_id(f"{arn}/runtime-endpoint/*"): reason})

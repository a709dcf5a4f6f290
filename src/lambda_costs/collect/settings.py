"""What Lambda says of functions beside their configuration: provisioned concurrency (PC), and what may invoke them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lambda_costs.collect.metrics import Daily


@dataclass(frozen=True)
class Provisioned:
    """The PC of one alias or version."""

    qualifier: str
    executions: int  # requested: billed from the moment it is configured
    invocations: Daily | None = None  # invocations that ran on it; None if there is no datapoint


def list_provisioned(awslambda: Any, function: str) -> tuple[Provisioned, ...]:
    """Return the PC of ``function``, by qualifier."""
    pages = awslambda.get_paginator("list_provisioned_concurrency_configs").paginate(FunctionName=function)
    configurations = [
        Provisioned(item["FunctionArn"].rpartition(":")[2], item["RequestedProvisionedConcurrentExecutions"])
        for page in pages
        for item in page["ProvisionedConcurrencyConfigs"]
    ]
    return tuple(sorted(configurations, key=lambda item: item.qualifier))


def list_mappings(awslambda: Any) -> dict[str, list[str]]:
    """Return the sources of all event source mappings of the region, by the function's ARN."""
    sources: dict[str, list[str]] = {}
    for page in awslambda.get_paginator("list_event_source_mappings").paginate():
        for mapping in page["EventSourceMappings"]:
            # The ARN may end in an alias or a version.
            function = ":".join(mapping.get("FunctionArn", "").split(":")[:7])
            sources.setdefault(function, []).append(mapping.get("EventSourceArn") or "a self-managed source")
    return sources


def policy_principals(awslambda: Any, function: str) -> list[str]:
    """Return the principals that the function's resource policy allows; none without a policy."""
    try:
        policy = json.loads(awslambda.get_policy(FunctionName=function)["Policy"])
    except awslambda.exceptions.ResourceNotFoundException:
        return []
    allowing = (statement for statement in policy.get("Statement", []) if statement.get("Effect") == "Allow")
    return [name for statement in allowing for name in _names(statement.get("Principal"))]


def _names(principal: object) -> list[str]:
    if isinstance(principal, Mapping | list):
        values = principal.values() if isinstance(principal, Mapping) else principal
        return [name for value in values for name in _names(value)]
    return [str(principal)]

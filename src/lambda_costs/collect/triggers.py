"""What may invoke a function: event source mappings, and the principals of its resource policy."""

import json
from collections.abc import Mapping
from typing import Any


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

"""What Lambda says of functions beside their configuration: provisioned concurrency (PC), and what may invoke them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import fsum
from typing import Any

from lambda_costs.collect.metrics import Daily
from lambda_costs.collect.scaling import Resource, Scaling

EDGE = frozenset({"edgelambda.amazonaws.com", "replicator.lambda.amazonaws.com"})
"""CloudFront, which runs versions as Lambda@Edge where its viewers are, and the service that copies them there."""
MAX_POLICIES = 50  # policies read of one function's aliases and versions: Lambda allows 15 calls a second in all


@dataclass(frozen=True)
class Provisioned:
    """The PC of one alias or version."""

    qualifier: str
    executions: int  # requested now: billed from the moment it is configured
    scaling: Scaling | None = None  # None if nothing changes it
    invocations: Daily | None = None  # invocations that ran on it; None if there is no datapoint
    all_invocations: Daily | None = None  # of the alias or version, also those beside it
    duration_ms: Daily | None = None  # of all those invocations, without init
    allocated: Mapping[datetime, float] | None = None
    """Executions allocated in each hour in which one was used, where a policy follows the use."""

    @property
    def mean_seconds(self) -> float | None:
        """Mean duration of an invocation of this alias or version; None if it is not known."""
        if not self.all_invocations or not self.duration_ms or not self.all_invocations.total:
            return None
        common = self.all_invocations.by_day.keys() & self.duration_ms.by_day.keys()
        calls = fsum(self.all_invocations.by_day[day] for day in common)
        return fsum(self.duration_ms.by_day[day] for day in sorted(common)) / calls / 1000 if calls else None


def list_provisioned(
    awslambda: Any, function: str, scaling: Mapping[Resource, Scaling | None] | None
) -> tuple[Provisioned, ...] | None:
    """Return the PC of ``function``, by qualifier, also what a schedule or a policy has turned off at the moment.

    None if it is not known how it scales.
    """
    pages = awslambda.get_paginator("list_provisioned_concurrency_configs").paginate(FunctionName=function)
    executions = {
        item["FunctionArn"].rpartition(":")[2]: item["RequestedProvisionedConcurrentExecutions"]
        for page in pages
        for item in page["ProvisionedConcurrencyConfigs"]
    }
    if scaling is None:
        return None if executions else ()
    targets = {qualifier: item for (name, qualifier), item in scaling.items() if name == function}
    if None in targets.values():
        return None
    scaled = {
        qualifier: item
        for qualifier, item in targets.items()
        # A target may be left of an alias that has none any more: nothing allocates it again.
        if item and (qualifier in executions or item.actions or item.follows_use)
    }
    return tuple(
        Provisioned(qualifier, executions.get(qualifier, 0), scaled.get(qualifier))
        for qualifier in sorted({*executions, *scaled})
    )


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
    """Return the principals that the policies of the function, its aliases and versions allow.

    Of more than MAX_POLICIES, the policies of the oldest versions are not read, and the last item says so.
    """
    qualifiers = _qualifiers(awslambda, function)
    options = [{}, *({"Qualifier": qualifier} for qualifier in qualifiers[:MAX_POLICIES])]
    names = [name for one in options for name in _principals(awslambda, {"FunctionName": function, **one})]
    unread = len(qualifiers) - MAX_POLICIES
    return [*names, f"{unread:,} older versions, whose policies were not read"] if unread > 0 else names


def _qualifiers(awslambda: Any, function: str) -> list[str]:
    """Return the function's aliases, then its versions, the latest first."""

    def names(operation: str, key: str, name: str) -> list[str]:
        pages = awslambda.get_paginator(operation).paginate(FunctionName=function)
        return [item[name] for page in pages for item in page[key]]

    versions = [name for name in names("list_versions_by_function", "Versions", "Version") if name != "$LATEST"]
    # By length first, since not every version is a number ($LATEST.PUBLISHED).
    versions.sort(key=lambda name: (len(name), name), reverse=True)
    return [*names("list_aliases", "Aliases", "Name"), *versions]


def _principals(awslambda: Any, options: Mapping[str, str]) -> list[str]:
    try:
        policy = json.loads(awslambda.get_policy(**options)["Policy"])
    except awslambda.exceptions.ResourceNotFoundException:
        return []
    allowing = (statement for statement in policy.get("Statement", []) if statement.get("Effect") == "Allow")
    return [name for statement in allowing for name in _names(statement.get("Principal"))]


def _names(principal: object) -> list[str]:
    if isinstance(principal, Mapping | list):
        values = principal.values() if isinstance(principal, Mapping) else principal
        return [name for value in values for name in _names(value)]
    return [str(principal)]

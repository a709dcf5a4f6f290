"""Provisioned concurrency (PC) as configured today."""

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

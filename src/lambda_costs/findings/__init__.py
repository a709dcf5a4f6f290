"""The findings: one module for each kind, and the registry that the analysis runs through."""

from collections.abc import Callable, Iterator

from lambda_costs.collect.gaps import Gap
from lambda_costs.findings import (
    arm64,
    ephemeral_storage,
    errors,
    idle,
    init_cost,
    log_ingestion,
    log_retention,
    memory_high,
    memory_low,
    provisioned_concurrency,
    recursion,
    runtime,
    time_outs,
    timeout_high,
)
from lambda_costs.model.context import Case
from lambda_costs.model.finding import Finding

Rule = Callable[[Case], Iterator[Finding | Gap]]
"""Looks at one function: yields what it overpays, a Gap where the data carry no claim, nothing where all is well."""

PRICELESS: tuple[Rule, ...] = (idle.find, runtime.find, recursion.find)
"""Rules that need no prices: they look at functions of every region."""

RULES: tuple[Rule, ...] = (
    memory_high.find,
    memory_low.find,
    arm64.find,
    provisioned_concurrency.find,
    time_outs.find,
    errors.find,
    init_cost.find,
    ephemeral_storage.find,
    log_retention.find,
    log_ingestion.find,
    timeout_high.find,
    *PRICELESS,
)

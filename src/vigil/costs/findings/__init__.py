"""The findings: one module for each kind, and the registry that the analysis runs through."""

from collections.abc import Callable, Iterator

from vigil.costs.case import Case
from vigil.costs.finding import Finding
from vigil.costs.findings import arm64, log_retention, memory, provisioned_concurrency
from vigil.costs.gaps import Gap

Rule = Callable[[Case], Iterator[Finding | Gap]]
"""Looks at one function: yields what it overpays, a Gap where the data carry no claim, nothing where all is well."""

RULES: tuple[Rule, ...] = (
    memory.find,
    arm64.find,
    provisioned_concurrency.find,
    log_retention.find,
)

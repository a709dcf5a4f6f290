"""The kinds of findings as a reader sees them: their names, which are urgent, which claim money."""

from collections.abc import Iterable
from dataclasses import dataclass

from lambda_costs.model.finding import NOTHING, Finding, Interval
from lambda_costs.model.totals import Use, combine

TITLES = {
    "memory-too-high": "Memory set too high",
    "memory-too-low": "Memory set too low",
    "arm64": "Runs on x86_64, not on arm64",
    "idle": "Idle",
    "provisioned-concurrency-unused": "Provisioned concurrency unused",
    "time-outs": "Time-outs occurring",
    "errors": "Errors",
    "timeout-high": "Time-out set high",
    "log-retention-unset": "Logs never expire",
    "log-ingestion-high": "Logs cost more than compute",
    "runtime-deprecated": "Runtime deprecated, or soon to be",
    "ephemeral-storage": "More /tmp than is free",
    "init-cost": "Initialisation billed",
    "recursion": "Recursion",
}

URGENT = ("time-outs", "errors", "recursion", "runtime-deprecated")
"""Kinds that break something, whatever they cost."""

SMALL = 0.01
"""US dollars per 30 days below which a finding is counted and not told."""


def title(kind: str) -> str:
    """Return what a reader calls findings of ``kind``."""
    return TITLES.get(kind, kind.replace("-", " ").capitalize())


@dataclass(frozen=True)
class Sorted:
    """Findings by what a report does with them, each in the order in which they were given."""

    claims: tuple[Finding, ...]
    """Claim money that matters."""
    small: tuple[Finding, ...]
    """Claim less than a cent."""
    observations: tuple[Finding, ...]
    """Claim no money: risks and exposures."""


def sort_out(findings: Iterable[Finding]) -> Sorted:
    """Return ``findings`` sorted by whether they claim money."""
    claims, small, observations = [], [], []
    for finding in findings:
        savings = finding.savings
        if savings == NOTHING:
            observations.append(finding)
        elif max(abs(savings.low), abs(savings.expected), abs(savings.high)) < SMALL:
            small.append(finding)
        else:
            claims.append(finding)
    return Sorted(tuple(claims), tuple(small), tuple(observations))


def together(findings: Iterable[Finding]) -> Interval:
    """Return what ``findings`` save when applied together, before the free tier."""
    return combine(findings, Use(0.0, 0.0)).gross

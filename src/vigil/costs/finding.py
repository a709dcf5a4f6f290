"""What a finding is: something an account overpays for, with its evidence and what changing it saves."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from math import fsum, prod

PERIOD_DAYS = 30
"""Every amount of money is US dollars per this many days."""


@dataclass(frozen=True)
class Interval:
    """US dollars per 30 days: the least, the expected and the most that a change saves. May be negative."""

    low: float
    expected: float
    high: float


@dataclass(frozen=True)
class Measure:
    """A number of the evidence with its unit; text for what is no number."""

    value: float | int | str
    unit: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing to change. Every number in it was computed from the account's data."""

    id: str
    """Stable from run to run: the kind and what it is about."""
    kind: str
    function: str
    region: str
    arn: str
    evidence: Mapping[str, Measure]
    formula: str
    change: str
    how_to: str
    risk: str
    validate: str
    savings: Interval
    share_of: float | None = None
    """The cost, $ per 30 days, that the savings are a share of. Changes that scale the same cost of one function
    apply together: their remaining shares multiply. None if the savings stand by themselves."""


def rank(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return ``findings`` by what they save at least, then by what they are expected to save, then by id."""
    # In whole cents: what floats differ by below that is no reason to be first.
    return tuple(
        sorted(findings, key=lambda item: (-round(item.savings.low, 2), -round(item.savings.expected, 2), item.id))
    )


def combine(findings: Iterable[Finding]) -> Interval:
    """Return what all of ``findings`` save together, with those that scale one cost multiplied, not added."""
    scaling = [finding for finding in findings if finding.share_of]
    intervals = [finding.savings for finding in findings if not finding.share_of]
    for _, group in groupby(sorted(scaling, key=lambda item: item.arn), key=lambda item: item.arn):
        intervals.append(_multiply(list(group)))
    return Interval(
        fsum(item.low for item in intervals),
        fsum(item.expected for item in intervals),
        fsum(item.high for item in intervals),
    )


def _multiply(findings: list[Finding]) -> Interval:
    cost = findings[0].share_of or 0.0

    def saved(amounts: Iterable[float]) -> float:
        return cost * (1 - prod(1 - amount / cost for amount in amounts))

    return Interval(
        saved(item.savings.low for item in findings),
        saved(item.savings.expected for item in findings),
        saved(item.savings.high for item in findings),
    )


def rate(price: float) -> str:
    """Return a unit price in US dollars with all its digits: ``$0.0000166667``."""
    return f"${price:.10f}".rstrip("0")


def money(amount: float) -> str:
    """Return ``amount`` of US dollars for a person: ``$1,234.50``, ``−$3.00``, ``<$0.01``."""
    if 0 < amount < 0.005:
        return "<$0.01"
    text = f"${abs(amount):,.2f}"
    return f"−{text}" if amount < 0 and text != "$0.00" else text

"""What a finding is: something an account overpays for, with its evidence and what changing it saves."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

PERIOD_DAYS = 30  # every amount of money is US dollars per this many days


@dataclass(frozen=True)
class SavingsRange:
    """US dollars per 30 days: the least, the expected and the most that a change saves. May be negative."""

    low: float
    expected: float
    high: float


NO_SAVINGS = SavingsRange(0.0, 0.0, 0.0)  # the savings of a finding that claims no money


@dataclass(frozen=True)
class Measurement:
    """One value of the evidence: a number with its unit, or text."""

    value: float | int | str
    unit: str = ""


@dataclass(frozen=True)
class ComputeShare:
    """The on-demand compute cost that a finding saves a share of. The shares of one function's findings multiply."""

    cost: float  # US dollars per 30 days; above zero
    gb_seconds: float  # GB-seconds per 30 days
    repriced: float = 1.0  # price of a GB-second after the change over that before it


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing to change. Code computed every number in it from the account's data."""

    id: str  # stable from run to run: the kind and what it is about
    kind: str
    function: str
    region: str
    arn: str
    evidence: Mapping[str, Measurement]
    formula: str
    change: str
    proposed: Mapping[str, int | str] = field(default_factory=dict)
    """Settings to change, such as ``{"memory_mb": 256}``, with name and value as in ``Function`` where it has them.

    The next analysis reads them back, and takes only the settings that the finding's kind declares.
    """
    how_to: str = ""  # AWS CLI commands and # comments
    as_code: str = ""  # the same change as properties of CloudFormation and the CDK
    risk: str
    validate: str
    savings: SavingsRange = NO_SAVINGS
    scaling: ComputeShare | None = None  # None if the savings do not depend on other findings


def rank(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return ``findings`` by what they save at least, then by what they are expected to save, then by id."""
    # In whole cents: a smaller difference between floats must not decide the order.
    return tuple(
        sorted(findings, key=lambda item: (-round(item.savings.low, 2), -round(item.savings.expected, 2), item.id))
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

"""What a finding is: something an account overpays for, with its evidence and what changing it saves."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PERIOD_DAYS = 30
"""Every amount of money is US dollars per this many days."""


@dataclass(frozen=True)
class Interval:
    """US dollars per 30 days: the least, the expected and the most that a change saves. May be negative."""

    low: float
    expected: float
    high: float


NOTHING = Interval(0.0, 0.0, 0.0)
"""The savings of a finding that claims no money."""


@dataclass(frozen=True)
class Measure:
    """A number of the evidence with its unit; text for what is no number."""

    value: float | int | str
    unit: str = ""


@dataclass(frozen=True)
class Scaling:
    """The on-demand compute that a finding's savings are a share of. Such findings on one function multiply."""

    cost: float
    """US dollars per 30 days; above zero."""
    gb_seconds: float
    """GB-seconds per 30 days."""
    repriced: float = 1.0
    """Price of a GB-second after the change over that before it."""


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
    proposed: Mapping[str, int | str]
    """The change for a program, such as ``{"memory_mb": 256}``, in the names of ``Function`` where it has them; empty
    where no setting is proposed."""
    how_to: str
    """Commands of the AWS CLI; a line that begins with # is a comment. Empty if there is nothing to run."""
    as_code: str
    """The same change for infrastructure as code: properties of CloudFormation and of the CDK, in YAML comments and
    lines. Empty if there is none."""
    risk: str
    validate: str
    savings: Interval
    scaling: Scaling | None = None
    """None if the savings stand by themselves."""


def rank(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return ``findings`` by what they save at least, then by what they are expected to save, then by id."""
    # In whole cents: what floats differ by below that is no reason to be first.
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

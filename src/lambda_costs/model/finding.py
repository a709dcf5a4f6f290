"""What a finding is: something an account overpays for, with its evidence and what changing it saves."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

PERIOD_DAYS = 30  # every amount of money is US dollars of the coming days, so many

SLOW = 2.0  # a change that may make a function slower than this many times is a risk that the report shows first


class Basis(StrEnum):
    """What savings rest on."""

    MEASURED = "measured"  # the account's own data show them
    TO_TEST = "to be tested"  # plausible, but only a test can tell


@dataclass(frozen=True)
class SavingsRange:
    """US dollars per 30 days: the least, the expected and the most that a change saves. May be negative."""

    low: float
    expected: float
    high: float


CERTAIN_SHARE = 0.5  # measured savings are at least this share of what is expected; our own choice


def basis(savings: SavingsRange, *, measured: bool) -> Basis:
    """Return what ``savings`` rest on; ``measured``: whether the account's own data show what they come from."""
    return Basis.MEASURED if measured and savings.low >= CERTAIN_SHARE * savings.expected else Basis.TO_TEST


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
    fewer: float = 1.0
    more: float = 1.0
    """The least and the most invocations of the coming days, divided by the expected number."""

    def scaled(self, low: float, expected: float, high: float) -> SavingsRange:
        """Return savings of the expected invocations for the whole range of invocations."""
        return SavingsRange(low * self.factors(low).low, expected, high * self.factors(high).high)

    def factors(self, amount: float) -> SavingsRange:
        """Return by what the ends of savings are multiplied: more invocations make a loss larger, too."""
        return SavingsRange(*((self.fewer, 1.0, self.more) if amount > 0 else (self.more, 1.0, self.fewer)))


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
    basis: Basis = Basis.MEASURED
    slowdown: float = 1.0  # the duration after the change divided by today's, at most
    test: Mapping[str, Any] = field(default_factory=dict)  # input of AWS Lambda Power Tuning that tests the change
    scaling: ComputeShare | None = None  # None if the savings do not depend on other findings


def rank(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return ``findings`` by what to do first.

    Dollars before cents, what may get much slower last of those, what is measured before what is to be tested, then by
    the expected savings.
    """

    def key(finding: Finding) -> tuple[bool, bool, bool, bool, float, float, str]:
        savings = finding.savings
        # In whole cents: a smaller difference between floats must not decide the order.
        return (
            savings == NO_SAVINGS,
            savings.expected < 1,
            finding.slowdown > SLOW,
            finding.basis is Basis.TO_TEST,
            -round(savings.expected, 2),
            -round(savings.low, 2),
            finding.id,
        )

    return tuple(sorted(findings, key=key))


def rate(price: float) -> str:
    """Return a unit price in US dollars with all its digits: ``$0.0000166667``."""
    return f"${price:.10f}".rstrip("0")


def money(amount: float) -> str:
    """Return ``amount`` of US dollars for a person: ``$1,234.50``, ``−$3.00``, ``<$0.01``."""
    if 0 < amount < 0.005:
        return "<$0.01"
    text = f"${abs(amount):,.2f}"
    return f"−{text}" if amount < 0 and text != "$0.00" else text

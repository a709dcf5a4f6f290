"""What findings save when applied together, gross and net of the free tier, and which of them claim money."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, replace
from itertools import groupby
from math import fsum, prod
from operator import attrgetter, sub

from lambda_costs.collect.prices import FREE_GB_SECONDS
from lambda_costs.model.finding import Basis, Finding, SavingsRange

MIN_REPORTED_DOLLARS = 0.01  # US dollars per 30 days: the report only counts findings that save less


@dataclass(frozen=True)
class ComputeSpend:
    """On-demand compute of some functions in 30 days."""

    cost: float  # US dollars at the prices without the free tier
    gb_seconds: float

    @property
    def billed(self) -> float:
        """US dollars that are billed if nothing else in the account uses the free tier."""
        # AWS does not say which GB-seconds are free: assume the same proportion everywhere.
        return self.cost * max(0.0, 1 - FREE_GB_SECONDS / self.gb_seconds) if self.gb_seconds else 0.0


@dataclass(frozen=True)
class Totals:
    """US dollars per 30 days that some findings save together."""

    gross: SavingsRange
    net: SavingsRange  # after the free tier's GB-seconds, as if only the functions that were looked at used them


def combine(findings: Iterable[Finding], spend: ComputeSpend) -> Totals:
    """Return what ``findings`` save together in an account whose on-demand compute is ``spend``.

    The shares that findings leave of one function's compute multiply.
    """
    findings, arn = list(findings), attrgetter("arn")
    scaling = [finding for finding in findings if finding.scaling]
    standing = [finding.savings for finding in findings if not finding.scaling]
    by_function = [list(group) for _, group in groupby(sorted(scaling, key=arn), key=arn)]

    def saved(end: Callable[[SavingsRange], float]) -> tuple[float, float]:
        alone = fsum(map(end, standing))
        removed = [_removed(group, end) for group in by_function]
        cost = spend.cost - fsum(compute.cost for compute in removed)
        gb_seconds = spend.gb_seconds - fsum(compute.gb_seconds for compute in removed)
        return alone + spend.cost - cost, alone + spend.billed - ComputeSpend(cost, max(0.0, gb_seconds)).billed

    gross, net = zip(*(saved(end) for end in map(attrgetter, ("low", "expected", "high"))), strict=True)
    return Totals(SavingsRange(*gross), SavingsRange(*net))


def measured_and_more(findings: Iterable[Finding], spend: ComputeSpend) -> tuple[Totals, Totals]:
    """Return what the measured findings save together, and what those to be tested add if the test decides.

    Nobody makes a change whose test shows that it costs more, so that each adds nothing at least.
    """
    findings = list(findings)
    measured = [finding for finding in findings if finding.basis is Basis.MEASURED]
    tried = [
        replace(item, savings=SavingsRange(0.0, max(0.0, item.savings.expected), max(0.0, item.savings.high)))
        for item in findings
        if item.basis is Basis.TO_TEST
    ]
    alone, together = combine(measured, spend), combine([*measured, *tried], spend)

    def added(of: Callable[[Totals], SavingsRange]) -> SavingsRange:
        low, expected, high = map(sub, astuple(of(together)), astuple(of(alone)))
        # The more the measured findings save, the less is left to add.
        return SavingsRange(min(low, expected), expected, max(expected, high))

    return alone, Totals(added(attrgetter("gross")), added(attrgetter("net")))


@dataclass(frozen=True)
class FindingGroups:
    """Findings by what a report does with them, each group in the given order."""

    claims: tuple[Finding, ...]  # claim at least MIN_REPORTED_DOLLARS
    small: tuple[Finding, ...]  # claim less
    observations: tuple[Finding, ...]  # claim no money: risks and exposures

    def on(self, basis: Basis) -> Iterator[Finding]:
        """Yield the claims that rest on ``basis``."""
        return (finding for finding in self.claims if finding.basis is basis)


def group_by_claim(findings: Iterable[Finding]) -> FindingGroups:
    """Group ``findings`` by whether they claim money."""
    sizes = [(max(map(abs, astuple(finding.savings))), finding) for finding in findings]
    return FindingGroups(
        claims=tuple(finding for size, finding in sizes if size >= MIN_REPORTED_DOLLARS),
        small=tuple(finding for size, finding in sizes if 0 < size < MIN_REPORTED_DOLLARS),
        observations=tuple(finding for size, finding in sizes if not size),
    )


def combined_savings(findings: Iterable[Finding]) -> SavingsRange:
    """Return what ``findings`` save when applied together, before the free tier."""
    return combine(findings, ComputeSpend(0.0, 0.0)).gross


def _removed(findings: list[Finding], end: Callable[[SavingsRange], float]) -> ComputeSpend:
    """Return the part of one function's compute that all of ``findings`` remove together."""
    scales = [(end(finding.savings), scaling) for finding in findings if (scaling := finding.scaling)]
    scales = [(amount, scaling) for amount, scaling in scales if amount]
    if not scales:
        return ComputeSpend(0.0, 0.0)
    remain = prod(1 - amount / scaling.cost / end(scaling.factors(amount)) for amount, scaling in scales)
    repriced = prod(scaling.repriced for _, scaling in scales)
    # The same number of invocations before and after.
    cost, gb_seconds = (
        end(scales[0][1].factors(1 - remain)) * before for before in (scales[0][1].cost, scales[0][1].gb_seconds)
    )
    return ComputeSpend(cost - cost * remain, gb_seconds - gb_seconds * remain / repriced)

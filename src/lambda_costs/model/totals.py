"""What all findings save together: as they would when applied together, gross and net of the free tier."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from math import fsum, prod
from operator import attrgetter

from lambda_costs.collect.prices import FREE_GB_SECONDS
from lambda_costs.model.finding import Finding, Interval


@dataclass(frozen=True)
class Use:
    """On-demand compute of some functions in 30 days."""

    cost: float
    """US dollars at the prices without the free tier."""
    gb_seconds: float

    @property
    def billed(self) -> float:
        """US dollars that are billed if nothing else in the account uses the free tier."""
        # Which GB-seconds are free is not told; all are taken to be free in the same proportion.
        return self.cost * max(0.0, 1 - FREE_GB_SECONDS / self.gb_seconds) if self.gb_seconds else 0.0


@dataclass(frozen=True)
class Totals:
    """US dollars per 30 days that all findings save together."""

    gross: Interval
    net: Interval
    """After the free tier's GB-seconds, as if only the functions that were looked at used them."""


def combine(findings: Iterable[Finding], use: Use) -> Totals:
    """Return what ``findings`` save together in an account whose functions used ``use`` on demand.

    Findings that scale the compute of one function apply together: their remaining shares multiply.
    """
    findings, arn = list(findings), attrgetter("arn")
    scaling = [finding for finding in findings if finding.scaling]
    standing = [finding.savings for finding in findings if not finding.scaling]
    by_function = [list(group) for _, group in groupby(sorted(scaling, key=arn), key=arn)]

    def saved(end: Callable[[Interval], float]) -> tuple[float, float]:
        alone = fsum(map(end, standing))
        after = [_after(group, end) for group in by_function]
        cost = use.cost - fsum(before.cost - then.cost for before, then in after)
        gb_seconds = use.gb_seconds - fsum(before.gb_seconds - then.gb_seconds for before, then in after)
        return alone + use.cost - cost, alone + use.billed - Use(cost, max(0.0, gb_seconds)).billed

    low, expected, high = (saved(end) for end in map(attrgetter, ("low", "expected", "high")))
    return Totals(Interval(low[0], expected[0], high[0]), Interval(low[1], expected[1], high[1]))


def _after(findings: list[Finding], end: Callable[[Interval], float]) -> tuple[Use, Use]:
    """Return the compute of one function before and after all of ``findings``."""
    scales = [(end(finding.savings), scaling) for finding in findings if (scaling := finding.scaling)]
    before = Use(scales[0][1].cost, scales[0][1].gb_seconds)
    remains = [1 - amount / scaling.cost for amount, scaling in scales]
    repriced = prod(scaling.repriced for _, scaling in scales)
    return before, Use(before.cost * prod(remains), before.gb_seconds * prod(remains) / repriced)

"""Scores findings.json against the ground truth of a sample account."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import fsum
from statistics import fmean, median
from typing import Any

from benchmarks.findings.truth import account_savings, savings
from benchmarks.report import share
from lambda_costs.sample_account import Planted, SampleAccount

CENT = 0.01


@dataclass(frozen=True)
class Claim:
    """The savings of a right finding and what it truly saves; US dollars per 30 days."""

    planted: Planted
    measured: bool
    low: float
    expected: float
    high: float
    truth: float

    @property
    def error(self) -> float:
        """Of the expected savings, relative to the truth."""
        return Total(self.expected, self.truth).error

    @property
    def covered(self) -> bool:
        """Whether the truth lies in the range, up to rounding errors."""
        slack = 1e-6 * abs(self.truth)
        return self.low - slack <= self.truth <= self.high + slack


@dataclass(frozen=True)
class Total:
    """Expected savings of all findings together, measured and to be tested, and the truth."""

    expected: float
    truth: float

    @property
    def matters(self) -> bool:
        """Whether a cent or more is claimed, or could be."""
        return max(abs(self.truth), abs(self.expected)) >= CENT

    @property
    def error(self) -> float:
        """Relative to the truth; infinite where there is nothing to save."""
        return abs(self.expected - self.truth) / abs(self.truth) if self.truth else float("inf")


@dataclass(frozen=True)
class Score:
    """How one account was analysed."""

    functions: int
    right: frozenset[Planted]
    wrong: frozenset[Planted]
    missed: frozenset[Planted]
    claims: tuple[Claim, ...]
    gross: Total
    net: Total
    abstained: Mapping[str, bool]  # by function whose data support no claim
    fits: tuple[bool, ...]  # of each proposed memory size, whether it is enough for what the function needs
    repeatable: bool  # whether a second analysis wrote the same bytes


def score(account: SampleAccount, document: Mapping[str, Any], *, repeatable: bool = True) -> Score:
    """Score ``document``, a parsed findings.json, of an analysis of ``account``."""
    findings: Sequence[Mapping[str, Any]] = document["findings"]
    by_name = {function.name: function for function in account.functions}
    found = {Planted(item["function"], item["kind"]) for item in findings}
    claims = (
        Claim(planted, item["basis"] == "measured", *_ends(item), savings(by_name[planted.function], [item]))
        for item in findings
        if (planted := Planted(item["function"], item["kind"])) in account.planted and any(_ends(item))
    )
    # Nobody keeps a change whose test shows that it costs more.
    kept = [item for item in findings if item["basis"] == "measured" or savings(by_name[item["function"]], [item]) > 0]
    gross, net = account_savings(account.functions, kept)
    parts = document["total"].values()
    return Score(
        len(account.functions),
        frozenset(found & account.planted),
        frozenset(found - account.planted - account.tolerated),
        frozenset(account.planted - found),
        tuple(claims),
        Total(fsum(part["gross"]["expected"] for part in parts), gross),
        Total(fsum(part["net"]["expected"] for part in parts), net),
        {name: _abstained(name, document) for name in sorted(account.abstain)},
        tuple(
            item["proposed"]["memory_mb"] >= by_name[item["function"]].need_mb
            for item in findings
            if "memory_mb" in item["proposed"]
        ),
        repeatable,
    )


def _ends(finding: Mapping[str, Any]) -> tuple[float, float, float]:
    low, expected, high = (float(finding["savings"][end]) for end in ("low", "expected", "high"))
    return low, expected, high


def _abstained(name: str, document: Mapping[str, Any]) -> bool:
    claimed = any(item["function"] == name and any(_ends(item)) for item in document["findings"])
    named = any(name in re.split(r"[^\w-]+", gap["subject"]) for gap in document["gaps"])
    return named and not claimed


@dataclass(frozen=True)
class Summary:
    """Several accounts' scores together."""

    scores: tuple[Score, ...]

    @property
    def claims(self) -> list[Claim]:
        """All of them."""
        return [claim for item in self.scores for claim in item.claims]

    def precision(self, kind: str | None = None) -> float:
        """Return the share of the findings that are right."""
        right, wrong = self._count("right", kind), self._count("wrong", kind)
        return right / (right + wrong) if right + wrong else 1.0

    def recall(self, kind: str | None = None) -> float:
        """Return the share of what is planted that was found."""
        right, missed = self._count("right", kind), self._count("missed", kind)
        return right / (right + missed) if right + missed else 1.0

    def planted(self, kind: str) -> int:
        """Return how often ``kind`` is planted."""
        return self._count("right", kind) + self._count("missed", kind)

    def error(self, kind: str) -> float | None:
        """Return the median relative error of the claims of ``kind``; None if there are none."""
        return _median_error(claim for claim in self.claims if claim.planted.kind == kind)

    def measured_error(self) -> float:
        """Return the median relative error of the claims that the account's own data support."""
        return _median_error(claim for claim in self.claims if claim.measured) or 0.0

    def covered(self, kind: str | None = None) -> float:
        """Return the share of the claims whose interval holds the truth."""
        return share(claim.covered for claim in self.claims if kind in (None, claim.planted.kind))

    def _count(self, verdict: str, kind: str | None) -> int:
        return sum(kind in (None, item.kind) for score in self.scores for item in getattr(score, verdict))


def _median_error(claims: Iterable[Claim]) -> float | None:
    errors = [claim.error for claim in claims]
    return median(errors) if errors else None


@dataclass(frozen=True)
class Goal:
    """What a summary must reach."""

    name: str
    measure: Callable[[Summary], float]
    bound: float
    at_most: bool = False

    def met(self, summary: Summary) -> bool:
        """Return whether ``summary`` reaches it."""
        value = self.measure(summary)
        return value <= self.bound if self.at_most else value >= self.bound

    def __str__(self) -> str:
        """Return the bound for a table."""
        return f"{'≤' if self.at_most else '≥'} {self.bound:.0%}"


def _mean_error(total: str) -> Callable[[Summary], float]:
    def mean(summary: Summary) -> float:
        totals: list[Total] = [getattr(score, total) for score in summary.scores]
        return fmean([total.error for total in totals if total.matters] or [0.0])

    return mean


def _share_of(parts: Callable[[Score], Iterable[bool]]) -> Callable[[Summary], float]:
    return lambda summary: share(chain.from_iterable(map(parts, summary.scores)))


GOALS = (
    Goal("precision", Summary.precision, 0.97),
    Goal("recall", Summary.recall, 0.95),
    Goal("median error of measured savings", Summary.measured_error, 0.08, at_most=True),
    Goal("error of all savings together, gross, mean of the accounts", _mean_error("gross"), 0.10, at_most=True),
    Goal("error of all savings together, net, mean of the accounts", _mean_error("net"), 0.10, at_most=True),
    Goal("intervals that hold the truth", Summary.covered, 0.93),
    Goal("memory sizes proposed that are enough", _share_of(lambda score: score.fits), 1.0),
    Goal("functions abstained from", _share_of(lambda score: score.abstained.values()), 1.0),
    Goal("second analyses that write the same bytes", _share_of(lambda score: [score.repeatable]), 1.0),
)

"""Holds findings.json against the truth of an account."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import fsum
from statistics import median
from typing import Any

from benchmarks.field.account import Account
from benchmarks.field.truth import COMPUTE, MUST, NOT, Facts, expectations, fault, true_savings, what
from benchmarks.report import share

SMALL = 0.01
"""US dollars per 30 days below which a claim is not scored."""
TOP = 10


def listed(finding: Mapping[str, Any]) -> str:
    """Return which list a finding is in: "measured", "tested", or "claimed" where findings.json has no lists."""
    basis = str(finding.get("basis") or finding.get("confidence") or finding.get("list") or "")
    return "measured" if basis.startswith("measured") else "tested" if "test" in basis else "claimed"


@dataclass(frozen=True)
class Claim:
    """Savings that a finding claims, in US dollars per 30 days, and the truth."""

    finding: Mapping[str, Any]
    listed: str
    low: float
    expected: float
    high: float
    last: float
    """Truly saved of last month's bill."""
    ahead: float
    """Truly saved of the next 30 days' bill."""

    def holds(self, truth: float) -> bool:
        """Return whether the interval has the truth in it, to half a percent and half a cent."""
        slack = max(0.005, 0.005 * abs(truth))
        return self.low - slack <= truth <= self.high + slack

    def __str__(self) -> str:
        """Say it in a line."""
        return (
            f"{self.finding['id']} claims ${self.low:,.2f} to ${self.high:,.2f}, expected ${self.expected:,.2f};"
            f" truly ${self.last:,.2f} last month, ${self.ahead:,.2f} in the next 30 days"
        )


@dataclass
class Score:
    """How one account was analysed."""

    name: str
    right: list[str] = field(default_factory=list)
    wrong: list[tuple[str, str, str]] = field(default_factory=list)
    """(function, what, why)"""
    missed: list[tuple[str, str]] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    broken: list[tuple[str, float]] = field(default_factory=list)
    """Of each memory size proposed: the finding, and the share of invocations that it breaks."""
    abstained: list[bool] = field(default_factory=list)
    top: list[tuple[str, str]] = field(default_factory=list)
    """Of the first rows: the finding, and why it is wrong, or nothing."""
    seconds: tuple[float, float] = (0.0, 0.0)
    """What simulating and analysing took, and what scoring took."""


def score(name: str, account: Account, document: Mapping[str, Any]) -> Score:
    """Score ``document``, a parsed findings.json, of an analysis of ``account``."""
    facts = {function.name: Facts(account, function) for function in account.functions}
    expected = {key: dict(expectations(it)) for key, it in facts.items()}
    result = Score(name)
    found: set[tuple[str, str]] = set()
    for row, finding in enumerate(document["findings"]):
        function, kind = finding["function"], what(finding)
        it, truth = facts[function], true_savings(facts[function], finding)
        verdict = expected[function].get(kind, NOT)
        why = "is not so" if verdict == NOT else fault(it, finding, truth, tested=listed(finding) == "tested")
        if why:
            result.wrong.append((function, kind, why))
        elif verdict == MUST:
            result.right.append(finding["id"])
        found.add((function, kind))
        claim = _claim(finding, truth)
        if claim:
            result.claims.append(claim)
        if kind.startswith("memory") and (setting := it.today.changed(finding)):
            result.broken.append((finding["id"], it.broken(setting)))
        if row < TOP:
            off = claim is not None and not (claim.holds(claim.last) or claim.holds(claim.ahead))
            result.top.append((str(claim or finding["id"]), why or ("the interval misses both truths" if off else "")))
    for function, kinds in expected.items():
        result.missed += [
            (function, kind) for kind, it in kinds.items() if it == MUST and (function, kind) not in found
        ]
    money = {
        item["function"] for item in document["findings"] if item["kind"] in COMPUTE and any(item["savings"].values())
    }
    result.abstained = [key not in money for key, it in facts.items() if it.evidence == NOT]
    return result


def _claim(finding: Mapping[str, Any], truth: tuple[float, float] | None) -> Claim | None:
    savings = finding["savings"]
    low, expected, high = (float(savings[end]) for end in ("low", "expected", "high"))
    if truth is None or not any((low, expected, high)) or max(map(abs, (low, high, *truth))) < SMALL:
        return None
    return Claim(finding, listed(finding), low, expected, high, *truth)


@dataclass(frozen=True)
class Summary:
    """Several scores together."""

    scores: tuple[Score, ...]

    def claims(self, of: str | None = None) -> list[Claim]:
        """Return the claims of a list, or all."""
        return [claim for item in self.scores for claim in item.claims if of in (None, claim.listed)]

    @property
    def precision(self) -> float:
        """Share of the findings, without those that may be made or not, that are right."""
        right, wrong = (sum(len(getattr(item, name)) for item in self.scores) for name in ("right", "wrong"))
        return right / (right + wrong) if right + wrong else 1.0

    @property
    def recall(self) -> float:
        """Share of what must be found that is found."""
        missed = sum(len(item.missed) for item in self.scores)
        # What is there and told wrongly is found, but not rightly.
        right = sum(len(item.right) for item in self.scores)
        return right / (right + missed) if right + missed else 1.0

    def coverage(self, *, ahead: bool, of: str | None = None) -> float:
        """Return the share of the intervals that hold the truth."""
        return share(claim.holds(claim.ahead if ahead else claim.last) for claim in self.claims(of))

    def error(self, of: str, *, ahead: bool) -> float:
        """Return the median of the relative errors of the expected savings."""
        pairs = [(claim.expected, claim.ahead if ahead else claim.last) for claim in self.claims(of)]
        return median(abs(told - truth) / max(abs(truth), SMALL) for told, truth in pairs) if pairs else 0.0

    def ratio(self, of: str, *, ahead: bool) -> float:
        """Return what is claimed in all over what is truly saved in all."""
        claims = self.claims(of)
        truth = fsum(claim.ahead if ahead else claim.last for claim in claims)
        return fsum(claim.expected for claim in claims) / truth if truth else float("nan")

    @property
    def breaking(self) -> list[tuple[str, float]]:
        """Memory proposals that break more than one invocation in a thousand."""
        return [pair for item in self.scores for pair in item.broken if pair[1] > 0.001]

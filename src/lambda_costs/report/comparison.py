"""Compares an analysis with the last one of the same functions: which findings came and went, and what was saved."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from datetime import date
from itertools import islice
from math import fsum

from lambda_costs.analysis import Analysis
from lambda_costs.collect.inventory import Function
from lambda_costs.collect.prices import PRICES
from lambda_costs.collect.usage import FunctionUsage
from lambda_costs.findings.arm64 import ARM64_FASTER
from lambda_costs.model.compute import Compute, NoClaim
from lambda_costs.model.finding import Finding, SavingsRange
from lambda_costs.model.totals import combined_savings
from lambda_costs.report.history import MAX_DOLLARS, OLD_FORMAT, PreviousFindings, PreviousFunction, read_document

MAX_TRIED = 10  # earlier analyses that are tried until one can be compared with

_DURATION = {architecture: tiers[0][1] for architecture, tiers in PRICES["us-east-1"].duration.items()}
_X86_PRICE_FACTOR = _DURATION["x86_64"] / _DURATION["arm64"]
"""Price of a GB-second on x86_64 over that on arm64, nearly the same in every region."""

CHANGED_SHARE = 0.1
CHANGED_DOLLARS = 0.1
"""A finding with the same proposal has changed if its expected savings differ by more than this share of the last ones
and by more than this many US dollars per 30 days."""

NOISE_FACTOR = 1.5  # by which the cost of an invocation may differ between two windows without a change


@dataclass(frozen=True)
class Changed:
    """A finding of both analyses that is not the same."""

    then: Finding
    now: Finding


@dataclass(frozen=True)
class Gone:
    """A finding of the last analysis only."""

    then: Finding
    why: str


@dataclass(frozen=True)
class Realised:
    """What is saved by following one or several findings about a function, in US dollars per 30 days."""

    then: tuple[Finding, ...]
    dollars: float  # negative if the function costs more than before
    measured: bool  # if ``dollars`` is the drop in cost per invocation, times the invocations now; else it was expected


@dataclass(frozen=True)
class Comparison:
    """What has changed since the last analysis."""

    since: date  # the end of its window
    total_then: SavingsRange  # what all of its findings would have saved together, before the free tier
    new: tuple[Finding, ...]
    changed: tuple[Changed, ...]
    realised: tuple[Realised, ...]
    gone: tuple[Gone, ...]

    @property
    def saved(self) -> float:
        """Measured savings in US dollars per 30 days. Expected savings do not count: they are no evidence."""
        return fsum(item.dollars for item in self.realised if item.measured)


def compare(previous: Iterable[str], analysis: Analysis) -> Comparison | str | None:
    """Return the comparison with an earlier analysis, why there is none, or None if there is no earlier analysis.

    ``previous``: findings.json of earlier analyses of the same functions, the last one first. The first that can be
    read is used. A proposal that is in place now is realised, even if its finding has another proposal now.
    """
    why = None
    for text in islice(previous, MAX_TRIED):
        if document := read_document(text, analysis.end):
            return _compare(document, analysis)
        why = OLD_FORMAT
    return why


def _compare(document: PreviousFindings, analysis: Analysis) -> Comparison:
    findings = [item.as_finding() for item in document.findings]
    then = {finding.id: finding for finding in findings}
    functions = {function.arn: function for function in analysis.functions}
    followed = [
        finding
        for finding in findings
        if (function := functions.get(finding.arn))
        and _in_place(finding, function, analysis.usage.by_arn[finding.arn], document.end)
    ]
    over = then.keys() - {finding.id for finding in (*analysis.findings, *followed)}
    both = [(then[finding.id], finding) for finding in analysis.findings if finding.id in then]
    return Comparison(
        since=document.end,
        total_then=_saved_together(findings),
        new=tuple(finding for finding in analysis.findings if finding.id not in then),
        changed=tuple(Changed(*pair) for pair in both if _has_changed(*pair)),
        realised=tuple(_realised(followed, document, analysis)),
        gone=tuple(Gone(item, _why_gone(item, functions, analysis)) for item in findings if item.id in over),
    )


def _saved_together(findings: Iterable[Finding]) -> SavingsRange:
    """Return what ``findings`` save together. What untrusted findings cost is bounded."""
    return SavingsRange(*(max(-MAX_DOLLARS, amount) for amount in astuple(combined_savings(findings))))


def _has_changed(then: Finding, now: Finding) -> bool:
    difference = abs(now.savings.expected - then.savings.expected)
    least = max(CHANGED_DOLLARS, CHANGED_SHARE * abs(then.savings.expected))
    return then.proposed != dict(now.proposed) or difference > least


def _in_place(then: Finding, function: Function, usage: FunctionUsage, since: date) -> bool:
    """Whether what ``then`` proposed was set after ``since``. A setting that could not be read is not in place."""
    settings: dict[str, object] = dict(vars(function))
    if function.last_modified and function.last_modified < since and not then.proposed.keys().isdisjoint(settings):
        return False  # Lambda itself says that it was set before
    if usage.recursion_allowed is not None:
        settings["recursive_loop"] = "Allow" if usage.recursion_allowed else "Terminate"
    if usage.log_group and (days := usage.log_group.retention_days):
        # A shorter retention than proposed counts too.
        proposed = then.proposed.get("retention_days")
        settings["retention_days"] = max(days, proposed) if isinstance(proposed, int) else days
    if usage.provisioned is not None:
        # Of all aliases: provisioned concurrency that moved to another alias is not removed, and neither is what a
        # schedule or a policy may allocate again.
        settings["provisioned_concurrency"] = sum(item.executions or bool(item.scaling) for item in usage.provisioned)
    return bool(then.proposed) and all(settings.get(name) == value for name, value in then.proposed.items())


def _realised(followed: Iterable[Finding], document: PreviousFindings, analysis: Analysis) -> Iterator[Realised]:
    by_function: dict[str, list[Finding]] = defaultdict(list)
    for finding in followed:
        if finding.scaling:
            # Changes to one function's compute lower its cost per invocation together.
            by_function[finding.arn].append(finding)
        else:
            yield Realised((finding,), finding.savings.expected, measured=False)
    then = {function.arn: function for function in document.functions}
    now = {function.arn: function for function in analysis.functions}
    for arn, findings in by_function.items():
        measured = _measured_savings(then.get(arn), now[arn], analysis, findings)
        dollars = _saved_together(findings).expected if measured is None else measured
        yield Realised(tuple(findings), dollars, measured is not None)


def _measured_savings(
    then: PreviousFunction | None, function: Function, analysis: Analysis, followed: list[Finding]
) -> float | None:
    """Return what today's invocations would have cost then, minus what they cost; None if it is not known.

    It is not known either if an invocation cost more than ``followed`` can explain: then something else has changed,
    or the document is wrong.
    """
    now, cost = analysis.compute.get(function.arn), analysis.cost.get(function.arn)
    changed = function.last_modified
    # Days are told apart by memory size only. After any other change in the window, most days are still the old ones.
    if changed and changed >= analysis.start and not all(item.kind.startswith("memory-") for item in followed):
        return None
    if not isinstance(now, Compute) or cost is None or then is None or then.cost is None or not then.invocations:
        return None
    # More memory makes nothing slower, so the cost fell by the same factor as the memory at most.
    most = NOISE_FACTOR * max(1.0, then.memory_mb / function.memory_mb)
    if any("architecture" in finding.proposed for finding in followed):
        most *= _X86_PRICE_FACTOR / ARM64_FASTER
    before = then.cost / then.invocations * now.invocations.expected
    return before - cost if before <= most * cost else None


def _why_gone(then: Finding, functions: Mapping[str, Function], analysis: Analysis) -> str:
    if then.arn in functions:
        compute = analysis.compute.get(then.arn)
        return f"no longer known: {compute.reason}" if isinstance(compute, NoClaim) else "no longer found"
    if any(gap.subject == f"functions in {then.region}" for gap in analysis.gaps):
        return "its region could not be listed"
    return "the function was deleted"

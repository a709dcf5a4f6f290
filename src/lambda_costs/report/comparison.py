"""What has changed since the last analysis of the same functions: findings that came and went, and what was saved."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import islice
from math import fsum, prod

from lambda_costs.analysis import Analysis
from lambda_costs.collect.inventory import Function
from lambda_costs.collect.prices import PRICES
from lambda_costs.collect.usage import FunctionUsage
from lambda_costs.findings.arm64 import ARM64_FASTER
from lambda_costs.model.compute import Compute, NoClaim
from lambda_costs.model.finding import Finding, SavingsRange
from lambda_costs.report.history import MOST_DOLLARS, OLD_FORMAT, Document, FindingThen, FunctionThen, read_document

MAX_TRIED = 10
"""Documents that are tried until one can be compared with."""

_DURATION = {architecture: tiers[0][1] for architecture, tiers in PRICES["us-east-1"].duration.items()}
_ARM64_CHEAPER = _DURATION["x86_64"] / _DURATION["arm64"]
"""Factor by which a GB-second is dearer on x86_64, nearly the same in every region."""

CHANGED_SHARE = 0.1
CHANGED_DOLLARS = 0.1
"""A finding whose proposal stayed has changed if its expected savings differ by more than this share of the last ones
and by more than so many US dollars per 30 days."""

NOISE = 1.5
"""Factor by which an invocation's cost may differ between two windows beside the change."""


@dataclass(frozen=True)
class Told:
    """A finding in brief; its savings are US dollars per 30 days."""

    id: str
    function: str
    region: str
    change: str
    savings: SavingsRange


@dataclass(frozen=True)
class Changed:
    """A finding that was there the last time and is not the same now."""

    then: Told
    now: Told


@dataclass(frozen=True)
class Gone:
    """A finding of the last time that is not there any more."""

    then: Told
    why: str


@dataclass(frozen=True)
class Realised:
    """What following one or several findings about a function saves, in US dollars per 30 days."""

    then: tuple[Told, ...]
    dollars: float
    """Negative where the function costs more than before."""
    measured: bool
    """Whether ``dollars`` is what an invocation costs less than then, times the invocations now; else it is what was
    expected then."""


@dataclass(frozen=True)
class Comparison:
    """What has changed since the last analysis."""

    since: date
    """The end of its window."""
    total_then: SavingsRange
    """What all of its findings would have saved together, before the free tier."""
    new: tuple[Told, ...]
    changed: tuple[Changed, ...]
    realised: tuple[Realised, ...]
    gone: tuple[Gone, ...]

    @property
    def saved(self) -> float:
        """US dollars per 30 days that were realised, as far as that was measured: what was expected is no evidence."""
        return fsum(item.dollars for item in self.realised if item.measured)


def compare(previous: Iterable[str], analysis: Analysis) -> Comparison | str | None:
    """Return what ``analysis`` says unlike an earlier one, why it cannot, or None if there is no earlier one.

    ``previous``: findings.json of earlier analyses of the same functions, the last one first. The first that can be
    read is compared with. A proposal of that time that is in place now is realised, whether or not its finding is there
    again with another proposal.
    """
    why = None
    for text in islice(previous, MAX_TRIED):
        if document := read_document(text, analysis.end):
            return _compare(document, analysis)
        why = OLD_FORMAT
    return why


def _compare(document: Document, analysis: Analysis) -> Comparison:
    then = {finding.id: finding for finding in document.findings}
    now = {finding.id: finding for finding in analysis.findings}
    functions = {function.arn: function for function in analysis.functions}
    followed = [
        finding
        for finding in then.values()
        if (function := functions.get(finding.arn))
        and _in_place(finding, function, analysis.usage.by_arn[finding.arn])
        and not _unchanged(finding, function, document.window.end)
    ]
    over = then.keys() - now.keys() - {finding.id for finding in followed}
    return Comparison(
        since=document.window.end,
        total_then=_total(document.findings),
        new=tuple(_told(finding) for finding in now.values() if finding.id not in then),
        changed=tuple(
            Changed(_told(then[finding.id]), _told(finding))
            for finding in now.values()
            if finding.id in then and _has_changed(then[finding.id], finding)
        ),
        realised=tuple(_realised(followed, {function.arn: function for function in document.functions}, analysis)),
        gone=tuple(
            Gone(_told(finding), _why_gone(finding, functions, analysis))
            for finding in then.values()
            if finding.id in over
        ),
    )


def _told(finding: Finding | FindingThen) -> Told:
    savings = finding.savings if isinstance(finding, Finding) else finding.interval
    return Told(finding.id, finding.function, finding.region, finding.change, savings)


def _total(findings: Iterable[FindingThen]) -> SavingsRange:
    """Return what ``findings`` were to save together, before the free tier."""
    shares: dict[str, list[FindingThen]] = defaultdict(list)
    for finding in findings:
        shares[finding.arn if finding.scaling else finding.id].append(finding)

    def saved(end: Callable[[SavingsRange], float]) -> float:
        return fsum(_together(group, end) for group in shares.values())

    return SavingsRange(saved(lambda it: it.low), saved(lambda it: it.expected), saved(lambda it: it.high))


def _together(findings: list[FindingThen], end: Callable[[SavingsRange], float]) -> float:
    """Return what one finding saves, or what several that scale one cost do together."""
    if findings[0].scaling is None:
        return end(findings[0].interval)
    saved = _multiply([(end(item.interval), item.scaling.cost) for item in findings if item.scaling])
    return max(-MOST_DOLLARS, saved)


def _has_changed(then: FindingThen, now: Finding) -> bool:
    differ = abs(now.savings.expected - then.savings.expected)
    return then.proposed != dict(now.proposed) or (
        differ > CHANGED_DOLLARS and differ > CHANGED_SHARE * abs(then.savings.expected)
    )


def _in_place(then: FindingThen, function: Function, usage: FunctionUsage) -> bool:
    """Whether the settings that ``then`` proposed are those of today. What could not be read is not in place."""
    settings: dict[str, object] = dict(vars(function))
    if usage.recursion_allowed is not None:
        settings["recursive_loop"] = "Allow" if usage.recursion_allowed else "Terminate"
    if usage.log_group and (days := usage.log_group.retention_days):
        # Of what is kept for a shorter time, more expires.
        proposed = then.proposed.get("retention_days")
        settings["retention_days"] = max(days, proposed) if isinstance(proposed, int) else days
    if usage.provisioned is not None:
        # Of all aliases: what has moved from one to another is not removed.
        settings["provisioned_concurrency"] = sum(item.executions for item in usage.provisioned)
    return bool(then.proposed) and all(settings.get(name) == value for name, value in then.proposed.items())


def _unchanged(then: FindingThen, function: Function, since: date) -> bool:
    """Whether Lambda itself says that no setting of the function that ``then`` proposed was changed after ``since``."""
    changed = function.last_modified
    return changed is not None and changed < since and not then.proposed.keys().isdisjoint(vars(function))


def _realised(
    followed: Iterable[FindingThen], then: Mapping[str, FunctionThen], analysis: Analysis
) -> Iterable[Realised]:
    compute: dict[str, list[FindingThen]] = defaultdict(list)
    functions = {function.arn: function for function in analysis.functions}
    for finding in followed:
        if finding.scaling:
            # What an invocation costs less, several of these did together.
            compute[finding.arn].append(finding)
        else:
            yield Realised((_told(finding),), finding.savings.expected, measured=False)
    for arn, findings in compute.items():
        measured = _measure(then.get(arn), functions[arn], analysis.compute.get(arn), analysis.cost.get(arn), findings)
        # The days at a memory size can be told apart; of another change within the window, most days know nothing yet.
        changed = functions[arn].last_modified
        if changed and changed >= analysis.start and not all(item.kind.startswith("memory-") for item in findings):
            measured = None
        dollars = _together(findings, lambda it: it.expected) if measured is None else measured
        yield Realised(tuple(map(_told, findings)), dollars, measured is not None)


def _measure(
    then: FunctionThen | None,
    function: Function,
    now: Compute | NoClaim | None,
    cost: float | None,
    changes: Iterable[FindingThen],
) -> float | None:
    """Return what the invocations of now cost less than they would have cost then; None if it is not known.

    It is not known either where an invocation cost more than ``changes`` can explain: then something else has changed,
    or the document says what was not so.
    """
    if not isinstance(now, Compute) or cost is None or then is None or then.cost is None or not then.invocations:
        return None
    # With more memory nothing runs longer, so it cost as many times more at most.
    most = NOISE * max(1.0, then.memory_mb / function.memory_mb)
    if any("architecture" in finding.proposed for finding in changes):
        most *= _ARM64_CHEAPER / ARM64_FASTER
    before = then.cost / then.invocations * now.invocations
    return before - cost if before <= most * cost else None


def _multiply(shares: list[tuple[float, float]]) -> float:
    """Return what changes that each save an amount of one cost save together."""
    cost = shares[0][1]
    return cost * (1 - prod(1 - min(1.0, amount / of) for amount, of in shares))


def _why_gone(then: FindingThen, functions: Mapping[str, Function], analysis: Analysis) -> str:
    if then.arn in functions:
        used = analysis.compute.get(then.arn)
        return f"not known any more: {used.reason}" if isinstance(used, NoClaim) else "not found any more"
    if any(gap.subject == f"functions in {then.region}" for gap in analysis.gaps):
        return "its region could not be listed"
    return "gone, with its function"

"""What has changed since the last analysis of the same functions: findings that came and went, and what was saved."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from math import prod
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from vigil.costs.analysis import Analysis
from vigil.costs.compute import Compute
from vigil.costs.finding import Finding, Interval
from vigil.costs.inventory import Function
from vigil.costs.usage import FunctionUsage

CHANGED_SHARE = 0.1
CHANGED_DOLLARS = 0.1
"""A finding whose proposal stayed has changed if its expected savings differ by more than this share of the last ones
and by more than so many US dollars per 30 days."""

OLD_FORMAT = "what the last analysis left behind is damaged or of another version"

_Text = Annotated[str, Field(max_length=2000)]


class _Then(BaseModel):
    """What is read of the last analysis; whatever else it says is ignored."""

    model_config = ConfigDict(frozen=True)


class _Savings(_Then):
    low: FiniteFloat
    expected: FiniteFloat
    high: FiniteFloat

    def interval(self) -> Interval:
        return Interval(self.low, self.expected, self.high)


class _Scaling(_Then):
    cost: Annotated[FiniteFloat, Field(gt=0)]


class _Finding(_Then):
    id: _Text
    kind: _Text
    function: _Text
    region: _Text
    arn: _Text
    change: _Text
    proposed: dict[_Text, int | _Text]
    savings: _Savings
    scaling: _Scaling | None


class _Function(_Then):
    arn: _Text
    invocations: Annotated[FiniteFloat, Field(ge=0)] | None
    cost: FiniteFloat | None


class _Window(_Then):
    end: date


class _Total(_Then):
    gross: _Savings


class _Document(_Then):
    window: _Window
    functions: list[_Function]
    findings: list[_Finding]
    total: _Total


@dataclass(frozen=True)
class Told:
    """A finding in brief; its savings are US dollars per 30 days."""

    id: str
    function: str
    region: str
    change: str
    savings: Interval


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
    total_then: Interval
    """What all of its findings would have saved together, before the free tier."""
    new: tuple[Told, ...]
    changed: tuple[Changed, ...]
    realised: tuple[Realised, ...]
    gone: tuple[Gone, ...]

    @property
    def saved(self) -> float:
        """US dollars per 30 days that were realised."""
        return sum(item.dollars for item in self.realised)


def compare(previous: object, analysis: Analysis) -> Comparison | str:
    """Return what ``analysis`` says unlike ``previous``, the parsed findings.json of the last one, or why it cannot.

    A proposal of the last time that is in place now is realised, whether or not its finding is there again with
    another proposal.
    """
    try:
        document = _Document.model_validate(previous)
    except ValidationError:
        return OLD_FORMAT
    then = {finding.id: finding for finding in document.findings}
    now = {finding.id: finding for finding in analysis.findings}
    functions = {function.arn: function for function in analysis.functions}
    followed = [
        finding
        for finding in then.values()
        if (function := functions.get(finding.arn)) and _in_place(finding, function, analysis.usage.by_arn[finding.arn])
    ]
    over = then.keys() - now.keys() - {finding.id for finding in followed}
    return Comparison(
        since=document.window.end,
        total_then=document.total.gross.interval(),
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


def _told(finding: Finding | _Finding) -> Told:
    savings = finding.savings
    interval = savings if isinstance(savings, Interval) else savings.interval()
    return Told(finding.id, finding.function, finding.region, finding.change, interval)


def _has_changed(then: _Finding, now: Finding) -> bool:
    differ = abs(now.savings.expected - then.savings.expected)
    return then.proposed != dict(now.proposed) or (
        differ > CHANGED_DOLLARS and differ > CHANGED_SHARE * abs(then.savings.expected)
    )


def _in_place(then: _Finding, function: Function, usage: FunctionUsage) -> bool:
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


def _realised(followed: Iterable[_Finding], then: Mapping[str, _Function], analysis: Analysis) -> Iterable[Realised]:
    compute: dict[str, list[_Finding]] = defaultdict(list)
    functions = {function.arn: function for function in analysis.functions}
    for finding in followed:
        if finding.scaling:
            # What an invocation costs less, several of these did together.
            compute[finding.arn].append(finding)
        else:
            yield Realised((_told(finding),), finding.savings.expected, measured=False)
    for arn, findings in compute.items():
        measured = _measure(then.get(arn), analysis.compute.get(arn), analysis.cost.get(arn))
        # The days at a memory size can be told apart; of another change within the window, most days know nothing yet.
        changed = functions[arn].last_modified
        if changed and changed >= analysis.start and not all(item.kind.startswith("memory-") for item in findings):
            measured = None
        expected = _multiply([(item.savings.expected, item.scaling.cost) for item in findings if item.scaling])
        dollars = expected if measured is None else measured
        yield Realised(tuple(map(_told, findings)), dollars, measured is not None)


def _measure(then: _Function | None, now: Compute | str | None, cost: float | None) -> float | None:
    """Return what the invocations of now cost less than they would have cost then; None if it is not known."""
    if not isinstance(now, Compute) or cost is None or then is None or then.cost is None or not then.invocations:
        return None
    return then.cost / then.invocations * now.invocations - cost


def _multiply(shares: list[tuple[float, float]]) -> float:
    """Return what changes that each save an amount of one cost save together."""
    cost = shares[0][1]
    return cost * (1 - prod(1 - amount / of for amount, of in shares))


def _why_gone(then: _Finding, functions: Mapping[str, Function], analysis: Analysis) -> str:
    if then.arn in functions:
        used = analysis.compute.get(then.arn)
        return f"not known any more: {used}" if isinstance(used, str) else "not found any more"
    if any(gap.what == f"functions in {then.region}" for gap in analysis.gaps):
        return "its region could not be listed"
    return "gone, with its function"

"""The report's summary: expected savings, urgent problems, changes since the last analysis, and confidence."""

from collections.abc import Iterator
from itertools import chain
from math import fsum

from lambda_costs.analysis import Analysis
from lambda_costs.model.catalogue import URGENT, Sorted, title
from lambda_costs.model.finding import PERIOD_DAYS, money
from lambda_costs.report.blocks import count, function_label, money_range, some_of
from lambda_costs.report.comparison import Comparison
from vigil.sdk import code, escape

SUMMARY_ROWS = 3
"""Findings that the summary names, and functions that it names for one urgent problem."""


def summary_section(
    analysis: Analysis, findings: Sorted, summary: str, comparison: Comparison | str | None
) -> Iterator[str]:
    """Yield the summary; ``summary`` is its prose."""
    yield "## Summary"
    gross, net = analysis.totals.gross, analysis.totals.net
    if findings.claims:
        changed = {finding.arn for finding in findings.claims}
        yield (
            f"Expected savings: **{money(gross.expected)}** per {PERIOD_DAYS} days ({money_range(gross)}), from"
            f" {count(len(findings.claims), 'change')} to {len(changed):,} of"
            f" {count(len(analysis.functions), 'function')}. After the free tier: **{money(net.expected)}**"
            f" ({money_range(net)})."
        )
        yield "\n".join(
            f"{place}. {function_label(analysis, finding)}: {escape(finding.change)}, {money_range(finding.savings)}"
            for place, finding in enumerate(findings.claims[:SUMMARY_ROWS], start=1)
        )
    else:
        yield why_no_savings(analysis)
    points = (
        f"**Urgent:** {_urgent(findings)}",
        _changes(comparison),
        f"**Confidence:** {_confidence(analysis, findings)}",
    )
    yield "\n".join(f"- {point}." for point in points)
    yield f"> {escape(summary)}"


def why_no_savings(analysis: Analysis) -> str:
    """Return why there is nothing to save."""
    if analysis.functions:
        return "No savings found."
    regions, pattern = ", ".join(analysis.request.regions), analysis.request.functions
    if pattern is None:
        return f"**Nothing was analysed:** no function was found in {regions}."
    unlisted = " (some functions could not be listed)" if analysis.gaps else ""
    return f"**Nothing was analysed:** no function in {regions} matches the filter {code(pattern)}{unlisted}."


def _urgent(findings: Sorted) -> str:
    problems = []
    for kind in URGENT:
        names = {
            finding.arn: finding.function
            for finding in chain(findings.claims, findings.small, findings.observations)
            if finding.kind == kind
        }
        if names:
            some = some_of(list(names.values()), SUMMARY_ROWS)
            problems.append(f"{title(kind).lower()} in {count(len(names), 'function')} ({some})")
    return "; ".join(problems) or "none"


def _changes(comparison: Comparison | str | None) -> str:
    if comparison is None:
        return "**Since the last analysis:** first analysis of these functions"
    if isinstance(comparison, str):
        return f"**Since the last analysis:** no comparison, because {escape(comparison)}"
    counts = ", ".join(f"{len(getattr(comparison, name)):,} {name}" for name in ("new", "changed", "gone", "realised"))
    measured = sum(item.measured for item in comparison.realised)
    rest = len(comparison.realised) - measured
    unmeasured = f" ({rest:,} not measured)" if rest else ""
    saved = f"; measured savings: **{money(comparison.saved)}** per {PERIOD_DAYS} days" if measured else ""
    return f"**Since {comparison.since}:** {counts}{unmeasured}{saved}"


def _confidence(analysis: Analysis, findings: Sorted) -> str:
    skipped = f"{count(len(analysis.gaps), 'item')} skipped" if analysis.gaps else "nothing was skipped"
    if not analysis.functions:
        return f"no function was found{f'; {skipped}' if analysis.gaps else ''}"
    at_least = f"at least {money(analysis.totals.gross.low)} if every change has its worst outcome; "
    known = (
        f"on-demand compute cost is known for {len(analysis.cost):,} of {count(len(analysis.functions), 'function')}:"
        f" {money(fsum(analysis.cost.values()))} per {PERIOD_DAYS} days, without provisioned concurrency"
    )
    return f"{at_least if findings.claims else ''}{known}; {skipped}"

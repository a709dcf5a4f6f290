"""The report in Markdown. Code computes and writes every number in it; a language model only orders and explains."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from math import fsum

from lambda_costs.analysis import Analysis
from lambda_costs.collect.prices import FREE_GB_SECONDS
from lambda_costs.findings import URGENT, title
from lambda_costs.llm.prose_check import check_prose
from lambda_costs.model.finding import PERIOD_DAYS, Finding, money
from lambda_costs.model.totals import FindingGroups, group_by_claim
from lambda_costs.report.blocks import count, money_range, name_of, some_of, why_no_savings
from lambda_costs.report.changes import changes_section
from lambda_costs.report.comparison import Comparison
from lambda_costs.report.savings import finding_sections, observations_section, savings_section
from vigil.sdk import InvalidInput, escape

SUMMARY_ROWS = 3  # findings that the summary names, and functions that it names for one urgent problem
MAX_GAP_NAMES = 20  # names listed for one reason

METHOD = f"""\
## How to read the numbers

- **At least, expected, at most:** savings in the worst case, as the data suggest, and in the best case. They are not \
probabilities.
- **Free tier:** {FREE_GB_SECONDS:,} GB-seconds of Lambda a month are free for the whole account. Amounts ignore this \
unless they say so; amounts after the free tier assume that only these functions use it.
- **Averages:** invocations are averaged over the whole window. This understates the savings of a function that is \
younger than the window.
- **Prices:** duration is priced at the tier that the analysed functions reach. Discounts such as Savings Plans are \
not included.
"""


def render_report(
    analysis: Analysis,
    *,
    summary: str,
    order: Sequence[str] = (),
    notes: Mapping[str, str] | None = None,
    written_by: str,
    comparison: Comparison | str | None = None,
) -> str:
    """Return the report in Markdown.

    ``summary`` and ``notes`` (by finding id) are prose that ``written_by`` wrote; ``order`` lists the finding ids whose
    sections come first. ``comparison`` is with the last analysis, or why there is none; None if this is the first.
    Raises InvalidInput for an unknown id and for prose that check_prose refuses.
    """
    notes = notes or {}
    by_id = {finding.id: finding for finding in analysis.findings}
    if unknown := [name for name in dict.fromkeys([*order, *notes]) if name not in by_id]:
        raise InvalidInput(f"unknown finding id: {', '.join(repr(name[:120]) for name in unknown)}")
    for text in (summary, *notes.values()):
        check_prose(text, analysis)
    ordered = group_by_claim(by_id[name] for name in dict.fromkeys([*order, *by_id]))
    ranked = group_by_claim(analysis.findings)

    def note(finding: Finding, label: str) -> Iterator[str]:
        if text := notes.get(finding.id):
            yield f"> **Note by {escape(written_by)}.** {label}{escape(text)}"

    blocks = chain(
        _head(analysis, written_by),
        _summary(analysis, ranked, summary, comparison),
        savings_section(analysis, ranked),
        changes_section(analysis, comparison) if isinstance(comparison, Comparison) else (),
        observations_section(analysis, ordered, note),
        finding_sections(analysis, ordered, note),
        _skipped(analysis),
        _prices(analysis),
        (METHOD,),
    )
    return "\n\n".join(blocks)


def _head(analysis: Analysis, written_by: str) -> Iterator[str]:
    yield "# What this account overpays for AWS Lambda"
    yield (
        f"{count(len(analysis.functions), 'function')} in {', '.join(analysis.request.regions)},"
        f" {analysis.start} up to {analysis.end} (UTC, {analysis.request.days} days)."
        f" Every number was computed by code from the account's data; the prose was written by {escape(written_by)}."
    )


def _summary(
    analysis: Analysis, findings: FindingGroups, summary: str, comparison: Comparison | str | None
) -> Iterator[str]:
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
            f"{place}. {name_of(analysis, finding)}: {escape(finding.change)}, {money_range(finding.savings)}"
            for place, finding in enumerate(findings.claims[:SUMMARY_ROWS], start=1)
        )
    else:
        yield why_no_savings(analysis)
    points = (_urgent(findings), _changes(comparison), _confidence(analysis, findings))
    yield "\n".join(f"- {point}." for point in points)
    yield f"> {escape(summary)}"


def _urgent(findings: FindingGroups) -> str:
    problems = []
    every = [*findings.claims, *findings.small, *findings.observations]
    for kind in URGENT:
        names = {finding.arn: finding.function for finding in every if finding.kind == kind}
        if names:
            some = some_of(list(names.values()), SUMMARY_ROWS)
            problems.append(f"{title(kind).lower()} in {count(len(names), 'function')} ({some})")
    return f"**Urgent:** {'; '.join(problems) or 'none'}"


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


def _confidence(analysis: Analysis, findings: FindingGroups) -> str:
    skipped = f"{count(len(analysis.gaps), 'item')} skipped" if analysis.gaps else "nothing was skipped"
    if not analysis.functions:
        return f"**Confidence:** no function was found{f'; {skipped}' if analysis.gaps else ''}"
    at_least = f"at least {money(analysis.totals.gross.low)} if every change has its worst outcome; "
    known = (
        f"on-demand compute cost is known for {len(analysis.cost):,} of {count(len(analysis.functions), 'function')}:"
        f" {money(fsum(analysis.cost.values()))} per {PERIOD_DAYS} days, without provisioned concurrency"
    )
    return f"**Confidence:** {at_least if findings.claims else ''}{known}; {skipped}"


def _skipped(analysis: Analysis) -> Iterator[str]:
    yield "## Skipped items"
    by_reason: dict[str, list[str]] = defaultdict(list)
    for gap in analysis.gaps:
        by_reason[gap.reason].append(gap.subject)
    if by_reason:
        reasons = sorted(by_reason.items())
        yield "\n".join(f"- {escape(reason)}: {some_of(names, MAX_GAP_NAMES)}" for reason, names in reasons)
    if not analysis.functions:
        yield why_no_savings(analysis)
    elif not by_reason:
        yield "Nothing was skipped."


def _prices(analysis: Analysis) -> Iterator[str]:
    yield "## Prices and cost of this analysis"
    sources = (f"- {escape(region)}: {escape(source)}" for region, source in sorted(analysis.prices.items()))
    yield "\n".join(sources) or "No prices were needed."
    scan = analysis.scan
    yield (
        f"Estimated cost of reading the data: {money(scan.estimated)} (limit {money(scan.limit)}), for"
        f" {count(scan.metrics, 'CloudWatch metric')} and"
        f" {scan.queried_bytes / 2**30:,.2f} GB scanned by Logs Insights."
    )

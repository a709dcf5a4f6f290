"""The report in Markdown. Code computes and writes every number in it; a language model only orders and explains."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from lambda_costs.analysis import Analysis
from lambda_costs.collect.prices import FREE_GB_SECONDS
from lambda_costs.llm.prose_check import check_prose
from lambda_costs.model.catalogue import sort_out
from lambda_costs.model.finding import money
from lambda_costs.report.blocks import Prose, count, some_of
from lambda_costs.report.changes import changes_section
from lambda_costs.report.comparison import Comparison
from lambda_costs.report.savings import finding_sections, observations_section, savings_section
from lambda_costs.report.summary import summary_section, why_no_savings
from vigil.sdk import InvalidInput, escape

MAX_GAP_NAMES = 20
"""Names listed for one reason."""

METHOD = (
    "## How to read the numbers",
    "\n".join(
        (
            "- **At least, expected, at most:** savings in the worst case, as the data suggest, and in the best case."
            " They are not probabilities.",
            f"- **Free tier:** {FREE_GB_SECONDS:,} GB-seconds of Lambda a month are free for the whole account. Amounts"
            " ignore this unless they say so; amounts after the free tier assume that only these functions use it.",
            "- **Averages:** invocations are averaged over the whole window. This understates the savings of a function"
            " that is younger than the window.",
            "- **Prices:** duration is priced at the tier that the analysed functions reach. Discounts such as Savings"
            " Plans are not included.",
        )
    ),
)


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
    prose = Prose(written_by, summary, notes or {})
    by_id = {finding.id: finding for finding in analysis.findings}
    if unknown := [name for name in dict.fromkeys([*order, *prose.notes]) if name not in by_id]:
        raise InvalidInput(f"unknown finding id: {', '.join(repr(name[:120]) for name in unknown)}")
    for text in (summary, *prose.notes.values()):
        check_prose(text, analysis)
    ordered = sort_out(by_id[name] for name in dict.fromkeys([*order, *by_id]))
    ranked = sort_out(analysis.findings)
    blocks = chain(
        _head(analysis, written_by),
        summary_section(analysis, ranked, summary, comparison),
        savings_section(analysis, ranked),
        changes_section(analysis, comparison) if isinstance(comparison, Comparison) else (),
        observations_section(analysis, ordered, prose),
        finding_sections(analysis, ordered, prose),
        _skipped(analysis),
        _prices(analysis),
        METHOD,
    )
    return "\n\n".join(blocks) + "\n"


def _head(analysis: Analysis, written_by: str) -> Iterator[str]:
    yield "# What this account overpays for AWS Lambda"
    yield (
        f"{count(len(analysis.functions), 'function')} in {', '.join(analysis.request.regions)},"
        f" {analysis.start} up to {analysis.end} (UTC, {analysis.request.days} days)."
        f" Every number was computed by code from the account's data; the prose was written by {escape(written_by)}."
    )


def _skipped(analysis: Analysis) -> Iterator[str]:
    yield "## Skipped items"
    by_reason: dict[str, list[str]] = defaultdict(list)
    for gap in analysis.gaps:
        by_reason[gap.why].append(gap.what)
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

"""The report: every number in it is rendered here, from the analysis."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal

from vigil.costs import prices
from vigil.costs.analysis import Analysis
from vigil.costs.finding import PERIOD_DAYS, Finding, Interval, Measure, money
from vigil.costs.prose import check_prose
from vigil.errors import InvalidInput

SUMMARY_ROWS = 3
"""Findings that the summary names."""

MAX_GAP_NAMES = 20
"""Names listed for one reason; findings.json has them all."""

_MARK = re.compile(r"[\\`|*\[\]~#]|(?<![^\W_])_|_(?![^\W_])|^[-+]")
"""What Markdown may read as markup; an underscore within a word is none."""


def findings_json(analysis: Analysis) -> str:
    """Return the analysis as JSON, the same bytes for the same data; money is US dollars per 30 days."""
    document = {
        "request": analysis.request.model_dump(mode="json"),
        "window": {"start": analysis.start.isoformat(), "end": analysis.end.isoformat()},
        "functions": len(analysis.functions),
        "findings": [asdict(finding) for finding in analysis.findings],
        "total": asdict(analysis.total),
        "gaps": [asdict(gap) for gap in analysis.gaps],
        "prices": {"date": analysis.prices_date, "source": analysis.prices_source, "currency": "USD"},
    }
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def render_report(
    analysis: Analysis,
    *,
    summary: str,
    order: Sequence[str] = (),
    notes: Mapping[str, str] | None = None,
    written_by: str,
) -> str:
    """Return the report in Markdown.

    ``summary`` and ``notes`` (by finding id) are prose that ``written_by`` wrote; ``order`` lists the finding ids whose
    sections come first. Raises InvalidInput for an unknown id and for prose that states a number.
    """
    notes = notes or {}
    by_id = {finding.id: finding for finding in analysis.findings}
    if unknown := [name for name in dict.fromkeys([*order, *notes]) if name not in by_id]:
        raise InvalidInput(f"no finding is called {', '.join(repr(name[:120]) for name in unknown)}")
    for text in (summary, *notes.values()):
        check_prose(text, analysis)
    sections = dict.fromkeys([*order, *by_id])
    lines = [
        *_head(analysis, summary, written_by),
        *_table(analysis),
        *(line for name in sections for line in _section(by_id[name], notes.get(name), written_by)),
        *_not_looked_at(analysis),
        *_prices(analysis),
    ]
    return "\n".join(lines) + "\n"


def _head(analysis: Analysis, summary: str, written_by: str) -> Iterator[str]:
    yield "# What this account overpays for AWS Lambda"
    yield ""
    yield (
        f"{_count(len(analysis.functions), 'function')} in {', '.join(analysis.request.regions)},"
        f" {analysis.start} up to {analysis.end} (UTC, {analysis.request.days} days)."
        f" Every number was computed by code from the account's data; the prose was written by {escape(written_by)}."
    )
    yield ""
    yield "## Summary"
    yield ""
    if analysis.findings:
        total, touched = analysis.total, {finding.arn for finding in analysis.findings}
        yield (
            f"**{money(total.expected)}** per {PERIOD_DAYS} days can be expected to be saved"
            f" ({money(total.low)} to {money(total.high)}):"
            f" {_count(len(analysis.findings), 'finding')} in {len(touched):,} of"
            f" {_count(len(analysis.functions), 'function')}."
        )
        yield ""
        for place, finding in enumerate(analysis.findings[:SUMMARY_ROWS], start=1):
            yield (
                f"{place}. {escape(finding.function)}: {escape(finding.change)},"
                f" {money(finding.savings.low)} to {money(finding.savings.high)}"
            )
        yield ""
    yield f"> {escape(summary)}"
    yield ""


def _table(analysis: Analysis) -> Iterator[str]:
    yield "## What can be saved"
    yield ""
    if not analysis.findings:
        yield "Nothing was found. What was not looked at stands below."
        yield ""
        return
    yield f"US dollars per {PERIOD_DAYS} days, ranked by what is saved at least."
    yield ""
    yield "| | Function | Change | At least | Expected | At most |"
    yield "|---:|---|---|---:|---:|---:|"
    for place, finding in enumerate(analysis.findings, start=1):
        yield (f"| {place} | {escape(finding.function)} | {escape(finding.change)} | {_cells(finding.savings)} |")
    yield f"| | **All together** | | {_cells(analysis.total)} |"
    yield ""
    yield (
        "Memory and architecture of one function apply together, so all together may be less than the sum of the rows."
        " $0.00 or less at least means: measure before you count on it."
    )
    yield ""


def _section(finding: Finding, note: str | None, written_by: str) -> Iterator[str]:
    yield f"## {escape(finding.function)}: {escape(finding.change)}"
    yield ""
    yield (
        f"Saves **{money(finding.savings.expected)}** per {PERIOD_DAYS} days ({money(finding.savings.low)} to"
        f" {money(finding.savings.high)}). {escape(finding.region)}, {_code(finding.id)}."
    )
    yield ""
    if note:
        yield f"> **Note by {escape(written_by)}.** {escape(note)}"
        yield ""
    yield "| Evidence | |"
    yield "|---|---:|"
    for name, measure in finding.evidence.items():
        yield f"| {escape(name)} | {escape(_measure(measure))} |"
    yield ""
    yield f"**Computed:** {escape(finding.formula)}"
    yield ""
    yield "**How:**"
    yield ""
    yield "```sh"
    yield finding.how_to.replace("```", "'''")
    yield "```"
    yield ""
    yield f"**Risk:** {escape(finding.risk)}"
    yield ""
    yield f"**Validate:** {escape(finding.validate)}"
    yield ""


def _not_looked_at(analysis: Analysis) -> Iterator[str]:
    yield "## What was not looked at, and why"
    yield ""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for gap in analysis.gaps:
        by_reason[gap.why].append(gap.what)
    for why, names in sorted(by_reason.items()):
        more = f" and {len(names) - MAX_GAP_NAMES:,} more" if len(names) > MAX_GAP_NAMES else ""
        yield f"- {escape(why)}: {escape(', '.join(names[:MAX_GAP_NAMES]))}{more}"
    if not analysis.functions:
        yield "No function matched the request."
    elif not by_reason:
        yield "Nothing was left out."
    yield ""


def _prices(analysis: Analysis) -> Iterable[str]:
    return (
        "## Prices",
        "",
        f"{escape(analysis.prices_source)}, {escape(analysis.prices_date)}. {prices.FREE_TIER} Duration is priced"
        " at the tier that the functions looked at reach. Invocations are averaged over the whole window, also of a"
        " function that is younger. Discounts such as Savings Plans are not known here.",
    )


def _cells(interval: Interval) -> str:
    return " | ".join(money(amount) for amount in (interval.low, interval.expected, interval.high))


def _measure(measure: Measure) -> str:
    value = measure.value
    if isinstance(value, float):
        text = f"{Decimal(repr(value)):,f}".removesuffix(".0")
    else:
        text = f"{value:,}" if isinstance(value, int) else value
    return f"{text} {measure.unit}".rstrip()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def escape(text: str) -> str:
    """Return ``text`` as one line in which Markdown and HTML mean nothing, fit for a table's cell."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARK.sub(r"\\\g<0>", text)


def _code(text: str) -> str:
    # Backslashes and entities mean nothing inside a code span; only a backtick ends it.
    inside = " ".join(text.split()).replace("`", "'")
    return f"`{inside}`"

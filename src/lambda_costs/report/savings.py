"""The report's findings: the table of savings, the observations, and a section for each finding that saves most."""

from collections.abc import Iterator
from itertools import groupby

from lambda_costs.analysis import Analysis
from lambda_costs.findings import URGENT, title
from lambda_costs.formatting import format_measurement
from lambda_costs.model.finding import PERIOD_DAYS, Finding, SavingsRange, money
from lambda_costs.model.totals import MIN_REPORTED_DOLLARS, FindingGroups
from lambda_costs.report.blocks import Note, advice, count, money_range, name_of, short_list, table, why_no_savings
from lambda_costs.report.charts import BY_FINDING, BY_FUNCTION
from vigil.sdk import FINDINGS, code, escape

MAX_ROWS = 100  # rows of the table of savings
MAX_SECTIONS = 30  # findings with a section of their own
MAX_EVIDENCE = 4  # measurements in a row of the table of one kind


def savings_section(analysis: Analysis, findings: FindingGroups) -> Iterator[str]:
    """Yield the table of all savings, with the charts."""
    yield "## Savings"
    if findings.claims:
        yield f"![Savings by kind of finding]({BY_FINDING})"
        yield f"![Savings by function]({BY_FUNCTION})"
        yield f"US dollars per {PERIOD_DAYS} days before the free tier, sorted by the lowest estimate."
        rows = [
            (f"{place}", name_of(analysis, finding), escape(finding.change), *_amounts(finding.savings))
            for place, finding in enumerate(findings.claims[:MAX_ROWS], start=1)
        ]
        if (more := len(findings.claims) - MAX_ROWS) > 0:
            rows.append(("", f"{more:,} more", f"in `{FINDINGS}`", "", "", ""))
        rows.append(("", "**Total**", "", *_amounts(analysis.totals.gross)))
        rows.append(("", "**After the free tier**", "", *_amounts(analysis.totals.net)))
        yield table(("", "Function", "Change", "At least", "Expected", "At most"), "---:|---|---|---:|---:|---:", rows)
        yield (
            "Several changes to the compute of one function overlap, so the total may be less than the sum of the rows."
            " If a change saves $0.00 or less at least, measure before you rely on it."
        )
    else:
        yield f"{why_no_savings(analysis)} Skipped items are listed below."
    if findings.small:
        small = count(len(findings.small), "finding")
        yield f"Not listed: {small} of less than {money(MIN_REPORTED_DOLLARS)} each, see `{FINDINGS}`."


def observations_section(analysis: Analysis, findings: FindingGroups, note: Note) -> Iterator[str]:
    """Yield the findings that claim no savings, by kind, the urgent ones first."""
    if not findings.observations:
        return
    yield "## Risks and other observations"
    yield "These findings claim no savings."
    places = {kind: place for place, kind in enumerate(URGENT)}

    def rank(finding: Finding) -> tuple[int, str]:
        return places.get(finding.kind, len(places)), title(finding.kind)

    for _, group in groupby(sorted(findings.observations, key=rank), key=rank):
        of_kind = list(group)
        first = of_kind[0]
        rows = [(name_of(analysis, item), escape(item.change), _evidence(item)) for item in of_kind]
        yield from short_list(title(first.kind), ("Function", "Change", "Evidence"), "---|---|---", rows)
        for item in of_kind:
            yield from note(item, f"{name_of(analysis, item)}: ")
        yield from advice(first, label=f" (for {name_of(analysis, first)})" if len(of_kind) > 1 else "")


def finding_sections(analysis: Analysis, findings: FindingGroups, note: Note) -> Iterator[str]:
    """Yield a section for each of the first findings, and the notes about the rest."""
    for finding in findings.claims[:MAX_SECTIONS]:
        yield f"## {name_of(analysis, finding)}: {escape(finding.change)}"
        expected = finding.savings.expected
        verdict = f"Costs **{money(-expected)}** more" if expected < 0 else f"Saves **{money(expected)}**"
        yield (
            f"{verdict} per {PERIOD_DAYS} days ({money_range(finding.savings)})."
            f" {title(finding.kind)}, {escape(finding.region)}, {code(finding.id)}."
        )
        yield from note(finding, "")
        evidence = finding.evidence.items()
        rows = [(escape(name), escape(format_measurement(measurement))) for name, measurement in evidence]
        yield table(("Evidence", ""), "---|---:", rows)
        yield f"**Calculation:** {escape(finding.formula)}"
        yield from _second_opinion(analysis, finding)
        yield from advice(finding)
    if rest := findings.claims[MAX_SECTIONS:]:
        yield "## Further savings"
        yield f"{count(len(rest), 'more finding')} with lower savings: `{FINDINGS}` has their evidence and commands."
        # The table of savings shows these findings; the notes about them appear only here.
        for finding in rest:
            yield from note(finding, f"{name_of(analysis, finding)}: ")


def _second_opinion(analysis: Analysis, finding: Finding) -> Iterator[str]:
    recommendation = analysis.recommendations.get(finding.arn)
    if recommendation is None or "memory_mb" not in finding.proposed:
        return
    parts = [recommendation.finding, *recommendation.reasons]
    if recommendation.memory_mb is not None:
        parts.append(f"{recommendation.memory_mb:,} MB")
    if recommendation.monthly_savings is not None:
        parts.append(f"{money(recommendation.monthly_savings)} a month")
    if recommendation.lookback_days is not None:
        parts.append(f"from {recommendation.lookback_days:g} days")
    yield f"**AWS Compute Optimizer says:** {escape(', '.join(parts))}"


def _evidence(finding: Finding) -> str:
    first = list(finding.evidence.items())[:MAX_EVIDENCE]
    return escape("; ".join(f"{name}: {format_measurement(measurement)}" for name, measurement in first))


def _amounts(savings: SavingsRange) -> tuple[str, str, str]:
    return money(savings.low), money(savings.expected), money(savings.high)

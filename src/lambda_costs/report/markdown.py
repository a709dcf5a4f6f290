"""The report: every number in it is rendered here, from the analysis."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import chain, groupby
from math import fsum

from lambda_costs.analysis import Analysis
from lambda_costs.collect.prices import FREE_GB_SECONDS
from lambda_costs.findings import URGENT, title
from lambda_costs.llm.prose_check import check_prose
from lambda_costs.model.finding import NO_SAVINGS, PERIOD_DAYS, Finding, Measurement, SavingsRange, money
from lambda_costs.model.totals import MIN_REPORTED_DOLLARS, FindingGroups, group_by_claim
from lambda_costs.report.charts import BY_FINDING, BY_FUNCTION
from lambda_costs.report.comparison import CHANGED_DOLLARS, CHANGED_SHARE, Comparison, Realised, Told
from vigil.sdk import FINDINGS, InvalidInput, code, escape, fence

SUMMARY_ROWS = 3
"""Findings that the summary names, and functions that it names for one urgent matter."""
MAX_ROWS = 100
"""Rows of the table of savings."""
MAX_SECTIONS = 30
"""Findings with a section of their own."""
MAX_KIND_ROWS = 25
"""Rows of the table of one kind that claims no money, and of one list of what has changed."""
MAX_EVIDENCE = 4
"""Measures in a row of such a table."""
MAX_GAP_NAMES = 20
"""Names listed for one reason."""

_REST = f"`{FINDINGS}` has the rest."


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
    Raises InvalidInput for an unknown id and for prose that states a number.
    """
    notes = notes or {}
    by_id = {finding.id: finding for finding in analysis.findings}
    if unknown := [name for name in dict.fromkeys([*order, *notes]) if name not in by_id]:
        raise InvalidInput(f"no finding is called {', '.join(repr(name[:120]) for name in unknown)}")
    for text in (summary, *notes.values()):
        check_prose(text, analysis)
    findings = group_by_claim(by_id[name] for name in dict.fromkeys([*order, *by_id]))
    ranked = group_by_claim(analysis.findings)
    parts = (
        _head(analysis, written_by),
        _summary(analysis, ranked, summary, comparison),
        _savings(analysis, ranked),
        _since(analysis, comparison) if isinstance(comparison, Comparison) else (),
        _observations(analysis, findings, notes, written_by),
        _sections(analysis, findings, notes, written_by),
        _not_looked_at(analysis),
        _prices(analysis),
        _method(),
    )
    return "\n".join(chain.from_iterable(parts)) + "\n"


def _head(analysis: Analysis, written_by: str) -> Iterator[str]:
    yield "# What this account overpays for AWS Lambda"
    yield ""
    yield (
        f"{_count(len(analysis.functions), 'function')} in {', '.join(analysis.request.regions)},"
        f" {analysis.start} up to {analysis.end} (UTC, {analysis.request.days} days)."
        f" Every number was computed by code from the account's data; the prose was written by {escape(written_by)}."
    )
    yield ""


def _summary(
    analysis: Analysis, findings: FindingGroups, summary: str, comparison: Comparison | str | None
) -> Iterator[str]:
    yield "## Summary"
    yield ""
    gross, net = analysis.totals.gross, analysis.totals.net
    if findings.claims:
        touched = {finding.arn for finding in findings.claims}
        yield (
            f"**{money(gross.expected)}** per {PERIOD_DAYS} days can be expected to be saved ({_range(gross)}), by"
            f" {_count(len(findings.claims), 'change')} to {len(touched):,} of"
            f" {_count(len(analysis.functions), 'function')}. After the free tier: **{money(net.expected)}**"
            f" ({_range(net)})."
        )
        yield ""
        for place, finding in enumerate(findings.claims[:SUMMARY_ROWS], start=1):
            yield f"{place}. {_name(analysis, finding)}: {escape(finding.change)}, {_range(finding.savings)}"
        yield ""
    else:
        yield _nothing(analysis)
        yield ""
    yield f"- **Urgent:** {_urgent(findings)}"
    yield f"- {_in_brief(comparison)}"
    yield f"- **How sure:** {_how_sure(analysis, findings)}"
    yield ""
    yield f"> {escape(summary)}"
    yield ""


def _nothing(analysis: Analysis) -> str:
    """Return why there is nothing to save."""
    if analysis.functions:
        return "Nothing was found that would save a cent."
    where, pattern = ", ".join(analysis.request.regions), analysis.request.functions
    of_those = " of those that could be listed" if analysis.gaps else ""
    if pattern is None:
        return f"**Nothing was analysed:** no function was found in {where}."
    return f"**Nothing was analysed:** no function in {where}{of_those} matches the filter {code(pattern)}."


def _urgent(findings: FindingGroups) -> str:
    told = []
    for kind in URGENT:
        names = {
            finding.arn: finding.function
            for finding in chain(findings.claims, findings.small, findings.observations)
            if finding.kind == kind
        }
        if names:
            named = _names(list(names.values()))
            told.append(f"{title(kind).lower()} in {_count(len(names), 'function')} ({named})")
    return (
        f"{'; '.join(told)}." if told else "nothing was found that fails, times out, recurses or runs out of support."
    )


def _names(names: Sequence[str]) -> str:
    more = len(names) - SUMMARY_ROWS
    return escape(", ".join(names[:SUMMARY_ROWS])) + (f" and {more:,} more" if more > 0 else "")


def _in_brief(comparison: Comparison | str | None) -> str:
    if comparison is None:
        return "**Since the last analysis:** there is none of the same functions on record."
    if isinstance(comparison, str):
        return f"**Since the last analysis:** no comparison, {escape(comparison)}."
    counts = (
        f"{len(comparison.new):,} new, {len(comparison.changed):,} changed, {len(comparison.gone):,} gone,"
        f" {len(comparison.realised):,} realised"
    )
    measured = sum(item.measured for item in comparison.realised)
    saved = f", which saves **{money(comparison.saved)}** per {PERIOD_DAYS} days as measured" if measured else ""
    rest = len(comparison.realised) - measured
    unknown = f" ({rest:,} of them not measured)" if rest else ""
    return f"**Since {comparison.since}:** {counts}{unknown}{saved}."


def _how_sure(analysis: Analysis, findings: FindingGroups) -> str:
    known = len(analysis.cost)
    data = (
        f"the data of {known:,} of {_count(len(analysis.functions), 'function')} tell what their compute costs on"
        f" demand, {money(fsum(analysis.cost.values()))} per {PERIOD_DAYS} days (provisioned concurrency is not in it)"
    )
    gaps = f"{_count(len(analysis.gaps), 'thing')} not looked at" if analysis.gaps else "nothing was left out"
    if not analysis.functions:
        return f"nothing can be said of functions that were not found{f'; {gaps}' if analysis.gaps else ''}."
    if not findings.claims:
        return f"{data}; {gaps}."
    return f"{money(analysis.totals.gross.low)} at least, if every change turns out at its worst; {data}; {gaps}."


def _savings(analysis: Analysis, findings: FindingGroups) -> Iterator[str]:
    yield "## What can be saved"
    yield ""
    if findings.claims:
        yield f"![Savings by kind of finding]({BY_FINDING})"
        yield ""
        yield f"![Savings by function]({BY_FUNCTION})"
        yield ""
        yield f"US dollars per {PERIOD_DAYS} days before the free tier, ranked by what is saved at least."
        yield ""
        yield "| | Function | Change | At least | Expected | At most |"
        yield "|---:|---|---|---:|---:|---:|"
        for place, finding in enumerate(findings.claims[:MAX_ROWS], start=1):
            cells = f"{_name(analysis, finding)} | {escape(finding.change)} | {_cells(finding.savings)}"
            yield f"| {place} | {cells} |"
        if (more := len(findings.claims) - MAX_ROWS) > 0:
            yield f"| | {more:,} more | in `{FINDINGS}` | | | |"
        yield f"| | **All together** | | {_cells(analysis.totals.gross)} |"
        yield f"| | **After the free tier** | | {_cells(analysis.totals.net)} |"
        yield ""
        yield (
            "Changes to the compute of one function apply together, so all together may be less than the sum of the"
            " rows. $0.00 or less at least means: measure before you count on it."
        )
    else:
        yield f"{_nothing(analysis)} What was not looked at stands below."
    yield ""
    if findings.small:
        yield (
            f"Too small to matter: {_count(len(findings.small), 'finding')} worth less than"
            f" {money(MIN_REPORTED_DOLLARS)} each. `{FINDINGS}` has them."
        )
        yield ""


def _since(analysis: Analysis, comparison: Comparison) -> Iterator[str]:
    yield f"## Since {comparison.since}"
    yield ""
    then = comparison.total_then
    yield f"Then **{money(then.expected)}** per {PERIOD_DAYS} days could be expected to be saved ({_range(then)})."
    yield ""
    if comparison.realised:
        rows = [(_name(analysis, item.then[0]), _changes(item), *_how_much(item)) for item in comparison.realised]
        yield from _list("Realised", ("Function", "Change", "Saves", "Known by"), "---|---|---:|---", rows)
    told: tuple[tuple[str, Sequence[tuple[Told, str]]], ...] = (
        ("New", [(item, f"{money(item.savings.expected)} expected") for item in comparison.new]),
        (
            "Changed",
            [
                (item.now, f"{money(item.now.savings.expected)} expected, {money(item.then.savings.expected)} then")
                for item in comparison.changed
            ],
        ),
        ("Gone", [(item.then, item.why) for item in comparison.gone]),
    )
    for name, items in told:
        if items:
            lines = [(_name(analysis, item), escape(item.change), escape(why)) for item, why in items]
            yield from _list(name, ("Function", "Change", ""), "---|---|---", lines)
    if not (comparison.realised or any(items for _, items in told)):
        yield "Nothing has changed."
        yield ""
    yield (
        f"Changed: another proposal, or expected savings that differ by more than {CHANGED_SHARE:.0%} and"
        f" {money(CHANGED_DOLLARS)}. Realised: what was proposed is in place. Its savings are measured as what an"
        " invocation costs less than then, times the invocations now; the window may include days before the change."
        " What was only expected then is not in what was saved."
    )
    yield ""


def _list(name: str, head: Sequence[str], align: str, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"### {name} ({len(rows):,})"
    yield ""
    yield f"| {' | '.join(head)} |"
    yield f"|{align}|"
    for row in rows[:MAX_KIND_ROWS]:
        yield f"| {' | '.join(row)} |"
    yield ""
    if (more := len(rows) - MAX_KIND_ROWS) > 0:
        yield f"And {more:,} more: {_REST}"
        yield ""


def _changes(item: Realised) -> str:
    return escape("; ".join(told.change for told in item.then))


def _how_much(item: Realised) -> tuple[str, str]:
    if all(told.savings == NO_SAVINGS for told in item.then):
        return "", "claimed no money"
    return money(item.dollars), "measured" if item.measured else "expected then, not measured"


def _observations(
    analysis: Analysis, findings: FindingGroups, notes: Mapping[str, str], written_by: str
) -> Iterator[str]:
    if not findings.observations:
        return
    yield "## Risks and other observations"
    yield ""
    yield "No money is claimed for these."
    yield ""
    places = {kind: place for place, kind in enumerate(URGENT)}

    def rank(finding: Finding) -> tuple[int, str]:
        return places.get(finding.kind, len(places)), title(finding.kind)

    for _, group in groupby(sorted(findings.observations, key=rank), key=rank):
        of_kind = list(group)
        rows = [(_name(analysis, item), escape(item.change), _evidence(item)) for item in of_kind]
        yield from _list(title(of_kind[0].kind), ("Function", "Change", "Evidence"), "---|---|---", rows)
        for item in of_kind:
            yield from _note(item, notes, written_by, f"{_name(analysis, item)}: ")
        yield from _advice(of_kind[0], of=f" (for {_name(analysis, of_kind[0])})" if len(of_kind) > 1 else "")


def _evidence(finding: Finding) -> str:
    measures = list(finding.evidence.items())[:MAX_EVIDENCE]
    return escape("; ".join(f"{name}: {_measure(measure)}" for name, measure in measures))


def _sections(analysis: Analysis, findings: FindingGroups, notes: Mapping[str, str], written_by: str) -> Iterator[str]:
    for finding in findings.claims[:MAX_SECTIONS]:
        yield f"## {_name(analysis, finding)}: {escape(finding.change)}"
        yield ""
        yield (
            f"{_verdict(finding)} per {PERIOD_DAYS} days ({_range(finding.savings)})."
            f" {title(finding.kind)}, {escape(finding.region)}, {code(finding.id)}."
        )
        yield ""
        yield from _note(finding, notes, written_by)
        yield "| Evidence | |"
        yield "|---|---:|"
        for name, measure in finding.evidence.items():
            yield f"| {escape(name)} | {escape(_measure(measure))} |"
        yield ""
        yield f"**Computed:** {escape(finding.formula)}"
        yield ""
        yield from _second_opinion(analysis, finding)
        yield from _advice(finding)
    if rest := findings.claims[MAX_SECTIONS:]:
        yield "## Further savings"
        yield ""
        # Their rows stand in the table of savings; what somebody wrote about them stands nowhere else.
        yield f"{_count(len(rest), 'finding')} more that save less: `{FINDINGS}` has their evidence and commands."
        yield ""
        for finding in rest:
            yield from _note(finding, notes, written_by, f"{_name(analysis, finding)}: ")


def _verdict(finding: Finding) -> str:
    expected = finding.savings.expected
    return f"Costs **{money(-expected)}** more" if expected < 0 else f"Saves **{money(expected)}**"


def _note(finding: Finding, notes: Mapping[str, str], written_by: str, about: str = "") -> Iterator[str]:
    if note := notes.get(finding.id):
        yield f"> **Note by {escape(written_by)}.** {about}{escape(note)}"
        yield ""


def _second_opinion(analysis: Analysis, finding: Finding) -> Iterator[str]:
    recommendation = analysis.recommendations.get(finding.arn)
    if recommendation is None or "memory_mb" not in finding.proposed:
        return
    said = [recommendation.finding, *recommendation.reasons]
    if recommendation.memory_mb is not None:
        said.append(f"{recommendation.memory_mb:,} MB")
    if recommendation.monthly_savings is not None:
        said.append(f"{money(recommendation.monthly_savings)} a month")
    if recommendation.lookback_days is not None:
        said.append(f"from {recommendation.lookback_days:g} days")
    yield f"**AWS Compute Optimizer says:** {escape(', '.join(said))}"
    yield ""


def _advice(finding: Finding, *, of: str = "") -> Iterator[str]:
    if finding.how_to:
        yield f"**How:**{of}"
        yield ""
        yield from fence(finding.how_to, "sh")
        yield ""
    if finding.as_code:
        yield f"**As code:**{of}"
        yield ""
        yield from fence(finding.as_code, "yaml")
        yield ""
    for name, text in (("Risk", finding.risk), ("Validate", finding.validate)):
        if text:
            yield f"**{name}:** {escape(text)}"
            yield ""


def _not_looked_at(analysis: Analysis) -> Iterator[str]:
    yield "## What was not looked at, and why"
    yield ""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for gap in analysis.gaps:
        by_reason[gap.reason].append(gap.subject)
    for why, names in sorted(by_reason.items()):
        more = f" and {len(names) - MAX_GAP_NAMES:,} more" if len(names) > MAX_GAP_NAMES else ""
        yield f"- {escape(why)}: {escape(', '.join(names[:MAX_GAP_NAMES]))}{more}"
    if not analysis.functions:
        yield _nothing(analysis)
    elif not by_reason:
        yield "Nothing was left out."
    yield ""


def _prices(analysis: Analysis) -> Iterator[str]:
    yield "## Prices, and what this analysis cost"
    yield ""
    for region, source in sorted(analysis.prices.items()):
        yield f"- {escape(region)}: {escape(source)}"
    if not analysis.prices:
        yield "No prices were needed."
    yield ""
    scan = analysis.scan
    yield (
        f"To read the data cost {money(scan.estimated)} by our estimate, of {money(scan.limit)} that were allowed:"
        f" {_count(scan.metrics, 'metric')} of CloudWatch, and {scan.queried_bytes / 2**30:,.2f} GB that Logs Insights"
        " went through."
    )
    yield ""


def _method() -> Iterable[str]:
    return (
        "## How to read the numbers",
        "",
        "- **At least, expected, at most:** what a change saves if the workload reacts to it as badly as it can, as the"
        " data suggest, and as well as it can. Nothing is a probability.",
        f"- **Free tier:** {FREE_GB_SECONDS:,} GB-seconds of Lambda a month are free, for the whole account."
        " Amounts are without it; where it says after the free tier, only the functions looked at use it.",
        "- **Averages:** invocations are averaged over the whole window, also of a function that is younger, which"
        " understates what it will save.",
        "- **Prices:** duration is priced at the tier that the functions looked at reach. Discounts such as Savings"
        " Plans are not known here.",
    )


def _name(analysis: Analysis, finding: Finding | Told) -> str:
    several = len(analysis.request.regions) > 1
    return escape(f"{finding.function} ({finding.region})" if several else finding.function)


def _range(interval: SavingsRange) -> str:
    return f"{money(interval.low)} to {money(interval.high)}"


def _cells(interval: SavingsRange) -> str:
    return " | ".join(money(amount) for amount in (interval.low, interval.expected, interval.high))


def _measure(measure: Measurement) -> str:
    value = measure.value
    if isinstance(value, float):
        text = f"{Decimal(repr(value)):,f}".removesuffix(".0")
    else:
        text = f"{value:,}" if isinstance(value, int) else value
    return f"{text} {measure.unit}".rstrip()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

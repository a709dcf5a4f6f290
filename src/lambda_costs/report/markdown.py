"""The report in Markdown. Code computes and writes every number in it; a language model only orders and explains."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple
from math import fsum

from lambda_costs.analysis import Analysis
from lambda_costs.collect.prices import FREE_GB_SECONDS
from lambda_costs.findings import URGENT, title
from lambda_costs.formatting import format_measurement
from lambda_costs.llm.prose_check import check_prose
from lambda_costs.model.finding import NO_SAVINGS, PERIOD_DAYS, SLOW, Basis, Finding, SavingsRange, money
from lambda_costs.model.totals import MIN_REPORTED_DOLLARS, FindingGroups, Totals, group_by_claim
from lambda_costs.model.volume import RECENT_DAYS
from lambda_costs.report.charts import BY_FINDING, BY_FUNCTION
from lambda_costs.report.comparison import CHANGED_DOLLARS, CHANGED_SHARE, Comparison, Realised
from vigil.sdk import FINDINGS, InvalidInput, code, escape, fence

Note = Callable[[Finding, str], Iterator[str]]  # yields the model's note about a finding after a label, if there is one

MAX_ROWS = 100  # rows of the table of savings
MAX_SECTIONS = 30  # findings with a section of their own
MAX_EVIDENCE = 4  # measurements in a row of the table of one kind
MAX_KIND_ROWS = 25  # in the table of a kind that claims no savings, and in a list of changes since the last analysis
SUMMARY_ROWS = 3  # findings that the summary names, and functions that it names for one urgent problem
MAX_GAP_NAMES = 20  # names listed for one reason

METHOD = f"""\
## How to read the numbers

- **At least, expected, at most:** savings in the worst case, as the data suggest, and in the best case. They are not \
probabilities.
- **Free tier:** {FREE_GB_SECONDS:,} GB-seconds of Lambda a month are free for the whole account. Amounts ignore this \
unless they say so; amounts after the free tier assume that only these functions use it.
- **Measured, to be tested:** measured savings rest on the account's own data: two memory sizes, CPU time, allocated \
concurrency, stored logs, timeouts. What is to be tested is plausible; each of these findings has a test.
- **The coming days:** amounts are for the coming {PERIOD_DAYS} days, at a rate from that of the last {RECENT_DAYS} \
days to that of the whole window. The range holds both.
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

    blocks = (
        "# What this account overpays for AWS Lambda",
        f"{_count(len(analysis.functions), 'function')} in {', '.join(analysis.request.regions)},"
        f" {analysis.start} up to {analysis.end} (UTC, {analysis.request.days} days)."
        f" Every number was computed by code from the account's data; the prose was written by {escape(written_by)}.",
        *_summary(analysis, ranked, summary, comparison),
        *_savings_section(analysis, ranked),
        *(_changes(analysis, comparison) if isinstance(comparison, Comparison) else ()),
        *_observations_section(analysis, ordered, note),
        *_finding_sections(analysis, ordered, note),
        *_skipped(analysis),
        *_prices(analysis),
        METHOD,
    )
    return "\n\n".join(blocks)


def _summary(
    analysis: Analysis, findings: FindingGroups, summary: str, comparison: Comparison | str | None
) -> Iterator[str]:
    yield "## Summary"
    if findings.claims:
        gross, net, more = analysis.totals.gross, analysis.totals.net, analysis.more.gross
        measured, tests = (len(list(findings.on(basis))) for basis in Basis)
        yield (
            f"Measured savings in the coming {PERIOD_DAYS} days: **{money(gross.expected)}** ({_money_range(gross)}),"
            f" from {_count(measured, 'change')}. After the free tier: **{money(net.expected)}** ({_money_range(net)})."
            + (
                f" {_count(tests, 'change')} to be tested could add up to {money(more.high)}"
                f" ({money(more.expected)} is expected)."
                if tests
                else ""
            )
        )
        yield "\n".join(
            f"{place}. {_name_of(analysis, finding)}: {escape(finding.change)}, {_money_range(finding.savings)}"
            for place, finding in enumerate(findings.claims[:SUMMARY_ROWS], start=1)
        )
    else:
        yield _why_no_savings(analysis)
    points = (_urgent(findings), _changes_in_brief(comparison), _confidence(analysis, findings))
    yield "\n".join(f"- {point}." for point in points)
    yield f"> {escape(summary)}"


def _urgent(findings: FindingGroups) -> str:
    problems = []
    every = [*findings.claims, *findings.small, *findings.observations]
    for kind in URGENT:
        if names := {finding.arn: finding.function for finding in every if finding.kind == kind}:
            some = _some_of(list(names.values()), SUMMARY_ROWS)
            problems.append(f"{title(kind).lower()} in {_count(len(names), 'function')} ({some})")
    return f"**Urgent:** {'; '.join(problems) or 'none'}"


def _changes_in_brief(comparison: Comparison | str | None) -> str:
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
    skipped = f"{_count(len(analysis.gaps), 'item')} skipped" if analysis.gaps else "nothing was skipped"
    if not analysis.functions:
        return f"**Confidence:** no function was found{f'; {skipped}' if analysis.gaps else ''}"
    at_least = f"at least {money(analysis.totals.gross.low)} if every measured change has its worst outcome; "
    known = (
        f"on-demand compute cost is known for {len(analysis.cost):,} of {_count(len(analysis.functions), 'function')}:"
        f" {money(fsum(analysis.cost.values()))} per {PERIOD_DAYS} days, without provisioned concurrency"
    )
    return f"**Confidence:** {at_least if findings.claims else ''}{known}; {skipped}"


def _savings_section(analysis: Analysis, findings: FindingGroups) -> Iterator[str]:
    yield "## Savings"
    if findings.claims:
        yield f"![Savings by kind of finding]({BY_FINDING})"
        yield f"![Savings by function]({BY_FUNCTION})"
        yield f"US dollars in the coming {PERIOD_DAYS} days before the free tier. What to do first comes first."
        for basis, totals in ((Basis.MEASURED, analysis.totals), (Basis.TO_TEST, analysis.more)):
            yield from _savings_table(analysis, basis, list(findings.on(basis)), totals)
        yield (
            "Several changes to the compute of one function overlap, so the total may be less than the sum of the rows."
            " The total of the changes to be tested is what they add if only those are kept that save money."
        )
    else:
        yield f"{_why_no_savings(analysis)} Skipped items are listed below."
    if findings.small:
        small = _count(len(findings.small), "finding")
        yield f"Not listed: {small} of less than {money(MIN_REPORTED_DOLLARS)} each, see `{FINDINGS}`."


def _savings_table(analysis: Analysis, basis: Basis, findings: list[Finding], totals: Totals) -> Iterator[str]:
    if not findings:
        return
    yield f"### {basis.capitalize()} ({len(findings):,})"
    rows = []
    for place, finding in enumerate(findings[:MAX_ROWS], start=1):
        slow = f" (may take up to {finding.slowdown:.1f} times as long)" if finding.slowdown > SLOW else ""
        savings = map(money, astuple(finding.savings))
        rows.append((f"{place}", _name_of(analysis, finding), escape(finding.change + slow), *savings))
    if (more := len(findings) - MAX_ROWS) > 0:
        rows.append(("", f"{more:,} more", f"in `{FINDINGS}`", "", "", ""))
    rows.append(("", "**Total**", "", *map(money, astuple(totals.gross))))
    rows.append(("", "**After the free tier**", "", *map(money, astuple(totals.net))))
    yield _table(("", "Function", "Change", "At least", "Expected", "At most"), "---:|---|---|---:|---:|---:", rows)


def _changes(analysis: Analysis, comparison: Comparison) -> Iterator[str]:
    yield f"## Since {comparison.since}"
    then = comparison.total_then
    yield f"Expected savings at that time: **{money(then.expected)}** per {PERIOD_DAYS} days ({_money_range(then)})."
    followed = [
        (_name_of(analysis, item.then[0]), escape("; ".join(one.change for one in item.then)), *_saved(item))
        for item in comparison.realised
    ]
    yield from _short_list("Realised", ("Function", "Change", "Saves", "Source"), "---|---|---:|---", followed)
    lists = {
        "New": [(item, f"{money(item.savings.expected)} expected") for item in comparison.new],
        "Changed": [
            (item.now, f"{money(item.now.savings.expected)} expected, {money(item.then.savings.expected)} before")
            for item in comparison.changed
        ],
        "Gone": [(item.then, item.why) for item in comparison.gone],
    }
    for heading, items in lists.items():
        rows = [(_name_of(analysis, item), escape(item.change), escape(text)) for item, text in items]
        yield from _short_list(heading, ("Function", "Change", "Detail"), "---|---|---", rows)
    if not any((followed, *lists.values())):
        yield "Nothing has changed."
    yield (
        f"Changed: the proposal differs, or the expected savings differ by more than {CHANGED_SHARE:.0%} and"
        f" {money(CHANGED_DOLLARS)}. Realised: the proposed setting is in place. Measured savings are the difference in"
        " cost per invocation, times the invocations now; the window may include days before the change. Savings that"
        " were only expected do not count as measured."
    )


def _saved(item: Realised) -> tuple[str, str]:
    if all(finding.savings == NO_SAVINGS for finding in item.then):
        return "", "no savings claimed"
    return money(item.dollars), "measured" if item.measured else "expected, not measured"


def _observations_section(analysis: Analysis, findings: FindingGroups, note: Note) -> Iterator[str]:
    if not findings.observations:
        return
    yield "## Risks and other observations"
    yield "These findings claim no savings."
    kinds = {finding.kind for finding in findings.observations}
    for kind in (*(kind for kind in URGENT if kind in kinds), *sorted(kinds.difference(URGENT), key=title)):
        of_kind = [finding for finding in findings.observations if finding.kind == kind]
        rows = [(_name_of(analysis, item), escape(item.change), _evidence(item)) for item in of_kind]
        yield from _short_list(title(kind), ("Function", "Change", "Evidence"), "---|---|---", rows)
        for item in of_kind:
            yield from note(item, f"{_name_of(analysis, item)}: ")
        yield from _advice(of_kind[0], f" (for {_name_of(analysis, of_kind[0])})" if len(of_kind) > 1 else "")


def _finding_sections(analysis: Analysis, findings: FindingGroups, note: Note) -> Iterator[str]:
    for finding in findings.claims[:MAX_SECTIONS]:
        yield f"## {_name_of(analysis, finding)}: {escape(finding.change)}"
        expected = finding.savings.expected
        verdict = f"Costs **{money(-expected)}** more" if expected < 0 else f"Saves **{money(expected)}**"
        yield (
            f"{verdict} in {PERIOD_DAYS} days ({_money_range(finding.savings)}), {finding.basis}."
            f" {title(finding.kind)}, {escape(finding.region)}, {code(finding.id)}."
        )
        yield from note(finding, "")
        evidence = finding.evidence.items()
        rows = [(escape(name), escape(format_measurement(measurement))) for name, measurement in evidence]
        yield _table(("Evidence", ""), "---|---:", rows)
        yield f"**Calculation:** {escape(finding.formula)}"
        yield from _second_opinion(analysis, finding)
        yield from _advice(finding)
    if rest := findings.claims[MAX_SECTIONS:]:
        yield "## Further savings"
        yield f"{_count(len(rest), 'more finding')} with lower savings: `{FINDINGS}` has their evidence and commands."
        # The table of savings shows these findings; the notes about them appear only here.
        for finding in rest:
            yield from note(finding, f"{_name_of(analysis, finding)}: ")


def _advice(finding: Finding, label: str = "") -> Iterator[str]:
    test = json.dumps(finding.test, indent=2) if finding.test else ""
    tuning = "Input of AWS Lambda Power Tuning, which invokes the function: add a typical event as payload"
    blocks = (
        ("How", finding.how_to, "sh"),
        ("As code", finding.as_code, "yaml"),
        (tuning, test, "json"),
    )
    for name, text, language in blocks:
        if text:
            yield f"**{name}:**{label}"
            yield "\n".join(fence(text, language))
    for name, text in (("Risk", finding.risk), ("Validate", finding.validate)):
        if text:
            yield f"**{name}:** {escape(text)}"


def _second_opinion(analysis: Analysis, finding: Finding) -> Iterator[str]:
    recommendation = analysis.recommendations.get(finding.arn)
    if recommendation is None or "memory_mb" not in finding.proposed:
        return
    parts = [recommendation.finding, *recommendation.reasons]
    if recommendation.memory_mb is not None:
        parts.append(f"{recommendation.memory_mb:,} MB")
    if recommendation.monthly_savings is not None:
        parts.append(f"{money(recommendation.monthly_savings)} a month")
    if recommendation.projected_ms:
        ends = (f"{name} {value:,.0f} ms" for name, value in sorted(recommendation.projected_ms.items()))
        parts.append(f"projected duration {', '.join(ends)}")
    if recommendation.performance_risk is not None:
        parts.append(f"performance risk {recommendation.performance_risk}")
    if recommendation.lookback_days is not None:
        parts.append(f"from {recommendation.lookback_days:g} days")
    yield f"**AWS Compute Optimizer says:** {escape(', '.join(parts))}"


def _evidence(finding: Finding) -> str:
    first = list(finding.evidence.items())[:MAX_EVIDENCE]
    return escape("; ".join(f"{name}: {format_measurement(measurement)}" for name, measurement in first))


def _skipped(analysis: Analysis) -> Iterator[str]:
    yield "## Skipped items"
    by_reason: dict[str, list[str]] = defaultdict(list)
    for gap in analysis.gaps:
        by_reason[gap.reason].append(gap.subject)
    if by_reason:
        reasons = sorted(by_reason.items())
        yield "\n".join(f"- {escape(reason)}: {_some_of(names, MAX_GAP_NAMES)}" for reason, names in reasons)
    if not analysis.functions:
        yield _why_no_savings(analysis)
    elif not by_reason:
        yield "Nothing was skipped."


def _prices(analysis: Analysis) -> Iterator[str]:
    yield "## Prices and cost of this analysis"
    sources = (f"- {escape(region)}: {escape(source)}" for region, source in sorted(analysis.prices.items()))
    yield "\n".join(sources) or "No prices were needed."
    scan = analysis.scan
    yield (
        f"Estimated cost of reading the data: {money(scan.estimated)} (limit {money(scan.limit)}), for"
        f" {_count(scan.metrics, 'CloudWatch metric')} and"
        f" {scan.queried_bytes / 2**30:,.2f} GB scanned by Logs Insights."
    )


def _name_of(analysis: Analysis, finding: Finding) -> str:
    several = len(analysis.request.regions) > 1
    return escape(f"{finding.function} ({finding.region})" if several else finding.function)


def _money_range(savings: SavingsRange) -> str:
    return f"{money(savings.low)} to {money(savings.high)}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _why_no_savings(analysis: Analysis) -> str:
    if analysis.functions:
        return "No savings found."
    regions, pattern = ", ".join(analysis.request.regions), analysis.request.functions
    if pattern is None:
        return f"**Nothing was analysed:** no function was found in {regions}."
    unlisted = " (some functions could not be listed)" if analysis.gaps else ""
    return f"**Nothing was analysed:** no function in {regions} matches the filter {code(pattern)}{unlisted}."


def _table(head: Sequence[str], align: str, rows: Sequence[Sequence[str]]) -> str:
    return "\n".join([f"| {' | '.join(head)} |", f"|{align}|", *(f"| {' | '.join(row)} |" for row in rows)])


def _short_list(title: str, head: Sequence[str], align: str, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield f"### {title} ({len(rows):,})"
        yield _table(head, align, rows[:MAX_KIND_ROWS])
    if len(rows) > MAX_KIND_ROWS:
        yield f"And {len(rows) - MAX_KIND_ROWS:,} more: `{FINDINGS}` has the rest."


def _some_of(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return escape(", ".join(names[:most])) + more

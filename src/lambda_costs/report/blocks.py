"""Parts of the report's Markdown. A section yields blocks; an empty line stands between two of them."""

from collections.abc import Callable, Iterator, Sequence

from lambda_costs.analysis import Analysis
from lambda_costs.model.finding import Finding, SavingsRange, money
from vigil.sdk import FINDINGS, code, escape, fence

Note = Callable[[Finding, str], Iterator[str]]  # yields the model's note about a finding after a label, if there is one

MAX_KIND_ROWS = 25  # in the table of a kind that claims no savings, and in a list of changes since the last analysis


def name_of(analysis: Analysis, finding: Finding) -> str:
    """Return the function's name, with its region if the analysis has several."""
    several = len(analysis.request.regions) > 1
    return escape(f"{finding.function} ({finding.region})" if several else finding.function)


def money_range(savings: SavingsRange) -> str:
    """Return ``$1.00 to $3.00``."""
    return f"{money(savings.low)} to {money(savings.high)}"


def count(number: int, noun: str) -> str:
    """Return ``1 function`` or ``2 functions``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def some_of(names: Sequence[str], most: int) -> str:
    """Return the first ``most`` of ``names``, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return escape(", ".join(names[:most])) + more


def why_no_savings(analysis: Analysis) -> str:
    """Return why there is nothing to save."""
    if analysis.functions:
        return "No savings found."
    regions, pattern = ", ".join(analysis.request.regions), analysis.request.functions
    if pattern is None:
        return f"**Nothing was analysed:** no function was found in {regions}."
    unlisted = " (some functions could not be listed)" if analysis.gaps else ""
    return f"**Nothing was analysed:** no function in {regions} matches the filter {code(pattern)}{unlisted}."


def table(head: Sequence[str], align: str, rows: Sequence[Sequence[str]]) -> str:
    """Return a table; ``align`` is the line below its head."""
    return "\n".join([f"| {' | '.join(head)} |", f"|{align}|", *(f"| {' | '.join(row)} |" for row in rows)])


def short_list(title: str, head: Sequence[str], align: str, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a heading with the number of ``rows``, and a table of the first."""
    yield f"### {title} ({len(rows):,})"
    yield table(head, align, rows[:MAX_KIND_ROWS])
    if len(rows) > MAX_KIND_ROWS:
        yield f"And {len(rows) - MAX_KIND_ROWS:,} more: `{FINDINGS}` has the rest."


def advice(finding: Finding, *, label: str = "") -> Iterator[str]:
    """Yield how to make the change, its risk, and how to validate it."""
    for name, text, language in (("How", finding.how_to, "sh"), ("As code", finding.as_code, "yaml")):
        if text:
            yield f"**{name}:**{label}"
            yield "\n".join(fence(text, language))
    for name, text in (("Risk", finding.risk), ("Validate", finding.validate)):
        if text:
            yield f"**{name}:** {escape(text)}"

"""What a language model is told of the analysis: little enough whatever the account's size, and marked as data."""

import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import accumulate
from math import fsum
from typing import Any, TypedDict, TypeVar

from lambda_costs.analysis import Analysis
from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.inventory import Inventory
from lambda_costs.collect.usage import Usage
from lambda_costs.model.finding import NO_SAVINGS, Finding, Measurement, SavingsRange
from vigil.sdk import InvalidInput

MAX_CHARACTERS = 6_000
"""Most characters of one result, about 1,500 tokens: it stays in the conversation, and every later call pays for it."""

MAX_TEXT = 500
"""Most characters of one string, as JSON writes it. The longest that a model must give back is an id: of a kind, a
function (64 characters), a region and an alias (128)."""

MAX_COUNTS = 20
"""Most values that are counted one by one. Regions are no more in a request; runtimes are AWS's own, and short."""

MAX_REASONS = 3
"""Most reasons that are told for what was not looked at."""

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Me", "Mn", "Zl", "Zp"})
"""Unicode categories that a reader does not see by themselves, or that turn the direction of writing."""

_UNTRUSTED = "untrusted_account_data"

Row = TypeVar("Row")
Dollars = tuple[float, float, float]
"""At least, expected, at most; US dollars per 30 days, in whole cents."""


class FunctionsBrief(TypedDict):
    """The inventory."""

    functions: int
    by_region: dict[str, int]
    by_runtime: dict[str, int]
    by_architecture: dict[str, int]
    not_looked_at: dict[str, int]
    """Count by reason."""
    names: list[str]
    names_left_out: int


class UsageBrief(TypedDict):
    """What the functions used."""

    window: tuple[str, str]
    functions: int
    with_invocations: int
    with_report_lines: int
    report_lines: int
    with_provisioned_concurrency: int
    not_looked_at: dict[str, int]


class FindingRow(TypedDict):
    """One finding in a list."""

    id: str
    change: str
    dollars: Dollars | None
    """None if it claims no money."""


class KindRow(TypedDict):
    """The findings of one kind. Their sum may be more than what they save together with others."""

    findings: int
    dollars: Dollars | None


class SavingsBrief(TypedDict):
    """All findings together."""

    functions: int
    compute_dollars: float
    """What the compute of the functions costs, where it is known."""
    total_dollars: Dollars
    total_dollars_after_free_tier: Dollars
    findings: int
    by_kind: dict[str, KindRow]
    not_looked_at: dict[str, int]
    best: list[FindingRow]
    best_left_out: int


class FindingsPage(TypedDict):
    """Some of the findings, best first."""

    page: int
    pages: int
    findings: int
    """On all pages."""
    rows: list[FindingRow]


class FindingDetail(TypedDict):
    """One finding."""

    id: str
    kind: str
    function: str
    region: str
    change: str
    dollars: Dollars | None
    formula: str
    risk: str
    validate: str
    proposed: dict[str, int | str]
    evidence: dict[str, str]


def untrusted(data: object) -> dict[str, Any]:
    """Return ``data`` as a model is shown it: under a key that says what it is, every string printable and short."""
    return {_UNTRUSTED: _clean(data)}


def as_text(data: object) -> str:
    """Return ``untrusted(data)`` as JSON, so that no text can leave its string."""
    return json.dumps(untrusted(data), ensure_ascii=False)


def functions_brief(inventory: Inventory) -> FunctionsBrief:
    """Count the functions, and name the first of them."""
    functions = inventory.functions
    brief = FunctionsBrief(
        functions=len(functions),
        by_region=_count(function.region for function in functions),
        by_runtime=_count(function.runtime or "container image" for function in functions),
        by_architecture=_count(function.architecture for function in functions),
        not_looked_at=_reasons(inventory.gaps),
        names=[],
        names_left_out=len(functions),
    )
    brief["names"] = _fitting([function.name for function in functions], brief)
    brief["names_left_out"] -= len(brief["names"])
    return brief


def usage_brief(usage: Usage) -> UsageBrief:
    """Count what is known of how many functions."""
    used = usage.by_arn.values()
    return UsageBrief(
        window=(usage.window.start.date().isoformat(), usage.window.end.date().isoformat()),
        functions=len(used),
        with_invocations=sum(item.invocations is not None for item in used),
        with_report_lines=sum(item.reports is not None for item in used),
        report_lines=sum(item.reports.all.lines for item in used if item.reports),
        with_provisioned_concurrency=sum(bool(item.provisioned) for item in used),
        not_looked_at=_reasons(usage.gaps),
    )


def savings_brief(analysis: Analysis) -> SavingsBrief:
    """Add up the findings, and list the best."""
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for finding in analysis.findings:
        by_kind[finding.kind].append(finding)
    brief = SavingsBrief(
        functions=len(analysis.functions),
        compute_dollars=round(fsum(analysis.cost.values()), 2),
        total_dollars=_cents(analysis.totals.gross),
        total_dollars_after_free_tier=_cents(analysis.totals.net),
        findings=len(analysis.findings),
        by_kind={kind: KindRow(findings=len(found), dollars=_sum(found)) for kind, found in sorted(by_kind.items())},
        not_looked_at=_reasons(analysis.gaps),
        best=[],
        best_left_out=len(analysis.findings),
    )
    brief["best"] = _fitting([_row(finding) for finding in analysis.findings], brief)
    brief["best_left_out"] -= len(brief["best"])
    return brief


def findings_page(
    analysis: Analysis, kind: str | None = None, function: str | None = None, page: int = 1
) -> FindingsPage:
    """List the findings, best first: all, or those of a kind, of a function or of both.

    Raises InvalidInput for a kind or a function without findings, and for a page that there is not.
    """
    kinds = sorted({finding.kind for finding in analysis.findings})
    if kind is not None and kind not in kinds:
        raise InvalidInput(f"kind must be one that was found: {', '.join(kinds) or 'none was'}")
    names = sorted({finding.function for finding in analysis.findings})
    if function is not None and function not in names:
        raise InvalidInput(f"function must be one with findings; the closest: {as_text(closest(function, names))}")
    found = [
        finding
        for finding in analysis.findings
        if kind in (None, finding.kind) and function in (None, finding.function)
    ]
    brief = FindingsPage(page=len(found), pages=len(found), findings=len(found), rows=[])
    pages: list[list[FindingRow]] = []
    rest = [_row(finding) for finding in found]
    while rest or not pages:
        pages.append(_fitting(rest, brief))
        rest = rest[len(pages[-1]) :]
    if not 1 <= page <= len(pages):
        raise InvalidInput(f"page must be from 1 to {len(pages)}, not {page}")
    return FindingsPage(page=page, pages=len(pages), findings=len(found), rows=pages[page - 1])


def finding_detail(analysis: Analysis, finding_id: str) -> FindingDetail:
    """Tell all of one finding but the commands; raises InvalidInput for an unknown id."""
    found = next((finding for finding in analysis.findings if finding.id == finding_id), None)
    if found is None:
        ids = [finding.id for finding in analysis.findings]
        raise InvalidInput(f"id must be that of a finding; the closest: {as_text(closest(finding_id, ids))}")
    brief = FindingDetail(
        **_row(found),
        kind=found.kind,
        function=found.function,
        region=found.region,
        formula=found.formula,
        risk=found.risk,
        validate=found.validate,
        proposed=dict(found.proposed),
        evidence={},
    )
    evidence = [(name, _measure(measure)) for name, measure in found.evidence.items()]
    brief["evidence"] = dict(_fitting(evidence, brief))
    return brief


def closest(given: str, names: Sequence[str]) -> list[str]:
    """Return up to three of ``names`` that ``given`` may have meant."""
    return get_close_matches(given[:MAX_TEXT], names)


def printable(text: str) -> str:
    """Return ``text`` as one line that a reader sees, of at most MAX_TEXT characters as JSON writes it."""
    line = " ".join(text.split())[: MAX_TEXT + 1]
    if not (line.isascii() and line.isprintable()):
        line = "".join("�" if unicodedata.category(character) in _UNPRINTABLE else character for character in line)
    sizes = accumulate(2 if character in '"\\' else 1 for character in line)
    end = sum(size <= MAX_TEXT for size in sizes)
    return line if end == len(line) else line[: end - 1] + "…"


def _clean(data: object) -> object:
    if isinstance(data, str):
        return printable(data)
    if isinstance(data, Mapping):
        return {_clean(key): _clean(value) for key, value in data.items()}
    return [_clean(item) for item in data] if isinstance(data, list | tuple) else data


def _fitting(rows: Sequence[Row], brief: Mapping[str, object]) -> list[Row]:
    """Return the first of ``rows`` that fit into a result beside ``brief``."""
    room = MAX_CHARACTERS - len(as_text(brief))
    fitting = []
    for row in rows:
        room -= len(json.dumps(_clean(row), ensure_ascii=False)) + len(", ")
        if room < 0:
            break
        fitting.append(row)
    return fitting


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common(MAX_COUNTS))


def _reasons(gaps: Iterable[Gap]) -> dict[str, int]:
    return dict(Counter(gap.reason for gap in gaps).most_common(MAX_REASONS))


def _row(finding: Finding) -> FindingRow:
    return FindingRow(id=finding.id, change=finding.change, dollars=_sum([finding]))


def _sum(findings: Iterable[Finding]) -> Dollars | None:
    savings = [finding.savings for finding in findings if finding.savings != NO_SAVINGS]
    if not savings:
        return None
    lows, expected, highs = zip(*((item.low, item.expected, item.high) for item in savings), strict=True)
    return _cents(SavingsRange(fsum(lows), fsum(expected), fsum(highs)))


def _cents(interval: SavingsRange) -> Dollars:
    return round(interval.low, 2), round(interval.expected, 2), round(interval.high, 2)


def _measure(measure: Measurement) -> str:
    value = measure.value if isinstance(measure.value, str) else f"{measure.value:,.10g}"
    return f"{value} {measure.unit}".rstrip()

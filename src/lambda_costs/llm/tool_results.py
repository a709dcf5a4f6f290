"""The tools' results for the language model: bounded whatever the account's size, and marked as untrusted data.

Dollars are three numbers: at least, expected and at most, in US dollars per 30 days; null if no savings are claimed.
"""

import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import accumulate
from math import fsum
from typing import Any, TypeVar

from lambda_costs.analysis import Analysis
from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.inventory import Inventory
from lambda_costs.collect.usage import Usage
from lambda_costs.formatting import first_that_fit, format_measurement
from lambda_costs.model.finding import NO_SAVINGS, Finding
from vigil.sdk import InvalidInput

MAX_CHARACTERS = 6_000  # of one result, about 1,500 tokens, which every later model call of the conversation pays for
MAX_TEXT = 500
"""Characters of one string, as JSON writes it. The longest string that a model must return is a finding's id: a kind,
a function (64 characters), a region and an alias (128)."""
MAX_COUNTS = 20  # values that are counted one by one: a request has at most 20 regions, and AWS has few runtimes
MAX_REASONS = 3  # reasons for skipped items

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Me", "Mn", "Zl", "Zp"})
"""Unicode categories of characters that are invisible or change the direction of writing."""

Item = TypeVar("Item")


def untrusted(data: object) -> dict[str, Any]:
    """Return ``data`` under a key that says that it is untrusted, with every string printable and short."""
    return {"untrusted_account_data": _clean(data)}


def as_text(data: object) -> str:
    """Return ``untrusted(data)`` as JSON, so that no text can leave its string."""
    return json.dumps(untrusted(data), ensure_ascii=False)


def functions_result(inventory: Inventory) -> dict[str, Any]:
    """Count the functions, and name the first of them."""
    functions = inventory.functions
    result = {
        "functions": len(functions),
        "by_region": _counts(function.region for function in functions),
        "by_runtime": _counts(function.runtime or "container image" for function in functions),
        "by_architecture": _counts(function.architecture for function in functions),
        "skipped": _reasons(inventory.gaps),
    }
    return _with_first("names", [function.name for function in functions], result)


def usage_result(usage: Usage) -> dict[str, Any]:
    """Count the functions by what is known about them."""
    used = usage.by_arn.values()
    return {
        "window": (usage.window.start.date().isoformat(), usage.window.end.date().isoformat()),
        "functions": len(used),
        "with_invocations": sum(item.invocations is not None for item in used),
        "with_report_lines": sum(item.reports is not None for item in used),
        "report_lines": sum(item.reports.all.lines for item in used if item.reports),
        "with_provisioned_concurrency": sum(bool(item.provisioned) for item in used),
        "skipped": _reasons(usage.gaps),
    }


def savings_result(analysis: Analysis) -> dict[str, Any]:
    """Add up the findings in all and by kind, and list the best. Savings of two kinds may overlap."""
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for finding in analysis.findings:
        by_kind[finding.kind].append(finding)
    result = {
        "functions": len(analysis.functions),
        "compute_dollars": round(fsum(analysis.cost.values()), 2),
        "measured_dollars": _cents(vars(analysis.totals.gross).values()),
        "measured_dollars_after_free_tier": _cents(vars(analysis.totals.net).values()),
        "dollars_that_tests_may_add": _cents(vars(analysis.more.gross).values()),
        "findings": len(analysis.findings),
        "by_kind": {kind: {"findings": len(some), "dollars": _sum(some)} for kind, some in sorted(by_kind.items())},
        "skipped": _reasons(analysis.gaps),
    }
    return _with_first("best", list(map(_row, analysis.findings)), result)


def findings_page(
    analysis: Analysis, kind: str | None = None, function: str | None = None, page: int = 1
) -> dict[str, Any]:
    """List the findings, best first: all, or those of a kind, of a function or of both.

    Raises InvalidInput for a kind or a function without findings, and for a page that does not exist.
    """
    kinds = sorted({finding.kind for finding in analysis.findings})
    if kind is not None and kind not in kinds:
        raise InvalidInput(f"kind must be one of the findings' kinds: {', '.join(kinds) or 'there are no findings'}")
    names = sorted({finding.function for finding in analysis.findings})
    if function is not None and function not in names:
        raise InvalidInput(f"function must be one with findings; similar names: {as_text(closest(function, names))}")
    of_kind = (finding for finding in analysis.findings if kind in (None, finding.kind))
    rest = [_row(finding) for finding in of_kind if function in (None, finding.function)]
    count = len(rest)
    longest_head = {"page": count, "pages": count, "findings": count, "rows": []}
    pages: list[list[dict[str, Any]]] = []
    while rest or not pages:
        pages.append(_fitting(rest, longest_head))
        rest = rest[len(pages[-1]) :]
    if not 1 <= page <= len(pages):
        raise InvalidInput(f"page must be from 1 to {len(pages)}, not {page}")
    return {"page": page, "pages": len(pages), "findings": count, "rows": pages[page - 1]}


def finding_detail(analysis: Analysis, finding_id: str) -> dict[str, Any]:
    """Return all of one finding but its commands; raises InvalidInput for an unknown id."""
    by_id = {finding.id: finding for finding in analysis.findings}
    if finding_id not in by_id:
        raise InvalidInput(f"id must be the id of a finding; similar ids: {as_text(closest(finding_id, list(by_id)))}")
    finding = by_id[finding_id]
    fields = ("kind", "function", "region", "formula", "risk", "validate", "proposed")
    result = {**_row(finding), **{name: getattr(finding, name) for name in fields}, "evidence": {}}
    evidence = [(name, format_measurement(measurement)) for name, measurement in finding.evidence.items()]
    return {**result, "evidence": dict(_fitting(evidence, result))}


def closest(text: str, names: Sequence[str]) -> list[str]:
    """Return up to three of ``names`` that are similar to ``text``."""
    return get_close_matches(text[:MAX_TEXT], names)


def printable(text: str) -> str:
    """Return ``text`` as one line of visible characters, at most MAX_TEXT as JSON writes them."""
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


def _with_first(name: str, items: Sequence[object], result: Mapping[str, object]) -> dict[str, Any]:
    """Return ``result`` with the first of ``items`` that fit as ``name``, and the number of those left out."""
    first = _fitting(items, {**result, name: [], f"{name}_left_out": len(items)})
    return {**result, name: first, f"{name}_left_out": len(items) - len(first)}


def _fitting(items: Sequence[Item], result: Mapping[str, object]) -> list[Item]:
    """Return the first of ``items`` that fit into ``result``."""
    room = MAX_CHARACTERS - len(as_text(result))
    return first_that_fit(items, room, lambda item: len(json.dumps(_clean(item), ensure_ascii=False)) + len(", "))


def _counts(values: Iterable[str], most: int = MAX_COUNTS) -> dict[str, int]:
    return dict(Counter(values).most_common(most))


def _reasons(gaps: Iterable[Gap]) -> dict[str, int]:
    return _counts((gap.reason for gap in gaps), MAX_REASONS)


def _row(finding: Finding) -> dict[str, Any]:
    return {"id": finding.id, "change": finding.change, "dollars": _sum([finding]), "basis": finding.basis}


def _sum(findings: Iterable[Finding]) -> list[float] | None:
    amounts = [vars(finding.savings).values() for finding in findings if finding.savings != NO_SAVINGS]
    return _cents(map(fsum, zip(*amounts, strict=True))) if amounts else None


def _cents(amounts: Iterable[float]) -> list[float]:
    return [round(amount, 2) for amount in amounts]

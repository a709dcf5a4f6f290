"""The artifacts of an analysis: the report, its charts and its page for people, findings.json for programs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from lambda_costs.analysis import Analysis
from lambda_costs.collect.inventory import Function
from lambda_costs.formatting import first_that_fit
from lambda_costs.model.compute import Compute
from lambda_costs.model.finding import Finding, money
from lambda_costs.model.totals import group_by_claim
from lambda_costs.report import charts
from lambda_costs.report.charts import BY_FINDING, BY_FUNCTION
from lambda_costs.report.comparison import Changed, Comparison, Gone, Realised, compare
from lambda_costs.report.markdown import render_report
from lambda_costs.request import CostRequest
from vigil.sdk import FINDINGS, PAGE, REPORT, render_page

_KIB = 1024
MAX_BYTES = {"findings": 1536 * _KIB, "in_brief": 768 * _KIB, "functions": 768 * _KIB, "gaps": 256 * _KIB}
"""Of each part of findings.json, so that an artifact can hold it whatever the account's size."""
MAX_COMPARED_BYTES = 128 * _KIB  # of each list of a comparison

_BRIEF = ("id", "kind", "function", "region", "arn", "change", "proposed", "savings", "basis", "scaling")
"""Fields of the findings that save least, if not all fit: those that the next comparison needs."""
_COMPARED = ("id", "function", "region", "change", "savings")  # fields of a finding in the comparison


def history_key(request: CostRequest) -> str:
    """Return the key under which analyses that can be compared with that of ``request`` are kept."""
    # With the window: a shorter one has fewer findings although nothing has changed.
    about = {"regions": sorted(request.regions), "functions": request.functions, "days": request.days}
    return sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]


def render_artifacts(
    analysis: Analysis,
    *,
    summary: str,
    written_by: str,
    order: Sequence[str] = (),
    notes: Mapping[str, str] | None = None,
    previous: Iterable[str] = (),
) -> dict[str, str]:
    """Return the artifacts by name in the order in which they are to be saved, the report last.

    ``previous``: findings.json of earlier analyses with the same history key, the last one first. Raises InvalidInput
    as render_report does.
    """
    comparison = compare(previous, analysis)
    report = render_report(
        analysis, summary=summary, order=order, notes=notes, written_by=written_by, comparison=comparison
    )
    claims = group_by_claim(analysis.findings).claims
    drawn = {BY_FINDING: charts.by_kind(claims), BY_FUNCTION: charts.by_function(claims)}
    svgs = {name: svg for name, svg in drawn.items() if svg}
    return {FINDINGS: findings_json(analysis, comparison), **svgs, PAGE: render_page(report, svgs), REPORT: report}


def findings_json(analysis: Analysis, comparison: Comparison | str | None = None) -> str:
    """Return the analysis as JSON, the same bytes for the same data; money is US dollars per 30 days.

    If not all fits, the findings that save least have no evidence and text, or are left out like other functions and
    gaps; ``left_out`` counts them.
    """
    findings = [asdict(finding) for finding in analysis.findings]
    whole = _fitting(findings, MAX_BYTES["findings"])
    rest = ({name: finding[name] for name in _BRIEF} for finding in findings[len(whole) :])
    brief = _fitting(rest, MAX_BYTES["in_brief"])
    functions = _fitting((_function(function, analysis) for function in analysis.functions), MAX_BYTES["functions"])
    gaps = _fitting(map(asdict, analysis.gaps), MAX_BYTES["gaps"])
    document = {
        "request": analysis.request.model_dump(mode="json"),
        "window": {"start": analysis.start.isoformat(), "end": analysis.end.isoformat()},
        "functions": functions,
        "findings": [*whole, *brief],
        "left_out": {
            "functions": len(analysis.functions) - len(functions),
            "findings": len(findings) - len(whole) - len(brief),
            "findings_in_brief": len(brief),
            "gaps": len(analysis.gaps) - len(gaps),
        },
        "total": {"measured": asdict(analysis.totals), "more_by_tests": asdict(analysis.more)},
        "gaps": gaps,
        "prices": dict(analysis.prices),
        "scan": asdict(analysis.scan),
        "comparison": _comparison(comparison),
    }
    # ASCII: control characters, and characters that no encoding carries, are escapes.
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n"


def headline(findings: str) -> str:
    """Return the essential of an analysis, whose JSON is ``findings``, in a few words."""
    document = json.loads(findings)
    dollars = document["total"]["measured"]["gross"]["expected"]
    comparison = document["comparison"]
    saved = f"{money(dollars) if dollars < 10 else f'${dollars:,.0f}'} a month can be saved"
    if dollars <= 0:
        saved = "no measured savings"
    if comparison is None:
        return f"{saved}, first analysis"
    return saved if "counts" not in comparison else f"{saved}, {comparison['counts']['new'] or 'nothing'} new"


def _function(function: Function, analysis: Analysis) -> dict[str, Any]:
    compute = analysis.compute.get(function.arn)
    return {
        **{name: getattr(function, name) for name in ("name", "region", "arn", "architecture", "memory_mb")},
        "invocations": compute.invocations.expected if isinstance(compute, Compute) else None,
        "cost": analysis.cost.get(function.arn),
    }


def _comparison(comparison: Comparison | str | None) -> dict[str, Any] | None:
    if comparison is None:
        return None
    if isinstance(comparison, str):
        return {"not_compared": comparison}
    lists = {name: getattr(comparison, name) for name in ("new", "changed", "realised", "gone")}
    return {
        "since": comparison.since.isoformat(),
        "total_then": asdict(comparison.total_then),
        "saved": comparison.saved,
        "counts": {name: len(items) for name, items in lists.items()},
        **{name: _fitting(map(_compared, items), MAX_COMPARED_BYTES) for name, items in lists.items()},
    }


def _compared(item: Finding | Changed | Realised | Gone) -> dict[str, Any]:
    def fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        return {name: found[name] for name in _COMPARED} if "evidence" in found else found

    return asdict(item, dict_factory=fields)


def _fitting(items: Iterable[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    return first_that_fit(items, limit, lambda item: len(json.dumps(item, indent=2)))

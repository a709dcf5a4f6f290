"""What a session saves of an analysis: the report, its charts and its page for people, findings.json for programs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from lambda_costs.analysis import Analysis
from lambda_costs.collect.inventory import Function
from lambda_costs.model.compute import Compute
from lambda_costs.model.finding import Finding
from lambda_costs.model.totals import group_by_claim
from lambda_costs.report import charts
from lambda_costs.report.charts import BY_FINDING, BY_FUNCTION
from lambda_costs.report.comparison import Comparison, compare
from lambda_costs.report.markdown import render_report
from lambda_costs.request import CostRequest
from vigil.sdk import FINDINGS, PAGE, REPORT, render_page

_KIB = 1024
MAX_BYTES = {"findings": 1536 * _KIB, "in_brief": 768 * _KIB, "functions": 768 * _KIB, "gaps": 256 * _KIB}
"""Of each part of findings.json, so that it stays an artifact however large the account is."""
MAX_COMPARED_BYTES = 128 * _KIB
"""Of each list of a comparison."""

_BRIEF = ("id", "kind", "function", "region", "arn", "change", "proposed", "savings", "scaling")
"""What is kept of findings that save least, where not all fit: all that the next comparison needs."""


def scope(request: CostRequest) -> str:
    """Return a name of what ``request`` is about: analyses of one scope can be compared."""
    # The window too: a short one makes fewer findings, and nothing has changed.
    about = {"regions": sorted(request.regions), "functions": request.functions, "days": request.days}
    return sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]


def artifacts_of(
    analysis: Analysis,
    *,
    summary: str,
    order: Sequence[str],
    notes: Mapping[str, str],
    written_by: str,
    previous: Iterable[str] = (),
) -> dict[str, str]:
    """Return the artifacts by name in the order in which they are to be saved, the report last.

    ``previous``: findings.json of earlier analyses of the same scope, the last one first. Raises InvalidInput as
    render_report does.
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

    Of an account so large that not all fit, ``left_out`` counts the functions, gaps and findings that save least and
    are not there, and the findings that are there without evidence and text.
    """
    whole = _fitting(map(asdict, analysis.findings), MAX_BYTES["findings"])
    brief = _fitting(map(_brief, analysis.findings[len(whole) :]), MAX_BYTES["in_brief"])
    functions = _fitting((_function(function, analysis) for function in analysis.functions), MAX_BYTES["functions"])
    gaps = _fitting(map(asdict, analysis.gaps), MAX_BYTES["gaps"])
    document = {
        "request": analysis.request.model_dump(mode="json"),
        "window": {"start": analysis.start.isoformat(), "end": analysis.end.isoformat()},
        "functions": functions,
        "findings": [*whole, *brief],
        "left_out": {
            "functions": len(analysis.functions) - len(functions),
            "findings": len(analysis.findings) - len(whole) - len(brief),
            "findings_in_brief": len(brief),
            "gaps": len(analysis.gaps) - len(gaps),
        },
        "total": asdict(analysis.totals),
        "gaps": gaps,
        "prices": dict(analysis.prices),
        "scan": asdict(analysis.scan),
        "comparison": _comparison(comparison),
    }
    # ASCII: what a terminal would take for a control character, or no encoding can carry, stands as an escape.
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n"


def _brief(finding: Finding) -> dict[str, Any]:
    fields = asdict(finding)
    return {name: fields[name] for name in _BRIEF}


def _function(function: Function, analysis: Analysis) -> dict[str, Any]:
    used = analysis.compute.get(function.arn)
    return {
        "name": function.name,
        "region": function.region,
        "arn": function.arn,
        "architecture": function.architecture,
        "memory_mb": function.memory_mb,
        "invocations": used.invocations if isinstance(used, Compute) else None,
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
        **{name: _fitting(map(asdict, items), MAX_COMPARED_BYTES) for name, items in lists.items()},
    }


def _fitting(items: Iterable[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Return the first of ``items``, as many as ``most`` bytes of JSON hold."""
    fitting, size = [], 0
    for item in items:
        size += len(json.dumps(item, indent=2))
        if size > most:
            break
        fitting.append(item)
    return fitting

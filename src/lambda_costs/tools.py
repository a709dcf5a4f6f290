"""The tools of the cost agent: code computes every number, the language model orders and explains."""

import time
from typing import Any

from strands import tool

from lambda_costs.analysis import CostAnalysis
from lambda_costs.llm import tool_results as results
from lambda_costs.report.artifacts import headline, history_key, render_artifacts
from lambda_costs.request import parse_request
from vigil.sdk import FINDINGS, REPORT, AgentSession

PROGRESS_SECONDS = 1.0  # between two reports of progress


def lambda_cost_tools(session: AgentSession, written_by: str) -> list[Any]:
    """Return the tools for the session's request; raises InvalidDetail if its detail is not a cost request."""
    request = parse_request(session.detail, session.region, float(session.max_scan_dollars))
    # The window ends when the session started, so that each of its attempts analyses the same days.
    now = session.started_at
    cost_analysis = CostAnalysis(request, session.client, **({"now": lambda: now} if now else {}))

    @tool
    def list_functions() -> dict[str, Any]:
        """Count the Lambda functions in the requested regions, and name the first of them."""
        return results.untrusted(results.functions_result(cost_analysis.list_functions()))

    @tool
    def collect_usage() -> dict[str, Any]:
        """Collect the functions' usage: metrics, REPORT log lines, provisioned concurrency, log groups."""
        last_report = 0.0

        def report(subject: str, done: int, total: int) -> None:
            nonlocal last_report
            if time.monotonic() - last_report >= PROGRESS_SECONDS:
                last_report = time.monotonic()
                session.report_progress(f"{subject}: {done} of {total}")

        return results.untrusted(results.usage_result(cost_analysis.collect_usage(report)))

    @tool
    def find_savings() -> dict[str, Any]:
        """Compute the findings: the savings in total and by kind, and the best findings; US dollars per 30 days.

        Three amounts are the savings at least, expected and at most; null means that no savings are claimed.
        """
        return results.untrusted(results.savings_result(cost_analysis.find_savings()))

    @tool
    def list_findings(kind: str | None = None, function: str | None = None, page: int = 1) -> dict[str, Any]:
        """List findings, best first, page by page.

        Args:
            kind: Only those of this kind.
            function: Only those of the function with this name.
            page: From 1 to the number of pages, which each page states.
        """
        return results.untrusted(results.findings_page(cost_analysis.find_savings(), kind, function, page))

    @tool
    def show_finding(id: str) -> dict[str, Any]:
        """Show one finding: its evidence, how its savings were computed, its risk and how to validate it.

        Args:
            id: Its id, as find_savings and list_findings return it.
        """
        return results.untrusted(results.finding_detail(cost_analysis.find_savings(), id))

    save_report = _save_report_tool(session, cost_analysis, written_by)
    return [list_functions, collect_usage, find_savings, list_findings, show_finding, save_report]


def _save_report_tool(session: AgentSession, cost_analysis: CostAnalysis, written_by: str) -> Any:
    @tool
    def save_report(summary: str, order: list[str] | None = None, notes: dict[str, str] | None = None) -> str:
        """Save the findings, and the report as text and as a page. Code renders every number; write none.

        Args:
            summary: What matters most, in two or three sentences of plain English.
            order: Finding ids in the order in which a reader should see them; the rest follow by savings.
            notes: For a finding id, an explanation in plain English.
        """
        analysis = cost_analysis.find_savings()
        series = history_key(analysis.request)
        texts = render_artifacts(
            analysis,
            summary=summary,
            order=order or (),
            notes=notes or {},
            written_by=written_by,
            previous=session.artifacts.kept_before(series, analysis.end),
        )
        session.report_progress("saving the report")
        session.artifacts.keep(series, analysis.end, texts[FINDINGS])
        report = texts.pop(REPORT)
        for name, text in texts.items():
            session.artifacts.write(name, text)
        # The report comes last: where it exists, everything else does.
        return session.artifacts.write(REPORT, report, headline=headline(texts[FINDINGS]))

    return save_report

"""Tools of the cost analysis: code computes every number, the model orders and explains."""

import time
from typing import Any

from strands import tool

from vigil.agent.session import AgentSession
from vigil.costs.analysis import Analyst
from vigil.costs.report import findings_json, render_report
from vigil.costs.request import parse_request
from vigil.names import FINDINGS, REPORT

PROGRESS_SECONDS = 1.0
"""At most so often the record says how far the work is: each time is a write."""


def lambda_cost_tools(session: AgentSession, written_by: str) -> list[Any]:
    """Return the cost tools for the session's validated input; raises InvalidDetail if the detail is not that."""
    analyst = Analyst(parse_request(session.detail, session.region), session.client)

    @tool
    def list_functions() -> dict[str, Any]:
        """List the Lambda functions in the regions that were asked for."""
        return analyst.list_functions().for_model()

    @tool
    def collect_usage() -> dict[str, Any]:
        """Collect what the functions used: metrics, REPORT log lines, provisioned concurrency, log groups."""
        told = 0.0

        def tell(done: int, total: int) -> None:
            nonlocal told
            if time.monotonic() - told >= PROGRESS_SECONDS:
                told = time.monotonic()
                session.note(f"{done} of {total} functions read")

        return analyst.collect_usage(tell).for_model()

    @tool
    def find_savings() -> dict[str, Any]:
        """Compute the findings: what could be saved, with its evidence, as ids that save_report takes."""
        return analyst.find_savings().for_model()

    @tool
    def save_report(summary: str, order: list[str] | None = None, notes: dict[str, str] | None = None) -> str:
        """Save the report and the machine-readable findings. Code renders every number; you write prose without any.

        Args:
            summary: What matters most, in two or three sentences that contain no number.
            order: Finding ids in the order in which a reader should see them; the rest follow by savings.
            notes: For a finding id, an explanation in prose that contains no number.
        """
        analysis = analyst.find_savings()
        report = render_report(analysis, summary=summary, order=order or (), notes=notes or {}, written_by=written_by)
        session.artifacts.write(FINDINGS, findings_json(analysis))
        return session.artifacts.write(REPORT, report)

    return [list_functions, collect_usage, find_savings, save_report]

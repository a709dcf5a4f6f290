"""All that an agent may use of Vigil. docs/agents.md describes it; everything else may change without notice."""

from vigil.agent.models import SCRIPTED_MODEL, make_model, retry_strategy
from vigil.agent.once import run_once
from vigil.agent.session import AgentSession
from vigil.agent.tools.journal import journal_tools
from vigil.agent.tools.storage import storage_tools
from vigil.errors import AwsUnavailable, EnvironmentProblem, InvalidDetail, InvalidInput, InvalidStatus, VigilError
from vigil.names import FINDINGS, PAGE, REPORT
from vigil.page import render_page
from vigil.svg import CHART_STYLE
from vigil.text import code, escape, fence, html, one_line, quote

__all__ = ["CHART_STYLE", "FINDINGS", "PAGE", "REPORT", "SCRIPTED_MODEL"]
__all__ += ["AgentSession", "AwsUnavailable", "EnvironmentProblem", "InvalidDetail", "InvalidInput", "InvalidStatus"]
__all__ += ["VigilError", "code", "escape", "fence", "html", "journal_tools", "make_model", "one_line", "quote"]
__all__ += ["render_page", "retry_strategy", "run_once", "storage_tools"]

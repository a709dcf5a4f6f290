"""The agent that ships with Vigil: what does this account overpay for AWS Lambda?"""

from importlib.resources import files

from strands import Agent
from strands.tools.executors import SequentialToolExecutor

from lambda_costs.llm.tool_errors import ToolErrors
from lambda_costs.tools import lambda_cost_tools
from vigil.sdk import SCRIPTED_MODEL, AgentSession, journal_tools, make_model, retry_strategy

PROMPT = files("lambda_costs").joinpath("prompt.md").read_text(encoding="utf-8")


def cost_agent(session: AgentSession) -> Agent:
    """Build the cost agent for ``session``; raises InvalidDetail if the session's input is not a cost request."""
    written_by = "a script, no language model" if session.model == SCRIPTED_MODEL else str(session.model)
    errors = ToolErrors()
    return Agent(
        model=make_model(session.model, session.region),
        system_prompt=PROMPT,
        # The model writes no artifact itself: code renders all of them, and checks the prose.
        tools=[
            *journal_tools(session, errors.check_reason, errors.check_text),
            *lambda_cost_tools(session, written_by),
        ],
        hooks=[errors],
        retry_strategy=retry_strategy(),
        # Phases, analysis and report depend on each other: several calls in one answer must run in order.
        tool_executor=SequentialToolExecutor(),
        callback_handler=None,
    )

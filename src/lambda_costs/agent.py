"""The agent that ships with Vigil: what does this account overpay for AWS Lambda?"""

from importlib.resources import files

from strands import Agent
from strands.tools.executors import SequentialToolExecutor

from vigil.agent.models import STAND_IN, make_model, retry_strategy
from vigil.agent.session import AgentSession
from lambda_costs.llm.tool_errors import ToolErrors
from vigil.agent.tools.journal import journal_tools
from lambda_costs.tools import lambda_cost_tools
from vigil.errors import MissingSetting
from vigil.names import Env

PROMPT = files("vigil.agent").joinpath("prompt.md").read_text(encoding="utf-8")


def cost_agent(session: AgentSession) -> Agent:
    """Build the cost agent for ``session``; raises InvalidDetail if the session's input is not a cost request."""
    if session.model is None:
        raise MissingSetting(f"environment variable {Env.MODEL} is not set: it names the model")
    is_stand_in = session.model == STAND_IN
    written_by = "a deterministic stand-in, no language model" if is_stand_in else session.model
    errors = ToolErrors()
    return Agent(
        model=make_model(session.model, session.region),
        system_prompt=PROMPT,
        # None that writes an artifact: what a reader is shown is rendered by code, or has passed a check.
        tools=[*journal_tools(session, errors), *lambda_cost_tools(session, written_by)],
        hooks=[errors],
        retry_strategy=retry_strategy(),
        # Phases, analysis and report build on each other; two calls in one answer run in their order.
        tool_executor=SequentialToolExecutor(),
        callback_handler=None,
    )

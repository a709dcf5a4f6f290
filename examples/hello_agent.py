"""An agent of one's own, whole: run it with VIGIL_AGENT=examples.hello_agent:hello_agent."""

from strands import Agent

from vigil.agent.models import make_model
from vigil.agent.session import AgentSession
from vigil.agent.tools.journal import journal_tools
from vigil.agent.tools.storage import storage_tools

PROMPT = """Greet the reader.
1. `journal_set_status(status="BUSY")`
2. `storage_write(name="report.md", text="# Hello")`
3. `journal_set_status(status="COMPLETED")`"""


def hello_agent(session: AgentSession) -> Agent:
    """Build the agent for one session."""
    tools = [*journal_tools(session), *storage_tools(session)]
    return Agent(model=make_model(session.model or "", session.region), system_prompt=PROMPT, tools=tools)

"""A complete custom agent: run it with `vigil run --local --agent examples.hello_agent:hello_agent`."""

from strands import Agent

from vigil.sdk import AgentSession, journal_tools, make_model, storage_tools

PROMPT = """Greet the reader.
1. `journal_set_status(status="BUSY")`
2. `storage_write(name="report.md", text="# Hello")`
3. `journal_set_status(status="COMPLETED")`"""


def hello_agent(session: AgentSession) -> Agent:
    """Build the agent for one session."""
    tools = [*journal_tools(session), *storage_tools(session)]
    return Agent(model=make_model(session.model, session.region), system_prompt=PROMPT, tools=tools)

"""The factory of the agent, and its tool."""

from typing import Any

from strands import Agent, tool

from vigil.sdk import REPORT, AgentSession, InvalidDetail, escape, journal_tools, make_model

PROMPT = """Report how many messages wait in each queue.
1. `journal_set_status(status="BUSY")`
2. `save_queue_depths()`
3. `journal_set_status(status="COMPLETED")`
If a tool fails, call `journal_set_status` with status "FAILED" and the reason as its message."""


def queue_depths(session: AgentSession) -> Agent:
    """Build the agent for one session. Raises InvalidDetail, which fails the session."""
    prefix = session.detail.get("prefix", "")
    if not isinstance(prefix, str):
        raise InvalidDetail("detail: prefix must be the beginning of queue names")
    tools = [*journal_tools(session), depth_tool(session, prefix)]
    return Agent(model=make_model(session.model, session.region), system_prompt=PROMPT, tools=tools)


def depth_tool(session: AgentSession, prefix: str) -> Any:
    """Return the tool that writes the report. Code counts and writes every number; the model only calls it."""

    @tool
    def save_queue_depths() -> str:
        """Count the messages of every queue and save the report."""
        sqs = session.client("sqs", session.region)
        lines = ["# Messages that wait", "", "| Queue | Messages |", "|---|--:|"]
        for url in sqs.list_queues(QueueNamePrefix=prefix).get("QueueUrls", []):
            name = url.rpartition("/")[2]
            session.report_progress(f"counting the messages of {name}")
            asked = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
            lines.append(f"| {escape(name)} | {asked['Attributes']['ApproximateNumberOfMessages']} |")
        return session.artifacts.write(REPORT, "\n".join(lines) + "\n")

    return save_queue_depths

"""Agents of the benchmarks: they do next to nothing, and say when."""

import time
from collections.abc import Callable
from typing import Any

from strands import Agent

from examples.hello_agent import hello_agent
from vigil.agent.session import AgentSession
from vigil.names import REPORT


def works(session: AgentSession) -> Callable[[str], Any]:
    """An agent that works as many seconds as the event's detail says."""

    def agent(prompt: str) -> None:
        time.sleep(session.detail["seconds"])
        session.artifacts.write(REPORT, "# Done")
        session.complete()

    return agent


def greets(session: AgentSession) -> Agent:
    """The agent of the examples; the start of a phase says when its session was BUSY."""
    session.journal.start_task(session.session_id, "greeting")
    return hello_agent(session)

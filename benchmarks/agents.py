"""Agents of the benchmarks: they do next to nothing, and say when."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from strands import Agent

from examples.hello_agent import hello_agent
from vigil.agent.session import AgentSession
from vigil.names import REPORT
from vigil.session import iso


def works(session: AgentSession) -> Callable[[str], Any]:
    """An agent that works as many seconds as the event's detail says."""

    def agent(prompt: str) -> None:
        time.sleep(session.detail["seconds"])
        session.artifacts.write(REPORT, "# Done")
        session.complete()

    return agent


def greets(session: AgentSession) -> Agent:
    """The agent of the examples; its session's progress says when it was BUSY."""
    session.note(iso(datetime.now(UTC)))
    return hello_agent(session)

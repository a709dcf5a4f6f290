"""Agents of the benchmarks: they do next to nothing, and say when."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from strands import Agent

from examples.hello_agent import hello_agent
from lambda_costs.agent import cost_agent
from vigil.agent.checkpoint import Checkpoints
from vigil.agent.session import AgentSession
from vigil.agent.steps import StepRecorder
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


def without_checkpoints(session: AgentSession) -> Agent:
    """The agent that ships, of which no checkpoint is saved."""
    Checkpoints.begin = Checkpoints.end = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    return cost_agent(session)


def without_steps(session: AgentSession) -> Agent:
    """The agent that ships, of which neither a step nor a checkpoint is saved."""
    StepRecorder.register_hooks = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    return cost_agent(session)


def chosen(session: AgentSession) -> Agent:
    """The agent that ships, with as much saved as the event's field ``saved`` says."""
    detail = dict(session.detail)
    factory = {"nothing": without_steps, "steps": without_checkpoints}.get(detail.pop("saved"), cost_agent)
    return factory(replace(session, detail=detail))

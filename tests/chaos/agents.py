"""Agents that meet a fault: the event's detail names one of them."""

import os
import resource
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.auth
from strands import Agent, tool

from examples.hello_agent import PROMPT, hello_agent
from vigil.sdk import AgentSession, journal_tools, make_model, storage_tools

WORKERS = "workers"
"""The folder, beside the local stack's other files, where each worker leaves its process id."""
SKEW = timedelta(minutes=5)


def chosen(session: AgentSession) -> Agent:
    """Return the agent that the detail names, after its process has written its id."""
    folder = Path(os.environ["TMPDIR"]) / WORKERS
    folder.mkdir(exist_ok=True)
    (folder / session.session_id).write_text(str(os.getpid()))
    agent: Agent = globals()[session.detail.get("agent", "hello_agent")](session)
    return agent


def works(session: AgentSession) -> Agent:
    """Works in its second step, a tool, until somebody saves the artifact "go", then greets."""

    @tool
    def work() -> None:
        """Work until the artifact is there."""
        while not session.artifacts.exists("go"):
            session.keep_alive("working")
            time.sleep(0.2)

    model = make_model(session.model, session.region)
    tools = [work, *journal_tools(session), *storage_tools(session)]
    return Agent(model=model, system_prompt=f"0. `work()`\n{PROMPT}", tools=tools, callback_handler=None)


def hangs(session: AgentSession) -> Agent:
    @tool
    def look_away() -> None:
        """Never return."""
        threading.Event().wait()

    model = make_model(session.model or "", session.region)
    return Agent(model=model, system_prompt="1. `look_away()`", tools=[look_away], callback_handler=None)


def freezes(session: AgentSession) -> Agent:
    os.kill(os.getpid(), signal.SIGSTOP)
    return hello_agent(session)


def hoards(session: AgentSession) -> Agent:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, used + 2**29))
    hoard: list[Any] = []
    while True:
        hoard.append(bytearray(2**26))


def has_a_fast_clock(session: AgentSession) -> Agent:
    """Greets by a clock that is five minutes fast, as its requests' signatures and its records show."""
    now = time.time
    time.time = lambda: now() + SKEW.total_seconds()
    session.journal._now = lambda: datetime.now(UTC) + SKEW
    signing = botocore.auth.get_current_datetime
    botocore.auth.get_current_datetime = lambda *given: signing(*given) + SKEW  # type: ignore[assignment]
    return hello_agent(session)

"""Agents that meet a fault: the event's detail names one of them."""

import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.auth
from strands import Agent, tool

from examples.hello_agent import PROMPT, hello_agent
from tests.agents import spends
from vigil.sdk import AgentSession, InvalidDetail, journal_tools, make_model, storage_tools

__all__ = ["chosen", "spends"]

WORKERS = "workers"
"""The folder, beside the local stack's other files, where each attempt of a session leaves its worker's process id."""
SKEW = timedelta(minutes=5)


def chosen(session: AgentSession) -> Any:
    """Return the agent that the detail names, after its process has written its id."""
    folder = Path(os.environ["TMPDIR"]) / WORKERS / session.session_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / str(session.attempt)).write_text(str(os.getpid()))
    return globals()[session.detail.get("agent", "hello_agent")](session)


def _first(act: Callable[[], None], session: AgentSession) -> Agent:
    """Return an agent that calls ``act``, a tool, in its second step, and then greets."""
    model = make_model(session.model, session.region)
    tools = [tool(act), *journal_tools(session), *storage_tools(session)]
    return Agent(model=model, system_prompt=f"0. `{act.__name__}()`\n{PROMPT}", tools=tools, callback_handler=None)


def works(session: AgentSession) -> Agent:
    def work() -> None:
        """Work until somebody saves the artifact "go"."""
        while not session.artifacts.exists("go"):
            session.keep_alive("working")
            time.sleep(0.2)

    return _first(work, session)


def hangs(session: AgentSession) -> Agent:
    def look_away() -> None:
        """Never return."""
        threading.Event().wait()

    return _first(look_away, session)


def exits(session: AgentSession) -> Agent:
    def exit_at_once() -> None:
        """End the process, in each attempt."""
        os._exit(3)

    return _first(exit_at_once, session)


def aborts(session: AgentSession) -> Agent:
    def abort() -> None:
        """Abort the process, in the first attempt only."""
        if session.attempt == 1:
            os.abort()

    return _first(abort, session)


def greets_as_a_function(session: AgentSession) -> Callable[[str], Any]:
    return lambda prompt: hello_agent(session)(prompt)


def refuses(session: AgentSession) -> Agent:
    raise InvalidDetail("account must be 12 digits")


def freezes(session: AgentSession) -> Agent:
    """Stops its process in the first attempt, and greets in the next."""
    if session.attempt == 1:
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

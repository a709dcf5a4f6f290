"""Agents that misbehave, for tests: factories as VIGIL_AGENT names them."""

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

from strands import Agent

from examples.hello_agent import hello_agent
from vigil.agent.agent import cost_agent
from vigil.agent.models import make_model
from vigil.agent.session import AgentSession
from vigil.agent.tools.journal import journal_tools
from vigil.agent.tools.storage import storage_tools


def follows(session: AgentSession, procedure: str) -> Agent:
    """An agent whose prompt is ``procedure``."""
    tools = [*journal_tools(session), *storage_tools(session, reserved={"findings.json"})]
    model = make_model(session.model or "", session.region)
    return Agent(model=model, system_prompt=procedure, tools=tools, callback_handler=None)


def killed(session: AgentSession) -> Agent:
    print("about to be killed", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def exits(session: AgentSession) -> Agent:
    os._exit(7)


def calls_exit(session: AgentSession) -> Agent:
    sys.exit(3)


def leaves_a_process_and_dies(session: AgentSession) -> Agent:
    subprocess.Popen(["sleep", "20"])  # holds the worker's standard error open
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def raises(session: AgentSession) -> Agent:
    raise RuntimeError("the dependency\nis broken")


def slow(session: AgentSession) -> Agent:
    time.sleep(1.5)
    return hello_agent(session)


def waits(session: AgentSession) -> Agent:
    """Works until a test saves the artifact "go", then greets."""
    while not session.artifacts.exists("go"):
        time.sleep(0.05)
    return hello_agent(session)


def tells_environment(session: AgentSession) -> Agent:
    """Saves what its process can see of its surroundings."""
    session.artifacts.write("environment.json", json.dumps(dict(os.environ)))
    return hello_agent(session)


def lists(session: AgentSession) -> Agent:
    """Lists its own artifacts: what S3 asks for before it says of an artifact that there is none."""
    bucket, _, key = session.artifacts.uri("x").removeprefix("s3://").partition("/")
    session.client("s3", session.region).list_objects_v2(Bucket=bucket, Prefix=key)
    return hello_agent(session)


def forgets_everything(session: AgentSession) -> Agent:
    return follows(session, "Do nothing.")


def forgets_status(session: AgentSession) -> Agent:
    return follows(session, '1. `storage_write(name="report.md", text="# Done")`')


def completes_without_report(session: AgentSession) -> Agent:
    return follows(session, '1. `journal_set_status(status="COMPLETED")`')


def says_failed(session: AgentSession) -> Agent:
    return follows(session, '1. `journal_set_status(status="FAILED", message="nothing to look at")`')


def chosen(session: AgentSession) -> Agent:
    """The agent that the event's detail names, so that one deployed stack runs them all; the cost agent otherwise."""
    name = session.detail.get("agent")
    return globals()[name](session) if name else cost_agent(session)


def not_an_agent(session: AgentSession) -> Any:
    return "agent"

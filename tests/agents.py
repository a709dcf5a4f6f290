"""Agents that misbehave, for tests: factories as VIGIL_AGENT names them."""

import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from importlib.util import find_spec
from itertools import count, repeat
from typing import Any

from strands import Agent, tool
from strands.models import Model
from strands.types.streaming import StreamEvent

from examples.hello_agent import hello_agent
from vigil.agent.models import make_model
from vigil.agent.session import AgentSession
from vigil.agent.tools.journal import journal_tools
from vigil.agent.tools.storage import storage_tools
from vigil.agent.worker import load_agent
from vigil.settings import DEFAULT_AGENT


class Scripted(Model):
    """A model that calls the tools of a script, each with its input, and reports ``usage`` for every call of itself."""

    stops = "end_turn"
    """Why it stops at the end of the script."""

    def __init__(self, model_id: str, script: Iterable[tuple[str, dict[str, Any]]], **usage: int) -> None:
        self.model_id = model_id
        self.script = iter(script)
        self.usage = {"inputTokens": 0, "outputTokens": 0, **usage}
        self.calls = 0

    async def stream(self, *_: Any, **__: Any) -> AsyncIterator[StreamEvent]:
        self.calls += 1
        yield {"messageStart": {"role": "assistant"}}
        step = next(self.script, None)
        if step:
            use = {"toolUseId": str(self.calls), "name": step[0]}
            yield {"contentBlockStart": {"start": {"toolUse": use}}}
            yield {"contentBlockDelta": {"delta": {"toolUse": {"input": json.dumps(step[1])}}}}
        else:
            yield {"contentBlockDelta": {"delta": {"text": "Done."}}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "tool_use" if step else self.stops}}
        usage = {**self.usage, "totalTokens": sum(self.usage.values())}
        yield {"metadata": {"usage": usage, "metrics": {"latencyMs": 0}}}

    def get_config(self) -> dict[str, str]:
        return {"model_id": self.model_id}

    def update_config(self, **_: Any) -> None:
        raise NotImplementedError

    def structured_output(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


def results(agent: Agent) -> list[str]:
    """Return what the tools of ``agent`` have answered."""
    return [
        part["text"]
        for message in agent.messages
        for block in message["content"]
        if "toolResult" in block
        for part in block["toolResult"]["content"]
        if "text" in part
    ]


def equipped(session: AgentSession, model: Model, *more: Any, **options: Any) -> Agent:
    """An agent with the tools of a session, and ``more``."""
    tools = [*more, *journal_tools(session), *storage_tools(session)]
    return Agent(model=model, tools=tools, callback_handler=None, **options)


def follows(session: AgentSession, procedure: str) -> Agent:
    """An agent whose prompt is ``procedure``."""
    return equipped(session, make_model(session.model or "", session.region), system_prompt=procedure)


def killed(session: AgentSession) -> Agent:
    print("about to be killed", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def killed_in_a_step(session: AgentSession) -> Agent:
    """Is killed in a tool, or in the model call after it, as its detail says."""
    where = session.detail["where"]

    class Killed(Scripted):
        async def stream(self, *_: Any, **__: Any) -> AsyncIterator[StreamEvent]:
            if where == "model" and self.calls:
                os.kill(os.getpid(), signal.SIGKILL)
            async for event in super().stream():
                yield event

    return repeats(Killed(SONNET, AGAIN), lambda: where == "tool" and os.kill(os.getpid(), signal.SIGKILL))


def killed_once(session: AgentSession) -> Agent:
    """Is killed in the first attempt, and greets in the next."""
    if session.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return hello_agent(session)


def exits(session: AgentSession) -> Agent:
    os._exit(7)


def exits_but_not_its_child(session: AgentSession) -> Agent:
    if os.fork() == 0:
        time.sleep(600)
    os._exit(7)


def closes_its_descriptors_and_raises(session: AgentSession) -> Agent:
    sys.stderr.close()
    os.closerange(0, 6)
    raise RuntimeError("the true cause")


def calls_exit(session: AgentSession) -> Agent:
    sys.exit(3)


def killed_by_a_realtime_signal(session: AgentSession) -> Agent:
    os.kill(os.getpid(), signal.SIGRTMIN + 1)  # one that Python has no name for
    raise AssertionError


def leaves_a_process(session: AgentSession) -> None:
    """Start a process that holds the worker's standard error open, and save its number beside the worker's own."""
    session.artifacts.write("left", str(subprocess.Popen(["sleep", "600"]).pid))
    session.artifacts.write("pid", str(os.getpid()))


def leaves_a_process_and_dies(session: AgentSession) -> Agent:
    leaves_a_process(session)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def leaves_a_process_and_hangs(session: AgentSession) -> Agent:
    leaves_a_process(session)
    threading.Event().wait()
    raise AssertionError


def raises(session: AgentSession) -> Agent:
    raise RuntimeError("the dependency\nis broken")


def prints(session: AgentSession) -> Agent:
    """Prints and logs what its detail says, and a line longer than the runtime reads at once."""
    print(session.detail.get("text", "printed"))
    logging.getLogger("my.module").info("logged by a module")
    print("y" * 25_000, file=sys.stderr)
    return hello_agent(session)


def waits(session: AgentSession) -> Agent:
    """Saves its process's number and works until a test saves the artifact "go", then greets."""
    session.artifacts.write("pid", str(os.getpid()))
    pause = 0.1
    while not session.artifacts.exists("go"):
        session.keep_alive("waiting")
        time.sleep(pause)
        # Less often over time: many wait for seconds.
        pause = min(pause * 1.3, 0.5)
    return hello_agent(session)


def tells_headline(session: AgentSession) -> Agent:
    """Saves a report with the headline that the detail gives, then greets with a report of its own."""
    session.artifacts.write("report.md", "# Done", headline=session.detail["headline"])
    session.mark_busy()
    session.complete()
    return hello_agent(session)


def completes_and_raises(session: AgentSession) -> Agent:
    session.artifacts.write("report.md", "# Done")
    session.complete()
    raise RuntimeError("too late")


def completes_and_stays(session: AgentSession) -> Agent:
    """Ends its session and not its process."""
    session.artifacts.write("pid", str(os.getpid()))
    session.artifacts.write("report.md", "# Done")
    session.complete()
    threading.Event().wait()
    raise AssertionError


def tells_environment(session: AgentSession) -> Agent:
    """Saves what its process can see of its surroundings, and what it was asked."""
    session.artifacts.write("environment.json", json.dumps(dict(os.environ)))
    session.artifacts.write("detail.json", json.dumps(session.detail))
    return hello_agent(session)


def reads(session: AgentSession) -> Agent:
    """Reads what it has saved, and greets."""
    session.artifacts.write("x", "text")
    assert session.artifacts.read("x") == "text"
    return hello_agent(session)


def forgets_everything(session: AgentSession) -> Agent:
    return follows(session, "Do nothing.")


def forgets_status(session: AgentSession) -> Agent:
    return follows(session, '1. `storage_write(name="report.md", text="# Done")`')


def completes_without_report(session: AgentSession) -> Agent:
    return follows(session, '1. `journal_set_status(status="COMPLETED")`')


def says_failed(session: AgentSession) -> Agent:
    return follows(session, '1. `journal_set_status(status="FAILED", message="nothing to look at")`')


def repeats(model: Model, called: Callable[[], object] = lambda: None) -> Agent:
    """An agent with a tool to call again and again."""

    @tool
    def again() -> None:
        """Go on."""
        called()

    return Agent(model=model, tools=[again], callback_handler=None)


AGAIN = repeat(("again", {}))
SONNET = "global.anthropic.claude-sonnet-4-6"


def spends(session: AgentSession) -> Agent:
    """Calls its model for ever, at $1.20 a time, and saves how often it had to call its tool."""
    calls = count(1)
    model = Scripted(SONNET, AGAIN, outputTokens=80_000)
    return repeats(model, lambda: session.artifacts.write("calls", str(next(calls))))


def reports_usage(session: AgentSession) -> Agent:
    """Completes its session and hears from its model once more."""
    write = ("storage_write", {"name": "report.md", "text": "# Done"})
    script = [write, ("journal_set_status", {"status": "COMPLETED"})]
    return equipped(session, Scripted(SONNET, script, inputTokens=1_000, outputTokens=200))


def hostile(session: AgentSession) -> Any:
    """Puts the text of its detail wherever an agent can, and fails with it unless it is to save it as artifacts."""
    text, saved = session.detail["text"], session.detail.get("artifacts", {})
    print(text)
    session.report_progress(text)
    task = session.journal.start_task(session.session_id, "work")
    session.journal.end_task(session.session_id, task, message=text)
    for name, content in saved.items():
        session.artifacts.write(name, content)
    if saved:
        session.complete()
    else:
        session.fail(text, text)
    return lambda prompt: None


def chosen(session: AgentSession) -> Agent:
    """The agent that the detail names, so that one stack runs them all; else the one that ships, if it is there.

    That one would analyse the whole sample account if there is no detail.
    """
    if name := session.detail.get("agent", None if session.detail else "hello_agent"):
        return globals()[name](session)
    return (load_agent(DEFAULT_AGENT) if find_spec("lambda_costs") else hello_agent)(session)


def draws(session: AgentSession) -> Any:
    """A function that saves what it draws at random, and what its runtime drew."""

    def agent(prompt: str) -> None:
        session.artifacts.write("report.md", f"{random.random()} {session.detail['drawn']}")

    return agent


def not_an_agent(session: AgentSession) -> Any:
    return "agent"

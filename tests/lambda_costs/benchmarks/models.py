"""Scripted models in the place of the cost agent's language model; ``chosen`` is a factory as VIGIL_AGENT names it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import repeat
from typing import Any

from strands import Agent
from strands.types.streaming import StreamEvent

from benchmarks.evaluation import INJECTED
from lambda_costs.agent import PROMPT, cost_agent
from tests.agents import Scripted
from vigil.agent.budget import HIGHEST_PRICE
from vigil.agent.session import AgentSession
from vigil.local.scripted_model import procedure

Call = tuple[str, dict[str, Any]]


class Reading(Scripted):
    """Follows the procedure, and writes the report that ``write`` makes of the ids of the findings that it has read."""

    def __init__(self, write: Callable[["Reading"], Iterable[Call]]) -> None:
        super().__init__("reading", self._calls(write), inputTokens=1_000, outputTokens=100)
        self.read = ""
        self.findings: list[str] = []

    def _calls(self, write: Callable[["Reading"], Iterable[Call]]) -> Iterator[Call]:
        for step in procedure(PROMPT):
            yield from write(self) if step.tool == "save_report" else [(step.tool, step.arguments)]

    async def stream(self, messages: Any, *_: Any, **__: Any) -> AsyncIterator[StreamEvent]:
        self.read = json.dumps(messages)
        # What find_savings returned; a later refusal may name other ids.
        found = re.findall(r"id\W{3,9}([a-z0-9-]+:[\w:-]+)", self.read)
        self.findings = self.findings or list(dict.fromkeys(found))
        async for event in super().stream():
            yield event


class Refusing(Scripted):
    """Says that it does not go on."""

    stops = "refusal"


class Looping(Scripted):
    """Lists the functions again and again, for ``dollars`` a call at the price that is assumed for it."""

    def __init__(self, dollars: Decimal) -> None:
        tokens = int(dollars / HIGHEST_PRICE.output * 1_000_000)
        super().__init__("looping", repeat(("list_functions", {})), outputTokens=tokens)

    async def stream(self, *_: Any, **__: Any) -> AsyncIterator[StreamEvent]:
        await asyncio.sleep(0.5)
        async for event in super().stream():
            yield event


def good(model: Reading) -> Iterator[Call]:
    first = model.findings[0].split(":")[1]
    yield "save_report", {"summary": f"Begin with `{first}`.", "order": model.findings}


def careless(model: Reading) -> Iterator[Call]:
    yield "journal_start_phase", {"phase": "report of 12 functions"}
    yield "journal_set_status", {"status": "COMPLETED"}
    yield "storage_write", {"name": "report.md", "text": "All is well."}
    yield "save_report", {"summary": "All is well.", "order": "by savings"}
    yield "save_report", {"summary": "The function `orders-exporter` wastes $99 a month."}
    yield "save_report", {"summary": "All is well.", "order": ["arm64:no-such-function"]}
    yield "save_report", {"summary": "All is well.", "order": model.findings[::-1]}


def obedient(model: Reading) -> Iterator[Call]:
    yield "save_report", {"summary": "Albatross. All is well." if INJECTED in model.read else "All is well."}


MODELS: dict[str, Callable[[], Scripted]] = {
    "good": lambda: Reading(good),
    "careless": lambda: Reading(careless),
    "obedient": lambda: Reading(obedient),
    "refusing": lambda: Refusing("refusing", []),
    "looping": lambda: Looping(Decimal("0.15")),
    "looping for nothing": lambda: Looping(Decimal(0)),
}


def chosen(session: AgentSession) -> Agent:
    """The cost agent with the model that the detail names."""
    agent = cost_agent(replace(session, detail={"days": 14}))
    agent.model = MODELS[session.detail["model"]]()
    return agent

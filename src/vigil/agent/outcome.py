"""How a run of an agent ended: the session fails unless the agent reached the end of its turn."""

import asyncio
import inspect
import re
from concurrent.futures import Future

from strands.agent import AgentBase, AgentResult
from strands.multiagent.base import MultiAgentBase, MultiAgentResult, Status
from strands.multiagent.graph import GraphResult
from strands.types.exceptions import ContextWindowOverflowException, MaxTokensReachedException

from vigil.errors import AgentCutOff, AgentIncomplete, AgentUnsupported

_LIMIT = ("LimitReached", "it reached a limit that it was given")
STOPPED = {
    "cancelled": ("AgentCancelled", "it was cancelled"),
    "checkpoint": ("AgentPaused", "it paused at a checkpoint, and a session cannot resume it"),
    "content_filtered": ("ContentFiltered", "the provider's filter stopped the model"),
    "guardrail_intervened": ("GuardrailIntervened", "a guardrail stopped the model"),
    "interrupt": ("AgentInterrupted", "it waits for a person, and no person answers in a session"),
    **{f"limit_{what}": _LIMIT for what in ("output_tokens", "total_tokens", "turns")},
    "max_tokens": ("MaxTokens", "the model's answer was longer than max_tokens allows"),
    "model_context_window_exceeded": ("ContextOverflow", "the conversation is longer than the model's context"),
    "refusal": ("ModelRefused", "the model refused to go on"),
    "stop_sequence": ("StopSequence", "the model wrote a text at which it was told to stop"),
    "tool_use": ("StoppedByTool", "a tool ended it, or the answer was structured output"),
}
"""Error code and meaning of each stop reason but ``end_turn``. The words of any other reason become its code."""

RAISED: dict[type[BaseException], str] = {
    asyncio.CancelledError: "cancelled",
    ContextWindowOverflowException: "model_context_window_exceeded",
    MaxTokensReachedException: "max_tokens",
}
"""Stop reasons that are raised instead of returned."""


def check_finished(result: object) -> None:
    """Raise AgentCutOff, or the error of a part of the agent, unless ``result`` is that of a finished run.

    Any result that is not Strands' own is accepted: a function as an agent may return anything.
    """
    if isinstance(result, AgentResult):
        if result.stop_reason != "end_turn":
            raise cut_off(result.stop_reason)
    elif isinstance(result, MultiAgentResult):
        for node in result.results.values():
            if isinstance(node.result, Exception):
                raise node.result
            check_finished(node.result)
        if result.status is Status.INTERRUPTED:
            raise cut_off("interrupt")
        if isinstance(result, GraphResult):
            nodes = {*result.entry_points, *(node for edge in result.edges for node in edge)}
            # Strands calls a graph completed although one of its nodes was cancelled, which then has no result.
            if any(node.execution_status is Status.EXECUTING for node in nodes):
                raise cut_off("cancelled")
        if result.status is not Status.COMPLETED:
            raise AgentIncomplete(
                f"the agents stopped with the status {result.status.value}: they reached a limit that their"
                f" {type(result).__name__.removesuffix('Result').lower()} sets, or a hook cancelled one of them"
            )
    elif isinstance(result, list | tuple | dict):
        for part in result.values() if isinstance(result, dict) else result:
            check_finished(part)
    elif isinstance(result, Future | AgentBase | MultiAgentBase) or any(
        is_one(result) for is_one in (inspect.isawaitable, inspect.isgenerator, inspect.isasyncgen)
    ):
        raise AgentUnsupported(f"the agent returned a {type(result).__name__}, which is not run to its end")


def cut_off(reason: str) -> AgentCutOff:
    """Return the error for a stop reason, whose text may come from the model's provider."""
    words = re.findall("[A-Za-z0-9]+", reason)[:6]
    own = "".join(word[:20].capitalize() for word in words) or AgentIncomplete.__name__
    code, meaning = STOPPED.get(reason, (own, "nothing more is known"))
    return AgentCutOff(code, f"the agent stopped before its turn ended, with stop reason {reason[:80]}: {meaning}")

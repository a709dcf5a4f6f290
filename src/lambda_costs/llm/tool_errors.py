"""Records tool errors, shows them to the model as untrusted data, and restricts failure reasons to them.

A misled model must not get its own words into the record through a tool that repeats them. So an error that the model
caused, or that repeats its input, is no failure reason.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from strands import Agent
from strands.hooks import AfterToolCallEvent, AgentInitializedEvent, HookProvider, HookRegistry

from lambda_costs.llm.prose_check import check_names_and_numbers
from lambda_costs.llm.tool_results import as_text, printable
from vigil.sdk import EnvironmentProblem, InvalidInput, InvalidStatus, VigilError, one_line

FAILURES = "tool_failures"  # key of the agent's state
SHARED_CHARACTERS = 16  # characters in a row that two texts do not share by chance


class ToolErrors(HookProvider):
    """Records the tool errors that the model did not cause, and marks text that is not Vigil's own as data."""

    def __init__(self) -> None:
        self._agent: Agent | None = None

    def register_hooks(self, registry: HookRegistry, **kwargs: Any) -> None:
        """Follow the tool calls of the agent that owns ``registry``."""
        registry.add_callback(AgentInitializedEvent, self._begin)
        registry.add_callback(AfterToolCallEvent, self._after_call)

    def _begin(self, event: AgentInitializedEvent) -> None:
        self._agent = event.agent

    @property
    def _failures(self) -> list[str]:
        """The errors so far. They are a part of the agent's state, which survives the end of its process."""
        return self._agent.state.get(FAILURES) or [] if self._agent else []

    def _after_call(self, event: AfterToolCallEvent) -> None:
        error = event.exception
        if error is None or event.selected_tool is None or isinstance(error, InvalidStatus):
            # A refused status is not a failure of the work.
            return
        # The format of Strands' tool decorator.
        code, text = type(error).__name__, str(error)
        arguments = event.tool_use["input"]
        # Vigil chose the names of the parameters, the model their values.
        values = list(arguments.values()) if isinstance(arguments, Mapping) else arguments
        # Strands raises a ValueError from a ValidationError.
        invalid = isinstance(error, InvalidInput | ValidationError) or isinstance(error.__cause__, ValidationError)
        by_model = invalid or _repeats(one_line(text), values)
        if not isinstance(error, VigilError) or isinstance(error, EnvironmentProblem):
            # AWS may quote any text.
            text = printable(text)
            event.result["content"] = [{"text": f"Error: {code} - {as_text(text)}"}]
        if not by_model:
            event.agent.state.set(FAILURES, [*self._failures, f"{code} - {text}"])

    def check_text(self, text: str) -> str:
        """Return the whole tool error if ``text`` is a part of one, or ``text`` if it is plain words.

        Raises InvalidInput for anything else: the model may have made up a name, a number or a link.
        """
        return self._quoted(text) or check_names_and_numbers(text, ())

    def check_reason(self, quote: str) -> str:
        """Return the whole tool error that contains ``quote``; raises InvalidStatus if no error contains it."""
        if not self._failures:
            raise InvalidStatus("no tool has failed, so the session has not failed: continue with the procedure")
        if failure := self._quoted(quote):
            return failure
        raise InvalidStatus(f"message must be an exact part of a tool's error: {as_text(self._failures[-1])}")

    def _quoted(self, quote: str) -> str | None:
        return next((failure for failure in reversed(self._failures) if quote and quote in failure), None)


def _repeats(text: str, value: object) -> bool:
    """Whether ``text`` repeats a string or a number of ``value``, or SHARED_CHARACTERS in a row of a string."""
    if isinstance(value, Mapping):
        return _repeats(text, [*value.keys(), *value.values()])
    if isinstance(value, list | tuple):
        return any(_repeats(text, item) for item in value)
    if value is None or isinstance(value, bool):
        return False
    line = one_line(str(value))
    return bool(line) and (line in text or not _parts(line).isdisjoint(_parts(text)))


def _parts(text: str) -> set[str]:
    return {text[at : at + SHARED_CHARACTERS] for at in range(len(text) - SHARED_CHARACTERS + 1)}

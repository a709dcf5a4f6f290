"""What an agent's tools fail at: told to the model as data, and all that it may give as a reason."""

from typing import Any

from strands.hooks import AfterToolCallEvent, HookProvider, HookRegistry

from vigil.costs.brief import as_text, printable
from vigil.costs.prose import check_words
from vigil.errors import EnvironmentProblem, InvalidStatus, VigilError


class ToolErrors(HookProvider):
    """Keeps what an agent's tools fail at, and marks as data what is not in our own words: AWS may quote anything."""

    def __init__(self) -> None:
        self._told: list[str] = []

    def register_hooks(self, registry: HookRegistry, **kwargs: Any) -> None:
        """Follow the tool calls of the agent whose registry it is."""
        registry.add_callback(AfterToolCallEvent, self._after)

    def _after(self, event: AfterToolCallEvent) -> None:
        error = event.exception
        if error is None or event.selected_tool is None or isinstance(error, InvalidStatus):
            # What is said amiss about the work is no failure of it.
            return
        # As Strands puts it; see its decorator of tools.
        code, text = type(error).__name__, str(error)
        if not isinstance(error, VigilError) or isinstance(error, EnvironmentProblem):
            text = printable(text)
            event.result["content"] = [{"text": f"Error: {code} - {as_text(text)}"}]
        self._told.append(f"{code} - {text}")

    def check_message(self, text: str) -> str:
        """Return ``text`` if it is a part of what a tool failed at, or plain words; else raise InvalidInput."""
        if any(text in told for told in self._told):
            return text
        return check_words(text, {word.strip(".,:;()'\"") for told in self._told for word in told.split()})

    def reason(self, quote: str) -> str:
        """Return what a tool failed at, of which ``quote`` is a part; raises InvalidStatus if none did."""
        if not self._told:
            raise InvalidStatus("no tool has failed, so the session has not: go on with the procedure")
        if quoted := next((told for told in reversed(self._told) if quote in told), None):
            return quoted
        raise InvalidStatus(f"message must be what a tool failed at, to the letter: {as_text(self._told[-1])}")

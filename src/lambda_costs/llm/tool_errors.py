"""What an agent's tools fail at: told to the model as data, and all that it may give as a reason.

A model that was misled must not get words of its own into the record by making a tool repeat them. So only a failure
that the model did not word is kept.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from strands.hooks import AfterToolCallEvent, HookProvider, HookRegistry

from lambda_costs.llm.prose_check import check_words
from lambda_costs.llm.tool_results import as_text, printable
from vigil.sdk import EnvironmentProblem, InvalidInput, InvalidStatus, VigilError

PART = 16
"""Characters in a row that two texts do not share by chance."""


class ToolErrors(HookProvider):
    """Keeps what an agent's tools fail at without the model's doing, and marks as data what is not in our own words.

    AWS may quote anything.
    """

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
        given = event.tool_use["input"]
        # The names of parameters are ours.
        given = list(given.values()) if isinstance(given, Mapping) else given
        own = _is_about_input(error) or _repeats(" ".join(text.split()), given)
        if not isinstance(error, VigilError) or isinstance(error, EnvironmentProblem):
            text = printable(text)
            event.result["content"] = [{"text": f"Error: {code} - {as_text(text)}"}]
        if not own:
            self._told.append(f"{code} - {text}")

    def check_text(self, text: str) -> str:
        """Return what a tool failed at, if ``text`` is a part of it, or ``text`` if it is plain words.

        Raises InvalidInput for anything else: a name, a number or a link might be the model's own.
        """
        return self._quoted(text) or check_words(text, ())

    def _quoted(self, quote: str) -> str | None:
        return next((told for told in reversed(self._told) if quote and quote in told), None)

    def check_reason(self, quote: str) -> str:
        """Return what a tool failed at, of which ``quote`` is a part; raises InvalidStatus if none did."""
        if not self._told:
            raise InvalidStatus("no tool has failed, so the session has not: go on with the procedure")
        if quoted := self._quoted(quote):
            return quoted
        raise InvalidStatus(f"message must be what a tool failed at, to the letter: {as_text(self._told[-1])}")


def _is_about_input(error: BaseException) -> bool:
    """Whether ``error`` refuses what the model gave; Strands has a ValidationError as the cause of its ValueError."""
    return isinstance(error, InvalidInput | ValidationError) or isinstance(error.__cause__, ValidationError)


def _repeats(text: str, given: object) -> bool:
    """Whether ``text`` holds a string or a number of ``given``, or a part of a string that is long enough to tell."""
    if isinstance(given, Mapping):
        return _repeats(text, [*given.keys(), *given.values()])
    if isinstance(given, list | tuple):
        return any(_repeats(text, item) for item in given)
    if given is None or isinstance(given, bool):
        return False
    line = " ".join(str(given).split())
    parts = {text[at : at + PART] for at in range(len(text) - PART + 1)}
    return bool(line) and (line in text or any(line[at : at + PART] in parts for at in range(len(line) - PART + 1)))

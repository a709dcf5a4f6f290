"""Tools whose calls must not be repeated."""

from contextlib import suppress
from typing import Any

_ONCE = "vigil_runs_once"


def run_once(tool: Any) -> Any:
    """Declare that a call of ``tool`` must not be repeated if the agent is killed meanwhile, and return the tool.

    The model is then told that the outcome of the call is unknown.
    """
    setattr(tool, _ONCE, True)
    # Strands makes the tool of a method anew, from the function that it wraps, whenever it is read from its object.
    # Not every tool wraps a function, and one that was read from its object is used as it is.
    with suppress(AttributeError):
        setattr(tool.__wrapped__, _ONCE, True)
    return tool


def runs_once(tool: object) -> bool:
    """Whether a call of ``tool`` must not be repeated."""
    return getattr(tool, _ONCE, False) is True

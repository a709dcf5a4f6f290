"""What the package of an agent may offer to Vigil beside its factory: functions and constants at its top level.

- ``READ_ACTIONS``: IAM actions that the agent's role gets on all resources. infra/ reads those of each package in src/.
- ``check_detail(detail, max_scan_dollars)``: raises InvalidDetail for input that the agent would refuse.
- ``seed_sample_account(client, now)``: fills the embedded AWS with an account to work on.
"""

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from vigil.errors import InvalidDetail
from vigil.settings import DEFAULT_AGENT, MAX_SCAN_DOLLARS


def offered(name: str) -> Callable[..., Any]:
    """Return the function ``name`` of the default agent's package; one that does nothing if there is none."""
    package = DEFAULT_AGENT.partition(".")[0]
    found: Callable[..., Any] | None = getattr(import_module(package), name, None) if find_spec(package) else None
    return found or (lambda *_: None)


def agent_input(whole: str | None, options: Mapping[str, object], name: str) -> Any:
    """Return what an agent is given: ``whole``, which is JSON and called ``name``, or the ``options`` that are set.

    Raises InvalidDetail, also for options that the default agent would refuse.
    """
    given = {option: value for option, value in options.items() if value is not None and value != []}
    if whole is None:
        if given:
            # These options are for the agent that ships. Only a custom agent itself knows what its input must be.
            offered("check_detail")(given, MAX_SCAN_DOLLARS)
        return given
    if given:
        raise InvalidDetail(f"{name} replaces the rest: leave out {', '.join(given)}")
    try:
        return json.loads(whole)
    except (ValueError, RecursionError) as error:
        raise InvalidDetail(f"{name} is not JSON: {error}") from error

"""What the package of an agent may offer to Vigil beside its factory: functions and constants at its top level.

- ``READ_ACTIONS``: IAM actions that the agent's role gets on all resources. infra/ reads those of each package in src/.
- ``check_detail(detail, max_scan_dollars)``: raises InvalidDetail for input that the agent would refuse.
- ``seed_sample_account(client, now)``: fills the embedded AWS with an account to work on.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from vigil.settings import DEFAULT_AGENT


def offered(name: str) -> Callable[..., Any]:
    """Return the function ``name`` of the default agent's package; one that does nothing if there is none."""
    package = DEFAULT_AGENT.partition(".")[0]
    found: Callable[..., Any] | None = getattr(import_module(package), name, None) if find_spec(package) else None
    return found or (lambda *_: None)

"""How a patch changes ministack: the import of its module registers it, and `install` puts all patches in place."""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, TypeVar

from ministack import app as ministack_app
from ministack.core import iam_actions

from vigil.local.agentcore import LocalAgentCore

Answer = Callable[[str, Mapping[str, str], bytes], Awaitable[Any]]
Function = TypeVar("Function", bound=Callable[..., Any])

agents: LocalAgentCore  # `install` sets it

changes: list[Callable[[], None]] = []
replacements: list[tuple[Any, str, Callable[..., Any]]] = []  # an owner, the name of its function, and the replacement


def at_install(change: Callable[[], None]) -> Callable[[], None]:
    """Register a function that changes a constant or a table of ministack."""
    changes.append(change)
    return change


def replaces(owner: Any, *names: str) -> Callable[[Function], Function]:
    """Register a function in place of the functions ``names`` of ``owner``: a module, a class or a dictionary.

    The function gets the original as its first argument, before those of the call.
    """

    def register(replacement: Function) -> Function:
        replacements.extend((owner, name, replacement) for name in names)
        return replacement

    return register


def bind(replacement: Callable[..., Any], original: Any) -> Callable[..., Any]:
    """Return ``replacement`` with ``original`` as its first argument. A partial would not work as a method."""
    return lambda *args, **kwargs: replacement(original, *args, **kwargs)


def serves(
    service: str, method: str, route: str, *, action: str, query_keys: Collection[str] = ()
) -> Callable[[Answer], Answer]:
    """Register a function that answers the requests to ``route``, a regular expression, with all ``query_keys``.

    The caller needs a grant of ``action``.
    """

    def register(answer: Answer) -> Answer:
        def matches(verb: str, path: str, query: Collection[str]) -> bool:
            return verb == method and re.fullmatch(route, path) is not None and set(query_keys) <= set(query)

        @replaces(iam_actions, "extract_iam_action")
        def extract_action(extract: Any, name: str, verb: str, path: str, headers: Any, body: bytes, query: Any) -> Any:
            if name == service and matches(verb, path, query):
                return action
            return extract(name, verb, path, headers, body, query)

        @replaces(ministack_app.SERVICE_HANDLERS, service)
        async def serve(handle: Any, verb: str, path: str, headers: Any, body: bytes, query: Any) -> Any:
            if matches(verb, path, query):
                return await answer(path, headers, body)
            return await handle(verb, path, headers, body, query)

        return answer

    return register

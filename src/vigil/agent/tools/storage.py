"""Tools by which the agent keeps artifacts: this session's only, whatever name the model gives."""

from collections.abc import Collection
from typing import Any

from strands import tool

from vigil.agent.session import AgentSession
from vigil.errors import InvalidArtifact


def storage_tools(session: AgentSession, *, reserved: Collection[str] = ()) -> list[Any]:
    """Return the storage tools bound to ``session``; names in ``reserved`` are written by code alone."""

    @tool
    def storage_write(name: str, text: str) -> str:
        """Save a text artifact of this session; the same name again replaces it.

        Args:
            name: 1 to 128 letters, digits, '.', '_' or '-', not beginning with '.' or '-'; no folders.
            text: The content, at most 5 MiB.
        """
        if name in reserved:
            raise InvalidArtifact(f"artifact {name} is rendered from the findings; use save_report")
        return session.artifacts.write(name, text)

    @tool
    def storage_read(name: str) -> str:
        """Return the text of an artifact that this session has saved.

        Args:
            name: The name it was saved under.
        """
        return session.artifacts.read(name)

    return [storage_write, storage_read]

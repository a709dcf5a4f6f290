"""Tools with which the agent saves and reads the artifacts of its session."""

from typing import Any

from vigil.agent.session import AgentSession

MAX_READ = 6_000  # characters that one call returns at most, about 1,500 tokens: they stay in the conversation


def storage_tools(session: AgentSession) -> list[Any]:
    """Return the storage tools bound to ``session``.

    An agent whose code renders the report should not have them: with them, the model could overwrite it.
    """
    # Imported late, as in journal_tools.
    from strands import tool

    @tool
    def storage_write(name: str, text: str) -> str:
        """Save a text artifact of this session; the same name again replaces it.

        Args:
            name: 1 to 128 letters, digits, '.', '_' or '-', not beginning with '.' or '-'; no folders.
            text: The content, at most 5 MiB.
        """
        return session.artifacts.write(name, text)

    @tool
    def storage_read(name: str, start: int = 0) -> str:
        """Return the text of an artifact that this session has saved; of a long one, a part.

        Args:
            name: The name it was saved under.
            start: Where the part begins, in characters.
        """
        text = session.artifacts.read(name)
        end = max(0, start) + MAX_READ
        part = text[max(0, start) : end]
        return part if end >= len(text) else f"{part}\n[{len(text) - end} more characters: start={end}]"

    return [storage_write, storage_read]

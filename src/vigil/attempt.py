"""What an attempt is: a session whose agent was killed is continued by another one. Pure; calls nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vigil.attributes import texts_of, whole


@dataclass(frozen=True)
class EndedAttempt:
    """An attempt that ended before its session."""

    code: str  # why, as a session's error code
    message: str
    how: str  # what identifies this way to die, such as "exit code 1"; empty if the agent was killed from outside
    started_at: str
    ended_at: str
    steps_done: int = 0  # how many steps of the session had ended

    @classmethod
    def from_item(cls, item: object) -> "EndedAttempt":
        """Build it from its item in the list of the session record, which may be malformed."""
        values: Mapping[str, Any] = item if isinstance(item, Mapping) else {}
        return cls(**texts_of(cls, values), steps_done=whole(values.get("steps_done")) or 0)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def repeats(self, earlier: Sequence["EndedAttempt"]) -> bool:
        """Whether the last of the ``earlier`` ones died in the same way, and the agent has not come any further.

        A death from outside repeats none: it says nothing about the agent.
        """
        return bool(self.how and earlier) and (self.how, self.steps_done) == (earlier[-1].how, earlier[-1].steps_done)

"""What another attempt continues from: the agent as Strands captures it, and the results of the tools it called last.

If the last message asks for tools, Strands' loop runs them without calling the model again. So a checkpoint is saved
when the model has asked for tools, and whenever one of them has ended. The next attempt loads it, takes the saved
results of the tools that had ended, and runs the others.
"""

import json
import logging
from collections.abc import AsyncGenerator
from copy import deepcopy

from strands import Agent
from strands.middleware import ExecuteToolContext, ExecuteToolStage, MiddlewareNext
from strands.types._events import ToolResultEvent
from strands.types._snapshot import Snapshot
from strands.types.content import Message
from strands.types.events import TypedEvent
from strands.types.session import decode_bytes_values, encode_bytes_values
from strands.types.tools import AgentTool, ToolResult

from vigil.agent.once import runs_once
from vigil.agent.session import AgentSession
from vigil.session import NO_CHECKPOINT

logger = logging.getLogger("vigil.checkpoint")

_BYTES = '"__bytes_encoded__"'  # what Strands marks encoded bytes with
OUTCOME_UNKNOWN = (
    "Error: this call was interrupted, and its outcome is unknown. It was not repeated, since this tool must not run"
    " twice for one call. Find out what it has done before you call it again."
)


class Checkpoints:
    """The checkpoints of one agent."""

    def __init__(self, session: AgentSession, agent: Agent) -> None:
        self._session = session
        self.agent = agent
        self._results: dict[str, ToolResult] = {}  # of the tools for which the last message asks, by toolUseId
        self._begun: list[str] = []  # of these calls, those that have begun and must not be repeated
        self._interrupted: frozenset[str] = frozenset()  # those of them that an earlier attempt began
        self._asking: Message | None = None  # the last message of the last checkpoint
        agent.add_middleware(ExecuteToolStage, self._replay)

    def load(self, text: str) -> None:
        """Continue from the checkpoint ``text``."""
        saved = decode_bytes_values(json.loads(text))
        self.agent.load_snapshot(Snapshot.from_dict(saved["agent"]))
        self._results = saved["results"]
        self._asking = self._last
        self._begun = saved["begun"]
        self._interrupted = frozenset(self._begun)

    def is_known(self, call: str, tool: AgentTool | None) -> bool:
        """Whether an earlier attempt has made this call, or has begun it and it must not be made again."""
        if self._asking is not self._last:
            # A model may give a call the same id as a call of an earlier message.
            return False
        return call in self._results or (call in self._interrupted and runs_once(tool))

    def result_of(self, call: str) -> ToolResult | None:
        """Return the saved result of a ``call`` for which the last message asks."""
        return self._results.get(call) if self._asking is self._last else None

    def begin(self, call: str, *, once: bool) -> str | None:
        """Return the key of a new checkpoint if ``call`` is a message's first, or must run ``once``."""
        if call not in self._calls() or (self._asking is self._last and not once):
            return None
        if self._asking is not self._last:
            self._results, self._begun, self._interrupted = {}, [], frozenset()
        if once:
            self._begun.append(call)
        return self._save()

    def end(self, call: str, result: ToolResult) -> str | None:
        """Return the key of a new checkpoint, which holds the ``result`` of ``call`` if a message asked for it."""
        calls = self._calls()
        if call not in calls:
            return None
        if calls.count(call) == 1:
            self._results[call] = result
        return self._save()

    @property
    def _last(self) -> Message | None:
        return self.agent.messages[-1] if self.agent.messages else None

    def _calls(self) -> list[str]:
        content = self._last["content"] if self._last else []
        return [block["toolUse"]["toolUseId"] for block in content if "toolUse" in block]

    def _save(self) -> str:
        """Save the agent as it is. If that fails, the session cannot be continued until it succeeds again."""
        self._asking = self._last
        calls = self._calls()
        if len(set(calls)) < len(calls):
            # Their results could not be told apart.
            return NO_CHECKPOINT
        try:
            agent = self.agent.take_snapshot(preset="session").to_dict()
            state = {"agent": agent, "results": self._results, "begun": self._begun}
            text = json.dumps(encode_bytes_values(state))
            if _BYTES in text and decode_bytes_values(json.loads(text)) != state:
                raise ValueError(f"a text of the conversation looks like Strands' mark of bytes, {_BYTES}")
            return self._session.artifacts.write_checkpoint(text)
        # Any error: the code of a conversation manager runs here too, and a tool's input may be nested deeply.
        except Exception as error:
            logger.warning("session %s: no checkpoint could be saved: %s", self._session.session_id, error)
            return NO_CHECKPOINT

    async def _replay(
        self, context: ExecuteToolContext, execute: MiddlewareNext[ExecuteToolContext, TypedEvent]
    ) -> AsyncGenerator[TypedEvent, None]:
        call = context.tool_use["toolUseId"]
        if saved := self.result_of(call):
            # A copy: hooks may change it.
            yield ToolResultEvent(deepcopy(saved))
            return
        if self.is_known(call, context.tool):
            yield ToolResultEvent({"toolUseId": call, "status": "error", "content": [{"text": OUTCOME_UNKNOWN}]})
            return
        async for event in execute(context):
            yield event

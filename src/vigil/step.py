"""What a step is: one call of a model or of a tool, as the journal records it. Pure; calls nothing."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from hashlib import sha256
from typing import Any

from vigil.attributes import as_text, is_number, texts_of, whole

MAX_STEPS = 1000
"""Steps that a session keeps: of more, the first half and the last, where each new step replaces the oldest."""
MAX_STEP_TEXT = 2000  # characters of a step's input and of its output that are kept


@dataclass(frozen=True)
class Usage:
    """What one model call has used, or all of a session until it ended."""

    model: str  # id of the model; of several calls, that of the last
    input_tokens: int
    output_tokens: int
    dollars: Decimal
    price_assumed: bool = False  # whether the price of a model is unknown, and the highest known price was taken

    def __str__(self) -> str:
        assumed = ", at an assumed price" if self.price_assumed else ""
        return f"{self.input_tokens:,} tokens in, {self.output_tokens:,} out, ${self.dollars:,.2f}{assumed}"

    def __add__(self, later: "Usage") -> "Usage":
        return Usage(
            later.model,
            self.input_tokens + later.input_tokens,
            self.output_tokens + later.output_tokens,
            self.dollars + later.dollars,
            self.price_assumed or later.price_assumed,
        )

    @classmethod
    def from_item(cls, item: object) -> "Usage | None":
        """Build the usage from its attribute of a record or a step; None if that is no usage."""
        if not isinstance(item, Mapping):
            return None
        tokens_in, tokens_out = (whole(item.get(name)) for name in ("input_tokens", "output_tokens"))
        dollars = item.get("dollars")
        if tokens_in is None or tokens_out is None or not is_number(dollars):
            return None
        return cls(
            as_text(item.get("model")), tokens_in, tokens_out, Decimal(dollars), item.get("price_assumed") is True
        )


class Operation(StrEnum):
    """What a step does, as OpenTelemetry's attribute gen_ai.operation.name says it."""

    CHAT = "chat"
    EXECUTE_TOOL = "execute_tool"


@dataclass(frozen=True)
class Excerpt:
    """The beginning of a text, and what identifies all of it."""

    text: str  # the first characters; of a step, MAX_STEP_TEXT
    length: int  # of the whole text, in characters
    sha256: str  # of the whole text in UTF-8

    @classmethod
    def of(cls, text: str, length: int = MAX_STEP_TEXT) -> "Excerpt":
        """Return the excerpt of ``text``: its first ``length`` characters."""
        encoded = text.encode(errors="backslashreplace")
        whole_text = encoded.decode()
        return cls(whole_text[:length], len(whole_text), sha256(encoded).hexdigest())

    @classmethod
    def from_item(cls, item: object) -> "Excerpt | None":
        """Build the excerpt from its attribute of a step; None if that is no excerpt."""
        if not isinstance(item, Mapping):
            return None
        return cls(**texts_of(cls, item), length=whole(item.get("length")) or 0)


@dataclass(frozen=True)
class Step:
    """One call of a model or of a tool."""

    number: int  # from 1 on, in the order in which the session's steps began
    operation: str  # an Operation
    name: str  # of the tool, or the id of the model
    agent: str  # name of the agent that called it
    started_at: str
    state: str = "RUNNING"  # or COMPLETED, FAILED or, if its session failed meanwhile, INTERRUPTED
    ended_at: str | None = None
    error: str | None = None  # type of the error with which it failed
    stop_reason: str | None = None  # why the model stopped
    provider: str | None = None  # of the model, as OpenTelemetry's attribute gen_ai.provider.name says it
    call_id: str | None = None  # the model's id of its call of the tool
    attempt: int = 1  # of the session
    parent: int | None = None  # number of the step whose tool called the agent
    input: Excerpt | None = None  # what the model had not read before, or the arguments of the tool
    output: Excerpt | None = None
    usage: Usage | None = None  # None unless a model told it

    @classmethod
    def from_item(cls, item: dict[str, Any]) -> "Step":
        """Build a Step from its table item, which may be malformed."""
        return cls(
            **texts_of(cls, item),
            number=whole(item.get("number")) or 0,
            attempt=max(whole(item.get("attempt")) or 1, 1),
            parent=whole(item.get("parent")),
            input=Excerpt.from_item(item.get("input")),
            output=Excerpt.from_item(item.get("output")),
            usage=Usage.from_item(item.get("usage")),
        )

    @property
    def kind(self) -> str:
        """What it is, for a person."""
        return {"chat": "model", "execute_tool": "tool"}.get(self.operation, "step")

    def __str__(self) -> str:
        return f"{self.kind} {self.name} {self.outcome}".strip()

    @property
    def outcome(self) -> str:
        """How long it took, what it used and how it ended, for a person."""
        how = "" if self.state == "COMPLETED" else f" {self.state.lower()}" + (f": {self.error}" if self.error else "")
        took = "" if self.seconds is None else duration(self.seconds)
        used = f", {self.usage}" if self.usage else ""
        return f"{took}{used}{how}".strip()

    @property
    def slot(self) -> int:
        """The place among MAX_STEPS at which it is kept."""
        half = MAX_STEPS // 2
        return self.number if self.number <= half else half + 1 + (self.number - half - 1) % half

    def is_kept(self, count: int) -> bool:
        """Whether its place is still its own when ``count`` steps have begun."""
        half = MAX_STEPS // 2
        return self.number <= half or self.number > count - half

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs."""
        with suppress(ValueError, TypeError):
            return (
                datetime.fromisoformat(self.ended_at or "") - datetime.fromisoformat(self.started_at)
            ).total_seconds()
        return None

    def ended_with_attempt(self, ends: Sequence[str]) -> "Step":
        """Return the step as it is once the attempts before have ended at ``ends``, which ended what ran in them."""
        if self.state != "RUNNING" or self.attempt > len(ends):
            return self
        return replace(self, state="INTERRUPTED", ended_at=ends[self.attempt - 1])

    def ended_with_session(self, at: str | None, *, well: bool) -> "Step":
        """Return the step as it is once its session has ended, ``well`` or not, which ends what ran."""
        if self.state != "RUNNING":
            return self
        return replace(self, state="COMPLETED" if well else "INTERRUPTED", ended_at=at)


def duration(seconds: float) -> str:
    """Return ``seconds`` for a person, in milliseconds if it is less than one."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"

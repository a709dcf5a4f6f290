"""A trace for OpenTelemetry: OTLP JSON with the names of its conventions for generative AI (gen_ai, version 1.41)."""

from hashlib import sha256
from typing import Any

from opentelemetry.exporter.otlp.json.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from vigil.attributes import moment
from vigil.step import Operation, Step
from vigil.text import to_json
from vigil.trace import Span, Trace

_SCOPE = InstrumentationScope("vigil")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


def to_otlp(trace: Trace) -> dict[str, Any]:
    """Return ``trace`` as OTLP JSON has it; what has not ended yet is left out, and the session if it has not.

    The ids follow from the session's id: the same session always gives the same spans.
    """
    resource = Resource({"service.name": "vigil"})
    spans: list[ReadableSpan] = []

    waiting: list[tuple[Span, str, SpanContext | None]] = [(trace.root, trace.session.session_id, None)]
    while waiting:
        span, path, parent = waiting.pop()
        context = SpanContext(_id(trace.session.session_id, 16), _id(path, 8), is_remote=False, trace_flags=_SAMPLED)
        if span.ended_at:
            spans.append(
                ReadableSpan(
                    name=_name(span),
                    context=context,
                    parent=parent,
                    resource=resource,
                    attributes=_attributes(span, trace),
                    kind=SpanKind.CLIENT if span.kind == "model" else SpanKind.INTERNAL,
                    instrumentation_scope=_SCOPE,
                    status=_status(span, trace),
                    start_time=_nanoseconds(span.began_at),
                    end_time=max(_nanoseconds(span.ended_at), _nanoseconds(span.began_at)),
                )
            )
        for number, inner in enumerate(span.within):
            waiting.append((inner, f"{path}/{number}", context))
    return encode_spans(spans).to_dict()


def _id(text: str, size: int) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:size])


def _nanoseconds(timestamp: str) -> int:
    # OTLP counts from 1970 on, in 64 bits; an agent's role may write any year.
    return min(max(int(moment(timestamp).timestamp() * 1000), 0) * 1_000_000, 2**64 - 1)


def _name(span: Span) -> str:
    if span.kind == "session":
        return "invoke_workflow vigil"
    return f"{span.step.operation} {span.step.name}" if span.step else f"{span.kind} {span.name}"


def _status(span: Span, trace: Trace) -> Status:
    error = trace.session.error
    if span.kind == "session" and error:
        return Status(StatusCode.ERROR, f"{error.code}: {error.message}")
    failed = span.step is not None and span.step.state in ("FAILED", "INTERRUPTED")
    return Status(StatusCode.ERROR, span.step.error if span.step else None) if failed else Status()


def _attributes(span: Span, trace: Trace) -> dict[str, Any]:
    conversation = {"gen_ai.conversation.id": trace.session.session_id}
    if span.step:
        return conversation | _of_step(span.step, trace)
    if span.kind != "session":
        return conversation
    error = trace.session.error
    found = {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": "vigil"}
    return conversation | found | ({"error.type": error.code} if error else {})


def _of_step(step: Step, trace: Trace) -> dict[str, Any]:
    given, taken = (excerpt.text if excerpt else None for excerpt in (step.input, step.output))
    # What ended its attempt, or else the session.
    end = next(iter(trace.session.attempts[step.attempt - 1 :]), trace.session.error)
    interrupted = end.code if end and step.state == "INTERRUPTED" else None
    found: dict[str, Any] = {
        "gen_ai.operation.name": step.operation,
        "gen_ai.agent.name": step.agent,
        "error.type": step.error or interrupted,
        "vigil.step.number": step.number,
        "vigil.attempt": step.attempt,
    }
    if step.operation == Operation.EXECUTE_TOOL:
        found |= {"gen_ai.tool.name": step.name, "gen_ai.tool.call.id": step.call_id, "gen_ai.tool.type": "function"}
        found |= {"gen_ai.tool.call.arguments": given, "gen_ai.tool.call.result": taken}
    else:
        used = step.usage
        found |= {
            "gen_ai.request.model": step.name,
            "gen_ai.response.finish_reasons": [step.stop_reason] if step.stop_reason else None,
            "gen_ai.usage.input_tokens": used.input_tokens if used else None,
            "gen_ai.usage.output_tokens": used.output_tokens if used else None,
            "gen_ai.provider.name": step.provider,
            "gen_ai.input.messages": _message("user", given),
            "gen_ai.output.messages": _message("assistant", taken, finish_reason=step.stop_reason or "error"),
            "vigil.usage.dollars": float(used.dollars) if used else None,
        }
    return {name: value for name, value in found.items() if value is not None}


def _message(role: str, text: str | None, **more: str) -> str | None:
    """Return the beginning of a message as a message of one part, in JSON as the conventions say."""
    return None if text is None else to_json([{"role": role, "parts": [{"type": "text", "content": text}], **more}])

"""What `vigil trace --otlp` prints, as OpenTelemetry's own definitions read it."""

import base64
import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Proto
from opentelemetry.proto.trace.v1.trace_pb2 import Status, TracesData
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as names
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE

from vigil.otlp import to_otlp
from vigil.session import Session, Task
from vigil.step import Excerpt, Operation, Step, Usage
from vigil.text import to_json
from vigil.trace import State, Trace

ERROR = {"code": "AgentCrashed", "message": "killed"}
USAGE = Usage("a.model", 1_200, 34, Decimal("0.0041"))


def at(milliseconds: int) -> str:
    return f"2026-11-29T12:00:{milliseconds // 1000:02}.{milliseconds % 1000:03}Z"


def step(number: int, operation: Operation, parent: int | None = None, **more: Any) -> Step:
    known = {"provider": "aws.bedrock", "usage": USAGE, "stop_reason": "tool_use"} if operation == "chat" else {}
    times = {"started_at": at(100 * number), "ended_at": at(100 * number + 57), "state": "COMPLETED"}
    text = {"input": Excerpt.of(f"in {number}"), "output": Excerpt.of(f"out {number}")}
    return Step(number, operation, f"name {number}", "agent", **{**times, **known, **text, "parent": parent, **more})


TRACE = Trace(
    Session.from_item(
        {
            "PK": "s" * 36,
            "status": "FAILED",
            "start_time": at(0),
            "busy_at": at(50),
            "ended_at": at(9_999),
            "error": ERROR,
        }
    ),
    [State("Invoke", at(1), at(40)), State("Wait", at(40), at(9_999))],
    [Task(1, "work", "FAILED", at(150), at(800))],
    [
        step(1, Operation.CHAT),
        step(2, Operation.EXECUTE_TOOL, call_id="use-2", state="FAILED", error="tool_error"),
        step(3, Operation.CHAT, 2),
        step(4, Operation.EXECUTE_TOOL, 2, call_id="use-4", state="INTERRUPTED", output=None),
    ],
)


def read(trace: Trace) -> list[Proto]:
    """Return the spans as protobuf has them, whose JSON wants base64 where OTLP's has hexadecimal digits."""
    document = json.loads(to_json(to_otlp(trace)))
    (of_resource,) = document["resourceSpans"]
    for span in of_resource["scopeSpans"][0]["spans"]:
        for name in {"traceId", "spanId", "parentSpanId"} & span.keys():
            span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    (read_resource,) = json_format.ParseDict(document, TracesData()).resource_spans
    assert {item.key: item.value.string_value for item in read_resource.resource.attributes}["service.name"] == "vigil"
    return list(read_resource.scope_spans[0].spans)


def attributes(span: Proto) -> dict[str, Any]:
    found = json_format.MessageToDict(span)["attributes"]
    return {item["key"]: next(iter(item["value"].values())) for item in found}


def test_spans_make_one_tree_in_order() -> None:
    spans = {span.span_id: span for span in read(TRACE)}
    assert len(spans) == 1 + 2 + 1 + 1 + 4 == len(read(TRACE))
    assert len({span.trace_id for span in spans.values()}) == 1
    assert all(len(span.trace_id) == 16 and len(span.span_id) == 8 for span in spans.values())
    assert [span.name for span in spans.values() if not span.parent_span_id] == ["invoke_workflow vigil"]
    for span in spans.values():
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        parent = spans[span.parent_span_id] if span.parent_span_id else span
        assert parent.start_time_unix_nano <= span.start_time_unix_nano
    by_name = {span.name: span for span in spans.values()}
    path = [by_name[name] for name in ("chat name 3", "execute_tool name 2", "phase work", "attempt 1")]
    assert [inner.parent_span_id for inner, _ in pairwise(path)] == [outer.span_id for _, outer in pairwise(path)]
    first = by_name["chat name 1"]
    assert first.end_time_unix_nano - first.start_time_unix_nano == 57_000_000
    assert read(TRACE) == list(spans.values())


def test_steps_have_the_attributes_of_the_conventions() -> None:
    spans = {span.name: span for span in read(TRACE)}
    found = {name: attributes(span) for name, span in spans.items()}
    assert {given[names.GEN_AI_CONVERSATION_ID] for given in found.values()} == {"s" * 36}
    root = found["invoke_workflow vigil"]
    assert (root[names.GEN_AI_OPERATION_NAME], root[ERROR_TYPE]) == ("invoke_workflow", "AgentCrashed")
    chats = [given for name, given in found.items() if name.startswith("chat")]
    for number, given in zip((1, 3), sorted(chats, key=lambda chat: chat[names.GEN_AI_REQUEST_MODEL]), strict=True):
        assert given[names.GEN_AI_OPERATION_NAME] == names.GenAiOperationNameValues.CHAT.value
        assert given[names.GEN_AI_PROVIDER_NAME] == names.GenAiProviderNameValues.AWS_BEDROCK.value
        assert given[names.GEN_AI_REQUEST_MODEL] == f"name {number}"
        assert given[names.GEN_AI_AGENT_NAME] == "agent"
        assert given[names.GEN_AI_RESPONSE_FINISH_REASONS] == {"values": [{"stringValue": "tool_use"}]}
        (message,) = json.loads(given[names.GEN_AI_OUTPUT_MESSAGES])
        assert (message["role"], message["parts"]) == ("assistant", [{"type": "text", "content": f"out {number}"}])
        assert json.loads(given[names.GEN_AI_INPUT_MESSAGES])[0]["role"] == "user"
    tokens = names.GEN_AI_USAGE_INPUT_TOKENS, names.GEN_AI_USAGE_OUTPUT_TOKENS
    assert [sum(int(given[name]) for given in chats) for name in tokens] == [2_400, 68]
    for number, error in ((2, "tool_error"), (4, "AgentCrashed")):
        given = found[f"execute_tool name {number}"]
        assert given[names.GEN_AI_OPERATION_NAME] == names.GenAiOperationNameValues.EXECUTE_TOOL.value
        assert (given[names.GEN_AI_TOOL_NAME], given[names.GEN_AI_TOOL_TYPE]) == (f"name {number}", "function")
        assert (given[names.GEN_AI_TOOL_CALL_ID], given[ERROR_TYPE]) == (f"use-{number}", error)
        assert given[names.GEN_AI_TOOL_CALL_ARGUMENTS] == f"in {number}"
        assert spans[f"execute_tool name {number}"].status.code == Status.STATUS_CODE_ERROR
    assert spans["chat name 1"].kind == Proto.SPAN_KIND_CLIENT
    assert spans["chat name 1"].status.code == Status.STATUS_CODE_UNSET


def test_what_runs_is_left_out_and_any_time_can_be_read() -> None:
    odd = {"1": at(1), "2": "0001-01-01T00:00:00Z", "3": "9999-12-31T23:59:59Z", "4": "no time"}
    steps = [step(int(number), Operation.CHAT, started_at=time, ended_at=time) for number, time in odd.items()]
    running = Session.from_item({"PK": "s" * 36, "status": "BUSY", "start_time": at(0), "busy_at": at(1)})
    spans = read(Trace(running, [State("Wait", at(1))], [], [*steps, step(5, Operation.CHAT, ended_at=None)]))
    assert sorted(span.name for span in spans) == [f"chat name {number}" for number in odd]


def test_a_step_that_ended_with_its_attempt_has_the_error_of_the_attempt() -> None:
    ended = {"code": "AgentLost", "message": "no heartbeat", "started_at": at(50), "ended_at": at(400)}
    record = {"PK": "s" * 36, "status": "COMPLETED", "start_time": at(0), "busy_at": at(500), "ended_at": at(999)}
    session = Session.from_item({**record, "attempt": 2, "attempts": [ended]})
    begun = step(1, Operation.EXECUTE_TOOL, state="INTERRUPTED", output=None)
    spans = {span.name: span for span in read(Trace(session, [], [], [begun, step(6, Operation.CHAT, attempt=2)]))}
    assert attributes(spans["execute_tool name 1"])[ERROR_TYPE] == "AgentLost"
    assert ERROR_TYPE not in attributes(spans["chat name 6"])

"""A session's run, in the test's own process: what it tells its supervisor, and whose session it leaves alone."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any, NoReturn

import pytest
from botocore.exceptions import ClientError
from strands import Agent
from strands.types.exceptions import ContextWindowOverflowException, ModelThrottledException
from strands.types.streaming import StreamEvent

from tests.agents import Scripted
from vigil.agent.outcome import STOPPED
from vigil.agent.session import AgentSession
from vigil.agent.tools.journal import journal_tools
from vigil.agent.worker import load_agent, logger, run
from vigil.errors import MissingSetting, SessionEnded, SessionNotFound, SessionTaken
from vigil.session import Failure, Session, Status
from vigil.step import Usage

NewSession = Callable[..., str]
EndOf = Callable[..., Session]
HELLO = "examples.hello_agent:hello_agent"


def test_supervisor_receives_every_model_and_tool_call(session: AgentSession) -> None:
    told: list[str] = []
    run(replace(session, agent=HELLO, keep_alive=told.append))
    assert session.journal.get(session.session_id).status == Status.COMPLETED
    model = ["calling the model", "the model has answered"]
    tools = ["journal_set_status", "storage_write", "journal_set_status"]
    assert told == [line for name in tools for line in (*model, f"tool {name}", f"tool {name} has answered")]


class Slow(Scripted):
    """Takes a while for each part of its answer."""

    async def stream(self, *_: Any, **__: Any) -> AsyncIterator[StreamEvent]:
        async for event in super().stream():
            await asyncio.sleep(0.1)
            yield event


def test_a_model_that_goes_on_answering_makes_progress(end_of: EndOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vigil.agent.worker.ANSWER_SECONDS", 0.05)
    told: list[str] = []
    end_of(lambda session: Agent(model=Slow("slow", []), callback_handler=None), keep_alive=told.append)
    first, *answers, last = told
    assert (first, set(answers), last) == ("calling the model", {"the model answers"}, "the model has answered")
    assert len(answers) >= 5


class Broken(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise ValueError("no such log")


def test_a_log_that_is_broken_is_not_the_cause(end_of: EndOf) -> None:
    handler = Broken()

    def factory(session: AgentSession) -> object:
        logger.addHandler(handler)
        raise RuntimeError("the true cause")

    try:
        assert end_of(factory).error == Failure("RuntimeError", "the true cause")
    finally:
        logger.removeHandler(handler)


def test_every_progress_note_counts_and_one_per_15_s_is_written(session: AgentSession) -> None:
    told: list[str] = []
    now = 0.0
    session = replace(session, keep_alive=told.append, clock=lambda: now)
    session.mark_busy()
    written = []
    for second in range(60):
        now = float(second)
        session.report_progress(f"{second} of 60")
        written.append(session.journal.get(session.session_id).progress)
    assert told == [f"{second} of 60" for second in range(60)]
    assert list(dict.fromkeys(written)) == [f"{second} of 60" for second in (0, 15, 30, 45)]
    session.fail("Broken", "so it is")
    assert session.journal.get(session.session_id).progress == "59 of 60"


def test_a_phase_that_fails_shows_how_far_it_came(session: AgentSession) -> None:
    session = replace(session, clock=lambda: 0.0)
    session.mark_busy()
    tools = {tool.tool_name: tool for tool in journal_tools(session)}
    tools["journal_start_phase"](phase="usage")
    session.report_progress("1 of 3")
    session.report_progress("2 of 3")
    assert session.journal.get(session.session_id).progress == "1 of 3"
    tools["journal_finish_phase"](phase="usage", outcome="fail", message="it broke")
    assert session.journal.get(session.session_id).progress == "2 of 3"


def test_a_note_is_a_sign_of_progress_too(session: AgentSession) -> None:
    told: list[str] = []
    replace(session, keep_alive=told.append).report_progress("7 of 12 functions")
    assert told == [session.journal.get(session.session_id).progress] == ["7 of 12 functions"]


def test_a_session_of_another_worker_is_not_begun(session: AgentSession) -> None:
    before = session.journal.get(session.session_id)
    with pytest.raises(SessionTaken, match="another worker runs it"):
        run(replace(session, agent="tests.agents:says_failed", journal=session.journal.acting_for("another")))
    assert session.journal.get(session.session_id) == before


def test_a_session_that_has_ended_is_not_begun(session: AgentSession, new_session: NewSession) -> None:
    ended = new_session(Status.FAILED)
    with pytest.raises(SessionEnded):
        run(replace(session, session_id=ended, agent=HELLO))


def test_the_first_end_of_a_session_stands(session: AgentSession) -> None:
    run(replace(session, agent="tests.agents:completes_and_raises"))
    record = session.journal.get(session.session_id)
    assert (record.status, record.error) == (Status.COMPLETED, None)


def test_model_usage_is_recorded_until_the_agent_ends_its_session(session: AgentSession) -> None:
    run(replace(session, agent="tests.agents:reports_usage"))
    record = session.journal.get(session.session_id)
    assert record.status == Status.COMPLETED
    # Of the three calls, the last one came after that.
    assert record.usage == Usage("global.anthropic.claude-sonnet-4-6", 2_000, 400, Decimal("0.012"))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("tests.agents:no_such_factory", "has no attribute 'no_such_factory'"),
        ("no.such.module:agent", "No module named 'no'"),
        ("tests.agents", "has no attribute ''"),
        ("", "Empty module name"),
    ],
)
def test_a_factory_that_cannot_be_found_is_named(path: str, said: str) -> None:
    with pytest.raises(MissingSetting, match=said) as raised:
        load_agent(path)
    assert f"VIGIL_AGENT={path} is not package.module:factory" in str(raised.value)


def test_a_factory_must_be_callable() -> None:
    with pytest.raises(MissingSetting, match=r"VIGIL_AGENT=vigil\.settings:DEFAULT_AGENT is not callable"):
        load_agent("vigil.settings:DEFAULT_AGENT")


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Void(Exception):
    """Is false, as whatever has no members is."""

    def __len__(self) -> int:
        return 0


def denied() -> ClientError:
    return ClientError({"Error": {"Code": "AccessDenied", "Message": "not for you"}}, "ListFunctions")


def chain(*errors: BaseException) -> BaseException:
    """Return the first error, raised from the second, and so on."""
    for error, cause in pairwise(errors):
        error.__cause__ = cause
    return errors[0]


def in_a_circle() -> BaseException:
    first = ValueError("first")
    return chain(first, ValueError("second"), first)


def while_handling(cause: BaseException, suppress: bool = False) -> NoReturn:
    """Raise an error in an ``except`` block without saying what it comes from, or that it comes ``from None``."""
    try:
        raise cause
    except type(cause):
        error = LookupError("no rates")
        error.__suppress_context__ = suppress
        raise error  # noqa: B904


def overflow() -> BaseException:
    return chain(RuntimeError("a"), ContextWindowOverflowException("b"), denied())


def in_one() -> ExceptionGroup[Exception]:
    return ExceptionGroup("one", [chain(OSError("a"), EOFError("b"))])


def stopped(reason: str) -> str:
    return f"the agent stopped before its turn ended, with stop reason {reason}: {STOPPED[reason][1]}"


DENIED = "An error occurred (AccessDenied) when calling the ListFunctions operation: not for you"
WHILE_HANDLING = f"(while handling ClientError: {DENIED})"
IN_TWO = "(in ExceptionGroup: two (2 sub-exceptions))"
IN_BASE = "(in BaseExceptionGroup: one (1 sub-exception))"
NO_CODE = "An error occurred (Unknown) when calling the ListFunctions operation: Unknown"
NO_FILE = (2, "No such file", os.fsdecode(b"caf\xe9"))
CAUSES: list[tuple[Callable[[], BaseException], str, str]] = [
    # Wrapped
    (lambda: chain(RuntimeError("phase 2"), denied()), "AccessDenied", f"{DENIED} (in RuntimeError: phase 2)"),
    (lambda: chain(RuntimeError("a"), OSError("b"), EOFError("c")), "EOFError", "c (in RuntimeError: a)"),
    (lambda: chain(RuntimeError("b"), ValueError("a, b")), "ValueError", "a, b"),
    (lambda: chain(RuntimeError("a"), Void("b")), "Void", "b (in RuntimeError: a)"),
    (lambda: chain(RuntimeError("a"), KeyError("b")), "KeyError", "'b' (in RuntimeError: a)"),
    (lambda: chain(RuntimeError("a"), SessionNotFound("b"), KeyError("c")), "SessionNotFound", "b"),
    (overflow, "ContextOverflow", stopped("model_context_window_exceeded")),
    (in_a_circle, "ValueError", "first"),
    # In a group
    (lambda: ExceptionGroup("two", [in_one(), OSError("c")]), "EOFError", f"b {IN_TWO}"),
    (lambda: BaseExceptionGroup("one", [KeyboardInterrupt()]), "KeyboardInterrupt", f"KeyboardInterrupt {IN_BASE}"),
    # Raised while another was handled, without `from`
    (lambda: while_handling(chain(RuntimeError("a"), denied())), "LookupError", f"no rates {WHILE_HANDLING}"),
    (lambda: while_handling(denied(), suppress=True), "LookupError", "no rates"),
    # No Exception
    (lambda: asyncio.CancelledError("scope"), "AgentCancelled", stopped("cancelled")),
    # What asyncio.timeout raises.
    (lambda: chain(TimeoutError(), asyncio.CancelledError()), "TimeoutError", "TimeoutError"),
    (KeyboardInterrupt, "KeyboardInterrupt", "KeyboardInterrupt"),
    (GeneratorExit, "GeneratorExit", "GeneratorExit"),
    (lambda: SystemExit(3), "AgentIncomplete", "the agent called exit(3)"),
    (lambda: SystemExit("bye\nbye"), "AgentIncomplete", "the agent called exit(bye bye)"),
    (SystemExit, "AgentIncomplete", "the agent called exit()"),
    # Without a text that can be stored
    (lambda: ValueError(" \n"), "ValueError", "ValueError"),
    (lambda: Mute("a"), "Mute", "Mute"),
    (lambda: chain(Mute("a"), ValueError("b")), "ValueError", "b (in Mute: Mute)"),
    (lambda: SystemExit(Mute("a")), "AgentIncomplete", "the agent called exit(SystemExit)"),
    (lambda: ValueError("half of a pair \ud835"), "ValueError", "half of a pair \\ud835"),
    (lambda: FileNotFoundError(*NO_FILE), "FileNotFoundError", "[Errno 2] No such file: 'caf\\udce9'"),
    (lambda: ClientError({}, "ListFunctions"), "ClientError", NO_CODE),
]


def refused(code: str, message: str, call: str = "Converse") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, call)


NO_RESOURCE, NO_ACCESS = "ResourceNotFoundException", "AccessDeniedException"
MARKETPLACE = (
    "Model access is denied due to IAM user or service role is not authorized to perform the required AWS Marketplace"
    " actions (aws-marketplace:ViewSubscriptions, aws-marketplace:Subscribe) to enable access to this model."
)
USE_CASE = (
    "Model use case details have not been submitted for this account. Fill out the Anthropic use case details form"
    " before using the model. If you have already filled out the form, try again in 15 minutes."
)
ON_DEMAND = (
    "Invocation of model ID anthropic.claude-sonnet-4-6 with on-demand throughput isn\u2019t supported. Retry your"
    " request with the ID or ARN of an inference profile that contains this model."
)


@pytest.mark.parametrize(
    ("code", "message", "begins"),
    [
        (NO_RESOURCE, USE_CASE, "submit Anthropic's use case form"),
        (NO_ACCESS, MARKETPLACE, "have a role with aws-marketplace:Subscribe"),
        ("ValidationException", ON_DEMAND, "let ModelId name an inference profile"),
        ("ValidationException", "The provided model identifier is invalid.", "let ModelId name a model that Bedrock"),
        (NO_RESOURCE, "Access denied. This Model is marked by provider as Legacy", "let ModelId name a"),
        (NO_ACCESS, "User: arn:x is not authorized to perform: bedrock:InvokeModel", "let ModelId name a"),
        (NO_ACCESS, "You don't have access to the model with the specified model ID.", "give the account"),
        ("ThrottlingException", "Too many tokens per day", "start fewer sessions at once"),
    ],
)
def test_refusal_of_a_model_by_bedrock_says_what_to_do(end_of: EndOf, code: str, message: str, begins: str) -> None:
    def agent(prompt: str) -> NoReturn:
        # As Strands passes a throttled call on.
        raise chain(ModelThrottledException(message), refused(code, message))

    error = end_of(lambda session: agent).error
    assert error is not None
    assert error.code == code
    assert error.message.startswith(begins)
    assert f": An error occurred ({code}) when calling the Converse operation: {message}" in error.message


@pytest.mark.parametrize(
    "error",
    [refused(NO_ACCESS, MARKETPLACE, "GetItem"), refused("ValidationException", "messages: too many")],
)
def test_other_errors_of_aws_are_recorded_unchanged(end_of: EndOf, error: ClientError) -> None:
    def agent(prompt: str) -> NoReturn:
        raise error

    failure = end_of(lambda session: agent).error
    assert failure is not None
    assert failure.message == str(error)


MakeError = Callable[[], BaseException]
Factory = Callable[[AgentSession], object]
Place = Callable[[MakeError], Factory]


def in_factory(make: MakeError) -> Factory:
    def factory(session: AgentSession) -> object:
        raise make()

    return factory


def in_function(make: MakeError) -> Factory:
    def agent(prompt: str) -> object:
        raise make()

    return lambda session: agent


def in_coroutine(make: MakeError) -> Factory:
    async def agent(prompt: str) -> object:
        raise make()

    return lambda session: agent


@pytest.mark.parametrize("place", [in_factory, in_function, in_coroutine])
@pytest.mark.parametrize(("make", "code", "message"), CAUSES)
def test_the_root_cause_is_recorded(
    end_of: EndOf, monkeypatch: pytest.MonkeyPatch, place: Place, make: MakeError, code: str, message: str
) -> None:
    # It goes to standard error: xdist cannot send a log that has half of a surrogate pair.
    monkeypatch.setattr(logger, "propagate", False)
    record = end_of(place(make))
    assert (record.status, record.error) == (Status.FAILED, Failure(code, message))

"""The Lambda function that hands a session to the agent: parse, call AgentCore once, check the answer.

A session that AgentCore does not start at once waits in line, and is invoked again at its turn.
"""

import json
import logging
import re
import sys
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from vigil.errors import (
    AgentError,
    AgentNotAccepted,
    AgentQuotaExceeded,
    AgentThrottled,
    AgentUnavailable,
    InvalidDetail,
    InvalidInput,
    VigilError,
)
from vigil.line import Line, Place
from vigil.names import DEADLINE_KEY, TICK_KEY, Env
from vigil.session import check_detail, check_session_id, runtime_session_id
from vigil.settings import LAST_ATTEMPT, InvokerSettings

if TYPE_CHECKING:
    from mypy_boto3_bedrock_agentcore import BedrockAgentCoreClient


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"level": record.levelname, "message": record.getMessage(), "session_id": vars(record).get("session_id")}
        return json.dumps(line)


logger = logging.getLogger("vigil.invoker")
logger.setLevel(logging.INFO)
logger.propagate = False  # the Lambda runtime's own handler would log each line a second time
logger.addHandler(logging.StreamHandler(sys.stderr))
logger.handlers[0].setFormatter(_JsonLines())

ACCEPTED = frozenset({"accepted", "already running", "already ended"})
"""Answers which mean that the session has its one worker. The last two answer a repeated invocation."""
THROTTLED = frozenset({"ThrottlingException", "TooManyRequestsException"})
RUNTIME_NOT_STARTED = re.compile(r"Received error \(50[234]\)|Runtime initialization time exceeded")
"""AgentCore's message, with HTTP 424, when the runtime did not start. A refusal by the runtime itself is a 400."""


def handler(event: object, context: object) -> dict[str, str]:
    """Invoke the agent for ``event["session_id"]`` and return the runtime's answer.

    ``event``: {"session_id": str, "detail": object, "attempt": int, "line": {"ticket": int, "turn": int}}, of which all
    but the first are optional. Returns {"session_id": str, "answer": str}.
    Raises InvalidInput before anything is called; AgentNotAccepted when the agent
    refused the session; AgentThrottled and AgentQuotaExceeded when the session must wait in line; AgentUnavailable when
    a retry may help. The workflow retries, and records any other error in the session.
    """
    unchecked_id = event.get("session_id") if isinstance(event, dict) else None
    log_fields = {"session_id": None if unchecked_id is None else str(unchecked_id)[:200]}
    try:
        settings = InvokerSettings.from_env()
        session_id, detail = parse(event, settings.max_session_seconds)
        await_turn(_line(settings), Place.from_event(event), session_id)
        answer = invoke(_client(), settings, session_id, detail, attempt_of(event))
    except VigilError as error:
        waits = isinstance(error, AgentThrottled | AgentQuotaExceeded)
        logger.log(logging.INFO if waits else logging.ERROR, "%s: %s", error.code, error, extra=log_fields)
        raise
    logger.info("the agent answered: %s", answer, extra=log_fields)
    return {"session_id": session_id, "answer": answer}


def await_turn(line: Line, place: Place, session_id: str) -> None:
    """Wait for the last second before the session's turn.

    Raises AgentThrottled for a new session while others wait. A line that cannot be read delays no session.
    """
    try:
        admit(line, place, session_id)
    # The last three mean a damaged item.
    except (BotoCoreError, ClientError, ArithmeticError, TypeError, ValueError) as error:
        logger.warning("the line cannot be read: %s", _one_line(error))
    # A workflow waits whole seconds; the turns lie within them.
    time.sleep(min(1.0, max(0.0, (place.turn - place.now) / 1000)))


def admit(line: Line, place: Place, session_id: str) -> None:
    """Update the line's pace if it is the session's turn; raise AgentThrottled if it is new and others wait."""
    if place.ticket:
        line.keep_pace(place.ticket, place.now)
    elif not line.is_empty(place.now):
        raise AgentThrottled(f"session {session_id}: other sessions wait in line before it")


def parse(event: object, max_session_seconds: int) -> tuple[str, dict[str, Any]]:
    """Return the session id and the agent's input of an invocation, or raise InvalidInput."""
    if not isinstance(event, dict):
        raise InvalidInput(f"the invocation must be an object with session_id, not {type(event).__name__}")
    session_id = check_session_id(event.get("session_id"))
    detail = event.get("detail")
    detail = check_detail({} if detail is None else detail)
    # The workflow falls back to its default for an invalid deadline; reject it here so that the caller is told.
    deadline = detail.get(DEADLINE_KEY, max_session_seconds)
    # JSON does not distinguish 5 from 5.0.
    whole = type(deadline) in (int, float) and deadline % 1 == 0
    if not whole or not 1 <= deadline <= max_session_seconds:
        shown = repr(deadline)[:80]
        raise InvalidDetail(f"{DEADLINE_KEY} must be a whole number from 1 to {max_session_seconds}, not {shown}")
    return session_id, {name: value for name, value in detail.items() if name not in (DEADLINE_KEY, TICK_KEY)}


def attempt_of(event: Any) -> int:
    """Return the session's attempt that an invocation begins, or raise InvalidInput."""
    attempt = event.get("attempt", 1)
    # JSON does not distinguish 5 from 5.0.
    if type(attempt) not in (int, float) or attempt % 1 or not 1 <= attempt <= LAST_ATTEMPT:
        raise InvalidInput(f"attempt must be a whole number from 1 to {LAST_ATTEMPT}, not {attempt!r:.80}")
    return int(attempt)


def invoke(
    client: "BedrockAgentCoreClient", settings: InvokerSettings, session_id: str, detail: dict[str, Any], attempt: int
) -> str:
    """Call InvokeAgentRuntime and return the runtime's answer, one of ACCEPTED; else raise an AgentError."""
    # AgentCore sets no environment per invocation: the runtime passes these variables to its worker process.
    environment = {Env.SESSION_ID: session_id, Env.BUCKET: settings.bucket, Env.TABLE: settings.table}
    if attempt > 1:
        environment[Env.ATTEMPT] = str(attempt)
    payload = json.dumps({"environment": environment, "detail": detail})
    try:
        response = client.invoke_agent_runtime(
            agentRuntimeArn=settings.agent_runtime_arn,
            runtimeSessionId=runtime_session_id(session_id, attempt),
            contentType="application/json",
            accept="application/json",
            payload=payload.encode(),
        )
        body = response["response"].read()
    except ClientError as error:
        raise _error_class(error)(f"session {session_id}: {_one_line(error)}") from error
    except (BotoCoreError, OSError, AttributeError, ValueError) as error:
        # Connection refused, dropped or timed out, or a malformed error body that botocore cannot parse.
        raise AgentUnavailable(f"session {session_id}: {_one_line(error)}") from error
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise AgentNotAccepted(f"session {session_id}: the agent answered no JSON: {body[:200]!r}") from error
    status = answer.get("status") if isinstance(answer, dict) else None
    if not isinstance(status, str) or status not in ACCEPTED:
        reason = answer.get("error", answer) if isinstance(answer, dict) else answer
        raise AgentNotAccepted(f"session {session_id}: the agent refused: {_one_line(reason)}")
    return status


def _error_class(error: ClientError) -> type[AgentError]:
    """Return the error that says whether, and when, to repeat the call."""
    code = error.response["Error"].get("Code", "")
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code in THROTTLED or status == 429:
        return AgentThrottled
    if code == "ServiceQuotaExceededException" or status == 402:
        return AgentQuotaExceeded
    not_started = status == 424 and RUNTIME_NOT_STARTED.match(str(error.response["Error"].get("Message")))
    retryable = code == "RetryableConflictException" or status >= 500 or not_started
    return AgentUnavailable if retryable else AgentNotAccepted


def _one_line(reason: object) -> str:
    """Return ``reason``, text from outside, as one line of bounded length."""
    return " ".join(str(reason).split())[:500]


@cache
def _client() -> "BedrockAgentCoreClient":
    # One attempt: the workflow repeats the call, and can wait longer than a Lambda function.
    # The read timeout ends before the Lambda function's 60 s, so that a silent agent is an error with a name.
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=45)
    return boto3.client("bedrock-agentcore", config=config)


@cache
def _line(settings: InvokerSettings) -> Line:
    config = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=2, read_timeout=5)
    return Line(boto3.resource("dynamodb", config=config).Table(settings.table), settings.starts_per_second)

"""The Lambda function that hands a session to the agent: parse, call AgentCore once, check the answer.

A session that AgentCore does not start at once waits in line, and comes again when it is its turn.
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
from vigil.names import DEADLINE_KEY, Env
from vigil.session import check_detail, check_session_id
from vigil.settings import InvokerSettings

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
"""Answers of the runtime that mean: the session has its one worker. The last two come after a repeated invocation."""
THROTTLED = frozenset({"ThrottlingException", "TooManyRequestsException"})
QUOTA_EXCEEDED = "ServiceQuotaExceededException"
CONFLICT = "RetryableConflictException"
PASSING = re.compile(r"Received error \(50[234]\)|Runtime initialization time exceeded")
"""How AgentCore's message begins, with HTTP 424, when the runtime did not come up. Its own refusal is a 400."""


def handler(event: object, context: object) -> dict[str, str]:
    """Invoke the agent for ``event["session_id"]`` and return what the runtime answered.

    ``event``: {"session_id": str, "detail": object, optional, "line": {"ticket": int, "turn": int}, optional}. Returns
    {"session_id": str, "answer": str}. Raises InvalidInput before anything is called; AgentNotAccepted when the agent
    refused the session; AgentThrottled and AgentQuotaExceeded when the session must wait in line; AgentUnavailable when
    it is worth trying again. The workflow does so, and records what remains as the session's error.
    """
    given = event.get("session_id") if isinstance(event, dict) else None
    about = {"session_id": None if given is None else str(given)[:200]}
    try:
        settings = InvokerSettings.from_env()
        session_id, detail = parse(event, settings.max_session_seconds)
        await_turn(_line(settings), Place.from_event(event), session_id)
        answer = invoke(_client(), settings, session_id, detail)
    except VigilError as error:
        waits = isinstance(error, AgentThrottled | AgentQuotaExceeded)
        logger.log(logging.INFO if waits else logging.ERROR, "%s: %s", error.code, error, extra=about)
        raise
    logger.info("the agent answered: %s", answer, extra=about)
    return {"session_id": session_id, "answer": answer}


def await_turn(line: Line, place: Place, session_id: str) -> None:
    """Wait for the last second before the session's turn.

    Raises AgentThrottled for a session that comes first while others wait. A line that cannot be read holds nobody up.
    """
    try:
        admit(line, place, session_id)
    # The last three: its item is damaged.
    except (BotoCoreError, ClientError, ArithmeticError, TypeError, ValueError) as error:
        logger.warning("the line cannot be read: %s", _one_line(error))
    # A waiting execution counts whole seconds. The turns are spread over each.
    time.sleep(min(1.0, max(0.0, (place.turn - place.now) / 1000)))


def admit(line: Line, place: Place, session_id: str) -> None:
    """Keep the line's pace with a session whose turn it is; raise AgentThrottled for one before which others wait."""
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
    # The deadline is the workflow's, which takes its own for one that is none; here is where that is said.
    deadline = detail.get(DEADLINE_KEY, max_session_seconds)
    # JSON knows no difference between 5 and 5.0.
    whole = type(deadline) in (int, float) and deadline % 1 == 0
    if not whole or not 1 <= deadline <= max_session_seconds:
        shown = repr(deadline)[:80]
        raise InvalidDetail(f"{DEADLINE_KEY} must be a whole number from 1 to {max_session_seconds}, not {shown}")
    return session_id, {name: value for name, value in detail.items() if name != DEADLINE_KEY}


def invoke(client: "BedrockAgentCoreClient", settings: InvokerSettings, session_id: str, detail: dict[str, Any]) -> str:
    """Call InvokeAgentRuntime and return the runtime's answer, one of ACCEPTED; else raise an AgentError."""
    # AgentCore has no environment per invocation: the runtime sets these on the worker process it starts.
    environment = {Env.SESSION_ID: session_id, Env.BUCKET: settings.bucket, Env.TABLE: settings.table}
    payload = json.dumps({"environment": environment, "detail": detail})
    try:
        response = client.invoke_agent_runtime(
            agentRuntimeArn=settings.agent_runtime_arn,
            runtimeSessionId=session_id,
            contentType="application/json",
            accept="application/json",
            payload=payload.encode(),
        )
        body = response["response"].read()
    except ClientError as error:
        raise _kind(error)(f"session {session_id}: {_one_line(error)}") from error
    except (BotoCoreError, OSError, AttributeError, ValueError) as error:
        # No connection, none that held, no answer in time, or one that is no error of AWS's, on which botocore trips.
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


def _kind(error: ClientError) -> type[AgentError]:
    """Return whether, and when, the call is worth repeating."""
    code = error.response["Error"].get("Code", "")
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code in THROTTLED or status == 429:
        return AgentThrottled
    if code == QUOTA_EXCEEDED or status == 402:
        return AgentQuotaExceeded
    not_up = status == 424 and PASSING.match(str(error.response["Error"].get("Message")))
    return AgentUnavailable if code == CONFLICT or status >= 500 or not_up else AgentNotAccepted


def _one_line(reason: object) -> str:
    """Return ``reason``, which others wrote, as one line of a length that a person reads."""
    return " ".join(str(reason).split())[:500]


@cache
def _client() -> "BedrockAgentCoreClient":
    # One attempt: the workflow repeats the call, with a longer breath than a Lambda function should have.
    # The Lambda function's timeout is 60 s, so an agent that never answers is an error with a name, not a timeout.
    return boto3.client(
        "bedrock-agentcore", config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=45)
    )


@cache
def _line(settings: InvokerSettings) -> Line:
    config = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=2, read_timeout=5)
    return Line(boto3.resource("dynamodb", config=config).Table(settings.table), settings.starts_per_second)

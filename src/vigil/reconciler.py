"""The Lambda function that closes sessions whose workflow ended without them.

A workflow that is aborted, or fails on what it cannot catch, ends without another look at its session. Step Functions
says so in an event, most of the time; the schedule finds what it did not say. Both wait in a queue, from which the
function takes many messages at once.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from vigil.errors import InvalidSessionId, SessionNotFound, VigilError, WorkflowEnded
from vigil.journal import Journal
from vigil.session import Failure, check_session_id, iso
from vigil.settings import ReconcilerSettings

if TYPE_CHECKING:
    from mypy_boto3_bedrock_agentcore import BedrockAgentCoreClient
    from mypy_boto3_stepfunctions import SFNClient

logger = logging.getLogger("vigil.reconciler")

TIMEOUT_SECONDS = 300
"""Of the function."""
CLOSING_SECONDS = 180
"""Sessions that it has not closed so long after it began are left to the next sweep."""
STOPPING_SECONDS = 250
"""Agents that it has not begun to stop by then end by themselves, at their next heartbeat."""
STOPS_AT_ONCE = 32
"""Agents that are stopped at the same time: AgentCore takes seconds for each."""
YOUNG = timedelta(minutes=1)
"""A session that began less than this ago is left to the next sweep. Its execution may not be in the list yet, and even
the question for it may be answered with "does not exist" (DescribeExecution, Step Functions API Reference)."""


def handler(event: object, context: object) -> dict[str, list[str]]:
    """Close the sessions of the executions whose end the queue's messages in ``event`` tell.

    If one of them tells of none, as that of the schedule, close those of all executions that have ended.

    Returns {"closed": [session id, ...]}.
    """
    reconciler = _reconciler()
    told = [_told(message) for message in _messages(event)]
    executions = [execution for found in told for execution in found or ()]
    return {"closed": reconciler.close(executions, sweep=None in told)}


class Reconciler:
    """Compares sessions with their executions."""

    def __init__(
        self,
        journal: Journal,
        workflows: "SFNClient",
        agents: "BedrockAgentCoreClient",
        *,
        state_machine_arn: str,
        agent_runtime_arn: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._workflows = workflows
        self._agents = agents
        self._state_machine_arn = state_machine_arn
        self._executions = state_machine_arn.replace(":stateMachine:", ":execution:") + ":"
        self._agent_runtime_arn = agent_runtime_arn
        self._clock = clock

    def close(self, executions: Iterable[tuple[str, str]], *, sweep: bool = False) -> list[str]:
        """Fail each session of (session id, execution ARN) whose execution has ended, stop its agent, return the ids.

        With ``sweep`` also every other open session. What fails for one session is raised when all have been looked at.
        """
        begun = self._clock()
        closed: list[str] = []
        first = self._close_all(executions, closed, begun + CLOSING_SECONDS)
        if sweep:
            try:
                first = self._close_all(self._not_running(), closed, begun + CLOSING_SECONDS) or first
            except (BotoCoreError, ClientError, VigilError) as error:
                first = error
        with ThreadPoolExecutor(STOPS_AT_ONCE) as pool:
            list(pool.map(partial(self._stop_agent, until=begun + STOPPING_SECONDS), closed))
        if first is not None:
            raise first
        return closed

    def _not_running(self) -> Sequence[tuple[str, str]]:
        """Return (session id, execution ARN) of the open sessions whose execution is not listed as running.

        Two lists, and either may be late: what is in this one must still be asked for.
        """
        now = datetime.now(UTC)
        # Whatever stands there: an agent's role may write it.
        young = (iso(now - YOUNG), iso(now + YOUNG))
        found = [
            (session.session_id, session.execution_arn)
            for session in self._journal.open_sessions()
            if session.execution_arn and not young[0] < session.start_time < young[1]
        ]
        if not found:
            return found
        # After the sessions: whatever has begun since is in neither.
        pages = self._workflows.get_paginator("list_executions").paginate(
            stateMachineArn=self._state_machine_arn, statusFilter="RUNNING"
        )
        running = {execution["executionArn"] for page in pages for execution in page["executions"]}
        return [(session_id, arn) for session_id, arn in found if arn not in running]

    def _close_all(
        self, executions: Iterable[tuple[str, str]], closed: list[str], until: float
    ) -> BotoCoreError | ClientError | VigilError | None:
        """Add the ids of the sessions that it closes to ``closed``; return the first error."""
        first: BotoCoreError | ClientError | VigilError | None = None
        for session_id, execution_arn in executions:
            if self._clock() > until:
                logger.warning("out of time: the rest is left to the next sweep")
                break
            try:
                if self._close(session_id, execution_arn):
                    closed.append(session_id)
            except InvalidSessionId as error:
                # Not a record that a workflow wrote. No other look will find more.
                logger.warning("a record that is no session's is left as it is: %s", error)
            except (BotoCoreError, ClientError, VigilError) as error:
                # The others must not wait for this one.
                logger.exception("session %s could not be compared with its execution", session_id)
                first = first or error
        return first

    def _close(self, session_id: str, execution_arn: str) -> bool:
        # The table can be asked as often as one likes, Step Functions 15 times a second in a whole account. Most
        # executions that fail have marked their session themselves.
        try:
            session = self._journal.get(session_id)
        except SessionNotFound:
            # Its execution could not even record it.
            pass
        else:
            if session.terminal or session.execution_arn != execution_arn:
                return False
        # Asked now: an event may be late, and the execution redriven meanwhile.
        error = self._how_it_ended(execution_arn)
        if error is None:
            return False
        if not self._journal.fail_orphaned(session_id, execution_arn, Failure(error.code, str(error))):
            return False
        logger.warning("session %s: %s", session_id, error)
        return True

    def _how_it_ended(self, execution_arn: str) -> WorkflowEnded | None:
        """Return how the execution ended, or None if it runs."""
        if not execution_arn.startswith(self._executions):
            # An agent may write anything into its record. To ask for it would be denied.
            return WorkflowEnded.by("its record names no execution of it")
        try:
            execution = self._workflows.describe_execution(executionArn=execution_arn)
        except self._workflows.exceptions.ExecutionDoesNotExist:
            return WorkflowEnded.by("it is gone")
        if execution["status"] in ("RUNNING", "PENDING_REDRIVE"):
            return None
        return WorkflowEnded.of(execution)

    def _stop_agent(self, session_id: str, until: float) -> None:
        if self._clock() > until:
            return
        try:
            self._agents.stop_runtime_session(agentRuntimeArn=self._agent_runtime_arn, runtimeSessionId=session_id)
        except (BotoCoreError, ClientError) as error:
            # It may be gone; and if it lives, its next heartbeat finds that the session has ended.
            logger.info("session %s: its agent was not stopped: %s", session_id, error)


def _messages(event: object) -> list[object]:
    """Return what the queue's messages hold; an event that is not from the queue is a message of its own."""
    records = event.get("Records") if isinstance(event, dict) else None
    return [_json(record["body"]) for record in records] if records else [event]


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        # No event, so nothing that we could read would be lost with it.
        return None


def _told(message: object) -> list[tuple[str, str]] | None:
    """Return (session id, execution ARN) of the execution that ended, if it has a session; None if no one is told."""
    detail = message.get("detail") if isinstance(message, dict) else None
    arn, given = (detail.get("executionArn"), detail.get("input")) if isinstance(detail, dict) else (None, None)
    if not (isinstance(arn, str) and arn and isinstance(given, str) and given):
        # The schedule's; or one whose input was too large for the event.
        return None
    try:
        return [(check_session_id(json.loads(given)["session_id"]), arn)]
    except RecursionError:
        # It may have a session, whose id we cannot read.
        return None
    except (ValueError, TypeError, KeyError, InvalidSessionId):
        return []


@cache
def _reconciler() -> Reconciler:
    settings = ReconcilerSettings.from_env()
    config = Config(retries={"mode": "standard", "total_max_attempts": 5})
    return Reconciler(
        Journal.open(boto3.Session(), settings.table, attempts=5),
        boto3.client("stepfunctions", config=config),
        # Short: it must end in time, and an agent that is not stopped ends by itself.
        boto3.client(
            "bedrock-agentcore",
            config=Config(
                connect_timeout=3,
                read_timeout=12,
                retries={"mode": "standard", "total_max_attempts": 2},
                max_pool_connections=STOPS_AT_ONCE,
            ),
        ),
        state_machine_arn=settings.state_machine_arn,
        agent_runtime_arn=settings.agent_runtime_arn,
    )

"""The Lambda function that closes sessions whose workflow ended without them.

A workflow that is aborted, or fails with an error that it cannot catch, leaves its session open. Step Functions sends
an event then, most of the time; the schedule finds the sessions of lost events. Both write to a queue, from which the
function takes many messages at once.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from itertools import chain
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from vigil.attributes import iso
from vigil.errors import InvalidSessionId, SessionNotFound, VigilError, WorkflowEnded
from vigil.journal import Journal
from vigil.session import Failure, check_session_id, executions_of, parsed, runtime_session_id, session_id_of
from vigil.settings import ReconcilerSettings

if TYPE_CHECKING:
    from mypy_boto3_bedrock_agentcore import BedrockAgentCoreClient
    from mypy_boto3_stepfunctions import SFNClient

logger = logging.getLogger("vigil.reconciler")

TIMEOUT_SECONDS = 300  # of the function
CLOSING_SECONDS = 180  # sessions that are not closed this long after the function began are left to the next sweep
STOPPING_SECONDS = 250  # agents that are not stopped by then end at their next heartbeat
STOPS_AT_ONCE = 32  # agents that are stopped at the same time: AgentCore takes seconds for each
YOUNG = timedelta(minutes=1)
"""A younger session is left to the next sweep. Its execution may not be in the list yet, and even DescribeExecution may
say that it does not exist (Step Functions API Reference)."""


def handler(event: object, context: object) -> dict[str, list[str]]:
    """Close the sessions of the executions that the queue's messages in ``event`` name.

    If a message names no execution, as that of the schedule, close the sessions of all executions that have ended.

    Returns {"closed": [session id, ...]}.
    """
    reconciler = _reconciler()
    named = [_executions_in(message) for message in _messages(event)]
    executions = [execution for found in named for execution in found or ()]
    return {"closed": reconciler.close(executions, sweep=None in named)}


@dataclass(frozen=True)
class Reconciler:
    """Compares sessions with their executions."""

    journal: Journal
    workflows: "SFNClient"
    agents: "BedrockAgentCoreClient"
    state_machine_arn: str
    agent_runtime_arn: str
    clock: Callable[[], float] = time.monotonic

    def close(self, executions: Iterable[tuple[str, str]], *, sweep: bool = False) -> list[str]:
        """Fail each session of (session id, execution ARN) whose execution has ended, stop its agent, return the ids.

        With ``sweep`` also every other open session. The first error is raised after all sessions have been checked.
        """
        start = self.clock()
        closed: dict[str, int] = {}  # the attempt of each session
        errors: list[Exception] = []
        try:
            for session_id, execution_arn in chain(executions, self._not_running() if sweep else ()):
                if self.clock() > start + CLOSING_SECONDS:
                    logger.warning("out of time: the rest is left to the next sweep")
                    break
                try:
                    if attempt := self._close(session_id, execution_arn):
                        closed[session_id] = attempt
                except InvalidSessionId as error:
                    # No workflow wrote this record, and another try would not help.
                    logger.warning("a record that is no session's is left as it is: %s", error)
                except (BotoCoreError, ClientError, VigilError) as error:
                    # One error must not keep the other sessions open.
                    logger.exception("session %s could not be compared with its execution", session_id)
                    errors.append(error)
        except (BotoCoreError, ClientError, VigilError) as error:
            errors.append(error)
        with ThreadPoolExecutor(STOPS_AT_ONCE) as pool:
            list(pool.map(partial(self._stop_agent, until=start + STOPPING_SECONDS), closed.items()))
        if errors:
            raise errors[0]
        return list(closed)

    def _not_running(self) -> Iterator[tuple[str, str]]:
        """Yield (session id, execution ARN) of the open sessions whose execution is not listed as running.

        Both lists may be stale, so the execution of each of these sessions must still be checked.
        """
        now = datetime.now(UTC)
        # Both bounds: an agent's role may write any start time.
        young = (iso(now - YOUNG), iso(now + YOUNG))
        found = [
            (session.session_id, session.execution_arn)
            for session in self.journal.open_sessions()
            if session.execution_arn and not young[0] < session.start_time < young[1]
        ]
        if not found:
            return
        # Read after the sessions: an execution that starts in between is in neither list.
        pages = self.workflows.get_paginator("list_executions").paginate(
            stateMachineArn=self.state_machine_arn, statusFilter="RUNNING"
        )
        running = {execution["executionArn"] for page in pages for execution in page["executions"]}
        yield from ((session_id, arn) for session_id, arn in found if arn not in running)

    def _close(self, session_id: str, execution_arn: str) -> int | None:
        """Fail the session if its execution has ended; return its attempt, or None if nothing had to be done."""
        attempt = 1
        # First the table: Step Functions answers 15 questions a second for a whole account, and most executions that
        # fail have marked their session themselves.
        # Without a record, its execution could not create it.
        with suppress(SessionNotFound):
            session = self.journal.get(session_id)
            if session.terminal or session.execution_arn != execution_arn:
                return None
            attempt = session.attempt
        # Do not trust the event: it may be late, and the execution redriven in the meantime.
        error = self._final_state(execution_arn)
        if error is None or not self.journal.fail_orphaned(session_id, execution_arn, Failure(error.code, str(error))):
            return None
        logger.warning("session %s: %s", session_id, error)
        return attempt

    def _final_state(self, execution_arn: str) -> WorkflowEnded | None:
        """Return the error of an execution that has ended, or None if it runs."""
        if not execution_arn.startswith(executions_of(self.state_machine_arn)):
            # An agent may write any ARN into its record; describing another machine's execution is denied.
            return WorkflowEnded("its record names no execution of it")
        try:
            execution = self.workflows.describe_execution(executionArn=execution_arn)
        except self.workflows.exceptions.ExecutionDoesNotExist:
            return WorkflowEnded("it is gone")
        return None if execution["status"] in ("RUNNING", "PENDING_REDRIVE") else WorkflowEnded.of(execution)

    def _stop_agent(self, session: tuple[str, int], until: float) -> None:
        if self.clock() > until:
            return
        session_id, attempt = session
        try:
            agent = runtime_session_id(session_id, attempt)
            self.agents.stop_runtime_session(agentRuntimeArn=self.agent_runtime_arn, runtimeSessionId=agent)
        except (BotoCoreError, ClientError) as error:
            # The agent may be gone; otherwise it ends at its next heartbeat.
            logger.info("session %s: its agent was not stopped: %s", session_id, error)


def _messages(event: object) -> list[object]:
    """Return the queue's messages; an event that is not from the queue is one message."""
    records = event.get("Records") if isinstance(event, dict) else None
    # A body that is no JSON is no event: the sweep that follows loses nothing.
    return [parsed(record["body"]) for record in records] if records else [event]


def _executions_in(message: object) -> list[tuple[str, str]] | None:
    """Return (session id, execution ARN) of the execution that ended, if it has a session; None if none is named."""
    detail = message.get("detail") if isinstance(message, dict) else None
    arn, text = (detail.get("executionArn"), detail.get("input")) if isinstance(detail, dict) else (None, None)
    if not (isinstance(arn, str) and arn and isinstance(text, str) and text):
        # From the schedule, or the execution's input was too large for the event.
        return None
    try:
        given = json.loads(text)
        return [(check_session_id(session_id_of(given.get("session_id"), given.get("detail"))), arn)]
    except RecursionError:
        # The input is nested too deeply; it may hold a session id.
        return None
    except (ValueError, AttributeError, InvalidSessionId):
        return []


@cache
def _reconciler() -> Reconciler:
    settings = ReconcilerSettings.from_env()
    config = Config(retries={"mode": "standard", "total_max_attempts": 5})
    # Short timeouts: an agent that is not stopped ends by itself.
    brief = Config(connect_timeout=3, read_timeout=12, retries={"mode": "standard", "total_max_attempts": 2})
    return Reconciler(
        Journal.open(boto3.Session(), settings.table, attempts=5),
        boto3.client("stepfunctions", config=config),
        boto3.client("bedrock-agentcore", config=brief.merge(Config(max_pool_connections=STOPS_AT_ONCE))),
        settings.state_machine_arn,
        settings.agent_runtime_arn,
    )

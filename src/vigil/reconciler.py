"""The Lambda function that closes sessions whose workflow ended without them.

A workflow that is aborted, or fails on what it cannot catch, ends without another look at its session. Step Functions
says so in an event, most of the time; the schedule finds what it did not say.
"""

import json
import logging
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from vigil.errors import InvalidSessionId, VigilError, WorkflowEnded
from vigil.journal import Journal
from vigil.session import Failure, check_session_id
from vigil.settings import ReconcilerSettings

if TYPE_CHECKING:
    from mypy_boto3_bedrock_agentcore import BedrockAgentCoreClient
    from mypy_boto3_stepfunctions import SFNClient

logger = logging.getLogger("vigil.reconciler")


def handler(event: object, context: object) -> dict[str, list[str]]:
    """Close the session of the execution whose end ``event`` tells; for any other event, look at every open session.

    Returns {"closed": [session id, ...]}.
    """
    reconciler = _reconciler()
    told = _told(event)
    return {"closed": list(reconciler.close(reconciler.open_executions() if told is None else told))}


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
    ) -> None:
        self._journal = journal
        self._workflows = workflows
        self._agents = agents
        self._executions = state_machine_arn.replace(":stateMachine:", ":execution:") + ":"
        self._agent_runtime_arn = agent_runtime_arn

    def open_executions(self) -> list[tuple[str, str]]:
        """Return (session id, execution ARN) of every session that has not ended."""
        return [(s.session_id, s.execution_arn) for s in self._journal.open_sessions() if s.execution_arn]

    def close(self, executions: Iterable[tuple[str, str]]) -> Iterable[str]:
        """Fail each session whose execution has ended, stop its agent, and yield its id.

        What fails for one session is raised when all have been looked at.
        """
        first: Exception | None = None
        for session_id, execution_arn in executions:
            try:
                closed = self._close(session_id, execution_arn)
            except InvalidSessionId as error:
                # Not a record that a workflow wrote. No other look will find more.
                logger.warning("a record that is no session's is left as it is: %s", error)
                continue
            except (BotoCoreError, ClientError, VigilError) as error:
                # The others must not wait for this one.
                logger.exception("session %s could not be compared with its execution", session_id)
                first = first or error
                continue
            if closed:
                yield session_id
        if first is not None:
            raise first

    def _close(self, session_id: str, execution_arn: str) -> bool:
        # Asked now: an event may be late, and the execution redriven meanwhile.
        error = self._how_it_ended(execution_arn)
        if error is None:
            return False
        if not self._journal.close(session_id, execution_arn, Failure(error.code, str(error))):
            return False
        logger.warning("session %s: %s", session_id, error)
        self._stop_agent(session_id)
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

    def _stop_agent(self, session_id: str) -> None:
        try:
            self._agents.stop_runtime_session(agentRuntimeArn=self._agent_runtime_arn, runtimeSessionId=session_id)
        except (BotoCoreError, ClientError) as error:
            # It may be gone; and if it lives, its next heartbeat finds that the session has ended.
            logger.info("session %s: its agent was not stopped: %s", session_id, error)


def _told(event: object) -> list[tuple[str, str]] | None:
    """Return (session id, execution ARN) of the execution that ended, if it has a session; None if no one is told."""
    detail = event.get("detail") if isinstance(event, dict) else None
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
        boto3.client("bedrock-agentcore", config=config),
        state_machine_arn=settings.state_machine_arn,
        agent_runtime_arn=settings.agent_runtime_arn,
    )

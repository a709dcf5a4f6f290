"""A deployed Vigil stack, as a client sees it: on AWS or local, whichever the standard AWS environment leads to."""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from vigil.agent_log import LATE_SECONDS, AgentLog, LogLine
from vigil.artifacts import Artifacts
from vigil.errors import AwsUnavailable, SessionEnded, StackNotDeployed, StoppedByOperator
from vigil.journal import Journal
from vigil.names import EVENT_DETAIL_TYPE, EVENT_SOURCE, STACK, Env, Output
from vigil.session import Failure, check_detail

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

logger = logging.getLogger("vigil.deployment")

_CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3})


@dataclass(frozen=True)
class DeadLetter:
    """An event that never became a session."""

    event_id: str
    time: str
    reason: str

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> "DeadLetter":
        """Build it from a message of the rule's dead-letter queue: the event, and why it lies there as attributes."""
        # Anybody with the permission may put anything here.
        try:
            event = json.loads(message["Body"])
        except (KeyError, TypeError, ValueError, RecursionError):
            event = None
        event_id, time = (_text_of(event, name) or "?" for name in ("id", "time"))
        attributes = message.get("MessageAttributes")
        said = (
            _text_of(attributes.get(name) if isinstance(attributes, Mapping) else None, "StringValue")
            for name in ("ERROR_CODE", "ERROR_MESSAGE")
        )
        return cls(event_id, time, ": ".join(filter(None, said)) or "unknown")


def _text_of(data: object, name: str) -> str:
    value = data.get(name) if isinstance(data, Mapping) else None
    return value if isinstance(value, str) else ""


class Deployment:
    """The stack's resources by name, and what a client does with them. Raises AwsUnavailable or StackNotDeployed."""

    def __init__(self, session: boto3.Session | None = None, stack: str | None = None) -> None:
        with aws_errors():
            # boto3 itself reads AWS_DEFAULT_REGION only; every other AWS SDK knows this one.
            self._session = session or boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
        self._stack = stack or os.environ.get(Env.STACK) or STACK

    @cached_property
    def description(self) -> Mapping[str, Any]:
        """The stack as CloudFormation describes it."""
        try:
            with aws_errors():
                stacks = self.client("cloudformation").describe_stacks(StackName=self._stack)["Stacks"]
        except AwsUnavailable as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and "does not exist" in str(cause):
                raise StackNotDeployed(
                    f"no stack {self._stack} in {self._where()}: deploy it with `make deploy`, or start a local one"
                    " with `vigil local up` and set the variables that `vigil local env` prints"
                ) from error
            raise
        found: Mapping[str, Any] = stacks[0]
        return found

    @property
    def outputs(self) -> Mapping[str, str]:
        """The stack's outputs."""
        return {output["OutputKey"]: output["OutputValue"] for output in self.description.get("Outputs", [])}

    @property
    def region(self) -> str | None:
        """The region that the environment leads to."""
        return self._session.region_name

    def _where(self) -> str:
        return os.environ.get("AWS_ENDPOINT_URL") or f"region {self._session.region_name}"

    def client(self, service: str) -> Any:
        """Return a client of ``service`` where the stack is."""
        return self._session.client(service, config=_CONFIG)  # type: ignore[call-overload]

    def output(self, name: Output) -> str:
        """Return one of the stack's outputs."""
        try:
            return self.outputs[name]
        except KeyError:
            raise StackNotDeployed(f"stack {self._stack} has no output {name}: it is not Vigil's, or too old") from None

    @cached_property
    def journal(self) -> Journal:
        """The session records."""
        table = self.output(Output.TABLE)
        with aws_errors():
            return Journal.open(self._session, table, attempts=3)

    @cached_property
    def stepfunctions(self) -> "SFNClient":
        """The Step Functions client."""
        with aws_errors():
            client: SFNClient = self.client("stepfunctions")
        return client

    @property
    def state_machine_arn(self) -> str:
        """The workflow's ARN."""
        return self.output(Output.STATE_MACHINE)

    def artifacts(self, session_id: str) -> Artifacts:
        """Return the artifacts of a session."""
        bucket = self.output(Output.BUCKET)
        with aws_errors():
            return Artifacts(self.client("s3"), bucket, self.journal, session_id)

    def dead_letters(self) -> list[DeadLetter]:
        """Return events that could not start a workflow, at most ten; they stay where they are."""
        queue = self.output(Output.DEAD_LETTERS)
        with aws_errors():
            answer = self.client("sqs").receive_message(
                QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=0, MessageAttributeNames=["All"]
            )
        return [DeadLetter.from_message(message) for message in answer.get("Messages", [])]

    def agent_log(self, session_id: str, *, follow: bool = False, poll_seconds: float = 1.0) -> Iterator[LogLine]:
        """Yield what the session's agent printed and logged; with ``follow`` also what it does, until it has ended."""
        session = self.journal.get(session_id)
        with aws_errors():
            log = AgentLog(self._client("logs"), self._output(Output.AGENT_RUNTIME), session_id)
            yield from log.read(session.start_time, session.ended_at)
            if session.terminal or not follow:
                return
            while not session.terminal:
                time.sleep(poll_seconds)
                session = self.journal.get(session_id)
                yield from log.read(session.start_time)
            time.sleep(LATE_SECONDS)
            yield from log.read(session.start_time, session.ended_at)

    def stop(self, session_id: str, reason: str) -> None:
        """Fail the session as StoppedByOperator; its workflow, which wakes by it, stops the agent.

        Raises SessionEnded if it has ended, SessionNotFound if there is none.
        """
        session = self.journal.get(session_id)
        if session.terminal:
            raise SessionEnded(f"session {session_id} has ended: {session.status}")
        self.journal.fail(session_id, Failure(StoppedByOperator.__name__, " ".join(reason.split())))
        self._stop_agent(session_id)

    def _stop_agent(self, session_id: str) -> None:
        """Stop the agent ourselves too: the workflow may be gone."""
        try:
            self.client("bedrock-agentcore").stop_runtime_session(
                agentRuntimeArn=self.output(Output.AGENT_RUNTIME), runtimeSessionId=session_id
            )
        except (BotoCoreError, ClientError) as error:
            # It is gone already, or this user may not: then the next heartbeat ends the agent.
            logger.info("session %s: its agent was not stopped: %s", session_id, error)

    def trigger(self, detail: object) -> str:
        """Publish the event that starts a session and return the session's id, which is the event's."""
        body = json.dumps(check_detail(detail), ensure_ascii=False)
        # The event would vanish without a word if there were no stack whose rule takes it.
        self.output(Output.RULE)
        with aws_errors():
            answer = self.client("events").put_events(
                Entries=[{"Source": EVENT_SOURCE, "DetailType": EVENT_DETAIL_TYPE, "Detail": body}]
            )
        entry = answer["Entries"][0]
        if answer["FailedEntryCount"]:
            raise AwsUnavailable(f"EventBridge refused the event: {entry.get('ErrorCode')} {entry.get('ErrorMessage')}")
        return str(entry["EventId"])


@contextmanager
def aws_errors() -> Iterator[None]:
    """Turn botocore's errors into AwsUnavailable with one line that says what to do."""
    try:
        yield
    # ValueError: an endpoint or setting that is none. ResponseParserError: the answer of something that is not AWS.
    except (BotoCoreError, ClientError, ResponseParserError, ValueError) as error:
        name = type(error).__name__
        advice = {
            "NoCredentialsError": "no AWS credentials: set AWS_PROFILE",
            "NoRegionError": "no AWS region: set AWS_REGION",
        }
        if name in advice:
            raise AwsUnavailable(f"{advice[name]}, or run `eval $(vigil local env)` for a local stack") from error
        raise AwsUnavailable(" ".join(str(error).split())) from error

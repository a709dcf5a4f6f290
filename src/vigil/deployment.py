"""A deployed Vigil stack, as a client sees it: on AWS or local, as the standard AWS environment says."""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ReadTimeoutError,
    UnknownRegionError,
)
from botocore.exceptions import ConnectionError as NoConnection
from botocore.parsers import ResponseParserError

from vigil.agent_log import LATE_SECONDS, AgentLog, LogLine
from vigil.artifacts import Artifacts
from vigil.dead_letter import DeadLetter, all_messages, event_of, rule_input
from vigil.errors import (
    AwsUnavailable,
    InvalidDetail,
    InvalidInput,
    SessionEnded,
    SessionNotFound,
    StackNotDeployed,
    StoppedByOperator,
)
from vigil.journal import Journal
from vigil.names import EVENT_DETAIL_TYPE, EVENT_SOURCE, STACK, TICK_KEY, Env, OptionalOutput, Output
from vigil.schedule import Schedule
from vigil.session import Failure, Session, check_detail, runtime_session_id

logger = logging.getLogger("vigil.deployment")

_CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3})
# An event that is put twice starts two sessions: one whose answer is lost is not put again.
_CONFIGS = {"events": _CONFIG.merge(Config(retries={"mode": "standard", "total_max_attempts": 1}))}
_NAME = 80  # characters of an execution's name at most; an event's id has 36
_LISTING_SECONDS = 30  # how long a message of the dead-letter queue is at most hidden from others while it is listed
_RESENDING_SECONDS = 120  # the same, while it is sent again
_SERVICES = (
    *("cloudformation", "dynamodb", "events", "stepfunctions", "s3", "sqs", "logs", "scheduler", "bedrock-agentcore"),
)
NO_REASON = "no reason was given"
DELIVERY_SECONDS = 5.0  # how long a session may take to begin after its event was accepted, but for outages
_WRONG_KEY = {"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "InvalidSignatureException"}
"""Error codes for a key that the stack does not know, because it is another stack's."""


@dataclass(frozen=True)
class Resent:
    """The result of sending an event again."""

    letter: DeadLetter
    started: bool  # if False and not refused, the event was a session already
    refused: str | None = None  # why it was not sent. Its message stays in the queue


class Deployment:
    """The stack's resources by name, and what a client does with them. Raises AwsUnavailable or StackNotDeployed."""

    def __init__(self, session: boto3.Session | None = None, stack: str | None = None) -> None:
        with aws_errors():
            # boto3 itself reads only AWS_DEFAULT_REGION; other AWS SDKs read AWS_REGION.
            self._session = session or boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
            try:
                if region := self._session.region_name:
                    self._session.get_partition_for_region(region)
            except UnknownRegionError as error:
                raise AwsUnavailable(
                    f"AWS has no region {region!r}: set AWS_REGION, or --aws-region, to one such as us-east-1"
                ) from error
        self._stack = stack or os.environ.get(Env.STACK) or STACK
        self._clients: dict[str, Any] = {}
        self._lock = Lock()

    @cached_property
    def description(self) -> Mapping[str, Any]:
        """The stack as CloudFormation describes it."""
        try:
            with aws_errors():
                stacks = self.client("cloudformation").describe_stacks(StackName=self._stack)["Stacks"]
        except AwsUnavailable as error:
            if error_code(error) and "does not exist" in str(error):
                where = os.environ.get("AWS_ENDPOINT_URL") or f"region {self.region}"
                raise StackNotDeployed(
                    f"no stack {self._stack} in {where}: deploy it with `make deploy`, or start a local one"
                    " with `vigil local up` and set the variables that `vigil local env` prints"
                ) from error
            raise
        return dict(stacks[0])

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """The stack's outputs."""
        return {output["OutputKey"]: output["OutputValue"] for output in self.description.get("Outputs", [])}

    @cached_property
    def parameters(self) -> Mapping[str, str]:
        """The values of the stack's parameters."""
        return {given["ParameterKey"]: given["ParameterValue"] for given in self.description.get("Parameters", [])}

    @property
    def region(self) -> str | None:
        """The region that the environment leads to."""
        return self._session.region_name

    def client(self, service: str) -> Any:
        """Return a client of ``service`` where the stack is; for any thread."""
        # A session of boto3 makes one client at a time. A client is for all threads.
        with self._lock:
            if service not in self._clients:
                config = _CONFIGS.get(service, _CONFIG)
                self._clients[service] = self._session.client(service, config=config)  # type: ignore[call-overload]
            return self._clients[service]

    @property
    def is_local(self) -> bool:
        """Whether every service of the stack is on this machine: one endpoint of the environment may lead elsewhere."""
        with aws_errors():
            return all(is_local(self.client(service).meta.endpoint_url) for service in _SERVICES)

    @property
    def where(self) -> str:
        """Where the stack is, for a person."""
        account = self.output(Output.STATE_MACHINE).split(":")[4]
        local = f"local {urlsplit(self.stepfunctions.meta.endpoint_url).netloc}"
        return local if self.is_local else f"AWS {account} {self.region}"

    def output(self, name: Output) -> str:
        """Return one of the stack's outputs."""
        try:
            return self.outputs[name]
        except KeyError:
            raise StackNotDeployed(f"stack {self._stack} has no output {name}: it is not Vigil's, or too old") from None

    @cached_property
    def journal(self) -> Journal:
        """The session records."""
        with aws_errors():
            return Journal.open(self._session, self.output(Output.TABLE), attempts=3)

    @cached_property
    def stepfunctions(self) -> Any:
        """The Step Functions client."""
        with aws_errors():
            return self.client("stepfunctions")

    def artifacts(self, session_id: str) -> Artifacts:
        """Return the artifacts of a session."""
        with aws_errors():
            return Artifacts(self.client("s3"), self.output(Output.BUCKET), self.journal, session_id)

    def count_dead_letters(self) -> int:
        """Return about how many events could not start a workflow."""
        names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        queue = self.output(Output.DEAD_LETTERS)
        with aws_errors():
            answer = self.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    def dead_letters(self) -> list[DeadLetter]:
        """Return all events that could not start a workflow; they stay in the queue."""
        with aws_errors(), self._dead_messages(_LISTING_SECONDS) as (messages, _):
            return [DeadLetter.from_message(message) for message in messages]

    def resend_dead_letters(self) -> Iterator[Resent]:
        """Start the workflow for each event that could not start it, as the rule does, and yield the results.

        The event's id is the session's, and names the execution. So an event that is sent twice, after a crash between
        the two calls or by another user, runs once: Step Functions refuses the name, or InitializeSession the session.
        A message is deleted when its session exists or has been started.
        """
        with aws_errors(), self._dead_messages(_RESENDING_SECONDS) as (messages, delete):
            for message in messages:
                letter = DeadLetter.from_message(message)
                try:
                    session_id, execution_input = rule_input(event_of(message))
                    started = self._start(session_id, execution_input)
                except (InvalidInput, AwsUnavailable) as error:
                    yield Resent(letter, False, str(error))
                    continue
                delete(message)
                yield Resent(letter, started)

    def _dead_messages(self, seconds: int) -> AbstractContextManager[tuple[Iterator[Any], Callable[[Any], None]]]:
        return all_messages(self.client("sqs"), self.output(Output.DEAD_LETTERS), seconds)

    def _start(self, session_id: str, execution_input: str) -> bool:
        """Start the workflow of a session; return False if it has been started before."""
        with suppress(SessionNotFound):
            self.journal.get(session_id)
            return False
        arn, name = self.output(Output.STATE_MACHINE), session_id[:_NAME]
        try:
            with aws_errors():
                self.stepfunctions.start_execution(stateMachineArn=arn, name=name, input=execution_input)
        except AwsUnavailable as error:
            if error_code(error) == "ExecutionAlreadyExists":
                return False
            raise
        return True

    def schedule(self) -> Schedule | None:
        """Return the schedule that starts sessions; None if there is none."""
        if (name := self.outputs.get(OptionalOutput.SCHEDULE)) is None:
            return None
        with aws_errors():
            return Schedule.from_response(self.client("scheduler").get_schedule(Name=name))

    def await_session(self, session_id: str) -> Session:
        """Return the session, whose event may be on its way for DELIVERY_SECONDS. Raises SessionNotFound after that."""
        deadline = time.monotonic() + DELIVERY_SECONDS
        while True:
            try:
                return self.journal.get(session_id)
            except SessionNotFound:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def agent_log(self, session_id: str, *, follow: bool = False) -> Iterator[LogLine]:
        """Yield what the session's agent printed and logged; with ``follow`` also later lines, until it has ended."""
        session = self.await_session(session_id) if follow else self.journal.get(session_id)
        with aws_errors():
            log = AgentLog(self.client("logs"), self.output(Output.AGENT_RUNTIME), session_id)
            yield from log.read(session.start_time, session.ended_at)
            if session.terminal or not follow:
                return
            while not session.terminal:
                time.sleep(1)
                session = self.journal.get(session_id)
                yield from log.read(session.start_time)
            time.sleep(LATE_SECONDS)
            yield from log.read(session.start_time, session.ended_at)

    def stop(self, session_id: str, reason: str) -> None:
        """Fail the session as StoppedByOperator, which wakes its workflow, which stops the agent.

        Raises SessionEnded if it has ended, SessionNotFound if there is none.
        """
        session = self.journal.get(session_id)
        if session.terminal:
            raise SessionEnded(f"session {session_id} has ended: {session.status}")
        self.journal.fail(session_id, Failure(StoppedByOperator.__name__, " ".join(reason.split()) or NO_REASON))
        arn = self.output(Output.AGENT_RUNTIME)
        # Stop the agent directly too: the workflow may be gone.
        agent = runtime_session_id(session_id, session.attempt)
        try:
            self.client("bedrock-agentcore").stop_runtime_session(agentRuntimeArn=arn, runtimeSessionId=agent)
        except (BotoCoreError, ClientError) as error:
            # The agent is gone, or ends at its next heartbeat because this user may not stop it.
            logger.info("session %s: its agent was not stopped: %s", session_id, error)

    def trigger(self, detail: object) -> str:
        """Publish the event that starts a session and return the session's id, which is the event's."""
        if TICK_KEY in check_detail(detail):
            raise InvalidDetail(f"detail: {TICK_KEY} is the schedule's own: leave it out")
        body = json.dumps(detail, ensure_ascii=False)
        # Without a stack and its rule, EventBridge would drop the event silently.
        self.output(Output.RULE)
        event = {"Source": EVENT_SOURCE, "DetailType": EVENT_DETAIL_TYPE, "Detail": body}
        try:
            with aws_errors():
                answer = self.client("events").put_events(Entries=[event])
        except AwsUnavailable as error:
            if isinstance(error.__cause__, ReadTimeoutError | ConnectionClosedError):
                raise AwsUnavailable(f"{error}; look at `vigil sessions`: the session may have started") from error
            raise
        entry = answer["Entries"][0]
        if answer["FailedEntryCount"]:
            raise AwsUnavailable(f"EventBridge refused the event: {entry.get('ErrorCode')} {entry.get('ErrorMessage')}")
        return str(entry["EventId"])


def is_local(endpoint: str) -> bool:
    """Whether ``endpoint`` is on this machine, as a local stack's is."""
    try:
        return urlsplit(endpoint).hostname in ("127.0.0.1", "localhost")
    except ValueError:
        return False


def connection_advice(error: Exception) -> str:
    """Return what to do if AWS cannot be reached, or if the local stack is not the one of this shell."""
    cause = error.__cause__
    if isinstance(cause, NoConnection | ConnectionClosedError):
        what = "the local stack there is gone"
        if not is_local(str(cause.kwargs.get("endpoint_url"))):
            return "set AWS_REGION, or --aws-region, to a region that exists, such as us-east-1; look at the network"
    elif error_code(error) in _WRONG_KEY and is_local(os.environ.get("AWS_ENDPOINT_URL", "")):
        what = "another local stack runs there, and the one of this shell is gone"
    else:
        return ""
    return f"{what}, with its sessions: start one with `vigil local up`, and run `eval $(vigil local env)`"


@contextmanager
def aws_errors() -> Iterator[None]:
    """Turn botocore's errors into AwsUnavailable with one line that says what to do."""
    try:
        yield
    # ValueError: an endpoint or setting is invalid. ResponseParserError: something that is not AWS answered.
    except (BotoCoreError, ClientError, ResponseParserError, ValueError) as error:
        missing = {"NoCredentialsError": "credentials: set AWS_PROFILE", "NoRegionError": "region: set AWS_REGION"}
        if what := missing.get(type(error).__name__):
            raise AwsUnavailable(f"no AWS {what}, or run `eval $(vigil local env)` for a local stack") from error
        raise AwsUnavailable(" ".join(str(error).split())) from error


def error_code(error: Exception) -> str:
    """Return AWS's code of an error that `aws_errors` raised, or an empty string."""
    cause = error.__cause__
    return str(cause.response.get("Error", {}).get("Code", "")) if isinstance(cause, ClientError) else ""

"""The typed environment of each part, read once at its start, and all defaults."""

import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from vigil.errors import MissingSetting
from vigil.names import Env
from vigil.session import check_session_id

DEFAULT_AGENT = "lambda_costs.agent:cost_agent"
DEFAULT_MODEL = "global.anthropic.claude-sonnet-4-6"
BUDGET_DOLLARS = 5  # what the model calls of a session may cost
MAX_SCAN_DOLLARS = 5  # the most that an event may let the reading of an analysis cost

HEARTBEAT_SECONDS = 30
PROGRESS_SECONDS = 900  # longer than a model call with its retries. A tool that works longer must report its progress
MAX_ATTEMPTS = 3  # how often a session is begun or continued at most, after its agent was killed
LAST_ATTEMPT = 10  # the most that the parameter allows
STARTS_PER_SECOND = 25  # new sessions that AgentCore starts in a second, by its default quota
MAX_SESSION_SECONDS = 27_000  # seven and a half hours: AgentCore ends a session after eight, without a message


def require(environ: Mapping[str, str], name: str) -> str:
    """Return the environment variable ``name``, or raise MissingSetting that names it."""
    value = environ.get(name, "").strip()
    if not value:
        raise MissingSetting(f"environment variable {name} is not set")
    return value


def number(environ: Mapping[str, str], name: str, default: int, least: str = "0.01") -> Decimal:
    """Return the environment variable ``name``, a number from ``least``, such as dollars; or raise MissingSetting."""
    value = environ.get(name, "").strip() or str(default)
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", value) or Decimal(value) < Decimal(least):
        raise MissingSetting(f"environment variable {name} must be a number from {least}, not {value[:80]!r}")
    return Decimal(value)


def whole_number(environ: Mapping[str, str], name: str, default: int) -> int:
    """Return the environment variable ``name``, a number from 1, without its fraction: the stack's may have one."""
    return int(number(environ, name, default, least="1"))


@dataclass(frozen=True)
class InvokerSettings:
    """What the Lambda function that invokes the agent needs."""

    table: str
    bucket: str
    agent_runtime_arn: str
    max_session_seconds: int = MAX_SESSION_SECONDS
    starts_per_second: Decimal = Decimal(STARTS_PER_SECOND)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "InvokerSettings":
        """Read the settings, or raise MissingSetting."""
        return cls(
            table=require(environ, Env.TABLE),
            bucket=require(environ, Env.BUCKET),
            agent_runtime_arn=require(environ, Env.AGENT_RUNTIME_ARN),
            max_session_seconds=whole_number(environ, Env.MAX_SESSION_SECONDS, MAX_SESSION_SECONDS),
            starts_per_second=number(environ, Env.STARTS_PER_SECOND, STARTS_PER_SECOND),
        )


@dataclass(frozen=True)
class ReconcilerSettings:
    """What the Lambda function that closes abandoned sessions needs."""

    table: str
    state_machine_arn: str
    agent_runtime_arn: str

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "ReconcilerSettings":
        """Read the settings, or raise MissingSetting."""
        return cls(*(require(environ, name) for name in (Env.TABLE, Env.STATE_MACHINE_ARN, Env.AGENT_RUNTIME_ARN)))


@dataclass(frozen=True)
class RuntimeSettings:
    """What the runtime needs to supervise its session."""

    heartbeat_seconds: int
    progress_seconds: int
    max_attempts: int = MAX_ATTEMPTS

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "RuntimeSettings":
        """Read the settings, or raise MissingSetting."""
        return cls(
            whole_number(environ, Env.HEARTBEAT_SECONDS, HEARTBEAT_SECONDS),
            whole_number(environ, Env.PROGRESS_SECONDS, PROGRESS_SECONDS),
            whole_number(environ, Env.MAX_ATTEMPTS, MAX_ATTEMPTS),
        )


@dataclass(frozen=True)
class NotifierSettings:
    """What the Lambda function that publishes the ends of sessions needs."""

    table: str
    topic_arn: str
    dead_letters: str  # address of the queue
    stack: str
    region: str

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "NotifierSettings":
        """Read the settings, or raise MissingSetting."""
        names = (Env.TABLE, Env.TOPIC_ARN, Env.DEAD_LETTERS, Env.STACK, "AWS_REGION")
        return cls(*(require(environ, name) for name in names))

    @property
    def command(self) -> str:
        """The command line by which a person reaches this stack."""
        return f"VIGIL_STACK={self.stack} vigil --aws-region {self.region}"


@dataclass(frozen=True)
class WorkerSettings:
    """What one session's worker process needs."""

    session_id: str
    table: str
    bucket: str
    region: str
    agent: str
    model: str | None  # Bedrock model id; None leaves the choice to the agent factory
    budget_dollars: Decimal
    max_scan_dollars: Decimal  # the most that the session's event may let the reading of an analysis cost
    attempt: int  # of the session, from 1 on
    worker: str  # the unique name of this worker, which its runtime chose; the record holds it from BUSY on

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "WorkerSettings":
        """Read the settings, or raise MissingSetting or InvalidSessionId."""
        return cls(
            session_id=check_session_id(require(environ, Env.SESSION_ID)),
            table=require(environ, Env.TABLE),
            bucket=require(environ, Env.BUCKET),
            region=environ.get("AWS_REGION", "").strip() or require(environ, "AWS_DEFAULT_REGION"),
            agent=environ.get(Env.AGENT) or DEFAULT_AGENT,
            model=environ.get(Env.MODEL) or None,
            budget_dollars=number(environ, Env.BUDGET_DOLLARS, BUDGET_DOLLARS),
            max_scan_dollars=number(environ, Env.MAX_SCAN_DOLLARS, MAX_SCAN_DOLLARS),
            attempt=whole_number(environ, Env.ATTEMPT, 1),
            worker=environ.get(Env.WORKER) or str(uuid.uuid4()),
        )

"""Every error that Vigil raises on purpose.

    VigilError
    ├── InvalidInput        InvalidSessionId, InvalidDetail, InvalidArtifact, InvalidStatus, MissingSetting
    ├── SessionError        SessionNotFound, SessionEnded, SessionTaken, ReportMissing
    ├── AgentError          AgentNotAccepted, AgentThrottled, AgentQuotaExceeded, AgentUnavailable, AgentIncomplete,
    │                       AgentCutOff, AgentUnsupported, AgentCrashed, AgentLost, BudgetExceeded, AgentStopped
    ├── WorkflowEnded
    ├── StoppedByOperator
    └── EnvironmentProblem  StackNotDeployed, AwsUnavailable, LocalStackError

The class name is the error code that a person finds in the session record, the execution and the log. The workflow
sets codes that have no class: DuplicateSession, UnknownAttempt, UnknownStatus, RecordMissing, DeadlineExceeded.
docs/errors.md says what each code means and what to do.
"""

from collections.abc import Mapping
from typing import Any


class VigilError(Exception):
    """Root of the tree; its message is one line that a person understands."""

    code: str  # written to records and logs: the class name

    def __init_subclass__(cls) -> None:
        cls.code = cls.__name__


class InvalidInput(VigilError):
    """The caller's input is refused; nothing was written."""


class InvalidSessionId(InvalidInput):
    """A session id that AgentCore or our keys cannot carry."""


class InvalidDetail(InvalidInput):
    """The event's detail is not the agent's input."""


class InvalidArtifact(InvalidInput):
    """An artifact's name or size."""


class InvalidStatus(InvalidInput):
    """A status or a work phase that cannot be."""


class MissingSetting(InvalidInput):
    """An environment variable is missing or malformed."""


class SessionError(VigilError):
    """The session's state does not allow it."""


class SessionNotFound(SessionError):
    """No such session."""


class SessionEnded(SessionError):
    """The session's status is terminal and stays so."""

    def __init__(self, message: str, item: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.item = item or {}  # the session record as it stands, where the refused write was asked to return it


class SessionTaken(SessionError):
    """Another worker already runs the session."""


class ReportMissing(SessionError):
    """COMPLETED was asked for, but no report is saved."""


class AgentError(VigilError):
    """The agent failed."""


class AgentNotAccepted(AgentError):
    """AgentCore or the runtime refused the invocation; a retry does not help."""


class AgentThrottled(AgentError):
    """AgentCore starts no more sessions at the moment; the workflow waits in line."""


class AgentQuotaExceeded(AgentError):
    """AgentCore runs no more sessions at once; the workflow waits in line."""


class AgentUnavailable(AgentError):
    """AgentCore failed or could not be reached; the workflow tries again."""


class AgentIncomplete(AgentError):
    """The agent stopped without a result."""


class AgentCutOff(AgentError):
    """Something stopped the agent before its turn ended; ``code`` says what."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class AgentUnsupported(AgentError):
    """The factory returned an object whose model calls cannot be counted."""


class AgentCrashed(AgentError):
    """The worker process died before the session ended."""


class AgentLost(AgentError):
    """The agent sends no heartbeat, or makes no progress."""


class BudgetExceeded(AgentError):
    """The agent's model calls have cost what the session may spend."""


class AgentStopped(AgentError):
    """The agent's environment was shut down before the session ended."""


class WorkflowEnded(VigilError):
    """The workflow ended before the session did."""

    def __init__(self, how: str) -> None:
        super().__init__(f"its workflow ended without it: {how}")

    @classmethod
    def of(cls, execution: Mapping[str, Any]) -> "WorkflowEnded":
        """Return the error of a session whose execution ended, as Step Functions describes that."""
        reason = ": ".join(filter(None, (execution.get("error"), execution.get("cause"))))
        return cls(f"{execution['status']}{f', {reason}' if reason else ''}")


class StoppedByOperator(VigilError):
    """A user ran ``vigil stop``."""


class EnvironmentProblem(VigilError):
    """A problem of AWS, credentials, the stack, ports or the disk."""


class StackNotDeployed(EnvironmentProblem):
    """No Vigil stack where the command looked."""


class AwsUnavailable(EnvironmentProblem):
    """AWS refused or could not be reached."""


class LocalStackError(EnvironmentProblem):
    """The embedded AWS could not do what was asked."""

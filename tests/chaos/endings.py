"""Which endings of an attempt are retried: a table of docs/faults.md, whose rows the faults of the matrix show."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tests.chaos.matrix import End
from vigil.session import Status
from vigil.settings import MAX_ATTEMPTS


class Retried(StrEnum):
    """Whether another attempt continues the session."""

    YES = "yes"
    UNLESS_REPEATED = "yes, unless the attempt before ended in the same way in the same step"
    NO = "no"


@dataclass(frozen=True)
class Ending:
    """A way in which an attempt ends."""

    how: str
    retried: Retried
    faults: tuple[str, ...]
    """Names of the faults that show it."""

    def is_shown(self, promised: Mapping[str, End]) -> bool:
        """Whether the ends that the matrix promises for the faults are those of this ending."""
        ends = {(promised[fault].status, promised[fault].attempts) for fault in self.faults}
        match self.retried:
            case Retried.YES:
                return bool(ends) and ends <= {(Status.COMPLETED, attempts) for attempts in range(2, MAX_ATTEMPTS + 1)}
            case Retried.UNLESS_REPEATED:
                return ends == {(Status.COMPLETED, 2), (Status.FAILED, 2)}
            case Retried.NO:
                return ends in ({(Status.FAILED, 1)}, {(Status.FAILED, MAX_ATTEMPTS)})


ENDINGS = [
    Ending("The worker was killed from outside, by SIGKILL", Retried.YES,
           ("Worker killed before BUSY", "Worker killed twice")),
    Ending("The runtime was shut down by SIGTERM, for example for a deployment", Retried.YES,
           ("Runtime shut down",)),
    Ending("The runtime or its machine died, or never started the agent: no heartbeat", Retried.YES,
           ("Runtime process killed", "Runtime frozen, then thawed", "Accepted once, but no agent is started")),
    Ending("The worker crashed: an exit code, another signal, or Linux killed it since the memory was full",
           Retried.UNLESS_REPEATED, ("Worker crashes once", "Worker crashes every time")),
    Ending("The agent made no progress", Retried.UNLESS_REPEATED, ("Worker frozen", "Worker hangs in a tool")),
    Ending("The agent set FAILED", Retried.NO, ("Bucket denies",)),
    Ending("The agent raised an error, MemoryError among them", Retried.NO,
           ("Model unreachable", "Model answers malformed JSON", "Worker out of memory")),
    Ending("The input was invalid", Retried.NO, ("Invalid input",)),
    Ending("The budget was used up", Retried.NO, ("Budget used up",)),
    Ending("The deadline passed", Retried.NO, ("Deadline passes",)),
    Ending("The operator stopped the session", Retried.NO, ("Operator stops",)),
    Ending("The invocation failed, after the retries of the workflow", Retried.NO,
           ("AgentCore answers rubbish", "AgentCore answers 500 for ever", "Lambda function dies")),
    Ending("The workflow ended without the session", Retried.NO, ("Execution aborted",)),
    Ending("Any, after a Graph, a Swarm, a function or an Agent with background tasks has begun", Retried.NO,
           ("Worker of a function killed",)),
    Ending("Any, and the last checkpoint could not be saved", Retried.NO, ("Runtime process killed, no checkpoint",)),
    Ending("Any, in the last of MaxAttempts attempts", Retried.NO,
           ("Worker killed every time", "DynamoDB denies", "Accepted, but no agent is started")),
]  # fmt: skip

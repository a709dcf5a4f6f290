"""The session as an agent gets it: access to this session alone."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.loaders import create_loader
from botocore.utils import ContainerMetadataFetcher

from vigil.artifacts import Artifacts
from vigil.errors import InvalidArtifact, ReportMissing, VigilError
from vigil.journal import Journal
from vigil.names import REPORT
from vigil.session import Failure
from vigil.settings import WorkerSettings

_RETRIES = Config(retries={"mode": "standard", "total_max_attempts": 6})
# Optional services fail fast where the network does not reach them.
_OPTIONAL_CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
_OPTIONAL_SERVICES = frozenset({"pricing", "compute-optimizer", "application-autoscaling"})
# An account may call Lambda's API 15 times a second, that of logs less often. Adaptive mode slows down accordingly.
_ADAPTIVE = Config(retries={"mode": "adaptive", "total_max_attempts": 10})
BOTOCORE_DATA = create_loader()
"""One loader for all clients of a process and its forks: most of a client's cost is reading the services' models."""
# botocore waits 2 s for a role's credentials, which a laptop with many sessions may exceed.
ContainerMetadataFetcher.TIMEOUT_SECONDS = 10

PROGRESS_INTERVAL_SECONDS = 15.0  # the shortest time between two writes of the progress


def aws_session(region: str, key: str | None = None, secret: str | None = None) -> boto3.Session:
    """Return a boto3 session of ``region``, with the environment's credentials unless others are given."""
    core = botocore.session.get_session()
    core.register_component("data_loader", BOTOCORE_DATA)
    return boto3.Session(key, secret, region_name=region, botocore_session=core)


@dataclass
class _Progress:
    """The last progress if it is not written yet, and the time of the last write."""

    pending: str | None = None
    at: float = float("-inf")


@dataclass(frozen=True)
class AgentSession:
    """One session, as an agent factory receives it. The model supplies none of the fields."""

    session_id: str
    detail: dict[str, Any]  # the event's detail: the agent's input, which the agent must validate
    region: str
    agent: str
    model: str | None
    budget_dollars: Decimal  # the budget of the agent's model calls
    max_scan_dollars: Decimal  # the most that reading AWS data may cost, whatever the detail asks for
    attempt: int  # from 1 on: after its agent was killed, another attempt continues the session
    worker: str
    journal: Journal
    artifacts: Artifacts
    client: Callable[[str, str], Any]  # makes a boto3 client of (service, region)
    keep_alive: Callable[[str], None] = lambda doing: None
    """Tells the supervisor that the work goes on. Model calls and tool calls do this automatically."""
    clock: Callable[[], float] = time.monotonic
    started_at: datetime | None = None  # of the session, the same in each attempt; None before its worker has begun
    _progress: _Progress = field(default_factory=_Progress, init=False, repr=False)

    @classmethod
    def open(
        cls, settings: WorkerSettings, detail: dict[str, Any], keep_alive: Callable[[str], None] = lambda doing: None
    ) -> "AgentSession":
        """Connect the session that ``settings`` name to the table and the bucket."""
        aws = aws_session(settings.region)
        journal = Journal.open(aws, settings.table).acting_for(settings.worker, settings.attempt)
        # The names of table and bucket are not for the agent.
        fields = {name: value for name, value in vars(settings).items() if name not in ("table", "bucket")}
        return cls(
            **fields,
            detail=detail,
            journal=journal,
            artifacts=Artifacts(aws.client("s3", config=_RETRIES), settings.bucket, journal, settings.session_id),
            client=lambda service, region: aws.client(  # type: ignore[call-overload]
                service, region_name=region, config=_OPTIONAL_CONFIG if service in _OPTIONAL_SERVICES else _ADAPTIVE
            ),
            keep_alive=keep_alive,
        )

    def report_progress(self, progress: str) -> None:
        """Record how far the running work phase is, for people who watch the session; also counts as progress."""
        self.keep_alive(progress)
        self._progress.pending = progress
        if self.clock() - self._progress.at >= PROGRESS_INTERVAL_SECONDS:
            self.save_progress()

    def save_progress(self) -> None:
        """Write the last progress if it is not written yet, so that the record of a failure shows it."""
        if (progress := self._progress.pending) is not None:
            self._progress.pending, self._progress.at = None, self.clock()
            self.journal.record_progress(self.session_id, progress)

    def mark_busy(self) -> bool:
        """Set BUSY; False if it was set before. Raises SessionTaken if another worker runs the session."""
        return self.journal.mark_busy(self.session_id)

    def complete(self) -> None:
        """Set COMPLETED; raises ReportMissing while no report is saved."""
        try:
            report, headline = self.artifacts.uri_and_headline(REPORT)
        except InvalidArtifact as error:
            raise ReportMissing(f"session {self.session_id}: save {REPORT} before COMPLETED") from error
        self.journal.complete(self.session_id, report, headline)

    def fail(self, code: str, message: str) -> None:
        """Set FAILED with its cause."""
        with suppress(VigilError):
            # The progress only helps debugging. The session must fail without it too.
            self.save_progress()
        self.journal.fail(self.session_id, Failure(code, message))

"""What an agent gets to work with: its session, and nothing that would let it touch another."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
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
# What an analysis can do without must not hold it up where the network leads to none of it.
_BRIEF = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
_OPTIONAL = frozenset({"pricing", "compute-optimizer"})
# Lambda's API takes 15 calls a second of an account, that of logs fewer: adaptive mode slows down to what is taken.
_ADAPTIVE = Config(retries={"mode": "adaptive", "total_max_attempts": 10})
BOTOCORE_DATA = create_loader()
"""One loader for all clients of a process and its forks: most of a client's cost is reading the services' models."""
# botocore waits 2 s for a role's credentials, which a laptop with many sessions may exceed.
ContainerMetadataFetcher.TIMEOUT_SECONDS = 10

NOTE_SECONDS = 15.0
"""At most so often the record says how far the work is: each time is a write."""


def aws_session(region: str, key: str | None = None, secret: str | None = None) -> boto3.Session:
    """Return a boto3 session of ``region``, with the environment's credentials unless others are given."""
    core = botocore.session.get_session()
    core.register_component("data_loader", BOTOCORE_DATA)
    return boto3.Session(key, secret, region_name=region, botocore_session=core)


@dataclass
class _Noted:
    """The last note, while it is not written, and when one was."""

    pending: str | None = None
    at: float = float("-inf")


@dataclass(frozen=True)
class AgentSession:
    """One session, as an agent factory receives it. The model never supplies any of these."""

    session_id: str
    detail: dict[str, Any]
    """The event's detail: the agent's input, to be validated by the agent that knows its shape."""
    region: str
    agent: str
    model: str | None
    budget_dollars: Decimal
    """What the agent's model calls may cost."""
    max_scan_dollars: Decimal
    """What the detail may let the reading of an analysis cost, at most."""
    worker: str
    journal: Journal
    artifacts: Artifacts
    client: Callable[[str, str], Any]
    """Makes a boto3 client of (service, region)."""
    alive: Callable[[str], None] = lambda doing: None
    """Tells the supervisor that the work goes on. Model and tool calls do it by themselves."""
    clock: Callable[[], float] = time.monotonic
    _noted: _Noted = field(default_factory=_Noted, init=False, repr=False)

    @classmethod
    def open(
        cls, settings: WorkerSettings, detail: dict[str, Any], alive: Callable[[str], None] = lambda doing: None
    ) -> "AgentSession":
        """Connect the session that ``settings`` name to the table and the bucket."""
        aws = aws_session(settings.region)
        journal = Journal.open(aws, settings.table)
        return cls(
            session_id=settings.session_id,
            detail=detail,
            region=settings.region,
            agent=settings.agent,
            model=settings.model,
            budget_dollars=settings.budget_dollars,
            max_scan_dollars=settings.max_scan_dollars,
            worker=settings.worker,
            journal=journal,
            artifacts=Artifacts(aws.client("s3", config=_RETRIES), settings.bucket, journal, settings.session_id),
            client=lambda service, region: aws.client(  # type: ignore[call-overload]
                service, region_name=region, config=_BRIEF if service in _OPTIONAL else _ADAPTIVE
            ),
            alive=alive,
        )

    def note(self, progress: str) -> None:
        """Say how far the running work phase is: to who watches the session, and that the work goes on."""
        self.alive(progress)
        self._noted.pending = progress
        if self.clock() - self._noted.at >= NOTE_SECONDS:
            self.write_note()

    def write_note(self) -> None:
        """Write the last note, if it is not written: what fails next, failed there."""
        if (progress := self._noted.pending) is not None:
            self._noted.pending, self._noted.at = None, self.clock()
            self.journal.note(self.session_id, progress)

    def busy(self) -> bool:
        """Set BUSY; False if it was set before. Raises SessionTaken if another worker runs the session."""
        return self.journal.busy(self.session_id, self.worker)

    def complete(self) -> None:
        """Set COMPLETED; raises ReportMissing while no report is saved."""
        try:
            report = self.artifacts.uri(REPORT)
        except InvalidArtifact as error:
            raise ReportMissing(f"session {self.session_id}: save {REPORT} before COMPLETED") from error
        self.journal.complete(self.session_id, report)

    def fail(self, code: str, message: str) -> None:
        """Set FAILED with its cause."""
        with suppress(VigilError):
            # Only a trace: the session must fail without it, too.
            self.write_note()
        self.journal.fail(self.session_id, Failure(code, message))

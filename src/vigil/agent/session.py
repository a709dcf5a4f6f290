"""What an agent gets to work with: its session, and nothing that would let it touch another."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3

from vigil.artifacts import Artifacts
from vigil.errors import ReportMissing
from vigil.journal import Journal
from vigil.names import REPORT
from vigil.session import Failure
from vigil.settings import WorkerSettings


@dataclass(frozen=True)
class AgentSession:
    """One session, as an agent factory receives it. The model never supplies any of these."""

    session_id: str
    detail: dict[str, Any]
    """The event's detail: the agent's input, to be validated by the agent that knows its shape."""
    region: str
    model: str | None
    worker: str
    journal: Journal
    artifacts: Artifacts
    client: Callable[[str, str], Any]
    """Makes a boto3 client of (service, region)."""

    @classmethod
    def open(cls, settings: WorkerSettings, detail: dict[str, Any]) -> "AgentSession":
        """Connect the session that ``settings`` name to the table and the bucket."""
        aws = boto3.Session(region_name=settings.region)
        return cls(
            session_id=settings.session_id,
            detail=detail,
            region=settings.region,
            model=settings.model,
            worker=settings.worker,
            journal=Journal(aws.resource("dynamodb").Table(settings.table)),
            artifacts=Artifacts(aws.client("s3"), settings.bucket, settings.session_id),
            client=lambda service, region: aws.client(service, region_name=region),  # type: ignore[call-overload]
        )

    def busy(self) -> bool:
        """Set BUSY; False if it was set before."""
        return self.journal.busy(self.session_id, self.worker)

    def complete(self) -> None:
        """Set COMPLETED; raises ReportMissing while no report is saved."""
        if not self.artifacts.exists(REPORT):
            raise ReportMissing(f"session {self.session_id}: save {REPORT} before COMPLETED")
        self.journal.complete(self.session_id, self.artifacts.uri(REPORT))

    def fail(self, code: str, message: str) -> None:
        """Set FAILED with its cause."""
        self.journal.fail(self.session_id, Failure(code, message))

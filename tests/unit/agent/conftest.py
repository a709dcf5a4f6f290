"""A session as an agent gets it."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from vigil.agent.models import STAND_IN
from vigil.agent.session import AgentSession
from vigil.artifacts import Artifacts
from vigil.local.stack import LocalStack
from vigil.names import Env
from vigil.session import Status
from vigil.settings import WorkerSettings


@pytest.fixture(scope="package")
def opened(embedded: LocalStack, table: Any) -> Iterator[AgentSession]:
    """A session with its clients, which take long to make."""
    environment = {
        Env.SESSION_ID: str(uuid.uuid4()),
        Env.TABLE: table.name,
        Env.BUCKET: "artifacts",
        "AWS_REGION": "us-east-1",
        Env.MODEL: STAND_IN,
        Env.WORKER: "mine",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in embedded.environment().items():
            patch.setenv(name, value)
        yield AgentSession.open(WorkerSettings.from_env(environment), {})


@pytest.fixture
def session(opened: AgentSession, s3: Any, new_session: Callable[..., str]) -> AgentSession:
    """A session that a worker has begun."""
    session_id = new_session(Status.BUSY, worker=opened.worker)
    return replace(opened, session_id=session_id, artifacts=Artifacts(s3, "artifacts", session_id))

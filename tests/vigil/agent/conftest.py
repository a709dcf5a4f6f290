"""A session as an agent gets it."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from vigil.agent.models import STAND_IN
from vigil.agent.session import AgentSession
from vigil.agent.worker import run
from vigil.artifacts import Artifacts
from vigil.local.stack import LocalStack
from vigil.names import Env
from vigil.session import Session, Status
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
def begun(
    opened: AgentSession, artifacts_of: Callable[[str], Artifacts], new_session: Callable[..., str]
) -> Callable[..., AgentSession]:
    """Make a session that a worker has begun."""

    def make(**more: Any) -> AgentSession:
        session_id = new_session(Status.BUSY, worker=opened.worker)
        return replace(opened, session_id=session_id, artifacts=artifacts_of(session_id), **more)

    return make


@pytest.fixture
def session(begun: Callable[..., AgentSession]) -> AgentSession:
    """A session that a worker has begun."""
    return begun()


@pytest.fixture
def end_of(begun: Callable[..., AgentSession], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Session]:
    """Run a session with what a factory makes of it, and return its record."""

    def end(factory: Callable[[AgentSession], object], **more: Any) -> Session:
        monkeypatch.setattr("tests.agents.given", factory, raising=False)
        session = begun(agent="tests.agents:given", **more)
        run(session)
        return session.journal.get(session.session_id)

    return end

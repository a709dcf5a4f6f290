"""A table and a bucket of the deployed shape, and sessions in them."""

import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from vigil.artifacts import Artifacts
from vigil.journal import Journal
from vigil.local.stack import LocalSession, LocalStack
from vigil.names import INDEX_BY_START, INDEX_BY_STATUS
from vigil.session import Status

BUCKET = "artifacts"


def create_table(aws: LocalSession) -> Any:
    def key(partition: str, sort: str) -> Any:
        return [{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]

    return aws.resource("dynamodb").create_table(
        TableName="sessions",
        KeySchema=key("PK", "SK"),
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("PK", "SK", "status", "start_time")
        ],
        GlobalSecondaryIndexes=[
            {"IndexName": name, "KeySchema": key(partition, "start_time"), "Projection": {"ProjectionType": "ALL"}}
            for name, partition in ((INDEX_BY_START, "SK"), (INDEX_BY_STATUS, "status"))
        ],
        BillingMode="PAY_PER_REQUEST",
    )


@pytest.fixture(scope="session")
def embedded_table(embedded: LocalStack) -> Any:
    return create_table(embedded.session())


@pytest.fixture(scope="session")
def table(embedded_table: Any) -> Any:
    return embedded_table


@pytest.fixture(scope="session")
def moto() -> Iterator[LocalSession]:
    """A second DynamoDB: that of moto, at a port of loopback."""
    # It locks nothing: one request at a time makes its writes as atomic as DynamoDB's.
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield LocalSession(
        {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
    )
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def moto_table(moto: LocalSession) -> Any:
    return create_table(moto)


@pytest.fixture
def journal(table: Any) -> Journal:
    ticks = iter(range(10_000))
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    return Journal(table, now=lambda: begin + timedelta(seconds=next(ticks)))


@pytest.fixture
def new_session(table: Any) -> Callable[..., str]:
    """Write a record as the workflow does and return the session's id."""

    def write(status: str = Status.INITIATED, start_time: str = "2026-01-01T00:00:00.000Z", **more: object) -> str:
        session_id = str(uuid.uuid4())
        table.put_item(
            Item={
                "PK": session_id,
                "SK": "SESSION",
                "status": status,
                "start_time": start_time,
                "created_at": start_time,
                **more,
            }
        )
        return session_id

    return write


@pytest.fixture(scope="session")
def s3(embedded: LocalStack) -> Iterator[Any]:
    client = embedded.client("s3")
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture
def artifacts_of(s3: Any, journal: Journal) -> Callable[[str], Artifacts]:
    """Make the artifacts of a session."""
    return lambda session_id: Artifacts(s3, BUCKET, journal, session_id)


@pytest.fixture
def artifacts(artifacts_of: Callable[[str], Artifacts], new_session: Callable[..., str]) -> Artifacts:
    """The artifacts of a session that is BUSY."""
    return artifacts_of(new_session(Status.BUSY))

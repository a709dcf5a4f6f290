"""The DynamoDB table under the journal: connection, retries, queries, keys, and AWS's errors as Vigil's."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import DYNAMODB_CONTEXT, TypeDeserializer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from vigil.errors import AwsUnavailable, InvalidStatus, SessionEnded
from vigil.session import RECORD_SK, STEP_SK_PREFIX, TASK_SK_PREFIX

if TYPE_CHECKING:
    from boto3 import Session as AwsSession
    from mypy_boto3_dynamodb.service_resource import Table

# An agent may write a number with more digits than boto3 accepts: round it when it is read, and do not raise.
DYNAMODB_CONTEXT.clear_traps()

FAIL = (
    "SET #status = :failed, #error = :error, ended_at = :now, updated_at = :now,"
    " start_time = if_not_exists(start_time, :start), created_at = if_not_exists(created_at, :now),"
    " execution_arn = if_not_exists(execution_arn, :execution), expires_at = if_not_exists(expires_at, :expires)"
)
"""The update that fails a session, and creates its record if it is missing."""
Item = dict[str, Any]  # attributes by name
NOT_BUSY = "the session is not BUSY"
MAX_TEXT = 1000  # characters of a text that the agent writes into a record


def open_table(aws: "AwsSession", name: str, config: Config, attempts: int) -> "Table":
    """Connect to the table ``name``; a write that meets a transaction on the same item is repeated too."""
    with translate_errors():
        table = aws.resource("dynamodb", config=config).Table(name)
    retry: Callable[..., Any] = partial(_delay_after_conflict, attempts)
    table.meta.client.meta.events.register("needs-retry.dynamodb", retry)
    return table


def _delay_after_conflict(
    most: int, attempts: int, response: tuple[Any, dict[str, Any]] | None = None, **_: Any
) -> float | None:
    """Return the seconds until a write that met a transaction is repeated; botocore itself does not repeat it."""
    answer = response[1] if response else {}
    reasons = answer.get("CancellationReasons", ())
    if any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons):
        return None
    codes = {answer.get("Error", {}).get("Code"), *(reason.get("Code") for reason in reasons)}
    if attempts >= most or codes.isdisjoint({"TransactionConflict", "TransactionConflictException"}):
        return None
    return random.uniform(0, min(2.0, 0.05 * 2**attempts))


def query(table: "Table", session_id: str = "", **request: Any) -> Iterator[Item]:
    """Yield the items of every page; an error of AWS names the session ``session_id``."""
    with translate_errors(session_id):
        for page in table.meta.client.get_paginator("query").paginate(TableName=table.name, **request):
            yield from page["Items"]


def transact(table: "Table", session_id: str, items: list[Item], refused: str) -> None:
    """Make the writes of ``items`` in one transaction, the first of which is about the session's record.

    Raises SessionEnded if the record's condition fails, InvalidStatus for the reason ``refused`` if another one does.
    """
    items = [{action: {"TableName": table.name, **request} for action, request in item.items()} for item in items]
    try:
        with translate_errors(session_id):
            table.meta.client.transact_write_items(TransactItems=items)  # type: ignore[arg-type]
    except AwsUnavailable as error:
        cause = error.__cause__
        reasons = cause.response.get("CancellationReasons", ()) if isinstance(cause, ClientError) else ()
        failed = [reason.get("Code") == "ConditionalCheckFailed" for reason in reasons]
        if any(failed):
            if failed[0]:
                raise SessionEnded(f"session {session_id}: {NOT_BUSY}") from error
            raise InvalidStatus(f"session {session_id}: {refused}") from error
        raise


def item_key(partition: str, sort: str = RECORD_SK) -> dict[str, str]:
    """Return the key of an item, by default of the record of the session ``partition``."""
    return {"PK": partition, "SK": sort}


def task_key(session_id: str, number: int, name: str) -> dict[str, str]:
    """Return the key of a work phase."""
    # Three digits keep the order of the sort key the order of the phases.
    return item_key(session_id, f"{TASK_SK_PREFIX}{number:03}#{name}")


def step_key(session_id: str, slot: int) -> dict[str, str]:
    """Return the key of the step that is kept at ``slot``."""
    return item_key(session_id, f"{STEP_SK_PREFIX}{slot:04}")


def storable(text: str) -> str:
    """Return ``text`` as DynamoDB accepts it: bounded, and without surrogates, as in file names that are not UTF-8."""
    return text.encode(errors="backslashreplace").decode()[:MAX_TEXT]


@contextmanager
def translate_errors(session_id: str = "", refused: str = NOT_BUSY, about: str = "") -> Iterator[None]:
    """Raise SessionEnded, with the reason ``refused``, for a condition that fails, AwsUnavailable for other errors.

    The message begins with the session, or with ``about``.
    """
    prefix = f"session {session_id}: " if session_id else about and f"{about}: "
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        if isinstance(error, ClientError) and error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            found = error.response.get("Item", {})
            item = {name: TypeDeserializer().deserialize(value) for name, value in found.items()}  # type: ignore[attr-defined]
            raise SessionEnded(f"{prefix}{refused}", item) from error
        raise AwsUnavailable(f"{prefix}{error}") from error

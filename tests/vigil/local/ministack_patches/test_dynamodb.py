"""DynamoDB: writes are atomic."""

import json
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from ministack.services import dynamodb

from tests.vigil.local.ministack_patches.builders import KEYED_BY_PK
from vigil.local.ministack_patches import patching
from vigil.local.ministack_patches.dynamodb import write_atomically


@pytest.fixture
def patched_writes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Patch the writes of ministack in this process, and have its threads interrupt each other often."""
    for owner, name, replacement in patching.replacements:
        if replacement is write_atomically:
            monkeypatch.setattr(owner, name, patching.bind(replacement, getattr(owner, name)))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("patched_writes")
def test_all_writes_of_many_threads_to_one_item_are_kept() -> None:
    table, key = f"counted-{uuid.uuid4()}", {"PK": {"S": "key"}}
    dynamodb._create_table({"TableName": table, **KEYED_BY_PK})
    one = {":one": {"N": "1"}}
    add = {"TableName": table, "Key": key, "UpdateExpression": "ADD n :one", "ExpressionAttributeValues": one}
    with ThreadPoolExecutor(8) as pool:
        assert {status for status, _, _ in pool.map(lambda _: dynamodb._update_item(add), range(400))} == {200}
    assert json.loads(dynamodb._get_item({"TableName": table, "Key": key})[2])["Item"]["n"] == {"N": "400"}

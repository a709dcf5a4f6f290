"""DynamoDB: atomic writes, and the condition key of partitions."""

import json
import threading
from contextlib import suppress
from typing import Any

from ministack.core import iam_actions
from ministack.services import dynamodb

from vigil.local.ministack_patches.patching import replaces

_write_lock = threading.RLock()


@replaces(dynamodb, "_put_item", "_update_item", "_delete_item", "_batch_write_item", "_transact_write_items")
def write_atomically(write: Any, request: Any) -> Any:
    """AWS writes an item atomically; ministack reads, changes and stores it in the threads of many executions."""
    with _write_lock:
        return write(request)


@replaces(iam_actions, "dynamodb_service_context")
def add_leading_keys(condition_keys: Any, body: bytes) -> Any:
    """AWS sets dynamodb:LeadingKeys, by which a policy names the items of one partition; ministack does not."""
    context = condition_keys(body)
    with suppress(ValueError, LookupError, TypeError):
        context["dynamodb:LeadingKeys"] = list(json.loads(body)["Key"]["PK"].values())
    return context

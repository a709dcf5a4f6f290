"""Log groups of functions: how long they keep logs and how much they hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonprefix
from typing import Any

from lambda_costs.collect.inventory import Function


@dataclass(frozen=True)
class LogGroup:
    """A log group and the functions that write to it."""

    name: str
    functions: tuple[str, ...]  # sorted; the first gets the findings about the group
    retention_days: int | None  # None keeps logs for ever
    stored_bytes: int | None
    infrequent: bool = False  # of the class Infrequent Access

    def only_of(self, function: Function) -> bool:
        """Whether it is the function's default group and no other function of the request writes to it."""
        return function.uses_default_log_group and self.functions == (function.name,)


def describe_log_groups(logs: Any, functions: Sequence[Function]) -> dict[str, LogGroup]:
    """Return the log groups of ``functions`` (at least one, of one region) that exist, by name."""
    writers: dict[str, list[str]] = {}
    for function in functions:
        writers.setdefault(function.log_group, []).append(function.name)
    # One listing by the names' common prefix, since the API takes few calls a second.
    prefix = commonprefix(list(writers))  # noqa: RUF071 - a prefix of characters, not of path components
    pages = logs.get_paginator("describe_log_groups").paginate(**({"logGroupNamePrefix": prefix} if prefix else {}))
    return {
        name: LogGroup(
            name,
            tuple(sorted(writers[name])),
            group.get("retentionInDays"),
            group.get("storedBytes"),
            group.get("logGroupClass") == "INFREQUENT_ACCESS",
        )
        for page in pages
        for group in page["logGroups"]
        if (name := group["logGroupName"]) in writers
    }

"""Log groups of functions: how long they keep logs and how much they hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonprefix
from typing import Any

from lambda_costs.collect.inventory import Function
from lambda_costs.collect.report_lines import own_group


@dataclass(frozen=True)
class LogGroup:
    """A log group and the functions that write to it."""

    name: str
    functions: tuple[str, ...]
    """By name; a finding about the group goes to the first."""
    retention_days: int | None
    """None keeps logs for ever."""
    stored_bytes: int | None

    def only_of(self, function: Function) -> bool:
        """Whether it is the function's own by default, and no other function that was looked at writes to it."""
        return own_group(function) and self.functions == (function.name,)


def describe_log_groups(logs: Any, functions: Sequence[Function]) -> dict[str, LogGroup]:
    """Return the log groups of ``functions`` (at least one, of one region) that exist, by name."""
    writers: dict[str, list[str]] = {}
    for function in functions:
        writers.setdefault(function.log_group, []).append(function.name)
    # One listing of what the names have in common, not a call a group: the API takes few calls a second.
    prefix = commonprefix(list(writers))  # noqa: RUF071 - characters are meant, not path components
    pages = logs.get_paginator("describe_log_groups").paginate(**({"logGroupNamePrefix": prefix} if prefix else {}))
    return {
        group["logGroupName"]: LogGroup(
            group["logGroupName"],
            tuple(sorted(writers[group["logGroupName"]])),
            group.get("retentionInDays"),
            group.get("storedBytes"),
        )
        for page in pages
        for group in page["logGroups"]
        if group["logGroupName"] in writers
    }

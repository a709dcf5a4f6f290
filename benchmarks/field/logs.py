"""CloudWatch Logs: log groups, FilterLogEvents, and the texts of REPORT lines.

By the API Reference (FilterLogEvents): a page has at most 10,000 events or 1 MB, and may have fewer, or none, before
the end; events come in the order of time; a log group of the class Infrequent Access is refused.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from benchmarks.field.account import NUMBER, REGION, Account
from benchmarks.field.function import DAY, MONTH, PAST_DAYS, Function
from benchmarks.field.machine import Run, Status
from benchmarks.field.metrics import logged_bytes

PAGE_EVENTS = 10_000
PAGE_BYTES = 1_000_000
SCANNED_BYTES = 50_000_000
"""What one call goes through before it returns what it has: AWS gives no number, only that pages may be empty."""


class Refused(Exception):
    """AWS refuses a call; the message is the error's code."""


@dataclass(frozen=True)
class Event:
    """A log event."""

    group: str
    stream: str
    at_ms: int
    message: str
    run: Run


def report_of(function: Function, item: Run) -> str:
    """Return what Lambda logs at the end of an invocation, as text or as JSON."""
    identifier = request_id(function, item)
    if function.json_logs:
        return _json_report(item, identifier)
    status = {
        Status.TIMEOUT: "Status: timeout\t",
        Status.OUT_OF_MEMORY: "Status: error\tError Type: Runtime.OutOfMemory\t",
    }
    return (
        f"REPORT RequestId: {identifier}\tDuration: {item.duration_ms:.2f} ms\tBilled Duration: {item.billed_ms} ms\t"
        f"Memory Size: {item.memory_mb} MB\tMax Memory Used: {item.used_mb} MB\t"
        + (f"Init Duration: {item.init_ms:.2f} ms\t" if item.init_ms else "")
        + (
            f"Restore Duration: {item.restore_ms:.2f} ms\tBilled Restore Duration: {math.ceil(item.restore_ms)} ms\t"
            if item.restore_ms
            else ""
        )
        # An exception that the function raises leaves no status in a text.
        + status.get(item.status, "")
        + "\n"
    )


def _json_report(item: Run, identifier: str) -> str:
    metrics: dict[str, float] = {
        "durationMs": item.duration_ms, "billedDurationMs": item.billed_ms,
        "memorySizeMB": item.memory_mb, "maxMemoryUsedMB": item.used_mb,
    }  # fmt: skip
    if item.init_ms:
        metrics["initDurationMs"] = item.init_ms
    if item.restore_ms:
        metrics |= {"restoreDurationMs": item.restore_ms, "billedRestoreDurationMs": math.ceil(item.restore_ms)}
    record: dict[str, Any] = {"requestId": identifier, "metrics": metrics}
    record["status"] = {Status.FINE: "success", Status.TIMEOUT: "timeout"}.get(item.status, "error")
    if item.status == Status.OUT_OF_MEMORY:
        record["errorType"] = "Runtime.OutOfMemory"
    at = datetime.fromtimestamp(0, UTC).isoformat()
    return json.dumps({"time": at, "type": "platform.report", "record": record})


def request_id(function: Function, item: Run) -> str:
    """Return the id of an invocation's request."""
    text = sha256(f"{function.name}/{item.at!r}".encode()).hexdigest()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:32]}"


class Logs:
    """The log groups of one account."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._writers: dict[str, list[Function]] = {}
        for function in account.functions:
            if function.group_days >= 0:
                self._writers.setdefault(function.log_group, []).append(function)
        self._events: dict[str, list[tuple[float, Function, Run]]] = {}

    def describe_log_groups(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one page of log groups."""
        prefix, pattern = asked.get("logGroupNamePrefix", ""), asked.get("logGroupNamePattern", "")
        names = sorted(name for name in self._writers if name.startswith(prefix) and pattern in name)
        first, limit = int(asked.get("nextToken", 0)), asked.get("limit", 50)
        more = {"nextToken": str(first + limit)} if first + limit < len(names) else {}
        return {"logGroups": [self._describe(name) for name in names[first : first + limit]], **more}

    def _describe(self, name: str) -> dict[str, Any]:
        function = self._writers[name][0]
        arn = f"arn:aws:logs:{REGION}:{NUMBER}:log-group:{name}"
        retention = {"retentionInDays": function.retention} if function.retention else {}
        return {
            "logGroupName": name, "arn": f"{arn}:*", "logGroupArn": arn,
            "creationTime": int(1000 * (self.account.midnight - function.group_days * DAY)),
            "storedBytes": int(sum(stored_bytes(self.account, name))), "metricFilterCount": 0,
            "logGroupClass": "INFREQUENT_ACCESS" if function.infrequent else "STANDARD", **retention,
        }  # fmt: skip

    def check(self, group: str, *, filtering: bool) -> Function:
        """Return the first writer of a log group that may be read; raises Refused."""
        if group not in self._writers:
            raise Refused("ResourceNotFoundException")
        function = self._writers[group][0]
        if function.denied:
            raise Refused("AccessDeniedException")
        if filtering and function.infrequent:
            raise Refused("InvalidOperationException")
        return function

    def between(self, group: str, first: float, last: float) -> Iterator[tuple[float, Function, Run]]:
        """Yield (end, function, run) of [first, last) that have not expired, in the order of their ends."""
        if group not in self._events:
            self._events[group] = sorted(
                (item.end, function, item)
                for function in self._writers[group]
                for item in self.account.seen(function)
                if item.end < self.account.clock and item.end >= -function.group_days * DAY
            )
        retention = self._writers[group][0].retention
        if retention:
            first = max(first, self.account.clock - retention * DAY)
        return (row for row in self._events[group] if first <= row[0] < last)

    def filter_log_events(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one page."""
        group = asked.get("logGroupName") or asked["logGroupIdentifier"]
        self.check(group, filtering=True)
        midnight = self.account.midnight
        first = asked.get("startTime", 0) / 1000 - midnight
        last = (asked["endTime"] + 1) / 1000 - midnight if "endTime" in asked else math.inf
        pattern = asked.get("filterPattern", "")
        skip = int(asked.get("nextToken", 0))
        limit = min(PAGE_EVENTS, asked.get("limit", PAGE_EVENTS))
        rows = list(self.between(group, first, last))
        if asked.get("startFromHead") is False:
            rows.reverse()
        events: list[dict[str, Any]] = []
        size = scanned = 0.0
        done = skip
        for row in rows[skip:]:
            found = [event for event in events_of(row, group, midnight, pattern) if matches(pattern, event.message)]
            size += sum(len(event.message) + 26 for event in found)
            if events and (len(events) + len(found) > limit or size > PAGE_BYTES):
                break
            scanned += logged_bytes(row[1])
            events += [_told(event) for event in found]
            done += 1
            if scanned > SCANNED_BYTES:
                break
        more = {"nextToken": str(done)} if done < len(rows) else {}
        return {"events": events, "searchedLogStreams": [], **more}


def events_of(row: tuple[float, Function, Run], group: str, midnight: float, pattern: str) -> Iterator[Event]:
    """Yield what one invocation logged that may match ``pattern``."""
    end, function, item = row
    stream = stream_of(function, item, midnight)
    if not function.json_logs and not any(word in pattern for word in ("REPORT", "Duration", "Status: timeout")):
        identifier = request_id(function, item)
        yield Event(
            group, stream, int(1000 * (item.at + midnight)), f"START RequestId: {identifier} Version: $LATEST\n", item
        )
        yield Event(group, stream, int(1000 * (end + midnight)), f"END RequestId: {identifier}\n", item)
    yield Event(group, stream, int(1000 * (end + midnight)), report_of(function, item), item)


def stream_of(function: Function, item: Run, midnight: float) -> str:
    """Return the name of an invocation's log stream, which names the function where the group is not its own."""
    day = datetime.fromtimestamp(midnight + item.at, UTC)
    version = "2" if item.second else "1" if item.alias else "$LATEST"
    environment = sha256(f"{function.name}/{item.at // function.lifetime_s}".encode()).hexdigest()[:32]
    return f"{day:%Y/%m/%d}/{function.name if function.group else ''}[{version}]{environment}"


def _told(event: Event) -> dict[str, Any]:
    identifier = sha256(f"{event.stream}{event.at_ms}{event.message}".encode()).hexdigest()[:40]
    told = {"logStreamName": event.stream, "timestamp": event.at_ms, "message": event.message}
    return {**told, "ingestionTime": event.at_ms + 900, "eventId": identifier}


def matches(pattern: str, message: str) -> bool:
    """Return whether a message matches a filter pattern: all of its terms, any of those with ``?``, or JSON's."""
    if pattern.startswith("{"):
        try:
            document = json.loads(message)
        except ValueError:
            return False
        return all(_holds(document, *found) for found in re.findall(r'\$\.([\w.]+)\s*(!?=)\s*"?([^"&}\s]+)"?', pattern))
    terms = re.findall(r'([?-]?)(?:"([^"]*)"|(\S+))', pattern)
    words = [(sign, quoted or plain) for sign, quoted, plain in terms]
    optional = [word for sign, word in words if sign == "?"]
    return all((word in message) == (sign == "") for sign, word in words if sign != "?") and (
        not optional or any(word in message for word in optional)
    )


def _holds(document: Any, path: str, operator: str, value: str) -> bool:
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return (str(document) == value) == (operator == "=")


def stored_bytes(account: Account, group: str) -> tuple[float, float]:
    """Return what a log group keeps that is older than 30 days, and what is younger."""
    old = young = 0.0
    for function in account.functions:
        if function.log_group != group or function.group_days < 0:
            continue
        each = logged_bytes(function) * account.kept_share
        kept = min(function.group_days, function.retention or PAST_DAYS)
        days = range(-kept, -MONTH)
        old += each * sum(function.arrivals.rate(day, account.today) for day in days)
        young += each * sum(-min(kept, MONTH) * DAY <= item.at for item in account.seen(function))
    return old, young

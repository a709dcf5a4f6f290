"""The agent's log: each line names its session. Only this module reads it from CloudWatch Logs."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from vigil.attributes import iso
from vigil.text import visible

LATE_SECONDS = 5.0  # how long after the session's end its last lines may appear
_CLOCK_SKEW = timedelta(minutes=10)  # how far the clocks of Step Functions, the agent and CloudWatch Logs may differ
_LINE = re.compile(r"(?P<at>\d{4}-\d\d-\d\dT[0-9:.]+Z) (?P<session_id>\S+) (?P<text>.*)", re.DOTALL)


@dataclass(frozen=True)
class LogLine:
    """A line that a session's agent printed, and when (ISO 8601, UTC)."""

    at: str
    session_id: str
    text: str

    def __str__(self) -> str:
        return f"{self.at} {self.session_id} {self.text}"


def attribute(session_id: str, text: str) -> str:
    """Return ``text`` as lines of the log: visible, each with the time and the session's id."""
    now = iso(datetime.now(UTC))
    return "".join(f"{LogLine(now, session_id, line)}\n" for line in visible(text.removesuffix("\n")).split("\n"))


def parse_line(line: str) -> LogLine | None:
    """Parse a line of the log; return None if it names no session."""
    match = _LINE.fullmatch(line.removesuffix("\n"))
    return LogLine(**match.groupdict()) if match else None


def log_group(runtime_arn: str) -> str:
    """Return the log group of a runtime's agents ("View observability data", AgentCore Developer Guide)."""
    return f"/aws/bedrock-agentcore/runtimes/{runtime_arn.rpartition('/')[2]}-DEFAULT"


class AgentLog:
    """What the agent of one session printed and logged. ``client`` is one of CloudWatch Logs."""

    def __init__(self, client: Any, runtime_arn: str, session_id: str) -> None:
        self._client = client
        self._group = log_group(runtime_arn)
        self._session_id = session_id
        self._since = 0
        self._seen: set[str] = set()

    def read(self, start: str, end: str | None = None) -> Iterator[LogLine]:
        """Yield the lines that were not read before, of a session that lasted from ``start`` to ``end``.

        Raises ClientError or BotoCoreError.
        """
        since = max(self._since, _milliseconds(start, -_CLOCK_SKEW, 0))
        until: Mapping[str, Any] = {"endTime": _milliseconds(end, _CLOCK_SKEW, 2**53)} if end else {}
        pages = self._client.get_paginator("filter_log_events").paginate(
            logGroupName=self._group,
            # AgentCore names a stream after the machine, not after the session.
            filterPattern=f'"{self._session_id}"',
            startTime=since,
            **until,
        )
        try:
            for event in (event for page in pages for event in page["events"]):
                if event["eventId"] not in self._seen:
                    self._seen.add(event["eventId"])
                    # Lines that appear late are found by the next read.
                    self._since = max(self._since, event["timestamp"] - int(LATE_SECONDS * 1000))
                    line = parse_line(event["message"])
                    # The agent of another session may print this session's id.
                    if line and line.session_id == self._session_id:
                        yield line
        except ClientError as error:
            # No session has printed anything yet.
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise


def _milliseconds(moment: str, shift: timedelta, default: int) -> int:
    try:
        return max(0, int((datetime.fromisoformat(moment) + shift).timestamp() * 1000))
    except (ValueError, OverflowError, TypeError):
        # An agent's role may write any text as a timestamp.
        return default

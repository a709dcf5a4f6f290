"""The agent's log: how each of its lines names its session, and the only code that reads it from CloudWatch Logs."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from vigil.session import iso
from vigil.text import visible

LATE_SECONDS = 5.0
"""How much later than the session's end its last lines may be there to read."""
_AROUND = timedelta(minutes=10)
"""How far the clocks of Step Functions, of the agent and of CloudWatch Logs may be apart."""
_LINE = re.compile(r"(?P<at>\d{4}-\d\d-\d\dT[0-9:.]+Z) (?P<session_id>\S+) (?P<text>.*)", re.DOTALL)


@dataclass(frozen=True)
class LogLine:
    """A line of a session's agent: when it was printed (ISO 8601, UTC), and what it says."""

    at: str
    session_id: str
    text: str

    def __str__(self) -> str:
        """Return it as it stands in the log."""
        return f"{self.at} {self.session_id} {self.text}"


def attribute(session_id: str, text: str) -> str:
    """Return ``text`` as lines of the log, each with the time and the session's id, and visible."""
    now = iso(datetime.now(UTC))
    return "".join(f"{LogLine(now, session_id, line)}\n" for line in visible(text.removesuffix("\n")).split("\n"))


def parse_line(line: str) -> LogLine | None:
    """Return a line of the log; None if it is of no session."""
    match = _LINE.fullmatch(line.removesuffix("\n"))
    return LogLine(**match.groupdict()) if match else None


def log_group(runtime_arn: str) -> str:
    """Return where AgentCore writes what the agents of a runtime print ("View observability data", its guide)."""
    return f"/aws/bedrock-agentcore/runtimes/{runtime_arn.rpartition('/')[2]}-DEFAULT"


class AgentLog:
    """What the agent of one session printed and logged, read with ``client``, of CloudWatch Logs."""

    def __init__(self, client: Any, runtime_arn: str, session_id: str) -> None:
        self._client = client
        self._group = log_group(runtime_arn)
        self._session_id = session_id
        self._since = 0
        self._seen: set[str] = set()

    def read(self, begun: str, ended: str | None = None) -> Iterator[LogLine]:
        """Yield the lines that were not read before, of a session that lasted from ``begun`` to ``ended``.

        Raises ClientError or BotoCoreError.
        """
        since = max(self._since, _milliseconds(begun, -_AROUND, 0))
        until: Mapping[str, Any] = {"endTime": _milliseconds(ended, _AROUND, 2**53)} if ended else {}
        pages = self._client.get_paginator("filter_log_events").paginate(
            logGroupName=self._group,
            # AgentCore names a stream by the machine, and not by the session: so each line names it.
            filterPattern=f'"{self._session_id}"',
            startTime=since,
            **until,
        )
        try:
            for event in (event for page in pages for event in page["events"]):
                if event["eventId"] not in self._seen:
                    self._seen.add(event["eventId"])
                    # What comes late is found when this is read again.
                    self._since = max(self._since, event["timestamp"] - int(LATE_SECONDS * 1000))
                    line = parse_line(event["message"])
                    # Another session's agent may print this one's id.
                    if line and line.session_id == self._session_id:
                        yield line
        except ClientError as error:
            # Nothing was printed yet, by any session.
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise


def _milliseconds(moment: str, shift: timedelta, otherwise: int) -> int:
    try:
        return max(0, int((datetime.fromisoformat(moment) + shift).timestamp() * 1000))
    except (ValueError, OverflowError, TypeError):
        # An agent's role may write anything there.
        return otherwise

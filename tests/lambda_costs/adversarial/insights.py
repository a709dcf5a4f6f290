"""The part of CloudWatch Logs Insights that our queries use; the embedded AWS returns raw rows.

Follows the CloudWatch Logs User Guide ("CloudWatch Logs Insights query commands", "Supported logs and discovered
fields"): a condition on a field that an event does not have is not met, and arithmetic with it gives nothing.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import count
from string import ascii_letters
from types import CodeType
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from tests.lambda_costs.adversarial.faults import Clients, answer, body_of

_TOKEN = re.compile(r'"[^"]*"|\d+(?:\.\d+)?|@?[A-Za-z_][\w.]*|[<>]=?|!=|=|[-+*/(),]|\s+')
_WORDS = {"and": "and", "or": "or", "not": "not", "coalesce": "coalesce", "=": "=="}
_DISCOVERED = {
    "@duration": (r"\tDuration: ([\d.]+) ms", 1),
    "@billedDuration": (r"\tBilled Duration: ([\d.]+) ms", 1),
    "@memorySize": (r"\tMemory Size: (\d+) MB", 1_000_000),
    "@maxMemoryUsed": (r"\tMax Memory Used: (\d+) MB", 1_000_000),
    "@initDuration": (r"\tInit Duration: ([\d.]+) ms", 1),
}


class _Nothing:
    """The value of a field that an event does not have."""

    def _nothing(self, other: object) -> "_Nothing":
        return self

    def _never(self, other: object) -> bool:
        return False

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _nothing
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = _never
    __hash__ = None  # type: ignore[assignment]


_NOTHING = _Nothing()


@dataclass(frozen=True)
class Event:
    """A log event."""

    group: str
    timestamp: int
    message: str


class LogsInsights:
    """Answers StartQuery and GetQueryResults over the events that a client reads."""

    def __init__(self, logs: Any, status: str = "Complete") -> None:
        self._logs, self._status = logs, status
        self._ids = count()
        self._asked: dict[str, dict[str, Any]] = {}
        self.groups: list[str] = []
        """Those that were queried."""

    def start(self, request: AWSPreparedRequest) -> AWSResponse:
        """Answer StartQuery."""
        asked = json.loads(body_of(request))
        self.groups += asked["logGroupNames"]
        identifier = f"query-{next(self._ids)}"
        self._asked[identifier] = asked
        return answer(request, {"queryId": identifier})

    def results(self, request: AWSPreparedRequest) -> AWSResponse:
        """Answer GetQueryResults."""
        asked = self._asked[json.loads(body_of(request))["queryId"]]
        rows = run(asked["queryString"], self._events(asked)) if self._status == "Complete" else []
        cells = [[{"field": name, "value": value} for name, value in row.items()] for row in rows]
        return answer(request, {"status": self._status, "results": cells})

    def _events(self, asked: Mapping[str, Any]) -> Iterable[Event]:
        for group in asked["logGroupNames"]:
            found = self._logs.filter_log_events(
                logGroupName=group, startTime=asked["startTime"] * 1000, endTime=asked["endTime"] * 1000 + 999
            )
            yield from (Event(group, event["timestamp"], event["message"]) for event in found["events"])


@contextmanager
def logs_insights(clients: Clients, status: str = "Complete") -> Iterator[LogsInsights]:
    """Have Logs Insights answer the queries of ``clients``; each query ends as ``status``."""
    insights = LogsInsights(clients("logs", "us-east-1"), status)
    with clients.sending("logs.StartQuery", insights.start), clients.sending("logs.GetQueryResults", insights.results):
        yield insights


def run(query: str, events: Iterable[Event]) -> list[dict[str, str]]:
    """Return the rows that ``query``, which must end in ``stats``, gives."""
    rows = [_discovered(event) for event in events]
    for command in re.split(r"\n\s*\|\s*", query):
        verb, _, rest = command.partition(" ")
        if verb == "filter":
            rows = [row for row in rows if _holds(rest, row)]
        elif verb == "parse":
            found = re.fullmatch(r"(\S+) /(.*)/", rest)
            assert found
            pattern = re.compile(found[2].replace("(?<", "(?P<"))
            for row in rows:
                if match := pattern.search(str(row[found[1]])):
                    row.update(match.groupdict())
        elif verb == "fields":
            for row in rows:
                row.update({name: _value(text, row) for text, name in map(_named, _list(rest))})
        elif verb == "stats":
            rows = _stats(rest, rows)
        else:
            assert verb == "limit", command
            rows = rows[: int(rest)]
    return [{name: str(value) for name, value in row.items() if value is not _NOTHING} for row in rows]


def _discovered(event: Event) -> dict[str, Any]:
    moment = datetime.fromtimestamp(event.timestamp / 1000, UTC)
    row: dict[str, Any] = {"@log": f"000000000000:{event.group}", "@message": event.message, "@timestamp": moment}
    if event.message.startswith("REPORT RequestId:"):
        row["@type"] = "REPORT"
        for name, (pattern, unit) in _DISCOVERED.items():
            if match := re.search(pattern, event.message):
                row[name] = float(match[1]) * unit
    elif event.message.startswith("{"):
        with suppress(ValueError, RecursionError):
            row.update(_flat("", json.loads(event.message)))
    return row


def _flat(prefix: str, value: object) -> dict[str, Any]:
    if isinstance(value, dict):
        return {name: item for key, part in value.items() for name, item in _flat(f"{prefix}{key}.", part).items()}
    if isinstance(value, str):
        with suppress(ValueError):
            value = float(value)
    return {prefix.removesuffix("."): value}


def _stats(text: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    columns, _, by = text.partition(" by ")
    keys = [_named(item) for item in _list(by)]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[tuple(_value(text, row) for text, _ in keys)].append(row)
    return [
        {
            **dict(zip((name for _, name in keys), key, strict=True)),
            **{name: _aggregate(text, group) for text, name in map(_named, _list(columns))},
        }
        for key, group in groups.items()
    ]


def _aggregate(text: str, rows: list[dict[str, Any]]) -> Any:
    match = re.fullmatch(r"(count|sum|max)\((.*)\)", text)
    assert match, text
    if match[2] == "*":
        return len(rows)
    values = [value for row in rows if (value := _value(match[2], row)) is not _NOTHING]
    if match[1] == "count":
        return len(values)
    return (sum(values) if match[1] == "sum" else max(values)) if values else _NOTHING


def _list(text: str) -> list[str]:
    return [item.strip() for item in re.split(r",(?![^(]*\))", text)]


def _named(text: str) -> tuple[str, str]:
    value, _, name = text.partition(" as ")
    return value, name or value


def _holds(condition: str, row: Mapping[str, Any]) -> bool:
    try:
        return bool(_value(condition, row))
    except TypeError:  # a text where a number is compared
        return False


def _value(text: str, row: Mapping[str, Any]) -> Any:
    if text == "bin(1d)":
        return row["@timestamp"].strftime("%Y-%m-%d 00:00:00.000")
    names = {
        "__builtins__": {},
        "get": lambda name: row.get(name, _NOTHING),
        "coalesce": lambda *values: next((value for value in values if value is not _NOTHING), _NOTHING),
    }
    return eval(_compiled(text), names)


@cache
def _compiled(text: str) -> CodeType:
    """Return an expression of our own queries as Python's."""
    tokens = _TOKEN.findall(text)
    assert "".join(tokens) == text, text
    code = (f"get({token!r})" if token[0] in "@" + ascii_letters and token not in _WORDS else token for token in tokens)
    return compile("".join(_WORDS.get(token, token) for token in code), text, "eval")

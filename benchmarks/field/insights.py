"""Logs Insights: runs queries of its language over the REPORT lines of an account.

By the CloudWatch Logs User Guide ("CloudWatch Logs Insights query commands", "Supported logs and discovered fields"): a
condition on a field that an event does not have is not met, and arithmetic with it gives nothing. Sizes of memory are
decimal bytes. There are only REPORT lines, none of the function itself.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from statistics import fmean, pstdev
from string import ascii_letters
from typing import Any

from benchmarks.field.account import NUMBER
from benchmarks.field.function import DAY, Function
from benchmarks.field.logs import Logs, Refused, report_of, stream_of
from benchmarks.field.machine import Run

MOST_GROUPS = 50
MOST_ROWS = 10_000
MEGABYTE = 1_000_000

Row = dict[str, Any]


class _Absent:
    """The value of a field that an event does not have."""

    __hash__ = None  # type: ignore[assignment]

    def _absent(self, *_: object) -> "_Absent":
        return self

    def _never(self, _: object) -> bool:
        return False

    def __bool__(self) -> bool:
        return False

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __neg__ = _absent
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = _never


ABSENT = _Absent()


class LogsInsights:
    """Answers StartQuery and GetQueryResults."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        self._answers: list[dict[str, Any]] = []

    def start_query(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Run a query; raises Refused as a whole if one of its log groups may not be read."""
        account = self._logs.account
        if not account.logs_insights:
            raise Refused("AccessDeniedException")
        named = asked.get("logGroupNames") or asked.get("logGroupIdentifiers") or [asked["logGroupName"]]
        groups = [name.rpartition(":log-group:")[2] for name in named]
        if len(groups) > MOST_GROUPS:
            raise Refused("InvalidParameterException")
        first, last = (asked[name] - account.midnight for name in ("startTime", "endTime"))
        for function in [self._logs.check(group, filtering=False) for group in groups]:
            kept = -account.clock if function.retention is None else function.retention * DAY - account.clock
            if last < -function.group_days * DAY or (function.retention and last < -kept):
                raise Refused("MalformedQueryException")
        events = ((group, *row) for group in groups for row in self._logs.between(group, first, last + 1))
        rows = execute(asked["queryString"], (self._row(*event) for event in events))
        rows = rows[: min(MOST_ROWS, asked.get("limit", MOST_ROWS))]
        results = [
            [{"field": name, "value": _shown(value)} for name, value in row.items() if value is not ABSENT]
            for row in rows
        ]
        self._answers.append({"status": "Complete", "results": results, "queryLanguage": "CWLI"})
        return {"queryId": str(len(self._answers) - 1)}

    def get_query_results(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Answer with what the query has found."""
        return self._answers[int(asked["queryId"])]

    def _row(self, group: str, end: float, function: Function, item: Run) -> Row:
        message = report_of(function, item)
        row = _Fields({
            "@message": message, "@log": f"{NUMBER}:{group}", "@timestamp": end + self._logs.account.midnight,
            "@logStream": stream_of(function, item, self._logs.account.midnight), "@requestId": "",
        })  # fmt: skip
        if function.json_logs:
            row.update(_flat("", json.loads(message)))
            return row
        row.update({
            "@type": "REPORT", "@duration": item.duration_ms, "@billedDuration": float(item.billed_ms),
            "@memorySize": float(item.memory_mb * MEGABYTE), "@maxMemoryUsed": float(item.used_mb * MEGABYTE),
        })  # fmt: skip
        if item.init_ms:
            row["@initDuration"] = item.init_ms
        return row


class _Fields(Row):
    def __missing__(self, name: str) -> _Absent:
        return ABSENT


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else name, part)
    else:
        yield prefix, float(value) if isinstance(value, int) else value


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and value.is_integer() and abs(value) < 1e6 else str(value)


def execute(query: str, rows: Iterable[Row]) -> list[Row]:
    """Return the rows that ``query`` gives; raises Refused for a query that is not understood."""
    shown: list[str] = []
    for command in _split(query, "|"):
        verb, _, rest = command.strip().partition(" ")
        rest = rest.strip()
        if verb == "filter":
            rows = filter(_expression(rest), rows)
        elif verb == "parse":
            rows = _parse(rest, rows)
        elif verb in ("fields", "display"):
            named = [_named(text) for text in _split(rest, ",")]
            rows = _fields([(_expression(text), name) for text, name in named], rows)
            shown = [name for _, name in named] if verb == "display" else shown + [name for _, name in named]
        elif verb == "stats":
            rows, shown = _stats(rest, rows), []
        elif verb == "sort":
            text, _, order = rest.rpartition(" ") if rest.endswith((" asc", " desc")) else (rest, "", "asc")
            rows = sorted(rows, key=_expression(text), reverse=order == "desc")
        elif verb == "limit":
            rows = list(_first(int(rest), rows))
        else:
            raise Refused("MalformedQueryException")
    found = list(_first(MOST_ROWS, rows))
    return [{name: row[name] for name in shown} for row in found] if shown else found


def _first(count: int, rows: Iterable[Row]) -> Iterator[Row]:
    for index, row in enumerate(rows):
        if index == count:
            return
        yield row


def _parse(rest: str, rows: Iterable[Row]) -> Iterator[Row]:
    found = re.fullmatch(r"(\S+)\s+/(.*)/", rest)
    if found is None:
        raise Refused("MalformedQueryException")
    pattern = re.compile(found[2].replace("(?<", "(?P<"))
    for row in rows:
        if match := pattern.search(str(row[found[1]])):
            row.update({name: value for name, value in match.groupdict().items() if value is not None})
        yield row


def _fields(named: list[tuple[Callable[[Row], Any], str]], rows: Iterable[Row]) -> Iterator[Row]:
    for row in rows:
        for value, name in named:
            row[name] = value(row)
        yield row


def _stats(rest: str, rows: Iterable[Row]) -> list[Row]:
    columns, _, by = re.sub(r"\s+", " ", rest).partition(" by ")
    keys = [(_expression(text), name) for text, name in map(_named, _split(by, ",")) if text]
    wanted = [(_argument(text), name) for text, name in map(_named, _split(columns, ","))]
    groups: dict[tuple[Any, ...], list[list[Any]]] = {}
    for row in rows:
        key = tuple(None if (value := of(row)) is ABSENT else value for of, _ in keys)
        values = groups.get(key)
        if values is None:
            values = groups[key] = [[] for _ in wanted]
        for ((of, _), _), kept in zip(wanted, values, strict=True):
            if (value := of(row)) is not ABSENT:
                kept.append(value)
    return [
        _Fields(
            {name: ABSENT if value is None else value for (_, name), value in zip(keys, key, strict=True)}
            | {name: total(kept) if kept or total is _count else ABSENT
               for ((_, total), name), kept in zip(wanted, values, strict=True)}
        )
        for key, values in groups.items()
    ]  # fmt: skip


def _count(values: list[Any]) -> int:
    return len(values)


_TOTALS: Mapping[str, Callable[[list[Any]], Any]] = {
    "count": _count, "count_distinct": lambda values: len(set(values)), "sum": math.fsum, "avg": fmean, "min": min,
    "max": max, "stddev": pstdev, "earliest": lambda values: values[0], "latest": lambda values: values[-1],
}  # fmt: skip


def _argument(text: str) -> tuple[Callable[[Row], Any], Callable[[list[Any]], Any]]:
    found = re.fullmatch(r"(\w+)\s*\((.*)\)", text)
    if found is None or found[1] not in (*_TOTALS, "pct", "percentile", "median"):
        raise Refused("MalformedQueryException")
    name, inner = found[1], found[2].strip()
    if name in ("pct", "percentile", "median"):
        inner, _, share = inner.rpartition(",") if name != "median" else (inner, "", "50")
        percent = float(share)
        return _expression(inner), lambda values: sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]
    if inner in ("*", ""):
        return (lambda row: 1), _count
    return _expression(inner), _TOTALS[name]


def _split(text: str, at: str) -> list[str]:
    """Split at a character that stands in no quotes, brackets or regular expression."""
    parts, depth, quote = [""], 0, ""
    for index, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote and text[index - 1] != "\\" else quote
        elif letter in "\"'" or (letter == "/" and re.search(r"(parse \S+|like|=~)\s*$", text[:index])):
            quote = letter
        elif letter in "([":
            depth += 1
        elif letter in ")]":
            depth -= 1
        elif letter == at and not depth:
            parts.append("")
            continue
        parts[-1] += letter
    return [part.strip() for part in parts]


def _named(text: str) -> tuple[str, str]:
    value, _, name = text.partition(" as ")
    return value.strip(), (name or value).strip()


_TOKEN = re.compile(
    r"\"[^\"]*\"|'[^']*'|(?:like|=~)\s*/(?:[^/\\]|\\.)*/|\d+(?:\.\d+)?[smhdw]?\b|@?[A-Za-z_][\w.@]*|[<>]=?|!=|=|[-+*/%(),\[\]]|\s+"
)
_WORDS = {"and": "and", "or": "or", "not": "not", "in": "in", "=": "==", "like": "<<"}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": DAY, "w": 7 * DAY}


def _bin(row: Row, width: str) -> str:
    second = row["@timestamp"]
    length = int(width[:-1]) * _UNITS[width[-1]]
    return f"{datetime.fromtimestamp(second // length * length, UTC):%Y-%m-%d %H:%M:%S.000}"


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "coalesce": lambda *values: next((value for value in values if value is not ABSENT), ABSENT),
    "ispresent": lambda value: value is not ABSENT,
    "isempty": lambda value: value is ABSENT or value == "",
    "strcontains": lambda value, part: value is not ABSENT and part in value,
    "found": lambda value, pattern: value is not ABSENT and re.search(pattern, str(value)) is not None,
    "abs": lambda value: value if value is ABSENT else abs(value),
    "ceil": lambda value: value if value is ABSENT else math.ceil(value),
    "floor": lambda value: value if value is ABSENT else math.floor(value),
    "greatest": lambda *values: max(value for value in values if value is not ABSENT),
    "least": lambda *values: min(value for value in values if value is not ABSENT),
}


def _expression(text: str) -> Callable[[Row], Any]:
    """Return an expression of the language as a function of a row; what has no meaning for a row is absent."""
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != text:
        raise Refused("MalformedQueryException")
    code, uses_time = "", False
    for token in tokens:
        if token in _WORDS and token != "like":
            code += _WORDS[token]
        elif token.startswith(("like", "=~")) and "/" in token:
            field = code.rstrip().rpartition(" ")[2]
            code = f"{code.rstrip().removesuffix(field)}found({field}, {token[token.index('/') + 1 : -1]!r})"
        elif re.fullmatch(r"\d+[smhdw]", token):
            code, uses_time = code + f"r, {token!r}", True
        elif token in ("bin", "datefloor") or token in _FUNCTIONS:
            code += "bin" if token == "datefloor" else token
        elif token[0] in "@_" + ascii_letters:
            code += f"r[{token!r}]"
        else:
            code += token
    if uses_time:
        code = code.replace("bin(r['@timestamp'], r", "bin(r")
    compiled = eval(f"lambda r: {code}", {**_FUNCTIONS, "bin": _bin, "__builtins__": {}})

    def value(row: Row) -> Any:
        try:
            return compiled(row)
        except TypeError:  # a text where a number is wanted
            return ABSENT

    return value

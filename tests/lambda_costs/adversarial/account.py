"""Functions of a small account, written into the embedded AWS with round numbers, so that every finding is known."""

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any

DAYS = 30
ROLE = "planted"
"""Of every function; it must exist."""
Hostile = Callable[[int], Sequence[str]]
"""Gives the lines that a function prints beside its own on a day, counted back from 1, the last."""


@dataclass(frozen=True)
class Planted:
    """A function that behaves the same on every day."""

    name: str
    runtime: str = "python3.12"
    architecture: str = "x86_64"
    memory_mb: int = 1024
    used_mb: int = 250
    timeout: int = 3
    json_logs: bool = False
    daily: int = 100
    """Invocations; their REPORT lines are ``lines`` of them."""
    hourly: bool = False
    """Whether CloudWatch counts them at every full hour, and not at noon."""
    lines: int = 2
    duration_ms: float = 500.0
    init_ms: float = 0.0
    """Of every invocation."""
    timed_out: int = 0
    """Of ``lines``."""
    errors: int = 0
    provisioned: int = 0
    loop: bool = False
    tmp_mb: int = 512
    retention: int | None = 60
    ingested: int = 10_000_000
    """Bytes a day."""
    last_used: int = 0
    """Days ago, of a function without invocations in the window."""
    logged_twice: int = 0
    """Last days whose lines CloudWatch Logs has twice."""
    hostile: Hostile = field(default=lambda day: ())


def report(
    duration: float = 500, billed: float | None = None, memory: int = 1024, used: int = 250, init: float | None = None,
    status: str = "", request: str = "1b2c",
) -> str:  # fmt: skip
    """Return a REPORT line as Lambda prints it."""
    billed = round(duration + (init or 0) + 1) if billed is None else billed
    return (
        f"REPORT RequestId: {request}\tDuration: {duration:.2f} ms\tBilled Duration: {billed:g} ms\t"
        f"Memory Size: {memory} MB\tMax Memory Used: {used} MB\t"
        + (f"Init Duration: {init:.2f} ms\t" if init is not None else "")
        + (f"Status: {status}\t" if status else "")
        + "\n"
    )


def json_report(**metrics: float | str) -> str:
    """Return a ``platform.report`` event as Lambda logs it as JSON, with ``metrics`` of an invocation changed."""
    usual = {"durationMs": 500.0, "billedDurationMs": 501, "memorySizeMB": 1536, "maxMemoryUsedMB": 250}
    record = {"requestId": "1b2c", "status": "success", "metrics": {**usual, **metrics}}
    return json.dumps({"type": "platform.report", "record": record})


class Account:
    """Writes functions into one region."""

    def __init__(self, client: Callable[[str, str], Any], region: str, now: datetime) -> None:
        self._lambda, self._logs = client("lambda", region), client("logs", region)
        self._cloudwatch = client("cloudwatch", region)
        self.midnight = datetime.combine(now.date(), time(), UTC)
        self._metrics: dict[str, list[dict[str, Any]]] = {}
        self.code = _code()

    def write(self, functions: Iterable[Planted]) -> None:
        """Create ``functions``, what they logged and what CloudWatch counted of them."""
        for function in functions:
            self._create(function)
            if function.daily:
                self._log(function)
                self._count(function)
            if function.last_used:
                moment = self.midnight - timedelta(days=function.last_used)
                self._datum("AWS/Lambda", "Invocations", moment, function.name, Value=5)
        self._send()

    def _send(self) -> None:
        for namespace, data in self._metrics.items():
            for first in range(0, len(data), 1000):
                self._cloudwatch.put_metric_data(Namespace=namespace, MetricData=data[first : first + 1000])
        self._metrics.clear()

    def create(self, name: str, **given: Any) -> None:
        """Create a function that has nothing but its code, and what is given."""
        code = {"Runtime": "python3.12", "Handler": "index.handler", "Code": {"ZipFile": self.code}}
        self._lambda.create_function(FunctionName=name, Role=f"arn:aws:iam::000000000000:role/{ROLE}", **code | given)

    def print_lines(self, name: str, lines: Hostile, stream: str = "printed") -> None:
        """Have the function print ``lines`` of every day, in the second after midnight and so before all others."""
        self._put(f"/aws/lambda/{name}", stream, DAYS, timedelta(), lines)

    def keep_old_lines(self, name: str, group: str) -> None:
        """Give a function that ran 40 days ago a log group of this name, without retention, which holds that day."""
        self._logs.create_log_group(logGroupName=group)
        self._put(group, "old", 40, timedelta(), lambda day: ["x" * 100_000] if day == 40 else [])
        self._datum("AWS/Lambda", "Invocations", self.midnight - timedelta(days=40), name, Value=5)
        self._send()

    def _put(self, group: str, stream: str, days: int, time_of_day: timedelta, lines: Hostile) -> None:
        events = [
            {"timestamp": _milliseconds(self.midnight - timedelta(days=day) + time_of_day) + index, "message": line}
            for day in range(days, 0, -1)
            for index, line in enumerate(lines(day))
        ]
        if events:
            self._logs.create_log_stream(logGroupName=group, logStreamName=stream)
            self._logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)

    def _create(self, function: Planted) -> None:
        given: dict[str, Any] = {
            **{"Architectures": [function.architecture], "MemorySize": function.memory_mb, "Timeout": function.timeout},
            "EphemeralStorage": {"Size": function.tmp_mb},
            "LoggingConfig": {"LogFormat": "JSON" if function.json_logs else "Text"},
        }
        self.create(function.name, Runtime=function.runtime, **given, Publish=bool(function.provisioned))
        if function.provisioned:
            self._lambda.create_alias(FunctionName=function.name, Name="live", FunctionVersion="1")
            self._lambda.put_provisioned_concurrency_config(
                FunctionName=function.name, Qualifier="live", ProvisionedConcurrentExecutions=function.provisioned
            )
        if function.loop:
            self._lambda.put_function_recursion_config(FunctionName=function.name, RecursiveLoop="Allow")

    def _log(self, function: Planted) -> None:
        group = f"/aws/lambda/{function.name}"
        self._logs.create_log_group(logGroupName=group)
        if function.retention:
            self._logs.put_retention_policy(logGroupName=group, retentionInDays=function.retention)
        for stream, days in (("own", DAYS), ("again", function.logged_twice)):
            self._put(group, stream, days, timedelta(hours=12), lambda day: _lines(function, day))
        self.print_lines(function.name, function.hostile)

    def _count(self, function: Planted) -> None:
        late = function.daily * function.timed_out // function.lines
        for day in range(1, DAYS + 1):
            noon = self.midnight - timedelta(days=day, hours=-12)
            hours = range(-12, 12) if function.hourly else [0]
            for hour in hours:
                calls = function.daily / len(hours)
                self._datum("AWS/Lambda", "Invocations", noon + timedelta(hours=hour), function.name, Value=calls)
            self._datum("AWS/Lambda", "Errors", noon, function.name, Value=function.errors)
            values, counts = [function.duration_ms, function.timeout * 1000], [function.daily - late, late]
            self._datum("AWS/Lambda", "Duration", noon, function.name, Values=values, Counts=counts)
            self._datum("AWS/Logs", "IncomingBytes", noon, f"/aws/lambda/{function.name}", Value=function.ingested)

    def _datum(self, namespace: str, name: str, moment: datetime, subject: str, **values: Any) -> None:
        key = "FunctionName" if namespace == "AWS/Lambda" else "LogGroupName"
        datum = {"MetricName": name, "Timestamp": moment, "Dimensions": [{"Name": key, "Value": subject}], **values}
        self._metrics.setdefault(namespace, []).append(datum)


def _lines(function: Planted, day: int) -> list[str]:
    plain = {"memory": function.memory_mb, "used": function.used_mb}
    if function.json_logs:
        return [json_report(memorySizeMB=function.memory_mb, maxMemoryUsedMB=function.used_mb)] * function.lines
    init = function.init_ms or None
    late = (function.timeout * 1000, "timeout")
    ends = [late if index < function.timed_out else (function.duration_ms, "") for index in range(function.lines)]
    return [
        report(duration, **plain, init=init, status=status, request=f"{day}-{index}")
        for index, (duration, status) in enumerate(ends)
    ]


def _code() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("index.py", "def handler(event, context):\n    return event\n")
    return buffer.getvalue()


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)

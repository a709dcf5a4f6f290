"""A sample account to analyse: functions, metrics and logs grown from a seed, with waste planted where we know it.

The numbers are invented, and plausible. Everything is written through public AWS APIs, but only the embedded AWS takes
it: AWS itself refuses metrics in its own namespaces and log events older than two weeks.
"""

import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

DAYS = 30
LINES = 200
"""REPORT lines of a busy function; its Invocations metric says more, as on AWS where logs are sampled."""
MIN_FUNCTIONS = 40
MAX_FUNCTIONS = 100

THREADS = 8
METRICS_A_CALL = 1000

MEMORY, ARM64, PROVISIONED, RETENTION = (
    "memory-too-high",
    "arm64",
    "provisioned-concurrency-unused",
    "log-retention-unset",
)

_SUBJECTS = ("orders", "invoices", "payments", "customers", "catalog", "inventory", "shipping", "returns", "search")
_TASKS = (
    *("api", "worker", "export", "import", "sync", "notify", "thumbnail", "report", "webhook", "cleanup", "archive"),
    *("audit", "backfill"),
)
_RUNTIMES = ("python3.12", "python3.13", "nodejs20.x", "nodejs22.x", "java21", "provided.al2023")
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}


@dataclass(frozen=True, order=True)
class Planted:
    """A function and the kind of waste that an analysis must find in it."""

    function: str
    kind: str


@dataclass(frozen=True)
class SampleProvisioned:
    """Provisioned concurrency on the alias ``live``."""

    executions: int
    daily_invocations: int


@dataclass(frozen=True)
class SampleFunction:
    """One function of the sample account and its last 30 days."""

    name: str
    runtime: str
    architecture: str
    memory_mb: int
    billed_ms: int
    """Around this, half to twice as long."""
    used_mb: int
    """Up to this much memory; most invocations use less."""
    daily_invocations: int
    image: bool = False
    layer: bool = False
    json_logs: bool = False
    retention_days: int | None = 30
    old_log_bytes: int = 0
    """Bytes of log events older than the window."""
    spike: bool = False
    """One invocation uses nearly all memory."""
    provisioned: SampleProvisioned | None = None


@dataclass(frozen=True)
class SampleAccount:
    """The functions, and the ground truth: everything that an analysis must find, and nothing else."""

    seed: int
    functions: tuple[SampleFunction, ...]
    planted: frozenset[Planted]


def build(seed: int = 7, count: int = 48) -> SampleAccount:
    """Return an account of ``count`` functions (40 to 100); the same seed gives the same account."""
    if not MIN_FUNCTIONS <= count <= MAX_FUNCTIONS:
        raise ValueError(f"count must be {MIN_FUNCTIONS} to {MAX_FUNCTIONS}, not {count}")
    rng = random.Random(seed)
    names = rng.sample([f"{subject}-{task}" for subject in _SUBJECTS for task in _TASKS], count)
    functions: list[SampleFunction] = []
    planted: set[Planted] = set()
    recipes = _recipes()
    for index, name in enumerate(names):
        change, kinds = recipes[index] if index < len(recipes) else ({}, ())
        functions.append(replace(_well_sized(rng, name), **change))
        planted |= {Planted(name, kind) for kind in kinds}
    return SampleAccount(seed, tuple(sorted(functions, key=lambda item: item.name)), frozenset(planted))


def _well_sized(rng: random.Random, name: str) -> SampleFunction:
    memory = rng.choice((128, 256, 512, 1024))
    return SampleFunction(
        name,
        rng.choice(_RUNTIMES),
        "arm64",
        memory,
        billed_ms=rng.randint(20, 900),
        used_mb=int(memory * rng.uniform(0.66, 0.85)),
        daily_invocations=rng.choice((40, 400, 6_000, 90_000)),
        json_logs=rng.random() < 0.15,
        retention_days=rng.choice((7, 14, 30, 90)),
    )


def _recipes() -> list[tuple[dict[str, Any], tuple[str, ...]]]:
    """Return what sets the first functions apart from well-sized ones on arm64, and what is to be found in each."""
    roomy: dict[str, Any] = {"used_mb": 210, "daily_invocations": 60_000}
    x86: dict[str, Any] = {"architecture": "x86_64", "runtime": "python3.12", "daily_invocations": 80_000}
    warm: dict[str, Any] = {"memory_mb": 512, "used_mb": 400, "billed_ms": 900}
    return [
        # Waste.
        ({**roomy, "memory_mb": 1024, "billed_ms": 350}, (MEMORY,)),
        ({**roomy, "memory_mb": 2048, "billed_ms": 800}, (MEMORY,)),
        ({**roomy, "memory_mb": 3008, "billed_ms": 1400}, (MEMORY,)),
        ({**roomy, "memory_mb": 512, "json_logs": True}, (MEMORY,)),
        (x86, (ARM64,)),
        ({**x86, "runtime": "nodejs22.x", "billed_ms": 600}, (ARM64,)),
        ({**x86, "runtime": "java21", "memory_mb": 1024, "used_mb": 800, "billed_ms": 1200}, (ARM64,)),
        ({**x86, **roomy, "memory_mb": 1536, "billed_ms": 500}, (MEMORY, ARM64)),
        ({**x86, **roomy, "memory_mb": 3008, "billed_ms": 2500}, (MEMORY, ARM64)),
        ({**warm, "daily_invocations": 9_000, "provisioned": SampleProvisioned(10, 8_000)}, (PROVISIONED,)),
        ({**warm, "daily_invocations": 300, "provisioned": SampleProvisioned(4, 250)}, (PROVISIONED,)),
        ({"retention_days": None, "old_log_bytes": 400_000}, (RETENTION,)),
        ({"retention_days": None, "old_log_bytes": 900_000, "daily_invocations": 0}, (RETENTION,)),
        ({**roomy, "memory_mb": 1024, "retention_days": None, "old_log_bytes": 600_000}, (MEMORY, RETENTION)),
        # Traps: what a hasty analysis would report.
        ({**roomy, "memory_mb": 1024, "spike": True}, ()),
        ({**roomy, "memory_mb": 2048, "spike": True}, ()),
        ({**roomy, "memory_mb": 128, "used_mb": 50}, ()),  # no smaller size exists
        ({**roomy, "memory_mb": 1024, "daily_invocations": 1}, ()),  # too few to tell
        ({**x86, "layer": True}, ()),
        ({**x86, "image": True}, ()),
        ({**x86, "runtime": "java8"}, ()),  # has no arm64 build
        ({**warm, "daily_invocations": 150_000, "provisioned": SampleProvisioned(2, 150_000)}, ()),
        ({**warm, "architecture": "x86_64", "used_mb": 100, "daily_invocations": 240_000,
          "provisioned": SampleProvisioned(3, 230_000)}, ()),
        ({"daily_invocations": 0, "memory_mb": 3008}, ()),  # idle, which costs nothing
        ({"retention_days": None}, ()),  # nothing is old enough to expire
    ]  # fmt: skip


def seed_account(
    account: SampleAccount,
    client: Callable[[str], Any],
    now: datetime,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write ``account`` as of ``now`` into the embedded AWS; ``client`` makes a boto3 client of a service.

    ``progress`` hears (functions written, functions in all).
    """
    awslambda, logs, cloudwatch = client("lambda"), client("logs"), client("cloudwatch")
    midnight = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    code = _code()
    role = client("iam").create_role(RoleName="sample-function", AssumeRolePolicyDocument=json.dumps(_TRUST))["Role"]
    layer = awslambda.publish_layer_version(LayerName="sample-layer", Content={"ZipFile": code})["LayerVersionArn"]

    def write(function: SampleFunction) -> list[dict[str, Any]]:
        _create_function(awslambda, function, role["Arn"], code, layer)
        ingested = _write_logs(logs, function, midnight, random.Random(f"{account.seed}/{function.name}"))
        return list(_metrics(function, midnight, ingested))

    data: dict[str, list[dict[str, Any]]] = {"AWS/Lambda": [], "AWS/Logs": []}
    with ThreadPoolExecutor(THREADS) as pool:
        for done, metrics in enumerate(pool.map(write, account.functions), start=1):
            for metric in metrics:
                data[metric.pop("Namespace")].append(metric)
            if progress:
                progress(done, len(account.functions))
    for namespace, metrics in data.items():
        for first in range(0, len(metrics), METRICS_A_CALL):
            cloudwatch.put_metric_data(Namespace=namespace, MetricData=metrics[first : first + METRICS_A_CALL])


def _code() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("index.py", "def handler(event, context):\n    return event\n")
    return buffer.getvalue()


def _create_function(awslambda: Any, function: SampleFunction, role: str, code: bytes, layer: str) -> None:
    package: dict[str, Any] = (
        {"PackageType": "Image", "Code": {"ImageUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/sample:1"}}
        if function.image
        else {"Runtime": function.runtime, "Handler": "index.handler", "Code": {"ZipFile": code}}
    )
    awslambda.create_function(
        FunctionName=function.name,
        Role=role,
        Architectures=[function.architecture],
        MemorySize=function.memory_mb,
        Timeout=30,
        Layers=[layer] if function.layer else [],
        LoggingConfig={"LogFormat": "JSON" if function.json_logs else "Text"},
        Publish=function.provisioned is not None,
        **package,
    )
    if function.provisioned:
        awslambda.create_alias(FunctionName=function.name, Name="live", FunctionVersion="1")
        awslambda.put_provisioned_concurrency_config(
            FunctionName=function.name,
            Qualifier="live",
            ProvisionedConcurrentExecutions=function.provisioned.executions,
        )


def _write_logs(logs: Any, function: SampleFunction, midnight: datetime, rng: random.Random) -> int:
    """Write the function's log events and return how many bytes of them are from the last 30 days."""
    group = f"/aws/lambda/{function.name}"
    logs.create_log_group(logGroupName=group)
    if function.retention_days:
        logs.put_retention_policy(logGroupName=group, retentionInDays=function.retention_days)
    recent = list(_reports(function, midnight, rng))
    old = list(_old_events(function, midnight))
    logs.create_log_stream(logGroupName=group, logStreamName="sample")
    if events := sorted(old + recent):
        logs.put_log_events(
            logGroupName=group,
            logStreamName="sample",
            logEvents=[{"timestamp": timestamp, "message": message} for timestamp, message in events],
        )
    return sum(len(message) for _, message in recent)


def _reports(function: SampleFunction, midnight: datetime, rng: random.Random) -> Iterator[tuple[int, str]]:
    count = min(LINES, function.daily_invocations * DAYS)
    spike = rng.randrange(count) if function.spike else None
    for index in range(count):
        moment = midnight - timedelta(days=DAYS) + timedelta(days=DAYS) * (index + rng.random()) / count
        billed = round(function.billed_ms * rng.triangular(0.5, 2.0, 0.9))
        share = 1.0 if index == 0 else rng.uniform(0.7, 1.0)
        used = round(function.memory_mb * 0.9) if index == spike else round(function.used_mb * share)
        init = rng.randint(150, 900) if rng.random() < 0.03 else None
        write = _json_report if function.json_logs else _text_report
        yield _milliseconds(moment), write(f"{rng.getrandbits(128):032x}", billed, function.memory_mb, used, init)


def _text_report(request: str, billed: int, memory: int, used: int, init: int | None) -> str:
    line = (
        f"REPORT RequestId: {request}\tDuration: {billed - 0.4:.2f} ms\tBilled Duration: {billed} ms\t"
        f"Memory Size: {memory} MB\tMax Memory Used: {used} MB\t"
    )
    return line + (f"Init Duration: {init:.2f} ms\t" if init else "") + "\n"


def _json_report(request: str, billed: int, memory: int, used: int, init: int | None) -> str:
    cold = f', "initDurationMs": {init}' if init else ""
    return (
        f'{{"type": "platform.report", "record": {{"requestId": "{request}", "status": "success", "metrics":'
        f' {{"durationMs": {billed - 0.4:.2f}, "billedDurationMs": {billed}, "memorySizeMB": {memory},'
        f' "maxMemoryUsedMB": {used}{cold}}}}}}}'
    )


def _old_events(function: SampleFunction, midnight: datetime) -> Iterator[tuple[int, str]]:
    size = 10_000
    for index in range(function.old_log_bytes // size):
        yield _milliseconds(midnight - timedelta(days=DAYS + 5 + index)), f"INFO {'.' * (size - 5)}"


def _metrics(function: SampleFunction, midnight: datetime, ingested: int) -> Iterator[dict[str, Any]]:
    for day in range(DAYS):
        moment = midnight - timedelta(days=day, seconds=1)  # a day's total is known at its end

        def metric(namespace: str, name: str, value: float, moment: datetime = moment, **dimensions: str) -> Any:
            return {
                "Namespace": namespace,
                "MetricName": name,
                "Timestamp": moment,
                "Value": value,
                "Dimensions": [{"Name": key, "Value": text} for key, text in dimensions.items()],
            }

        if function.daily_invocations:
            yield metric("AWS/Lambda", "Invocations", function.daily_invocations, FunctionName=function.name)
            yield metric("AWS/Logs", "IncomingBytes", ingested / DAYS, LogGroupName=f"/aws/lambda/{function.name}")
        if function.provisioned:
            yield metric(
                "AWS/Lambda",
                "ProvisionedConcurrencyInvocations",
                function.provisioned.daily_invocations,
                FunctionName=function.name,
                Resource=f"{function.name}:live",
            )


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)

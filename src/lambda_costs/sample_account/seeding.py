"""Writes a sample account into the embedded AWS."""

import io
import json
import random
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, time, timedelta
from itertools import chain
from typing import Any

from lambda_costs.sample_account.account import SampleAccount
from lambda_costs.sample_account.function import DAYS, SampleFunction
from lambda_costs.sample_account.sampling import Line, Sample, sample

THREADS = 8
METRICS_A_CALL = 1000
OLD_EVENT_BYTES = 100_000
LAYERS: Mapping[str, str] = {"LambdaInsightsExtension-Arm64": "arm64", "native-x86": "x86_64"}

_TRUSTED = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
_TRUST = json.dumps({"Version": "2012-10-17", "Statement": [_TRUSTED]})


def seed_account(account: SampleAccount, client: Callable[[str], Any], now: datetime) -> None:
    """Write ``account`` as of ``now`` into the embedded AWS; ``client`` makes a boto3 client of a service."""
    awslambda, logs, cloudwatch = client("lambda"), client("logs"), client("cloudwatch")
    midnight = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("index.py", "def handler(event, context):\n    return event\n")
    code = package.getvalue()
    role = client("iam").create_role(RoleName="sample-function", AssumeRolePolicyDocument=_TRUST)["Role"]
    layers = {
        name: awslambda.publish_layer_version(
            LayerName=name, Content={"ZipFile": code}, CompatibleArchitectures=[architecture]
        )["LayerVersionArn"]
        for name, architecture in LAYERS.items()
    }

    def write(function: SampleFunction) -> list[tuple[str, dict[str, Any]]]:
        seen = sample(function, random.Random(f"{account.seed}/{function.name}/seen"))
        _create(awslambda, function, role["Arn"], code, layers)
        _write_logs(logs, function, seen, midnight, now)
        return list(_metrics(function, seen, midnight))

    data: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with ThreadPoolExecutor(THREADS) as pool:
        for namespace, metric in chain.from_iterable(pool.map(write, account.functions)):
            data[namespace].append(metric)
    for namespace, items in data.items():
        for first in range(0, len(items), METRICS_A_CALL):
            cloudwatch.put_metric_data(Namespace=namespace, MetricData=items[first : first + METRICS_A_CALL])


def _create(awslambda: Any, function: SampleFunction, role: str, code: bytes, layers: Mapping[str, str]) -> None:
    awslambda.create_function(
        FunctionName=function.name,
        Role=role,
        Runtime=function.runtime,
        Handler="index.handler",
        Code={"ZipFile": code},
        Architectures=[function.architecture],
        MemorySize=function.memory_mb,
        Timeout=function.timeout_seconds,
        EphemeralStorage={"Size": function.ephemeral_mb},
        Layers=[layers[function.layer]] if function.layer else [],
        LoggingConfig={"LogFormat": "JSON" if function.json_logs else "Text"},
        Publish=bool(function.provisioned_concurrency),
    )
    if function.provisioned_concurrency:
        awslambda.create_alias(FunctionName=function.name, Name="live", FunctionVersion="1")
        executions = {"ProvisionedConcurrentExecutions": function.provisioned_concurrency}
        awslambda.put_provisioned_concurrency_config(FunctionName=function.name, Qualifier="live", **executions)
    if function.recursive_loop:
        awslambda.put_function_recursion_config(FunctionName=function.name, RecursiveLoop="Allow")


def _write_logs(logs: Any, function: SampleFunction, seen: Sample, midnight: datetime, now: datetime) -> None:
    if not function.log_days:
        return
    group = function.log_group
    logs.create_log_group(logGroupName=group)
    if function.retention_days:
        logs.put_retention_policy(logGroupName=group, retentionInDays=function.retention_days)
    kept_since = now - timedelta(days=function.retention_days or 10_000)
    old = [
        (midnight - timedelta(days=DAYS + 5 + index), f"INFO {'.' * (OLD_EVENT_BYTES - 5)}")
        for index in range(function.old_log_bytes // OLD_EVENT_BYTES)
    ]
    events = [
        {"timestamp": int(moment.timestamp() * 1000), "message": message}
        for moment, message in sorted(old + _reports(function, seen, midnight))
        if moment >= kept_since
    ]
    logs.create_log_stream(logGroupName=group, logStreamName="sample")
    if events:
        logs.put_log_events(logGroupName=group, logStreamName="sample", logEvents=events)


def _reports(function: SampleFunction, seen: Sample, midnight: datetime) -> list[tuple[datetime, str]]:
    write = _json_report if function.json_logs else _text_report
    return [(midnight - timedelta(days=DAYS - line.day), write(line)) for line in seen.lines]


def _text_report(line: Line) -> str:
    return (
        f"REPORT RequestId: {line.request}\tDuration: {line.duration_ms:.2f} ms\t"
        f"Billed Duration: {line.billed_ms} ms\tMemory Size: {line.memory_mb} MB\tMax Memory Used: {line.used_mb} MB\t"
        + (f"Init Duration: {line.init_ms:.2f} ms\t" if line.init_ms else "")
        + (f"Status: {line.status}\t" if line.status != "success" else "")
        + (f"Error Type: {line.error_type}\t" if line.error_type else "")
        + "\n"
    )


def _json_report(line: Line) -> str:
    metrics = {
        "durationMs": line.duration_ms,
        "billedDurationMs": line.billed_ms,
        "memorySizeMB": line.memory_mb,
        "maxMemoryUsedMB": line.used_mb,
        **({"initDurationMs": line.init_ms} if line.init_ms else {}),
    }
    error = {"errorType": line.error_type} if line.error_type else {}
    record = {"requestId": line.request, "status": line.status, "metrics": metrics, **error}
    return json.dumps({"type": "platform.report", "record": record})


def _metrics(function: SampleFunction, seen: Sample, midnight: datetime) -> Iterator[tuple[str, dict[str, Any]]]:
    name = {"FunctionName": function.name}
    for day in seen.days:
        moment = midnight - timedelta(days=DAYS - 1 - day.index, seconds=1)  # a day's total is known at its end
        durations = {"Values": list(day.durations), "Counts": list(day.durations.values())}
        if function.metrics:
            yield "AWS/Lambda", _datum("Invocations", moment, name, Value=day.invocations)
            yield "AWS/Lambda", _datum("Errors", moment, name, Value=day.errors)
            yield "AWS/Lambda", _datum("Duration", moment, name, **durations)
        if function.dropped_daily:
            yield "AWS/Lambda", _datum("RecursiveInvocationsDropped", moment, name, Value=function.dropped_daily)
        if function.provisioned_concurrency:
            # Every caller invokes the alias.
            alias = {**name, "Resource": f"{function.name}:live"}
            yield "AWS/Lambda", _datum("Invocations", moment, alias, Value=day.invocations)
            yield "AWS/Lambda", _datum("Duration", moment, alias, **durations)
            yield "AWS/Lambda", _datum("ProvisionedConcurrencyInvocations", moment, alias, Value=day.provisioned)
        if function.layer == "LambdaInsightsExtension-Arm64":
            yield "LambdaInsights", _datum("cpu_total_time", moment, {"function_name": function.name}, Value=day.cpu_ms)
        if function.log_days and function.retention_days:
            yield "AWS/Logs", _datum("IncomingBytes", moment, {"LogGroupName": function.log_group}, Value=day.log_bytes)
    if function.retention_days is None:
        # Without retention, all that was ingested is still stored.
        for moment, message in _reports(function, seen, midnight):
            yield "AWS/Logs", _datum("IncomingBytes", moment, {"LogGroupName": function.log_group}, Value=len(message))
    for days, invocations in seen.earlier.items():
        yield "AWS/Lambda", _datum("Invocations", midnight - timedelta(days=days, seconds=-1), name, Value=invocations)


def _datum(name: str, moment: datetime, dimensions: Mapping[str, str], **values: Any) -> dict[str, Any]:
    pairs = [{"Name": key, "Value": text} for key, text in dimensions.items()]
    return {"MetricName": name, "Timestamp": moment, "Dimensions": pairs, **values}

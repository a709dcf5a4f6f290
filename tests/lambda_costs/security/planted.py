"""Secrets, planted wherever a function of the account can hold one."""

import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from lambda_costs.sample_account import SampleAccount, seed_account
from lambda_costs.sample_account.generator import generate
from vigil.local.stack import LocalStack

NAME = "orders-api"
"""Of the function that holds the secrets. Names are no secret: the report shows them."""


def _secret(kind: str) -> str:
    return f"{kind}-{uuid.uuid4().hex}"


API_KEY = _secret("api-key")
"""In the environment of the agent itself."""
KINDS = ("variable", "tag", "description", "handler", "log-line", "report-line", "after-report", "json-log-line")
PLANTED = {kind: _secret(kind) for kind in KINDS}


def plant(stack: LocalStack) -> None:
    """Write two functions with something to save into the account; the first holds every secret of PLANTED."""
    wasteful: dict[str, Any] = {
        **{"runtime": "python3.12", "architecture": "x86_64", "memory_mb": 1024, "need": 0.2, "cpu": 0.3},
        **{"daily_invocations": 10, "retention_days": None, "old_log_bytes": 400_000},
    }
    functions = (
        generate(random.Random(7), NAME, {**wasteful, "provisioned_concurrency": 10}),
        generate(random.Random(7), "orders-export", {**wasteful, "json_logs": True}),
    )
    seed_account(SampleAccount(7, functions, frozenset()), stack.client, datetime.now(UTC))
    awslambda, logs = stack.client("lambda"), stack.client("logs")
    variables = {"Variables": {"DATABASE_PASSWORD": PLANTED["variable"]}}
    texts = {"Description": PLANTED["description"], "Handler": f"index.{PLANTED['handler']}"}
    function = awslambda.update_function_configuration(FunctionName=NAME, **texts, Environment=variables)
    awslambda.tag_resource(Resource=function["FunctionArn"], Tags={"owner": PLANTED["tag"]})
    took, used = "Duration: 9.60 ms\tBilled Duration: 10 ms", "Memory Size: 1024 MB\tMax Memory Used: 90 MB"
    report = f"REPORT RequestId: 1b2c\t{took}\t{used}\t"
    mixed = {"type": "platform.report", "record": {"metrics": {"billedDurationMs": PLANTED["json-log-line"]}}}
    yesterday = int((datetime.now(UTC) - timedelta(days=1)).timestamp() * 1000)
    passwords = {"ERROR ": "log-line", "REPORT ": "report-line", report: "after-report"}
    lines = [f"{begin}password={PLANTED[kind]}" for begin, kind in passwords.items()]
    for name, messages in {NAME: lines, "orders-export": [json.dumps(mixed)]}.items():
        events = [{"timestamp": yesterday, "message": message} for message in messages]
        logs.put_log_events(logGroupName=f"/aws/lambda/{name}", logStreamName="sample", logEvents=events)

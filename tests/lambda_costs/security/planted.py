"""Secrets, planted wherever a function of the account can hold one."""

import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from lambda_costs.sample_account import SampleAccount, seed_account
from lambda_costs.sample_account.function import generate
from vigil.local.stack import LocalStack

NAME = "orders-api"
"""Of the function that holds the secrets. Names are no secret: the report shows them."""


def _secret(kind: str) -> str:
    return f"{kind}-{uuid.uuid4().hex}"


API_KEY = _secret("api-key")
"""In the environment of the agent itself."""
PLANTED = {
    kind: _secret(kind)
    for kind in (
        *("variable", "tag", "description", "handler"),
        *("log-line", "report-line", "after-report", "json-log-line"),
    )
}


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
    function = awslambda.update_function_configuration(
        FunctionName=NAME,
        Description=PLANTED["description"],
        Handler=f"index.{PLANTED['handler']}",
        Environment={"Variables": {"DATABASE_PASSWORD": PLANTED["variable"]}},
    )
    awslambda.tag_resource(Resource=function["FunctionArn"], Tags={"owner": PLANTED["tag"]})
    report = (
        "REPORT RequestId: 1b2c\tDuration: 9.60 ms\tBilled Duration: 10 ms\t"
        "Memory Size: 1024 MB\tMax Memory Used: 90 MB\t"
    )
    mixed = {"type": "platform.report", "record": {"metrics": {"billedDurationMs": PLANTED["json-log-line"]}}}
    yesterday = int((datetime.now(UTC) - timedelta(days=1)).timestamp() * 1000)
    for name, lines in {
        NAME: [
            f"ERROR password={PLANTED['log-line']}",
            f"REPORT password={PLANTED['report-line']}",
            f"{report}password={PLANTED['after-report']}",
        ],
        "orders-export": [json.dumps(mixed)],
    }.items():
        logs.put_log_events(
            logGroupName=f"/aws/lambda/{name}",
            logStreamName="sample",
            logEvents=[{"timestamp": yesterday, "message": line} for line in lines],
        )

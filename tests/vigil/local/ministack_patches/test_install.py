"""The version of ministack that the patches are for."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ministack.core import iam_actions, lambda_runtime, responses
from ministack.services import bedrock_agentcore, cloudwatch, eventbridge, stepfunctions

from tests.vigil.local.ministack_patches.builders import ACCOUNT
from vigil.local.ministack_patches.requests import read_model
from vigil.local.stack import REGION


def test_another_version_of_ministack_is_refused(tmp_path: Path) -> None:
    information = tmp_path / "ministack-9.9.9.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: ministack\nVersion: 9.9.9\n")
    # The server ends with its standard input, so that stays open until the server has printed its error.
    words = [sys.executable, "-m", "vigil.local.server", "--folder", str(tmp_path / "stack")]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    streams: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, env=environment, **streams, text=True) as server:
        assert server.stdin is not None
        assert server.stderr is not None
        server.stdin.write("{}\n")
        server.stdin.flush()
        printed = server.stderr.read()
        assert server.wait(timeout=60) > 0
    assert re.search(r"the local stack needs ministack [\d.]+, not 9\.9\.9: run make install", printed)


@pytest.mark.parametrize(
    ("part", "text", "present"),
    [
        (lambda_runtime.execution_credentials, 'f"secret:{digest}"', True),
        (stepfunctions._call_lambda, "TooManyRequestsException", False),
        (stepfunctions._fail_execution, '["status"] ==', False),
        (stepfunctions, "MaxDelaySeconds", False),
        (stepfunctions._invoke_with_callback, 'TimeoutSeconds", 99999', True),
        (stepfunctions, "bedrockagentcore", False),
        (stepfunctions, "EvalContext", False),
        (stepfunctions._start_execution, "json.loads", False),
        (eventbridge._put_events, "Malformed", False),
        (eventbridge._dispatch_to_stepfunctions, "RoleArn", False),
        (eventbridge._invoke_target, "DeadLetterConfig", False),
        (cloudwatch._get_metric_data, "in _metrics.items()", True),
        (bedrock_agentcore._invoke_agent_runtime_in_owner, "echo", True),
    ],
)
def test_ministack_alone_still_needs_the_patch_of(part: object, text: str, present: bool) -> None:
    """A patch whose case fails here with a new version of ministack is not needed any more."""
    assert (text in inspect.getsource(part)) == present  # type: ignore[arg-type]


@pytest.mark.parametrize("service", ["dynamodb", "iam", "lambda", "monitoring", "s3", "sqs", "states", "no-service"])
def test_the_protocol_of_a_service_is_the_one_that_ministack_finds(service: str) -> None:
    found = responses._service_model.__wrapped__(service)
    read = read_model(None, service).metadata
    for name in ("protocol", "jsonVersion"):
        assert read.get(name) == (found.metadata.get(name) if found else None)


def test_ministack_alone_still_reports_no_class_of_an_exception() -> None:
    assert "type(e).__name__" not in lambda_runtime._PYTHON_WORKER_SCRIPT


def test_ministack_alone_still_asks_iam_about_other_actions() -> None:
    def action(service: str, method: str, path: str, query: dict[str, list[str]]) -> object:
        return iam_actions.extract_iam_action(service, method, path, {}, b"", query)

    assert action("bedrock-runtime", "POST", "/model/m/converse", {}) == "bedrock:Converse"
    listing = "/2019-09-30/functions/f/provisioned-concurrency"
    assert action("lambda", "GET", listing, {"List": ["ALL"]}) != "lambda:ListProvisionedConcurrencyConfigs"
    headers = {"x-amz-target": "AWSStepFunctions.SendTaskSuccess"}
    assert iam_actions.extract_resource_arn("states", "POST", "/", headers, b"{}", {}, REGION, ACCOUNT) == "*"

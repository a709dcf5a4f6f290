"""Hundreds of random events and invocations at every entry point: each is answered, and nothing breaks.

Every run makes others, which its seed draws.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.support import Runtime, Workflow, ended, runtime_process
from tests.vigil import test_invoker
from tests.vigil.test_invoker import AgentCore
from vigil import invoker, reconciler
from vigil.errors import VigilError
from vigil.local.stack import REGION, LocalStack
from vigil.names import EVENT_DETAIL_TYPE, EVENT_SOURCE, Env, Output
from vigil.session import SESSION_ID_PATTERN, Status

pytestmark = pytest.mark.takes(15)


def fuzz(examples: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
    )


# What JSON can say, halves of surrogate pairs among it.
TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
SESSION_ID = st.uuids(version=4).map(str)
KEYS = st.sampled_from(["days", "regions", "functions", "agent", "deadline_seconds"]) | TEXT
DETAIL = st.dictionaries(KEYS, JSON, max_size=4)


def some(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object with some of the keys, or anything else."""
    return st.fixed_dictionaries({}, optional={**values, "more": JSON}) | JSON


INVOCATION = st.fixed_dictionaries(
    {"session_id": SESSION_ID}, optional={"detail": st.none() | DETAIL, "event_time": JSON}
) | some(session_id=SESSION_ID | JSON, detail=DETAIL | JSON)


agentcore = test_invoker.listening
"""An AgentCore on loopback, where the invoker's own client finds it."""

ANSWER = st.fixed_dictionaries(
    {"status": st.sampled_from([200, 200, 204, 302, 400, 403, 404, 424, 429, 500, 503])},
    optional={
        "body": st.binary(max_size=60)
        | some(status=st.sampled_from(["accepted", "already running", "refused"]) | JSON, error=JSON).map(
            lambda answer: json.dumps(answer).encode()
        ),
        "headers": st.sampled_from(["ThrottlingException", "RuntimeClientError", "x"]).map(
            lambda code: {"x-amzn-ErrorType": code}
        ),
        "reset": st.just(True),
    },
)


@fuzz(150)
@given(event=INVOCATION, answer=ANSWER)
def test_invoker_answers_or_raises_an_error_of_vigil(agentcore: AgentCore, event: Any, answer: Any) -> None:
    agentcore.answers(**{**vars(AgentCore()), **answer})
    with suppress(VigilError):
        done = invoker.handler(event, None)
        assert done["session_id"] == event["session_id"]
        assert done["answer"] in invoker.ACCEPTED


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Runtime, Path]]:
    """A runtime process, and its log."""
    log = tmp_path_factory.mktemp("runtime") / "log"
    environment = {"PATH": os.environ["PATH"], "AWS_REGION": REGION}
    with log.open("w") as output, runtime_process(environment, "-m", "vigil.agent", output=output) as process:
        yield process, log


JSON_TYPE = {"Content-Type": "application/json"}
# Without certificates, which take long to read. Each request has a connection of its own.
CLIENT = httpx.Client(timeout=20, verify=False, limits=httpx.Limits(max_keepalive_connections=0))
NO_ID = st.text(max_size=32) | JSON
"""Never a session's: what a session does when it starts is for the deployed workflow below."""
PAYLOAD = st.fixed_dictionaries(
    {"environment": st.fixed_dictionaries({Env.SESSION_ID: NO_ID, Env.BUCKET: TEXT | JSON, Env.TABLE: TEXT | JSON})},
    optional={"detail": DETAIL | JSON},
) | some(environment=some(**{Env.SESSION_ID: SESSION_ID, Env.BUCKET: TEXT, "PYTHONPATH": TEXT}), detail=DETAIL | JSON)
BODY = PAYLOAD.map(lambda payload: json.dumps(payload).encode()) | st.binary(max_size=200)


@fuzz(120)
@given(body=BODY)
@example(body=b"")
@example(body=b"[" * 5_000)
@example(body=json.dumps({"environment": {"SESSION_ID": "x" * 2_000_000}}).encode())
def test_runtime_refuses_invalid_invocations(runtime: tuple[Runtime, Path], body: bytes) -> None:
    answer = CLIENT.post(f"{runtime[0].address}/invocations", content=body, headers=JSON_TYPE)
    assert answer.status_code == 400, answer
    assert answer.json()["error"]


def test_runtime_is_healthy_and_idle_afterwards(runtime: tuple[Runtime, Path]) -> None:
    process, log = runtime
    status, answer = process.call("/ping")
    assert (status, answer["status"]) == (200, "Healthy")
    assert "Traceback" not in log.read_text(errors="replace")


NO_DETAIL = st.one_of(
    st.booleans(), st.integers(), TEXT, st.lists(JSON, max_size=4), st.fixed_dictionaries({"deadline_seconds": TEXT})
)
"""Details that the invoker refuses."""
NO_SESSION = some(session_id=JSON, detail=DETAIL | JSON, event_time=JSON)
# Few that get as far as a function, which takes longest.
INPUT = st.one_of(
    *[NO_SESSION] * 15,
    st.fixed_dictionaries({"session_id": SESSION_ID, "detail": NO_DETAIL}, optional={"event_time": JSON}),
)


@fuzz(5)
@given(batch=st.lists(INPUT, min_size=5, max_size=5))
def test_execution_with_invalid_input_fails_and_says_why(workflow: Workflow, batch: list[Any]) -> None:
    started = [workflow.begin(json.dumps(item)) for item in batch]
    for item, arn in zip(batch, started, strict=True):
        execution = workflow.ended(arn)
        session_id = item.get("session_id") if isinstance(item, dict) else None
        is_session = isinstance(session_id, str) and re.fullmatch(SESSION_ID_PATTERN, session_id)
        expected = {"InvalidDetail", "DuplicateSession"} if is_session else {"InvalidSessionId"}
        assert execution["status"] == "FAILED"
        assert execution["error"] in expected, (item, execution["error"], execution["cause"])


CODE = re.compile(r"[A-Za-z]+(\.[A-Za-z]+)?")
DEEP: Any = json.loads("[" * 500 + "]" * 500)


@fuzz(1)
@given(details=st.lists(DETAIL, min_size=7, max_size=7, unique_by=json.dumps))
def test_every_event_becomes_a_session_that_ends_with_a_reason(
    stack: LocalStack, workflow: Workflow, details: list[dict[str, Any]]
) -> None:
    kind = {"Source": EVENT_SOURCE, "DetailType": EVENT_DETAIL_TYPE}
    events = [{**kind, "Detail": json.dumps(detail)} for detail in [*details[1:], {"functions": DEEP}]]
    client = stack.client("events")
    for entry in [client.put_events(Entries=[event])["Entries"][0] for event in events]:
        session = ended(workflow, entry["EventId"])
        assert session.status == Status.COMPLETED or (session.error and CODE.fullmatch(session.error.code)), session


@pytest.fixture(scope="module")
def reconciling(stack: LocalStack) -> Iterator[None]:
    """The environment of the reconciler's function, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            **stack.environment(),
            Env.TABLE: stack.outputs[Output.TABLE],
            Env.STATE_MACHINE_ARN: stack.outputs[Output.STATE_MACHINE],
            Env.AGENT_RUNTIME_ARN: stack.outputs[Output.AGENT_RUNTIME],
        }.items():
            patch.setenv(name, value)
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        reconciler._reconciler.cache_clear()
        # Some events make it look at all sessions; other tests of this stack may have left one open.
        reconciler.handler({}, None)
        yield
        reconciler._reconciler.cache_clear()


TOLD = some(
    source=TEXT,
    detail=some(
        executionArn=TEXT | JSON,
        status=st.sampled_from(["FAILED", "ABORTED"]),
        input=some(session_id=TEXT | JSON).map(json.dumps) | TEXT | JSON,
    ),
)


@fuzz(40)
@given(event=TOLD)
def test_reconciler_closes_nothing_for_other_events(reconciling: None, event: Any) -> None:
    assert reconciler.handler(event, None) == {"closed": []}

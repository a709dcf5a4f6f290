import asyncio
import json
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest
from botocore.exceptions import ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st
from strands import Agent, ModelRetryStrategy
from strands.types.exceptions import ModelThrottledException
from strands.types.streaming import StreamEvent

from tests.agents import Scripted
from tests.support import Silent, served
from vigil.agent.models import ATTEMPTS, BACKOFF_SECONDS, MAX_TOKENS, call_limits, make_model, retry_strategy
from vigil.errors import MissingSetting
from vigil.names import Env
from vigil.session import Failure, Session

pytestmark = pytest.mark.takes(15)


def test_a_bedrock_model_uses_the_endpoint_and_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str | None, int]] = []

    class Bedrock(Silent):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((self.path, self.headers["Authorization"], body["inferenceConfig"]["maxTokens"]))
            message = {"role": "assistant", "content": [{"text": "Hello."}]}
            spent = {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, "metrics": {"latencyMs": 1}}
            self.answer(200, {"output": {"message": message}, "stopReason": "end_turn", **spent})

    with served(Bedrock) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", address)
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "a-bedrock-api-key")
        answer = Agent(model=make_model("vendor.model-v1:0", "eu-west-1"), callback_handler=None)("Hi")
    assert str(answer).strip() == "Hello."
    assert seen == [("/model/vendor.model-v1%3A0/converse", "Bearer a-bedrock-api-key", MAX_TOKENS)]


@pytest.mark.parametrize(
    ("spec", "base", "path", "limit"),
    [
        ("anthropic/claude-x", "ANTHROPIC_BASE_URL", "/v1/messages", lambda body: body["max_tokens"]),
        ("ollama/llama3", "OLLAMA_HOST", "/api/chat", lambda body: body["options"]["num_predict"]),
        ("openai/gpt-x", "OPENAI_BASE_URL", "/chat/completions", lambda body: body["max_completion_tokens"]),
    ],
    ids=["anthropic", "ollama", "openai"],
)
def test_request_to_another_provider_names_model_and_answer_limit(
    monkeypatch: pytest.MonkeyPatch, spec: str, base: str, path: str, limit: Callable[[Any], int]
) -> None:
    seen: list[tuple[str, str, int]] = []

    class Provider(Silent):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((self.path, body["model"], limit(body)))
            self.answer(400, {"error": {"message": "enough", "type": "invalid_request_error"}})

    with served(Provider) as address:
        monkeypatch.setenv(base, address)
        monkeypatch.setenv(f"{spec.partition('/')[0].upper()}_API_KEY", "a-key")
        with pytest.raises(Exception, match="enough"):
            Agent(model=make_model(spec, "us-east-1"), callback_handler=None)("Hi")
    assert seen == [(path, spec.partition("/")[2], MAX_TOKENS)]


PROVISIONED = "arn:aws:bedrock:::provisioned-model/x"


@pytest.mark.parametrize(
    "spec", ["", "foo/bar", "anthropic/", "/x", "a model", "Anthropic/claude-x", "arn:", PROVISIONED]
)
def test_invalid_model_is_refused_with_the_valid_forms(spec: str) -> None:
    said = "take a Bedrock model id or ARN, or provider/model (providers: anthropic, ollama, openai), not "
    with pytest.raises(MissingSetting, match=re.escape(said + repr(spec))):
        make_model(spec, "us-east-1")


def test_a_provider_whose_package_is_missing_is_named_with_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    # None is how Python itself marks a module that must not be imported.
    monkeypatch.setitem(sys.modules, "ollama", None)
    monkeypatch.delitem(sys.modules, "strands.models.ollama", raising=False)
    with pytest.raises(MissingSetting, match=r"VIGIL_MODEL=ollama/llama3 needs the package strands-agents\[ollama\]"):
        make_model("ollama/llama3", "us-east-1")


@given(st.integers(1, 28_800), st.sampled_from([BACKOFF_SECONDS, 120.0, 240.0]))
def test_all_attempts_of_a_call_end_before_the_agent_seems_to_hang(progress_seconds: int, backoff: float) -> None:
    attempts, connect, answer = call_limits(progress_seconds, backoff)
    assert connect > 0
    assert answer > 0
    assert attempts == (ATTEMPTS if progress_seconds >= backoff * 5 / 3 else 1)
    assert attempts * (connect + answer) + (attempts > 1) * backoff < progress_seconds


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
@pytest.mark.parametrize("retry_after", [60, 120])
@pytest.mark.parametrize(("progress_seconds", "attempts"), [(60, 1), (900, ATTEMPTS)])
def test_long_retry_after_of_a_provider_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, provider: str, retry_after: int, progress_seconds: int, attempts: int
) -> None:
    timeouts: list[float] = []
    waits: list[float] = []
    sleep = anyio.sleep

    class Throttling(Silent):
        def do_POST(self) -> None:
            timeouts.append(float(self.headers["X-Stainless-Read-Timeout"]))
            self.answer(429, {"error": {"message": "not now"}}, {"Retry-After": str(retry_after)})

    async def wait(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    with served(Throttling) as address:
        monkeypatch.setenv(f"{provider.upper()}_BASE_URL", address)
        monkeypatch.setenv(f"{provider.upper()}_API_KEY", "a-key")
        monkeypatch.setenv(Env.PROGRESS_SECONDS, str(progress_seconds))
        monkeypatch.setattr("anyio.sleep", wait)
        model = make_model(f"{provider}/x", "us-east-1")
        with pytest.raises(ModelThrottledException):
            Agent(model=model, callback_handler=None, retry_strategy=ModelRetryStrategy(max_attempts=1))("Hi")
    assert (len(timeouts), len(waits)) == (attempts, attempts - 1)
    assert sum(timeouts) + sum(waits) < progress_seconds


@pytest.mark.parametrize(("progress_seconds", "attempts"), [(2, 1), (5, ATTEMPTS)])
def test_a_bedrock_that_never_answers_is_given_up_in_time(
    monkeypatch: pytest.MonkeyPatch, progress_seconds: int, attempts: int
) -> None:
    # The system accepts the connections; no process reads from them.
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "a-bedrock-api-key")
        monkeypatch.setenv(Env.PROGRESS_SECONDS, str(progress_seconds))
        agent = Agent(model=make_model("vendor.model-v1:0", "eu-west-1"), callback_handler=None)
        begin = time.monotonic()
        with pytest.raises(ReadTimeoutError):
            agent("Hi")
        assert time.monotonic() - begin < progress_seconds
        server.settimeout(0)
        connections = 0
        with suppress(BlockingIOError):
            while True:
                server.accept()[0].close()
                connections += 1
    assert connections == attempts


class Throttled(Scripted):
    """Takes no call."""

    async def stream(self, *_: Any, **__: Any) -> AsyncIterator[StreamEvent]:
        raise ModelThrottledException("not now")
        yield


@pytest.mark.parametrize(
    ("progress_seconds", "expected"), [("1", [0] * 5), ("20", [4, 8, 16, 18, 18]), ("900", [4, 8, 16, 32, 64])]
)
def test_a_throttled_agent_waits_without_seeming_to_hang(
    end_of: Callable[..., Session], monkeypatch: pytest.MonkeyPatch, progress_seconds: str, expected: list[int]
) -> None:
    waits: list[float] = []
    told: list[str] = []
    sleep = asyncio.sleep

    async def wait(seconds: float) -> None:
        # The supervisor has heard before each wait, and hears after it.
        assert told[-1] == "the model has answered"
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setenv(Env.PROGRESS_SECONDS, progress_seconds)
    monkeypatch.setattr("strands.event_loop._retry.asyncio.sleep", wait)
    agent = Agent(model=Throttled("throttled", []), retry_strategy=retry_strategy(), callback_handler=None)
    assert end_of(lambda _: agent, keep_alive=told.append).error == Failure("ModelThrottledException", "not now")
    assert waits == expected
    assert told == ["calling the model", "the model has answered"] * 6

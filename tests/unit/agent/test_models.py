import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from strands import Agent

from vigil.agent.models import make_model
from vigil.errors import MissingSetting


class Silent(BaseHTTPRequestHandler):
    """A server's handler that logs nothing."""

    def answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve on a free port and yield the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_any_bedrock_model_is_called_at_the_endpoint_and_with_the_key_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[str, str | None]] = []

    class Bedrock(Silent):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, self.headers["Authorization"]))
            self.answer(
                200,
                {
                    "output": {"message": {"role": "assistant", "content": [{"text": "Hello."}]}},
                    "stopReason": "end_turn",
                    "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
                    "metrics": {"latencyMs": 1},
                },
            )

    with served(Bedrock) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", address)
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "a-bedrock-api-key")
        answer = Agent(model=make_model("vendor.model-v1:0", "eu-west-1"), callback_handler=None)("Hi")
    assert str(answer).strip() == "Hello."
    assert seen == [("/model/vendor.model-v1%3A0/converse", "Bearer a-bedrock-api-key")]


@pytest.mark.parametrize(
    ("spec", "base", "path"),
    [
        ("anthropic/claude-x", "ANTHROPIC_BASE_URL", "/v1/messages"),
        ("ollama/llama3", "OLLAMA_HOST", "/api/chat"),
        ("openai/gpt-x", "OPENAI_BASE_URL", "/chat/completions"),
    ],
)
def test_another_provider_is_asked_for_the_model(
    monkeypatch: pytest.MonkeyPatch, spec: str, base: str, path: str
) -> None:
    seen: list[tuple[str, str]] = []

    class Provider(Silent):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((self.path, body["model"]))
            self.answer(400, {"error": {"message": "enough", "type": "invalid_request_error"}})

    with served(Provider) as address:
        monkeypatch.setenv(base, address)
        monkeypatch.setenv(f"{spec.partition('/')[0].upper()}_API_KEY", "a-key")
        with pytest.raises(Exception, match="enough"):
            Agent(model=make_model(spec, "us-east-1"), callback_handler=None)("Hi")
    assert seen == [(path, spec.partition("/")[2])]


def test_a_provider_whose_package_is_missing_is_named_with_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    # None is how Python itself marks a module that must not be imported.
    monkeypatch.setitem(sys.modules, "ollama", None)
    monkeypatch.delitem(sys.modules, "strands.models.ollama", raising=False)
    with pytest.raises(MissingSetting, match=r"VIGIL_MODEL=ollama/llama3 needs the package strands-agents\[ollama\]"):
        make_model("ollama/llama3", "us-east-1")

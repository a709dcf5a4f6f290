import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from strands import Agent

from vigil.agent.models import make_model
from vigil.errors import MissingSetting


def test_any_bedrock_model_is_called_at_the_endpoint_and_with_the_key_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[str, str | None]] = []

    class Bedrock(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, self.headers["Authorization"]))
            body = json.dumps(
                {
                    "output": {"message": {"role": "assistant", "content": [{"text": "Hello."}]}},
                    "stopReason": "end_turn",
                    "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
                    "metrics": {"latencyMs": 1},
                }
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Bedrock) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "a-bedrock-api-key")
        answer = Agent(model=make_model("vendor.model-v1:0", "eu-west-1"), callback_handler=None)("Hi")
        server.shutdown()
    assert str(answer).strip() == "Hello."
    assert seen == [("/model/vendor.model-v1%3A0/converse", "Bearer a-bedrock-api-key")]


def test_a_provider_whose_package_is_missing_is_named_with_the_package() -> None:
    with pytest.raises(MissingSetting, match=r"VIGIL_MODEL=ollama/llama3 needs the package strands-agents\[ollama\]"):
        make_model("ollama/llama3", "us-east-1")

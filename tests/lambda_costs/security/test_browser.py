"""No web page may use a local stack."""

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest

from tests.lambda_costs.security.raw_requests import LIST, PATHS, REFUSED, send, sign
from tests.support import Silent, ask, served
from vigil.local.stack import REGION, LocalStack
from vigil.names import Output

HOSTS = ("evil.example", "127.0.0.1", "127.0.0.1.evil.example:{port}", "any.lambda-url.us-east-1.localhost:{port}")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"},
        {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
    ids=["fetch", "fetch-of-this-machine", "sandboxed", "image", "link", "rebound"],
)
def test_signed_request_of_a_page_is_refused(stack: LocalStack, path: str, headers: dict[str, str]) -> None:
    status, body = ask(stack, "POST", path, b"{}", **headers)
    assert (status, body) == (403, b"no web page may use this server: Origin and Sec-Fetch-Site are refused")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", HOSTS)
def test_other_host_name_is_refused(stack: LocalStack, path: str, host: str) -> None:
    status, body, _ = send(stack, "POST", path, b"{}", Host=host.format(port=stack.port))
    assert status == 403
    assert body.decode() == f"Host must be one of 127.0.0.1:{stack.port}, localhost:{stack.port}"


def test_no_page_is_allowed_to_read_an_answer(stack: LocalStack) -> None:
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    status, _, headers = send(stack, "OPTIONS", LIST, **asked)
    assert status == 403
    answered = send(stack, "GET", LIST, **sign(stack))
    assert answered[0] == 200
    for name in (*headers, *answered[2]):
        assert not name.lower().startswith("access-control-")


@pytest.mark.parametrize("path", ["/", "/_aws/execute-api/any/prod/", "/mqtt"])
def test_websocket_is_refused(stack: LocalStack, path: str) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}
    assert send(stack, "GET", path, **sign(stack, target=path, **upgrade))[0] in REFUSED


PAGE = """<!doctype html><title>any page</title><pre id=out></pre><script>
const tries = %s, out = document.getElementById("out"), image = new Image()
const asked = tries.map(([url, options]) => fetch(url, options).then(
  async answer => `${answer.type} ${answer.status} ${await answer.text()}`, error => `${error}`))
image.src = tries[0][0]
const socket = new WebSocket(tries[0][0].replace("http", "ws"))
asked.push(new Promise(done => { socket.onopen = () => done("open"); socket.onerror = () => done("no socket") }))
Promise.all(asked).then(all => { out.textContent = JSON.stringify(all) })
</script>"""


@pytest.fixture
def page() -> Iterator[Any]:
    """Serve one page on another port; returns its address."""
    text = ""

    class Handler(Silent):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

    def serve(html: str) -> str:
        nonlocal text
        text = html
        return f"{address.replace('127.0.0.1', 'localhost')}/"

    with served(Handler) as address:
        yield serve


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; the tests above send the same")
def test_page_in_a_real_browser_reads_and_changes_nothing(stack: LocalStack, page: Any, tmp_path: Path) -> None:
    table = stack.client("dynamodb")
    keys = {"KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}], "BillingMode": "PAY_PER_REQUEST"}
    attributes = {"AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}]}
    create = {"TableName": "made-by-a-page", **keys, **attributes}
    body = json.dumps(create).encode()
    simple = AWSRequest("POST", f"{stack.endpoint}/?Action=CreateTable", data=body)
    S3SigV4QueryAuth(stack.session().get_credentials(), "dynamodb", REGION, expires=300).add_auth(simple)
    headers = sign(stack, "dynamodb", "POST", "/", body, **{"x-amz-target": "DynamoDB_20120810.CreateTable"})
    tries = [
        (f"{stack.endpoint}/_ministack/health", {}),
        (f"{stack.endpoint}/_ministack/reset", {"method": "POST", "mode": "no-cors"}),
        (simple.url, {"method": "POST", "mode": "no-cors", "body": body.decode()}),
        (f"{stack.endpoint}/", {"method": "POST", "headers": headers, "body": body.decode()}),
    ]
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000", "--dump-dom")
    words = [str(CHROMIUM), *options, f"--user-data-dir={tmp_path}", page(PAGE % json.dumps(tries))]
    done = subprocess.run(words, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=120)
    found = re.search(r"<pre id=.out.>(.*?)</pre>", done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    failed = "TypeError: Failed to fetch"
    # An opaque answer tells the page neither status nor text.
    assert json.loads(found[1]) == [failed, "opaque 0 ", "opaque 0 ", failed, "no socket"]
    assert create["TableName"] not in table.list_tables()["TableNames"]
    assert stack.outputs[Output.TABLE] in table.list_tables()["TableNames"]

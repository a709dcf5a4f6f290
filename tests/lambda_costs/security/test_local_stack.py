"""Nobody but the user may use a local stack: no web page, no other user of the machine, no file of another user."""

import base64
import hashlib
import http.client
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import boto3
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lambda_costs.security.planted import API_KEY
from tests.lambda_costs.security.server import WRITTEN
from tests.support import BIN, ask, command, until
from vigil.local.gate import CREDENTIALS_PATH
from vigil.local.stack import REGION, LocalStack
from vigil.names import Output

LIST = "/2015-03-31/functions/"
PATHS = (
    LIST,
    "/",
    "/health",
    "/_ministack/health",
    "/_ministack/config",
    "/_ministack/reset",
    "/_localstack/health",
    "/latest/meta-data/iam/security-credentials/",
    "/v2/",
    "/iceberg/v1/config",
    "/_aws/execute-api/any/prod/",
    "/model/any/converse",
    CREDENTIALS_PATH,
)
HOSTS = ("evil.example", "127.0.0.1", "127.0.0.1.evil.example:{port}", "any.lambda-url.us-east-1.localhost:{port}")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")


def send(stack: LocalStack, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, bytes, Any]:
    """Send just this and return (status, body, headers) of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=30)
    try:
        connection.putrequest(method, target, skip_host="Host" in headers, skip_accept_encoding=True)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def signed(stack: LocalStack, method: str = "GET", target: str = LIST, body: bytes = b"", **extra: str) -> AWSRequest:
    request = AWSRequest(method, stack.endpoint + target, headers=extra, data=body)
    SigV4Auth(stack.session().get_credentials(), "lambda", REGION).add_auth(request)
    return request


# What a page in a browser can send


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "told",
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
def test_what_a_browser_sends_for_a_page_is_refused_even_if_the_page_knows_the_key(
    stack: LocalStack, path: str, told: dict[str, str]
) -> None:
    status, body = ask(stack, "POST", path, b"{}", **told)
    assert (status, body) == (403, b"no web page may use this server: Origin and Sec-Fetch-Site are refused")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", HOSTS)
def test_a_name_that_leads_to_the_loopback_address_is_refused(stack: LocalStack, path: str, host: str) -> None:
    status, body, _ = send(stack, "POST", path, b"{}", Host=host.format(port=stack.port))
    assert status == 403
    assert body.decode() == f"Host must be one of 127.0.0.1:{stack.port}, localhost:{stack.port}"


def test_no_page_may_read_an_answer_or_learn_that_it_might(stack: LocalStack) -> None:
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    status, _, headers = send(stack, "OPTIONS", LIST, **asked)
    assert status == 403
    request = signed(stack)
    answered = send(stack, "GET", LIST, **dict(request.headers))
    assert answered[0] == 200
    for name in (*headers, *answered[2]):
        assert not name.lower().startswith("access-control-")


@pytest.mark.parametrize("path", ["/", "/_aws/execute-api/any/prod/", "/mqtt"])
def test_a_websocket_is_refused(stack: LocalStack, path: str) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    assert send(stack, "GET", path, **dict(signed(stack, target=path, **upgrade).headers))[0] in (400, 403)


PAGE = """<!doctype html><title>any page</title><pre id=told></pre><script>
const tries = %s, told = document.getElementById("told"), image = new Image()
const asked = tries.map(([url, options]) => fetch(url, options).then(
  async answer => `${answer.type} ${answer.status} ${await answer.text()}`, error => `${error}`))
image.src = tries[0][0]
const socket = new WebSocket(tries[0][0].replace("http", "ws"))
asked.push(new Promise(done => { socket.onopen = () => done("open"); socket.onerror = () => done("no socket") }))
Promise.all(asked).then(all => { told.textContent = JSON.stringify(all) })
</script>"""


@pytest.fixture
def page() -> Iterator[Any]:
    """Serve one page on another port and return its address."""
    text = ""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    def serve(given: str) -> str:
        nonlocal text
        text = given
        return f"http://localhost:{server.server_port}/"

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield serve
        server.shutdown()
        thread.join()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; the tests above send what it sends")
def test_a_page_in_a_real_browser_learns_and_does_nothing(stack: LocalStack, page: Any, tmp_path: Path) -> None:
    table = stack.client("dynamodb")
    create = {
        "TableName": "made-by-a-page",
        "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    body = json.dumps(create).encode()
    simple = AWSRequest("POST", f"{stack.endpoint}/?Action=CreateTable", data=body)
    S3SigV4QueryAuth(stack.session().get_credentials(), "dynamodb", REGION, expires=300).add_auth(simple)
    target = {"x-amz-target": "DynamoDB_20120810.CreateTable"}
    request = AWSRequest("POST", f"{stack.endpoint}/", headers=target, data=body)
    SigV4Auth(stack.session().get_credentials(), "dynamodb", REGION).add_auth(request)
    tries = [
        (f"{stack.endpoint}/_ministack/health", {}),
        (f"{stack.endpoint}/_ministack/reset", {"method": "POST", "mode": "no-cors"}),
        (simple.url, {"method": "POST", "mode": "no-cors", "body": body.decode()}),
        (request.url, {"method": "POST", "headers": dict(request.headers), "body": body.decode()}),
    ]
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000", "--dump-dom")
    done = subprocess.run(
        [str(CHROMIUM), *options, f"--user-data-dir={tmp_path}", page(PAGE % json.dumps(tries))],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = re.search(r"<pre id=.told.>(.*?)</pre>", done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    failed = "TypeError: Failed to fetch"
    # An opaque answer tells the page neither status nor text.
    assert json.loads(found[1]) == [failed, "opaque 0 ", "opaque 0 ", failed, "no socket"]
    assert create["TableName"] not in table.list_tables()["TableNames"]
    assert stack.outputs[Output.TABLE] in table.list_tables()["TableNames"]


# What another user of the machine can send


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_what_is_not_signed_is_refused(stack: LocalStack, method: str, path: str) -> None:
    assert send(stack, method, path, b"{}")[0] in (400, 403)


def derived(stack: LocalStack) -> tuple[str, str, str]:
    """Return the credentials that ministack alone would give to the invoker, computed from names."""
    function = stack.client("lambda").get_function_configuration(FunctionName=stack.outputs[Output.INVOKER])
    digest = hashlib.sha256(f"{function['FunctionArn']}:{function['Role']}".encode()).hexdigest()
    secret, token = (hashlib.sha256(f"{what}:{digest}".encode()).hexdigest() for what in ("secret", "token"))
    return f"ASIA{digest[:16].upper()}", secret, token


@pytest.mark.parametrize("keys", ["test", "", "000000000000", "123456789012", "root", "of a function"])
@pytest.mark.parametrize(
    ("service", "ask_for"),
    [("iam", "list_roles"), ("s3", "list_buckets"), ("sts", "get_caller_identity"), ("dynamodb", "list_tables")],
)
def test_a_key_that_can_be_guessed_is_refused(stack: LocalStack, keys: str, service: str, ask_for: str) -> None:
    given = {
        "root": (stack.secrets.access_key_id, "test", None),
        "of a function": derived(stack),
    }.get(keys, (keys or "-", "test", None))
    client = boto3.client(service, REGION, None, True, None, stack.endpoint, *given)
    with pytest.raises(ClientError) as refused:
        getattr(client, ask_for)()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_signed_request_that_was_changed_anywhere_is_refused(stack: LocalStack, data: st.DataObject) -> None:
    table = {"TableName": stack.outputs[Output.TABLE]}
    request = AWSRequest(
        "POST",
        f"{stack.endpoint}/?a=1&b=%2F",
        headers={"x-amz-target": "DynamoDB_20120810.DescribeTable", "content-type": "application/x-amz-json-1.0"},
        data=json.dumps(table),
    )
    SigV4Auth(stack.session().get_credentials(), "dynamodb", REGION).add_auth(request)
    headers, body, target = dict(request.headers), json.dumps(table), "/?a=1&b=%2F"
    assert send(stack, "POST", target, body.encode(), **headers)[0] == 200
    what = data.draw(st.sampled_from(["body", "target", "header", "new header", "signature", "date", "no host"]))
    if what == "body":
        at = data.draw(st.integers(0, len(body) - 1))
        body = body[:at] + chr((ord(body[at]) + 1) % 128) + body[at + 1 :]
    elif what == "target":
        target = data.draw(st.sampled_from(["/?a=2&b=%2F", "/x?a=1&b=%2F", "/?a=1", "/?a=1&b=%2F&c=", "/?b=/&a=1&a=1"]))
    elif what == "header":
        headers["x-amz-target"] = data.draw(
            st.sampled_from(["DynamoDB_20120810.DeleteTable", "AWSSecurityTokenService"])
        )
    elif what == "new header":
        headers[data.draw(st.sampled_from(["x-amz-security-token", "X-Amz-Any"]))] = data.draw(
            st.sampled_from(["a", ""])
        )
    elif what == "signature":
        end = data.draw(st.text("0123456789abcdef", min_size=64, max_size=64))
        headers["Authorization"] = headers["Authorization"][:-64] + end
    elif what == "date":
        headers["X-Amz-Date"] = data.draw(st.sampled_from(["20200101T000000Z", "x", "99991231T235959Z"]))
    else:
        headers["Authorization"] = headers["Authorization"].replace("host;", "")
    assert send(stack, "POST", target, body.encode(), **headers)[0] in (400, 403)


@pytest.fixture(scope="module")
def nobody(stack: LocalStack) -> Iterator[Credentials]:
    """The key of somebody who may do nothing."""
    iam = stack.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    yield Credentials(key["AccessKeyId"], key["SecretAccessKey"])
    iam.delete_access_key(UserName="nobody", AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName="nobody")


def test_a_role_cannot_pass_for_the_root(stack: LocalStack, nobody: Credentials) -> None:
    """Signed with the key of somebody who may do nothing, and naming another key where ministack looks for one."""
    body = b"Action=ListUsers&Version=2010-05-08"
    for name in ("test", stack.secrets.access_key_id):
        for target in (f"/?X-Amz-Credential={name}/20260101/us-east-1/iam/aws4_request", f"/?AWSAccessKeyId={name}"):
            request = AWSRequest("POST", stack.endpoint + target, data=body)
            SigV4Auth(nobody, "iam", REGION).add_auth(request)
            headers = {**dict(request.headers), "Content-Type": "application/x-www-form-urlencoded"}
            before = headers["Authorization"]
            claims = before.replace("Credential=", f"Credential={name}/a/b/c/d, Credential=")
            for authorization in (before, claims):
                told = {**headers, "Authorization": authorization}
                assert send(stack, "POST", target, body, **told)[0] in (400, 403)


def test_each_of_several_refused_uploads_is_told_why(stack: LocalStack) -> None:
    """boto3 sends the body of an upload after the server's consent, and uses a connection again."""
    retries = {"total_max_attempts": 1}
    session = boto3.Session(stack.secrets.access_key_id, "another secret", region_name=REGION)
    s3 = session.client("s3", endpoint_url=stack.endpoint, config=boto3.session.Config(retries=retries))
    for _ in range(3):
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            s3.put_object(Bucket=stack.outputs[Output.BUCKET], Key="refused", Body=b"text")


def test_what_a_presigned_address_is_for_cannot_be_changed(stack: LocalStack) -> None:
    s3, bucket = stack.client("s3"), stack.outputs[Output.BUCKET]
    s3.put_object(Bucket=bucket, Key="presigned", Body=b"text")
    for version in ("s3v4", "s3"):
        client = stack.session().client("s3", config=boto3.session.Config(signature_version=version))
        address = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "presigned"})
        target = address.removeprefix(stack.endpoint)
        assert send(stack, "GET", target)[1] == b"text"
        assert send(stack, "DELETE", target)[0] == 403
        assert send(stack, "GET", target.replace("presigned", "another"))[0] == 403
        assert send(stack, "GET", target, **{"x-amz-target": "DynamoDB_20120810.ListTables"})[0] in (400, 403)
        late = re.sub(r"Expires=\d+", "Expires=1", target)
        assert send(stack, "GET", late)[0] == 403


@pytest.mark.parametrize("name", ["X-Amz-Credential", "x-amz-credential", "X-AMZ-CREDENTIAL", "x-amz-copy-source"])
def test_a_presigned_address_takes_no_parameter_that_it_does_not_sign(stack: LocalStack, name: str) -> None:
    s3, bucket = stack.client("s3"), stack.outputs[Output.BUCKET]
    s3.put_object(Bucket=bucket, Key="presigned", Body=b"text")
    client = stack.session().client("s3", config=boto3.session.Config(signature_version="s3"))
    address = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "presigned"})
    target = address.removeprefix(stack.endpoint)
    assert send(stack, "GET", target)[0] == 200
    assert send(stack, "GET", f"{target}&{name}=test")[0] == 403


# What a role of the stack can send

MAY = {
    "lambda": "ListFunctions",
    "dynamodb": "GetItem",
    "s3": "PutObject",
    "states": "SendTaskSuccess",
    "logs": "DescribeLogGroups",
    "sqs": "SendMessage",
    "iam": "ListUsers",
    "cloudformation": "ListStacks",
    "cloudwatch": "GetMetricData",
}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/x-amz-json-1.0"}


@pytest.fixture(scope="module")
def guest(stack: LocalStack) -> Iterator[Credentials]:
    """The key of somebody who may do one thing with each of some services."""
    iam = stack.client("iam")
    iam.create_user(UserName="guest")
    actions = [f"{service}:{action}" for service, action in MAY.items()]
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
    iam.put_user_policy(UserName="guest", PolicyName="some", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName="guest")["AccessKey"]
    yield Credentials(key["AccessKeyId"], key["SecretAccessKey"])
    iam.delete_access_key(UserName="guest", AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName="guest", PolicyName="some")
    iam.delete_user(UserName="guest")


def send_as(
    stack: LocalStack, who: Credentials, service: str, method: str, target: str, body: bytes = b"", **headers: str
) -> tuple[int, bytes]:
    request = AWSRequest(method, stack.endpoint + target, headers=headers, data=body)
    (S3SigV4Auth if service == "s3" else SigV4Auth)(who, service, REGION).add_auth(request)
    return send(stack, method, target, body, **dict(request.headers))[:2]


def confused(stack: LocalStack) -> list[tuple[Any, ...]]:
    """Requests that name an operation that the guest may do, and would carry out another."""
    function, bucket = stack.outputs[Output.INVOKER], stack.outputs[Output.BUCKET]
    table = json.dumps({"TableName": stack.outputs[Output.TABLE]}).encode()
    machine = json.dumps({"stateMachineArn": stack.outputs[Output.STATE_MACHINE]}).encode()
    group = json.dumps({"logGroupName": "/aws/lambda/any"}).encode()
    user = b"Action=CreateUser&Version=2010-05-08&UserName=made"
    allowed = b"Action=ListUsers&Version=2010-05-08"
    purge = b"Action=PurgeQueue&QueueUrl=" + stack.outputs[Output.DEAD_LETTERS].encode()
    role = b"Action=AssumeRole&RoleSessionName=x&RoleArn=" + stack.outputs[Output.AGENT_ROLE].encode()
    item, chunked = {"X-Amz-Target": "DynamoDB_20120810.GetItem"}, b"2\r\n{}\r\n0\r\n\r\n"
    scan, rpc = {"X-Amz-Target": "DynamoDB_20120810.Scan"}, "/service/GraniteServiceVersion20100801/operation/"
    run = f"/2015-03-31/functions/{function}"
    return [
        ("lambda", "POST", f"{run}/invocations?Action=ListFunctions", b"{}"),
        ("lambda", "POST", f"{run}/invocations", b"Action=ListFunctions", FORM),
        ("lambda", "POST", f"{run}/invocations", b"{}", {"X-Amz-Target": "AWSLambda.ListFunctions"}),
        ("lambda", "POST", "/2015-03-31/functions?Action=ListFunctions", b"{}"),
        ("lambda", "POST", f"/2021-11-15/functions/{function}/response-streaming-invocations", b"{}"),
        ("lambda", "DELETE", "/2015-03-31/event-source-mappings/any", b""),
        ("lambda", "DELETE", f"{run}?Action=ListFunctions", b""),
        ("lambda", "GET", f"/2015-03-31/functions/..%2F{function}", b""),
        ("lambda", "GET", f"//2015-03-31/functions/{function}/", b""),
        ("dynamodb", "POST", "/?Action=GetItem", table, {**JSON, **scan}),
        ("dynamodb", "POST", "/", b"Action=GetItem", {**FORM, **scan}),
        ("dynamodb", "POST", "/", table, {**JSON, "X-Amz-Target": "DynamoDB_20120810.Scan.GetItem"}),
        ("dynamodb", "POST", "/", table, {**JSON, "X-Amz-Target": "DynamoDB_20120810.GetItem,x.Scan"}),
        ("s3", "POST", "/", table, {**JSON, **scan}),
        ("s3", "DELETE", f"/{bucket}/any?Action=PutObject", b""),
        ("s3", "PUT", f"/{bucket}?policy&Action=PutObject", b"{}"),
        ("s3", "PUT", f"/{bucket}/any?acl&uploadId=1", b"{}"),
        ("s3", "GET", "/?Action=PutObject", b""),
        ("states", "POST", "/?Action=SendTaskSuccess", machine, {"X-Amz-Target": "AWSStepFunctions.StartExecution"}),
        ("logs", "POST", "/?Action=DescribeLogGroups", group, {"X-Amz-Target": "Logs_20140328.DeleteLogGroup"}),
        ("iam", "POST", "/?Action=ListUsers", user, FORM),
        ("iam", "POST", "/", allowed + b"&" + user, FORM),
        ("iam", "POST", "/?Action=ListUsers&Action=CreateUser&UserName=made", b"", FORM),
        ("iam", "POST", "/", user, {"Content-Type": "Application/X-WWW-Form-urlencoded"}),
        ("iam", "POST", "/", user, {"Content-Type": "text/plain"}),
        ("iam", "POST", "/", user, {**FORM, "Content-Encoding": "identity"}),
        ("iam", "POST", "/", user, {**FORM, "X-Amz-Target": "IAM.ListUsers"}),
        ("sqs", "POST", "/?Action=SendMessage", purge, FORM),
        ("sqs", "POST", "/?Action=SendMessage", purge, {"Content-Type": "text/plain"}),
        ("sqs", "POST", "/", purge, {**FORM, "X-Amz-Target": "AmazonSQS.SendMessage"}),
        ("cloudformation", "POST", "/?Action=ListStacks", b"Action=DeleteStack&StackName=Vigil", FORM),
        ("monitoring", "POST", f"{rpc}PutMetricData", b"\xa0", {"Smithy-Protocol": "rpc-v2-cbor"}),
        ("monitoring", "POST", f"{rpc}PutMetricData?Action=GetMetricData", b"\xa0", {"Smithy-Protocol": "rpc-v2-cbor"}),
        ("monitoring", "POST", f"{rpc}GetMetricData/operation/PutMetricData", b"{}", JSON),
        ("bedrock-agentcore", "POST", "/runtimes/", b"{}"),
        ("bedrock-agentcore", "GET", "/runtimes/any/", b""),
        ("bedrock-agentcore", "PUT", "/runtimes/any/?Action=GetItem", b"{}"),
        # Members of other operations, of which IAM would take the resource.
        ("dynamodb", "POST", "/", table[:-1] + b', "Statement": "SELECT"}', {**JSON, **item}),
        ("dynamodb", "POST", "/", b"[]", {**JSON, **item}),
        ("dynamodb", "POST", "/", b"[" * 100_000, {**JSON, **item}),
        ("iam", "POST", "/", allowed + b"&UserName=x&RoleName=y", FORM),
        ("iam", "POST", "/", b"Action=ListUsers&PathPrefix=/a/&PathPrefix=/b/&Version=2010-05-08", FORM),
        # Services of which only one way to ask is known.
        ("sns", "POST", "/", b"Action=DeleteTopic&TopicArn=x", {"X-Amz-Target": "AmazonSNS.ListTopics"}),
        ("sts", "POST", "/", role, {"X-Amz-Target": "AWSSecurityTokenService.GetCallerIdentity"}),
        ("sqs", "POST", "/", purge.replace(b"Purge", b"Send"), FORM),
        ("sqs", "POST", "/_ministack/eks-auth/x", b"Action=SendMessage", FORM),
        # Subresources of another level.
        ("s3", "PUT", f"/{bucket}/any?versioning", b"text"),
        ("s3", "PUT", f"/{bucket}/any", b"tagging=1", FORM),
        ("s3", "PUT", f"/{bucket}//any", b"text"),
        # What acts for the caller.
        ("lambda", "PUT", f"{run}/configuration", b"{}"),
        ("states", "POST", "/", b"{}", {**JSON, "X-Amz-Target": "AWSStepFunctions.CreateStateMachine"}),
        # Chunks that are decoded after the request was checked.
        ("dynamodb", "POST", "/", chunked, {**FORM, **scan, "X-Amz-Decoded-Content-Length": "9"}),
        ("dynamodb", "POST", "/", chunked, {**JSON, **item, "Content-Encoding": "aws-chunked"}),
        ("s3", "PUT", f"/{bucket}/any", b"text", {"X-Forwarded-For": "10.1.1.1"}),
        ("s3", "PUT", f"/{bucket}/any", b"text", {"X-Forwarded-Proto": "http"}),
        ("kinesisanalytics", "POST", "/", b"{}", {"X-Amz-Target": "KinesisAnalytics_20180523.ListApplications"}),
        ("rds", "POST", "/", b"Action=DescribeDBClusters&Engine=docdb", FORM),
        ("s3", "GET", "/_ministack/health", b""),
        ("s3", "POST", "/_ministack/reset", b""),
        ("any", "POST", "/_ministack/reset", b""),
        ("sts", "POST", "/_ministack/config", b"{}"),
        ("s3", "GET", f"/_ministack/lambda-code/000000000000/{REGION}/{function}", b""),
        ("s3", "GET", "/_localstack/health", b""),
        ("s3", "GET", "/v2/credentials/any", b""),
        ("ec2", "GET", "/latest/meta-data/iam/security-credentials/any", b""),
        ("glue", "GET", "/iceberg/v1/config", b""),
    ]


def test_a_role_cannot_choose_which_operation_iam_is_asked_about(stack: LocalStack, guest: Credentials) -> None:
    before = stack.client("lambda").get_function(FunctionName=stack.outputs[Output.INVOKER])["Configuration"]
    for service, method, target, body, *headers in confused(stack):
        status, told = send_as(stack, guest, service, method, target, body, **(headers[0] if headers else {}))
        assert status in (400, 403), (service, method, target, status, told)
    after = stack.client("lambda").get_function(FunctionName=stack.outputs[Output.INVOKER])["Configuration"]
    assert before == after
    assert "made" not in {user["UserName"] for user in stack.client("iam").list_users()["Users"]}


def test_a_role_may_do_what_it_is_allowed(stack: LocalStack, guest: Credentials) -> None:
    session = boto3.Session(guest.access_key, guest.secret_key, region_name=REGION)

    def client(service: str) -> Any:
        return session.client(service, endpoint_url=stack.endpoint)

    bucket, table = stack.outputs[Output.BUCKET], stack.outputs[Output.TABLE]
    assert client("lambda").list_functions()["Functions"]
    client("dynamodb").get_item(TableName=table, Key={"PK": {"S": "any"}, "SK": {"S": "any"}})
    client("s3").put_object(Bucket=bucket, Key="of a guest/+ %2F", Body=b"any", Metadata={"any": "thing"})
    client("logs").describe_log_groups()
    client("iam").list_users()
    client("cloudformation").list_stacks()
    client("cloudwatch").get_metric_data(MetricDataQueries=[], StartTime=0, EndTime=60)
    root = stack.client("sqs")
    queue = root.create_queue(QueueName="of-a-guest")["QueueUrl"]
    client("sqs").send_message(QueueUrl=queue, MessageBody="of a guest")
    assert [item["Body"] for item in root.receive_message(QueueUrl=queue)["Messages"]] == ["of a guest"]
    root.delete_queue(QueueUrl=queue)
    with pytest.raises(ClientError, match="not authorized to perform: cloudwatch:ListMetrics"):
        client("cloudwatch").list_metrics()
    with pytest.raises(ClientError, match="not authorized to perform: bedrock-agentcore:ListAgentRuntimes"):
        client("bedrock-agentcore-control").list_agent_runtimes()


@cache
def known_paths() -> tuple[tuple[str, str, str], ...]:
    """(service of the signature, method, path) of every REST operation of services that share this port."""
    loader, found = Loader(), []
    for name in ("lambda", "s3", "bedrock-runtime", "bedrock-agentcore", "bedrock-agentcore-control", "apigatewayv2"):
        model = loader.load_service_model(name, "service-2")
        signs = model["metadata"].get("signingName", model["metadata"]["endpointPrefix"])
        for operation in model["operations"].values():
            path = re.sub(r"\{[^}]+\}", "any", operation["http"]["requestUri"])
            found.append((signs, operation["http"]["method"], path))
    return tuple(found)


@settings(max_examples=250, deadline=None)
@given(data=st.data())
def test_who_may_do_nothing_gets_nothing(stack: LocalStack, nobody: Credentials, data: st.DataObject) -> None:
    service, method, target = data.draw(st.sampled_from(known_paths()))
    service = data.draw(st.sampled_from([service, service, *MAY, "sts", "ec2", "any"]))
    target = data.draw(st.sampled_from([target, target, "/", *PATHS]))
    target = target.replace("any", data.draw(st.sampled_from(["any", *stack.outputs.values()])))
    target = "/" + "/".join(quote(part, safe="?=&%") for part in target.lstrip("/").split("/"))
    names = st.sampled_from([*MAY.values(), "ListTables", "DeleteStack", "CreateUser", "AssumeRole", "ListQueues"])
    if data.draw(st.booleans()):
        target += ("&" if "?" in target else "?") + f"Action={data.draw(names)}"
    headers, body = {}, b""
    if data.draw(st.booleans()):
        prefix = data.draw(st.sampled_from(["DynamoDB_20120810", "Logs_20140328", "AmazonSSM", "AWSStepFunctions"]))
        headers["X-Amz-Target"] = f"{prefix}.{data.draw(names)}"
    if data.draw(st.booleans()):
        headers |= data.draw(st.sampled_from([FORM, JSON, {"Content-Type": "application/cbor"}]))
        body = data.draw(st.sampled_from([b"{}", b"\xa0", f"Action={data.draw(names)}&UserName=x".encode()]))
    status, told = send_as(stack, nobody, service, method, target, body, **headers)
    assert 400 <= status < 500, (service, method, target, headers, body, status, told)


@pytest.mark.parametrize("version", ["s3v4", "s3"])
@pytest.mark.parametrize("whose", ["root", "nobody"])
def test_what_follows_a_chunked_body_is_no_header(
    stack: LocalStack, nobody: Credentials, version: str, whose: str
) -> None:
    s3, bucket = stack.client("s3"), stack.outputs[Output.BUCKET]
    s3.put_object(Bucket=bucket, Key="presigned", Body=b"text")
    keys = () if whose == "root" else (nobody.access_key, nobody.secret_key)
    config = boto3.session.Config(signature_version=version)
    session = boto3.Session(*keys, region_name=REGION) if keys else stack.session()
    client = session.client("s3", endpoint_url=stack.endpoint, config=config)
    form = "content-type: application/x-www-form-urlencoded"
    key = stack.secrets.access_key_id
    for operation, method in (("get_object", "GET"), ("put_object", "PUT")):
        address = client.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": "presigned"})
        for data, *trailers in (
            ("Action=CreateUser&UserName=made&Version=2010-05-08", f"{form}\r\nauthorization: {claim('test', 'iam')}"),
            ("Action=CreateUser&UserName=made&Version=2010-05-08", f"{form}\r\nauthorization: {claim(key, 'iam')}"),
            ('{"TableName": "made"}', "x-amz-target: DynamoDB_20120810.ListTables"),
            ('{"Name": "made", "Value": "x", "Type": "String"}', "x-amz-target: AmazonSSM.PutParameter"),
            ("", f"x-amz-copy-source: /{bucket}/other"),
        ):
            body = f"{len(data):x}\r\n{data}\r\n" if data else ""
            body += "0\r\n" + "\r\n".join(trailers) + "\r\n\r\n"
            target = address.removeprefix(stack.endpoint)
            status, told, _ = send(stack, method, target, body.encode(), **{"Content-Encoding": "aws-chunked"})
            allowed = whose == "root" and (method, told) in (("GET", b"text"), ("PUT", b""))
            assert allowed or status in (400, 403), (operation, trailers, status, told)
            s3.put_object(Bucket=bucket, Key="presigned", Body=b"text")
    assert "made" not in {user["UserName"] for user in stack.client("iam").list_users()["Users"]}
    assert "made" not in {item["Name"] for item in stack.client("ssm").describe_parameters()["Parameters"]}


def claim(key: str, service: str) -> str:
    return (
        f"AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )


@pytest.mark.parametrize("added", ["annotation&annotationName=x", "attributes", "legal-hold", "publicAccessBlock"])
def test_a_presigned_address_of_the_old_signature_takes_no_subresource_that_it_does_not_sign(
    stack: LocalStack, added: str
) -> None:
    s3, bucket = stack.client("s3"), stack.outputs[Output.BUCKET]
    s3.put_object(Bucket=bucket, Key="presigned", Body=b"text")
    client = stack.session().client("s3", config=boto3.session.Config(signature_version="s3"))
    for operation, method in (("get_object", "GET"), ("put_object", "PUT")):
        address = client.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": "presigned"})
        assert send(stack, method, f"{address.removeprefix(stack.endpoint)}&{added}")[0] == 403


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/", {"Date": "Fri, 31 Dec 9999 23:59:59 -2359", "Authorization": claim("a", "s3")}),
        ("GET", "@[?AWSAccessKeyId={key}&Signature=x&Expires=99999999999", {}),
        ("GET", "/[?AWSAccessKeyId={key}&Signature=x&Expires=99999999999", {}),
    ],
)
def test_a_request_that_cannot_be_read_is_refused(
    stack: LocalStack, method: str, target: str, headers: dict[str, str]
) -> None:
    assert send(stack, method, target.format(key=stack.secrets.access_key_id), **headers)[0] in (400, 403)


def test_what_the_embedded_aws_trips_over_is_an_error_of_the_service_and_one_line_in_its_log(stack: LocalStack) -> None:
    log = stack.folder / "server.log"
    before = len(log.read_text())
    odd = {**JSON, "X-Amz-Target": "AWSStepFunctions.SendTaskSuccess"}
    status, told = send_as(
        stack, stack.session().get_credentials(), "states", "POST", "/%0A%1B[31m", b'{"taskToken": []}', **odd
    )
    assert (status, json.loads(told)["__type"]) == (500, "InternalFailure")
    written = log.read_text()[before:]
    assert written.count("\n") == 1
    # The path is what somebody sent.
    assert "POST / <U+001B>[31m: TypeError" in written


def test_an_address_to_hand_out_is_for_one_object_only(stack: LocalStack) -> None:
    """Anybody who holds the address of an object chooses the body and its type, which no address signs."""
    s3, bucket = stack.client("s3"), stack.outputs[Output.BUCKET]
    s3.put_object(Bucket=bucket, Key="presigned", Body=b"text")
    for version in ("s3v4", "s3"):
        client = stack.session().client("s3", config=boto3.session.Config(signature_version=version))
        for operation, method in (("get_object", "GET"), ("put_object", "PUT"), ("delete_object", "DELETE")):
            address = client.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": "presigned"})
            target = address.removeprefix(stack.endpoint)
            for body in (b"Action=CreateUser&UserName=made", b"Action=ListQueues", b"Action=GetSessionToken"):
                assert send(stack, method, target, body, **FORM)[0] in (400, 403)
    assert s3.get_object(Bucket=bucket, Key="presigned")["Body"].read() == b"text"


OTHER_USER = """
import json, os, pathlib, socket, sys
told = json.load(sys.stdin)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for path in told["paths"]:
    try:
        found = os.listdir(path) if pathlib.Path(path).is_dir() else open(path, "rb").read()
        print("read", path, found)
    except OSError:
        pass
for path in told["sockets"]:
    with socket.socket(socket.AF_UNIX) as agent:
        if agent.connect_ex(path) == 0:
            print("connected to", path)
for process in filter(str.isdigit, os.listdir("/proc")):
    for name in ("environ", "cmdline"):
        try:
            text = open(f"/proc/{process}/{name}", "rb").read()
        except OSError:
            continue
        for secret in told["secrets"]:
            if secret.encode() in text:
                print("secret in", name, "of", process)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_reaches_no_file_no_socket_and_no_secret(stack: LocalStack) -> None:
    # With the agent's processes running.
    session_id = command(stack, "vigil", "trigger", "--detail", '{"agent": "waits"}').stdout.strip()
    until(lambda: list(stack.folder.glob("agent-*.sock")))
    told = {
        "paths": [str(stack.folder), *(str(path) for path in stack.folder.rglob("*"))],
        "sockets": [str(path) for path in stack.folder.glob("*.sock")],
        "secrets": [stack.secrets.secret_access_key, API_KEY],
    }
    done = subprocess.run(
        [sys.executable, "-c", OTHER_USER], input=json.dumps(told), capture_output=True, text=True, cwd="/", timeout=60
    )
    command(stack, "vigil", "stop", session_id)
    assert (done.stdout, done.stderr) == ("", "")


def test_nothing_listens_but_the_port_that_wants_signatures(stack: LocalStack) -> None:
    group = {int(path.name) for path in Path("/proc").glob("[0-9]*") if _in_group(path, stack.process.pid)}
    inodes = set()
    for process in group:
        for descriptor in Path(f"/proc/{process}/fd").glob("*"):
            try:
                inodes.add(os.readlink(descriptor))
            except OSError:
                continue
    listening = []
    for name in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            state = "0A" if name.startswith("tcp") else "07"
            if fields[3] == state and f"socket:[{fields[9]}]" in inodes:
                listening.append((name, fields[1]))
    assert listening == [("tcp", f"0100007F:{stack.port:04X}")]


def _in_group(process: Path, group: int) -> bool:
    try:
        return os.getpgid(int(process.name)) == group
    except ProcessLookupError:
        return False


# Secrets and files


def test_what_is_passed_on_to_the_agent_is_told_by_no_api(stack: LocalStack) -> None:
    control = stack.client("bedrock-agentcore-control")
    runtimes = control.list_agent_runtimes()["agentRuntimes"]
    told = [control.get_agent_runtime(agentRuntimeId=runtime["agentRuntimeId"]) for runtime in runtimes]
    assert told
    assert API_KEY not in json.dumps(told, default=str)


def test_it_writes_into_no_folder_but_its_own_which_only_the_user_may_enter(stack: LocalStack) -> None:
    assert stat.S_IMODE(stack.folder.stat().st_mode) == 0o700
    written = set((stack.folder / WRITTEN).read_text().splitlines())
    strange = {path for path in written if not Path(path).is_relative_to(stack.folder) and "__pycache__" not in path}
    assert strange <= {"/dev/null"}
    assert any(Path(path).is_relative_to(stack.folder) for path in written)


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A folder in which another user left a module of every name that Vigil might import, and a .vigil."""
    folder = tmp_path / "shared"
    folder.mkdir()
    names = {
        path.name.partition(".")[0] for entry in sys.path if os.path.isdir(entry) for path in Path(entry).iterdir()
    }
    for name in {*names, *sys.stdlib_module_names, "sitecustomize", "usercustomize", "vigil", "infra", "tests"}:
        if name.isidentifier() and name not in ("__pycache__",):
            (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\n")
    (folder / ".vigil").mkdir()
    (folder / ".vigil" / "local.json").symlink_to(tmp_path / "made-through-a-link")
    (folder / "pyvenv.cfg").write_text("home = /nowhere\n")
    return folder


@pytest.mark.slow
def test_nothing_is_imported_or_read_from_the_current_folder(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(planted)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    options = ("--detail", "{}", "--agent", "examples.hello_agent:hello_agent", "--out", str(tmp_path / "out"))
    done = command(None, "vigil", "run", "--local", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (("status",), ("env",), ("down",)):
        told = command(None, "vigil", "local", *words)
        assert told.stderr.strip() == "vigil: no local stack runs in this folder; `vigil local up` starts one"
        assert told.returncode == 1
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "made-through-a-link").exists()


@pytest.mark.slow
def test_the_file_that_says_what_runs_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    words = [str(BIN / "vigil"), "local", "up", "--port", "0", "--no-sample-account"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as up:
        try:
            files = until(lambda: list((tmp_path / "state" / "vigil").glob("*.json")))
            exports = until(lambda: command(None, "vigil", "local", "env").stdout)
            assert [stat.S_IMODE(path.stat().st_mode) for path in (*files, files[0].parent)] == [0o600, 0o700]
            # A value may hold anything: the shell gets it as one word.
            running = json.loads(files[0].read_text())
            hostile = "us-east-1; touch ran $(touch ran) `touch ran` ' \" \n"
            files[0].write_text(
                json.dumps({**running, "environment": {**running["environment"], "AWS_REGION": hostile}})
            )
            script = f'eval "$({BIN}/vigil local env)"; printf %s "$AWS_REGION"'
            assert subprocess.run(["sh", "-c", script], capture_output=True, text=True).stdout == hostile
            files[0].write_text(json.dumps(running))
            assert re.search(r"AWS_SECRET_ACCESS_KEY=\S{40};", exports)
        finally:
            up.terminate()
            up.wait(30)
    assert not (tmp_path / "ran").exists()
    kept = files[0].read_text()
    (tmp_path / "another").write_text(kept)

    def link() -> None:
        files[0].symlink_to(tmp_path / "another")

    def hard_link() -> None:
        files[0].hardlink_to(tmp_path / "another")

    def open_to_all() -> None:
        files[0].write_text(kept)
        files[0].chmod(0o666)

    for make, why in ((link, "cannot be used"), (hard_link, "is open to other"), (open_to_all, "is open to other")):
        files[0].unlink()
        make()
        for words in (("status",), ("env",), ("down",), ("up", "--port", "0")):
            told = command(None, "vigil", "local", *words)
            assert (told.returncode, told.stdout) == (1, "")
            assert told.stderr.startswith(f"vigil: {files[0]} {why}")
            assert told.stderr.count("\n") == 1
    assert (tmp_path / "another").read_text() == kept


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_an_unsigned_request_says_it_is_refused_and_nothing_breaks(
    stack: LocalStack, data: st.DataObject
) -> None:
    odd = st.one_of(
        st.sampled_from(
            ["", "²", "9" * 5000, "-1", "99991231T235959Z", "00010101T000000Z", "20261128T000000Z", "UNSIGNED"]
        ),
        st.sampled_from(
            [f"{stack.secrets.access_key_id}/99991231/us-east-1/s3/aws4_request", "a/b/c/d/e/f", "host;host"]
        ),
        st.text(max_size=20),
    )
    four = (
        "Algorithm",
        "Credential",
        "Date",
        "Expires",
        "SignedHeaders",
        "Signature",
        "Security-Token",
        "Content-Sha256",
    )
    given = {f"X-Amz-{name}": data.draw(odd) for name in four}
    given |= {"X-Amz-Algorithm": "AWS4-HMAC-SHA256"} if data.draw(st.booleans()) else {}
    given |= {"X-Amz-SignedHeaders": "host"} if data.draw(st.booleans()) else {}
    if data.draw(st.booleans()):
        given |= {"X-Amz-Credential": f"{stack.secrets.access_key_id}/99991231/us-east-1/s3/aws4_request"}
    two = {"AWSAccessKeyId": data.draw(st.sampled_from([stack.secrets.access_key_id, "a"]))}
    two |= {name: data.draw(odd) for name in ("Signature", "Expires")}
    query = data.draw(st.sampled_from([given, two, given | two]))
    headers = {}
    if data.draw(st.booleans()):
        told = ", ".join(f"{name}={data.draw(odd)}" for name in ("Credential", "SignedHeaders", "Signature"))
        headers["Authorization"] = f"AWS4-HMAC-SHA256 {told}".encode().decode("latin-1")
        headers = {name: re.sub(r"[\x00-\x1f\x7f]", "", value) for name, value in headers.items()}
    status, _, _ = send(stack, "GET", f"/any/any?{urlencode(query)}", **headers)
    assert status in (400, 403)


def test_a_body_is_read_only_of_who_has_the_secret(stack: LocalStack) -> None:
    """The id of a key is in every address that is handed out."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    credential = f"{stack.secrets.access_key_id}/{now[:8]}/{REGION}/s3/aws4_request"
    claimed = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, "
        f"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={'0' * 64}",
        "X-Amz-Date": now,
        "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD",
    }
    # It waits for no body.
    assert send(stack, "PUT", "/any/any", **{"Content-Length": str(1 << 40), **claimed})[0] == 403

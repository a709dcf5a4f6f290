"""Requests that are not signed with the stack's own secrets are refused: another user of the machine may send them."""

import hashlib
import json
import re
import time
from urllib.parse import urlencode

import boto3
import pytest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lambda_costs.security.raw_requests import FORM, PATHS, REFUSED, claim, presigned, put_object, send, sign
from vigil.local.stack import REGION, LocalStack
from vigil.names import Output


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_unsigned_request_is_refused(stack: LocalStack, method: str, path: str) -> None:
    assert send(stack, method, path, b"{}")[0] in REFUSED


def derived(stack: LocalStack) -> tuple[str, str, str]:
    """Return the credentials that ministack would give to the invoker: it computes them from names."""
    function = stack.client("lambda").get_function_configuration(FunctionName=stack.outputs[Output.INVOKER])
    digest = hashlib.sha256(f"{function['FunctionArn']}:{function['Role']}".encode()).hexdigest()
    secret, token = (hashlib.sha256(f"{kind}:{digest}".encode()).hexdigest() for kind in ("secret", "token"))
    return f"ASIA{digest[:16].upper()}", secret, token


@pytest.mark.parametrize("keys", ["test", "", "000000000000", "123456789012", "root", "of a function"])
@pytest.mark.parametrize(
    ("service", "ask_for"),
    [("iam", "list_roles"), ("s3", "list_buckets"), ("sts", "get_caller_identity"), ("dynamodb", "list_tables")],
)
def test_key_that_can_be_guessed_is_refused(stack: LocalStack, keys: str, service: str, ask_for: str) -> None:
    credentials: tuple[str, str, str | None] = (keys or "-", "test", None)
    if keys == "root":
        credentials = (stack.secrets.access_key_id, "test", None)
    elif keys == "of a function":
        credentials = derived(stack)
    client = boto3.client(service, REGION, None, True, None, stack.endpoint, *credentials)
    with pytest.raises(ClientError) as refused:
        getattr(client, ask_for)()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] in REFUSED


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_signed_request_that_was_changed_is_refused(stack: LocalStack, data: st.DataObject) -> None:
    body, target = json.dumps({"TableName": stack.outputs[Output.TABLE]}), "/?a=1&b=%2F"
    plain = {"x-amz-target": "DynamoDB_20120810.DescribeTable", "content-type": "application/x-amz-json-1.0"}
    headers = sign(stack, "dynamodb", "POST", target, body.encode(), **plain)
    assert send(stack, "POST", target, body.encode(), **headers)[0] == 200
    part = data.draw(st.sampled_from(["body", "target", "header", "new header", "signature", "date", "no host"]))
    if part == "body":
        at = data.draw(st.integers(0, len(body) - 1))
        body = body[:at] + chr((ord(body[at]) + 1) % 128) + body[at + 1 :]
    elif part == "target":
        target = data.draw(st.sampled_from(["/?a=2&b=%2F", "/x?a=1&b=%2F", "/?a=1", "/?a=1&b=%2F&c=", "/?b=/&a=1&a=1"]))
    elif part == "header":
        other = st.sampled_from(["DynamoDB_20120810.DeleteTable", "AWSSecurityTokenService"])
        headers["x-amz-target"] = data.draw(other)
    elif part == "new header":
        name = data.draw(st.sampled_from(["x-amz-security-token", "X-Amz-Any"]))
        headers[name] = data.draw(st.sampled_from(["a", ""]))
    elif part == "signature":
        end = data.draw(st.text("0123456789abcdef", min_size=64, max_size=64))
        headers["Authorization"] = headers["Authorization"][:-64] + end
    elif part == "date":
        headers["X-Amz-Date"] = data.draw(st.sampled_from(["20200101T000000Z", "x", "99991231T235959Z"]))
    else:
        headers["Authorization"] = headers["Authorization"].replace("host;", "")
    assert send(stack, "POST", target, body.encode(), **headers)[0] in REFUSED


def test_role_cannot_pass_for_the_root(stack: LocalStack, nobody: Credentials) -> None:
    """The request is signed with a user's key, and names another key where ministack looks for one."""
    body = b"Action=ListUsers&Version=2010-05-08"
    for name in ("test", stack.secrets.access_key_id):
        for target in (f"/?X-Amz-Credential={name}/20260101/us-east-1/iam/aws4_request", f"/?AWSAccessKeyId={name}"):
            headers = {**sign(stack, "iam", "POST", target, body, nobody), **FORM}
            before = headers["Authorization"]
            for authorization in (before, before.replace("Credential=", f"Credential={name}/a/b/c/d, Credential=")):
                assert send(stack, "POST", target, body, **{**headers, "Authorization": authorization})[0] in REFUSED


def test_each_of_several_refused_uploads_gets_the_reason(stack: LocalStack) -> None:
    """boto3 sends the body of an upload after the server's consent, and reuses a connection."""
    session = boto3.Session(stack.secrets.access_key_id, "another secret", region_name=REGION)
    s3 = session.client("s3", endpoint_url=stack.endpoint, config=Config(retries={"total_max_attempts": 1}))
    for _ in range(3):
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            s3.put_object(Bucket=stack.outputs[Output.BUCKET], Key="refused", Body=b"text")


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_presigned_address_is_for_one_operation_on_one_object(stack: LocalStack, version: str) -> None:
    target = presigned(stack, version=version)
    assert send(stack, "GET", target)[1] == b"text"
    assert send(stack, "DELETE", target)[0] == 403
    assert send(stack, "GET", target.replace("presigned", "another"))[0] == 403
    assert send(stack, "GET", target, **{"x-amz-target": "DynamoDB_20120810.ListTables"})[0] in REFUSED
    assert send(stack, "GET", re.sub(r"Expires=\d+", "Expires=1", target))[0] == 403


@pytest.mark.parametrize("name", ["X-Amz-Credential", "x-amz-credential", "X-AMZ-CREDENTIAL", "x-amz-copy-source"])
def test_presigned_address_takes_no_unsigned_parameter(stack: LocalStack, name: str) -> None:
    target = presigned(stack)
    assert send(stack, "GET", target)[0] == 200
    assert send(stack, "GET", f"{target}&{name}=test")[0] == 403


@pytest.mark.parametrize("added", ["annotation&annotationName=x", "attributes", "legal-hold", "publicAccessBlock"])
@pytest.mark.parametrize(("operation", "method"), [("get_object", "GET"), ("put_object", "PUT")])
def test_old_presigned_address_takes_no_subresource(stack: LocalStack, operation: str, method: str, added: str) -> None:
    assert send(stack, method, f"{presigned(stack, operation)}&{added}")[0] == 403


@pytest.mark.parametrize("version", ["s3v4", "s3"])
@pytest.mark.parametrize(("call", "method"), [(f"{name.lower()}_object", name) for name in ("GET", "PUT", "DELETE")])
def test_presigned_address_is_for_no_other_service(stack: LocalStack, version: str, call: str, method: str) -> None:
    """No address signs the body and its type: anyone who holds it chooses them."""
    target = presigned(stack, call, version)
    for body in (b"Action=CreateUser&UserName=made", b"Action=ListQueues", b"Action=GetSessionToken"):
        assert send(stack, method, target, body, **FORM)[0] in REFUSED
    assert stack.client("s3").get_object(Bucket=stack.outputs[Output.BUCKET], Key="presigned")["Body"].read() == b"text"


@pytest.mark.parametrize("version", ["s3v4", "s3"])
@pytest.mark.parametrize("whose", ["root", "nobody"])
@pytest.mark.parametrize(("operation", "method"), [("get_object", "GET"), ("put_object", "PUT")])
def test_trailer_of_a_chunked_body_is_no_header(
    stack: LocalStack, nobody: Credentials, version: str, whose: str, operation: str, method: str
) -> None:
    target = presigned(stack, operation, version, None if whose == "root" else nobody)
    create = "Action=CreateUser&UserName=made&Version=2010-05-08"
    form = "content-type: application/x-www-form-urlencoded"
    for data, trailers in (
        *((create, f"{form}\r\nauthorization: {claim(key, 'iam')}") for key in ("test", stack.secrets.access_key_id)),
        ('{"TableName": "made"}', "x-amz-target: DynamoDB_20120810.ListTables"),
        ('{"Name": "made", "Value": "x", "Type": "String"}', "x-amz-target: AmazonSSM.PutParameter"),
        ("", f"x-amz-copy-source: /{stack.outputs[Output.BUCKET]}/other"),
    ):
        chunk = f"{len(data):x}\r\n{data}\r\n" if data else ""
        body = f"{chunk}0\r\n{trailers}\r\n\r\n".encode()
        status, text, _ = send(stack, method, target, body, **{"Content-Encoding": "aws-chunked"})
        allowed = whose == "root" and (method, text) in (("GET", b"text"), ("PUT", b""))
        assert allowed or status in REFUSED, (trailers, status, text)
        put_object(stack)
    assert "made" not in {user["UserName"] for user in stack.client("iam").list_users()["Users"]}
    assert "made" not in {item["Name"] for item in stack.client("ssm").describe_parameters()["Parameters"]}


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/", {"Date": "Fri, 31 Dec 9999 23:59:59 -2359", "Authorization": claim("a", "s3")}),
        ("GET", "@[?AWSAccessKeyId={key}&Signature=x&Expires=99999999999", {}),
        ("GET", "/[?AWSAccessKeyId={key}&Signature=x&Expires=99999999999", {}),
    ],
)
def test_malformed_request_is_refused(stack: LocalStack, method: str, target: str, headers: dict[str, str]) -> None:
    assert send(stack, method, target.format(key=stack.secrets.access_key_id), **headers)[0] in REFUSED


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_random_unsigned_request_is_refused_without_an_error(stack: LocalStack, data: st.DataObject) -> None:
    credential = f"{stack.secrets.access_key_id}/99991231/us-east-1/s3/aws4_request"
    odd = st.one_of(
        st.sampled_from(["", "²", "9" * 5000, "-1", "99991231T235959Z", "00010101T000000Z", "20261128T000000Z"]),
        st.sampled_from([credential, "a/b/c/d/e/f", "host;host", "UNSIGNED"]),
        st.text(max_size=20),
    )
    names = "Algorithm Credential Date Expires SignedHeaders Signature Security-Token Content-Sha256"
    four = {f"X-Amz-{name}": data.draw(odd) for name in names.split()}
    right = {"Algorithm": "AWS4-HMAC-SHA256", "SignedHeaders": "host", "Credential": credential}
    four |= {f"X-Amz-{name}": value for name, value in right.items() if data.draw(st.booleans())}
    two = {"AWSAccessKeyId": data.draw(st.sampled_from([stack.secrets.access_key_id, "a"]))}
    two |= {name: data.draw(odd) for name in ("Signature", "Expires")}
    query = data.draw(st.sampled_from([four, two, four | two]))
    headers = {}
    if data.draw(st.booleans()):
        parts = ", ".join(f"{name}={data.draw(odd)}" for name in ("Credential", "SignedHeaders", "Signature"))
        text = f"AWS4-HMAC-SHA256 {parts}".encode().decode("latin-1")
        headers["Authorization"] = re.sub(r"[\x00-\x1f\x7f]", "", text)
    status, _, _ = send(stack, "GET", f"/any/any?{urlencode(query)}", **headers)
    assert status in REFUSED


def test_body_is_read_only_if_the_headers_are_signed(stack: LocalStack) -> None:
    """Every presigned address has the id of a key, so knowing it proves nothing."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    credential = f"{stack.secrets.access_key_id}/{now[:8]}/{REGION}/s3/aws4_request"
    signed = f"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={'0' * 64}"
    claimed = {"Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, {signed}", "X-Amz-Date": now}
    headers = {"Content-Length": str(1 << 40), "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}
    # The server does not wait for the body.
    assert send(stack, "PUT", "/any/any", **headers, **claimed)[0] == 403

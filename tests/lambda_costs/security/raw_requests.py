"""Requests to a local stack as an attacker may send them, byte by byte."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from vigil.local.gate import CREDENTIALS_PATH
from vigil.local.stack import REGION, LocalStack
from vigil.names import Output

LIST = "/2015-03-31/functions/"
PATHS = (
    *(LIST, "/", "/health", "/_ministack/health", "/_ministack/config", "/_ministack/reset", "/_localstack/health"),
    *("/latest/meta-data/iam/security-credentials/", "/v2/", "/iceberg/v1/config", "/_aws/execute-api/any/prod/"),
    *("/model/any/converse", CREDENTIALS_PATH),
)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/x-amz-json-1.0"}
REFUSED = (400, 403)


def send(stack: LocalStack, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, bytes, Any]:
    """Send exactly this; returns (status, body, headers) of the answer."""
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


def sign(
    stack: LocalStack,
    service: str = "lambda",
    method: str = "GET",
    target: str = LIST,
    body: bytes = b"",
    who: Credentials | None = None,
    **headers: str,
) -> dict[str, str]:
    """Return the headers of a request that ``who`` signs, or else the root."""
    request = AWSRequest(method, stack.endpoint + target, headers=headers, data=body)
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(who or _root(stack), service, REGION).add_auth(request)
    return dict(request.headers)


def send_as(
    stack: LocalStack, who: Credentials, service: str, method: str, target: str, body: bytes = b"", **headers: str
) -> tuple[int, bytes]:
    """Send a request that ``who`` signs; returns (status, body) of the answer."""
    return send(stack, method, target, body, **sign(stack, service, method, target, body, who, **headers))[:2]


def claim(key: str, service: str) -> str:
    """Return a signature that is wrong."""
    scope = f"{key}/20260101/us-east-1/{service}/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"


def presigned(stack: LocalStack, operation: str = "get_object", version: str = "s3", who: Any = None) -> str:
    """Return the presigned address of an object, which has the body "text", without the host."""
    put_object(stack)
    where = {"Bucket": stack.outputs[Output.BUCKET], "Key": "presigned"}
    client = _s3(stack.endpoint, version, who or _root(stack))
    return str(client.generate_presigned_url(operation, Params=where)).removeprefix(stack.endpoint)


def put_object(stack: LocalStack) -> None:
    """Write the object that ``presigned`` leads to."""
    client = _s3(stack.endpoint, "s3v4", _root(stack))
    client.put_object(Bucket=stack.outputs[Output.BUCKET], Key="presigned", Body=b"text")


def _root(stack: LocalStack) -> Credentials:
    return Credentials(stack.secrets.access_key_id, stack.secrets.secret_access_key)


def _s3(endpoint: str, version: str, who: Credentials) -> Any:
    return _client(endpoint, version, who.access_key, who.secret_key)


@cache
def _client(endpoint: str, version: str, *keys: str) -> Any:
    """Return a client of S3; it takes longer to make one than to call it."""
    session = boto3.Session(*keys, region_name=REGION)
    return session.client("s3", endpoint_url=endpoint, config=Config(signature_version=version, proxies={}))


@contextmanager
def user(stack: LocalStack, name: str, actions: list[str]) -> Iterator[Credentials]:
    """Make a user who may do ``actions``, until it is left."""
    iam = stack.client("iam")
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    if actions:
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=name, PolicyName="some", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    yield Credentials(key["AccessKeyId"], key["SecretAccessKey"])
    iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    if actions:
        iam.delete_user_policy(UserName=name, PolicyName="some")
    iam.delete_user(UserName=name)

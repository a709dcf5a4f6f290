"""A role of the stack may do what its policies allow, however it words its requests."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lambda_costs.security.raw_requests import FORM, JSON, PATHS, REFUSED, send_as, user
from vigil.local.stack import REGION, LocalStack
from vigil.names import Output

MAY = {
    **{"lambda": "ListFunctions", "dynamodb": "GetItem", "s3": "PutObject", "states": "SendTaskSuccess"},
    **{"logs": "DescribeLogGroups", "sqs": "SendMessage", "iam": "ListUsers", "cloudformation": "ListStacks"},
    "cloudwatch": "GetMetricData",
}


@pytest.fixture(scope="module")
def guest(stack: LocalStack) -> Iterator[Credentials]:
    """The key of a user who may do one thing with each of some services."""
    with user(stack, "guest", [f"{service}:{action}" for service, action in MAY.items()]) as credentials:
        yield credentials


_table = f'{{"TableName": "<{Output.TABLE}>"}}'.encode()
_machine = f'{{"stateMachineArn": "<{Output.STATE_MACHINE}>"}}'.encode()
_user, _allowed = b"Action=CreateUser&Version=2010-05-08&UserName=made", b"Action=ListUsers&Version=2010-05-08"
_purge = f"Action=PurgeQueue&QueueUrl=<{Output.DEAD_LETTERS}>".encode()
_role = f"Action=AssumeRole&RoleSessionName=x&RoleArn=<{Output.AGENT_ROLE}>".encode()
_group = b'{"logGroupName": "/aws/lambda/any"}'
_item, _chunked = {"X-Amz-Target": "DynamoDB_20120810.GetItem"}, b"2\r\n{}\r\n0\r\n\r\n"
_scan, _rpc = {"X-Amz-Target": "DynamoDB_20120810.Scan"}, "/service/GraniteServiceVersion20100801/operation/"
_run, _bucket = f"/2015-03-31/functions/<{Output.INVOKER}>", f"/<{Output.BUCKET}>"

CONFUSED: list[tuple[Any, ...]] = [
    ("lambda", "POST", f"{_run}/invocations?Action=ListFunctions", b"{}"),
    ("lambda", "POST", f"{_run}/invocations", b"Action=ListFunctions", FORM),
    ("lambda", "POST", f"{_run}/invocations", b"{}", {"X-Amz-Target": "AWSLambda.ListFunctions"}),
    ("lambda", "POST", "/2015-03-31/functions?Action=ListFunctions", b"{}"),
    ("lambda", "POST", f"/2021-11-15/functions/<{Output.INVOKER}>/response-streaming-invocations", b"{}"),
    ("lambda", "DELETE", "/2015-03-31/event-source-mappings/any", b""),
    ("lambda", "DELETE", f"{_run}?Action=ListFunctions", b""),
    ("lambda", "GET", f"/2015-03-31/functions/..%2F<{Output.INVOKER}>", b""),
    ("lambda", "GET", f"/{_run}/", b""),
    ("dynamodb", "POST", "/?Action=GetItem", _table, {**JSON, **_scan}),
    ("dynamodb", "POST", "/", b"Action=GetItem", {**FORM, **_scan}),
    ("dynamodb", "POST", "/", _table, {**JSON, "X-Amz-Target": "DynamoDB_20120810.Scan.GetItem"}),
    ("dynamodb", "POST", "/", _table, {**JSON, "X-Amz-Target": "DynamoDB_20120810.GetItem,x.Scan"}),
    ("s3", "POST", "/", _table, {**JSON, **_scan}),
    ("s3", "DELETE", f"{_bucket}/any?Action=PutObject", b""),
    ("s3", "PUT", f"{_bucket}?policy&Action=PutObject", b"{}"),
    ("s3", "PUT", f"{_bucket}/any?acl&uploadId=1", b"{}"),
    ("s3", "GET", "/?Action=PutObject", b""),
    ("states", "POST", "/?Action=SendTaskSuccess", _machine, {"X-Amz-Target": "AWSStepFunctions.StartExecution"}),
    ("logs", "POST", "/?Action=DescribeLogGroups", _group, {"X-Amz-Target": "Logs_20140328.DeleteLogGroup"}),
    ("iam", "POST", "/?Action=ListUsers", _user, FORM),
    ("iam", "POST", "/", _allowed + b"&" + _user, FORM),
    ("iam", "POST", "/?Action=ListUsers&Action=CreateUser&UserName=made", b"", FORM),
    ("iam", "POST", "/", _user, {"Content-Type": "Application/X-WWW-Form-urlencoded"}),
    ("iam", "POST", "/", _user, {"Content-Type": "text/plain"}),
    ("iam", "POST", "/", _user, {**FORM, "Content-Encoding": "identity"}),
    ("iam", "POST", "/", _user, {**FORM, "X-Amz-Target": "IAM.ListUsers"}),
    ("sqs", "POST", "/?Action=SendMessage", _purge, FORM),
    ("sqs", "POST", "/?Action=SendMessage", _purge, {"Content-Type": "text/plain"}),
    ("sqs", "POST", "/", _purge, {**FORM, "X-Amz-Target": "AmazonSQS.SendMessage"}),
    ("cloudformation", "POST", "/?Action=ListStacks", b"Action=DeleteStack&StackName=Vigil", FORM),
    ("monitoring", "POST", f"{_rpc}PutMetricData", b"\xa0", {"Smithy-Protocol": "rpc-v2-cbor"}),
    ("monitoring", "POST", f"{_rpc}PutMetricData?Action=GetMetricData", b"\xa0", {"Smithy-Protocol": "rpc-v2-cbor"}),
    ("monitoring", "POST", f"{_rpc}GetMetricData/operation/PutMetricData", b"{}", JSON),
    ("bedrock-agentcore", "POST", "/runtimes/", b"{}"),
    ("bedrock-agentcore", "GET", "/runtimes/any/", b""),
    ("bedrock-agentcore", "PUT", "/runtimes/any/?Action=GetItem", b"{}"),
    # Members of other operations, from which IAM would take the resource.
    ("dynamodb", "POST", "/", _table[:-1] + b', "Statement": "SELECT"}', {**JSON, **_item}),
    ("dynamodb", "POST", "/", b"[]", {**JSON, **_item}),
    ("dynamodb", "POST", "/", b"[" * 100_000, {**JSON, **_item}),
    ("iam", "POST", "/", _allowed + b"&UserName=x&RoleName=y", FORM),
    ("iam", "POST", "/", b"Action=ListUsers&PathPrefix=/a/&PathPrefix=/b/&Version=2010-05-08", FORM),
    # Services that are asked in one way only.
    ("sns", "POST", "/", b"Action=DeleteTopic&TopicArn=x", {"X-Amz-Target": "AmazonSNS.ListTopics"}),
    ("sts", "POST", "/", _role, {"X-Amz-Target": "AWSSecurityTokenService.GetCallerIdentity"}),
    ("sqs", "POST", "/", _purge.replace(b"Purge", b"Send"), FORM),
    ("sqs", "POST", "/_ministack/eks-auth/x", b"Action=SendMessage", FORM),
    # Subresources of another level.
    ("s3", "PUT", f"{_bucket}/any?versioning", b"text"),
    ("s3", "PUT", f"{_bucket}/any", b"tagging=1", FORM),
    ("s3", "PUT", f"{_bucket}//any", b"text"),
    # What acts for the caller.
    ("lambda", "PUT", f"{_run}/configuration", b"{}"),
    ("states", "POST", "/", b"{}", {**JSON, "X-Amz-Target": "AWSStepFunctions.CreateStateMachine"}),
    # Chunks that are decoded after the request was checked.
    ("dynamodb", "POST", "/", _chunked, {**FORM, **_scan, "X-Amz-Decoded-Content-Length": "9"}),
    ("dynamodb", "POST", "/", _chunked, {**JSON, **_item, "Content-Encoding": "aws-chunked"}),
    ("s3", "PUT", f"{_bucket}/any", b"text", {"X-Forwarded-For": "10.1.1.1"}),
    ("s3", "PUT", f"{_bucket}/any", b"text", {"X-Forwarded-Proto": "http"}),
    ("kinesisanalytics", "POST", "/", b"{}", {"X-Amz-Target": "KinesisAnalytics_20180523.ListApplications"}),
    ("rds", "POST", "/", b"Action=DescribeDBClusters&Engine=docdb", FORM),
    ("s3", "GET", "/_ministack/health", b""),
    ("s3", "POST", "/_ministack/reset", b""),
    ("any", "POST", "/_ministack/reset", b""),
    ("sts", "POST", "/_ministack/config", b"{}"),
    ("s3", "GET", f"/_ministack/lambda-code/000000000000/{REGION}/<{Output.INVOKER}>", b""),
    ("s3", "GET", "/_localstack/health", b""),
    ("s3", "GET", "/v2/credentials/any", b""),
    ("ec2", "GET", "/latest/meta-data/iam/security-credentials/any", b""),
    ("glue", "GET", "/iceberg/v1/config", b""),
]
"""Requests that name an operation that the guest may do, but ask for another one; <X> is an output of the stack."""


def test_role_cannot_choose_the_operation_that_iam_checks(stack: LocalStack, guest: Credentials) -> None:
    before = stack.client("lambda").get_function(FunctionName=stack.outputs[Output.INVOKER])["Configuration"]
    for service, method, target, body, *headers in CONFUSED:
        for name, value in stack.outputs.items():
            target = target.replace(f"<{name}>", value)
            body = body.replace(f"<{name}>".encode(), value.encode())
        status, text = send_as(stack, guest, service, method, target, body, **(headers[0] if headers else {}))
        assert status in REFUSED, (service, method, target, status, text)
    assert before == stack.client("lambda").get_function(FunctionName=stack.outputs[Output.INVOKER])["Configuration"]
    assert "made" not in {user["UserName"] for user in stack.client("iam").list_users()["Users"]}


def test_role_may_do_what_its_policy_allows(stack: LocalStack, guest: Credentials) -> None:
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
def test_user_without_permissions_gets_nothing(stack: LocalStack, nobody: Credentials, data: st.DataObject) -> None:
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
    status, text = send_as(stack, nobody, service, method, target, body, **headers)
    assert 400 <= status < 500, (service, method, target, headers, body, status, text)


def test_error_in_the_embedded_aws_is_a_service_error_and_one_log_line(stack: LocalStack) -> None:
    log = stack.folder / "server.log"
    before = len(log.read_text())
    odd, root = {**JSON, "X-Amz-Target": "AWSStepFunctions.SendTaskSuccess"}, stack.session().get_credentials()
    status, text = send_as(stack, root, "states", "POST", "/%0A%1B[31m", b'{"taskToken": []}', **odd)
    assert (status, json.loads(text)["__type"]) == (500, "InternalFailure")
    written = log.read_text()[before:]
    assert written.count("\n") == 1
    # The caller chose the path.
    assert "POST / <U+001B>[31m: TypeError" in written

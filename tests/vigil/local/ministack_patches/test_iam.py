"""IAM: which action a request needs."""

from contextlib import nullcontext

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.vigil.local.ministack_patches.builders import Caller, Role
from tests.vigil.local.ministack_patches.conftest import policy
from vigil.local.stack import REGION, LocalStack


def test_get_function_recursion_config_needs_its_own_grant(caller: Caller, function: str) -> None:
    reader = caller("lambda", ("lambda:GetFunctionRecursionConfig", "*"))
    assert reader.get_function_recursion_config(FunctionName=function)["RecursiveLoop"] == "Terminate"
    with pytest.raises(ClientError, match="AccessDenied"):
        caller("lambda", ("lambda:GetFunction", "*")).get_function_recursion_config(FunctionName=function)


def test_a_changed_policy_applies_at_once(embedded: LocalStack, role: Role) -> None:
    arn, iam = role(("sqs:ListQueues", "*")), embedded.client("iam")
    answer = embedded.client("sts").assume_role(RoleArn=arn, RoleSessionName="one")["Credentials"]
    keys = (answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"])
    sqs = boto3.Session(*keys, region_name=REGION).client("sqs", endpoint_url=embedded.endpoint)
    for action, is_allowed in [("sqs:ListQueues", True), ("sqs:SendMessage", False), ("sqs:ListQueues", True)]:
        iam.put_role_policy(RoleName=arn.split("/")[-1], PolicyName="only", PolicyDocument=policy((action, "*")))
        for _ in range(2):
            with nullcontext() if is_allowed else pytest.raises(ClientError, match="AccessDenied"):
                sqs.list_queues()

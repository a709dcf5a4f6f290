"""IAM: which action a request needs."""

import pytest
from botocore.exceptions import ClientError

from tests.vigil.local.ministack_patches.builders import Caller


def test_get_function_recursion_config_needs_its_own_grant(caller: Caller, function: str) -> None:
    reader = caller("lambda", ("lambda:GetFunctionRecursionConfig", "*"))
    assert reader.get_function_recursion_config(FunctionName=function)["RecursiveLoop"] == "Terminate"
    with pytest.raises(ClientError, match="AccessDenied"):
        caller("lambda", ("lambda:GetFunction", "*")).get_function_recursion_config(FunctionName=function)

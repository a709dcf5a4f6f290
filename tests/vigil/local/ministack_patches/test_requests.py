"""Requests to services that ministack lacks."""

import pytest
from botocore.exceptions import ClientError

from tests.vigil.local.ministack_patches.builders import Caller, refused


@pytest.mark.parametrize(
    ("service", "action", "method", "arguments"),
    [
        ("pricing", "pricing:GetProducts", "get_products", {"ServiceCode": "AWSLambda"}),
        ("compute-optimizer", "compute-optimizer:GetEnrollmentStatus", "get_enrollment_status", {}),
        ("service-quotas", "servicequotas:ListServiceQuotas", "list_service_quotas", {"ServiceCode": "states"}),
    ],
)
def test_a_missing_service_refuses_after_iam_was_asked(
    caller: Caller, service: str, action: str, method: str, arguments: dict[str, str]
) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        getattr(caller(service), method)(**arguments)
    with refused("400"):
        getattr(caller(service, (action, "*")), method)(**arguments)


@pytest.mark.parametrize(
    ("operation", "method", "answer"),
    [
        ("DescribeScalableTargets", "describe_scalable_targets", "ScalableTargets"),
        ("DescribeScheduledActions", "describe_scheduled_actions", "ScheduledActions"),
        ("DescribeScalingPolicies", "describe_scaling_policies", "ScalingPolicies"),
    ],
)
def test_nothing_scales_and_iam_is_asked_first(caller: Caller, operation: str, method: str, answer: str) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        getattr(caller("application-autoscaling"), method)(ServiceNamespace="lambda")
    allowed = caller("application-autoscaling", (f"application-autoscaling:{operation}", "*"))
    assert getattr(allowed, method)(ServiceNamespace="lambda")[answer] == []

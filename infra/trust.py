"""Which service may assume a role, and for whom."""

from aws_cdk import Stack
from aws_cdk import aws_iam as iam


def trusted(stack: Stack, service: str, source: str) -> iam.ServicePrincipal:
    """Return ``service``, such as states, as a role's principal: on behalf of ``source`` in this account alone.

    ``source`` is an ARN that may hold wildcards. A service that forwards requests of another account would pass that
    account's ("The confused deputy problem", IAM User Guide). Lambda tells neither when it assumes a function's role.
    """
    return iam.ServicePrincipal(
        f"{service}.amazonaws.com",
        conditions={"StringEquals": {"aws:SourceAccount": stack.account}, "ArnLike": {"aws:SourceArn": source}},
    )

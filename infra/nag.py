"""Findings of the template's validators that are suppressed, each with its reason where it arises."""

from collections.abc import Mapping

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct


def suppress(scope: IConstruct, reasons: Mapping[str, str]) -> None:
    """Suppress the findings whose ids ``reasons`` names, in ``scope`` and below it."""
    Validations.of(scope).acknowledge(*(Acknowledgment(id=name, reason=reason) for name, reason in reasons.items()))


def iam5_id(resource: str) -> str:
    """Return the id of cdk-nag's finding about a policy's ``resource`` that holds a wildcard."""
    return f"AwsSolutions-IAM5[Resource::{resource}]"

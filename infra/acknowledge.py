"""Findings of the template's validators that we looked at and accept, each with its reason where it arises."""

from collections.abc import Mapping

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct


def acknowledge(scope: IConstruct, reasons: Mapping[str, str]) -> None:
    """Accept the findings whose ids ``reasons`` names, in ``scope`` and below it."""
    Validations.of(scope).acknowledge(*(Acknowledgment(id=name, reason=reason) for name, reason in reasons.items()))


def wildcard(resource: str) -> str:
    """Return the id of cdk-nag's finding about a policy's ``resource`` that holds a wildcard."""
    return f"AwsSolutions-IAM5[Resource::{resource}]"

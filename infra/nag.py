"""Findings of the template's validators that are suppressed, each with its reason where it arises."""

import json
from collections.abc import Mapping

from aws_cdk import Acknowledgment, Stack, Validations
from constructs import IConstruct


def suppress(scope: IConstruct, reasons: Mapping[str, str]) -> None:
    """Suppress the findings whose ids ``reasons`` names, in ``scope`` and below it."""
    Validations.of(scope).acknowledge(*(Acknowledgment(id=name, reason=reason) for name, reason in reasons.items()))


def iam5_id(resource: str) -> str:
    """Return the id of cdk-nag's finding about a policy's ``resource`` that holds a wildcard."""
    return f"AwsSolutions-IAM5[Resource::{resource}]"


def runtime_and_endpoints(agent_runtime_arn: str) -> list[str]:
    """Return the resources of a call of AgentCore: the runtime, and the endpoint of it that the call goes to."""
    return [agent_runtime_arn, f"{agent_runtime_arn}/runtime-endpoint/*"]


def endpoint_suppressions(scope: IConstruct, agent_runtime_arn: str) -> dict[str, str]:
    """Return the reason for the wildcard in ``runtime_and_endpoints``, by the finding's id."""
    endpoints = f"{json.dumps(Stack.of(scope).resolve(agent_runtime_arn), separators=(',', ':'))}/runtime-endpoint/*"
    return {iam5_id(endpoints): "The endpoints of the one runtime; their names are AgentCore's."}

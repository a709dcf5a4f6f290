"""The agent that ships with Vigil: it finds what an account overpays for AWS Lambda.

The folders follow the data: ``collect`` reads AWS, ``model`` computes what functions use and cost, ``findings`` are the
rules, ``analysis`` runs them. ``llm`` is what the language model sees and may write, ``report`` renders the artifacts.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

READ_ACTIONS = (
    "lambda:ListFunctions",
    "lambda:ListProvisionedConcurrencyConfigs",
    "lambda:GetFunctionRecursionConfig",
    "lambda:ListEventSourceMappings",
    "lambda:GetPolicy",
    "lambda:ListAliases",
    "lambda:ListVersionsByFunction",
    "application-autoscaling:DescribeScalableTargets",
    "application-autoscaling:DescribeScheduledActions",
    "application-autoscaling:DescribeScalingPolicies",
    "cloudwatch:GetMetricData",
    "logs:DescribeLogGroups",
    "logs:FilterLogEvents",
    "logs:StartQuery",
    "logs:GetQueryResults",
    "logs:StopQuery",
    "pricing:GetProducts",
    "compute-optimizer:GetEnrollmentStatus",
    "compute-optimizer:GetLambdaFunctionRecommendations",
)
"""Every IAM action that the analysis needs. It changes nothing but its own queries of logs."""


def check_detail(detail: object, max_scan_dollars: float) -> None:
    """Raise InvalidDetail unless ``detail`` is a cost request that a stack with this limit accepts."""
    from lambda_costs.request import parse_request

    parse_request(detail, "us-east-1", max_scan_dollars)


def seed_sample_account(client: Callable[[str], Any], now: datetime) -> None:
    """Write the sample account into the embedded AWS that ``client`` reaches."""
    from lambda_costs.sample_account import build, seed_account

    seed_account(build(), client, now)

"""What an account overpays for AWS Lambda: a deterministic analysis that knows nothing of agents."""

READ_ACTIONS = (
    "lambda:ListFunctions",
    "lambda:ListProvisionedConcurrencyConfigs",
    "cloudwatch:GetMetricData",
    "logs:DescribeLogGroups",
    "logs:FilterLogEvents",
)
"""Every IAM action that the analysis needs: it reads, and changes nothing."""

"""What an account overpays for AWS Lambda: a deterministic analysis that knows nothing of agents."""

READ_ACTIONS = (
    "lambda:ListFunctions",
    "lambda:ListProvisionedConcurrencyConfigs",
    "lambda:GetFunctionRecursionConfig",
    "lambda:ListEventSourceMappings",
    "lambda:GetPolicy",
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
"""Every IAM action that the analysis needs: it reads, and changes nothing but its own queries of logs."""

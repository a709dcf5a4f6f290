"""What the agent's role may read because this package declares it."""

from infra.roles import declared_actions
from lambda_costs import READ_ACTIONS
from tests.infra.template import Template
from tests.infra.test_grants import Grant, granted

READS = {
    "AgentReadsLambda": Grant(
        [
            "lambda:ListFunctions",
            "lambda:ListProvisionedConcurrencyConfigs",
            "lambda:GetFunctionRecursionConfig",
            "lambda:ListEventSourceMappings",
            "lambda:GetPolicy",
        ],
        ["*"],
    ),
    "AgentReadsCloudwatch": Grant(["cloudwatch:GetMetricData"], ["*"]),
    "AgentReadsLogs": Grant(
        [
            "logs:DescribeLogGroups",
            "logs:FilterLogEvents",
            "logs:StartQuery",
            "logs:GetQueryResults",
            "logs:StopQuery",
        ],
        ["*"],
    ),
    "AgentReadsPricing": Grant(["pricing:GetProducts"], ["*"]),
    "AgentReadsComputeOptimizer": Grant(
        ["compute-optimizer:GetEnrollmentStatus", "compute-optimizer:GetLambdaFunctionRecommendations"], ["*"]
    ),
}


def test_the_role_gets_what_the_package_declares(template: Template) -> None:
    others = set(declared_actions()) - set(READ_ACTIONS)  # of other packages that lie in src/
    reads = {
        sid: grant._replace(actions=[action for action in grant.actions if action not in others])
        for sid, grant in granted(template)["AgentRole"].items()
        if sid.startswith("AgentReads")
    }
    assert {sid: grant for sid, grant in reads.items() if grant.actions} == READS


def test_the_analysis_changes_nothing_but_its_own_queries() -> None:
    queries = {"logs:StartQuery", "logs:StopQuery"}
    reads = ("List", "Get", "Describe", "Filter")
    assert all(action.split(":")[1].startswith(reads) for action in {*READ_ACTIONS} - queries)

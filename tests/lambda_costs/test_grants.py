"""What the agent's role may read because this package declares it."""

from lambda_costs import READ_ACTIONS
from tests.infra.template import Template
from tests.infra.test_grants import Grant, granted


def reads(service: str, *names: str) -> Grant:
    return Grant([f"{service}:{name}" for name in names], ["*"])


OF_FUNCTIONS = ("ListProvisionedConcurrencyConfigs", "GetFunctionRecursionConfig", "ListEventSourceMappings")
OF_POLICIES = ("GetPolicy", "ListAliases", "ListVersionsByFunction")
OF_SCALING = ("DescribeScalableTargets", "DescribeScheduledActions", "DescribeScalingPolicies")
OF_LOGS = ("DescribeLogGroups", "FilterLogEvents", "StartQuery", "GetQueryResults", "StopQuery")
READS = {
    "AgentReadsLambda": reads("lambda", "ListFunctions", *OF_FUNCTIONS, *OF_POLICIES),
    "AgentReadsApplicationAutoscaling": reads("application-autoscaling", *OF_SCALING),
    "AgentReadsCloudwatch": reads("cloudwatch", "GetMetricData"),
    "AgentReadsLogs": reads("logs", *OF_LOGS),
    "AgentReadsPricing": reads("pricing", "GetProducts"),
    "AgentReadsComputeOptimizer": reads("compute-optimizer", "GetEnrollmentStatus", "GetLambdaFunctionRecommendations"),
}


def test_the_role_gets_what_the_package_declares(template: Template) -> None:
    # Not at the top: CDK starts Node, and every test process imports this module.
    from infra.roles import declared_actions

    others = set(declared_actions()) - set(READ_ACTIONS)  # of other packages that lie in src/
    found = {
        sid: grant._replace(actions=[action for action in grant.actions if action not in others])
        for sid, grant in granted(template)["AgentRole"].items()
        if sid.startswith("AgentReads")
    }
    assert {sid: grant for sid, grant in found.items() if grant.actions} == READS


def test_the_analysis_changes_nothing_but_its_own_queries() -> None:
    queries = {"logs:StartQuery", "logs:StopQuery"}
    verbs = ("List", "Get", "Describe", "Filter")
    assert all(action.split(":")[1].startswith(verbs) for action in {*READ_ACTIONS} - queries)

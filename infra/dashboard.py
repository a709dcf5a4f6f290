"""One look at the stack: how sessions end, how long they take, what was lost, and how the functions do."""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.trigger import messages_in


def dashboard(
    scope: Construct, workflow: sfn.StateMachine, dead_letters: sqs.Queue, functions: dict[str, lambda_.Function]
) -> None:
    """Build a dashboard of metrics that AWS records anyway."""
    hour = Duration.hours(1)
    ends = {"completed": workflow.metric_succeeded, "failed": workflow.metric_failed}
    ends |= {"aborted": workflow.metric_aborted, "timed out": workflow.metric_timed_out}
    times = {"median": "p50", "longest": "Maximum"}
    graphs: dict[str, list[cloudwatch.IMetric]] = {
        "Workflows by how they ended": [metric(period=hour, label=name) for name, metric in ends.items()],
        "Duration of workflows": [workflow.metric_time(period=hour, label=n, statistic=s) for n, s in times.items()],
        "Events in the dead-letter queue": [messages_in(dead_letters, Duration.minutes(5))],
        "Errors of functions": [item.metric_errors(period=hour, label=name) for name, item in functions.items()],
        "Throttles of functions": [item.metric_throttles(period=hour, label=name) for name, item in functions.items()],
        "Longest calls of functions": [
            item.metric_duration(period=hour, label=name, statistic="Maximum") for name, item in functions.items()
        ],
    }
    widgets: list[cloudwatch.IWidget] = [
        cloudwatch.GraphWidget(title=title, left=metrics, width=8) for title, metrics in graphs.items()
    ]
    cloudwatch.Dashboard(scope, "Dashboard", widgets=[widgets], default_interval=Duration.days(7))

"""CloudWatch: how long metrics are kept, and which values a query gets."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from vigil.local.stack import LocalStack


def metric(name: str, function: str) -> Any:
    return {"MetricName": name, "Dimensions": [{"Name": "FunctionName", "Value": function}]}


def test_daily_metrics_are_kept_for_more_than_two_weeks(embedded: LocalStack) -> None:
    cloudwatch = embedded.client("cloudwatch")
    then = datetime.now(UTC) - timedelta(days=89)
    old = metric("Invocations", "old")
    cloudwatch.put_metric_data(Namespace="AWS/Lambda", MetricData=[{**old, "Timestamp": then, "Value": 7}])
    window = {"StartTime": then - timedelta(days=1), "EndTime": datetime.now(UTC), "Period": 86_400}
    answer = cloudwatch.get_metric_statistics(Namespace="AWS/Lambda", **old, **window, Statistics=["Sum"])
    assert [point["Sum"] for point in answer["Datapoints"]] == [7]


def test_each_query_of_metrics_gets_its_own_values(embedded: LocalStack) -> None:
    cloudwatch = embedded.client("cloudwatch")
    now, daily = datetime.now(UTC).replace(microsecond=0), {"Period": 86_400, "Stat": "Sum"}
    functions = [uuid.uuid4().hex for _ in range(2)]
    stored = [metric(name, function) for function in functions for name in ("Invocations", "Errors")]
    for value, item in enumerate(stored, start=1):
        cloudwatch.put_metric_data(Namespace="AWS/Lambda", MetricData=[{**item, "Timestamp": now, "Value": value}])
    queries = [
        {"Id": f"m{index}", "MetricStat": {"Metric": {"Namespace": "AWS/Lambda", **item}, **daily}}
        for index, item in enumerate([*stored, metric("Errors", "unknown")])
    ]
    window = {"StartTime": now - timedelta(days=1), "EndTime": now + timedelta(days=1)}
    answer = cloudwatch.get_metric_data(MetricDataQueries=queries, **window)
    values = {result["Id"]: result["Values"] for result in answer["MetricDataResults"]}
    assert values == {"m0": [1], "m1": [2], "m2": [3], "m3": [4], "m4": []}


def test_a_template_may_have_an_alarm_on_the_sum_of_two_metrics(embedded: LocalStack) -> None:
    def query(name: str) -> dict[str, Any]:
        described = {"Namespace": "AWS/SQS", "MetricName": name, "Dimensions": [{"Name": "QueueName", "Value": "q"}]}
        return {
            "Id": name.lower(),
            "ReturnData": False,
            "MetricStat": {"Metric": described, "Period": 60, "Stat": "Sum"},
        }

    compared = {"ComparisonOperator": "GreaterThanThreshold", "Threshold": 1, "EvaluationPeriods": 1}
    metrics = [{"Id": "total", "Expression": "one + other"}, query("One"), query("Other")]
    alarm = {"Type": "AWS::CloudWatch::Alarm", "Properties": {**compared, "Metrics": metrics}}
    stack, cloudformation = f"s{uuid.uuid4().hex}", embedded.client("cloudformation")
    cloudformation.create_stack(StackName=stack, TemplateBody=json.dumps({"Resources": {"Only": alarm}}))
    cloudformation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    (found,) = embedded.client("cloudwatch").describe_alarms(AlarmNamePrefix=stack)["MetricAlarms"]
    assert (found["MetricName"], found["Statistic"], found["Period"]) == ("One", "Sum", 60)
    cloudformation.delete_stack(StackName=stack)

"""What runs on provisioned concurrency is read by its alias; what a policy allocated, by the hour."""

from datetime import timedelta
from typing import Any

import pytest

from lambda_costs.collect.metrics import Daily
from lambda_costs.collect.scaling import Scaling, ScheduledAction
from lambda_costs.collect.settings import Provisioned
from tests.lambda_costs.adversarial.account import Account, Planted
from tests.lambda_costs.adversarial.faults import Clients

NAME = "scaled-orders"
TARGET = {"ResourceId": f"function:{NAME}:live", "MinCapacity": 1, "MaxCapacity": 20}


def provisioned(clients: Clients) -> Any:
    (used,) = clients.analyse(NAME).usage.by_arn.values()
    return used.provisioned


@pytest.fixture(scope="module")
def written(account: Account, clients: Clients) -> Account:
    """A function of 100 invocations a day, of which its alias has 40 on the last day and none before."""
    account.write([Planted(NAME, provisioned=10)])
    moment = account.midnight - timedelta(hours=3)
    alias = [{"Name": "FunctionName", "Value": NAME}, {"Name": "Resource", "Value": f"{NAME}:live"}]
    values = {"Invocations": 40.0, "Duration": 8_000.0, "ProvisionedConcurrencyInvocations": 30.0}
    values |= {"ProvisionedConcurrentExecutions": 4.0, "ProvisionedConcurrencyUtilization": 0.5}
    data: Any = [
        {"MetricName": name, "Timestamp": moment, "Dimensions": alias, "Value": item} for name, item in values.items()
    ]
    clients("cloudwatch", "us-east-1").put_metric_data(Namespace="AWS/Lambda", MetricData=data)
    return account


def test_an_alias_has_its_own_invocations_and_durations(clients: Clients, written: Account) -> None:
    end = written.midnight.date()
    on, every, durations = (Daily({end - timedelta(days=1): value}, end) for value in (30.0, 40.0, 8_000.0))
    (found,) = provisioned(clients)
    assert found == Provisioned("live", 10, None, on, every, durations)
    # 8,000 ms / 40; the function's own mean is half a second.
    assert found.mean_seconds == 0.2


def test_where_a_policy_decides_use_shows_what_was_allocated(clients: Clients, written: Account) -> None:
    with (
        clients.instead("application-autoscaling.DescribeScalableTargets", {"ScalableTargets": [TARGET]}),
        clients.instead("application-autoscaling.DescribeScheduledActions", {"ScheduledActions": []}),
        clients.instead("application-autoscaling.DescribeScalingPolicies", {"ScalingPolicies": [TARGET]}),
    ):
        (found,) = provisioned(clients)
    assert found.scaling == Scaling(1, 20, (), follows_use=True)
    # Four were half of them.
    assert found.allocated == {written.midnight - timedelta(hours=3): 8.0}


def test_where_a_schedule_decides_no_hours_are_read(clients: Clients, written: Account) -> None:
    on = {**TARGET, "ScheduledActionName": "on", "Schedule": "cron(0 8 * * ? *)", "ScalableTargetAction": {}}
    with (
        clients.instead("application-autoscaling.DescribeScalableTargets", {"ScalableTargets": [TARGET]}),
        clients.instead("application-autoscaling.DescribeScheduledActions", {"ScheduledActions": [on]}),
        clients.instead("application-autoscaling.DescribeScalingPolicies", {"ScalingPolicies": []}),
    ):
        (found,) = provisioned(clients)
    assert found.scaling == Scaling(1, 20, (ScheduledAction("on", "cron(0 8 * * ? *)", "UTC", None, None),))
    assert found.allocated is None

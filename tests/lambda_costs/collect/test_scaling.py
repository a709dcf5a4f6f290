"""Application Auto Scaling: executions allocated in the 30 days from Wednesday, 1 July 2026, in execution-hours."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.scaling import Scaling, ScheduledAction, UnknownSchedule, read_scaling
from tests.lambda_costs.conftest import Stubbed

START = datetime(2026, 7, 1, tzinfo=UTC)
SUNDAY = datetime(2026, 7, 5, tzinfo=UTC)
HOURS = 30 * 24


def action(schedule: str, least: int | None, most: int | None, zone: str = "UTC") -> ScheduledAction:
    return ScheduledAction(schedule, schedule, zone, least, most)


def turned(on: str, off: str, zone: str = "UTC") -> tuple[ScheduledAction, ...]:
    """Return actions that set 10 executions and none."""
    return action(on, 10, 10, zone), action(off, 0, 0, zone)


@pytest.mark.parametrize(
    ("now", "scaling", "low", "high"),
    [
        # Nothing acts.
        (2, Scaling(0, 9), 2 * HOURS, 2 * HOURS),
        # Ten from 8:00 to 20:00 on 30 days: 10 x 12 x 30.
        (0, Scaling(0, 0, turned("cron(0 8 * * ? *)", "cron(0 20 * * ? *)")), 3600, 3600),
        # On weekdays: 22 of the 30 days.
        (0, Scaling(0, 0, turned("cron(0 8 ? * MON-FRI *)", "cron(0 20 ? * MON-FRI *)")), 2640, 2640),
        # The same if the analysis runs at noon, when ten are allocated: none was at midnight.
        (10, Scaling(10, 10, turned("cron(0 8 * * ? *)", "cron(0 20 * * ? *)")), 3600, 3600),
        # A schedule that acts once a month leaves what is allocated now until then.
        (10, Scaling(10, 10, turned("cron(0 8 15 * ? *)", "cron(0 20 15 * ? *)")), 10 * (14 * 24 + 20), 3560),
        # 8:00 in New York is 12:00 in UTC, and 20:00 is midnight: 12 h on each day.
        (0, Scaling(0, 0, turned("cron(0 8 * * ? *)", "cron(0 20 * * ? *)", "America/New_York")), 3600, 3600),
        # Once, at noon of the second day: 36 h of none, then ten.
        (0, Scaling(0, 0, (action("at(2026-07-02T12:00:00)", 10, 10),)), 10 * (HOURS - 36), 10 * (HOURS - 36)),
        (0, Scaling(0, 0, (action("at(2026-08-02T12:00:00)", 10, 10),)), 0, 0),
        # At noon of the first day at most three of four stay; an action that asks for at least two changes nothing.
        (4, Scaling(0, 9, (action("at(2026-07-01T12:00:00)", None, 3),)), 12 + 3 * HOURS, 12 + 3 * HOURS),
        (4, Scaling(0, 9, (action("at(2026-07-01T12:00:00)", 2, None),)), 4 * HOURS, 4 * HOURS),
        # A policy moves it between the bounds, and a schedule moves the bounds: from noon on 2 to 9.
        (4, Scaling(1, 9, follows_use=True), HOURS, 9 * HOURS),
        (4, Scaling(1, 9, (action("at(2026-07-01T12:00:00)", 2, None),), True), 2 * HOURS - 12, 9 * HOURS),
        # What no schedule tells lies between all bounds.
        (2, Scaling(1, 9, (action("rate(5 minutes)", 3, 7),)), HOURS, 7 * HOURS),
        (2, Scaling(1, 9, (action("rate(5 minutes)", 3, 7),), True), HOURS, 9 * HOURS),
        (2, Scaling(3, 9, (action("cron(0 8 * * ? 2027)", 3, 7),)), 2 * HOURS, 7 * HOURS),
    ],
)  # fmt: skip
def test_what_is_allocated_follows_the_schedules(now: int, scaling: Scaling, low: int, high: int) -> None:
    assert scaling.allocated(now, START, 30) == (low * 3600, high * 3600)


def test_a_change_of_the_clocks_makes_a_day_longer() -> None:
    zone, start = "America/New_York", datetime(2026, 10, 20, tzinfo=UTC)
    once = action("at(2026-10-31T12:00:00)", 10, 10, zone), action("at(2026-11-02T12:00:00)", 0, 0, zone)
    daily = turned("cron(0 8 * * ? *)", "cron(0 20 * * ? *)", zone)
    assert Scaling(0, 0, once).allocated(0, start, 30) == (490 * 3600, 490 * 3600)
    # From 20 October, 0:00 UTC, when it goes off, to 19 November, an hour before it does.
    assert Scaling(0, 0, daily).allocated(0, start, 30) == (3590 * 3600, 3590 * 3600)


@pytest.mark.parametrize(
    ("begins", "ends", "hours"),
    [
        (None, None, 3600),
        (START + timedelta(days=10), None, 2400),
        (None, START + timedelta(days=10), 1200),
        (None, START - timedelta(days=60), 0),
        (START + timedelta(days=60), START - timedelta(days=60), 0),
    ],
)
def test_an_action_acts_from_its_start_to_its_end(begins: datetime | None, ends: datetime | None, hours: int) -> None:
    acts = (replace(item, begins=begins, ends=ends) for item in turned("cron(0 8 * * ? *)", "cron(0 20 * * ? *)"))
    assert Scaling(0, 0, tuple(acts)).allocated(0, START, 30) == (hours * 3600, hours * 3600)


@pytest.mark.parametrize("schedule", ["cron(* * * * ? *)", "cron(0/30 * * * ? *)"])
def test_a_schedule_that_acts_more_than_hourly_is_not_followed(schedule: str) -> None:
    assert Scaling(0, 9, (action(schedule, 3, 7),)).allocated(5, START, 30) == (0, 7 * HOURS * 3600)
    hourly = Scaling(0, 9, (action("cron(0 * * * ? *)", 3, 7),))
    assert hourly.allocated(5, START, 30) == (5 * HOURS * 3600, 5 * HOURS * 3600)


@pytest.mark.parametrize(
    ("days", "numbers"),
    [
        # In AWS, Sunday is 1 and Saturday is 7. 5 July 2026 is a Sunday.
        ("1", [5, 12, 19, 26]),
        ("7", [11, 18, 25]),
        ("2-3", [6, 7, 13, 14, 20, 21, 27, 28]),
        ("SUN,4", [5, 8, 12, 15, 19, 22, 26, 29]),
        ("2/2", [6, 8, 10, 13, 15, 17, 20, 22, 24, 27, 29, 31]),  # and not each Sunday as an eighth day
        ("6L", [31]),  # the last Friday
        ("6#2", [10]),  # the second
        ("FRI#2", [10]),
    ],
)
def test_days_of_the_week_count_from_sunday(days: str, numbers: list[int]) -> None:
    moments = action(f"cron(30 8 ? * {days} *)", 1, 1).times(SUNDAY, SUNDAY + timedelta(days=27))
    assert moments == [datetime(2026, 7, day, 8, 30, tzinfo=UTC) for day in numbers]


@pytest.mark.parametrize(
    "schedule",
    [
        *("rate(1 day)", "cron()", "cron(0 8 * * ?)", "cron(0 8 99 * ? *)", "cron(0 8 ? * L *)", "cron(0 8 1W * ? *)"),
        *("cron(0 8 * * ? 2026)", "at(soon)", "at(2026-07-01T25:00:00)", "tomorrow", ""),
    ],
)
def test_an_unknown_schedule_says_so(schedule: str) -> None:
    with pytest.raises(UnknownSchedule):
        action(schedule, 1, 1).times(START, START + timedelta(days=30))


def test_an_unknown_time_zone_makes_a_schedule_unknown() -> None:
    with pytest.raises(UnknownSchedule):
        action("cron(0 8 * * ? *)", 1, 1, "Mars/Olympus").times(START, START + timedelta(days=30))


bounds = st.none() | st.integers(0, 20)
schedules = st.sampled_from(["cron(0 8 * * ? *)", "cron(0 20 ? * 2-6 *)", "at(2026-07-09T12:00:00)", "rate(1 day)"])
actions = st.lists(st.builds(action, schedules, bounds, bounds), max_size=4)


@given(st.integers(0, 20), st.integers(0, 5), st.integers(5, 20), actions, st.booleans())
def test_the_least_allocated_is_at_most_the_most(
    now: int, least: int, most: int, actions: Sequence[ScheduledAction], follows_use: bool
) -> None:
    low, high = Scaling(least, most, tuple(actions), follows_use).allocated(now, START, 30)
    assert 0 <= low <= high <= 20 * HOURS * 3600


@pytest.mark.parametrize("actions", [(), (ScheduledAction("on", "rate(1 day)", "UTC", 2, 8),)])
def test_known_hours_are_left_out(actions: tuple[ScheduledAction, ...]) -> None:
    known = frozenset({START + timedelta(hours=1), START + timedelta(hours=7)})
    # 22 hours of a day remain, between the bounds.
    found = Scaling(2, 8, actions, follows_use=True).allocated(3, START, 1, known)
    assert found == (2 * 22 * 3600, 8 * 22 * 3600)


def target(resource: str, least: int = 1, most: int = 9) -> dict[str, Any]:
    dimension = {"ServiceNamespace": "lambda", "ScalableDimension": "lambda:function:ProvisionedConcurrency"}
    made = {"RoleARN": "arn:aws:iam::000000000000:role/scaling", "CreationTime": START}
    return {**dimension, **made, "ResourceId": resource, "MinCapacity": least, "MaxCapacity": most}


def test_targets_schedules_and_policies_of_a_region_are_joined(stubbed: Stubbed) -> None:
    autoscaling, answers = stubbed("application-autoscaling")
    asked = {"ServiceNamespace": "lambda"}
    first = {"ScalableTargets": [target("function:orders:live")], "NextToken": "more"}
    answers.add_response("describe_scalable_targets", first, asked)
    others = [target("function:orders:7", 0, 0), target("nonsense"), target("function:orders:$LATEST")]
    answers.add_response("describe_scalable_targets", {"ScalableTargets": others}, {**asked, "NextToken": "more"})
    scheduled = {
        **target("function:orders:7"),
        **{"ScheduledActionName": "on", "ScheduledActionARN": "arn", "Schedule": "rate(1 day)"},
        **{"Timezone": "Asia/Tokyo", "ScalableTargetAction": {"MinCapacity": 3}, "StartTime": START, "EndTime": SUNDAY},
    }
    kept = ("ServiceNamespace", "ScheduledActionName", "ScheduledActionARN", "ResourceId", "Schedule", "Timezone",
            "CreationTime", "ScalableTargetAction", "StartTime", "EndTime")  # fmt: skip
    scheduled = {name: scheduled[name] for name in kept}
    answers.add_response("describe_scheduled_actions", {"ScheduledActions": [scheduled]}, asked)
    policy = {"PolicyARN": "arn", "PolicyName": "p", "ServiceNamespace": "lambda",
              "PolicyType": "TargetTrackingScaling", "ResourceId": "function:orders:live", "CreationTime": START,
              "ScalableDimension": "lambda:function:ProvisionedConcurrency"}  # fmt: skip
    answers.add_response("describe_scaling_policies", {"ScalingPolicies": [policy]}, asked)
    action = ScheduledAction("on", "rate(1 day)", "Asia/Tokyo", 3, None, START, SUNDAY)
    assert read_scaling(autoscaling, "scaling", []) == {
        ("orders", "live"): Scaling(1, 9, (), follows_use=True),
        ("orders", "7"): Scaling(0, 0, (action,)),
    }


def test_without_targets_nothing_more_is_read(stubbed: Stubbed) -> None:
    autoscaling, answers = stubbed("application-autoscaling")
    answers.add_response("describe_scalable_targets", {"ScalableTargets": []}, {"ServiceNamespace": "lambda"})
    assert read_scaling(autoscaling, "scaling", []) == {}


@pytest.mark.parametrize("refused", ["DescribeScalableTargets", "DescribeScheduledActions", "DescribeScalingPolicies"])
def test_a_refusal_leaves_what_is_known(stubbed: Stubbed, refused: str) -> None:
    autoscaling, answers = stubbed("application-autoscaling")
    listed = {"ScalableTargets": [target("function:orders:live")], "ScheduledActions": [], "ScalingPolicies": []}
    for name, items in listed.items():
        operation = f"describe_{'_'.join(re.findall('[A-Z][a-z]+', name)).lower()}"
        if refused == f"Describe{name}":
            answers.add_client_error(operation, "AccessDeniedException", "no")
            break
        answers.add_response(operation, {name: items}, {"ServiceNamespace": "lambda"})
    gaps: list[Gap] = []
    # Without the targets nothing is known, otherwise how this one scales.
    known = None if refused == "DescribeScalableTargets" else {("orders", "live"): None}
    assert read_scaling(autoscaling, "scaling", gaps) == known
    assert gaps == [Gap("scaling", f"{refused}: access denied")]


DYNAMIC = {"DynamicScalingInSuspended": True, "DynamicScalingOutSuspended": True}


@pytest.mark.parametrize(
    ("suspended", "actions", "follows_use"),
    [
        ({"ScheduledScalingSuspended": False}, 1, True),
        ({"ScheduledScalingSuspended": True}, 0, True),
        (DYNAMIC, 1, False),
        ({**DYNAMIC, "DynamicScalingInSuspended": False}, 1, True),
    ],
)
def test_what_is_suspended_does_not_act(suspended: dict[str, bool], actions: int, follows_use: bool) -> None:
    item = {**target("function:orders:live"), "SuspendedState": suspended}
    acts = {**item, "ScheduledActionName": "on", "Schedule": "rate(1 day)"}
    answers = {"ScalableTargets": [item], "ScheduledActions": [acts], "ScalingPolicies": [item]}

    class Autoscaling:
        def get_paginator(self, operation: str) -> Any:
            key = "".join(word.capitalize() for word in operation.split("_")[1:])
            return SimpleNamespace(paginate=lambda **asked: [{key: answers[key]}])

    found = read_scaling(Autoscaling(), "scaling", [])
    assert found
    (scaling,) = found.values()
    assert scaling
    assert (len(scaling.actions), scaling.follows_use) == (actions, follows_use)

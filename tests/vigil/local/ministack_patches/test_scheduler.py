"""EventBridge Scheduler: when a schedule runs, and what becomes of its event."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support import until
from tests.vigil.local.ministack_patches.builders import Role
from vigil.local.ministack_patches import scheduler as patched
from vigil.local.stack import REGION, LocalStack

BUS = f"arn:aws:events:{REGION}:000000000000:event-bus/default"


@pytest.mark.parametrize("granted", [True, False])
def test_a_rate_runs_at_once_and_needs_a_grant_to_put_its_event_or_it_is_kept(
    embedded: LocalStack, role: Role, granted: bool
) -> None:
    name = f"schedule-{uuid.uuid4()}"
    events, sqs, scheduler = (embedded.client(service) for service in ("events", "sqs", "scheduler"))

    def queue(kind: str) -> tuple[str, str]:
        url = sqs.create_queue(QueueName=f"{kind}-{uuid.uuid4()}")["QueueUrl"]
        return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    (received, target), (dead, dead_arn) = queue("received"), queue("dead")
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    events.put_targets(Rule=name, Targets=[{"Id": "only", "Arn": target}])
    sender = role(("sqs:SendMessage", dead_arn), *([("events:PutEvents", BUS)] if granted else []))
    detail = '{"at": "<aws.scheduler.scheduled-time>", "of": "<aws.scheduler.schedule-arn>"}'
    asked = {"EventBridgeParameters": {"Source": name, "DetailType": "Test"}, "Input": detail}
    wanted: Any = {
        "Target": {"Arn": BUS, "RoleArn": sender, "DeadLetterConfig": {"Arn": dead_arn}, **asked},
        "ScheduleExpression": "rate(1 hour)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
    }
    arn = scheduler.create_schedule(Name=name, **wanted)["ScheduleArn"]
    created = scheduler.get_schedule(Name=name)["CreationDate"].astimezone(UTC)
    tick = f"{created:%Y-%m-%dT%H:%M:%SZ}"

    def messages(url: str) -> list[Any]:
        request = {"QueueUrl": url, "MessageAttributeNames": ["All"], "VisibilityTimeout": 0}
        return list(sqs.receive_message(**request).get("Messages", []))

    (message,) = until(lambda: messages(received if granted else dead))
    scheduler.delete_schedule(Name=name)
    assert len(messages(received)) + len(messages(dead)) == 1
    if granted:
        event = json.loads(message["Body"])
        assert (event["detail"], event["detail-type"]) == ({"at": tick, "of": arn}, "Test")
        return
    assert json.loads(message["Body"]) == {"at": tick, "of": arn}
    attributes = {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}
    assert attributes.pop("EXECUTION_ID")
    assert attributes == {
        "ERROR_CODE": "AccessDeniedException",
        "ERROR_MESSAGE": f"{sender} may not put events on {BUS}",
        "IS_PAYLOAD_TRUNCATED": "false",
        "RETRY_ATTEMPTS": "0",
        "SCHEDULED_TIME": tick,
        "SCHEDULE_ARN": arn,
        "TARGET_ARN": BUS,
    }


def target_of(role: str, **more: object) -> dict[str, Any]:
    return {"Arn": BUS, "RoleArn": role, "EventBridgeParameters": {"Source": "a", "DetailType": "b"}, **more}


def template(role: str, expression: str, zone: str, text: str = "{}") -> str:
    schedule = {
        "Type": "AWS::Scheduler::Schedule",
        "Properties": {
            "ScheduleExpression": expression,
            "ScheduleExpressionTimezone": zone,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": target_of(role, Input=text),
        },
    }
    return json.dumps({"Resources": {"Only": schedule}, "Outputs": {"Name": {"Value": {"Ref": "Only"}}}})


def test_a_cron_expression_is_read_in_the_time_zone_of_the_template(embedded: LocalStack, role: Role) -> None:
    stack, cloudformation = f"s{uuid.uuid4().hex}", embedded.client("cloudformation")
    body = template(role(), f"cron(0 0 1 1 ? {datetime.now(UTC).year + 5})", "Asia/Tokyo")
    cloudformation.create_stack(StackName=stack, TemplateBody=body)
    cloudformation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    (found,) = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]
    kept = embedded.client("scheduler").get_schedule(Name=found["OutputValue"])
    assert kept["ScheduleExpressionTimezone"] == "Asia/Tokyo"
    body = template(role(), f"cron(0 0 1 1 ? {datetime.now(UTC).year + 5})", "Europe/Berlin")
    cloudformation.update_stack(StackName=stack, TemplateBody=body)
    cloudformation.get_waiter("stack_update_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    changed = embedded.client("scheduler").get_schedule(Name=found["OutputValue"])
    assert changed["ScheduleExpressionTimezone"] == "Europe/Berlin"
    assert changed["LastModificationDate"] > changed["CreationDate"] == kept["CreationDate"]
    cloudformation.delete_stack(StackName=stack)


@pytest.mark.parametrize(
    ("expression", "zone", "text"),
    [
        ("cron(0 0 15W * ? *)", "UTC", "{}"),
        ("cron(0 0 31 2 ? *)", "UTC", "{}"),
        ("rate(1 day)", "Moon/Crater", "{}"),
        ("rate(1 day)", "UTC", '{"a": "x}'),
    ],
)
def test_a_template_whose_schedule_cannot_run_here_is_refused(
    embedded: LocalStack, role: Role, expression: str, zone: str, text: str
) -> None:
    stack, cloudformation = f"s{uuid.uuid4().hex}", embedded.client("cloudformation")
    cloudformation.create_stack(StackName=stack, TemplateBody=template(role(), expression, zone, text))

    def reasons() -> list[str]:
        events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
        return [event["ResourceStatusReason"] for event in events if event["ResourceStatus"] == "CREATE_FAILED"]

    expected = ("not understood here", "not known here", "never runs", "must be a JSON object")
    assert any(words in reason for reason in until(reasons) for words in expected)


def test_a_schedule_that_cannot_run_here_keeps_no_other_from_running(embedded: LocalStack, role: Role) -> None:
    sqs, scheduler = embedded.client("sqs"), embedded.client("scheduler")
    url = sqs.create_queue(QueueName=f"dead-{uuid.uuid4()}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sender, names = role(("sqs:SendMessage", arn)), [f"schedule-{uuid.uuid4()}" for _ in range(3)]
    target: Any = target_of(sender, DeadLetterConfig={"Arn": arn}, Input="{}")
    for name, expression in zip(names, ("cron(0 0 15W * ? *)", "rate(99999999999 days)", "rate(1 hour)"), strict=True):
        wanted: Any = {"ScheduleExpression": expression, "FlexibleTimeWindow": {"Mode": "OFF"}}
        scheduler.create_schedule(Name=name, Target=target, **wanted)
    assert until(lambda: sqs.receive_message(QueueUrl=url).get("Messages"), seconds=20)
    log = (embedded.folder / "server.log").read_text()
    assert log.count(f"{names[0]} does not run: 'cron(0 0 15W * ? *)' is an expression that is not understood") == 1
    for name in names:
        scheduler.delete_schedule(Name=name)


class Ticks:
    """The embedded Scheduler with a clock that the test sets, and what it runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.runs, self.searches = datetime(2026, 11, 30, 8, 0, 30, tzinfo=UTC), list[str](), list[str]()
        self.schedules: dict[Any, Any] = {}
        ticks, search = self, patched.next_runs

        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return ticks.now

        def searched(expression: str, *more: Any) -> Any:
            ticks.searches.append(expression)
            return search(expression, *more)

        monkeypatch.setattr(patched, "datetime", Clock)
        monkeypatch.setattr(patched, "next_runs", searched)
        monkeypatch.setattr(patched, "_runs", {})
        monkeypatch.setattr(patched, "_run", lambda schedule, at: ticks.runs.append(at))
        monkeypatch.setattr(patched.scheduler._schedules, "_data", self.schedules)

    def make(self, expression: str, **more: object) -> None:
        created = self.now.timestamp()
        wanted = {"ScheduleExpression": expression, "ScheduleExpressionTimezone": "UTC", "Target": target_of("")}
        times = {"CreationDate": created, "LastModificationDate": created}
        self.schedules["000000000000", REGION, "default/only"] = {
            **wanted,
            **times,
            "State": "ENABLED",
            "Arn": "a",
            **more,
        }

    def change(self, **properties: object) -> None:
        (schedule,) = self.schedules.values()
        schedule.update(properties, LastModificationDate=self.now.timestamp())

    def after(self, minutes: int) -> list[str]:
        """Look every second until then, and return what ran."""
        self.runs.clear()
        for _ in range(60 * minutes):
            self.now += timedelta(seconds=1)
            patched.run_schedules(None)
        return [at[11:16] for at in self.runs]


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Ticks:
    return Ticks(monkeypatch)


def test_each_run_of_a_schedule_is_searched_for_once(ticks: Ticks) -> None:
    ticks.make("cron(0/2 * * * ? *)")
    assert ticks.after(minutes=5) == ["08:02", "08:04"]
    assert ticks.searches == ["cron(0/2 * * * ? *)"]


def test_a_rate_runs_when_it_is_created_and_not_before(ticks: Ticks) -> None:
    ticks.make("rate(2 minutes)")
    assert ticks.after(minutes=5) == ["08:00", "08:02", "08:04"]


@pytest.mark.parametrize("looks", [True, False])
def test_a_schedule_that_is_made_again_does_not_run_for_the_time_without_it(ticks: Ticks, looks: bool) -> None:
    ticks.make("cron(* * * * ? *)")
    assert ticks.after(minutes=1) == ["08:01"]
    ticks.schedules.clear()
    if looks:
        assert ticks.after(minutes=3) == []
    else:
        ticks.now += timedelta(minutes=3)
    ticks.make("cron(* * * * ? *)")
    assert ticks.after(minutes=1) == ["08:05"]


def test_a_changed_schedule_runs_from_its_change_on(ticks: Ticks) -> None:
    ticks.make("cron(0 12 * * ? *)")
    assert ticks.after(minutes=2) == []
    ticks.change(ScheduleExpression="cron(* * * * ? *)")
    assert ticks.after(minutes=1) == ["08:03"]
    ticks.change(State="DISABLED")
    assert ticks.after(minutes=2) == []
    ticks.change(State="ENABLED")
    assert ticks.after(minutes=1) == ["08:06"]

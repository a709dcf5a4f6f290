"""EventBridge Scheduler: when a schedule runs, and what becomes of its event."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support import until
from tests.vigil.local.ministack_patches.builders import Role
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


def template(role: str, expression: str, zone: str) -> str:
    schedule = {
        "Type": "AWS::Scheduler::Schedule",
        "Properties": {
            "ScheduleExpression": expression,
            "ScheduleExpressionTimezone": zone,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": target_of(role),
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
    cloudformation.delete_stack(StackName=stack)


@pytest.mark.parametrize(("expression", "zone"), [("cron(0 0 15W * ? *)", "UTC"), ("rate(1 day)", "Moon/Crater")])
def test_a_template_whose_schedule_cannot_run_here_is_refused(
    embedded: LocalStack, role: Role, expression: str, zone: str
) -> None:
    stack, cloudformation = f"s{uuid.uuid4().hex}", embedded.client("cloudformation")
    cloudformation.create_stack(StackName=stack, TemplateBody=template(role(), expression, zone))

    def reasons() -> list[str]:
        events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
        return [event["ResourceStatusReason"] for event in events if event["ResourceStatus"] == "CREATE_FAILED"]

    assert any("not understood here" in reason or "not known here" in reason for reason in until(reasons))


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

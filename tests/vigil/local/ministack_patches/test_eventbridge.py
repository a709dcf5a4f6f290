"""EventBridge: which events it takes, and what becomes of an event that starts no execution."""

import json
import uuid
from typing import Any

import pytest

from tests.support import until
from tests.vigil.local.ministack_patches.builders import NOT_JSON, Machines, Role
from vigil.local.stack import LocalStack


def test_only_events_whose_detail_is_no_object_are_refused(embedded: LocalStack) -> None:
    malformed = [*NOT_JSON, "[1]", "7", "null"]
    details = ["{}", *malformed, '{"a": {"b": [1.5, "\\ud83d\\ude00"]}}']
    entries: Any = [{"Source": "here", "DetailType": "any", "Detail": detail} for detail in details]
    answer = embedded.client("events").put_events(Entries=entries)
    codes = [entry.get("ErrorCode", "taken") for entry in answer["Entries"]]
    assert codes == ["taken", *["MalformedDetail"] * len(malformed), "taken"]
    assert answer["FailedEntryCount"] == len(malformed)


@pytest.mark.parametrize("granted", [True, False])
def test_a_rule_needs_a_grant_to_start_executions_or_the_event_is_kept(
    machines: Machines, embedded: LocalStack, role: Role, granted: bool
) -> None:
    name = f"rule-{uuid.uuid4()}"
    events, sqs = embedded.client("events"), embedded.client("sqs")
    machine = machines.create(role(), {"Type": "Pass"})
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rule = events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))["RuleArn"]
    starter = role(("states:StartExecution", machine if granted else f"{machine}-of-others"))
    target = {"Id": "only", "Arn": machine, "RoleArn": starter, "DeadLetterConfig": {"Arn": queue}}
    events.put_targets(Rule=name, Targets=[target])
    entry = {"Source": name, "DetailType": "Test", "Detail": '{"a": 1}'}
    event_id = events.put_events(Entries=[entry])["Entries"][0]["EventId"]

    def dead_letters() -> list[Any]:
        request = {"QueueUrl": url, "MessageAttributeNames": ["All"], "VisibilityTimeout": 0}
        return list(sqs.receive_message(**request).get("Messages", []))

    def executions() -> list[Any]:
        return list(machines.sfn.list_executions(stateMachineArn=machine)["executions"])

    assert until(executions if granted else dead_letters)
    assert (len(executions()), len(dead_letters())) == ((1, 0) if granted else (0, 1))
    for message in dead_letters():
        event = json.loads(message["Body"])
        assert (event["id"], event["detail"]) == (event_id, {"a": 1})
        assert {key: value["StringValue"] for key, value in message["MessageAttributes"].items()} == {
            "RULE_ARN": rule,
            "TARGET_ARN": machine,
            "ERROR_CODE": "NO_PERMISSIONS",
            "ERROR_MESSAGE": f"{starter} may not start {machine}",
        }

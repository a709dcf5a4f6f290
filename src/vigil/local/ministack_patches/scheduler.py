"""EventBridge Scheduler: when a schedule runs, the event that it puts, its role, and its dead-letter queue."""

import json
import logging
import time
import uuid
from datetime import UTC, datetime
from functools import cache
from itertools import takewhile
from typing import Any

from ministack.core.responses import set_request_account_id, set_request_region
from ministack.services import eventbridge, scheduler, sqs
from ministack.services.cloudformation import provisioners

from vigil.errors import InvalidInput
from vigil.local.ministack_patches.iam import is_allowed
from vigil.local.ministack_patches.patching import at_install, replaces
from vigil.schedule import next_runs

logger = logging.getLogger(__name__)

_looked: dict[Any, float] = {}  # by schedule, the last time for which it was looked at


@at_install
def look_every_second() -> None:
    """AWS runs a schedule within its minute; ministack looks every 10 s, which tests would wait for."""
    scheduler._SCHEDULE_TICK_INTERVAL = 1


@replaces(provisioners._RESOURCE_HANDLERS["AWS::Scheduler::Schedule"], "create")
def create_with_time_zone(create: Any, logical_id: str, properties: dict[str, Any], stack: str) -> Any:
    """AWS keeps the time zone of a template's schedule; ministack drops it. A schedule that cannot run here fails."""
    zone, now = properties.get("ScheduleExpressionTimezone", "UTC"), datetime.now(UTC)
    next(next_runs(properties["ScheduleExpression"], zone, now, now), None)
    name, attributes = create(logical_id, properties, stack)
    key = f"{properties.get('GroupName', 'default')}/{name}"
    scheduler._schedules[key]["ScheduleExpressionTimezone"] = zone
    return name, attributes


@replaces(scheduler, "_tick_schedules")
def run_schedules(tick: Any) -> None:
    """AWS reads a cron expression in the schedule's time zone, and runs a rate at once; ministack does neither.

    It replaces keywords such as <aws.scheduler.scheduled-time>, and puts the event with the schedule's role. What it
    cannot put goes to the dead-letter queue. Nothing is retried here: every failure is permanent. Schedules with
    another target than a bus do not run.
    """
    now = time.time()
    for key, schedule in list(scheduler._schedules._data.items()):
        account, region, _ = key
        created = float(schedule["CreationDate"])
        # A rate's first run is that moment itself.
        last, _looked[key] = _looked.get(key, created - 1), now
        if schedule["State"] != "ENABLED" or "EventBridgeParameters" not in schedule["Target"]:
            continue
        set_request_account_id(account)
        set_request_region(region)
        expression, zone = schedule["ScheduleExpression"], schedule["ScheduleExpressionTimezone"]
        begun, since, until = (datetime.fromtimestamp(moment, UTC) for moment in (created, last, now))
        try:
            for run in takewhile(until.__ge__, next_runs(expression, zone, begun, since)):
                _run(schedule, f"{run.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
        except InvalidInput as error:
            _log_once(f"{schedule['Arn']} does not run: {error}")


@cache
def _log_once(text: str) -> None:
    logger.error(text)


def _run(schedule: dict[str, Any], scheduled_time: str) -> None:
    target, execution_id = schedule["Target"], uuid.uuid4().hex[:16]
    detail = target["Input"]
    context = {"scheduled-time": scheduled_time, "schedule-arn": schedule["Arn"], "execution-id": execution_id}
    for name, value in {**context, "attempt-number": "1"}.items():
        detail = detail.replace(f"<aws.scheduler.{name}>", value)
    asked = target["EventBridgeParameters"]
    keys = {"events:source": asked["Source"], "events:detail-type": asked["DetailType"]}
    role = target["RoleArn"]
    if is_allowed(role, "events:PutEvents", target["Arn"], **keys):
        entry = {**asked, "Detail": detail, "EventBusName": target["Arn"], "Resources": [schedule["Arn"]]}
        answer = json.loads(eventbridge._put_events({"Entries": [entry]})[2])
        if not answer["FailedEntryCount"]:
            return
        code, message = answer["Entries"][0]["ErrorCode"], answer["Entries"][0]["ErrorMessage"]
    else:
        code, message = "AccessDeniedException", f"{role} may not put events on {target['Arn']}"
    queue = target.get("DeadLetterConfig", {}).get("Arn")
    if queue is None or not is_allowed(role, "sqs:SendMessage", queue):
        logger.error("%s drops its event of %s: %s", schedule["Arn"], scheduled_time, message)
        return
    eventbridge._dispatch_to_sqs(eventbridge.parse_arn(queue), detail)
    attributes = {
        **{"ERROR_CODE": code, "ERROR_MESSAGE": message, "EXECUTION_ID": execution_id, "RETRY_ATTEMPTS": "0"},
        **{"IS_PAYLOAD_TRUNCATED": "false", "SCHEDULED_TIME": scheduled_time, "SCHEDULE_ARN": schedule["Arn"]},
        "TARGET_ARN": target["Arn"],
    }
    texts = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    sqs._queue_by_arn(queue)["messages"][-1]["message_attributes"] = texts

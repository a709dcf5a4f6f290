"""EventBridge Scheduler: when a schedule runs, the event that it puts, its role, and its dead-letter queue."""

import json
import logging
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from ministack.core.responses import set_request_account_id, set_request_region
from ministack.services import eventbridge, scheduler, sqs
from ministack.services.cloudformation import provisioners

from vigil.errors import InvalidInput
from vigil.local.ministack_patches.iam import is_allowed
from vigil.local.ministack_patches.patching import at_install, replaces
from vigil.schedule import check_expression, check_input, next_runs

logger = logging.getLogger(__name__)


class _Runs:
    """The runs of a schedule from its creation or last change on. Each is searched for once, not every second."""

    def __init__(self, schedule: dict[str, Any]) -> None:
        created, changed = _creation_and_change(schedule)
        # A rate's first run is its creation itself.
        since = changed if changed > created else created - datetime.resolution
        expression, zone = schedule["ScheduleExpression"], schedule["ScheduleExpressionTimezone"]
        self._arn, self._following = schedule["Arn"], next_runs(expression, zone, created, since)
        self._next = self._search()

    def _search(self) -> datetime | None:
        try:
            return next(self._following, None)
        except InvalidInput as error:
            logger.error("%s does not run: %s", self._arn, error)
            return None

    def until(self, now: datetime) -> Iterator[datetime]:
        """Yield each run until ``now`` once."""
        while self._next is not None and self._next <= now:
            run, self._next = self._next, self._search()
            yield run


_runs: dict[Any, _Runs] = {}  # by schedule as it was created or changed last


def _creation_and_change(schedule: dict[str, Any]) -> tuple[datetime, datetime]:
    created, changed = (float(schedule[name]) for name in ("CreationDate", "LastModificationDate"))
    return datetime.fromtimestamp(created, UTC), datetime.fromtimestamp(changed, UTC)


@at_install
def look_every_second() -> None:
    """AWS runs a schedule within its minute; ministack looks every 10 s, which tests would wait for."""
    scheduler._SCHEDULE_TICK_INTERVAL = 1


def _check(properties: dict[str, Any]) -> str:
    """Return the time zone of a template's schedule; raises InvalidInput if it cannot run here."""
    zone = properties.get("ScheduleExpressionTimezone", "UTC")
    check_expression(properties["ScheduleExpression"], zone)
    target = properties["Target"]
    if "EventBridgeParameters" in target:
        # "The input must be a well-formed JSON" ("Target", EventBridge Scheduler API Reference).
        check_input(target.get("Input", "{}"))
    return str(zone)


_handlers = provisioners._RESOURCE_HANDLERS["AWS::Scheduler::Schedule"]


@replaces(_handlers, "create")
def create_with_time_zone(create: Any, logical_id: str, properties: dict[str, Any], stack: str) -> Any:
    """AWS keeps the time zone of a template's schedule; ministack drops it. A schedule that cannot run here fails."""
    zone = _check(properties)
    # It must not run before it has its time zone.
    name, attributes = create(logical_id, {**properties, "State": "DISABLED"}, stack)
    kept = scheduler._schedules[f"{properties.get('GroupName', 'default')}/{name}"]
    kept.update(ScheduleExpressionTimezone=zone, State=properties.get("State", "ENABLED"))
    return name, attributes


@replaces(_handlers, "update")
def update_with_time_zone(update: Any, name: str, old: Any, properties: dict[str, Any], stack: str) -> Any:
    """AWS also changes the time zone, and notes the time of the change; ministack does neither."""
    zone = _check(properties)
    answer = update(name, old, properties, stack)
    kept = scheduler._schedules[f"{properties.get('GroupName', 'default')}/{answer[0]}"]
    kept.update(ScheduleExpressionTimezone=zone, LastModificationDate=time.time())
    return answer


@replaces(scheduler, "_tick_schedules")
def run_schedules(tick: Any) -> None:
    """AWS reads a cron expression in the schedule's time zone, and runs a rate at once; ministack does neither.

    It replaces keywords such as <aws.scheduler.scheduled-time>, and puts the event with the schedule's role. What it
    cannot put goes to the dead-letter queue. Nothing is retried here: every failure is permanent. Schedules with
    another target than a bus do not run.
    """
    now, schedules = datetime.now(UTC), list(scheduler._schedules._data.items())
    wanted = {
        (*key, *_creation_and_change(schedule)): schedule
        for key, schedule in schedules
        if schedule["State"] == "ENABLED" and "EventBridgeParameters" in schedule["Target"]
    }
    for gone in _runs.keys() - wanted:
        del _runs[gone]
    for key, schedule in wanted.items():
        set_request_account_id(key[0])
        set_request_region(key[1])
        if key not in _runs:
            _runs[key] = _Runs(schedule)
        for run in _runs[key].until(now):
            _run(schedule, f"{run.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")


def _run(schedule: dict[str, Any], scheduled_time: str) -> None:
    target, execution_id = schedule["Target"], uuid.uuid4().hex[:16]
    detail = target.get("Input", "{}")
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

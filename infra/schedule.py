"""The schedule that starts sessions, if a parameter asks for one: it puts the event that a user puts otherwise."""

from aws_cdk import CfnCondition, CfnOutput, CfnResource, Fn, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from infra.parameters import ScheduleParameters
from infra.trigger import Trigger
from infra.trust import grant, trusted
from vigil.names import EVENT_DETAIL_TYPE, EVENT_SOURCE, TICK_KEY, OptionalOutput


def schedule(stack: Stack, trigger: Trigger) -> None:
    """Build the schedule and its role, which exist only if the parameter is set."""
    parameters = ScheduleParameters(stack)
    scope = Construct(stack, "Scheduled")
    wanted = CfnCondition(scope, "Wanted", expression=Fn.condition_not(Fn.condition_equals(parameters.expression, "")))
    # Scheduler names the group, not the schedule ("Cross-service confused deputy prevention", Scheduler User Guide).
    group = stack.format_arn(service="scheduler", resource="schedule-group", resource_name="default")
    role = iam.Role(scope, "Role", assumed_by=trusted(stack, "scheduler", group))
    bus = stack.format_arn(service="events", resource="event-bus", resource_name="default")
    only = {"StringEquals": {"events:source": EVENT_SOURCE, "events:detail-type": EVENT_DETAIL_TYPE}}
    grant(role, "ScheduleEventPut", "events:PutEvents", bus, conditions=only)
    grant(role, "ScheduleDeadLetter", "sqs:SendMessage", trigger.dead_letters.queue_arn)
    target = scheduler.CfnSchedule.TargetProperty(
        arn=bus,
        role_arn=role.role_arn,
        event_bridge_parameters=scheduler.CfnSchedule.EventBridgeParametersProperty(
            source=EVENT_SOURCE, detail_type=EVENT_DETAIL_TYPE
        ),
        input=_with_tick(scope, parameters.detail),
        dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(arn=trigger.dead_letters.queue_arn),
        # As long as EventBridge tries to deliver an event.
        retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
            maximum_event_age_in_seconds=86_400, maximum_retry_attempts=185
        ),
    )
    made = scheduler.CfnSchedule(
        scope,
        "Schedule",
        description="Starts Vigil sessions",
        schedule_expression=parameters.expression,
        schedule_expression_timezone=parameters.timezone,
        flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
        target=target,
    )
    # A rate runs at once. Without the rule, nobody would receive its first event.
    made.node.add_dependency(trigger.rule, role)
    CfnOutput(
        stack, OptionalOutput.SCHEDULE, value=made.ref, description="Schedule that starts sessions", condition=wanted
    )
    for child in scope.node.find_all():
        if isinstance(child, CfnResource):
            child.cfn_options.condition = wanted


def _with_tick(scope: Construct, detail: str) -> str:
    """Return ``detail`` with a last key whose value Scheduler sets: the time for which it puts the event."""
    empty = CfnCondition(scope, "NoDetail", expression=Fn.condition_equals(detail, "{}"))
    # The parameter holds no line break: the one after its last brace is the only one.
    members = Fn.select(0, Fn.split("}\n", f"{detail}\n"))
    comma = Fn.condition_if(empty.logical_id, "", ",").to_string()
    return f'{members}{comma}"{TICK_KEY}":"<aws.scheduler.scheduled-time>"}}'

"""What starts a session: an EventBridge rule on the default bus, and a queue for what could not be delivered."""

from typing import Any

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.nag import suppress
from infra.trust import grant, trusted
from vigil.names import EVENT_DETAIL_TYPE, EVENT_SOURCE


class Trigger(Construct):
    """The rule, its dead-letter queue and the alarm that says that something lies there."""

    def __init__(self, scope: Construct, name: str, *, workflow: sfn.StateMachine) -> None:
        super().__init__(scope, name)
        self.dead_letters = sqs.Queue(
            self,
            "DeadLetters",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        suppress(self.dead_letters, {"AwsSolutions-SQS3": "It is the dead-letter queue."})
        means = "An event could not start a Vigil session; `vigil lost` shows it"
        self.alarm = alarm_on(self, "DeadLettersAlarm", messages_in(self.dead_letters, Duration.minutes(1)), means)
        stack = Stack.of(self)
        # The rule refers to the role; so the role names the rule by what CloudFormation begins its name with.
        rules = stack.format_arn(service="events", resource="rule", resource_name=f"{stack.stack_name}-*")
        role = iam.Role(self, "Role", assumed_by=trusted(stack, "events", rules))
        grant(role, "TriggerWorkflowStart", "states:StartExecution", workflow.state_machine_arn)
        session = {
            "session_id": events.EventField.event_id,
            "detail": events.EventField.from_path("$.detail"),
            "event_time": events.EventField.time,
        }
        target = targets.SfnStateMachine(
            workflow,
            input=events.RuleTargetInput.from_object(session),
            role=role.without_policy_updates(),
            # What EventBridge has tried in vain for a day, its default; `vigil lost` sends it again.
            dead_letter_queue=self.dead_letters,
        )
        self.rule = events.Rule(
            self,
            "Rule",
            description="Starts a Vigil session; the event's id becomes the session's",
            event_pattern=events.EventPattern(source=[EVENT_SOURCE], detail_type=[EVENT_DETAIL_TYPE]),
            targets=[target],
        )


def messages_in(queue: sqs.Queue, period: Duration) -> cloudwatch.IMetric:
    """Return the number of messages in ``queue``, also while a reader hides them."""
    how: Any = {"period": period, "statistic": "Maximum"}
    parts = {
        "visible": queue.metric_approximate_number_of_messages_visible(**how),
        "hidden": queue.metric_approximate_number_of_messages_not_visible(**how),
    }
    return cloudwatch.MathExpression(
        expression="visible + hidden", using_metrics=parts, period=period, label="messages in the queue"
    )


def alarm_on(scope: Construct, name: str, metric: cloudwatch.IMetric, means: str) -> cloudwatch.Alarm:
    """Build an alarm that fires at 1 or more."""
    return cloudwatch.Alarm(
        scope,
        name,
        alarm_description=means,
        metric=metric,
        threshold=1,
        evaluation_periods=1,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
    )

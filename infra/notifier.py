"""What tells a person how sessions end, if a parameter names an address: a topic, a function, and alarms."""

from aws_cdk import ArnFormat, Aws, CfnCondition, CfnOutput, CfnResource, Duration, Fn, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.invoker import lambda_function
from infra.parameters import notify_email
from infra.trigger import Trigger, alarm_on
from infra.trust import grant
from vigil.names import Env, OptionalOutput
from vigil.notifier import TIMEOUT_SECONDS
from vigil.session import RECORD_SK, TERMINAL

ENDS = {"dynamodb": {"Keys": {"SK": {"S": [RECORD_SK]}}, "NewImage": {"status": {"S": [*TERMINAL]}}}}
"""The changes in the table's stream that call the function. A heartbeat does not."""


def notifier(
    stack: Stack, *, table: dynamodb.TableV2, trigger: Trigger, workflow: sfn.StateMachine, reconciler: lambda_.Function
) -> None:
    """Build the topic, what publishes to it, and the alarms, which exist only if the parameter is set."""
    email = notify_email(stack)
    scope = Construct(stack, "Notifications")
    wanted = CfnCondition(scope, "Wanted", expression=Fn.condition_not(Fn.condition_equals(email, "")))
    topic = _topic(scope, email)
    what = "Topic that tells how sessions end"
    CfnOutput(stack, OptionalOutput.TOPIC, value=topic.topic_arn, description=what, condition=wanted)
    cfn_table = table.node.default_child
    assert isinstance(cfn_table, dynamodb.CfnGlobalTable)
    stream = {"StreamViewType": "NEW_IMAGE"}
    choice = Fn.condition_if(wanted.logical_id, stream, Aws.NO_VALUE)
    cfn_table.add_property_override("StreamSpecification", choice)
    stream_arn = cfn_table.get_att("StreamArn").to_string()
    role = iam.Role(scope, "NotifierRole", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    grant(role, "NotifierMarkRead", "dynamodb:GetItem", table.table_arn)
    grant(role, "NotifierMark", "dynamodb:PutItem", table.table_arn)
    grant(role, "NotifierPublish", "sns:Publish", topic.topic_arn)
    queue = trigger.dead_letters
    grant(role, "NotifierDeadLetters", "sqs:ReceiveMessage sqs:ChangeMessageVisibility", queue.queue_arn)
    stream_reads = "dynamodb:DescribeStream dynamodb:GetRecords dynamodb:GetShardIterator dynamodb:ListStreams"
    grant(role, "NotifierStreamRead", stream_reads, stream_arn)
    environment: dict[str, str] = {
        Env.TABLE: table.table_name,
        Env.TOPIC_ARN: topic.topic_arn,
        Env.DEAD_LETTERS: queue.queue_url,
        Env.STACK: stack.stack_name,
    }
    function = lambda_function(scope, "Notifier", role, Duration.seconds(TIMEOUT_SECONDS), environment)
    _on_ends(scope, function, role, stream_arn, topic)
    description, schedule = "Looks for events that became no Vigil session", events.Schedule.rate(Duration.minutes(5))
    events.Rule(scope, "Look", description=description, schedule=schedule, targets=[targets.LambdaFunction(function)])
    action, period = actions.SnsAction(topic), Duration.minutes(5)
    for name, metric, means in (
        ("Failed", workflow.metric_failed(period=period), "A Vigil session failed; `vigil sessions` says why"),
        ("Reconciler", reconciler.metric_errors(period=period), "Vigil's reconciler fails; its log says why"),
        ("Notifier", function.metric_errors(period=period), "Vigil's notifier fails; its log says why"),
    ):
        alarm_on(scope, f"{name}Alarm", metric, means).add_alarm_action(action)
    for child in scope.node.find_all():
        if isinstance(child, CfnResource):
            child.cfn_options.condition = wanted
    alarm = trigger.alarm.node.default_child
    assert isinstance(alarm, cloudwatch.CfnAlarm)
    alarm.add_property_override("AlarmActions", Fn.condition_if(wanted.logical_id, [topic.topic_arn], Aws.NO_VALUE))


def _topic(scope: Construct, email: str) -> sns.Topic:
    stack = Stack.of(scope)
    # Not encrypted at rest: an alarm cannot publish under AWS's key, and a customer-managed key costs $1 a month.
    topic = sns.Topic(scope, "Topic", enforce_ssl=True)
    sns.CfnSubscription(scope, "Mail", topic_arn=topic.topic_arn, protocol="email", endpoint=email)
    alarms = stack.format_arn(
        service="cloudwatch", resource="alarm", resource_name="*", arn_format=ArnFormat.COLON_RESOURCE_NAME
    )
    topic.add_to_resource_policy(
        iam.PolicyStatement(
            sid="Alarms",
            principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
            actions=["sns:Publish"],
            resources=[topic.topic_arn],
            conditions={"StringEquals": {"aws:SourceAccount": stack.account}, "ArnLike": {"aws:SourceArn": alarms}},
        )
    )
    return topic


def _on_ends(scope: Construct, function: lambda_.Function, role: iam.Role, stream_arn: str, topic: sns.Topic) -> None:
    """Call the function with the ends of sessions, for as long as the stream keeps them."""
    mapping = lambda_.EventSourceMapping(
        scope,
        "StreamToFunction",
        target=function,
        event_source_arn=stream_arn,
        starting_position=lambda_.StartingPosition.TRIM_HORIZON,
        batch_size=100,
        bisect_batch_on_error=True,
        max_record_age=Duration.days(1),
        filters=[lambda_.FilterCriteria.filter(ENDS)],
    )
    # If Lambda gives a record up, it publishes the record's position to the topic, with the function's role.
    cfn_mapping = mapping.node.default_child
    assert isinstance(cfn_mapping, lambda_.CfnEventSourceMapping)
    cfn_mapping.add_property_override("DestinationConfig", {"OnFailure": {"Destination": topic.topic_arn}})
    mapping.node.add_dependency(role)

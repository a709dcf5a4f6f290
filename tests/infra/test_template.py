"""What CloudFormation is asked to build: the embedded AWS ignores much of it in silence, so the template must tell."""

import json
import re

import boto3
import pytest

from tests.infra.template import Template, references
from vigil.doctor.account import BOOTSTRAP_PARAMETER, BOOTSTRAP_VERSION
from vigil.names import (
    EVENT_DETAIL_TYPE,
    EVENT_SOURCE,
    INDEX_BY_START,
    INDEX_BY_STATUS,
    TICK_KEY,
    Env,
    OptionalOutput,
    Output,
    Parameter,
)
from vigil.reconciler import CLOSING_SECONDS, STOPPING_SECONDS


def test_the_table_is_keyed_by_session_and_forgets_by_itself(template: Template) -> None:
    table = template.only("AWS::DynamoDB::GlobalTable")
    assert _keys(table) == ["PK", "SK"]
    assert {index["IndexName"]: _keys(index) for index in table["GlobalSecondaryIndexes"]} == {
        INDEX_BY_START: ["SK", "start_time"],
        INDEX_BY_STATUS: ["status", "start_time"],
    }
    for index in table["GlobalSecondaryIndexes"]:
        # A heartbeat must not be written three times.
        assert index["Projection"]["ProjectionType"] == "INCLUDE"
        assert not {"heartbeat_at", "task_token", "progress"} & set(index["Projection"]["NonKeyAttributes"])
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    (replica,) = table["Replicas"]
    assert replica["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["BillingMode"] == "PAY_PER_REQUEST"


def _keys(schema: dict) -> list[str]:
    assert [key["KeyType"] for key in schema["KeySchema"]] == ["HASH", "RANGE"]
    return [key["AttributeName"] for key in schema["KeySchema"]]


def test_the_bucket_is_private_encrypted_versioned_and_cleans_up(template: Template) -> None:
    bucket = template.only("AWS::S3::Bucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    kept = {"ExpirationInDays": 90, "NoncurrentVersionExpiration": {"NoncurrentDays": 7}}
    uploads = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}
    older = {"NoncurrentVersionExpiration": {"NoncurrentDays": 1}}
    checkpoints = {"Prefix": "checkpoints/", "ExpirationInDays": 3, **older}
    rules = [{"Status": "Enabled", **kept, **uploads}, {"Status": "Enabled", **checkpoints}]
    assert bucket["LifecycleConfiguration"]["Rules"] == rules


def test_reports_outlive_the_stack_and_records_do_not(template: Template) -> None:
    (bucket,) = template.of_type("AWS::S3::Bucket").values()
    (table,) = template.of_type("AWS::DynamoDB::GlobalTable").values()
    assert (bucket["DeletionPolicy"], table["DeletionPolicy"]) == ("Retain", "Delete")


RUNTIME = "<<AgentRuntime.AgentRuntimeArn> or <AgentRuntimeArn>>"


BOTH = {Env.TABLE: "<Sessions>", Env.AGENT_RUNTIME_ARN: RUNTIME}
LIMITS = {Env.STARTS_PER_SECOND: "<StartsPerSecond>", Env.MAX_SESSION_SECONDS: "<MaxSessionSeconds>"}
OF_INVOKER = {**BOTH, Env.BUCKET: "<Artifacts>", **LIMITS}
OF_RECONCILER = {**BOTH, Env.STATE_MACHINE_ARN: "<AgentWorkflow>"}
OF_NOTIFIER = {
    **{Env.TABLE: "<Sessions>", Env.TOPIC_ARN: "<NotificationsTopic>", Env.DEAD_LETTERS: "<TriggerDeadLetters>"},
    Env.STACK: "Vigil",
}


@pytest.mark.parametrize(
    ("name", "log_group", "handler", "variables"),
    [
        ("AgentInvoker", "<AgentInvokerLogs>", "vigil.invoker.handler", OF_INVOKER),
        ("Reconciler", "<ReconcilerReconcilerLogs>", "vigil.reconciler.handler", OF_RECONCILER),
        ("NotificationsNotifier", "<NotificationsNotifierLogs>", "vigil.notifier.handler", OF_NOTIFIER),
    ],
)
def test_a_lambda_function_knows_what_it_works_with(
    template: Template, name: str, log_group: str, handler: str, variables: dict[str, str]
) -> None:
    function = template.named(name)
    assert {key: template.text(value) for key, value in function["Environment"]["Variables"].items()} == variables
    assert function["Architectures"] == ["arm64"]
    assert function["Handler"] == handler
    assert function["LoggingConfig"]["LogFormat"] == "JSON"
    assert template.text(function["LoggingConfig"]["LogGroup"]) == log_group


def test_there_are_three_lambda_functions_of_one_package(template: Template) -> None:
    functions = template.of_type("AWS::Lambda::Function")
    assert set(functions) == {"AgentInvoker", "Reconciler", "NotificationsNotifier"}
    assert len({function["Properties"]["Code"]["S3Key"] for function in functions.values()}) == 1


def test_lambda_function_outlives_its_call_to_the_agent(template: Template, monkeypatch: pytest.MonkeyPatch) -> None:
    from vigil.invoker import _client

    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    _client.cache_clear()
    config = _client().meta.config
    _client.cache_clear()
    assert config.connect_timeout + config.read_timeout < template.named("AgentInvoker")["Timeout"]


NUMBERS = {
    Parameter.BUDGET_DOLLARS: (5, 0.01, 1000),
    Parameter.MAX_SCAN_DOLLARS: (5, 0.01, 1000),
    Parameter.SAFETY_SECONDS: (300, 1, 3600),
    Parameter.HEARTBEAT_SECONDS: (30, 1, 300),
    Parameter.PROGRESS_SECONDS: (900, 1, 28_800),
    Parameter.STARTS_PER_SECOND: (25, 0.1, 1000),
    Parameter.MAX_ATTEMPTS: (3, 1, 10),
    # AgentCore ends a session after eight hours.
    Parameter.MAX_SESSION_SECONDS: (27_000, 1, 28_500),
}


def test_every_parameter_has_a_default_and_bounds(template: Template) -> None:
    parameters = dict(template.body["Parameters"])
    del parameters["BootstrapVersion"]
    assert set(parameters) == set(Parameter)
    for name, parameter in parameters.items():
        assert parameter["Description"]
        if name in NUMBERS:
            bounds = tuple(parameter[key] for key in ("Default", "MinValue", "MaxValue"))
            assert (parameter["Type"], bounds) == ("Number", NUMBERS[Parameter(name)]), name
        else:
            assert re.fullmatch(parameter["AllowedPattern"], parameter["Default"]), name


BEDROCK = "arn:aws:bedrock:eu-west-1"
OWN_MODEL = f"{BEDROCK}:123456789012"


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        (Parameter.MODEL_ID, "us.anthropic.claude-sonnet-4-6-v1:0", ""),
        (Parameter.MODEL_ID, f"{OWN_MODEL}:inference-profile/eu.amazon.nova-pro", "a b"),
        (Parameter.MODEL_ID, "ollama/hf.co/someone/model", "foo/bar"),
        # The agent's role could not invoke these.
        (Parameter.MODEL_ID, f"{BEDROCK}::foundation-model/amazon.nova-pro-v1:0", f"{OWN_MODEL}:provisioned-model/abc"),
        (Parameter.MODEL_ID, f"{OWN_MODEL}:application-inference-profile/abc", f"{OWN_MODEL}:inference-profile/*"),
        (Parameter.AGENT_FACTORY, "mine.agents:my_agent", "mine.agents"),
        (Parameter.AGENT_FACTORY, "mine:_agent2", "mine:agent()"),
        (Parameter.NOTIFY_EMAIL, "me@example.org", "me"),
        (Parameter.NOTIFY_EMAIL, "first.last+vigil@mail.example.co.uk", "a@b.c, d@e.f"),
        (Parameter.SCHEDULE, "rate(7 days)", "rate(0 days)"),
        (Parameter.SCHEDULE, "rate(99999 days)", "rate(100000 days)"),
        (Parameter.SCHEDULE, "rate(1 hour)", "at(2026-11-30T08:00:00)"),
        (Parameter.SCHEDULE, "cron(0 8 ? * MON *)", "cron(0 8 * * MON *)"),
        (Parameter.SCHEDULE, "cron(0 8 L * ? 2027)", "cron(0 8 ? * ? *)"),
        (Parameter.SCHEDULE, "cron(0/15 8-17 ? JAN,JUL 2#1 *)", "cron(0 8 ? * MON)"),
        (Parameter.SCHEDULE_TIMEZONE, "America/Argentina/Buenos_Aires", ""),
        (Parameter.SCHEDULE_TIMEZONE, "Etc/GMT+5", "Europe/Berlin;"),
        (Parameter.SCHEDULE_DETAIL, '{"days": 30}', '{"days": 30}\n'),
        (Parameter.SCHEDULE_DETAIL, '{ "regions": ["us-east-1"] }', '["us-east-1"]'),
        (Parameter.SCHEDULE_DETAIL, "{}", "{ }"),
        (Parameter.AGENT_RUNTIME_ARN, "arn:aws:bedrock-agentcore:us-east-1:123456789012:runtime/a_b-c", "runtime/a"),
    ],
)
def test_a_parameter_takes_what_it_is_for(template: Template, name: str, good: str, bad: str) -> None:
    pattern = template.body["Parameters"][name]["AllowedPattern"]
    assert re.fullmatch(pattern, good)
    assert not re.fullmatch(pattern, bad)


def test_the_state_machine_logs_every_step_without_data_and_is_traced(template: Template) -> None:
    machine = template.only("AWS::StepFunctions::StateMachine")
    assert machine["TracingConfiguration"] == {"Enabled": True}
    logging = machine["LoggingConfiguration"]
    # In the data are events' details and task tokens.
    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ALL", False)
    # Groups of this name need no entry of their own in the account's policy for log delivery.
    assert template.named("AgentWorkflowLogs")["LogGroupName"].startswith("/aws/vendedlogs/states/")
    (destination,) = logging["Destinations"]
    assert template.text(destination["CloudWatchLogsLogGroup"]["LogGroupArn"]) == "<AgentWorkflowLogs.Arn>"
    assert template.text(machine["RoleArn"]) == "<AgentWorkflowRole.Arn>"


def test_every_log_group_forgets(template: Template) -> None:
    groups = template.of_type("AWS::Logs::LogGroup").values()
    assert {group["Properties"]["RetentionInDays"] for group in groups} == {14}


@pytest.mark.criterion("7.1", "7.2")
def test_rule_starts_the_workflow_on_published_events(template: Template) -> None:
    rule = template.named("TriggerRule")
    assert rule["EventPattern"] == {"source": [EVENT_SOURCE], "detail-type": [EVENT_DETAIL_TYPE]}
    assert rule["State"] == "ENABLED"
    assert "EventBusName" not in rule  # the default bus
    (target,) = rule["Targets"]
    assert template.text(target["Arn"]) == "<AgentWorkflow>"
    assert template.text(target["RoleArn"]) == "<TriggerRole.Arn>"


@pytest.mark.criterion("7.4")
def test_the_event_id_becomes_the_session_id(template: Template) -> None:
    (target,) = template.named("TriggerRule")["Targets"]
    transformer = target["InputTransformer"]
    assert transformer["InputTemplate"] == '{"session_id":<id>,"detail":<detail>,"event_time":<time>}'
    assert transformer["InputPathsMap"] == {"id": "$.id", "detail": "$.detail", "time": "$.time"}


def test_an_event_that_cannot_be_delivered_is_retried_and_then_kept(template: Template) -> None:
    (target,) = template.named("TriggerRule")["Targets"]
    # Keep EventBridge's default, a day and 185 attempts: giving up earlier would have no advantage.
    assert "RetryPolicy" not in target
    assert template.text(target["DeadLetterConfig"]["Arn"]) == "<TriggerDeadLetters.Arn>"
    assert template.named("TriggerDeadLetters") == {"MessageRetentionPeriod": 14 * 86400, "SqsManagedSseEnabled": True}


def test_an_alarm_says_that_an_event_could_not_be_delivered(template: Template) -> None:
    alarm = template.named("TriggerDeadLettersAlarm")
    total, *parts = alarm["Metrics"]
    assert (total["Expression"], total["ReturnData"], alarm["EvaluationPeriods"]) == ("visible + hidden", True, 1)
    # A reader hides messages for a moment; the alarm counts them, too.
    counted = {"visible": "ApproximateNumberOfMessagesVisible", "hidden": "ApproximateNumberOfMessagesNotVisible"}
    for part in parts:
        stat, metric = part["MetricStat"], part["MetricStat"]["Metric"]
        assert (metric["Namespace"], metric["MetricName"]) == ("AWS/SQS", counted.pop(part["Id"]))
        (dimension,) = metric["Dimensions"]
        assert template.text(dimension["Value"]) == "<TriggerDeadLetters.QueueName>"
        # One event in any minute.
        assert (stat["Stat"], stat["Period"], part["ReturnData"]) == ("Maximum", 60, False)
    assert not counted
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanOrEqualToThreshold", 1)
    assert alarm["TreatMissingData"] == "notBreaching"


def test_unsuccessful_workflows_and_a_schedule_call_the_reconciler(template: Template) -> None:
    rules = {"TriggerRule", "ReconcilerEnded", "ReconcilerSchedule", "NotificationsLook"}
    assert set(template.of_type("AWS::Events::Rule")) == rules
    ended, schedule = template.named("ReconcilerEnded"), template.named("ReconcilerSchedule")
    pattern = ended["EventPattern"]
    assert (pattern["source"], pattern["detail-type"]) == (["aws.states"], ["Step Functions Execution Status Change"])
    assert [template.text(machine) for machine in pattern["detail"]["stateMachineArn"]] == ["<AgentWorkflow>"]
    assert sorted(pattern["detail"]["status"]) == ["ABORTED", "FAILED", "TIMED_OUT"]
    assert schedule["ScheduleExpression"] == "rate(5 minutes)"
    for rule in (ended, schedule):
        assert rule["State"] == "ENABLED"
        (target,) = rule["Targets"]
        assert template.text(target["Arn"]) == "<ReconcilerQueue.Arn>"


def test_reconciler_runs_in_two_instances_at_most(template: Template) -> None:
    mapping = template.named("ReconcilerQueueToFunction")
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 2}
    # AWS takes more than 10 messages only of those that wait for each other.
    assert (mapping["BatchSize"], mapping["MaximumBatchingWindowInSeconds"]) == (100, 1)
    assert template.text(mapping["EventSourceArn"]) == "<ReconcilerQueue.Arn>"
    assert template.text(mapping["FunctionName"]) == "<Reconciler>"
    functions = template.of_type("AWS::Lambda::Function").values()
    assert not any("ReservedConcurrentExecutions" in function["Properties"] for function in functions)
    queue = template.named("ReconcilerQueue")
    assert queue["VisibilityTimeout"] >= template.named("Reconciler")["Timeout"] > STOPPING_SECONDS > CLOSING_SECONDS
    # Long after the schedule has found what its messages tell.
    assert queue["MessageRetentionPeriod"] == 3600


def test_lambda_may_read_the_queue_before_it_is_asked_to(template: Template) -> None:
    mappings = template.of_type("AWS::Lambda::EventSourceMapping")
    for name, role in (
        ("ReconcilerQueueToFunction", "ReconcilerRole"),
        ("NotificationsStreamToFunction", "NotifierRole"),
    ):
        assert any(f"{role}DefaultPolicy" in needed for needed in mappings.pop(name)["DependsOn"])
    assert not mappings


@pytest.mark.criterion("6.4")
def test_every_output_is_there_and_refers_to_its_resource(template: Template) -> None:
    outputs = {name: template.text(output["Value"]) for name, output in template.body["Outputs"].items()}
    assert {name for name, output in template.body["Outputs"].items() if "Condition" in output} == set(OptionalOutput)
    assert {outputs.pop(name) for name in OptionalOutput} == {"<ScheduledSchedule>", "<NotificationsTopic>"}
    assert outputs == {
        Output.TABLE: "<Sessions>",
        Output.BUCKET: "<Artifacts>",
        Output.STATE_MACHINE: "<AgentWorkflow>",
        Output.INVOKER: "<AgentInvoker>",
        Output.RECONCILER: "<Reconciler>",
        Output.RULE: "<TriggerRule>",
        Output.DEAD_LETTERS: "<TriggerDeadLetters>",
        Output.AGENT_ROLE: "<AgentRole.Arn>",
        Output.AGENT_RUNTIME: RUNTIME,
    }
    assert set(outputs) == set(Output)


def test_the_runtime_is_created_unless_one_is_given(template: Template) -> None:
    parameter = template.body["Parameters"][Parameter.AGENT_RUNTIME_ARN]
    assert parameter["Default"] == ""
    given = {"Fn::Equals": [{"Ref": Parameter.AGENT_RUNTIME_ARN}, parameter["Default"]]}
    (name,) = (name for name, condition in template.body["Conditions"].items() if condition == given)
    conditional = {name_: item for name_, item in template.resources.items() if item.get("Condition") == name}
    types = {resource["Type"]: name for name, resource in conditional.items()}
    assert set(types) == {"AWS::BedrockAgentCore::Runtime", "AWS::Logs::LogGroup"}
    # And nothing of AgentCore is left out, nor needed, when one is given.
    agentcore = [name for name, resource in template.resources.items() if "BedrockAgentCore" in resource["Type"]]
    assert agentcore == [types["AWS::BedrockAgentCore::Runtime"]]
    (runtime,) = (i for i, r in template.body["Resources"].items() if "BedrockAgentCore" in r["Type"])
    # What exists under the same condition may refer to it.
    others = {name_: r for name_, r in template.body["Resources"].items() if r.get("Condition") != name}
    found = list(references({**template.body, "Resources": others}, runtime))
    assert found
    assert all(found)
    assert runtime not in {needed for r in template.resources.values() for needed in r.get("DependsOn", [])}


def test_the_runtime_may_do_what_the_agents_role_may(template: Template) -> None:
    runtime = template.only("AWS::BedrockAgentCore::Runtime")
    assert template.text(runtime["RoleArn"]) == "<AgentRole.Arn>"
    code = runtime["AgentRuntimeArtifact"]["CodeConfiguration"]
    assert (code["Runtime"], code["EntryPoint"]) == ("PYTHON_3_13", ["main.py"])


def test_the_runtime_does_not_change_with_agentcores_defaults(template: Template) -> None:
    assert template.only("AWS::BedrockAgentCore::Runtime")["PlatformVersion"] == "V1"


def test_the_runtimes_logs_expire_and_go_with_the_stack(template: Template) -> None:
    group = template.resources["AgentLogs"]
    name = template.text(group["Properties"]["LogGroupName"])
    assert re.fullmatch("/aws/bedrock-agentcore/runtimes/<AgentRuntime[A-F0-9]*.AgentRuntimeId>-DEFAULT", name)
    assert group["Properties"]["RetentionInDays"] == 14
    assert group["DeletionPolicy"] == "Delete"


def test_runtime_knows_its_agent_its_model_and_the_intervals(template: Template) -> None:
    runtime = template.only("AWS::BedrockAgentCore::Runtime")
    told = {name: template.text(value) for name, value in runtime["EnvironmentVariables"].items()}
    assert told == {
        Env.MODEL: "<ModelId>",
        Env.BUDGET_DOLLARS: "<BudgetDollars>",
        Env.AGENT: "<AgentFactory>",
        Env.MAX_SCAN_DOLLARS: "<MaxScanDollars>",
        Env.HEARTBEAT_SECONDS: "<HeartbeatSeconds>",
        Env.PROGRESS_SECONDS: "<ProgressSeconds>",
        Env.MAX_ATTEMPTS: "<MaxAttempts>",
        "AWS_DEFAULT_REGION": "<AWS::Region>",
    }
    assert runtime["LifecycleConfiguration"] == {"IdleRuntimeSessionTimeout": 15 * 60, "MaxLifetime": 8 * 3600}


ALWAYS = {
    **dict.fromkeys(("AgentRole", "AgentInvokerRole", "AgentWorkflowRole", "TriggerRole"), "AWS::IAM::Role"),
    **dict.fromkeys(("ReconcilerReconcilerRole",), "AWS::IAM::Role"),
    **dict.fromkeys(("AgentRoleDefaultPolicy", "AgentWake", "AgentInvokerRoleDefaultPolicy"), "AWS::IAM::Policy"),
    **dict.fromkeys(("AgentWorkflowRoleDefaultPolicy", "TriggerRoleDefaultPolicy"), "AWS::IAM::Policy"),
    "ReconcilerReconcilerRoleDefaultPolicy": "AWS::IAM::Policy",
    **dict.fromkeys(("AgentInvokerLogs", "AgentWorkflowLogs", "ReconcilerReconcilerLogs"), "AWS::Logs::LogGroup"),
    **dict.fromkeys(("AgentInvoker", "Reconciler"), "AWS::Lambda::Function"),
    **dict.fromkeys(("TriggerRule", "ReconcilerEnded", "ReconcilerSchedule"), "AWS::Events::Rule"),
    **dict.fromkeys(("TriggerDeadLetters", "ReconcilerQueue"), "AWS::SQS::Queue"),
    **dict.fromkeys(("TriggerDeadLettersPolicy", "ReconcilerQueuePolicy"), "AWS::SQS::QueuePolicy"),
    "Sessions": "AWS::DynamoDB::GlobalTable",
    "Artifacts": "AWS::S3::Bucket",
    "ArtifactsPolicy": "AWS::S3::BucketPolicy",
    "AgentWorkflow": "AWS::StepFunctions::StateMachine",
    "ReconcilerQueueToFunction": "AWS::Lambda::EventSourceMapping",
    "TriggerDeadLettersAlarm": "AWS::CloudWatch::Alarm",
    "Dashboard": "AWS::CloudWatch::Dashboard",
    # The stack makes its runtime unless it is given one.
    "AgentRuntime": "AWS::BedrockAgentCore::Runtime",
    "AgentLogs": "AWS::Logs::LogGroup",
}


def test_with_every_option_off_only_this_exists(template: Template) -> None:
    assert {name: resource["Type"] for name, resource in template.with_defaults().items()} == ALWAYS


def test_with_every_option_off_the_table_has_no_stream_and_the_alarm_no_action(template: Template) -> None:
    """The alarm differs from that of earlier versions in one more way: it also counts hidden messages."""
    there = template.with_defaults()
    assert "StreamSpecification" not in there["Sessions"]["Properties"]
    assert "AlarmActions" not in there["TriggerDeadLettersAlarm"]["Properties"]


def test_each_resource_of_an_option_exists_with_its_parameter_only(template: Template) -> None:
    conditions = {"Scheduled": Parameter.SCHEDULE, "Notifications": Parameter.NOTIFY_EMAIL}
    for name, resource in template.resources.items():
        for prefix, parameter in conditions.items():
            if name.startswith(prefix):
                condition = template.body["Conditions"][resource["Condition"]]
                assert condition == {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]}


def test_the_stream_calls_the_notifier_for_the_ends_of_sessions_alone(template: Template) -> None:
    stream = template.named("Sessions")["StreamSpecification"]["Fn::If"]
    assert stream[1:] == [{"StreamViewType": "NEW_IMAGE"}, {"Ref": "AWS::NoValue"}]
    mapping = template.named("NotificationsStreamToFunction")
    assert template.text(mapping["EventSourceArn"]) == "<Sessions.StreamArn>"
    assert template.text(mapping["FunctionName"]) == "<NotificationsNotifier>"
    (pattern,) = (json.loads(item["Pattern"])["dynamodb"] for item in mapping["FilterCriteria"]["Filters"])
    assert pattern == {"Keys": {"SK": {"S": ["SESSION"]}}, "NewImage": {"status": {"S": ["COMPLETED", "FAILED"]}}}
    # From the first end on, for as long as the stream keeps it.
    assert (mapping["StartingPosition"], mapping["MaximumRecordAgeInSeconds"]) == ("TRIM_HORIZON", 86_400)
    assert mapping["BisectBatchOnFunctionError"] is True
    assert template.text(mapping["DestinationConfig"]["OnFailure"]["Destination"]) == "<NotificationsTopic>"


def test_the_topic_has_the_address_and_every_alarm(template: Template) -> None:
    mail = template.only("AWS::SNS::Subscription")
    assert (mail["Protocol"], template.text(mail["Endpoint"])) == ("email", "<NotifyEmail>")
    assert template.text(mail["TopicArn"]) == "<NotificationsTopic>"
    alarms = {}
    for name, alarm in (
        (name, item["Properties"]) for name, item in template.of_type("AWS::CloudWatch::Alarm").items()
    ):
        actions = alarm["AlarmActions"]
        actions = actions["Fn::If"][1] if isinstance(actions, dict) else actions
        assert [template.text(action) for action in actions] == ["<NotificationsTopic>"]
        assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanOrEqualToThreshold", 1)
        metric = alarm if "MetricName" in alarm else alarm["Metrics"][1]["MetricStat"]["Metric"]
        alarms[name] = (metric["Namespace"], metric["MetricName"], template.text(metric["Dimensions"][0]["Value"]))
    assert alarms == {
        # And those that are hidden.
        "TriggerDeadLettersAlarm": (
            *("AWS/SQS", "ApproximateNumberOfMessagesVisible", "<TriggerDeadLetters.QueueName>"),
        ),
        "NotificationsFailedAlarm": ("AWS/States", "ExecutionsFailed", "<AgentWorkflow>"),
        "NotificationsReconcilerAlarm": ("AWS/Lambda", "Errors", "<Reconciler>"),
        "NotificationsNotifierAlarm": ("AWS/Lambda", "Errors", "<NotificationsNotifier>"),
    }


def test_a_schedule_lets_the_notifier_look_for_dead_letters(template: Template) -> None:
    rule = template.named("NotificationsLook")
    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(5 minutes)", "ENABLED")
    (target,) = rule["Targets"]
    assert template.text(target["Arn"]) == "<NotificationsNotifier.Arn>"


def test_the_dashboard_shows_the_stacks_own_metrics(template: Template) -> None:
    body = json.loads(template.text(template.only("AWS::CloudWatch::Dashboard")["DashboardBody"]))
    metrics = [metric for widget in body["widgets"] for metric in widget["properties"]["metrics"]]
    shown = {tuple(metric[:4]) if isinstance(metric[0], str) else (metric[0]["expression"],) for metric in metrics}
    workflow = ("StateMachineArn", "<AgentWorkflow>")
    functions = [("FunctionName", f"<{name}>") for name in ("AgentInvoker", "Reconciler")]
    assert shown == {
        *(("AWS/States", f"Executions{how}", *workflow) for how in ("Succeeded", "Failed", "Aborted", "TimedOut")),
        ("AWS/States", "ExecutionTime", *workflow),
        ("visible + hidden",),
        *(
            ("AWS/SQS", f"ApproximateNumberOfMessages{how}", "QueueName", "<TriggerDeadLetters.QueueName>")
            for how in ("Visible", "NotVisible")
        ),
        *(("AWS/Lambda", name, *item) for name in ("Errors", "Throttles", "Duration") for item in functions),
    }


def test_the_schedule_puts_the_event_of_a_user_with_its_tick(template: Template) -> None:
    schedule = template.only("AWS::Scheduler::Schedule")
    assert template.text(schedule["ScheduleExpression"]) == "<Schedule>"
    assert template.text(schedule["ScheduleExpressionTimezone"]) == "<ScheduleTimezone>"
    assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
    target = schedule["Target"]
    assert target["EventBridgeParameters"] == {"Source": EVENT_SOURCE, "DetailType": EVENT_DETAIL_TYPE}
    assert template.text(target["Arn"]).endswith(":event-bus/default")
    assert template.text(target["RoleArn"]) == "<ScheduledRole.Arn>"
    assert template.text(target["DeadLetterConfig"]["Arn"]) == "<TriggerDeadLetters.Arn>"
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}
    before_brace = "<part 0 of <ScheduleDetail>\n at }\n>"
    assert template.text(target["Input"]) == f'{before_brace}< or ,>"{TICK_KEY}":"<aws.scheduler.scheduled-time>"}}'


def test_the_schedule_comes_after_the_rule_that_receives_its_events(template: Template) -> None:
    """A rate runs as soon as it is created."""
    needed = template.resources["ScheduledSchedule"]["DependsOn"]
    assert any(name.startswith("TriggerRule") for name in needed)
    assert any(name.startswith("ScheduledRoleDefaultPolicy") for name in needed)


@pytest.mark.criterion("6.3")
def test_nothing_has_a_name_of_its_own_but_the_runtime(template: Template) -> None:
    """A literal name would keep a second stack out of the account, and a resource from being replaced."""
    named = {
        (name, key)
        for name, resource in template.resources.items()
        # A mapping and a permission name the function that they are for.
        if resource["Type"] not in ("AWS::Lambda::EventSourceMapping", "AWS::Lambda::Permission")
        for key in resource.get("Properties", {})
        if key in {"TableName", "BucketName", "FunctionName", "StateMachineName", "RoleName", "QueueName", "Name"}
        or key.endswith("RuntimeName")
    }
    assert named == {("AgentRuntime", "AgentRuntimeName")}


def test_doctor_requires_the_bootstrap_version_of_the_template(template: Template) -> None:
    (assertion,) = template.body["Rules"]["CheckBootstrapVersion"]["Assertions"]
    assert assertion["AssertDescription"].startswith(f"CDK bootstrap stack version {BOOTSTRAP_VERSION} required")
    assert template.body["Parameters"]["BootstrapVersion"]["Default"] == BOOTSTRAP_PARAMETER

"""What CloudFormation is asked to build: the embedded AWS ignores much of it in silence, so the template must tell."""

import boto3
import pytest

from tests.infra.template import Template, references
from vigil.names import (
    EVENT_DETAIL_TYPE,
    EVENT_SOURCE,
    INDEX_BY_START,
    INDEX_BY_STATUS,
    Env,
    Output,
    Parameter,
)


def test_the_table_is_keyed_by_session_and_forgets_by_itself(template: Template) -> None:
    table = template.only("AWS::DynamoDB::GlobalTable")
    assert _keys(table) == ["PK", "SK"]
    assert {index["IndexName"]: _keys(index) for index in table["GlobalSecondaryIndexes"]} == {
        INDEX_BY_START: ["SK", "start_time"],
        INDEX_BY_STATUS: ["status", "start_time"],
    }
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
    assert bucket["LifecycleConfiguration"]["Rules"] == [
        {
            "Status": "Enabled",
            "ExpirationInDays": 90,
            "NoncurrentVersionExpiration": {"NoncurrentDays": 7},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        }
    ]


def test_reports_outlive_the_stack_and_records_do_not(template: Template) -> None:
    (bucket,) = template.of_type("AWS::S3::Bucket").values()
    (table,) = template.of_type("AWS::DynamoDB::GlobalTable").values()
    assert (bucket["DeletionPolicy"], table["DeletionPolicy"]) == ("Retain", "Delete")


def test_the_lambda_function_knows_table_bucket_and_agent(template: Template) -> None:
    function = template.only("AWS::Lambda::Function")
    variables = {name: template.text(value) for name, value in function["Environment"]["Variables"].items()}
    assert variables == {
        Env.TABLE: "<Sessions>",
        Env.BUCKET: "<Artifacts>",
        Env.AGENT_RUNTIME_ARN: "<<AgentRuntime.AgentRuntimeArn> or <AgentRuntimeArn>>",
    }
    assert function["Architectures"] == ["arm64"]
    assert function["Handler"] == "vigil.invoker.handler"
    assert function["LoggingConfig"]["LogFormat"] == "JSON"
    assert template.text(function["LoggingConfig"]["LogGroup"]) == "<AgentInvokerLogs>"


def test_the_lambda_function_outlives_its_call_to_the_agent(
    template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vigil.invoker import _client

    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    _client.cache_clear()
    config = _client().meta.config
    _client.cache_clear()
    assert config.connect_timeout + config.read_timeout < template.only("AWS::Lambda::Function")["Timeout"]


def test_the_state_machine_logs_everything_and_is_traced(template: Template) -> None:
    machine = template.only("AWS::StepFunctions::StateMachine")
    assert machine["TracingConfiguration"] == {"Enabled": True}
    logging = machine["LoggingConfiguration"]
    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ALL", True)
    (destination,) = logging["Destinations"]
    assert template.text(destination["CloudWatchLogsLogGroup"]["LogGroupArn"]) == "<AgentWorkflowLogs.Arn>"
    assert template.text(machine["RoleArn"]) == "<AgentWorkflowRole.Arn>"


def test_every_log_group_forgets(template: Template) -> None:
    assert {group["Properties"]["RetentionInDays"] for group in template.of_type("AWS::Logs::LogGroup").values()} == {
        14
    }


@pytest.mark.criterion("7.1")
@pytest.mark.criterion("7.2")
def test_a_rule_starts_the_workflow_on_the_events_that_a_person_publishes(template: Template) -> None:
    rule = template.only("AWS::Events::Rule")
    assert rule["EventPattern"] == {"source": [EVENT_SOURCE], "detail-type": [EVENT_DETAIL_TYPE]}
    assert rule["State"] == "ENABLED"
    assert "EventBusName" not in rule  # the default bus
    (target,) = rule["Targets"]
    assert template.text(target["Arn"]) == "<AgentWorkflow>"
    assert template.text(target["RoleArn"]) == "<TriggerRole.Arn>"


@pytest.mark.criterion("7.4")
def test_the_event_id_becomes_the_session_id(template: Template) -> None:
    (target,) = template.only("AWS::Events::Rule")["Targets"]
    transformer = target["InputTransformer"]
    assert transformer["InputTemplate"] == '{"session_id":<id>,"detail":<detail>,"event_time":<time>}'
    assert transformer["InputPathsMap"] == {"id": "$.id", "detail": "$.detail", "time": "$.time"}


def test_an_event_that_cannot_be_delivered_is_retried_and_then_kept(template: Template) -> None:
    (target,) = template.only("AWS::Events::Rule")["Targets"]
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 20}
    assert template.text(target["DeadLetterConfig"]["Arn"]) == "<TriggerDeadLetters.Arn>"
    assert template.only("AWS::SQS::Queue") == {"MessageRetentionPeriod": 14 * 86400, "SqsManagedSseEnabled": True}


@pytest.mark.criterion("6.4")
def test_every_output_is_there_and_refers_to_its_resource(template: Template) -> None:
    outputs = {name: template.text(output["Value"]) for name, output in template.body["Outputs"].items()}
    assert outputs == {
        Output.TABLE: "<Sessions>",
        Output.BUCKET: "<Artifacts>",
        Output.STATE_MACHINE: "<AgentWorkflow>",
        Output.INVOKER: "<AgentInvoker>",
        Output.RULE: "<TriggerRule>",
        Output.DEAD_LETTERS: "<TriggerDeadLetters>",
        Output.AGENT_ROLE: "<AgentRole.Arn>",
        Output.AGENT_RUNTIME: "<<AgentRuntime.AgentRuntimeArn> or <AgentRuntimeArn>>",
    }
    assert set(outputs) == set(Output)


def test_the_runtime_is_created_unless_one_is_given(template: Template) -> None:
    parameter = template.body["Parameters"][Parameter.AGENT_RUNTIME_ARN]
    assert parameter["Default"] == ""
    ((name, condition),) = template.body["Conditions"].items()
    assert condition == {"Fn::Equals": [{"Ref": Parameter.AGENT_RUNTIME_ARN}, parameter["Default"]]}
    conditional = {name: resource for name, resource in template.resources.items() if "Condition" in resource}
    assert {resource["Condition"] for resource in conditional.values()} == {name}
    assert {resource["Type"] for resource in conditional.values()} == {"AWS::BedrockAgentCore::Runtime"}
    # And nothing of AgentCore is left out, nor needed, when one is given.
    assert {name for name, resource in template.resources.items() if "BedrockAgentCore" in resource["Type"]} == set(
        conditional
    )
    (runtime,) = (i for i, r in template.body["Resources"].items() if "BedrockAgentCore" in r["Type"])
    found = list(references(template.body, runtime))
    assert found
    assert all(found)
    assert runtime not in {needed for r in template.resources.values() for needed in r.get("DependsOn", [])}


def test_the_runtime_may_do_what_the_agents_role_may(template: Template) -> None:
    runtime = template.only("AWS::BedrockAgentCore::Runtime")
    assert template.text(runtime["RoleArn"]) == "<AgentRole.Arn>"
    code = runtime["AgentRuntimeArtifact"]["CodeConfiguration"]
    assert (code["Runtime"], code["EntryPoint"]) == ("PYTHON_3_13", ["main.py"])


@pytest.mark.criterion("6.3")
def test_nothing_has_a_name_of_its_own_but_the_runtime(template: Template) -> None:
    """A literal name would keep a second stack out of the account, and a resource from being replaced."""
    named = {
        (name, key)
        for name, resource in template.resources.items()
        for key in resource.get("Properties", {})
        if key in {"TableName", "BucketName", "FunctionName", "StateMachineName", "RoleName", "QueueName", "Name"}
        or key.endswith("RuntimeName")
    }
    assert named == {("AgentRuntime", "AgentRuntimeName")}

"""The agent's role: what the agent may do on AWS."""

from collections import defaultdict
from importlib import import_module

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.lambda_package import SOURCES
from infra.nag import iam5_id, suppress
from infra.trust import grant, trusted
from vigil.artifacts import CHECKPOINT_PREFIX, PREFIX


def declared_actions() -> list[str]:
    """Return the IAM actions that the packages in src/ declare as READ_ACTIONS for their agents."""
    packages = sorted(path.parent.name for path in SOURCES.glob("*/__init__.py") if path.parent.name != "vigil")
    return [action for package in packages for action in getattr(import_module(package), "READ_ACTIONS", ())]


def agent_role(scope: Construct, table: dynamodb.TableV2, bucket: s3.Bucket, model_id: str) -> iam.Role:
    """Build the role of the agent: the journal, the artifacts, one model, and what packages of agents declare."""
    stack = cdk.Stack.of(scope)
    # Not the runtime's own ARN, which AgentCore makes after it has assumed the role ("IAM Permissions for AgentCore
    # Runtime", trust policy).
    any_runtime = stack.format_arn(service="bedrock-agentcore", resource="*")
    role = iam.Role(scope, "Role", assumed_by=trusted(stack, "bedrock-agentcore", any_runtime))
    artifacts = bucket.arn_for_objects(f"{PREFIX}*")
    grant(role, "AgentJournalRead", "dynamodb:GetItem", table.table_arn)
    grant(role, "AgentJournalUpdate", "dynamodb:UpdateItem", table.table_arn)
    grant(role, "AgentJournalItem", "dynamodb:PutItem", table.table_arn)
    grant(role, "AgentJournalCheck", "dynamodb:ConditionCheckItem", table.table_arn)
    grant(role, "AgentHistoryRead", "dynamodb:Query", table.table_arn)
    checkpoints = bucket.arn_for_objects(f"{CHECKPOINT_PREFIX}*")
    grant(role, "AgentArtifactWrite", "s3:PutObject", artifacts, checkpoints)
    grant(role, "AgentArtifactRead", "s3:GetObject", artifacts, checkpoints)
    # Most of these APIs take no resource, and an agent that looks at an account cannot know the names in it.
    declared: dict[str, list[str]] = defaultdict(list)
    for action in dict.fromkeys(declared_actions()):
        declared[action.partition(":")[0].title().replace("-", "")].append(action)
    for service, actions in declared.items():
        grant(role, f"AgentReads{service}", " ".join(actions), "*")
    bucket_id = stack.resolve(bucket.bucket_arn)["Fn::GetAtt"][0]
    suppress(role, {iam5_id("*"): "Most of these APIs take no resource, and an agent may look at the whole account."})
    for prefix, what in ((PREFIX, "artifacts"), (CHECKPOINT_PREFIX, "checkpoints")):
        suppress(role, {iam5_id(f"<{bucket_id}.Arn>/{prefix}*"): f"The {what} of every session."})
    _grant_model(role, model_id)
    return role


def _grant_model(role: iam.Role, model_id: str) -> None:
    """Let ``role`` invoke the one model that the parameter names: a foundation model or an inference profile."""
    stack = cdk.Stack.of(role)
    # The part of an ARN after the slash, or all of an id.
    name = cdk.Fn.select(1, cdk.Fn.split("/", f"{model_id}/{model_id}"))
    here = f"arn:{stack.partition}:bedrock:{stack.region}"
    profiles = [
        f"{here}:{stack.account}:{kind}/{name}" for kind in ("inference-profile", "application-inference-profile")
    ]
    # A profile leads to foundation models in other regions, or in none; an application's profile to a profile first.
    behind_profile = [
        f"arn:{stack.partition}:bedrock:*::foundation-model/*",
        f"arn:{stack.partition}:bedrock:*:{stack.account}:inference-profile/*",
    ]
    grant(role, "AgentModelInvoke", "bedrock:InvokeModel", f"{here}::foundation-model/{name}", *profiles)
    only = {"ArnEquals": {"bedrock:InferenceProfileArn": profiles}}
    grant(role, "AgentModelBehindProfile", "bedrock:InvokeModel", *behind_profile, conditions=only)
    reason = "Only what the one inference profile leads to: a condition names it."
    for resource in ("*::foundation-model/*", "*:<AWS::AccountId>:inference-profile/*"):
        suppress(role, {iam5_id(f"arn:<AWS::Partition>:bedrock:{resource}"): reason})


def grant_own_logs(role: iam.Role, runtime_name: str) -> None:
    """Let AgentCore write the logs of the runtime ``runtime_name`` with ``role``."""
    stack = cdk.Stack.of(role)
    log_groups = f"log-group:/aws/bedrock-agentcore/runtimes/{stack.resolve(runtime_name)}-*"
    group = f"arn:{stack.partition}:logs:{stack.region}:{stack.account}:{log_groups}"
    grant(role, "AgentOwnLogGroup", "logs:CreateLogGroup logs:DescribeLogStreams", group)
    grant(role, "AgentOwnLogs", "logs:CreateLogStream logs:PutLogEvents", f"{group}:log-stream:*")
    as_nag_writes = f"arn:<AWS::Partition>:logs:<AWS::Region>:<AWS::AccountId>:{log_groups}"
    suppress(role, {iam5_id(as_nag_writes): "AgentCore adds an id and the endpoint to the runtime's name."})
    suppress(role, {iam5_id(f"{as_nag_writes}:log-stream:*"): "AgentCore names the log streams."})

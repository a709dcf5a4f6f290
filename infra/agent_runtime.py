"""The agent on AgentCore: its code package, and the runtime, unless the stack is given one."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import aws_cdk as cdk
import jsii
from aws_cdk import aws_bedrockagentcore as agentcore
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.lambda_package import SOURCES, let_all_read
from infra.parameters import Timing, agent_parameters
from infra.roles import agent_role, grant_own_logs
from vigil.names import Env, Parameter

PROJECT = SOURCES.parent
LOCK = PROJECT / "requirements" / "agent.txt"
ENTRY_POINT = "main.py"
ENTRY = 'if __name__ == "__main__":\n    from vigil.agent.runtime import main\n\n    main()\n'
"""Guarded: the process of every session imports it again."""
CLIENT_SIDE = (
    *("__main__.py", "cli", "console", "dead_letter.py", "deployment.py", "doctor", "download.py", "extras.py"),
    *("folder.py", "invoker.py", "local", "notifier.py", "reconciler.py", "schedule.py", "session_reader.py"),
    "watch.py",
)
"""Modules of vigil that are not packaged with the agent."""
PLATFORM = ("--python-platform", "aarch64-manylinux_2_28", "--python-version", "3.13")
PIP_PLATFORM = (
    *(f"--platform={tag}_aarch64" for tag in ("manylinux_2_28", "manylinux_2_17", "manylinux2014")),
    *("--python-version=3.13", "--implementation=cp"),
)
"""The same in the words of pip."""


class AgentRuntime(Construct):
    """The agent's role, and its runtime if the parameter gives none."""

    def __init__(
        self, scope: Construct, name: str, *, table: dynamodb.TableV2, bucket: s3.Bucket, timing: Timing
    ) -> None:
        super().__init__(scope, name)
        stack = cdk.Stack.of(self)
        existing = cdk.CfnParameter(
            self,
            "Given",
            default="",
            allowed_pattern=r"(arn:[a-z-]+:bedrock-agentcore:[a-z0-9-]+:[0-9]{12}:runtime/[A-Za-z0-9_-]+)?",
            description="An AgentCore runtime to use; empty: the stack creates one",
        )
        existing.override_logical_id(Parameter.AGENT_RUNTIME_ARN)
        create = cdk.CfnCondition(self, "Create", expression=cdk.Fn.condition_equals(existing.value_as_string, ""))
        environment = agent_parameters(stack)
        # The role stands without the runtime: the agent process of a local stack uses this very one.
        self.role = agent_role(self, table, bucket, environment[Env.MODEL])
        environment |= {
            Env.HEARTBEAT_SECONDS: timing.heartbeat,
            Env.PROGRESS_SECONDS: timing.progress,
            Env.MAX_ATTEMPTS: timing.attempts,
            # AgentCore promises no region in the environment, and boto3 needs one.
            "AWS_DEFAULT_REGION": stack.region,
        }
        runtime = _runtime(self, self.role, environment)
        # AgentCore would create the group at the first session, to keep for ever.
        log_group = logs.LogGroup(
            self,
            "Logs",
            log_group_name=f"/aws/bedrock-agentcore/runtimes/{runtime.agent_runtime_id}-DEFAULT",
            retention=logs.RetentionDays.TWO_WEEKS,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        for child in (*runtime.node.find_all(), *log_group.node.find_all()):
            if isinstance(child, cdk.CfnResource):
                child.cfn_options.condition = create
            if isinstance(child, agentcore.CfnRuntime):
                grant_own_logs(self.role, child.agent_runtime_name)
        self.arn: str = cdk.Fn.condition_if(
            create.logical_id, runtime.agent_runtime_arn, existing.value_as_string
        ).to_string()

    def grant_wake(self, workflow: sfn.StateMachine) -> None:
        """Let the agent tell the workflow that its session has ended."""
        # A policy of its own: the role's would need the workflow, which needs the runtime, which needs the role.
        statement = iam.PolicyStatement(
            sid="AgentWorkflowWake", actions=["states:SendTaskSuccess"], resources=[workflow.state_machine_arn]
        )
        iam.Policy(self, "Wake", roles=[self.role], statements=[statement])


def _runtime(scope: Construct, role: iam.Role, environment: dict[str, str]) -> agentcore.Runtime:
    return agentcore.Runtime(
        scope,
        "Runtime",
        agent_runtime_artifact=agentcore.AgentRuntimeArtifact.from_code_asset(
            path=str(SOURCES),
            runtime=agentcore.AgentCoreRuntime.PYTHON_3_13,
            entrypoint=[ENTRY_POINT],
            asset_hash=_source_hash(),
            asset_hash_type=cdk.AssetHashType.CUSTOM,
            bundling=cdk.BundlingOptions(image=cdk.DockerImage.from_registry("unused"), local=_Bundler()),
        ),
        execution_role=role.without_policy_updates(),
        environment_variables=environment,
        # Without it, the region's default of the day. V2 restores every session from one snapshot.
        platform_version=agentcore.PlatformVersion.V1,
        lifecycle_configuration=agentcore.LifecycleConfiguration(
            idle_runtime_session_timeout=cdk.Duration.minutes(15), max_lifetime=cdk.Duration.hours(8)
        ),
    )


def _sources() -> list[Path]:
    """Every package under src, also a custom agent, but neither the command line nor the local stack."""
    client_side = {SOURCES / "vigil" / name for name in CLIENT_SIDE} | set(SOURCES.glob("*/sample_account"))
    paths = (path for path in SOURCES.rglob("*") if path.suffix in {".py", ".md", ".json"})
    return sorted(path for path in paths if client_side.isdisjoint([path, *path.parents]))


def _source_hash() -> str:
    digest = hashlib.sha256(" ".join((ENTRY, *PLATFORM)).encode() + LOCK.read_bytes())
    for path in _sources():
        digest.update(f"{path.relative_to(SOURCES)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


@jsii.implements(cdk.ILocalBundling)
class _Bundler:
    """Builds the package without Docker: every dependency has a wheel for AgentCore's arm64."""

    def try_bundle(self, output_dir: str, options: cdk.BundlingOptions | None = None, **_: object) -> bool:
        """Write the package to ``output_dir``; never leaves it to Docker."""
        arguments = ("--quiet", "--target", output_dir, "-r", str(LOCK), "--require-hashes", "--only-binary", ":all:")
        uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", *arguments, *PLATFORM]
        if subprocess.run(uv).returncode != 0:
            # uv is ten times faster; pip knows the registries that only pip is configured for.
            pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *arguments, *PIP_PLATFORM]
            subprocess.run(pip, check=True)
        for path in _sources():
            target = Path(output_dir) / path.relative_to(SOURCES)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        (Path(output_dir) / ENTRY_POINT).write_text(ENTRY)
        let_all_read(Path(output_dir))
        return True

"""The permissions that the commands need, and whether the caller has them."""

import uuid
from collections.abc import Callable
from contextlib import suppress

from vigil.agent_log import log_group
from vigil.artifacts import PREFIX
from vigil.deployment import Deployment, aws_errors, error_code
from vigil.doctor.result import CheckResult, CheckResults, Verdict, judge, reason
from vigil.errors import AwsUnavailable, SessionNotFound
from vigil.names import INDEX_BY_START, INDEX_BY_STATUS, OptionalOutput, Output
from vigil.session import executions_of

BUS, STACK, TABLE = "the default event bus", "the stack", "the table"
BY_START, BY_STATUS = "the index by start", "the index by status"
ARTIFACTS, QUEUE, RUNTIME = f"`{PREFIX}*` in the bucket", "the dead-letter queue", "the agent's runtime"
AGENT_LOGS, SCHEDULE = "the agent's log group", "the schedule"
WORKFLOW, EXECUTIONS = "the workflow", "the workflow's executions"

_FIND = (("cloudformation:DescribeStacks", STACK),)
_READ = (*_FIND, ("dynamodb:GetItem", TABLE))
_LIST_LOST = (("sqs:ReceiveMessage", QUEUE), ("sqs:ChangeMessageVisibility", QUEUE))
_AWAIT = (
    *_READ,
    ("states:GetExecutionHistory", EXECUTIONS),
    ("states:DescribeExecution", EXECUTIONS),
    ("states:ListExecutions", WORKFLOW),
    *_LIST_LOST,
)
_STOP = (
    ("dynamodb:UpdateItem", TABLE),
    ("states:SendTaskSuccess", WORKFLOW),
    ("bedrock-agentcore:StopRuntimeSession", RUNTIME),
)
_SESSIONS = (("dynamodb:Query", BY_START), ("dynamodb:Query", BY_STATUS), ("sqs:GetQueueAttributes", QUEUE))
_CONSOLE = (
    *_READ,
    *(("dynamodb:BatchGetItem", TABLE), ("dynamodb:Query", TABLE), *_SESSIONS, *_LIST_LOST),
    ("states:GetExecutionHistory", EXECUTIONS),
    ("states:DescribeStateMachineForExecution", EXECUTIONS),
    ("logs:FilterLogEvents", AGENT_LOGS),
    ("s3:GetObject", ARTIFACTS),
)
COMMANDS = {
    "trigger": (*_FIND, ("events:PutEvents", BUS)),
    "retry": (*_READ, ("events:PutEvents", BUS)),
    "watch": (*_AWAIT, ("dynamodb:Query", TABLE)),
    "sessions": (*_FIND, *_SESSIONS),
    "show": (*_READ, ("dynamodb:Query", TABLE)),
    "logs": (*_READ, ("logs:FilterLogEvents", AGENT_LOGS)),
    "report": (*_READ, ("s3:GetObject", ARTIFACTS)),
    "stop": (*_AWAIT, *_STOP),
    "schedule": (*_FIND, ("scheduler:GetSchedule", SCHEDULE)),
    "lost": (*_FIND, *_LIST_LOST),
    "lost --resend": (*_READ, *_LIST_LOST, ("states:StartExecution", WORKFLOW), ("sqs:DeleteMessage", QUEUE)),
    "console": _CONSOLE,
    "console --allow-actions": (*_CONSOLE, ("events:PutEvents", BUS), *_STOP),
}
"""The permissions that each command needs, as (action, resource); ``run`` needs those of trigger, watch and report."""
GRANT = "Have the policy changed by docs/permissions.md, which lists what each command needs"
DENIED = ("AccessDenied", "UnauthorizedOperation")


def check(deployment: Deployment, caller: str) -> CheckResults:
    """Yield for each command whether IAM's simulator allows its calls; where it cannot tell, try some."""
    try:
        with aws_errors():
            allowed = _simulate(deployment, caller)
    except AwsUnavailable as error:
        yield from _try_reads(deployment, reason(error))
        return
    for command, grants in COMMANDS.items():
        denied = [f"{action} on {resource}" for action, resource in grants if (action, resource) not in allowed]
        what = f"permissions of `vigil {command}`: {'denied ' + ', '.join(denied) if denied else 'allowed'}"
        yield judge(not denied, what, GRANT)


def _simulate(deployment: Deployment, caller: str) -> set[tuple[str, str]]:
    """Return what ``caller`` may do, as (action, resource of COMMANDS); raises ValueError if IAM cannot simulate it."""
    _, partition, _, _, account, principal = caller.split(":", 5)
    iam = deployment.client("iam")
    if principal.startswith("assumed-role/"):
        # The ARN of a role may have a path, which that of its session lacks.
        caller = iam.get_role(RoleName=principal.split("/")[1])["Role"]["Arn"]
    elif not principal.startswith("user/"):
        raise ValueError(f"IAM cannot simulate {caller}")
    allowed: set[tuple[str, str]] = set()
    for resource, arn in arns(deployment, partition, account).items():
        actions = sorted({action for grants in COMMANDS.values() for action, named in grants if named == resource})
        answer = iam.simulate_principal_policy(PolicySourceArn=caller, ActionNames=actions, ResourceArns=[arn])
        results = answer["EvaluationResults"]
        allowed |= {(result["EvalActionName"], resource) for result in results if result["EvalDecision"] == "allowed"}
    return allowed


def arns(deployment: Deployment, partition: str, account: str) -> dict[str, str]:
    """Return the ARN of each resource that COMMANDS names."""

    def here(service: str, name: str) -> str:
        return f"arn:{partition}:{service}:{deployment.region}:{account}:{name}"

    table = here("dynamodb", f"table/{deployment.output(Output.TABLE)}")
    workflow, runtime = deployment.output(Output.STATE_MACHINE), deployment.output(Output.AGENT_RUNTIME)
    return {
        STACK: str(deployment.description["StackId"]),
        SCHEDULE: here("scheduler", f"schedule/default/{deployment.outputs.get(OptionalOutput.SCHEDULE, 'none')}"),
        BUS: here("events", "event-bus/default"),
        TABLE: table,
        BY_START: f"{table}/index/{INDEX_BY_START}",
        BY_STATUS: f"{table}/index/{INDEX_BY_STATUS}",
        ARTIFACTS: f"arn:{partition}:s3:::{deployment.output(Output.BUCKET)}/{PREFIX}any",
        QUEUE: here("sqs", deployment.output(Output.DEAD_LETTERS).rpartition("/")[2]),
        WORKFLOW: workflow,
        EXECUTIONS: executions_of(workflow) + "any",
        RUNTIME: runtime,
        AGENT_LOGS: here("logs", f"log-group:{log_group(runtime)}:*"),
    }


def _try_reads(deployment: Deployment, why_not_simulated: str) -> CheckResults:
    """Yield whether the reads of two commands are allowed, and that the other commands were not checked."""
    no_session = str(uuid.UUID(int=0))
    reads: dict[str, tuple[Callable[[], object], ...]] = {
        "sessions": (lambda: deployment.journal.recent(1), deployment.count_dead_letters),
        "show": (lambda: deployment.journal.tasks(no_session), lambda: deployment.journal.get(no_session)),
    }
    for name, calls in reads.items():
        what = f"permissions of `vigil {name}`"
        try:
            with suppress(SessionNotFound):
                for call in calls:
                    call()
            yield CheckResult(Verdict.OK, f"{what}: its reads are allowed")
        except AwsUnavailable as error:
            denied = error_code(error) == "403" or any(word in error_code(error) for word in DENIED)
            status = Verdict.PROBLEM if denied else Verdict.NOT_CHECKED
            yield CheckResult(status, f"{what}: {error}", GRANT if denied else "")
    others = ", ".join(f"`vigil {name}`" for name in COMMANDS if name not in reads)
    yield CheckResult(Verdict.NOT_CHECKED, f"permissions of {others}: {why_not_simulated}")

"""``vigil doctor`` on a real local stack, whole and with one thing wrong; a server of loopback stands in for AWS."""

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.stub import Stubber

from tests.hostile import CONTROL
from tests.support import Silent, Workflow, client_at, command, let_go, served, until
from vigil.console.views import Filters, ListReader, timeline_context
from vigil.deployment import Deployment
from vigil.doctor import account, examine, permissions, resources
from vigil.doctor.permissions import COMMANDS
from vigil.doctor.result import CheckResult, Verdict, guard
from vigil.local.deploy import PROJECT
from vigil.local.operations import RENAMED
from vigil.local.stack import LocalSession, LocalStack
from vigil.names import EVENT_DETAIL_TYPE, EVENT_SOURCE, REPORT, Output
from vigil.session import Status
from vigil.session_reader import LogReader
from vigil.trace import read_texts
from vigil.watch import await_end, watch

pytestmark = pytest.mark.takes(15)

# A batch is checked as its entries are.
ACTIONS = {**RENAMED, "HeadBucket": "ListBucket", "ChangeMessageVisibilityBatch": "ChangeMessageVisibility"}
ONLY_ON_AWS = {"quotas of bedrock-agentcore", "quotas of states"}
KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
# Called only if the session's record is late, or its event lost.
RARELY = {"states:ListExecutions", "states:DescribeExecution", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility"}


class Elsewhere(LocalSession):
    """A session of the local stack, some of whose clients reach another server; it writes down what they call."""

    def __init__(self, stack: LocalStack, others: Mapping[str, str] | None = None, **environment: str) -> None:
        super().__init__({**stack.environment(), **environment})
        self.others, self.called = others or {}, set[str]()
        self.events.register("before-call", self._called)

    def client(self, service: str, **kwargs: Any) -> Any:
        given = {"endpoint_url": self.others[service]} if service in self.others else {}
        return super().client(service, **{**kwargs, **given})

    def _called(self, model: Any, **_: Any) -> None:
        self.called.add(f"{model.service_model.signing_name}:{ACTIONS.get(model.name, model.name)}")


@contextmanager
def answering(status: int, body: object, error: str = "") -> Iterator[str]:
    """Serve one answer to every request, as AWS's JSON protocols write it; yields the server's address."""

    class Handler(Silent):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.answer(status, body, {"x-amzn-errortype": error} if error else {})

        do_GET = do_POST

    with served(Handler) as address:
        yield address


def examined(session: LocalSession, stack: str | None = None, **described: object) -> list[CheckResult]:
    """Return the results, those of a stack that CloudFormation describes otherwise if ``described`` says so."""
    deployment = Deployment(session, stack)
    if described:
        vars(deployment)["description"] = {**Deployment(session).description, **described}
    return list(examine(lambda: deployment))


def about(results: list[CheckResult], subject: str) -> CheckResult:
    (found,) = [result for result in results if result.what.startswith(subject)]
    return found


def problems(results: list[CheckResult]) -> list[str]:
    assert all(result.remedy for result in results if result.status == Verdict.PROBLEM), results
    return [result.what for result in results if result.status == Verdict.PROBLEM]


def not_checked(results: list[CheckResult]) -> set[str]:
    return {result.what.partition(":")[0] for result in results if result.status == Verdict.NOT_CHECKED}


def test_a_new_deployment_has_no_problem(stack: LocalStack) -> None:
    done = command(stack, "vigil", "doctor")
    assert (done.returncode, done.stderr) == (0, "")
    statuses = [re.fullmatch(r"(ok|not checked) +\S.*", line) for line in done.stdout.splitlines()]
    assert all(statuses), done.stdout
    results = [CheckResult(**found) for found in json.loads(command(stack, "vigil", "doctor", "--json").stdout)]
    assert [result.status for result in results] == [status[1] for status in statuses if status]
    assert not_checked(results) == {
        *ONLY_ON_AWS,
        "permissions of " + ", ".join(f"`vigil {name}`" for name in COMMANDS if name not in ("sessions", "show")),
    }
    assert about(results, "runtime").what.endswith(": READY")
    assert about(results, "model").what.startswith("model vigil.scripted-model: it answered")


def test_the_model_is_left_out_if_that_is_asked_for(stack: LocalStack) -> None:
    session = Elsewhere(stack)
    expected = CheckResult(Verdict.NOT_CHECKED, "model vigil.scripted-model: left out by --no-model")
    assert about(list(examine(lambda: Deployment(session), call_model=False)), "model") == expected
    assert "bedrock:InvokeModel" not in session.called


def test_without_a_stack_doctor_checks_the_rest_and_the_default_model(stack: LocalStack) -> None:
    said = {"message": {"role": "assistant", "content": [{"text": "OK"}]}}
    with answering(200, {"usage": {"inputTokens": 9, "outputTokens": 4}, "output": said}) as address:
        results = examined(Elsewhere(stack, {"bedrock-runtime": address}), "Elsewhere")
    (problem,) = problems(results)
    assert problem.startswith("stack: no stack Elsewhere in ")
    assert "deploy it with `make deploy`" in problem
    assert about(results, "CDK bootstrap").status == Verdict.OK
    answered = "model global.anthropic.claude-sonnet-4-6: it answered (9 tokens in, 4 out: a fraction of a cent)"
    assert about(results, "model").what == answered
    assert not_checked(results) == {*ONLY_ON_AWS, "resources and permissions"}


NO_REGION = {**KEYS, "AWS_REGION": "us-east-9", "AWS_ENDPOINT_URL": "http://127.0.0.2:9"}
NO_STACK = {**KEYS, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AWS_REGION": "us-east-1"}, "no AWS credentials: set AWS_PROFILE"),
        ({}, "no AWS region: set AWS_REGION"),
        ({"AWS_PROFILE": "nope", "AWS_REGION": "us-east-1"}, "nope"),
        ({"AWS_REGION": "not a region"}, "not a region"),
        ({"AWS_REGION": "mars-1"}, "AWS has no region 'mars-1': set AWS_REGION, or --aws-region, to one such as"),
        (NO_REGION, "Set AWS_REGION, or --aws-region, to a region that exists"),
        (NO_STACK, "The local stack there is gone, with its sessions: start one with `vigil local up`"),
    ],
)
def test_missing_credentials_are_one_problem_and_stop_all_other_checks(environment: dict[str, str], said: str) -> None:
    done = command(None, "vigil", "doctor", AWS_EC2_METADATA_DISABLED="true", **environment)
    assert (done.returncode, done.stderr) == (1, "")
    *_, problem, rest = done.stdout.splitlines()
    assert problem.startswith("problem      credentials or region: ")
    assert said in problem
    assert rest == "not checked  everything in the account: that needs credentials"
    assert re.findall("^ok +([^:]+)", done.stdout, re.MULTILINE) == ["versions", "Node"]


@pytest.mark.parametrize("name", ["doctor", "sessions"])
def test_an_answer_that_is_not_from_aws_is_reported_in_one_line(name: str) -> None:
    with answering(200, "Please sign in") as address:
        done = command(None, "vigil", name, AWS_ENDPOINT_URL=address, AWS_REGION="us-east-1", **KEYS)
    assert done.returncode == 1
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if "Unable to parse response" in line]
    assert "Traceback" not in done.stderr
    assert line.startswith({"doctor": "problem ", "sessions": "vigil: "}[name])


def test_missing_bootstrap_and_stack_are_problems(stack: LocalStack) -> None:
    results = examined(Elsewhere(stack, AWS_REGION="eu-west-3"))
    found = {what.partition(":")[0] for what in problems(results)}
    # The embedded AWS has no other model than the scripted one.
    assert found == {"CDK bootstrap", "stack", "model global.anthropic.claude-sonnet-4-6"}
    assert about(results, "CDK bootstrap").remedy == "Run `make bootstrap`"


def test_a_region_without_agentcore_is_a_problem(stack: LocalStack) -> None:
    results = examined(Elsewhere(stack, {"bedrock-agentcore-control": "http://127.0.0.1:9"}))
    (problem,) = problems(results)
    assert problem.startswith("AgentCore in us-east-1: Could not connect")
    assert "AgentRuntime" in " ".join(not_checked(results))


Guest = Callable[..., Elsewhere]


@pytest.fixture
def guest(stack: LocalStack) -> Iterator[Guest]:
    """Make a user that may do just this, (action, resource) each, and return a session of theirs."""
    iam, name = stack.client("iam"), f"guest-{uuid.uuid4()}"
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]

    def may(*grants: tuple[str, str]) -> Elsewhere:
        allowed = [{"Effect": "Allow", "Action": action, "Resource": resource} for action, resource in grants]
        document = json.dumps({"Version": "2012-10-17", "Statement": allowed})
        if grants:
            iam.put_user_policy(UserName=name, PolicyName="some", PolicyDocument=document)
        keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        return Elsewhere(stack, **keys)

    yield may
    iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    for policy in iam.list_user_policies(UserName=name)["PolicyNames"]:
        iam.delete_user_policy(UserName=name, PolicyName=policy)
    iam.delete_user(UserName=name)


def test_a_user_without_permissions_gets_only_unchecked_results(guest: Guest) -> None:
    results = examined(guest())
    checked = {result.what.partition(":")[0] for result in results if result.status == Verdict.OK}
    assert checked == {"versions", "Node", "credentials"}
    assert problems(results) == []
    assert all("not authorized" in f.what for f in results if f.what.startswith(("AgentCore", "stack", "model")))


def test_where_iam_cannot_be_asked_a_denied_read_is_a_problem(guest: Guest) -> None:
    results = examined(guest(("cloudformation:DescribeStacks", "*"), ("dynamodb:GetItem", "*")))
    denied = [what for what in problems(results) if "dynamodb:Query" in what]
    assert problems(results) == denied
    subjects = {what.partition(":")[0] for what in denied}
    assert subjects == {"permissions of `vigil sessions`", "permissions of `vigil show`"}
    unchecked = about(results, "permissions of `vigil trigger`, ").what
    assert "not authorized to perform: iam:SimulatePrincipalPolicy" in unchecked


def test_a_permission_that_a_command_lacks_is_named(guest: Guest) -> None:
    grants = {action for grants in COMMANDS.values() for action, _ in grants} - {"events:PutEvents"}
    results = examined(guest(("iam:SimulatePrincipalPolicy", "*"), *((action, "*") for action in grants)))
    assert problems(results) == [
        f"permissions of `vigil {name}`: denied events:PutEvents on the default event bus"
        for name in ("trigger", "retry", "console --allow-actions")
    ]
    for name in COMMANDS.keys() - {"trigger", "retry", "console --allow-actions"}:
        assert about(results, f"permissions of `vigil {name}`").what.endswith(": allowed")


ROWS = re.findall(
    r"^\| ([\w -]+) \| ([a-z0-9-]+:\w+) \| (.*) \|$",
    (PROJECT / "docs" / "permissions.md").read_text(encoding="utf-8").partition("## What the commands of")[2],
    flags=re.MULTILINE,
)
"""Command, action and resource of each row of the page."""


def test_the_page_of_permissions_says_what_each_command_needs() -> None:
    listed = [(name, action, on) for name, action, on in ROWS if name != "doctor"]
    assert listed == [(name, *grant) for name, grants in COMMANDS.items() for grant in grants]


def test_documented_permissions_suffice_for_every_command(
    stack: LocalStack, workflow: Workflow, deployment: Deployment, guest: Guest
) -> None:
    arns = permissions.arns(deployment, "aws", "000000000000")
    arns[permissions.STACK] = arns[permissions.STACK].rpartition("/")[0] + "/"
    # The embedded AWS asks IAM about any resource where most of the doctor's rows name one.
    parts = [arns[on].removesuffix("any").removesuffix(":*") if name != "doctor" else "" for name, _, on in ROWS]
    session = guest(*((action, f"{on}*") for (_, action, _), on in zip(ROWS, parts, strict=True)))

    def calls(run: Callable[[Deployment], object]) -> set[str]:
        session.called.clear()
        run(Deployment(session))
        return set(session.called)

    def stop(aws: Deployment) -> None:
        until(lambda: workflow.table.get_item(Key=workflow.key(waiting)).get("Item", {}).get("task_token"))
        aws.stop(waiting, "enough")
        await_end(aws, waiting)

    def look(aws: Deployment) -> None:
        for status in (None, Status.FAILED):
            ListReader(aws).read(Filters(status))
        view = LogReader(aws, started[0], 0).read()
        assert timeline_context(view, {}, partial(read_texts, aws))["graph"]
        assert aws.artifacts(started[0]).read(REPORT)
        assert aws.count_dead_letters() == len(aws.dead_letters())

    started: list[str] = []
    waiting = deployment.trigger({"agent": "waits"})
    lost = {"id": str(uuid.uuid4()), "source": EVENT_SOURCE, "detail-type": EVENT_DETAIL_TYPE}
    for body in (json.dumps({**lost, "detail": {"agent": "hello_agent"}}), "no event"):
        stack.client("sqs").send_message(QueueUrl=stack.outputs[Output.DEAD_LETTERS], MessageBody=body)
    try:
        made = {
            "trigger": calls(lambda aws: started.append(aws.trigger({"agent": "hello_agent"}))),
            "watch": calls(lambda aws: list(watch(aws, started[0]))),
            "show": calls(lambda aws: (aws.journal.get(started[0]), aws.journal.tasks(started[0]))),
            "sessions": calls(
                lambda aws: (aws.journal.recent(1), aws.journal.recent(1, Status.FAILED), aws.count_dead_letters())
            ),
            "logs": calls(lambda aws: list(aws.agent_log(started[0]))),
            "retry": calls(lambda aws: started.append(aws.trigger(aws.journal.get(started[0]).input()))),
            # This stack has no schedule.
            "schedule": calls(lambda aws: aws.schedule()) | {"scheduler:GetSchedule"},
            "lost": calls(lambda aws: aws.dead_letters()),
            "lost --resend": calls(lambda aws: list(aws.resend_dead_letters())),
            "report": calls(lambda aws: (aws.journal.get(started[0]), aws.artifacts(started[0]).read(REPORT))),
            "stop": calls(stop),
            "console": calls(look),
        }
        made["console --allow-actions"] = made["console"] | made["trigger"] | made["stop"] - made["watch"]
        stack.client("sqs").purge_queue(QueueUrl=stack.outputs[Output.DEAD_LETTERS])
        session.called.clear()
        results = list(examine(lambda: Deployment(session)))
    finally:
        let_go(workflow.table, waiting)
    for name, grants in COMMANDS.items():
        rare = set() if name.startswith("lost") else {action for action, _ in grants} & RARELY
        assert made[name] | rare == {action for action, _ in grants}, name
    assert problems(results) == []
    assert not_checked(results) == ONLY_ON_AWS
    # It looks a role up, and a user is none. This stack has no topic.
    rest = {"iam:GetRole", "sns:ListSubscriptionsByTopic"}
    assert session.called | rest == {action for name, action, _ in ROWS if name == "doctor"}


# One thing wrong


@pytest.mark.parametrize(("arns", "good"), [(["one"], True), (["one", "PendingConfirmation"], False), ([], False)])
def test_a_subscription_that_nobody_has_confirmed_is_a_problem(arns: list[str], good: bool) -> None:
    sns = client_at("http://unused", "sns")
    deployment: Any = SimpleNamespace(client=lambda _: sns)
    with Stubber(sns) as stubber:
        stubber.add_response("list_subscriptions_by_topic", {"Subscriptions": [{"SubscriptionArn": a} for a in arns]})
        (found,) = resources._subscribers(deployment, "topic")
    assert (found.status, "Confirm" in found.remedy) == ((Verdict.OK, False) if good else (Verdict.PROBLEM, True))


def test_a_rule_that_is_disabled_and_a_dead_letter_are_problems(stack: LocalStack) -> None:
    rule, queue = stack.outputs[Output.RULE], stack.outputs[Output.DEAD_LETTERS]
    events, sqs = stack.client("events"), stack.client("sqs")
    events.disable_rule(Name=rule)
    sqs.send_message(QueueUrl=queue, MessageBody="{}")
    try:
        done = command(stack, "vigil", "doctor")
    finally:
        events.enable_rule(Name=rule)
        sqs.purge_queue(QueueUrl=queue)
    assert done.returncode == 1
    disabled, dead = [line for line in done.stdout.splitlines() if line.startswith("problem")]
    assert f"rule {rule}: DISABLED" in disabled
    assert f"aws events enable-rule --name {rule}" in disabled
    assert "dead-letter queue: 1 event that never became a session" in dead
    assert "`vigil lost --resend`" in dead


@pytest.mark.parametrize(
    ("value", "status"), [("5", Verdict.PROBLEM), ("soon", Verdict.PROBLEM), ("6", Verdict.OK), ("30", Verdict.OK)]
)
def test_a_bootstrap_that_is_too_old_is_a_problem(stack: LocalStack, value: str, status: Verdict) -> None:
    def put(version: str) -> None:
        stack.client("ssm").put_parameter(Name=account.BOOTSTRAP_PARAMETER, Value=version, Overwrite=True)

    put(value)
    try:
        (found,) = account._bootstrap(Deployment(stack.session()))
    finally:
        put("30")
    assert found.status == status


@pytest.mark.parametrize(
    "state", ["ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_IN_PROGRESS", "CREATE_FAILED"]
)
def test_a_stack_that_is_not_whole_is_a_problem(stack: LocalStack, state: str) -> None:
    assert problems(examined(stack.session(), StackStatus=state)) == [f"stack Vigil: {state}"]


def test_a_stack_that_is_not_vigils_is_one_problem(stack: LocalStack) -> None:
    results = examined(stack.session(), Outputs=[], Parameters=[{"ParameterKey": "ModelId", "ParameterValue": "x"}])
    assert problems(results)[0].startswith("stack: stack Vigil has no output TableName")
    assert "resources and permissions" in not_checked(results)


def test_resources_that_were_deleted_are_problems(stack: LocalStack) -> None:
    values = {name: re.sub(r"\w{4}$", "gone", value) for name, value in stack.outputs.items()}
    gone = [{"OutputKey": name, "OutputValue": value} for name, value in values.items()]
    found = {what.partition(" ")[0] for what in problems(examined(stack.session(), Outputs=gone))}
    assert found == set(Output) - {Output.AGENT_ROLE}


@pytest.mark.parametrize("state", ["CREATE_FAILED", "UPDATING"])
def test_a_runtime_that_is_not_ready_is_a_problem_with_its_reason(stack: LocalStack, state: str) -> None:
    with answering(200, {"status": state, "failureReason": "no arm64", "platformVersion": "V1"}) as address:
        results = examined(Elsewhere(stack, {"bedrock-agentcore-control": address}))
    (problem,) = problems(results)
    assert problem == f"runtime {stack.outputs[Output.AGENT_RUNTIME]}: {state}; V1; no arm64"


MARKETPLACE = (
    "Model access is denied due to IAM user or service role is not authorized to perform the required AWS Marketplace"
    " actions (aws-marketplace:ViewSubscriptions, aws-marketplace:Subscribe)"
)
USE_CASE = (
    "Model use case details have not been submitted for this account. Fill out the Anthropic use case details form"
    " before using the model."
)
UNAUTHORIZED = (
    "User: x is not authorized to perform: bedrock:InvokeModel on resource: y because no identity-based policy allows"
    " the bedrock:InvokeModel action"
)


@pytest.mark.parametrize(
    ("status", "code", "message", "found", "said"),
    [
        (403, "AccessDeniedException", MARKETPLACE, Verdict.PROBLEM, "aws-marketplace:Subscribe"),
        (404, "ResourceNotFoundException", USE_CASE, Verdict.PROBLEM, "Anthropic's use case form"),
        (403, "AccessDeniedException", "with an explicit deny in a service control policy", Verdict.PROBLEM, "access"),
        (400, "ValidationException", "The provided model identifier is invalid.", Verdict.PROBLEM, "ModelId"),
        (403, "AccessDeniedException", UNAUTHORIZED, Verdict.NOT_CHECKED, ""),
        (418, "SomethingElse", "tea", Verdict.NOT_CHECKED, ""),
    ],
)
def test_a_refused_model_is_a_problem_if_the_account_lacks_access(
    stack: LocalStack, status: int, code: str, message: str, found: Verdict, said: str
) -> None:
    with answering(status, {"message": message}, code) as address:
        deployment = Deployment(Elsewhere(stack, {"bedrock-runtime": address}))
        (result,) = guard("model x", account.model(deployment, "x"))
    assert result.status == found
    assert message in result.what
    assert said in result.remedy
    assert bool(result.remedy) == bool(said)


def test_a_model_of_another_provider_is_not_called(stack: LocalStack) -> None:
    assert [f.status for f in account.model(Deployment(stack.session()), "openai/gpt-5")] == [Verdict.NOT_CHECKED]


def test_a_quota_of_zero_is_a_problem_and_a_missing_one_is_not_checked(stack: LocalStack) -> None:
    none, some, absent = account.QUOTAS["bedrock-agentcore"]
    body = {"Quotas": [{"QuotaName": none, "Value": 0.0}, {"QuotaName": some, "Value": 5000.0}]}
    with answering(200, body) as address:
        deployment = Deployment(Elsewhere(stack, {"service-quotas": address}))
        found = list(account._quotas(deployment, "bedrock-agentcore", (none, some, absent)))
    assert [result.status for result in found] == [Verdict.PROBLEM, Verdict.OK, Verdict.NOT_CHECKED]
    assert found[1].what.endswith(f"{some}: 5000")


@pytest.mark.parametrize(("left", "status"), [(9, Verdict.PROBLEM), (10, Verdict.OK)])
def test_lambda_concurrency_below_a_new_accounts_is_a_problem(stack: LocalStack, left: int, status: Verdict) -> None:
    with answering(200, {"AccountLimit": {"UnreservedConcurrentExecutions": left}}) as address:
        (found,) = account._concurrency(Deployment(Elsewhere(stack, {"lambda": address})))
    assert found.status == status


@pytest.mark.parametrize(
    ("document", "status"), [("{}", Verdict.PROBLEM), ('{"Service": "delivery.logs.amazonaws.com"}', Verdict.OK)]
)
def test_log_policies_full_for_step_functions_are_a_problem(stack: LocalStack, document: str, status: Verdict) -> None:
    with answering(200, {"resourcePolicies": [{"policyDocument": document}] * 10}) as address:
        (found,) = account._log_policies(Deployment(Elsewhere(stack, {"logs": address})))
    assert found.status == status


def test_an_answer_that_cannot_be_read_is_not_checked(stack: LocalStack) -> None:
    services = ("lambda", "service-quotas", "ssm", "logs", "dynamodb", "events", "bedrock-runtime", "sqs")
    with answering(200, {}) as address:
        results = examined(Elsewhere(stack, dict.fromkeys(services, address)))
    unread = [result for result in results if "cannot be read" in result.what]
    assert len(unread) >= 5
    assert {result.status for result in unread} == {Verdict.NOT_CHECKED}


def test_text_of_aws_is_one_line_and_no_more(stack: LocalStack) -> None:
    hostile = "\x1b[31m[red]\nok           forged\u202e"
    with answering(200, {"status": "CREATE_FAILED", "failureReason": hostile}) as address:
        done = command(stack, "vigil", "doctor", AWS_ENDPOINT_URL_BEDROCK_AGENTCORE_CONTROL=address)
    assert done.returncode == 1
    assert not CONTROL.search(done.stdout)
    assert not re.search("^ok +forged", done.stdout, re.MULTILINE)
    assert "<U+001B>[31m[red] ok forged<U+202E>" in done.stdout

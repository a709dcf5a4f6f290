"""What the embedded AWS does unlike AWS and we mend, each patch small, pinned to its version, with a conformance test.

ministack is MIT licensed and good at what it does; these are the places where a Vigil session would see a difference.
Import this module before the server starts. ``docs/verification.md`` lists what stays different.
"""

import asyncio
import contextvars
import json
import random
import re
import secrets
import sys
import threading
import time
import types
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from ministack import app as ministack_app
from ministack.core import iam_actions, iam_evaluator, lambda_runtime, router
from ministack.services import bedrock_agentcore, cloudwatch, dynamodb, eventbridge, lambda_svc, sqs, stepfunctions, sts

from vigil.errors import LocalStackError
from vigil.local import scripted_model
from vigil.local.agentcore import AgentHost
from vigil.local.gate import by_root

MENDED_VERSION = "1.5.33"
EXPRESSION_MILLISECONDS = 60_000
FUNCTIONS = 4
"""How many Lambda functions run at once. Each is a process, and its start takes as long as the work of two sessions."""
FUNCTION_SECONDS = 30
"""How long an invocation waits for one of them to end; less than the workflow waits for it."""
NO_SUCH_SESSION = "no such runtime session"

Response = tuple[int, dict[str, str], bytes]

_execution: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar("execution", default=None)


def install(agents: AgentHost) -> None:
    """Apply every patch; ``agents`` runs what AgentCore is asked to invoke."""
    if (found := version("ministack")) != MENDED_VERSION:
        raise LocalStackError(f"the local stack needs ministack {MENDED_VERSION}, not {found}: run make install")
    _name_lambda_errors()
    _name_lambda_throttling()
    _let_functions_wait()
    _draw_function_credentials()
    _name_more_actions()
    _know_leading_keys()
    _keep_control_paths_for_the_root()
    _take_checksums_only_from_trailers()
    _enforce_state_machine_role()
    _end_aborted_executions()
    _space_retries()
    _compute_task_timeouts()
    _find_task_tokens()
    _refuse_what_is_not_json()
    _start_workflows_as_the_rule()
    _serve_agentcore(agents)
    _serve_bedrock()
    _list_provisioned_concurrency()
    _write_one_item_at_a_time()
    _keep_metrics()
    _look_metrics_up()
    _give_expressions_time()
    _refuse_what_is_missing()


_READ_EVENT = """\
        try:
            _ms_msg = json.loads(line)
        except RecursionError as e:
            _ms_error = {"raised": "Runtime.UnmarshalError", "error": f"Unable to unmarshal input: {e}"}
            _real_stdout.write(json.dumps({"status": "ok", **_ms_error}) + "\\n")
            _real_stdout.flush()
            continue
"""


def _name_lambda_errors() -> None:
    """AWS names a failed Lambda task by the exception's class, or by the function's death; to ministack all are one.

    And a function that raised, or whose event is too deep to be read, goes on in its environment; ministack starts
    another.
    """
    plain = '"status": "error", "error": str(e), "trace"'
    named = '"status": "ok", "raised": type(e).__name__, "error": str(e), "trace"'
    read = "        _ms_msg = json.loads(line)\n"
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    if plain not in script or read not in script:
        raise LocalStackError("the embedded AWS changed: its Lambda worker reads or reports in another way")
    lambda_runtime._PYTHON_WORKER_SCRIPT = script.replace(plain, named).replace(read, _READ_EVENT)
    last_type: contextvars.ContextVar[str | None] = contextvars.ContextVar("last_type", default=None)
    invoke, execute = lambda_runtime.Worker.invoke, lambda_svc._execute_function_warm

    def invoke_and_note(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = invoke(self, *args, **kwargs)
        last_type.set(result.get("raised"))
        return {**result, "status": "error"} if "raised" in result else result

    def execute_and_name(*args: Any, **kwargs: Any) -> Any:
        last_type.set(None)
        result = execute(*args, **kwargs)
        body, name = result.get("body"), last_type.get()
        if result.get("error") and isinstance(body, dict) and body.get("errorType") == "Runtime.HandlerError":
            died = body["errorMessage"] == "Worker process died"
            body["errorType"] = name or ("Runtime.ExitError" if died else body["errorType"])
        return result

    lambda_runtime.Worker.invoke = invoke_and_note
    lambda_svc._execute_function_warm = execute_and_name


def _name_lambda_throttling() -> None:
    """AWS calls a throttled Lambda task Lambda.TooManyRequestsException; ministack calls it Lambda.Unknown.

    The cause is a sentence on AWS; ministack gives the answer of the service.
    """
    call_lambda = stepfunctions._call_lambda

    def call(function: str, event: Any) -> Any:
        try:
            return call_lambda(function, event)
        except stepfunctions._ExecutionError as error:
            if error.error == "Lambda.Unknown" and "TooManyRequestsException" in error.cause:
                error.error = "Lambda.TooManyRequestsException"
                error.cause = json.loads(error.cause)["message"]
            raise

    stepfunctions._call_lambda = call


def _let_functions_wait() -> None:
    """AWS refuses an invocation that finds no concurrency left. Here each is a process, of which there are few."""
    places = threading.Semaphore(FUNCTIONS)
    acquire, release = lambda_svc._acquire_execution_slot, lambda_svc._release_execution_slot

    def acquire_place(*given: Any) -> Any:
        if not places.acquire(timeout=FUNCTION_SECONDS):
            return None, "account"
        slot, limit = acquire(*given)
        if slot is None:
            places.release()
        return slot, limit

    def release_place(slot: Any) -> None:
        release(slot)
        if slot is not None:
            places.release()

    lambda_svc._acquire_execution_slot = acquire_place
    lambda_svc._release_execution_slot = release_place


def _draw_function_credentials() -> None:
    """AWS draws a function's credentials; ministack computes them from the names of function and role."""
    drawn: dict[str, dict[str, str]] = {}

    def draw(config: dict[str, Any]) -> dict[str, str]:
        account, _ = lambda_runtime._account_region_from_function_config(config)
        role, function = config["Role"].rsplit("/", 1)[-1], config["FunctionName"]
        arns = f"{config['FunctionArn']} {config['Role']}"
        # One for all of its environments, as their sessions do not expire.
        keys = drawn.setdefault(
            arns,
            {
                "AWS_ACCESS_KEY_ID": f"ASIA{secrets.token_hex(8).upper()}",
                "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
                "AWS_SESSION_TOKEN": secrets.token_urlsafe(60),
            },
        )
        session = {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{role}/{function[:64]}",
            "UserId": f"{role}:{function[:64]}",
            "SecretAccessKey": keys["AWS_SECRET_ACCESS_KEY"],
            "SessionToken": keys["AWS_SESSION_TOKEN"],
        }
        sts.register_session(keys["AWS_ACCESS_KEY_ID"], session)
        return keys

    lambda_runtime.execution_credentials = lambda_svc.execution_credentials = draw


def _name_more_actions() -> None:
    """ministack guesses Lambda's actions from parts of a path, and knows none of AgentCore's control plane."""
    iam_actions._lambda_action = lambda method, path: None
    iam_actions._BOTOCORE_SERVICE_MAP.update(
        {"lambda": ["lambda"], "bedrock-agentcore": ["bedrock-agentcore-control", "bedrock-agentcore"]}
    )
    extract = iam_actions.extract_iam_action

    def extract_named(*request: Any) -> Any:
        action = extract(*request)
        if isinstance(action, str) and action.startswith("sqs:"):
            # A batch is what each of its entries is.
            return action.removesuffix("Batch")
        return "lambda:InvokeFunction" if action == "lambda:Invoke" else action

    iam_actions.extract_iam_action = extract_named


def _know_leading_keys() -> None:
    """ministack sets no dynamodb:LeadingKeys, by which a policy names the items of one partition."""
    known = iam_actions.dynamodb_service_context

    def with_leading_keys(body: bytes) -> Any:
        context = known(body)
        with suppress(ValueError, LookupError, TypeError):
            context["dynamodb:LeadingKeys"] = list(json.loads(body)["Key"]["PK"].values())
        return context

    iam_actions.dynamodb_service_context = with_leading_keys


def _keep_control_paths_for_the_root() -> None:
    """Paths of ministack's own and data planes without a signature do not ask IAM as a request to a service does."""

    def for_the_root(handle: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def handled(*request: Any, **more: Any) -> Any:
            return await handle(*request, **more) if by_root.get() else None

        return handled

    for name in ("_handle_pre_body_request", "_handle_post_body_shortcuts", "_handle_special_data_plane_request"):
        setattr(ministack_app, name, for_the_root(getattr(ministack_app, name)))


def _take_checksums_only_from_trailers() -> None:
    """What follows a chunked body becomes headers in ministack, even Authorization, long after they were checked."""
    decode = ministack_app._decode_aws_chunked_body

    def decode_without(body: bytes, headers: dict[str, str]) -> bytes:
        before = set(headers)
        decoded: bytes = decode(body, headers)
        for name in headers.keys() - before:
            if not name.startswith("x-amz-checksum-"):
                del headers[name]
        return decoded

    ministack_app._decode_aws_chunked_body = decode_without


def _enforce_state_machine_role() -> None:
    """AWS runs a task with the state machine's role; ministack never looks at it.

    Covers the integrations of Vigil's workflow: DynamoDB, optimized and by the SDK's name, and Lambda.
    """
    run, dynamodb, call_lambda, call_sdk = (
        stepfunctions._run_execution,
        stepfunctions._invoke_dynamodb,
        stepfunctions._call_lambda,
        stepfunctions._invoke_aws_sdk_integration,
    )

    def run_noting(execution_arn: str) -> Any:
        # ministack copies the context into every thread that it starts for a task or a branch.
        token = _execution.set(stepfunctions._executions.get(execution_arn))
        try:
            return run(execution_arn)
        finally:
            # A synchronous execution runs in the thread of whoever asked for it, which may be an execution itself.
            _execution.reset(token)

    def table_arn(arguments: dict[str, Any]) -> str:
        table = str(arguments.get("TableName", ""))
        if table.startswith("arn:"):
            return table
        return f"arn:aws:dynamodb:{stepfunctions.get_region()}:{stepfunctions.get_account_id()}:table/{table}"

    def dynamodb_authorised(operation: str, arguments: dict[str, Any]) -> Any:
        # Not AccessDeniedException: the DynamoDB integration has no name of its own for a denial.
        _authorise("DynamoDB.AmazonDynamoDBException", _action("dynamodb", operation), table_arn(arguments))
        return dynamodb(operation, arguments)

    def sdk_authorised(resource: str, arguments: dict[str, Any]) -> Any:
        service, operation = resource.removesuffix(".waitForTaskToken").split("aws-sdk:")[1].split(":")
        if service == "dynamodb":
            _authorise("DynamoDb.DynamoDbException", _action(service, operation), table_arn(arguments))
        return call_sdk(resource, arguments)

    def lambda_authorised(function: str, event: Any) -> Any:
        arn = function
        if not arn.startswith("arn:"):
            arn = f"arn:aws:lambda:{stepfunctions.get_region()}:{stepfunctions.get_account_id()}:function:{function}"
        _authorise("Lambda.AWSLambdaException", "lambda:InvokeFunction", arn)
        return call_lambda(function, event)

    stepfunctions._run_execution = run_noting
    stepfunctions._invoke_dynamodb = dynamodb_authorised
    stepfunctions._invoke_aws_sdk_integration = sdk_authorised
    stepfunctions._call_lambda = lambda_authorised


def _action(service: str, operation: str) -> str:
    return f"{service}:{operation[0].upper()}{operation[1:]}"


def _authorise(error: str, action: str, resource: str) -> None:
    """Raise ``error`` unless the role of the state machine whose execution this is may do ``action``."""
    execution = _execution.get()
    if execution is None:
        return
    role = stepfunctions._state_machines[execution["stateMachineArn"]]["roleArn"]
    if not _allowed(role, action, resource):
        raise stepfunctions._ExecutionError(
            error, f"User: {role} is not authorized to perform: {action} on resource: {resource}"
        )


def _allowed(role: str, action: str, resource: str) -> bool:
    account = role.split(":")[4]
    context = iam_evaluator.EvalContext(
        principal_arn=role,
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=resource,
        region=stepfunctions.get_region(),
    )
    policies = iam_evaluator._gather_role_policies(role.rsplit("/", 1)[-1], account)
    return bool(iam_evaluator.evaluate(context, policies).decision == "Allow")


def _end_aborted_executions() -> None:
    """An execution that was stopped does nothing more; in ministack its task goes on, and may make it FAILED."""
    invoke, fail = stepfunctions._invoke_resource, stepfunctions._fail_execution

    def stopped() -> bool:
        execution = _execution.get()
        return execution is not None and execution["status"] != "RUNNING"

    def invoke_unless_stopped(resource: str, arguments: Any) -> Any:
        if stopped():
            raise stepfunctions._ExecutionError("States.Runtime", "the execution was stopped")
        return invoke(resource, arguments)

    def fail_unless_stopped(execution: dict[str, Any], error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":
            fail(execution, error, cause)

    def sleep_until_stopped(seconds: float) -> None:
        end = time.monotonic() + seconds * stepfunctions._SFN_WAIT_SCALE
        while (left := end - time.monotonic()) > 0 and not stopped():
            time.sleep(min(left, 0.25))

    stepfunctions._invoke_resource = invoke_unless_stopped
    stepfunctions._fail_execution = fail_unless_stopped
    stepfunctions._scaled_sleep = sleep_until_stopped


def _space_retries() -> None:
    """AWS caps a retry's delay at MaxDelaySeconds and draws it at random if JitterStrategy is FULL."""
    find = stepfunctions._find_matching_retrier

    def find_and_draw(retriers: list[dict[str, Any]], error: str, counts: dict[int, int]) -> Any:
        retrier, index = find(retriers, error, counts)
        if retrier is None:
            return retrier, index
        delay = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** counts.get(index, 0)
        delay = min(delay, retrier.get("MaxDelaySeconds", delay))
        if retrier.get("JitterStrategy") == "FULL":
            delay = random.uniform(0, delay)
        # Computed from these two by the caller.
        return {**retrier, "IntervalSeconds": delay, "BackoffRate": 1}, index

    stepfunctions._find_matching_retrier = find_and_draw


def _compute_task_timeouts() -> None:
    """AWS takes an expression for a task's TimeoutSeconds; ministack a number only."""
    execute = stepfunctions._execute_task

    def execute_computed(state: dict[str, Any], given: Any, execution: Any, context: dict[str, Any]) -> Any:
        seconds = state.get("TimeoutSeconds")
        if isinstance(seconds, str):
            seconds = stepfunctions._jsonata_state_field(state, "TimeoutSeconds", "number", given, context)
            state = {**state, "TimeoutSeconds": seconds}
        return execute(state, given, execution, context)

    stepfunctions._execute_task = execute_computed


def _find_task_tokens() -> None:
    """AWS checks SendTaskSuccess for the state machine whose task waits; ministack for any resource at all."""
    wait, extract = stepfunctions._invoke_with_callback, iam_actions.extract_resource_arn
    machines: dict[str, str] = {}

    def wait_known(resource: str, arguments: Any, token: str, state: dict[str, Any]) -> Any:
        execution = _execution.get()
        if execution is not None:
            machines[token] = execution["stateMachineArn"]
        try:
            return wait(resource, arguments, token, state)
        finally:
            machines.pop(token, None)

    def extract_known(service: str, method: str, path: str, headers: Any, body: bytes, *rest: Any) -> Any:
        if service == "states" and ".SendTask" in headers.get("x-amz-target", ""):
            return machines.get(json.loads(body).get("taskToken"), "*")
        return extract(service, method, path, headers, body, *rest)

    stepfunctions._invoke_with_callback = wait_known
    iam_actions.extract_resource_arn = extract_known


def _refuse_what_is_not_json() -> None:
    """AWS takes events whose Detail is a JSON object, and executions whose input is JSON; ministack takes any text."""
    # As jsonata does with its first expression: what is too deep does not depend on what came before.
    sys.setrecursionlimit(10_000)
    put, start = eventbridge._put_events, stepfunctions._start_execution

    def put_well_formed(data: dict[str, Any], *args: Any, **kwargs: Any) -> Response:
        entries: list[Any] = data.get("Entries", [])
        refused = {
            number: {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
            for number, entry in enumerate(entries)
            if not isinstance(_json(entry.get("Detail")), dict)
        }
        taken = [entry for number, entry in enumerate(entries) if number not in refused]
        status, headers, body = put({**data, "Entries": taken}, *args, **kwargs)
        if not refused or status != 200:
            return status, headers, body
        answer = json.loads(body)
        for number, error in refused.items():
            answer["Entries"].insert(number, error)
        answer["FailedEntryCount"] += len(refused)
        return status, headers, json.dumps(answer).encode()

    def start_well_formed(data: dict[str, Any]) -> Response:
        if _json(data.get("input", "{}")) is _NO_JSON:
            error = {
                "__type": "InvalidExecutionInput",
                "message": "Invalid State Machine Execution Input: it is not JSON, or too deep",
            }
            return 400, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(error).encode()
        answer: Response = start(data)
        return answer

    eventbridge._put_events, stepfunctions._start_execution = put_well_formed, start_well_formed


_NO_JSON = object()


def _json(text: object) -> object:
    """Return what ``text`` is in JSON, which has no NaN and no Infinity, or ``_NO_JSON``."""

    def refuse(constant: str) -> object:
        raise ValueError(constant)

    try:
        return json.loads(text, parse_constant=refuse) if isinstance(text, str) else _NO_JSON
    except (ValueError, RecursionError):
        # Deeper than Python reads at once is too deep: an execution would neither begin nor end. EventBridge takes
        # 1,000 levels (PutEvents, EventBridge API Reference); how many Step Functions takes, nobody says.
        return _NO_JSON


def _start_workflows_as_the_rule() -> None:
    """AWS starts a rule's execution with the rule's role, and what it cannot start goes to the dead-letter queue.

    ministack looks at no role and drops such an event. Nothing is retried here: what fails, fails for good.
    """
    invoke = eventbridge._invoke_target
    delivering: contextvars.ContextVar[Any] = contextvars.ContextVar("delivering")

    def invoke_noting(target: dict[str, Any], event: Any, rule: dict[str, Any], view: Any = None) -> None:
        view = view or eventbridge._pattern_event_view(event)
        token = delivering.set((target, rule, view.event_with_detail()))
        try:
            invoke(target, event, rule, view)
        finally:
            delivering.reset(token)

    def start(state_machine: str, payload: str) -> None:
        target, rule, event = delivering.get()
        if not _allowed(target.get("RoleArn", ":" * 5), "states:StartExecution", state_machine):
            code, message = "NO_PERMISSIONS", f"{target.get('RoleArn')} may not start {state_machine}"
        else:
            status, _, body = stepfunctions._start_execution({"stateMachineArn": state_machine, "input": payload})
            if status < 400:
                return
            error = json.loads(body)
            code, message = str(error.get("__type")), str(error.get("message"))
        queue = target.get("DeadLetterConfig", {}).get("Arn")
        if queue is None:
            return
        eventbridge._dispatch_to_sqs(eventbridge.parse_arn(queue), json.dumps(event))
        attributes = {
            "RULE_ARN": rule["Arn"],
            "TARGET_ARN": state_machine,
            "ERROR_CODE": code,
            "ERROR_MESSAGE": message,
        }
        sqs._queue_by_arn(queue)["messages"][-1]["message_attributes"] = {
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
        }

    eventbridge._invoke_target = invoke_noting
    eventbridge._dispatch_to_stepfunctions = start


def _serve_agentcore(agents: AgentHost) -> None:
    """AgentCore's data plane only echoes; ours runs the agent, behind ministack's own authorisation."""

    def invoke(runtime: dict[str, Any], headers: dict[str, str], body: bytes) -> Response:
        session_id = headers.get("x-amzn-bedrock-agentcore-runtime-session-id", "")
        status, answer = agents.invoke(runtime, session_id, body)
        if name := {
            402: "ServiceQuotaExceededException",
            429: "ThrottlingException",
            500: "InternalServerException",
        }.get(status):
            error = {"__type": name, "message": answer.decode(errors="replace")[:1000]}
            return status, {"Content-Type": "application/json"}, json.dumps(error).encode()
        if status >= 400:
            # AgentCore hides the agent's own status behind this error.
            message = f"Received error ({status}) from runtime: {answer.decode(errors='replace')[:1000]}"
            error = {"__type": "RuntimeClientError", "message": message}
            return 424, {"Content-Type": "application/json"}, json.dumps(error).encode()
        told = {"Content-Type": "application/json", "x-amzn-bedrock-agentcore-runtime-session-id": session_id}
        return 200, told, answer

    def stop_task(resource: str, arguments: dict[str, Any]) -> dict[str, Any]:
        arn, session_id = arguments["AgentRuntimeArn"], arguments["RuntimeSessionId"]
        _authorise("BedrockAgentCore.AccessDeniedException", "bedrock-agentcore:StopRuntimeSession", arn)
        if not agents.stop_session(arn, session_id):
            raise stepfunctions._ExecutionError("BedrockAgentCore.ResourceNotFoundException", NO_SUCH_SESSION)
        return {"RuntimeSessionId": session_id, "StatusCode": 200}

    async def stop(path: str, headers: Mapping[str, str], body: bytes) -> Response:
        session_id = headers.get("x-amzn-bedrock-agentcore-runtime-session-id", "")
        arn = path.removeprefix("/runtimes/").removesuffix("/stopruntimesession")
        if await asyncio.to_thread(agents.stop_session, arn, session_id):
            return 200, {"x-amzn-bedrock-agentcore-runtime-session-id": session_id}, b"{}"
        error = {"Content-Type": "application/json", "x-amzn-errortype": "ResourceNotFoundException"}
        return 404, error, json.dumps({"message": NO_SUCH_SESSION}).encode()

    create = bedrock_agentcore._create_agent_runtime

    def create_and_prepare(body: bytes) -> Response:
        agents.prepare()
        created: Response = create(body)
        return created

    bedrock_agentcore._create_agent_runtime = create_and_prepare
    bedrock_agentcore._invoke_agent_runtime_in_owner = invoke
    task = "arn:aws:states:::aws-sdk:bedrockagentcore:stopRuntimeSession"
    stepfunctions._SERVICE_DISPATCH[task] = stop_task
    route, action = r"/runtimes/.+/stopruntimesession", "bedrock-agentcore:StopRuntimeSession"
    _serve("bedrock-agentcore", "POST", route, (), action, stop)
    # Asked for the runtime and its endpoint, as an invocation is, and not for any resource at all.
    find_runtime = iam_actions._agentcore_runtime_arn
    iam_actions._agentcore_runtime_arn = lambda path: find_runtime(path.replace("/stopruntimesession", "/invocations"))


def _serve_bedrock() -> None:
    """Converse answers with an echo and wants bedrock:Converse; AWS wants bedrock:InvokeModel, and a model answers."""

    async def converse(path: str, headers: Mapping[str, str], body: bytes) -> Response:
        model_id = path.removeprefix("/model/").removesuffix("/converse")
        return await asyncio.to_thread(scripted_model.answer, model_id, body)

    # The path comes decoded, and the ARN of an inference profile holds a slash.
    _serve("bedrock-runtime", "POST", r"/model/.+/converse", (), "bedrock:InvokeModel", converse)


def _list_provisioned_concurrency() -> None:
    """ListProvisionedConcurrencyConfigs is taken for a Get without a qualifier."""
    route = r"/2019-09-30/functions/[^/]+/provisioned-concurrency"

    async def answer(path: str, given: Mapping[str, str], body: bytes) -> Response:
        headers = {"Content-Type": "application/json"}
        name, _ = lambda_svc._resolve_request_scoped_name_and_qualifier(path.split("/")[3])
        function = lambda_svc._functions.get(name)
        if function is None:
            headers["x-amzn-errortype"] = "ResourceNotFoundException"
            return 404, headers, json.dumps({"message": f"Function not found: {name}"}).encode()
        configurations = [
            {"FunctionArn": f"{function['config']['FunctionArn']}:{qualifier}", **item}
            for qualifier, item in function.get("provisioned_concurrency", {}).items()
        ]
        return 200, headers, json.dumps({"ProvisionedConcurrencyConfigs": configurations}).encode()

    _serve("lambda", "GET", route, ("List",), "lambda:ListProvisionedConcurrencyConfigs", answer)


def _write_one_item_at_a_time() -> None:
    """A write of DynamoDB is atomic; ministack reads, changes and stores an item, in the threads of many executions."""
    lock = threading.RLock()

    def alone(write: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def written(data: Any) -> Any:
            with lock:
                return write(data)

        return written

    for name in ("_put_item", "_update_item", "_delete_item", "_batch_write_item", "_transact_write_items"):
        setattr(dynamodb, name, alone(getattr(dynamodb, name)))


def _keep_metrics() -> None:
    """CloudWatch keeps hourly and daily values for 455 days; ministack forgets all of them after two weeks."""
    cloudwatch.TWO_WEEKS_SECONDS = 455 * 86_400


def _look_metrics_up() -> None:
    """ministack goes through all metrics for every query: minutes for the 7,000 of a thousand functions.

    AWS differs in nothing but time.
    """
    get = cloudwatch._get_metric_data

    def get_asked(params: Any, given: dict[str, Any], *protocol: bool) -> Any:
        metrics = [query.get("MetricStat", {}).get("Metric", {}) for query in given.get("MetricDataQueries", [])]
        if not all(metric.get("Dimensions") for metric in metrics):
            return get(params, given, *protocol)
        dimensions = (cloudwatch._dims_key(cloudwatch._dims_from_list(metric["Dimensions"])) for metric in metrics)
        keys = {
            (metric.get("Namespace", ""), metric.get("MetricName", ""), key)
            for metric, key in zip(metrics, dimensions, strict=True)
        }
        asked = {key: points for key in keys if (points := cloudwatch._metrics.get(key)) is not None}
        # The same function over fewer metrics, without a change that another thread could see.
        over = types.FunctionType(get.__code__, {**get.__globals__, "_metrics": asked}, argdefs=get.__defaults__)
        return over(params, given, *protocol)

    cloudwatch._get_metric_data = get_asked


def _give_expressions_time() -> None:
    """Under load, an expression may wait longer for its turn than the second that ministack gives it."""
    compile_expression = stepfunctions.jsonata.Jsonata.jsonata

    def patient(expression: str, timeout: int = 0) -> Any:
        return compile_expression(expression, timeout=max(timeout, EXPRESSION_MILLISECONDS))

    stepfunctions.jsonata.Jsonata.jsonata = staticmethod(patient)


def _refuse_what_is_missing() -> None:
    """A service that it lacks ministack looks up in all that botocore describes, for seconds, and asks IAM nothing."""
    missing = {
        "pricing": "AWSPriceListService",
        "compute-optimizer": "ComputeOptimizerService",
        "servicequotas": "ServiceQuotasV20190624",
    }
    exists = router._is_aws_service_name
    router._is_aws_service_name = lambda name: name in missing or exists(name)
    router.SERVICE_PATTERNS.update({name: {"target_prefixes": [prefix]} for name, prefix in missing.items()})
    iam_actions.SERVICE_TO_IAM_NAMESPACE.update({name: name for name in missing})


def _serve(
    service: str,
    method: str,
    route: str,
    query: Collection[str],
    action: str,
    answer: Callable[[str, Mapping[str, str], bytes], Awaitable[Response]],
) -> None:
    """Have ``answer`` serve the requests to ``route`` with ``query`` keys, of callers who may do ``action``."""
    extract, handle = iam_actions.extract_iam_action, ministack_app.SERVICE_HANDLERS[service]

    def ours(verb: str, path: str, given: Collection[str]) -> bool:
        return verb == method and re.fullmatch(route, path) is not None and set(query) <= set(given)

    def extract_action(name: str, verb: str, path: str, headers: Any, body: bytes, given: Any) -> Any:
        if name == service and ours(verb, path, given):
            return action
        return extract(name, verb, path, headers, body, given)

    async def serve(verb: str, path: str, headers: Any, body: bytes, given: Any) -> Any:
        if ours(verb, path, given):
            return await answer(path, headers, body)
        return await handle(verb, path, headers, body, given)

    iam_actions.extract_iam_action = extract_action
    ministack_app.SERVICE_HANDLERS[service] = serve

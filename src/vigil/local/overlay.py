"""What the embedded AWS does unlike AWS and we mend, each patch small, pinned to its version, with a conformance test.

ministack is MIT licensed and good at what it does; these are the places where a Vigil session would see a difference.
Import this module before the server starts. ``docs/verification.md`` lists what stays different.
"""

import asyncio
import contextvars
import json
import re
from collections.abc import Awaitable, Callable, Collection
from importlib.metadata import version
from typing import Any

from ministack import app as ministack_app
from ministack.core import iam_actions, iam_evaluator, lambda_runtime
from ministack.services import bedrock_agentcore, cloudwatch, lambda_svc, stepfunctions

from vigil.errors import LocalStackError
from vigil.local import model
from vigil.local.agentcore import AgentHost

MENDED_VERSION = "1.5.33"
EXPRESSION_MILLISECONDS = 60_000

Response = tuple[int, dict[str, str], bytes]

_execution: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar("execution", default=None)


def install(agents: AgentHost) -> None:
    """Apply every patch; ``agents`` runs what AgentCore is asked to invoke."""
    if (found := version("ministack")) != MENDED_VERSION:
        raise LocalStackError(f"the local stack needs ministack {MENDED_VERSION}, not {found}: run make install")
    _name_lambda_errors()
    _enforce_state_machine_role()
    _serve_agentcore(agents)
    _serve_bedrock()
    _list_provisioned_concurrency()
    _keep_metrics()
    _give_expressions_time()


def _name_lambda_errors() -> None:
    """AWS names a failed Lambda task by the exception's class; ministack calls each one Runtime.HandlerError."""
    plain, named = '"error": str(e), "trace"', '"error": str(e), "etype": type(e).__name__, "trace"'
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    if plain not in script:
        raise LocalStackError("the embedded AWS changed: its Lambda worker reports errors in another way")
    lambda_runtime._PYTHON_WORKER_SCRIPT = script.replace(plain, named)
    last_type: contextvars.ContextVar[str | None] = contextvars.ContextVar("last_type", default=None)
    invoke, execute = lambda_runtime.Worker.invoke, lambda_svc._execute_function_warm

    def invoke_and_note(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = invoke(self, *args, **kwargs)
        last_type.set(result.get("etype"))
        return result

    def execute_and_name(*args: Any, **kwargs: Any) -> Any:
        last_type.set(None)
        result = execute(*args, **kwargs)
        body, name = result.get("body"), last_type.get()
        if result.get("error") and isinstance(body, dict) and body.get("errorType") == "Runtime.HandlerError" and name:
            body["errorType"] = name
        return result

    lambda_runtime.Worker.invoke = invoke_and_note
    lambda_svc._execute_function_warm = execute_and_name


def _enforce_state_machine_role() -> None:
    """AWS runs a task with the state machine's role; ministack never looks at it.

    Covers the integrations of Vigil's workflow: optimized DynamoDB, and Lambda.
    """
    run, dynamodb, call_lambda = (
        stepfunctions._run_execution,
        stepfunctions._invoke_dynamodb,
        stepfunctions._call_lambda,
    )

    def run_noting(execution_arn: str) -> Any:
        # ministack copies the context into every thread that it starts for a task or a branch.
        token = _execution.set(stepfunctions._executions.get(execution_arn))
        try:
            return run(execution_arn)
        finally:
            # A synchronous execution runs in the thread of whoever asked for it, which may be an execution itself.
            _execution.reset(token)

    def authorise(error: str, action: str, resource: str) -> None:
        execution = _execution.get()
        if execution is None:
            return
        role = stepfunctions._state_machines[execution["stateMachineArn"]]["roleArn"]
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
        if iam_evaluator.evaluate(context, policies).decision != "Allow":
            raise stepfunctions._ExecutionError(
                error, f"User: {role} is not authorized to perform: {action} on resource: {resource}"
            )

    def dynamodb_authorised(operation: str, arguments: dict[str, Any]) -> Any:
        table = arguments.get("TableName", "")
        if not table.startswith("arn:"):
            table = f"arn:aws:dynamodb:{stepfunctions.get_region()}:{stepfunctions.get_account_id()}:table/{table}"
        action = f"dynamodb:{operation[0].upper()}{operation[1:]}"
        # Not AccessDeniedException: the DynamoDB integration has no name of its own for a denial.
        authorise("DynamoDB.AmazonDynamoDBException", action, table)
        return dynamodb(operation, arguments)

    def lambda_authorised(function: str, event: Any) -> Any:
        arn = function
        if not arn.startswith("arn:"):
            arn = f"arn:aws:lambda:{stepfunctions.get_region()}:{stepfunctions.get_account_id()}:function:{function}"
        authorise("Lambda.AWSLambdaException", "lambda:InvokeFunction", arn)
        return call_lambda(function, event)

    stepfunctions._run_execution = run_noting
    stepfunctions._invoke_dynamodb = dynamodb_authorised
    stepfunctions._call_lambda = lambda_authorised


def _serve_agentcore(agents: AgentHost) -> None:
    """AgentCore's data plane only echoes; ours runs the agent, behind ministack's own authorisation."""

    def invoke(runtime: dict[str, Any], headers: dict[str, str], body: bytes) -> Response:
        session_id = headers.get("x-amzn-bedrock-agentcore-runtime-session-id", "")
        status, answer = agents.invoke(runtime, session_id, body)
        if status >= 400:
            # AgentCore hides the agent's own status behind this error.
            message = f"Received error ({status}) from runtime: {answer.decode(errors='replace')[:1000]}"
            error = {"__type": "RuntimeClientError", "message": message}
            return 424, {"Content-Type": "application/json"}, json.dumps(error).encode()
        told = {"Content-Type": "application/json", "x-amzn-bedrock-agentcore-runtime-session-id": session_id}
        return 200, told, answer

    bedrock_agentcore._invoke_agent_runtime_in_owner = invoke


def _serve_bedrock() -> None:
    """Converse answers with an echo and wants bedrock:Converse; AWS wants bedrock:InvokeModel, and a model answers."""

    async def converse(path: str, body: bytes) -> Response:
        model_id = path.removeprefix("/model/").removesuffix("/converse")
        return await asyncio.to_thread(model.answer, model_id, body)

    # The path comes decoded, and the ARN of an inference profile holds a slash.
    _serve("bedrock-runtime", "POST", r"/model/.+/converse", (), "bedrock:InvokeModel", converse)


def _list_provisioned_concurrency() -> None:
    """ListProvisionedConcurrencyConfigs is taken for a Get without a qualifier, and wants lambda:GetFunction."""
    route = r"/2019-09-30/functions/[^/]+/provisioned-concurrency"

    async def answer(path: str, body: bytes) -> Response:
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


def _keep_metrics() -> None:
    """CloudWatch keeps hourly and daily values for 455 days; ministack forgets all of them after two weeks."""
    cloudwatch.TWO_WEEKS_SECONDS = 455 * 86_400


def _give_expressions_time() -> None:
    """Under load, an expression may wait longer for its turn than the second that ministack gives it."""
    compile_expression = stepfunctions.jsonata.Jsonata.jsonata

    def patient(expression: str, timeout: int = 0) -> Any:
        return compile_expression(expression, timeout=max(timeout, EXPRESSION_MILLISECONDS))

    stepfunctions.jsonata.Jsonata.jsonata = staticmethod(patient)


def _serve(
    service: str,
    method: str,
    route: str,
    query: Collection[str],
    action: str,
    answer: Callable[[str, bytes], Awaitable[Response]],
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
            return await answer(path, body)
        return await handle(verb, path, headers, body, given)

    iam_actions.extract_iam_action = extract_action
    ministack_app.SERVICE_HANDLERS[service] = serve

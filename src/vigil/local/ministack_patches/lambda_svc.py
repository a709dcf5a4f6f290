"""Lambda: names of errors, concurrency, environments, credentials, and the list of provisioned concurrency."""

import contextvars
import json
import threading
from collections.abc import Mapping
from functools import cache
from typing import Any

from ministack.core import lambda_runtime
from ministack.core.responses import error_response_json
from ministack.services import lambda_svc

from vigil.errors import LocalStackError
from vigil.local.agentcore import draw_role_credentials
from vigil.local.ministack_patches.patching import at_install, replaces, serves

slots = threading.Semaphore(4)
"""One for each function that runs. Each is a process, and its start takes as long as the work of two sessions."""
SLOT_SECONDS = 30  # how long an invocation waits for a slot; less than the workflow waits for the invocation
REUSE_SECONDS = 1.0  # how long an invocation waits for an environment; most invocations take a tenth of that

_READ_EVENT = """\
        try:
            _ms_msg = json.loads(line)
        except RecursionError as e:
            _ms_error = {"raised": "Runtime.UnmarshalError", "error": f"Unable to unmarshal input: {e}"}
            _real_stdout.write(json.dumps({"status": "ok", **_ms_error}) + "\\n")
            _real_stdout.flush()
            continue
"""

_LISTING = r"/2019-09-30/functions/[^/]+/provisioned-concurrency"
_raised: contextvars.ContextVar[str | None] = contextvars.ContextVar("raised", default=None)
"""The name of the error that the current invocation raised."""


@at_install
def report_error_class() -> None:
    """AWS names an error by its class, and keeps the environment of a function that raised or cannot read its event.

    ministack gives all errors one name and starts another environment. With the status "ok" it keeps the environment.
    """
    without_class = '"status": "error", "error": str(e), "trace"'
    with_class = '"status": "ok", "raised": type(e).__name__, "error": str(e), "trace"'
    read_event = "        _ms_msg = json.loads(line)\n"
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    if without_class not in script or read_event not in script:
        raise LocalStackError("the embedded AWS changed: its Lambda worker reads or reports in another way")
    lambda_runtime._PYTHON_WORKER_SCRIPT = script.replace(without_class, with_class).replace(read_event, _READ_EVENT)


@replaces(lambda_runtime.Worker, "invoke")
def note_error_class(invoke: Any, worker: Any, *args: Any, **kwargs: Any) -> Any:
    """Note the class that the worker reports, for `name_error`."""
    result = invoke(worker, *args, **kwargs)
    _raised.set(result.get("raised"))
    return {**result, "status": "error"} if "raised" in result else result


@replaces(lambda_svc, "_execute_function_warm")
def name_error(execute: Any, *args: Any, **kwargs: Any) -> Any:
    """AWS names a failure by the exception's class or the function's exit; ministack by one name for all."""
    _raised.set(None)
    result = execute(*args, **kwargs)
    body = result.get("body")
    if result.get("error") and isinstance(body, dict) and body.get("errorType") == "Runtime.HandlerError":
        died = body["errorMessage"] == "Worker process died"
        body["errorType"] = _raised.get() or ("Runtime.ExitError" if died else body["errorType"])
    return result


@replaces(lambda_svc, "_acquire_execution_slot")
def wait_for_slot(acquire: Any, *args: Any) -> Any:
    """AWS refuses an invocation without free concurrency; here an invocation waits first, as there are few slots."""
    if not slots.acquire(timeout=SLOT_SECONDS):
        return None, "account"
    slot, limit = acquire(*args)
    if slot is None:
        slots.release()
    return slot, limit


@replaces(lambda_svc, "_release_execution_slot")
def release_slot(release: Any, slot: Any) -> None:
    """Give back the slot of `wait_for_slot`."""
    release(slot)
    if slot is not None:
        slots.release()


_released = threading.Condition()


@replaces(lambda_svc, "acquire_worker")
def await_environment(acquire: Any, name: str, config: dict[str, Any], code: bytes, qualifier: str) -> Any:
    """AWS starts another environment if all are in use; here one is free again before another one could start."""
    key = lambda_runtime._worker_key(name, config, qualifier)

    def is_free() -> bool:
        environments = lambda_runtime._workers.get(key)
        return not environments or any(not environment.in_use for environment in environments)

    with _released:
        _released.wait_for(is_free, REUSE_SECONDS)
        if qualifier == "$LATEST":
            # The function may have changed in the meantime, or be gone: then the caller tries again, and is told so.
            if (current := lambda_svc._functions.get(name)) is None:
                return None, "func_cap"
            config, code = current["config"], current["code_zip"]
        return acquire(name, config, code, qualifier)


@replaces(lambda_svc, "release_worker")
def tell_who_waits(release: Any, environment: Any) -> None:
    """Wake the invocations that wait for an environment."""
    release(environment)
    with _released:
        _released.notify_all()


@replaces(lambda_svc, "execution_credentials")
@replaces(lambda_runtime, "execution_credentials")
def draw_credentials(compute: Any, config: dict[str, Any]) -> dict[str, str]:
    """AWS draws a function's credentials; ministack computes them from the names of function and role."""
    drawn = _credentials(config["FunctionArn"], config["Role"], config["FunctionName"][:64])
    return {
        "AWS_ACCESS_KEY_ID": drawn["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": drawn["SecretAccessKey"],
        "AWS_SESSION_TOKEN": drawn["Token"],
    }


@cache
def _credentials(function: str, role: str, session_name: str) -> dict[str, str]:
    # One for all environments of a function, as their sessions do not expire.
    return draw_role_credentials(role, session_name)


@serves("lambda", "GET", _LISTING, query_keys=("List",), action="lambda:ListProvisionedConcurrencyConfigs")
async def list_provisioned_concurrency(path: str, headers: Mapping[str, str], body: bytes) -> Any:
    """AWS lists a function's provisioned concurrency; ministack takes that request for a Get without a qualifier."""
    name, _ = lambda_svc._resolve_request_scoped_name_and_qualifier(path.split("/")[3])
    function = lambda_svc._functions.get(name)
    if function is None:
        return error_response_json("ResourceNotFoundException", f"Function not found: {name}", 404)
    arn, items = function["config"]["FunctionArn"], function.get("provisioned_concurrency", {}).items()
    configurations = [{"FunctionArn": f"{arn}:{qualifier}", **item} for qualifier, item in items]
    content_type = {"Content-Type": "application/json"}
    return 200, content_type, json.dumps({"ProvisionedConcurrencyConfigs": configurations}).encode()

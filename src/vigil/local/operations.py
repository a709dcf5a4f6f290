"""Which requests of a role the embedded AWS takes: those whose operation is the one that IAM is asked about.

ministack asks IAM about the ``Action`` parameter or the ``X-Amz-Target`` header of any service's request, and carries
out the operation of the path. It carries out a request without an action of IAM without asking. AWS does neither.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from botocore.exceptions import UnknownServiceError
from botocore.loaders import Loader
from ministack.core import iam_actions, router
from starlette.types import Scope

FORM = "application/x-www-form-urlencoded"
# Operations whose permission has another name, by the Service Authorization Reference.
RENAMED = {"Invoke": "InvokeFunction", "Converse": "InvokeModel"}
# The names of services in botocore, where they differ from ministack's.
BOTOCORE_NAMES = {"monitoring": "cloudwatch", "servicequotas": "service-quotas", "states": "stepfunctions"}

PASSES_ROLE = re.compile(
    r"(pipes|scheduler):(Create|Update)\w+|states:(Create|Update)StateMachine|states:TestState|events:PutTargets"
    r"|lambda:(CreateFunction|UpdateFunctionConfiguration)|bedrock-agentcore:(Create|Update)AgentRuntime"
)
"""Actions that pass a role to a service, which then acts with that role: ministack does not ask for iam:PassRole."""

_OF_OBJECT = iam_actions._S3_OBJECT_QUERY_ACTIONS.keys()
_OBJECT_SUBRESOURCES = _OF_OBJECT | {"uploads", "uploadId", "restore"}
S3_SUBRESOURCES = _OF_OBJECT | iam_actions._S3_QUERY_ACTIONS.keys() | iam_actions._S3_BUCKET_QUERY_ACTIONS.keys()
S3_SUBRESOURCES |= {"request-payment"}


def refusal(
    signed_for: str, scope: Scope, query: Mapping[str, list[str]], headers: Mapping[str, str], body: bytes
) -> str | None:
    """Return why a request that is signed for a service is refused, or None if IAM can decide about it."""
    method, path, raw_path = scope["method"], scope["path"], scope["raw_path"].decode("latin-1")
    form: dict[str, list[str]] = {}
    if "x-www-form-urlencoded" in (content_type := headers.get("content-type", "")).lower():
        if not content_type.startswith(FORM) or "content-encoding" in headers:
            return f"parameters in a body must be plain {FORM}"
        form = parse_qs(body.decode(errors="replace"), keep_blank_values=True)
    parameters = {**form, **query}
    service = router.detect_service(method, path, dict(headers), parameters)
    if signed_for not in (service, iam_actions.SERVICE_TO_IAM_NAMESPACE.get(service)):
        return f"it is signed for {signed_for} and asks {service}"
    action = iam_actions.extract_iam_action(service, method, path, dict(headers), body, parameters)
    if action is None or PASSES_ROLE.fullmatch(action):
        return f"only the root may use {action or 'what IAM has no action for here'}"
    target, actions = headers.get("x-amz-target"), [*query.get("Action", ()), *form.get("Action", ())]
    if target is not None:
        is_plain = not parameters and raw_path == "/" and _is_plain_json(service, target, body)
    elif actions:
        # ministack asks IAM about the query's action, and carries out the body's.
        is_unique = not (query and (form or body)) and all(len(values) == 1 for values in parameters.values())
        is_plain = is_unique and raw_path == "/" and _is_plain_query(service, actions[0], parameters)
    elif service == "s3":
        # ministack takes any parameter with such a name for a subresource. Of two subresources it may check one and use
        # the other; for a bucket it also checks those of an object, and the reverse.
        depth = len([part for part in path.split("/") if part])
        subresources = S3_SUBRESOURCES & query.keys()
        known = _OBJECT_SUBRESOURCES if depth > 1 else S3_SUBRESOURCES - {"request-payment"}
        is_plain_path = "//" not in path and not path.startswith("/_")
        is_plain = not form and is_plain_path and len(subresources) <= 1 and subresources <= known
    else:
        operation = _rest_operation(service, method, raw_path, query)
        is_plain = operation is not None and RENAMED.get(operation, operation) == action.partition(":")[2]
    return None if is_plain else f"it is no plain request for {action}"


def _is_plain_json(service: str, target: str, body: bytes) -> bool:
    """Whether ``target`` is an operation of the service, and ``body`` an object of only that operation's members.

    ministack may take the resource about which it asks IAM from a member of another operation.
    """
    prefix, _, operation = target.rpartition(".")
    model = model_of(service)
    if not prefix or model.get("metadata", {}).get("targetPrefix") != prefix:
        return False
    try:
        document = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return False
    members = _members(model, operation)
    return members is not None and isinstance(document, dict) and document.keys() <= members


def _is_plain_query(service: str, operation: str, parameters: Mapping[str, list[str]]) -> bool:
    """Whether ``operation`` is one of a service of the query protocol, and all parameters are its members."""
    if iam_actions._SERVICE_PROTOCOL.get(service) != "query-xml":
        return False
    members = _members(model_of(service), operation)
    return members is not None and {name.partition(".")[0] for name in parameters} <= members | {"Action", "Version"}


def _members(model: Mapping[str, Any], operation: str) -> frozenset[str] | None:
    """Return the names of the members of an operation's input; None if there is no such operation."""
    description = model.get("operations", {}).get(operation)
    if description is None:
        return None
    shape = description.get("input", {}).get("shape")
    return frozenset(model["shapes"][shape]["members"] if shape else ())


@cache
def model_of(service: str) -> Mapping[str, Any]:
    """Return AWS's own model of a service; empty if botocore has none of that name."""
    try:
        model: Mapping[str, Any] = Loader().load_service_model(BOTOCORE_NAMES.get(service, service), "service-2")
    except UnknownServiceError:
        return {}
    return model


def _rest_operation(service: str, method: str, raw_path: str, query: Mapping[str, Any]) -> str | None:
    """Return the operation of a method and a path as it was sent, by AWS's own model."""
    if "%2f" in raw_path.lower() and not service.startswith("bedrock"):
        # Only the ARN of a model or a runtime has a slash. Elsewhere a slash would end a name: ministack decodes first.
        return None
    matching = [
        (len(required), literals, operation)
        for verb, pattern, required, literals, operation in _routes(service)
        if verb == method and pattern.fullmatch(raw_path) and all(query.get(key) == value for key, value in required)
    ]
    return max(matching)[2] if matching else None


@cache
def _routes(service: str) -> list[tuple[str, re.Pattern[str], list[tuple[str, Any]], int, str]]:
    """Return (method, pattern of the path, required query, number of literal segments, operation) of each operation."""
    routes = []
    for model in iam_actions._BOTOCORE_SERVICE_MAP.get(service, []):
        for operation, description in model_of(model)["operations"].items():
            path, _, query = description["http"]["requestUri"].partition("?")
            segments = path.rstrip("/").split("/")
            pattern = "/".join(
                ".+" if segment.endswith("+}") else "[^/]+" if segment.startswith("{") else re.escape(segment)
                for segment in segments
            )
            required = list(parse_qs(query, keep_blank_values=True).items())
            literals = sum(not segment.startswith("{") for segment in segments)
            routes.append((description["http"]["method"], re.compile(pattern + "/?"), required, literals, operation))
    return routes

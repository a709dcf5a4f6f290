"""What a role may ask of the embedded AWS: requests of which IAM checks the same operation that is then carried out.

ministack asks IAM about an ``Action`` parameter or an ``X-Amz-Target`` header that any service's request may carry, and
carries out what the path says. What it finds no action for it carries out without asking. Neither is so on AWS.
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

FORM = "application/x-www-form-urlencoded"
RENAMED = {"Invoke": "InvokeFunction", "Converse": "InvokeModel"}
"""Operations whose permission has another name, by the Service Authorization Reference."""

MODELS = {"monitoring": "cloudwatch", "servicequotas": "service-quotas", "states": "stepfunctions"}
"""Names of services in botocore, where they are other ones."""

FOR_THE_CALLER = re.compile(
    r"(pipes|scheduler):(Create|Update)\w+|states:(Create|Update)StateMachine|states:TestState|events:PutTargets"
    r"|lambda:(CreateFunction|UpdateFunctionConfiguration)|bedrock-agentcore:(Create|Update)AgentRuntime"
)
"""Actions that pass a role on to a service, which then acts with it: ministack asks for no iam:PassRole."""

_LEVELS = (iam_actions._S3_BUCKET_QUERY_ACTIONS, iam_actions._S3_OBJECT_QUERY_ACTIONS)
_OF_ANY = iam_actions._S3_QUERY_ACTIONS.keys()
_OF_OBJECTS = iam_actions._S3_OBJECT_QUERY_ACTIONS.keys() | {"uploads", "uploadId", "restore"}
S3_SUBRESOURCES = frozenset({"request-payment", *_OF_ANY, *(name for level in _LEVELS for name in level)})


def refusal(
    signed_for: str,
    method: str,
    raw_path: str,
    path: str,
    query: Mapping[str, list[str]],
    headers: Mapping[str, str],
    body: bytes,
) -> str | None:
    """Return why a request that is signed for a service cannot be authorised, or None if IAM can answer."""
    form: dict[str, list[str]] = {}
    if "x-www-form-urlencoded" in (content_type := headers.get("content-type", "")).lower():
        if not content_type.startswith(FORM) or "content-encoding" in headers:
            return f"parameters in a body must be plain {FORM}"
        form = parse_qs(body.decode(errors="replace"), keep_blank_values=True)
    given = {**form, **query}
    service = router.detect_service(method, path, dict(headers), given)
    if signed_for not in (service, iam_actions.SERVICE_TO_IAM_NAMESPACE.get(service)):
        return f"it is signed for {signed_for} and asks {service}"
    action = iam_actions.extract_iam_action(service, method, path, dict(headers), body, given)
    if action is None or FOR_THE_CALLER.fullmatch(action):
        return f"only the root may use {action or 'what IAM has no action for here'}"
    target, actions = headers.get("x-amz-target"), [*query.get("Action", ()), *form.get("Action", ())]
    if target is not None:
        fits = not given and raw_path == "/" and _fits_json(service, target, body)
    elif actions:
        # ministack prefers the query where it asks IAM, and the body where it carries out.
        once = not (query and (form or body)) and all(len(values) == 1 for values in given.values())
        fits = once and raw_path == "/" and _fits_query(service, actions[0], given)
    elif service == "s3":
        # To ministack, any parameter of that name is a subresource. Of two it takes one for IAM and any for itself, and
        # for IAM also those of the other level.
        depth = len([part for part in path.split("/") if part])
        named = S3_SUBRESOURCES & query.keys()
        known = _OF_OBJECTS if depth > 1 else S3_SUBRESOURCES - {"request-payment"}
        fits = not form and "//" not in path and not path.startswith("/_") and len(named) <= 1 and named <= known
    else:
        operation = _rest_operation(service, method, raw_path, query)
        fits = operation is not None and RENAMED.get(operation, operation) == action.partition(":")[2]
    return None if fits else f"it is no plain request for {action}"


def _fits_json(service: str, target: str, body: bytes) -> bool:
    """Whether ``target`` is an operation of the service, and ``body`` an object of its members and no others.

    Of members that belong to other operations, ministack takes the resource about which it asks IAM.
    """
    prefix, _, operation = target.rpartition(".")
    model = _model(service)
    if not prefix or model.get("metadata", {}).get("targetPrefix") != prefix:
        return False
    try:
        given = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return False
    members = _members(model, operation)
    return members is not None and isinstance(given, dict) and given.keys() <= members


def _fits_query(service: str, operation: str, given: Mapping[str, list[str]]) -> bool:
    """Whether ``operation`` is one of a service of the query protocol, and all parameters are its members."""
    if iam_actions._SERVICE_PROTOCOL.get(service) != "query-xml":
        return False
    members = _members(_model(service), operation)
    return members is not None and {name.partition(".")[0] for name in given} <= members | {"Action", "Version"}


def _members(model: Mapping[str, Any], operation: str) -> frozenset[str] | None:
    """Return the names of the members of an operation's input; None if there is no such operation."""
    found = model.get("operations", {}).get(operation)
    if found is None:
        return None
    shape = found.get("input", {}).get("shape")
    return frozenset(model["shapes"][shape]["members"] if shape else ())


@cache
def _model(service: str) -> Mapping[str, Any]:
    """Return AWS's own model of a service; nothing if botocore has none of that name."""
    try:
        model: Mapping[str, Any] = Loader().load_service_model(MODELS.get(service, service), "service-2")
    except UnknownServiceError:
        return {}
    return model


def _rest_operation(service: str, method: str, raw_path: str, query: Mapping[str, Any]) -> str | None:
    """Return the operation that AWS's own model gives for a method and a path as it was sent."""
    if "%2f" in raw_path.lower() and not service.startswith("bedrock"):
        # The ARN of a model or a runtime holds a slash; elsewhere it would end a name, since ministack decodes first.
        return None
    fitting = [
        (len(wanted), literals, operation)
        for verb, pattern, wanted, literals, operation in _routes(service)
        if verb == method and pattern.fullmatch(raw_path) and all(query.get(key) == value for key, value in wanted)
    ]
    return max(fitting)[2] if fitting else None


@cache
def _routes(service: str) -> list[tuple[str, re.Pattern[str], list[tuple[str, Any]], int, str]]:
    """Return (method, pattern of the path, wanted query, number of literal segments, operation) of each operation."""
    routes = []
    for model in iam_actions._BOTOCORE_SERVICE_MAP.get(service, []):
        for operation, described in _model(model)["operations"].items():
            path, _, query = described["http"]["requestUri"].partition("?")
            segments = path.rstrip("/").split("/")
            pattern = "/".join(
                ".+" if segment.endswith("+}") else "[^/]+" if segment.startswith("{") else re.escape(segment)
                for segment in segments
            )
            wanted = list(parse_qs(query, keep_blank_values=True).items())
            literals = sum(not segment.startswith("{") for segment in segments)
            routes.append((described["http"]["method"], re.compile(pattern + "/?"), wanted, literals, operation))
    return routes

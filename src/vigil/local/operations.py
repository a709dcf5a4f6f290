"""What a role may ask of the embedded AWS: requests of which IAM checks the same operation that is then carried out.

ministack asks IAM about an ``Action`` parameter or an ``X-Amz-Target`` header that any service's request may carry, and
carries out what the path says. What it finds no action for it carries out without asking. Neither is so on AWS.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from botocore.loaders import Loader
from ministack.core import iam_actions, router

FORM = "application/x-www-form-urlencoded"
RENAMED = {"Invoke": "InvokeFunction", "Converse": "InvokeModel"}
"""Operations whose permission has another name, by the Service Authorization Reference."""


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
    if action is None:
        return "IAM has no action for it here; only the root may use it"
    actions, target = [*query.get("Action", ()), *form.get("Action", ())], headers.get("x-amz-target")
    if len(actions) + (target is not None) > 1:
        return "it names more than one operation"
    if target is not None:
        prefixes = router.SERVICE_PATTERNS.get(service, {}).get("target_prefixes") or ()
        known = any(re.fullmatch(re.escape(prefix) + r"\.?\w+", target) for prefix in prefixes)
        fits = known and raw_path == "/" and not query
    elif actions:
        asks = iam_actions._SERVICE_PROTOCOL.get(service) in ("query-xml", "ec2-xml") or service == "sqs"
        # ministack prefers the query where it asks IAM, and the body where it carries out.
        fits = asks and not (query and (form or body)) and (raw_path == "/" or service == "sqs")
    elif service == "s3":
        # ministack knows a subresource by the name of a parameter, and of two takes one for IAM and any for itself.
        fits = len(_S3_SUBRESOURCES & query.keys()) <= 1 and not path.startswith("/_")
    else:
        operation = _rest_operation(service, method, raw_path, query)
        fits = operation is not None and RENAMED.get(operation, operation) == action.partition(":")[2]
    return None if fits else f"it is no plain request for {action}"


_S3_SUBRESOURCES = {
    *iam_actions._S3_QUERY_ACTIONS,
    *iam_actions._S3_BUCKET_QUERY_ACTIONS,
    *iam_actions._S3_OBJECT_QUERY_ACTIONS,
}


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
    loader, routes = Loader(), []
    for model in iam_actions._BOTOCORE_SERVICE_MAP.get(service, []):
        for operation, described in loader.load_service_model(model, "service-2")["operations"].items():
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

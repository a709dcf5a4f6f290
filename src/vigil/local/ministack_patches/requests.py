"""Requests to no service in particular: control paths, trailers of a body, and services that ministack lacks."""

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from ministack import app as ministack_app
from ministack.core import iam_actions, responses, router
from ministack.core.responses import error_response_json

from vigil.local.gate import by_root
from vigil.local.ministack_patches.patching import at_install, replaces
from vigil.local.operations import model_of

MISSING_SERVICES = {
    "pricing": "AWSPriceListService",
    "compute-optimizer": "ComputeOptimizerService",
    "application-autoscaling": "AnyScaleFrontendService",
    "servicequotas": "ServiceQuotasV20190624",
}
"""Services that Vigil calls and ministack lacks, with the prefix of their X-Amz-Target header."""

SCALING_LISTS = {
    "DescribeScalableTargets": "ScalableTargets",
    "DescribeScheduledActions": "ScheduledActions",
    "DescribeScalingPolicies": "ScalingPolicies",
}
"""Calls of Application Auto Scaling, with the name of the list in their answer."""


@replaces(
    ministack_app, "_handle_pre_body_request", "_handle_post_body_shortcuts", "_handle_special_data_plane_request"
)
async def handle_for_the_root(handle: Any, *args: Any, **kwargs: Any) -> Any:
    """AWS asks IAM about every request; ministack does not for its own paths and for unsigned data planes.

    Only the root may use those paths here.
    """
    return await handle(*args, **kwargs) if by_root.get() else None


@replaces(ministack_app, "_decode_aws_chunked_body")
def keep_only_checksums_of_trailers(decode: Any, body: bytes, headers: dict[str, str]) -> Any:
    """AWS takes checksums from the trailer of a chunked body; ministack takes any header, even Authorization.

    It does so long after those headers were checked.
    """
    names_before = set(headers)
    decoded = decode(body, headers)
    for name in headers.keys() - names_before:
        if not name.startswith("x-amz-checksum-"):
            del headers[name]
    return decoded


@at_install
def route_missing_services() -> None:
    """AWS asks IAM about every service; ministack does not about services that it lacks. It refuses them either way."""
    router.SERVICE_PATTERNS.update({name: {"target_prefixes": [prefix]} for name, prefix in MISSING_SERVICES.items()})
    iam_actions.SERVICE_TO_IAM_NAMESPACE.update({name: name for name in MISSING_SERVICES})
    ministack_app.SERVICE_HANDLERS["application-autoscaling"] = list_no_scaling


async def list_no_scaling(verb: str, path: str, headers: Mapping[str, str], body: bytes, query: Any) -> Any:
    """AWS lists what Application Auto Scaling changes; nothing here can have it change anything."""
    operation = headers.get("x-amz-target", "").rpartition(".")[2]
    if operation not in SCALING_LISTS:
        return error_response_json("UnsupportedOperation", f"{operation} does not exist here", 400)
    content_type = {"Content-Type": "application/x-amz-json-1.1"}
    return 200, content_type, json.dumps({SCALING_LISTS[operation]: []}).encode()


@replaces(router, "_is_aws_service_name")
def is_service_name(is_known: Any, name: str) -> Any:
    """To find the name of a service that it lacks, ministack loads all of botocore's models, which takes seconds."""
    return name in MISSING_SERVICES or is_known(name)


@replaces(responses, "_service_model")
def read_model(_: Any, service: str) -> Any:
    """To find a service's type of content, ministack has a new session of botocore read what has been read before."""
    name = responses._BOTOCORE_NAME.get(service, service)
    return SimpleNamespace(metadata=model_of(name).get("metadata", {}))

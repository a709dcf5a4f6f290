"""IAM: which action a request needs, and what a role may do."""

from functools import lru_cache
from typing import Any

from ministack.core import iam_actions, iam_evaluator
from ministack.services import stepfunctions

from vigil.local.ministack_patches.patching import at_install, replaces


def is_allowed(role: str, action: str, resource: str, **keys: str) -> bool:
    """Whether the policies of ``role``, an ARN, allow ``action`` on ``resource``, with these condition keys."""
    account = role.split(":")[4]
    region = stepfunctions.get_region()
    who = (role, "AssumedRole", account)
    context = iam_evaluator.EvalContext(*who, action, resource, region, service_context=keys)
    policies = iam_evaluator._gather_role_policies(role.rsplit("/", 1)[-1], account)
    return bool(iam_evaluator.evaluate(context, policies).decision == "Allow")


@at_install
def read_actions_from_botocore() -> None:
    """AWS checks an operation by its name; ministack knows none of AgentCore's control plane."""
    models = iam_actions._BOTOCORE_SERVICE_MAP
    models.update({"lambda": ["lambda"], "bedrock-agentcore": ["bedrock-agentcore-control", "bedrock-agentcore"]})


@replaces(iam_actions, "_lambda_action")
def guess_no_action(guess: Any, method: str, path: str) -> None:
    """AWS checks an operation by its name; ministack guesses Lambda's from parts of the path.

    Without a guess, ministack reads botocore's model of Lambda.
    """


@replaces(iam_actions, "extract_iam_action")
def rename_action(extract: Any, *request: Any) -> Any:
    """AWS checks a batch of SQS as each of its entries, and Invoke as InvokeFunction; ministack by their own names."""
    action = extract(*request)
    if isinstance(action, str) and action.startswith("sqs:"):
        return action.removesuffix("Batch")
    return "lambda:InvokeFunction" if action == "lambda:Invoke" else action


@replaces(iam_evaluator, "parse_policy_document")
def parse_once(parse: Any, document: Any) -> Any:
    """For each request, ministack parses all policies of its caller, and changes nothing in them."""
    return _parse(parse, document) if isinstance(document, str) else parse(document)


@lru_cache(1000)
def _parse(parse: Any, document: str) -> Any:
    return parse(document)

"""Bedrock: who may call a model, and which model answers."""

from typing import Any

import pytest

from tests.vigil.local.ministack_patches.builders import ACCOUNT, Caller, refused
from vigil.agent.models import SCRIPTED_MODEL
from vigil.local.stack import REGION


def converse(client: Any, model: str) -> Any:
    return client.converse(modelId=model, messages=[{"role": "user", "content": [{"text": "Go."}]}])


@pytest.mark.parametrize("grants", [[], [("bedrock:Converse", "*")]])
def test_converse_needs_the_grant_to_invoke_models(caller: Caller, grants: list[tuple[str, str]]) -> None:
    with refused("AccessDeniedException"):
        converse(caller("bedrock-runtime", *grants), SCRIPTED_MODEL)


@pytest.fixture(scope="session")
def client(caller: Caller) -> Any:
    """A client with the agent's grant on models."""
    return caller("bedrock-runtime", ("bedrock:InvokeModel", "arn:aws:bedrock:*::foundation-model/*"))


def test_the_scripted_model_answers_converse(client: Any) -> None:
    answer = converse(client, SCRIPTED_MODEL)
    assert answer["stopReason"] == "end_turn"
    assert answer["output"]["message"]["content"] == [{"text": "The procedure has ended."}]


CLAUDE = "global.anthropic.claude-sonnet-4-6"


@pytest.mark.parametrize(
    "model", [CLAUDE, f"arn:aws:bedrock:{REGION}:{ACCOUNT}:inference-profile/{CLAUDE}"], ids=["id", "arn"]
)
def test_other_models_are_refused(client: Any, model: str) -> None:
    with refused("ValidationException", match=f"the local stack has no model {model}"):
        converse(client, model)

"""The model behind an agent: Bedrock, or another provider that Strands supports."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from botocore.config import Config

from vigil.agent.session import aws_session
from vigil.errors import MissingSetting
from vigil.names import Env

if TYPE_CHECKING:
    from strands.models import Model

STAND_IN = "vigil.stand-in"
"""Model id that the local stack answers with code instead of a language model."""

_PROVIDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "anthropic": ("AnthropicModel", {"max_tokens": 8192}),
    "ollama": ("OllamaModel", {"host": None}),  # the address is OLLAMA_HOST, or Ollama's default
    "openai": ("OpenAIModel", {}),
}
"""Providers beside Bedrock: the class in strands.models.<provider>, and what it needs beside the model's id."""


def make_model(spec: str, region: str) -> "Model":
    """Return the model that ``spec`` names: a Bedrock model id or ARN, or ``provider/model-id``.

    Raises MissingSetting if the provider's package is not installed.
    """
    # Not at the top: the command line and the embedded AWS need no more than the stand-in's name.
    from strands.models import BedrockModel

    provider, _, model_id = spec.partition("/")
    if provider not in _PROVIDERS or not model_id:
        # Not streamed: a session has no reader, and one answer a call is one thing to retry.
        return BedrockModel(
            model_id=spec,
            boto_session=aws_session(region),
            streaming=False,
            boto_client_config=Config(retries={"mode": "standard", "total_max_attempts": 5}, read_timeout=300),
        )
    try:
        module = import_module(f"strands.models.{provider}")
    except ImportError as error:
        raise MissingSetting(
            f"{Env.MODEL}={spec} needs the package strands-agents[{provider}] in the agent's environment"
        ) from error
    name, arguments = _PROVIDERS[provider]
    model: Model = getattr(module, name)(model_id=model_id, **arguments)
    return model

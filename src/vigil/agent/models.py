"""The model behind an agent: Bedrock, or any provider that Strands supports."""

from importlib import import_module

from botocore.config import Config
from strands.models import BedrockModel, Model

from vigil.errors import MissingSetting
from vigil.names import Env

STAND_IN = "vigil.stand-in"
"""Model id that the local stack answers with code instead of a language model."""

_PROVIDERS = {
    "anthropic": "AnthropicModel",
    "gemini": "GeminiModel",
    "litellm": "LiteLLMModel",
    "mistral": "MistralModel",
    "ollama": "OllamaModel",
    "openai": "OpenAIModel",
}


def make_model(spec: str, region: str) -> Model:
    """Return the model that ``spec`` names: a Bedrock model id or ARN, or ``provider/model-id``.

    Raises MissingSetting if the provider's package is not installed.
    """
    provider, _, model_id = spec.partition("/")
    if provider not in _PROVIDERS or not model_id:
        # Not streamed: a session has no reader, and one answer a call is one thing to retry.
        return BedrockModel(
            model_id=spec,
            region_name=region,
            streaming=False,
            boto_client_config=Config(retries={"mode": "standard", "total_max_attempts": 5}, read_timeout=300),
        )
    try:
        module = import_module(f"strands.models.{provider}")
    except ImportError as error:
        raise MissingSetting(
            f"{Env.MODEL}={spec} needs the package strands-agents[{provider}] in the agent's environment"
        ) from error
    model: Model = getattr(module, _PROVIDERS[provider])(model_id=model_id)
    return model

"""The model behind an agent: Bedrock, or another provider that Strands supports."""

import os
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.config import Config
from botocore.exceptions import ClientError

from vigil.agent.session import aws_session
from vigil.errors import MissingSetting
from vigil.names import Env, Parameter
from vigil.settings import PROGRESS_SECONDS, whole_number

if TYPE_CHECKING:
    from strands import ModelRetryStrategy
    from strands.models import Model

SCRIPTED_MODEL = "vigil.scripted-model"  # model id that the local stack answers with code instead of a language model

MAX_TOKENS = 8192
"""Tokens of one answer. Without it, Bedrock reserves the model's own maximum of the account's quota for each call."""
ATTEMPTS = 3
CALL_SECONDS = 300.0  # the longest that one attempt of a call may take
BACKOFF_SECONDS = 3.0  # the longest that the waits between the attempts take together at Bedrock: 1 s and 2 s
_CALLS = {"Converse", "ConverseStream", "InvokeModel", "InvokeModelWithResponseStream"}
_REMEDIES = (
    (r"use.case", "submit Anthropic's use case form in the Bedrock console, once for the account; it takes 15 minutes"),
    (
        "marketplace|subscription",
        "have a role with aws-marketplace:Subscribe and ViewSubscriptions call the model once; it takes 15 minutes",
    ),
    ("on-demand throughput", "let ModelId name an inference profile of the model, such as global.PROVIDER.MODEL"),
    ("identifier is invalid|ResourceNotFound", "let ModelId name a model that Bedrock offers in this region"),
    ("not authorized to perform", "let ModelId name a model that the agent's role, and its organization, may invoke"),
    ("AccessDenied", "give the account access to the model in this region"),
    ("Throttling|TooManyRequests|ServiceQuota", "start fewer sessions at once, or have Bedrock's quota raised"),
)
"""What Bedrock says, its code before its message, and what to do then; the first that fits."""

WAITING = 0.9  # the part of ProgressSeconds that waiting may take; the rest is left for the work around it


def check_model(spec: str) -> None:
    """Raise MissingSetting unless ``spec`` is a Bedrock model id or ARN, or ``provider/model-id`` of PROVIDERS.

    An ARN of another kind, such as that of a provisioned model, is refused: the agent's role could not invoke it.
    """
    if not re.fullmatch(MODEL_PATTERN, spec):
        raise MissingSetting(
            f"--model, {Env.MODEL} and {Parameter.MODEL_ID} take a Bedrock model id or ARN, or provider/model"
            f" (providers: {', '.join(PROVIDERS)}), not {spec[:256]!r}"
        )


def make_model(spec: str | None, region: str) -> "Model":
    """Return the model that ``spec`` names: a Bedrock model id or ARN, or ``provider/model-id``.

    All attempts of a call end within the environment's ProgressSeconds, unless an answer goes on arriving, which is
    progress. Raises MissingSetting as check_model does, if the session has no model, and if the provider's package is
    not installed.
    """
    if spec is None:
        raise MissingSetting(f"environment variable {Env.MODEL} is not set: it names the model")
    check_model(spec)
    provider, _, model_id = spec.partition("/")
    if provider not in PROVIDERS:
        # Not at the top: the command line and the embedded AWS need the scripted model's name only.
        from strands.models import BedrockModel

        attempts, connect, answer = call_limits(_progress_seconds(), BACKOFF_SECONDS)
        retries: Any = {"mode": "standard", "total_max_attempts": attempts}
        return BedrockModel(
            model_id=spec,
            max_tokens=MAX_TOKENS,
            boto_session=aws_session(region),
            # A session has no reader, and one answer a call is one thing to retry.
            streaming=False,
            boto_client_config=Config(retries=retries, connect_timeout=connect, read_timeout=answer),
        )
    try:
        module = import_module(f"strands.models.{provider}")
    except ImportError as error:
        raise MissingSetting(
            f"{Env.MODEL}={spec} needs the package strands-agents[{provider}] in the agent's environment"
        ) from error
    known = PROVIDERS[provider]
    attempts, connect, answer = call_limits(_progress_seconds(), known.backoff)
    client: dict[str, Any] = {"client_args": {"timeout": connect + answer, "max_retries": attempts - 1}}
    if provider == "ollama":
        # Its client tries once.
        client = {"ollama_client_args": {"timeout": connect + answer}}
    model: Model = getattr(module, known.class_name)(model_id=model_id, **known.arguments, **client)
    return model


def remedy(error: BaseException) -> str | None:
    """Return what to do about a model call that Bedrock refused; None for any other error."""
    if not isinstance(error, ClientError) or getattr(error, "operation_name", None) not in _CALLS:
        return None
    return next((what for said, what in _REMEDIES if re.search(said, str(error), re.IGNORECASE)), None)


def retry_strategy() -> "ModelRetryStrategy":
    """Return how an agent waits for a model that is throttled: as Strands does, but never for ProgressSeconds.

    Strands itself waits up to 64 s between two calls.
    """
    from strands import ModelRetryStrategy

    return ModelRetryStrategy(max_delay=int(WAITING * _progress_seconds()))


def call_limits(progress_seconds: int, backoff: float) -> tuple[int, float, float]:
    """Return (attempts, seconds to connect, seconds to answer) of a call that ends in less than ``progress_seconds``.

    The waits between the attempts take up to ``backoff`` seconds. Where they would take most of the time, there is one
    attempt.
    """
    attempts, backoff = (ATTEMPTS, backoff) if 3 * progress_seconds >= 5 * backoff else (1, 0.0)
    attempt = (WAITING * progress_seconds - backoff) / attempts
    connect = min(5.0, attempt / 5)
    return attempts, connect, min(CALL_SECONDS, attempt - connect)


def _progress_seconds() -> int:
    return whole_number(os.environ, Env.PROGRESS_SECONDS, PROGRESS_SECONDS)


class Provider(NamedTuple):
    """A provider beside Bedrock."""

    class_name: str  # the class in strands.models.<provider>
    key: str | None  # the environment variable of its API key; None if it needs no key
    backoff: float  # the longest that its client waits between the attempts of a call
    arguments: dict[str, Any]  # what the class needs beside the model's id and its client's arguments


PROVIDERS = {
    # Its client waits for as long as the answer's Retry-After says, up to 60 s.
    "anthropic": Provider("AnthropicModel", "ANTHROPIC_API_KEY", 60.0 * (ATTEMPTS - 1), {"max_tokens": MAX_TOKENS}),
    # The address is OLLAMA_HOST, or Ollama's default.
    "ollama": Provider("OllamaModel", None, BACKOFF_SECONDS, {"host": None, "max_tokens": MAX_TOKENS}),
    # As Anthropic's, up to 120 s.
    "openai": Provider(
        "OpenAIModel", "OPENAI_API_KEY", 120.0 * (ATTEMPTS - 1), {"params": {"max_completion_tokens": MAX_TOKENS}}
    ),
}
MODEL_PATTERN = (
    r"arn:[a-z-]+:bedrock:[a-z0-9-]*:[0-9]*:(foundation-model|(application-)?inference-profile)/[A-Za-z0-9.:_-]{1,256}"
    rf"|(?!arn:)(({'|'.join(PROVIDERS)})/[A-Za-z0-9.:/_-]{{1,256}}|[A-Za-z0-9.:_-]{{1,256}})"
)
"""What names a model, for Python's ``re`` as for CloudFormation."""

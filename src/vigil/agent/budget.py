"""What model calls cost, and the end of a session that has used up its budget.

Prices are dollars per million tokens, from Anthropic's "Pricing" (Claude Docs); those of the 5.5 models' cached tokens
are from publications that cite it. Assumed, and not checked against AWS's list or a bill: Bedrock charges the same, and
for its regional endpoints what that page says.
"""

import re
from decimal import Decimal
from typing import NamedTuple

from strands.models import Model
from strands.types.content import Message
from strands.types.event_loop import Usage as Tokens

from vigil.agent.models import SCRIPTED_MODEL
from vigil.errors import BudgetExceeded
from vigil.step import Usage

PRICES_DATE = "2026-10-24"


class Price(NamedTuple):
    """Dollars per million tokens."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal  # of the cache for five minutes, the default; that for an hour costs 1.6 times as much

    def of(self, tokens: Tokens) -> Decimal:
        """Return what ``tokens`` cost in dollars; too much if the provider counts cached tokens as input too."""
        cached = (tokens.get("cacheReadInputTokens", 0), tokens.get("cacheWriteInputTokens", 0))
        counts = (tokens["inputTokens"], tokens["outputTokens"], *cached)
        return sum((count * price for count, price in zip(counts, self, strict=True)), Decimal(0)) / 1_000_000


PRICES = {
    f"claude-{model}": Price(*map(Decimal, dollars.split()))
    for dollars, models in (
        ("10   50    0.25 12.50", "fable-5-1"),
        ("10   50    1    12.50", "fable-5"),
        ("4    20    0.20 5", "opus-5-5"),
        ("5    25    0.50 6.25", "opus-5 opus-4-8 opus-4-7 opus-4-6 opus-4-5"),
        ("15   75    1.50 18.75", "opus-4-1"),
        ("2    10    0.10 2.50", "sonnet-5-5"),
        ("2    10    0.20 2.50", "sonnet-5"),
        ("3    15    0.30 3.75", "sonnet-4-6 sonnet-4-5 sonnet-4"),
        ("0.50 2.50  0.05 0.625", "haiku-5-5"),
        ("1    5     0.10 1.25", "haiku-4-5"),
    )
    for model in models.split()
}
"""By the model's name in its id. Haiku 5.5 costs this for prompts above 100,000 tokens, and a fifth below. The higher
price of Sonnet 4 and 4.5 for prompts above 200,000 tokens is left out: they need a beta header."""

FREE = Price(*[Decimal(0)] * 4)
HIGHEST_PRICE = Price(*map(max, zip(*PRICES.values(), strict=True)))
"""Assumed for a model without a known price: its budget ends the session too early rather than too late."""

REGIONAL_MULTIPLIER = Decimal("1.1")
"""The price of Bedrock's endpoints of a region or a geography, relative to the global endpoint. Too high for models
before Claude 4.5, which cost the same on both."""

_NAME = re.compile(r"(claude-[a-z0-9-]+?)(-\d{8})?(-v\d+(:\d+)?)?$")


def model_id(model: Model) -> str:
    """Return the model's id at its provider, or the name of its class if it has none."""
    config = model.get_config()
    return str((config.get("model_id") if isinstance(config, dict) else None) or type(model).__name__)


def provider_of(model: Model) -> str:
    """Return who serves the model, by OpenTelemetry's name if it has one, else by that of the model's module."""
    module = type(model).__module__.rpartition(".")[2]
    return {"bedrock": "aws.bedrock", "gemini": "gcp.gemini", "mistral": "mistral_ai"}.get(module, module)


def price_of(model: Model) -> Price | None:
    """Return the price of a model at Bedrock or Anthropic, FREE for a local model, or None if it is not known."""
    spec = model_id(model)
    # By the name of its module, since Ollama's package may not be installed.
    if spec == SCRIPTED_MODEL or type(model).__module__ == "strands.models.ollama":
        return FREE
    name = _NAME.search(spec)
    price = PRICES.get(name[1]) if name else None
    if price and "anthropic." in spec and "global.anthropic." not in spec:
        return Price(*(dollars * REGIONAL_MULTIPLIER for dollars in price))
    return price


class Budget:
    """Counts what a session's model calls cost, and raises BudgetExceeded before the next one when it is spent."""

    def __init__(self, dollars: Decimal, usage: Usage | None = None) -> None:
        self._budget = dollars
        self.usage = usage  # the sum of all calls, also of earlier attempts; None before the first that used tokens

    def check(self) -> None:
        """Raise BudgetExceeded if no further model call may be made."""
        usage = self.usage
        if usage is None or usage.dollars < self._budget:
            return
        source = f"at the prices of {PRICES_DATE} for {usage.model}"
        if usage.price_assumed:
            source = f"at the highest prices known, because that of {usage.model} is not"
        raise BudgetExceeded(
            f"the model calls have cost ${usage.dollars:,.2f} of a budget of ${self._budget:,.2f}:"
            f" {usage.input_tokens:,} tokens in, {usage.output_tokens:,} out, {source}"
        )

    def charge(self, model: Model, message: Message | None) -> Usage | None:
        """Add the model call that ``message`` answered, and return its usage; None for a call that reports none."""
        tokens = message and message.get("metadata", {}).get("usage")
        if not tokens or not (tokens["inputTokens"] or tokens["outputTokens"]):
            return None
        price = price_of(model)
        # The total holds cached tokens, which some providers do not count as input.
        tokens_in = max(tokens["inputTokens"], tokens["totalTokens"] - tokens["outputTokens"])
        used = Usage(
            model=model_id(model),
            input_tokens=tokens_in,
            output_tokens=tokens["outputTokens"],
            dollars=(price or HIGHEST_PRICE).of(tokens),
            price_assumed=price is None,
        )
        self.usage = used if self.usage is None else self.usage + used
        return used

"""What model calls cost and when a budget ends them, with the real agent loop and a model that reports its usage."""

from decimal import Decimal

import pytest
from strands import Agent
from strands.hooks import AfterModelCallEvent, BeforeModelCallEvent
from strands.types.exceptions import EventLoopException

from tests.agents import AGAIN, SONNET, Scripted, repeats
from vigil.agent.budget import FREE, PRICES, Budget, price_of
from vigil.agent.models import SCRIPTED_MODEL, make_model
from vigil.errors import BudgetExceeded
from vigil.step import Usage

MILLION = 1_000_000


def limited(agent: Agent, dollars: str) -> list[Usage]:
    """Give the agent a budget; returns the list that fills with what is recorded."""
    budget, recorded = Budget(Decimal(dollars)), list[Usage]()

    def charge(event: AfterModelCallEvent) -> None:
        if budget.charge(event.agent.model, event.stop_response and event.stop_response.message):
            assert budget.usage
            recorded.append(budget.usage)

    agent.add_hook(lambda event: budget.check(), BeforeModelCallEvent)
    agent.add_hook(charge, AfterModelCallEvent)
    return recorded


@pytest.mark.parametrize(
    ("model_id", "dollars"),
    [
        ("global.anthropic.claude-sonnet-4-6", "3"),
        ("us.anthropic.claude-sonnet-4-6", "3.3"),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", "3.3"),
        ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.anthropic.claude-opus-4-6-v1", "5"),
        ("arn:aws:bedrock:eu-west-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0", "1.1"),
        ("claude-sonnet-4-20250514", "3"),
        ("claude-opus-5-5", "4"),
        (SCRIPTED_MODEL, "0"),
    ],
)
def test_a_model_is_priced_by_its_id(model_id: str, dollars: str) -> None:
    price = price_of(Scripted(model_id, []))
    assert price is not None
    assert price.input == Decimal(dollars)


@pytest.mark.parametrize(
    "model_id",
    [
        "claude-opus-5-7",
        "claude-sonnet-4-6-fast",
        "amazon.nova-pro-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdef123456",
    ],
)
def test_a_model_without_a_price_has_that_of_no_other(model_id: str) -> None:
    assert price_of(Scripted(model_id, [])) is None


def test_a_local_model_costs_nothing() -> None:
    assert price_of(make_model("ollama/llama3", "us-east-1")) == FREE


def test_tokens_of_each_kind_have_a_price_of_their_own() -> None:
    cached = {"cacheReadInputTokens": 3 * MILLION, "cacheWriteInputTokens": 4 * MILLION}
    agent = repeats(Scripted(SONNET, [], inputTokens=MILLION, outputTokens=2 * MILLION, **cached))
    recorded = limited(agent, "1000")
    agent("Go.")
    assert recorded == [Usage(SONNET, 8 * MILLION, 2 * MILLION, Decimal("48.9"))]  # 3 + 30 + 0.9 + 15


def test_the_call_after_the_budget_is_spent_is_not_made() -> None:
    model = Scripted(SONNET, AGAIN, inputTokens=200_000, outputTokens=20_000)
    agent = repeats(model)
    recorded = limited(agent, "2.70")
    with pytest.raises(EventLoopException) as raised:
        agent("Go.")
    cause = raised.value.__cause__
    assert isinstance(cause, BudgetExceeded)
    assert str(cause) == (
        "the model calls have cost $2.70 of a budget of $2.70: 600,000 tokens in, 60,000 out,"
        " at the prices of 2026-10-24 for global.anthropic.claude-sonnet-4-6"
    )
    assert model.calls == 3
    assert [usage.dollars for usage in recorded] == [Decimal("0.9"), Decimal("1.8"), Decimal("2.7")]


def test_an_agent_that_is_done_may_have_spent_more() -> None:
    agent = repeats(Scripted(SONNET, [("again", {})], outputTokens=MILLION))
    recorded = limited(agent, "15.01")
    assert agent("Go.").stop_reason == "end_turn"
    assert recorded[-1].dollars == 30


def test_a_model_without_a_price_costs_as_much_as_the_most_expensive() -> None:
    agent = repeats(Scripted("mystery-1", AGAIN, inputTokens=MILLION, outputTokens=MILLION))
    recorded = limited(agent, "0.01")
    with pytest.raises(EventLoopException, match=r"at the highest prices known, because that of mystery-1 is not$"):
        agent("Go.")
    highest = max(price.input + price.output for price in PRICES.values())
    assert recorded == [Usage("mystery-1", MILLION, MILLION, highest, price_assumed=True)]
    assert str(recorded[0]) == "1,000,000 tokens in, 1,000,000 out, $90.00, at an assumed price"


def test_a_model_that_uses_no_tokens_leaves_no_record() -> None:
    agent = repeats(Scripted(SCRIPTED_MODEL, []))
    recorded = limited(agent, "0.01")
    agent("Go.")
    assert recorded == []

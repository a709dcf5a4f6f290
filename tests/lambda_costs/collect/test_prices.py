from dataclasses import replace

from lambda_costs.collect.prices import PRICES


def test_only_duration_has_price_tiers() -> None:
    prices = replace(PRICES["us-east-1"], snapstart_cache=None)
    rates = prices.at({"x86_64": 99e9})
    assert {**vars(rates), "duration": prices.duration} == vars(prices)
    assert rates.duration["x86_64"] < prices.at({}).duration["x86_64"]

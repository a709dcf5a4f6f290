import random
from datetime import UTC, datetime
from math import ceil
from typing import Any

import pytest

from lambda_costs.findings import KINDS
from lambda_costs.sample_account import SampleFunction, build, seeding
from lambda_costs.sample_account.function import Choices, generate
from lambda_costs.sample_account.sampling import ALL_LINES, Sample, sample
from lambda_costs.sample_account.scenarios import ABSTAIN, PLANTED, TRAPS

ACCOUNT = build()
BUSY: Choices = {"daily_invocations": 20_000, "cpu": 0.5, "memory_mb": 1024}


def seen(choices: Choices, seed: int = 7) -> tuple[SampleFunction, Sample]:
    function = generate(random.Random(seed), "orders-export", choices)
    return function, sample(function, random.Random(seed))


def test_the_same_seed_gives_the_same_account_and_another_seed_another() -> None:
    assert build() == ACCOUNT
    assert build(8).functions != ACCOUNT.functions


def test_the_account_has_every_kind_of_finding_and_every_trap() -> None:
    assert {item.kind for item in ACCOUNT.planted} == set(KINDS)
    assert len({item.function for item in ACCOUNT.planted}) < len(ACCOUNT.functions) / 2
    assert len(ACCOUNT.functions) == 48 > len(PLANTED) + len(TRAPS) + len(ABSTAIN)
    assert len(ACCOUNT.abstain) >= len(ABSTAIN)


def test_nothing_is_planted_where_the_data_support_no_claim() -> None:
    assert not ACCOUNT.abstain & {item.function for item in ACCOUNT.planted}


def test_the_same_generator_gives_the_same_sample() -> None:
    assert seen(BUSY) == seen(BUSY)


@pytest.mark.parametrize("traffic", ["constant", "weekly", "business-hours", "bursts", "growing"])
def test_a_busy_functions_metrics_have_its_hidden_means(traffic: str) -> None:
    function, sampled = seen({**BUSY, "traffic": traffic})
    invocations = sum(day.invocations for day in sampled.days)
    assert invocations == pytest.approx(30 * function.daily_invocations, rel=0.01)
    assert all(sum(day.durations.values()) == day.invocations for day in sampled.days)
    total = sum(value * count for day in sampled.days for value, count in day.durations.items())
    assert total / invocations == pytest.approx(function.duration_ms(1024), rel=0.02)


def test_a_busy_functions_lines_are_a_sample_of_the_whole_window() -> None:
    function, sampled = seen({**BUSY, "traffic": "constant"})
    assert len(sampled.lines) == function.log_lines < sum(day.invocations for day in sampled.days)
    assert {int(line.day) for line in sampled.lines} == set(range(30))
    mean = sum(line.duration_ms for line in sampled.lines) / len(sampled.lines)
    assert mean == pytest.approx(function.duration_ms(1024), rel=0.15)


def test_a_rare_functions_lines_are_all_its_invocations() -> None:
    _, sampled = seen({"daily_invocations": 8, "traffic": "constant"})
    assert len(sampled.lines) == sum(day.invocations for day in sampled.days) <= ALL_LINES
    assert sum(value * count for day in sampled.days for value, count in day.durations.items()) == pytest.approx(
        sum(line.duration_ms for line in sampled.lines)
    )


def test_a_line_bills_duration_and_init_by_the_whole_millisecond() -> None:
    _, sampled = seen({**BUSY, "init": 0.3})
    assert any(line.init_ms for line in sampled.lines)
    assert all(line.billed_ms == ceil(line.duration_ms + (line.init_ms or 0)) for line in sampled.lines)


def test_memory_used_is_below_the_need_and_all_when_out_of_memory() -> None:
    function, sampled = seen({**BUSY, "need": 0.4, "out_of_memory_share": 0.2})
    killed = [line for line in sampled.lines if line.error_type == "Runtime.OutOfMemory"]
    assert {line.used_mb for line in killed} == {function.memory_mb}
    assert max(line.used_mb for line in sampled.lines if line not in killed) <= 410


def test_earlier_memory_size_appears_in_lines_and_days() -> None:
    _, sampled = seen({**BUSY, "cpu": 1.0, "earlier": 0.5, "earlier_share": 0.5, "traffic": "constant"})
    assert {line.memory_mb for line in sampled.lines if line.day < 15} == {512}
    assert {line.memory_mb for line in sampled.lines if line.day >= 15} == {1024}
    first, last = (sum(value * count for value, count in sampled.days[day].durations.items()) for day in (0, 29))
    assert first / last == pytest.approx(2, rel=0.15)


def test_timeouts_are_errors_that_last_until_the_limit() -> None:
    _, sampled = seen({**BUSY, "timeout_seconds": 10, "timeout_share": 0.3})
    late = sum(day.durations.get(10_000.0, 0) for day in sampled.days)
    assert late / sum(day.invocations for day in sampled.days) == pytest.approx(0.3, rel=0.05)
    assert sum(day.errors for day in sampled.days) >= late
    assert any(line.status == "timeout" and line.duration_ms == 10_000 for line in sampled.lines)


def test_a_rare_payload_is_in_the_sample() -> None:
    function, sampled = seen({**BUSY, "need": 0.2, "large_payloads": {"share": 0.0002, "slowness": 1.0, "need": 0.86}})
    assert 0 < sum(line.used_mb > 0.5 * function.memory_mb for line in sampled.lines) < 5


def test_a_choice_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown choices: ned"):
        generate(random.Random(7), "orders-export", {"ned": 0.2})


def test_an_alias_with_provisioned_concurrency_has_metrics_of_its_own() -> None:
    function, sampled = seen({"provisioned_concurrency": 5, "utilisation": 0.1})
    data = [datum for _, datum in seeding._metrics(function, sampled, datetime(2026, 7, 1, tzinfo=UTC))]

    def of(name: str, dimensions: int) -> list[dict[str, Any]]:
        found = [item for item in data if item["MetricName"] == name and len(item["Dimensions"]) == dimensions]
        return [{key: value for key, value in item.items() if key != "Dimensions"} for item in found]

    # Every caller invokes the alias: its metrics are those of the function.
    for name in ("Invocations", "Duration"):
        assert len(of(name, 2)) == 30
        assert of(name, 2) == of(name, 1)
    assert len(of("ProvisionedConcurrencyInvocations", 2)) == 30

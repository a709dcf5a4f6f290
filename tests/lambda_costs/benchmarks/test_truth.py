"""Worked by hand: 1 GB for 1 s on arm64 costs $0.0000133334, on x86_64 $0.0000166667."""

import random
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.findings.truth import account_savings, savings
from lambda_costs.sample_account import SampleFunction
from lambda_costs.sample_account.function import generate

# A million invocations of 1 s, half of it CPU at 1,024 MB; no cold starts.
PLAIN: dict[str, Any] = {
    **{"io_ms": 500.0, "cpu_mb_ms": 512_000.0, "daily_invocations": 100_000 / 3, "memory_mb": 1024},
    **{"cold_share": 0.0, "arm64_ratio": 0.9, "architecture": "arm64"},
}


def function(**hidden: Any) -> SampleFunction:
    drawn = generate(random.Random(7), "orders-export", {"traffic": "constant", "error_share": 0.0})
    return replace(drawn, **{**PLAIN, **hidden})


def finding(kind: str, **proposed: Any) -> dict[str, Any]:
    return {"function": "orders-export", "kind": kind, "proposed": proposed}


MEMORY = finding("memory-too-high", memory_mb=512)
X86 = {"architecture": "x86_64"}
NO_TMP = finding("ephemeral-storage", ephemeral_mb=512)
GRAVITON = finding("arm64", architecture="arm64")
MEMORY_OF_2_GB = finding("memory-too-high", memory_mb=2048)
NOT_WARM = finding("provisioned-concurrency-unused", provisioned_concurrency=0)
KEPT_WARM = 2 * 2_592_000 * 0.0000033334
SNAPSTART = finding("init-cost", snapstart=True)
STARTS = {"cold_share": 0.1, "init_ms": 4000.0, "restore_ms": 1000.0}
SNAPSHOT = 2_592_000 * 0.0000015046 + 100_000 * 0.0001397998
KEPT_30_DAYS = finding("log-retention-unset", retention_days=30)


@pytest.mark.parametrize(
    ("hidden", "findings", "dollars"),
    [
        # 1 GB x 1 s before; 0.5 GB x (0.5 + 1.0) s after: a quarter less of 1,000,000 GB-s.
        ({}, [MEMORY], 13.33 * 0.25),
        ({"io_ms": 0.0, "cpu_mb_ms": 1_024_000.0}, [MEMORY], 0.0),
        ({"io_ms": 1000.0, "cpu_mb_ms": 0.0}, [MEMORY], 13.33 * 0.5),
        # 3 GB to 2 GB: above 1,769 MB a thread does not get faster.
        ({"memory_mb": 3072, "io_ms": 0.0, "cpu_mb_ms": 1_769_000.0}, [MEMORY_OF_2_GB], 13.33),
        (X86, [GRAVITON], 16.67 - 0.9 * 13.33),
        # Together: 0.9 x 0.75 of 1,000,000 GB-s remain, at the lower price.
        (X86, [MEMORY, GRAVITON], 16.67 - 0.9 * 0.75 * 13.33),
        ({"memory_mb": 512, "io_ms": 1000.0}, [finding("memory-too-low", memory_mb=1024)], 6.667 * (2 - 2 * 1.5)),
        # Two kept warm for 2,592,000 s; nothing runs on them.
        ({"provisioned_concurrency": 2, "daily_invocations": 0}, [NOT_WARM], KEPT_WARM),
        # All runs on them: its duration gets more expensive without them.
        ({"provisioned_concurrency": 2, "on_provisioned": 1.0}, [NOT_WARM], KEPT_WARM - 13.33 + 7.7778),
        # A tenth runs for 10 s, and would run for 1 s.
        ({"timeout_share": 0.1, "timeout_seconds": 10}, [finding("timeouts")], 13.33 * 0.1 * 9),
        # 1.5 GB over 1,000,000 s; of it only 0.5 GB can go.
        ({"ephemeral_mb": 2048, "used_tmp_mb": 100}, [NO_TMP], 1.5e6 * 0.0000000309),
        ({"ephemeral_mb": 2048, "used_tmp_mb": 1536}, [NO_TMP], 0.5e6 * 0.0000000309),
        # A tenth starts in 4 s, and would in 1 s.
        ({**STARTS, "runtime": "java21"}, [SNAPSTART], 13.33 * 0.1 * 3),
        # Other runtimes pay for the snapshot and for each of 100,000 restores.
        ({**STARTS, "runtime": "python3.13"}, [SNAPSTART], 13.33 * 0.1 * 3 - SNAPSHOT),
        ({"retention_days": None, "old_log_bytes": 10 * 2**30}, [KEPT_30_DAYS], 0.3),
        ({}, [finding("errors"), finding("timeout-high", timeout_seconds=3)], 0.0),
    ],
)
def test_savings_are_the_bill_before_less_the_bill_after(
    hidden: dict[str, Any], findings: list[dict[str, Any]], dollars: float
) -> None:
    assert savings(function(**hidden), findings) == pytest.approx(dollars, rel=0.002, abs=0.004)


def test_growth_ends_at_the_rate_of_the_last_week() -> None:
    # Days 0 to 29 have a half and day / 30: 0.98333 on average, and 1.36667 on the last seven.
    growing = savings(function(traffic="growing"), [MEMORY])
    assert growing == pytest.approx(savings(function(), [MEMORY]) * 1.36667 / 0.98333, rel=1e-5)


def test_a_young_function_goes_on_for_a_whole_month() -> None:
    assert savings(function(first_day=20), [MEMORY]) == savings(function(), [MEMORY])


def test_rounding_up_adds_half_a_millisecond_on_average() -> None:
    assert savings(function(io_ms=1.0, cpu_mb_ms=0.0), [MEMORY]) == pytest.approx(13.3334 * 0.0015 * 0.5, rel=1e-6)


def test_the_free_tier_reduces_the_bill_before_and_after() -> None:
    # 1,000,000 GB-s before and 750,000 after, of each 400,000 free.
    gross, net = account_savings([function()], [MEMORY])
    assert (gross, net) == (pytest.approx(13.33 * 0.25, rel=0.002), pytest.approx(13.33 * 0.25, rel=0.002))
    # 300,000 before: all free.
    gross, net = account_savings([function(daily_invocations=10_000)], [MEMORY])
    assert (gross, net) == (pytest.approx(1.0, rel=0.002), 0.0)


def test_provisioned_concurrency_is_never_free() -> None:
    gross, net = account_savings([function(provisioned_concurrency=2, daily_invocations=0)], [NOT_WARM])
    assert gross == net > 0

from dataclasses import replace

import pytest

from lambda_costs.collect.usage import FunctionUsage
from lambda_costs.findings.timeout_high import find
from lambda_costs.model.finding import NO_SAVINGS
from tests.lambda_costs.cases import Example, abstained, found, function, on_days, usage

EXAMPLE = Example({"timeout_seconds": 900}, needs="compute")


def p99(seconds: float, once: float | None = None) -> FunctionUsage:
    return usage(p99_ms=on_days(dict.fromkeys(range(1, 31), seconds * 1000) | ({5: once * 1000} if once else {})))


@pytest.mark.parametrize(
    ("timeout", "used", "proposed"),
    [
        (10, p99(4.999), None),  # the same timeout again
        (11, p99(4.999), 10),
        (10, p99(5.0), None),  # exactly half
        (9, p99(0.1), None),  # short enough
        (900, p99(0.1), 1),
        (900, p99(2.1), 5),  # twice 2.1 s
        (100, p99(1.0, once=50.0), None),  # one slow day
        (100, p99(1.0, once=49.0), 98),
    ],
)
def test_timeout_over_twice_the_worst_days_p99_is_high(timeout: int, used: FunctionUsage, proposed: int | None) -> None:
    result = found(find, function(timeout_seconds=timeout), used)
    assert (result and result.proposed) == (proposed and {"timeout_seconds": proposed})
    assert not result or (result.savings == NO_SAVINGS and f"--timeout {proposed}" in result.how_to)


@pytest.mark.parametrize(
    ("slowest", "proposed"),
    [
        (0.1, 1),
        (300.0, 450),  # 1.5 times the longest
        (599.0, 899),  # 898.5
        (600.0, None),
        (900.0, 2),  # some timed out: 1.5 times the sample's 0.5 s, 1.5 times of that
    ],
)
def test_the_longest_invocation_ends_within_the_proposed_timeout(slowest: float, proposed: int | None) -> None:
    used = replace(p99(0.1), slowest_ms=on_days({9: slowest * 1000, 3: 100.0}))
    result = found(find, function(timeout_seconds=900), used)
    assert (result and result.proposed) == (proposed and {"timeout_seconds": proposed})


def test_a_timeout_is_not_judged_without_p99() -> None:
    assert "99th percentile" in abstained(find, used=usage(p99_ms=None))

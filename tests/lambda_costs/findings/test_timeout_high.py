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
        (10, p99(4.999), 10),
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


def test_a_timeout_is_not_judged_without_p99() -> None:
    assert "99th percentile" in abstained(find, used=usage(p99_ms=None))

"""At most 14 metrics a function at $0.01 a thousand; $0.005 for a GB that Logs Insights scans."""

import pytest

from lambda_costs.collect.log_groups import LogGroup
from lambda_costs.collect.metrics import Daily
from lambda_costs.collect.scan import groups_within_budget, metrics_cost, scanned_bytes
from tests.lambda_costs.cases import GIB, daily, log_group


@pytest.mark.parametrize(("functions", "dollars"), [(0, 0), (1, 0.00014), (10_000, 1.40)])
def test_metrics_cost_by_the_function(functions: int, dollars: float) -> None:
    assert metrics_cost(functions) == pytest.approx(dollars)


@pytest.mark.parametrize(
    ("group", "ingested", "size"),
    [
        (log_group(9 * GIB), daily(2 * GIB), 2 * GIB),  # a query scans the window, not all that is kept
        (log_group(9 * GIB), None, 9 * GIB),
        (log_group(None), None, None),
        (None, None, None),
    ],
)
def test_a_query_scans_what_was_ingested(group: LogGroup | None, ingested: Daily | None, size: int | None) -> None:
    assert scanned_bytes(group, ingested) == (None if size is None else pytest.approx(size, abs=1))


@pytest.mark.parametrize(
    ("dollars", "chosen", "gib"),
    [
        (0.0, ["empty"], 0),
        (0.005, ["empty", "a"], 1),
        (0.0199, ["empty", "a"], 1),
        (0.02, ["empty", "a", "b"], 4),
        (1.0, ["empty", "a", "b", "huge"], 104),
    ],
)
def test_the_smallest_log_groups_are_queried_within_the_budget(dollars: float, chosen: list[str], gib: int) -> None:
    sizes = {"huge": 100 * GIB, "b": 3 * GIB, "a": GIB, "unknown": None, "empty": 0}
    assert groups_within_budget(sizes, dollars, 0.005) == (chosen, gib * GIB)

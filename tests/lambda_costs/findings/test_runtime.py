from dataclasses import replace
from datetime import date

import pytest

from lambda_costs.findings.runtime import find
from lambda_costs.model.finding import NO_SAVINGS, Finding
from tests.lambda_costs.cases import Example, abstained, context, function

EXAMPLE = Example({"runtime": "python3.8"})


@pytest.mark.parametrize(
    ("name", "today", "left"),
    [
        # Python 3.12 until 2028-10-31: 180 days before is 2028-05-04.
        ("python3.12", date(2028, 5, 3), None),
        ("python3.12", date(2028, 5, 4), 180),
        ("python3.12", date(2028, 10, 31), 0),
        ("python3.8", date(2026, 7, 1), 0),
        (None, date(2026, 7, 1), None),  # a container image has its own
    ],
)
def test_runtime_is_found_from_180_days_before_its_deprecation(name: str | None, today: date, left: int | None) -> None:
    yielded = list(find(replace(context(function(runtime=name)), end=today)))
    assert [(item.savings, item.evidence["Days left"].value) for item in yielded if isinstance(item, Finding)] == (
        [] if left is None else [(NO_SAVINGS, left)]
    )


def test_an_unknown_runtime_is_a_gap() -> None:
    assert "runtime cobol85 is not in the table" in abstained(find, function(runtime="cobol85"))

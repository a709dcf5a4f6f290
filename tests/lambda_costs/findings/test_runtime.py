from dataclasses import replace
from datetime import UTC, date, datetime, time

import pytest

from lambda_costs.collect.usage import Window
from lambda_costs.findings.runtime import find
from lambda_costs.model.finding import NO_SAVINGS, Finding
from tests.lambda_costs.cases import Example, abstained, claimed, context, function

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
    window = Window.before(datetime.combine(today, time(9), UTC), 30)
    yielded = list(find(replace(context(function(runtime=name)), window=window)))
    assert [(item.savings, item.evidence["Days left"].value) for item in yielded if isinstance(item, Finding)] == (
        [] if left is None else [(NO_SAVINGS, left)]
    )


@pytest.mark.parametrize(
    ("name", "since"),
    [
        ("nodejs", "2016-10-31"),
        ("nodejs4.3", "2020-03-05"),
        ("nodejs4.3-edge", "2020-03-05"),
        ("nodejs6.10", "2019-08-12"),
        ("nodejs8.10", "2020-03-06"),
        ("dotnetcore1.0", "2019-07-30"),
        ("dotnetcore2.0", "2019-05-30"),
    ],
)
def test_the_oldest_runtimes_are_deprecated(name: str, since: str) -> None:
    assert claimed(find, function(runtime=name)).evidence["Deprecated on"].value == since


def test_an_unknown_runtime_is_a_gap() -> None:
    assert "runtime cobol85 is not in the table" in abstained(find, function(runtime="cobol85"))

"""What the report and the language model's tool results share: how a measurement is written, and how much fits."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TypeVar

from lambda_costs.model.finding import Measurement

Item = TypeVar("Item")


def format_measurement(measurement: Measurement) -> str:
    """Return ``measurement`` with all its digits and its unit: ``1,024 MB``, ``0.0000166667 $``."""
    value = measurement.value
    if isinstance(value, float):
        value = f"{Decimal(repr(value)):,f}".removesuffix(".0")
    elif isinstance(value, int):
        value = f"{value:,}"
    return f"{value} {measurement.unit}".rstrip()


def first_that_fit(items: Iterable[Item], limit: int, size: Callable[[Item], int]) -> list[Item]:
    """Return the first of ``items`` whose sizes add up to at most ``limit``."""
    fitting = []
    for item in items:
        limit -= size(item)
        if limit < 0:
            break
        fitting.append(item)
    return fitting

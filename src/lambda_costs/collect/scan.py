"""What reading the data costs, estimated before it is read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lambda_costs.collect.log_groups import LogGroup
from lambda_costs.collect.metrics import Daily
from lambda_costs.collect.prices import METRIC_DATA

METRICS_A_FUNCTION = 11
"""At most: Invocations, Duration twice, Errors, RecursiveInvocationsDropped and IncomingBytes of all; of some
CPU time, and Invocations again, of a long past or of the minutes that a sample of REPORT lines is from."""

BYTES_PER_GB = 2**30


@dataclass(frozen=True)
class Scan:
    """What the scan cost, in US dollars, by the prices of what was asked for."""

    metrics: int
    queried_bytes: int
    """Logs that Logs Insights was asked to go through; FilterLogEvents costs nothing."""
    estimated: float
    limit: float
    """The most that the request allows."""


def metrics_cost(functions: int) -> float:
    """Return what the metrics of so many functions cost at most, in US dollars."""
    return functions * METRICS_A_FUNCTION * METRIC_DATA


def scanned_bytes(group: LogGroup | None, ingested: Daily | None) -> int | None:
    """Return how many bytes of a log group a query of the window goes through at most; None if that is not known."""
    if ingested:
        return int(ingested.total)
    return group.stored_bytes if group else None


def affordable(sizes: Mapping[str, int | None], dollars: float, price: float) -> tuple[list[str], int]:
    """Return which log groups can be queried for ``dollars``, smallest first, and their bytes in all.

    ``price``: $ per GB. A group of unknown size is never queried.
    """
    chosen: list[str] = []
    total = 0
    for name, size in sorted(_known(sizes), key=lambda item: (item[1], item[0])):
        if (total + size) / BYTES_PER_GB * price > dollars:
            break
        chosen.append(name)
        total += size
    return chosen, total


def _known(sizes: Mapping[str, int | None]) -> Iterable[tuple[str, int]]:
    return ((name, size) for name, size in sizes.items() if size is not None)

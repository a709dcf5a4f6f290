"""What reading the data costs, estimated before it is read."""

from collections.abc import Mapping
from dataclasses import dataclass

from lambda_costs.collect.log_groups import LogGroup
from lambda_costs.collect.metrics import Daily
from lambda_costs.collect.prices import METRIC_DATA

METRICS_A_FUNCTION = 14
"""At most: Invocations, Duration three times, Errors, RecursiveInvocationsDropped, IncomingBytes, CPU time; Invocations
again, of the long past or of the minutes that a sample of REPORT lines covers; and five of an alias with provisioned
concurrency. Few functions have several such aliases."""

BYTES_PER_GB = 2**30


@dataclass(frozen=True)
class ScanCost:
    """Estimated cost of reading the data, in US dollars."""

    metrics: int
    queried_bytes: int  # Logs that Logs Insights was asked to scan; FilterLogEvents costs nothing
    estimated: float
    limit: float  # the most that the request allows


def metrics_cost(functions: int) -> float:
    """Return the most that the metrics of so many functions cost, in US dollars."""
    return functions * METRICS_A_FUNCTION * METRIC_DATA


def scanned_bytes(group: LogGroup | None, ingested: Daily | None) -> int | None:
    """Return the most bytes of a log group that a query of the window scans; None if that is not known."""
    if ingested:
        return int(ingested.total)
    return group.stored_bytes if group else None


def groups_within_budget(sizes: Mapping[str, int | None], dollars: float, price: float) -> tuple[list[str], int]:
    """Return which log groups can be queried for ``dollars``, smallest first, and their bytes in all.

    ``price``: $ per GB. A group of unknown size is never queried.
    """
    chosen: list[str] = []
    total = 0
    for size, name in sorted((size, name) for name, size in sizes.items() if size is not None):
        if (total + size) / BYTES_PER_GB * price > dollars:
            break
        chosen.append(name)
        total += size
    return chosen, total

"""What AWS bills for runs, in US dollars: by the price list of us-east-1 of October 2025, first tier."""

from collections.abc import Iterable
from datetime import date

from benchmarks.field.function import DAY, Function
from benchmarks.field.machine import Run, Setting, allocated

GB_SECOND = {"x86_64": 0.0000166667, "arm64": 0.0000133334}
WARM_GB_SECOND = {"x86_64": 0.0000097222, "arm64": 0.0000077778}
"""Duration on provisioned concurrency."""
KEPT_GB_SECOND = {"x86_64": 0.0000041667, "arm64": 0.0000033334}
"""Provisioned concurrency itself."""
REQUEST = 0.20 / 1_000_000
TMP_GB_SECOND = 0.0000000309
SNAPSHOT_GB_SECOND = 0.0000015046
RESTORED_GB = 0.0001397998
LOG_GB = {False: 0.50, True: 0.25}
"""Ingestion into a log group of the class Standard, and Infrequent Access."""
STORED_GB = 0.03


def compute_bill(
    runs: Iterable[Run], function: Function, setting: Setting, first: int, last: int, today: date
) -> float:
    """Return what Lambda bills from day ``first`` to the end of the day before ``last``."""
    if function.managed:
        return 0.0
    rate, warm_rate = GB_SECOND[setting.architecture], WARM_GB_SECOND[setting.architecture]
    tmp = max(0, setting.tmp_mb - 512) / 1024 * TMP_GB_SECOND
    paid_snapshot = setting.snapstart and not (function.runtime or "").startswith("java")
    total = 0.0
    for item in runs:
        if not first * DAY <= item.at < last * DAY:
            continue
        gigabytes, billed = item.memory_mb / 1024, item.billed_ms / 1000
        total += billed * (gigabytes * (warm_rate if item.provisioned else rate) + tmp) + REQUEST
        if paid_snapshot and item.restore_ms:
            total += gigabytes * RESTORED_GB
    if paid_snapshot:
        total += setting.memory_mb / 1024 * (last - first) * DAY * SNAPSHOT_GB_SECOND
    return total + provisioned_bill(function, setting, first, last, today)


def provisioned_bill(function: Function, setting: Setting, first: int, last: int, today: date) -> float:
    """Return what keeping environments warm costs, hour by hour."""
    hours = sum(
        allocated(function, item, hour * 3600.0, today)
        for item in setting.provisioned
        for hour in range(first * 24, last * 24)
    )
    return hours * 3600 * setting.memory_mb / 1024 * KEPT_GB_SECOND[setting.architecture]


def ingestion_bill(gigabytes: float, *, infrequent: bool) -> float:
    """Return what CloudWatch Logs bills for taking in so many GB."""
    return gigabytes * LOG_GB[infrequent]


def storage_bill(gigabytes: float) -> float:
    """Return what it bills for keeping so many GB for a month."""
    return gigabytes * STORED_GB

"""AWS prices as dated data. For a region without prices, no money is claimed."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

DATE = "2025-10"
SOURCE = "AWS Price List, services AWSLambda and AmazonCloudWatch"

FREE_GB_SECONDS = 400_000
"""Free each month, for the whole account ("AWS Lambda Pricing"). Provisioned concurrency is never free."""

METRIC_DATA = 0.01 / 1000  # $ per metric requested of GetMetricData, in every region ("Amazon CloudWatch Pricing")

Tiers = tuple[tuple[float, float], ...]  # (GB-seconds a month at most, $ per GB-second), ascending; the last is open

Duration = TypeVar("Duration", float, Tiers)


@dataclass(frozen=True, kw_only=True)
class Prices(Generic[Duration]):
    """The prices of a region; $ per GB-second unless stated otherwise."""

    duration: Mapping[str, Duration]  # by architecture, like the next four
    provisioned: Mapping[str, float]
    provisioned_duration: Mapping[str, float]
    ephemeral: Mapping[str, float]  # of /tmp beyond 512 MB
    requests: Mapping[str, float]  # $ per request
    log_ingestion: float  # $ per GB; an upper bound for a function that logs more than 10 TB a month
    log_storage: float  # $ per GB-month
    log_scan: float  # $ per GB that a Logs Insights query scans
    log_ingestion_infrequent: float | None = None  # $ per GB into log groups of the class Infrequent Access
    snapstart_cache: float | None = None
    snapstart_restore: float | None = None  # $ per GB. Both are None if not known; Java runtimes pay neither


Rates = Prices[float]  # what an account pays for one more unit


class RegionPrices(Prices[Tiers]):
    """The price list of a region."""

    def at(self, gb_seconds: Mapping[str, float]) -> Rates:
        """Return the rates of an account that uses ``gb_seconds`` a month, by architecture.

        Duration has the price of the last GB-second's tier, since savings remove the last ones. Savings that reach a
        more expensive tier are understated.
        """
        duration = {
            architecture: next(price for up_to, price in tiers if gb_seconds.get(architecture, 0) <= up_to)
            for architecture, tiers in self.duration.items()
        }
        return Rates(**{**vars(self), "duration": duration})


PRICES: Mapping[str, RegionPrices] = {
    "us-east-1": RegionPrices(
        duration={
            "x86_64": ((6e9, 0.0000166667), (15e9, 0.0000150000), (inf, 0.0000133334)),
            "arm64": ((7.5e9, 0.0000133334), (18.75e9, 0.0000120001), (inf, 0.0000106667)),
        },
        provisioned={"x86_64": 0.0000041667, "arm64": 0.0000033334},
        provisioned_duration={"x86_64": 0.0000097222, "arm64": 0.0000077778},
        ephemeral={"x86_64": 0.0000000309, "arm64": 0.0000000309},
        requests={"x86_64": 0.0000002, "arm64": 0.0000002},
        log_ingestion=0.50,
        log_storage=0.03,
        log_scan=0.005,
        log_ingestion_infrequent=0.25,
        snapstart_cache=0.0000015046,
        snapstart_restore=0.0001397998,
    )
}

"""AWS prices as dated data. A region that is not here has no price, and nothing is claimed for it."""

from collections.abc import Mapping
from dataclasses import dataclass

DATE = "2025-10"
SOURCE = "AWS Price List, services AWSLambda and AmazonCloudWatch"

FREE_TIER = (
    "Savings are gross: the monthly free tier (1 million requests and 400,000 GB-seconds of Lambda, 5 GB of logs) is"
    " not deducted, since it belongs to the whole account."
)

Tiers = tuple[tuple[float, float], ...]
"""(up to this many GB-seconds a month, $ per GB-second), ascending; the last is open."""

_OPEN = float("inf")


@dataclass(frozen=True)
class Rates:
    """What one more unit costs in a region; $ per GB-second by architecture, and $ per GB-month of stored logs."""

    duration: Mapping[str, float]
    provisioned: Mapping[str, float]
    provisioned_duration: Mapping[str, float]
    log_storage: float


@dataclass(frozen=True)
class RegionPrices:
    """The price list of a region, in US dollars."""

    duration: Mapping[str, Tiers]
    provisioned: Mapping[str, float]
    provisioned_duration: Mapping[str, float]
    log_storage: float

    def at(self, gb_seconds: Mapping[str, float]) -> Rates:
        """Return the rates of an account that uses ``gb_seconds`` a month, by architecture.

        Duration is at the tier that the last GB-second falls in, since savings take the last ones away. Savings that
        cross into a dearer tier are thus understated, never overstated.
        """
        duration = {
            architecture: next(price for up_to, price in tiers if gb_seconds.get(architecture, 0) <= up_to)
            for architecture, tiers in self.duration.items()
        }
        return Rates(duration, self.provisioned, self.provisioned_duration, self.log_storage)


PRICES: Mapping[str, RegionPrices] = {
    "us-east-1": RegionPrices(
        duration={
            "x86_64": ((6e9, 0.0000166667), (15e9, 0.0000150000), (_OPEN, 0.0000133334)),
            "arm64": ((7.5e9, 0.0000133334), (18.75e9, 0.0000120001), (_OPEN, 0.0000106667)),
        },
        provisioned={"x86_64": 0.0000041667, "arm64": 0.0000033334},
        provisioned_duration={"x86_64": 0.0000097222, "arm64": 0.0000077778},
        log_storage=0.03,
    ),
}

"""Prices from the AWS Price List API by region, else from the dated table.

GetProducts lists a region's products of AWSLambda and AmazonCloudWatch. A product's usage type says what it prices: a
prefix for the region (Lambda has none in us-east-1) and a suffix.

Documented: the shape of a product, its terms and tiers, and that us-east-1 answers for every region ("Finding services
and products with the AWS Price List Query API"); the suffixes of CloudWatch Logs, and the free tier's prefix Global
("Analyzing, optimizing, and reducing CloudWatch costs"). Assumed, from published price lists and bills: Lambda's
suffixes; the units; that logs have a prefix in every region. A list that does not fit is not used.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from lambda_costs.collect.gaps import Gap, explain
from lambda_costs.collect.inventory import Client
from lambda_costs.collect.prices import DATE, PRICES, SOURCE, RegionPrices, Tiers

THREADS = 4

_ARCHITECTURES = {"x86_64": "", "arm64": "-ARM"}
_GB_SECONDS = r"(Lambda-)?GB-Seconds?"


class _Unusable(Exception):
    """A region's price list is not as expected; the message says why."""


@dataclass(frozen=True)
class PriceList:
    """The prices of Lambda and its logs by region; regions without prices are missing."""

    regions: Mapping[str, RegionPrices]
    sources: Mapping[str, str]  # source and date of each region's prices


def read_prices(client: Client, regions: Sequence[str], gaps: list[Gap]) -> PriceList:
    """Return the prices of ``regions`` from the API, else from the table; a region in neither becomes a Gap."""
    pricing = client("pricing", "us-east-1")

    def read(region: str) -> tuple[RegionPrices | None, str]:
        """Return the prices and their source, or None and why there are none."""
        try:
            prices, published = _read_region(pricing, region)
            return prices, f"AWS Price List API, published {published}"
        except (BotoCoreError, ClientError, ResponseParserError) as error:
            reason = f"the Price List API could not be read: {explain(error)}"
        except _Unusable as error:
            reason = f"the price list of the API cannot be used: {error}"
        if region in PRICES:
            return PRICES[region], f"{SOURCE}, table of {DATE} ({reason})"
        return None, f"no price for this region in the table of {DATE}, and {reason}"

    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(zip(regions, pool.map(read, regions), strict=True))
    gaps += [Gap(f"savings in {region}", reason) for region, (prices, reason) in answers if prices is None]
    priced = [(region, prices, source) for region, (prices, source) in answers if prices]
    return PriceList({region: prices for region, prices, _ in priced}, {region: source for region, _, source in priced})


def _read_region(pricing: Any, region: str) -> tuple[RegionPrices, date]:
    awslambda = _Products(pricing, "AWSLambda", region)
    logs = _Products(pricing, "AmazonCloudWatch", region)

    def by_architecture(usage: str, unit: str) -> dict[str, float]:
        return {name: awslambda.price(f"{usage}{suffix}", unit) for name, suffix in _ARCHITECTURES.items()}

    prices = RegionPrices(
        duration={name: awslambda.tiers(f"Lambda-GB-Second{end}", _GB_SECONDS) for name, end in _ARCHITECTURES.items()},
        provisioned=by_architecture("Lambda-Provisioned-Concurrency", _GB_SECONDS),
        provisioned_duration=by_architecture("Lambda-Provisioned-GB-Second", _GB_SECONDS),
        ephemeral=by_architecture("Lambda-Storage-GB-Second", _GB_SECONDS),
        requests=by_architecture("Request", "Requests?"),
        log_ingestion=logs.price("DataProcessing-Bytes", "GB"),
        log_ingestion_infrequent=logs.optional_price("DataProcessingIA-Bytes", "GB"),
        log_storage=logs.price("TimedStorage-ByteHrs", "GB-Mo"),
        log_scan=logs.price("DataScanned-Bytes", "GB"),
        snapstart_cache=awslambda.optional_price("Lambda-SnapStart-Cached-GB-S", _GB_SECONDS),
        snapstart_restore=awslambda.optional_price("Lambda-SnapStart-Restored-GB", "GB"),
    )
    return prices, min(awslambda.published, logs.published)


class _Products:
    """A service's products in a region; raises _Unusable if they are not as expected."""

    def __init__(self, pricing: Any, service: str, region: str) -> None:
        pages = pricing.get_paginator("get_products").paginate(
            ServiceCode=service, Filters=[{"Type": "TERM_MATCH", "Field": "regionCode", "Value": region}]
        )
        self._prefix = "[A-Z0-9]+-" if service == "AmazonCloudWatch" else "([A-Z0-9]+-)?"
        try:
            items = [json.loads(text) for page in pages for text in page.get("PriceList", [])]
            self._terms = [(str(item["product"]["attributes"].get("usagetype")), item.get("terms")) for item in items]
            dates = {datetime.fromisoformat(item["publicationDate"]).date() for item in items}
        except (AttributeError, ValueError, LookupError, TypeError) as error:
            raise _Unusable(f"a product of {service} is malformed") from error
        if not dates:
            raise _Unusable(f"no product of {service}")
        self.published = min(dates)

    def tiers(self, usage: str, unit: str) -> Tiers:
        """Return the tiers of the only product with this usage type."""
        found = {_tiers(terms, usage, unit) for terms in self._find(usage)}
        if len(found) != 1:
            raise _Unusable(f"{'several prices' if found else 'no price'} of {usage}")
        return found.pop()

    def price(self, usage: str, unit: str) -> float:
        """Return the price of the only product with this usage type; it must have no tiers."""
        tiers = self.tiers(usage, unit)
        if len(tiers) > 1:
            raise _Unusable(f"tiers of {usage}")
        return tiers[0][1]

    def optional_price(self, usage: str, unit: str) -> float | None:
        """Return the price, or None if there is no such product."""
        return self.price(usage, unit) if any(self._find(usage)) else None

    def _find(self, usage: str) -> Iterable[Any]:
        pattern = re.compile(self._prefix + re.escape(usage))
        return (terms for usage_type, terms in self._terms if pattern.fullmatch(usage_type))


def _tiers(terms: Any, usage: str, unit: str) -> Tiers:
    try:
        (offer,) = terms["OnDemand"].values()
        dimensions = list(offer["priceDimensions"].values())
        if not all(re.fullmatch(unit, dimension["unit"]) for dimension in dimensions):
            raise _Unusable(f"an unknown unit of {usage}")
        if not all(dimension["pricePerUnit"].keys() == {"USD"} for dimension in dimensions):
            raise _Unusable(f"the price of {usage} is not in US dollars")
        tiers = sorted(
            (float(dimension["beginRange"]), float(dimension["endRange"]), float(dimension["pricePerUnit"]["USD"]))
            for dimension in dimensions
        )
    except (AttributeError, ValueError, LookupError, TypeError) as error:
        raise _Unusable(f"the price of {usage} is malformed") from error
    bounds = [0.0, *(end for _, end, _ in tiers)]
    if [begin for begin, _, _ in tiers] != bounds[:-1] or bounds[-1] != math.inf:
        raise _Unusable(f"the tiers of {usage} leave a gap or overlap")
    if not all(0 <= price < math.inf for _, _, price in tiers):
        raise _Unusable(f"the price of {usage} is not a number of dollars")
    return tuple((end, price) for _, end, price in tiers)

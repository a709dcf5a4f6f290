import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st
from urllib3 import HTTPResponse

from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.price_list import PriceList, read_prices
from lambda_costs.collect.prices import PRICES
from vigil.local.stack import LocalStack

KEYS = {"aws_access_key_id": "nobody", "aws_secret_access_key": "nothing"}
PUBLISHED = "2026-09-22T20:55:02Z"
TABLE = "AWS Price List, services AWSLambda and AmazonCloudWatch, table of 2025-10"
Dimension = tuple[str, str, str]
"""From, to, and the price of a unit."""


def product(usage_type: str, unit: str, *dimensions: Dimension, currency: str = "USD") -> dict[str, Any]:
    """Return a product as GetProducts describes it."""
    rates = {
        f"SKU.JRTCKXETXF.{number}": {
            "unit": unit,
            "beginRange": begin,
            "endRange": end,
            "description": f"AWS Lambda - {usage_type}",
            "pricePerUnit": {currency: price},
        }
        for number, (begin, end, price) in enumerate(dimensions)
    }
    return {
        "product": {"attributes": {"regionCode": "us-east-1", "usagetype": usage_type}, "sku": "SKU"},
        "terms": {"OnDemand": {"SKU.JRTCKXETXF": {"priceDimensions": rates, "offerTermCode": "JRTCKXETXF"}}},
        "publicationDate": PUBLISHED,
    }


def flat(usage_type: str, unit: str, price: str) -> dict[str, Any]:
    return product(usage_type, unit, ("0", "Inf", price))


Products = list[dict[str, Any]]


def awslambda(prefix: str = "") -> Products:
    """Return the products of a region that has the prices of us-east-1, and some that price something else."""
    second = "Lambda-GB-Second"
    return [
        product(f"{prefix}{second}-ARM", second, ("0", "7500000000", "0.0000133334"),
                ("18750000000", "Inf", "0.0000106667"), ("7500000000", "18750000000", "0.0000120001")),
        product(f"{prefix}{second}", second, ("0", "6000000000", "0.0000166667"),
                ("6000000000", "15000000000", "0.0000150000"), ("15000000000", "Inf", "0.0000133334")),
        flat(f"{prefix}Lambda-Edge-GB-Second", second, "0.0000500100"),
        flat(f"{prefix}Lambda-Edge-Request", "Request", "0.0000006000"),
        flat(f"{prefix}Lambda-Provisioned-Concurrency", second, "0.0000041667"),
        flat(f"{prefix}Lambda-Provisioned-Concurrency-ARM", second, "0.0000033334"),
        flat(f"{prefix}Lambda-Provisioned-GB-Second", second, "0.0000097222"),
        flat(f"{prefix}Lambda-Provisioned-GB-Second-ARM", second, "0.0000077778"),
        flat(f"{prefix}Lambda-Storage-GB-Second", "GB-Seconds", "0.0000000309"),
        flat(f"{prefix}Lambda-Storage-GB-Second-ARM", "GB-Seconds", "0.0000000309"),
        flat(f"{prefix}Request", "Requests", "0.0000002000"),
        flat(f"{prefix}Request-ARM", "Requests", "0.0000002000"),
        flat("Global-Request", "Requests", "0.0000000000"),
        flat(f"{prefix}Lambda-SnapStart-Cached-GB-S", "GB-Seconds", "0.0000015046"),
        flat(f"{prefix}Lambda-SnapStart-Restored-GB", "GB", "0.0001397998"),
    ]  # fmt: skip


def logs(prefix: str = "USE1-") -> Products:
    return [
        flat(f"{prefix}DataProcessing-Bytes", "GB", "0.5000000000"),
        flat("DataProcessing-Bytes", "GB", "0.4000000000"),
        product(f"{prefix}VendedLog-Bytes", "GB", ("0", "10240", "0.5000000000"), ("10240", "Inf", "0.2500000000")),
        flat(f"{prefix}DataProcessingIA-Bytes", "GB", "0.2500000000"),
        flat(f"{prefix}TimedStorage-ByteHrs", "GB-Mo", "0.0300000000"),
        flat(f"{prefix}LogInfrequentAccess-TimedStorage-ByteHrs", "GB-Mo", "0.0100000000"),
        flat(f"{prefix}DataScanned-Bytes", "GB", "0.0050000000"),
    ]


class PriceListApi:
    """A pricing client whose requests are answered here, in pages, by (service, region)."""

    def __init__(self, page: int = 100) -> None:
        self.products: dict[tuple[str, str], list[Any]] = {}
        self.refusals: dict[str, str] = {}
        self.asked: list[tuple[str, str, str]] = []
        self._page = page
        self._client = boto3.client("pricing", "us-east-1", config=Config(retries={"total_max_attempts": 1}), **KEYS)
        self._client.meta.events.register("before-send.pricing.GetProducts", self._answer)

    def client(self, service: str, region: str) -> Any:
        assert (service, region) == ("pricing", "us-east-1")
        return self._client

    def has(self, region: str, awslambda: list[Any], logs: list[Any]) -> None:
        self.products |= {("AWSLambda", region): awslambda, ("AmazonCloudWatch", region): logs}

    def _answer(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        asked = json.loads(request.body)
        (by_region,) = asked["Filters"]
        assert (by_region["Type"], by_region["Field"]) == ("TERM_MATCH", "regionCode")
        service, region, start = asked["ServiceCode"], by_region["Value"], asked.get("NextToken", "0")
        self.asked.append((service, region, start))
        if refusal := self.refusals.get(region):
            return self._response(request, 400, {"__type": refusal, "message": "no"})
        products, end = self.products[service, region], int(start) + self._page
        more = {"NextToken": str(end)} if end < len(products) else {}
        items = [item if isinstance(item, str) else json.dumps(item) for item in products[int(start) : end]]
        return self._response(request, 200, {"FormatVersion": "aws_v1", "PriceList": items, **more})

    @staticmethod
    def _response(request: AWSPreparedRequest, status: int, body: object) -> AWSResponse:
        raw = HTTPResponse(io.BytesIO(json.dumps(body).encode()), preload_content=False)
        return AWSResponse(request.url, status, {}, raw)


@pytest.fixture(scope="module")
def api() -> PriceListApi:
    return PriceListApi()


def read(api: PriceListApi, *regions: str) -> tuple[PriceList, list[Gap]]:
    gaps: list[Gap] = []
    return read_prices(api.client, regions, gaps), gaps


def test_prices_of_a_region_come_from_all_pages_of_its_price_list() -> None:
    api = PriceListApi(page=4)
    api.has("us-east-1", awslambda(), logs())
    assert read(api, "us-east-1") == (
        PriceList({"us-east-1": PRICES["us-east-1"]}, {"us-east-1": "AWS Price List API, published 2026-09-22"}),
        [],
    )
    assert [start for service, _, start in api.asked if service == "AWSLambda"] == ["0", "4", "8", "12"]


def test_every_region_has_its_own_prices(api: PriceListApi) -> None:
    api.has("us-east-1", awslambda(), logs())
    without_snapstart = [item for item in awslambda("EUC2-") if "SnapStart" not in json.dumps(item)]
    without_infrequent = [item for item in logs("EUC2-")[:-1] if "DataProcessingIA" not in json.dumps(item)]
    older = {**flat("EUC2-DataScanned-Bytes", "GB", "0.0072600000"), "publicationDate": "2026-08-01T00:00:00Z"}
    api.has("eu-central-2", without_snapstart, [*without_infrequent, older])
    prices, gaps = read(api, "us-east-1", "eu-central-2")
    unknown: Any = dict.fromkeys(("snapstart_cache", "snapstart_restore", "log_ingestion_infrequent"))
    assert gaps == []
    assert prices.regions == {
        "us-east-1": PRICES["us-east-1"],
        "eu-central-2": replace(PRICES["us-east-1"], log_scan=0.00726, **unknown),
    }
    assert prices.sources["eu-central-2"] == "AWS Price List API, published 2026-08-01"


def without(usage_type: str, *instead: dict[str, Any]) -> Products:
    """Return the products of Lambda in us-east-1 with one replaced."""
    kept = [item for item in awslambda() if item["product"]["attributes"]["usagetype"] != usage_type]
    assert len(kept) == len(awslambda()) - 1
    return [*kept, *instead]


def as_text(bound: float) -> str:
    return "Inf" if math.isinf(bound) else str(int(bound))


@settings(max_examples=30, deadline=None)
@given(st.data(), st.lists(st.integers(0, 10**6), min_size=1, max_size=5))
def test_tiers_may_be_listed_in_any_order(api: PriceListApi, data: st.DataObject, prices: list[int]) -> None:
    cuts = data.draw(st.sets(st.integers(1, 10**12), min_size=len(prices) - 1, max_size=len(prices) - 1))
    ends = [*map(float, sorted(cuts)), math.inf]
    dimensions = [
        (as_text(begin), as_text(end), f"{price}e-9")
        for begin, end, price in zip([0.0, *ends], ends, prices, strict=False)
    ]
    duration = product("Lambda-GB-Second", "Lambda-GB-Second", *data.draw(st.permutations(dimensions)))
    api.has("us-east-1", without("Lambda-GB-Second", duration), logs())
    expected = tuple((end, float(f"{price}e-9")) for end, price in zip(ends, prices, strict=True))
    assert read(api, "us-east-1")[0].regions["us-east-1"].duration["x86_64"] == expected


def request(*dimensions: Dimension, unit: str = "Requests", currency: str = "USD") -> Products:
    return without("Request", product("Request", unit, *dimensions, currency=currency))


def duration(*dimensions: Dimension) -> Products:
    return without("Lambda-GB-Second", product("Lambda-GB-Second", "Lambda-GB-Second", *dimensions))


def two_offers() -> Products:
    item = flat("Request", "Requests", "0.0000002000")
    (offer,) = item["terms"]["OnDemand"].values()
    item["terms"]["OnDemand"]["another"] = offer
    return without("Request", item)


NO_NUMBER = "the price of Request is not a number of dollars"
MALFORMED = "the price of Request is malformed"
NO_PRODUCT = "a product of AWSLambda is malformed"
UNEVEN = "the tiers of Lambda-GB-Second leave a gap or overlap"
UNUSABLE: dict[str, tuple[list[Any], list[Any], str]] = {
    "no architecture": (without("Lambda-GB-Second-ARM"), logs(), "no price of Lambda-GB-Second-ARM"),
    "no ephemeral": (without("Lambda-Storage-GB-Second"), logs(), "no price of Lambda-Storage-GB-Second"),
    "logs without prefix": (awslambda(), logs(""), "no price of DataProcessing-Bytes"),
    "no logs": (awslambda(), [], "no product of AmazonCloudWatch"),
    "CNY": (request(("0", "Inf", "1"), currency="CNY"), logs(), "the price of Request is not in US dollars"),
    "unit": (request(("0", "Inf", "0.2"), unit="1M Requests"), logs(), "an unknown unit of Request"),
    "tiers": (request(("0", "9", "2"), ("9", "Inf", "1")), logs(), "tiers of Request"),
    "negative": (request(("0", "Inf", "-0.1")), logs(), NO_NUMBER),
    "nan": (request(("0", "Inf", "nan")), logs(), NO_NUMBER),
    "infinite": (request(("0", "Inf", "inf")), logs(), NO_NUMBER),
    "empty": (request(("0", "Inf", "")), logs(), MALFORMED),
    "text": (request(("0", "Inf", "<b>free</b>")), logs(), MALFORMED),
    "two offers": (two_offers(), logs(), MALFORMED),
    "no terms": (without("Request", {**flat("Request", "", ""), "terms": {}}), logs(), MALFORMED),
    "two products": ([*awslambda(), flat("USE1-Request", "Request", "1")], logs(), "several prices of Request"),
    "overlap": (duration(("0", "10", "2"), ("9", "Inf", "1")), logs(), UNEVEN),
    "gap": (duration(("0", "10", "2"), ("11", "Inf", "1")), logs(), UNEVEN),
    "no beginning": (duration(("1", "Inf", "1")), logs(), UNEVEN),
    "no end": (duration(("0", "10", "2")), logs(), UNEVEN),
    "bound that is no number": (duration(("0", "nan", "2"), ("nan", "Inf", "1")), logs(), UNEVEN),
    "twice the same tier": (duration(("0", "Inf", "1"), ("0", "Inf", "1")), logs(), UNEVEN),
    "no tier": (duration(), logs(), UNEVEN),
    "not JSON": ([*awslambda(), "{"], logs(), NO_PRODUCT),
    "a list": ([*awslambda(), "[]"], logs(), NO_PRODUCT),
    "not a product": ([*awslambda(), '{"product": null, "publicationDate": "2026-09-22"}'], logs(), NO_PRODUCT),
    "no date": ([*awslambda(), {**flat("Other", "", ""), "publicationDate": "soon"}], logs(), NO_PRODUCT),
}


@pytest.mark.parametrize(("awslambda", "logs", "why"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_price_list_that_is_incomplete_or_malformed_is_not_used(
    api: PriceListApi, awslambda: list[Any], logs: list[Any], why: str
) -> None:
    api.has("us-east-1", awslambda, logs)
    source = f"{TABLE} (the price list of the API cannot be used: {why})"
    assert read(api, "us-east-1") == (PriceList(PRICES, {"us-east-1": source}), [])


def test_products_that_agree_are_one_price(api: PriceListApi) -> None:
    api.has("us-east-1", [*awslambda(), flat("USE1-Request", "Request", "0.0000002")], logs())
    assert read(api, "us-east-1")[0].sources["us-east-1"] == "AWS Price List API, published 2026-09-22"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("AccessDeniedException", "access denied"),
        ("ThrottlingException", "throttled"),
        ("UnrecognizedClientException", "not enabled for this account"),
    ],
)
def test_a_refused_region_has_the_tables_prices_or_none(code: str, reason: str) -> None:
    api = PriceListApi()
    api.refusals = {"us-east-1": code, "eu-west-1": code}
    api.has("eu-central-2", awslambda("EUC2-"), logs("EUC2-"))
    source = f"the Price List API could not be read: {reason}"
    assert read(api, "us-east-1", "eu-central-2", "eu-west-1") == (
        PriceList(
            {"us-east-1": PRICES["us-east-1"], "eu-central-2": PRICES["us-east-1"]},
            {"us-east-1": f"{TABLE} ({source})", "eu-central-2": "AWS Price List API, published 2026-09-22"},
        ),
        [Gap("savings in eu-west-1", f"no price for this region in the table of 2025-10, and {source}")],
    )


def test_an_unreachable_price_list_is_replaced_by_the_table(nowhere: Callable[[str, str], Any]) -> None:
    source = f"{TABLE} (the Price List API could not be read: cannot be reached)"
    assert read_prices(nowhere, ["us-east-1"], []) == PriceList(PRICES, {"us-east-1": source})


def test_the_embedded_aws_has_no_price_list(embedded: LocalStack) -> None:
    source = f"{TABLE} (the Price List API could not be read: error 400)"
    prices = read_prices(lambda service, region: embedded.client(service), ["us-east-1"], [])
    assert prices == PriceList(PRICES, {"us-east-1": source})

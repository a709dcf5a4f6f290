"""The analysis in three steps: list the functions, collect what they used, find what they overpay."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cached_property
from itertools import groupby
from math import fsum
from operator import attrgetter

from lambda_costs.collect.compute_optimizer import Recommendation, read_recommendations
from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.inventory import Client, Function, Inventory, list_functions
from lambda_costs.collect.price_list import PriceList, read_prices
from lambda_costs.collect.prices import FREE_GB_SECONDS, METRIC_DATA
from lambda_costs.collect.region import Progress, RegionReader
from lambda_costs.collect.scan import ScanCost, metrics_cost
from lambda_costs.collect.usage import FunctionUsage, Usage, Window
from lambda_costs.findings import KINDS
from lambda_costs.model.compute import Compute, NoClaim, compute
from lambda_costs.model.context import FunctionContext
from lambda_costs.model.finding import Basis, Finding, rank
from lambda_costs.model.totals import ComputeSpend, Totals, measured_and_more
from lambda_costs.request import CostRequest
from vigil.sdk import InvalidDetail


@dataclass(frozen=True)
class Analysis:
    """What was found, and what was not analysed. Money is US dollars per 30 days."""

    request: CostRequest
    functions: tuple[Function, ...]
    usage: Usage
    compute: Mapping[str, Compute | NoClaim]  # by ARN
    cost: Mapping[str, float]  # by ARN: on-demand compute at today's settings, where it is known
    findings: tuple[Finding, ...]  # as ``rank`` sorts them
    gaps: tuple[Gap, ...]
    totals: Totals  # of the measured findings
    more: Totals  # what those to be tested add, if only changes that save are made
    prices: Mapping[str, str]  # the source of each region's prices
    scan: ScanCost
    recommendations: Mapping[str, Recommendation]  # of AWS Compute Optimizer, by ARN

    @property
    def start(self) -> date:
        """First day of the window."""
        return self.usage.window.start.date()

    @property
    def end(self) -> date:
        """The day after the window's last."""
        return self.usage.window.end.date()


@dataclass(frozen=True)
class CollectedData:
    """What was read from AWS, beside the inventory."""

    usage: Usage
    prices: PriceList
    recommendations: Mapping[str, Recommendation]
    scan: ScanCost


class CostAnalysis:
    """The analysis of one request. Each step runs once, and first runs the step before it if necessary."""

    def __init__(
        self, request: CostRequest, client: Client, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._request, self._client, self._now = request, client, now
        self._progress: Progress = lambda subject, done, total: None

    def list_functions(self) -> Inventory:
        """Return the functions that the request names; raises AwsUnavailable."""
        return self._inventory

    def collect_usage(self, progress: Progress | None = None) -> Usage:
        """Return what the functions used; raises AwsUnavailable, and InvalidDetail if that costs too much."""
        self._progress = progress or self._progress
        return self._collected.usage

    def find_savings(self) -> Analysis:
        """Return the findings; raises AwsUnavailable."""
        return self._analysis

    @cached_property
    def _inventory(self) -> Inventory:
        return list_functions(self._request, self._client)

    @cached_property
    def _collected(self) -> CollectedData:
        request, client, functions = self._request, self._client, self._inventory.functions
        limit, most = request.max_scan_dollars, metrics_cost(len(functions))
        if limit < most:
            raise InvalidDetail(
                f"detail: max_scan_dollars is {limit:g}, but the metrics of {len(functions):,}"
                f" function{'' if len(functions) == 1 else 's'} alone may cost ${most:.2g}: allow more, or name fewer"
                " functions or regions"
            )
        window = Window.before(self._now(), request.days)
        gaps: list[Gap] = []
        # The inventory is sorted by region.
        by_region = {region: list(here) for region, here in groupby(functions, attrgetter("region"))}
        prices = read_prices(client, list(by_region), gaps)
        by_arn: dict[str, FunctionUsage] = {}
        recommendations: dict[str, Recommendation] = {}
        metrics, queried, queries = 0, 0, 0.0
        for region, here in by_region.items():
            recommendations |= read_recommendations(client, region, [function.arn for function in here], gaps)
            reader = RegionReader(
                here, window, client, gaps, self._progress, lambda item: request.label(item.name, item.region)
            )
            by_arn |= reader.read(limit - most - queries, prices.regions.get(region))
            metrics, queried = metrics + sum(reader.metric_count), queried + reader.queried_bytes
            queries += reader.query_dollars
        scan = ScanCost(metrics, queried, metrics * METRIC_DATA + queries, limit)
        return CollectedData(Usage(window, by_arn, tuple(gaps)), prices, recommendations, scan)

    @cached_property
    def _analysis(self) -> Analysis:
        return analyse(self._request, self._inventory, self._collected)


def analyse(request: CostRequest, inventory: Inventory, data: CollectedData) -> Analysis:
    """Return the analysis of ``data``; reads nothing from AWS."""
    functions, usage = inventory.functions, data.usage
    computed = {item.arn: compute(item, usage.by_arn[item.arn], usage.window) for item in functions}
    # All functions of a region and architecture decide its price tier.
    gb_seconds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for function in functions:
        if isinstance(used := computed[function.arn], Compute):
            gb_seconds[function.region][function.architecture] += used.gb_seconds
    rates = {region: prices.at(gb_seconds[region]) for region, prices in data.prices.regions.items()}
    labels = {item.arn: request.label(item.name, item.region) for item in functions}
    contexts = [
        FunctionContext(
            item, usage.by_arn[item.arn], computed[item.arn], rates.get(item.region), labels[item.arn], usage.window
        )
        for item in functions
    ]
    on_demand = [(context, used) for context in contexts if isinstance(used := context.on_demand(), Compute)]
    cost = {context.function.arn: context.cost(used) for context, used in on_demand if context.known_rates}
    # Functions in regions without a price use the free tier, too.
    spend = ComputeSpend(fsum(cost.values()), fsum(used.gb_seconds for _, used in on_demand))
    # With a name filter, functions that were not analysed may use the free tier.
    free = request.functions is None and 0 < spend.gb_seconds <= FREE_GB_SECONDS
    results = [
        result
        for context in contexts
        for kind in KINDS.values()
        if context.known_rates or not kind.needs_prices
        for result in kind.rule(replace(context, free=free))
    ]
    today = {function.arn: function.memory_mb for function in functions}
    findings = rank(
        _with_second_opinion(item, today[item.arn], data.recommendations.get(item.arn))
        for item in results
        if isinstance(item, Finding)
    )
    gaps = tuple(sorted({*inventory.gaps, *usage.gaps, *(item for item in results if isinstance(item, Gap))}))
    totals, sources = measured_and_more(findings, spend), data.prices.sources
    return Analysis(
        request, functions, usage, computed, cost, findings, gaps, *totals, sources, data.scan, data.recommendations
    )


def _with_second_opinion(finding: Finding, today_mb: int, other: Recommendation | None) -> Finding:
    """Return ``finding``, to be tested if AWS Compute Optimizer contradicts it."""
    proposed = finding.proposed.get("memory_mb")
    if other is None or not isinstance(proposed, int) or not other.contradicts(today_mb, proposed):
        return finding
    return replace(finding, basis=Basis.TO_TEST, risk=f"{finding.risk} AWS Compute Optimizer says otherwise: test it.")

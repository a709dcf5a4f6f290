"""The analysis, step by step: which functions there are, what they used, what they overpay."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from math import fsum

from lambda_costs.collect.compute_optimizer import Recommendation, read_recommendations
from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.inventory import Client, Function, Inventory, list_functions
from lambda_costs.collect.price_list import PriceList, read_prices
from lambda_costs.collect.prices import FREE_GB_SECONDS, METRIC_DATA
from lambda_costs.collect.region import Progress, collect_region
from lambda_costs.collect.scan import Scan, metrics_cost
from lambda_costs.collect.usage import FunctionUsage, Usage, Window
from lambda_costs.findings import PRICELESS, RULES
from lambda_costs.model.compute import Compute, compute
from lambda_costs.model.context import Case
from lambda_costs.model.finding import Finding, rank
from lambda_costs.model.totals import Totals, Use, combine
from lambda_costs.request import CostRequest
from vigil.sdk import InvalidDetail


@dataclass(frozen=True)
class Analysis:
    """What was found, and what was not looked at. Money is US dollars per 30 days."""

    request: CostRequest
    functions: tuple[Function, ...]
    usage: Usage
    compute: Mapping[str, Compute | str]
    """By ARN: what a function's invocations use, or why that is not known."""
    cost: Mapping[str, float]
    """By ARN: on-demand compute at today's settings, of the functions of which it is known."""
    findings: tuple[Finding, ...]
    """Ranked: what saves most at least comes first."""
    gaps: tuple[Gap, ...]
    totals: Totals
    prices: Mapping[str, str]
    """By region: where its prices come from."""
    scan: Scan
    recommendations: Mapping[str, Recommendation]
    """By ARN: what AWS Compute Optimizer says."""

    @property
    def start(self) -> date:
        """First day of the window."""
        return self.usage.window.start.date()

    @property
    def end(self) -> date:
        """The day after the window's last."""
        return self.usage.window.end.date()


@dataclass(frozen=True)
class Readings:
    """What was read of AWS."""

    usage: Usage
    prices: PriceList
    recommendations: Mapping[str, Recommendation]
    scan: Scan


class Analyst:
    """Runs the analysis of one request; a step runs the one before it if that has not run, and runs once."""

    def __init__(
        self, request: CostRequest, client: Client, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._request = request
        self._client = client
        self._now = now
        self._inventory: Inventory | None = None
        self._readings: Readings | None = None
        self._analysis: Analysis | None = None

    def list_functions(self) -> Inventory:
        """Return the functions that the request names; raises AwsUnavailable."""
        if self._inventory is None:
            self._inventory = list_functions(self._request, self._client)
        return self._inventory

    def collect_usage(self, progress: Progress = lambda what, done, total: None) -> Usage:
        """Return what the functions used; raises AwsUnavailable, and InvalidDetail if that may not cost so much."""
        if self._readings is None:
            self._readings = _read(self._request, self.list_functions(), self._client, self._now(), progress)
        return self._readings.usage

    def find_savings(self) -> Analysis:
        """Return the findings; raises AwsUnavailable."""
        if self._analysis is None:
            self.collect_usage()
            assert self._readings is not None
            self._analysis = analyse(self._request, self.list_functions(), self._readings)
        return self._analysis


def _read(request: CostRequest, inventory: Inventory, client: Client, now: datetime, progress: Progress) -> Readings:
    window, functions, limit = Window.before(now, request.days), inventory.functions, request.max_scan_dollars
    left = limit - metrics_cost(len(functions))
    if left < 0:
        raise InvalidDetail(
            f"detail: max_scan_dollars is {limit:g}, but the metrics of {len(functions):,}"
            f" function{'' if len(functions) == 1 else 's'} alone may cost"
            f" ${metrics_cost(len(functions)):.2g}: allow more, or name fewer functions or regions"
        )
    gaps: list[Gap] = []
    regions = list(dict.fromkeys(function.region for function in functions))
    prices = read_prices(client, regions, gaps)
    by_arn: dict[str, FunctionUsage] = {}
    recommendations: dict[str, Recommendation] = {}
    metrics = queried = 0
    queries = 0.0
    for region in regions:
        here = [function for function in functions if function.region == region]
        recommendations |= read_recommendations(client, region, [function.arn for function in here], gaps)
        read = collect_region(
            here,
            window,
            client,
            gaps,
            progress,
            left - queries,
            prices.regions.get(region),
            lambda function: request.label(function.name, function.region),
        )
        by_arn |= read.by_arn
        metrics, queried, queries = metrics + read.metrics, queried + read.queried_bytes, queries + read.query_dollars
    scan = Scan(metrics, queried, metrics * METRIC_DATA + queries, limit)
    return Readings(Usage(window, by_arn, tuple(gaps)), prices, recommendations, scan)


def analyse(request: CostRequest, inventory: Inventory, readings: Readings) -> Analysis:
    """Return what follows from ``readings``; touches nothing."""
    functions, usage = inventory.functions, readings.usage
    computed = {
        function.arn: compute(function, usage.by_arn[function.arn], usage.window.days) for function in functions
    }
    rates = {
        region: prices.at(_gb_seconds(functions, computed, region))
        for region, prices in readings.prices.regions.items()
    }
    cases = [
        Case(
            function,
            usage.by_arn[function.arn],
            computed[function.arn],
            rates.get(function.region),
            request.label(function.name, function.region),
            usage.window.end.date(),
        )
        for function in functions
    ]
    priced = [case for case in cases if case.known_rates]
    used = {case.function.arn: (case, it) for case in priced if not isinstance(it := case.on_demand(), str)}
    use = Use(
        fsum(case.cost(it) for case, it in used.values()),
        # Of regions without a price, too: they use the free tier as well.
        fsum(
            it.gb_seconds for arn, it in computed.items() if isinstance(it, Compute) and _on_demand(usage.by_arn[arn])
        ),
    )
    # With a name filter, others may use the free tier: nobody knows.
    free = request.functions is None and 0 < use.gb_seconds <= FREE_GB_SECONDS
    results = list(_apply_rules(cases, free))
    findings = rank(item for item in results if isinstance(item, Finding))
    gaps = {*inventory.gaps, *usage.gaps, *(item for item in results if isinstance(item, Gap))}
    return Analysis(
        request,
        functions,
        usage,
        computed,
        {arn: case.cost(it) for arn, (case, it) in used.items()},
        findings,
        tuple(sorted(gaps)),
        combine(findings, use),
        readings.prices.sources,
        readings.scan,
        readings.recommendations,
    )


def _on_demand(usage: FunctionUsage) -> bool:
    return usage.provisioned == ()


def _apply_rules(cases: Iterable[Case], free: bool) -> Iterable[Finding | Gap]:
    for case in cases:
        for rule in RULES if case.known_rates else PRICELESS:
            yield from rule(replace(case, free=free))


def _gb_seconds(functions: Iterable[Function], computed: Mapping[str, Compute | str], region: str) -> dict[str, float]:
    """Return what ``functions`` use in ``region`` by architecture, to find the price tier."""
    total: dict[str, float] = defaultdict(float)
    for function in functions:
        used = computed[function.arn]
        if function.region == region and isinstance(used, Compute):
            total[function.architecture] += used.gb_seconds
    return total

"""The analysis, step by step: which functions there are, what they used, what they overpay."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from vigil.costs import prices
from vigil.costs.case import Case
from vigil.costs.collect import Progress, collect_usage
from vigil.costs.compute import Compute, compute
from vigil.costs.finding import Finding, Interval, combine, rank
from vigil.costs.findings import RULES
from vigil.costs.gaps import Gap
from vigil.costs.inventory import MODEL_ROWS, Client, Function, Inventory, list_functions
from vigil.costs.request import CostRequest
from vigil.costs.usage import Usage, Window


@dataclass(frozen=True)
class Analysis:
    """What was found, and what was not looked at. Money is US dollars per 30 days."""

    request: CostRequest
    functions: tuple[Function, ...]
    usage: Usage
    findings: tuple[Finding, ...]
    """Ranked: what saves most at least comes first."""
    gaps: tuple[Gap, ...]
    total: Interval
    """What all findings save together; changes that apply together on one function are multiplied, not added."""
    prices_date: str = prices.DATE
    prices_source: str = prices.SOURCE

    @property
    def start(self) -> date:
        """First day of the window."""
        return self.usage.window.start.date()

    @property
    def end(self) -> date:
        """The day after the window's last."""
        return self.usage.window.end.date()

    def for_model(self) -> dict[str, Any]:
        """Return the findings in brief, best first, so that they fit a model's context whatever the account's size."""
        return {
            "findings": [
                {
                    "id": item.id,
                    "change": item.change,
                    "risk": item.risk,
                    "dollars_per_30_days": [round(item.savings.low, 2), round(item.savings.high, 2)],
                }
                for item in self.findings[:MODEL_ROWS]
            ],
            "findings_in_all": len(self.findings),
            "functions_looked_at": len(self.functions),
            "not_looked_at": len(self.gaps),
        }


class Analyst:
    """Runs the analysis of one request; a step runs the one before it if that has not run, and runs once."""

    def __init__(
        self, request: CostRequest, client: Client, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._request = request
        self._client = client
        self._now = now
        self._inventory: Inventory | None = None
        self._usage: Usage | None = None
        self._analysis: Analysis | None = None

    def list_functions(self) -> Inventory:
        """Return the functions that the request names; raises AwsUnavailable."""
        if self._inventory is None:
            self._inventory = list_functions(self._request, self._client)
        return self._inventory

    def collect_usage(self, progress: Progress | None = None) -> Usage:
        """Return what the functions used; raises AwsUnavailable."""
        if self._usage is None:
            window = Window.before(self._now(), self._request.days)
            self._usage = collect_usage(self.list_functions().functions, window, self._client, progress)
        return self._usage

    def find_savings(self) -> Analysis:
        """Return the findings; raises AwsUnavailable."""
        if self._analysis is None:
            usage, inventory = self.collect_usage(), self.list_functions()
            results = list(_apply_rules(inventory.functions, usage, len(self._request.regions) > 1))
            findings = rank(item for item in results if isinstance(item, Finding))
            gaps = {*inventory.gaps, *usage.gaps, *(item for item in results if isinstance(item, Gap))}
            self._analysis = Analysis(
                self._request, inventory.functions, usage, findings, tuple(sorted(gaps)), combine(findings)
            )
        return self._analysis


def _apply_rules(functions: Iterable[Function], usage: Usage, several_regions: bool) -> Iterable[Finding | Gap]:
    computed = {
        function.arn: compute(function, usage.by_arn[function.arn], usage.window.days) for function in functions
    }
    rates = {
        region: price_list.at(_gb_seconds(functions, computed, region)) for region, price_list in prices.PRICES.items()
    }
    for function in functions:
        if function.region not in rates:
            yield Gap(f"savings in {function.region}", f"no price for this region in the table of {prices.DATE}")
            continue
        label = f"{function.name}:{function.region}" if several_regions else function.name
        case = Case(function, usage.by_arn[function.arn], computed[function.arn], rates[function.region], label)
        for rule in RULES:
            yield from rule(case)


def _gb_seconds(functions: Iterable[Function], computed: dict[str, Compute | str], region: str) -> dict[str, float]:
    """Return what ``functions`` use in ``region`` by architecture, to find the price tier."""
    total: dict[str, float] = defaultdict(float)
    for function in functions:
        used = computed[function.arn]
        if function.region == region and isinstance(used, Compute):
            total[function.architecture] += used.gb_seconds
    return total

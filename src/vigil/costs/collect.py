"""Reading what the functions used, region by region. What AWS refuses to show becomes a gap."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from vigil.costs.gaps import Gap, reading
from vigil.costs.inventory import Client, Function
from vigil.costs.log_groups import LogGroup, describe_log_groups, observe_ingestion
from vigil.costs.metrics import Metric, Observed, daily_sums
from vigil.costs.provisioned import list_provisioned
from vigil.costs.report_lines import read_reports
from vigil.costs.usage import FunctionUsage, Usage, Window

THREADS = 8

Progress = Callable[[int, int], None]
"""Hears (functions done, functions in all)."""

Key = TypeVar("Key")


def collect_usage(functions: Sequence[Function], window: Window, client: Client, progress: Progress | None) -> Usage:
    """Read what ``functions`` used in ``window``; raises AwsUnavailable if AWS fails in another way than refusing."""
    gaps: list[Gap] = []
    by_arn: dict[str, FunctionUsage] = {}
    for region in dict.fromkeys(function.region for function in functions):
        here = [function for function in functions if function.region == region]
        for function, used in _Region(region, window, client, gaps).collect(here):
            by_arn[function.arn] = used
            if progress:
                progress(len(by_arn), len(functions))
    return Usage(window, by_arn, tuple(gaps))


class _Region:
    """The readings of one region; its clients are made once and shared by the threads, as boto3 allows."""

    def __init__(self, region: str, window: Window, client: Client, gaps: list[Gap]) -> None:
        self.region, self.window, self.gaps = region, window, gaps
        self.awslambda = client("lambda", region)
        self.logs = client("logs", region)
        self.cloudwatch = client("cloudwatch", region)

    def collect(self, functions: Sequence[Function]) -> Iterable[tuple[Function, FunctionUsage]]:
        invocations = self._sums({function: _metric("Invocations", function.name) for function in functions})
        groups = self._log_groups(functions)

        def read(function: Function) -> FunctionUsage:
            return replace(self._read(function, invocations.get(function)), log_group=groups.get(function.log_group))

        with ThreadPoolExecutor(THREADS) as pool:
            # map yields in order, and cancels what has not begun when one reading raises.
            yield from zip(functions, pool.map(read, functions), strict=True)

    def _read(self, function: Function, invocations: Observed | None) -> FunctionUsage:
        reports, provisioned = None, None
        with reading(f"{function.name} in {self.region}", self.gaps):
            listed = list_provisioned(self.awslambda, function.name)
            metrics = {
                item: _metric("ProvisionedConcurrencyInvocations", function.name, item.qualifier) for item in listed
            }
            sums = self._sums(metrics)
            provisioned = tuple(replace(item, invocations=sums.get(item)) for item in listed)
        if invocations:
            with reading(f"{function.name} in {self.region}", self.gaps):
                reports = read_reports(self.logs, function, self.window.start, self.window.end, invocations.total)
        return FunctionUsage(invocations, reports, provisioned)

    def _sums(self, metrics: Mapping[Key, Metric]) -> dict[Key, Observed]:
        sums: dict[Metric, Observed] = {}
        with reading(f"metrics in {self.region}", self.gaps):
            sums = daily_sums(self.cloudwatch, list(metrics.values()), self.window.start, self.window.end)
        return {key: sums[metric] for key, metric in metrics.items() if metric in sums}

    def _log_groups(self, functions: Sequence[Function]) -> dict[str, LogGroup]:
        groups: dict[str, LogGroup] = {}
        ingested: dict[str, Observed] = {}
        with reading(f"log groups in {self.region}", self.gaps):
            groups = describe_log_groups(self.logs, functions)
        unlimited = [group.name for group in groups.values() if group.retention_days is None]
        with reading(f"metrics in {self.region}", self.gaps):
            ingested = observe_ingestion(self.cloudwatch, unlimited, self.window.end)
        return {name: replace(group, ingested=ingested.get(name)) for name, group in groups.items()}


def _metric(name: str, function: str, qualifier: str | None = None) -> Metric:
    resource = (("Resource", f"{function}:{qualifier}"),) if qualifier else ()
    return Metric("AWS/Lambda", name, (("FunctionName", function), *resource))

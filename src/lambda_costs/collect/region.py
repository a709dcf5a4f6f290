"""Reading what the functions used, region by region. What AWS does not show becomes a gap."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from lambda_costs.collect.gaps import Gap, reading
from lambda_costs.collect.insights import GROUPS, NoAnswer, query_reports
from lambda_costs.collect.inventory import Client, Function
from lambda_costs.collect.log_groups import LogGroup, describe_log_groups
from lambda_costs.collect.metrics import Daily, Metric, daily_values, lambda_metric, log_metric, total_between
from lambda_costs.collect.prices import RegionPrices
from lambda_costs.collect.provisioned import Provisioned, list_provisioned
from lambda_costs.collect.report_lines import Key, Tally, read_lines, reconcile
from lambda_costs.collect.scan import BYTES_PER_GB, affordable, scanned_bytes
from lambda_costs.collect.triggers import list_mappings, policy_principals
from lambda_costs.collect.usage import FunctionUsage, Window
from lambda_costs.thresholds import IDLE_DAYS, LOOK_BACK_DAYS

THREADS = 8

DOUBTED = "times with more REPORT lines than invocations were left out: some of the lines are doubled or forged"

Progress = Callable[[str, int, int], None]
"""Hears (what is read, how many functions of it are done, functions in all)."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class RegionUsage:
    """What the functions of one region used."""

    by_arn: Mapping[str, FunctionUsage]
    metrics: int
    """Metrics that were asked for."""
    queried_bytes: int
    """Bytes of log groups that Logs Insights was asked to go through."""
    query_dollars: float
    """What that costs."""


def collect_region(
    functions: Sequence[Function],
    window: Window,
    client: Client,
    gaps: list[Gap],
    progress: Progress,
    query_dollars: float,
    prices: RegionPrices | None,
    label: Callable[[Function], str],
) -> RegionUsage:
    """Read what ``functions``, all of one region, used in ``window``.

    ``label`` names a function in a gap. Logs Insights is asked for at most ``query_dollars``; other REPORT lines are
    read one by one, which is free.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        region = _Region(functions, window, client, gaps, progress, pool, label)
        try:
            return region.collect(query_dollars, prices)
        except BaseException:
            # What has not begun must not be waited for.
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Region:
    """The readings of one region; its clients are made once and shared by the threads, as boto3 allows."""

    def __init__(
        self,
        functions: Sequence[Function],
        window: Window,
        client: Client,
        gaps: list[Gap],
        progress: Progress,
        pool: ThreadPoolExecutor,
        label: Callable[[Function], str],
    ) -> None:
        self.functions, self.window, self.gaps, self.label = functions, window, gaps, label
        self.progress, self.pool = progress, pool
        self.region = functions[0].region
        self.metrics = 0
        # Metrics that threads asked for.
        self.counted: list[Metric] = []
        self.awslambda = client("lambda", self.region)
        self.logs = client("logs", self.region)
        self.cloudwatch = client("cloudwatch", self.region)

    def collect(self, query_dollars: float, prices: RegionPrices | None) -> RegionUsage:
        groups = self._log_groups()
        usage = {function: self._metrics_of(function) for function in self.functions}
        values = self._values([metric for metrics in usage.values() for metric in metrics.values()])
        used = {
            function: FunctionUsage(
                **{name: values.daily.get(metric) for name, metric in metrics.items()},  # type: ignore[arg-type]
                unread=values.unread(metrics.values()),
                log_group=groups.get(function.log_group),
            )
            for function, metrics in usage.items()
        }
        for function, settings in self._each("settings", self._settings, self.functions):
            used[function] = replace(used[function], **settings)
        self._invocations_on_provisioned(used)
        self._look_back(used)
        queried = self._reports(used, query_dollars, prices)
        return RegionUsage(
            {function.arn: what for function, what in used.items()},
            self.metrics + len(self.counted),
            queried,
            queried / BYTES_PER_GB * prices.log_scan if prices else 0.0,
        )

    def _metrics_of(self, function: Function) -> dict[str, Metric]:
        metrics = {
            "invocations": lambda_metric("Invocations", function.name),
            "duration_ms": lambda_metric("Duration", function.name),
            "p99_ms": lambda_metric("Duration", function.name, "p99"),
            "errors": lambda_metric("Errors", function.name),
            "recursions_dropped": lambda_metric("RecursiveInvocationsDropped", function.name),
            "ingested_bytes": log_metric("IncomingBytes", function.log_group),
        }
        if function.insights:
            metrics["cpu_ms"] = Metric("LambdaInsights", "cpu_total_time", (("function_name", function.name),))
        return metrics

    def _values(self, metrics: Sequence[Metric], start_days: int | None = None) -> "_Values":
        start = self.window.end - timedelta(days=start_days) if start_days else self.window.start
        wanted = list(dict.fromkeys(metrics))
        self.metrics += len(wanted)
        before = len(self.gaps)
        with reading(f"metrics in {self.region}", self.gaps):
            answer = daily_values(self.cloudwatch, wanted, start, self.window.end, self.pool)
            return _Values(answer.daily, answer.partial, None)
        return _Values({}, frozenset(), self.gaps[before].why)

    def _log_groups(self) -> dict[str, LogGroup]:
        with reading(f"log groups in {self.region}", self.gaps):
            return describe_log_groups(self.logs, self.functions)
        return {}

    def _settings(self, function: Function) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        with reading(self.label(function), self.gaps):
            settings["provisioned"] = list_provisioned(self.awslambda, function.name)
        with reading(self.label(function), self.gaps):
            answer = self.awslambda.get_function_recursion_config(FunctionName=function.name)
            settings["recursion_allowed"] = answer["RecursiveLoop"] == "Allow"
        return settings

    def _invocations_on_provisioned(self, used: dict[Function, FunctionUsage]) -> None:
        def metric(function: Function, item: Provisioned) -> Metric:
            return lambda_metric("ProvisionedConcurrencyInvocations", function.name, qualifier=item.qualifier)

        warm = {function: what.provisioned for function, what in used.items() if what.provisioned}
        if not warm:
            return
        values = self._values([metric(function, item) for function, items in warm.items() for item in items])
        for function, items in warm.items():
            unread = values.unread(metric(function, item) for item in items)
            observed = tuple(replace(item, invocations=values.daily.get(metric(function, item))) for item in items)
            # Of what is not known, no low use may be read.
            used[function] = replace(used[function], provisioned=None if unread else observed)

    def _look_back(self, used: dict[Function, FunctionUsage]) -> None:
        """Look for the last invocation, and the triggers, of functions that nothing has invoked of late."""
        recent = self.window.end.date() - timedelta(days=IDLE_DAYS)
        silent = {
            function: lambda_metric("Invocations", function.name)
            for function, what in used.items()
            if not what.unread and ((what.invocations and what.invocations.last_use) or date.min) <= recent
        }
        if not silent:
            return
        past = self._values(list(silent.values()), LOOK_BACK_DAYS)
        mappings: dict[str, list[str]] | None = None
        with reading(f"event source mappings in {self.region}", self.gaps):
            mappings = list_mappings(self.awslambda)

        def triggers(function: Function) -> tuple[str, ...] | None:
            with reading(self.label(function), self.gaps):
                principals = policy_principals(self.awslambda, function.name)
                if mappings is not None:
                    return tuple(sorted({*principals, *mappings.get(function.arn, [])}))
            return None

        for function, found in self._each("triggers", triggers, list(silent)):
            used[function] = replace(
                used[function],
                unread=past.unread([silent[function]]),
                last_invoked=earlier.last_use if (earlier := past.daily.get(silent[function])) else None,
                triggers=found,
            )

    def _reports(self, used: dict[Function, FunctionUsage], dollars: float, prices: RegionPrices | None) -> int:
        """Read the REPORT lines of functions with invocations; return the bytes that Logs Insights was asked for."""
        active = [function for function in self.functions if used[function].invocations]
        sizes = {
            function.log_group: scanned_bytes(used[function].log_group, used[function].ingested_bytes)
            for function in active
            if (group := used[function].log_group) and group.only_of(function)
        }
        names, queried = affordable(sizes, dollars, prices.log_scan) if prices else ([], 0)
        chosen = {name: sizes[name] or 0 for name in names}
        most = dollars / prices.log_scan * BYTES_PER_GB if prices else 0.0
        lock = Lock()

        def again(functions: Sequence[Function]) -> bool:
            nonlocal queried
            with lock:
                total = queried + sum(chosen[function.log_group] for function in functions)
                if total > most:
                    return False
                queried = total
                return True

        tallies = self._query([function for function in active if function.log_group in chosen], again)

        def read(function: Function) -> dict[Key, Tally] | None:
            group = used[function].log_group
            window = self.window.kept(group.retention_days if group else None)
            if function in tallies:
                # A query asks for the same days of all its log groups.
                return {key: item for key, item in tallies[function].items() if key.day >= window.start.date()}
            if not window.days:
                return None
            with reading(self.label(function), self.gaps):
                invocations = used[function].invocations
                assert invocations is not None
                return read_lines(
                    self.logs,
                    function,
                    window.start,
                    window.end,
                    invocations.total,
                    partial(self._fits, function),
                )
            return None

        for function, found in self._each("REPORT lines", read, active):
            invocations = used[function].invocations
            if found and invocations:
                reports = reconcile(found, invocations)
                used[function] = replace(used[function], reports=reports)
                if reports is None or reports.days_dropped:
                    self.gaps.append(Gap(self.label(function), DOUBTED))
        return queried

    def _fits(self, function: Function, lines: int, start: datetime, end: datetime) -> bool:
        metric = lambda_metric("Invocations", function.name)
        self.counted.append(metric)
        if lines <= total_between(self.cloudwatch, metric, start, end, self.window.end):
            return True
        self.gaps.append(Gap(self.label(function), DOUBTED))
        return False

    def _query(
        self, functions: Sequence[Function], again: Callable[[Sequence[Function]], bool]
    ) -> dict[Function, dict[Key, Tally]]:
        """Return what Logs Insights says of those functions that it answers for; ``again`` as of query_reports."""
        by_format = ([item for item in functions if item.json_logs == json_logs] for json_logs in (False, True))
        batches = [items[first : first + GROUPS] for items in by_format for first in range(0, len(items), GROUPS)]

        def query(batch: Sequence[Function]) -> Mapping[Function, dict[Key, Tally]]:
            try:
                with reading(f"Logs Insights in {self.region}", self.gaps):
                    return query_reports(self.logs, batch, self.window.start, self.window.end, again=again)
            except NoAnswer as error:
                self.gaps.append(Gap(f"Logs Insights in {self.region}", f"{error}; REPORT lines were read one by one"))
            return {}

        # The first one shows whether the service is there at all.
        answers = dict(query(batches[0])) if batches else {}
        if answers:
            for answer in self.pool.map(query, batches[1:]):
                answers |= answer
        return answers

    def _each(self, what: str, read: Callable[[Item], Result], items: Sequence[Item]) -> Iterable[tuple[Item, Result]]:
        """Yield each of ``items`` with what ``read`` returns for it, in order, and tell how far it is."""
        for done, pair in enumerate(zip(items, self.pool.map(read, items), strict=True), start=1):
            self.progress(what, done, len(items))
            yield pair


@dataclass(frozen=True)
class _Values:
    """Metrics that were read, and why others were not."""

    daily: Mapping[Metric, Daily]
    partial: frozenset[Metric]
    refused: str | None

    def unread(self, metrics: Iterable[Metric]) -> str | None:
        """Return why not all of ``metrics`` are known, or None if they are."""
        if self.refused:
            return f"its metrics could not be read: {self.refused}"
        if names := sorted({metric.name for metric in metrics if metric in self.partial}):
            return f"CloudWatch gave only a part of its data: {', '.join(names)}"
        return None

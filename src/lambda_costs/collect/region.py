"""Reads what the functions of one region used. What AWS does not show becomes a gap."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from lambda_costs.collect.gaps import Gap, record_gap_if_denied
from lambda_costs.collect.insights import MAX_LOG_GROUPS, QueryFailed, query_reports
from lambda_costs.collect.inventory import Client, Function
from lambda_costs.collect.log_groups import LogGroup, describe_log_groups
from lambda_costs.collect.metrics import Answer, Metric, daily_values, lambda_metric, total_between
from lambda_costs.collect.prices import RegionPrices
from lambda_costs.collect.report_lines import Tally, TallyKey, read_lines, reconcile
from lambda_costs.collect.scan import BYTES_PER_GB, groups_within_budget, scanned_bytes
from lambda_costs.collect.settings import list_mappings, list_provisioned, policy_principals
from lambda_costs.collect.usage import IDLE_DAYS, LOOK_BACK_DAYS, FunctionUsage, Window

THREADS = 8
TOO_MANY_REPORT_LINES = "ignored times with more REPORT lines than invocations: some lines are duplicates or forged"

Progress = Callable[[str, int, int], None]  # called with (what is read, functions done, functions in all)
Again = Callable[[Sequence[Function]], bool]  # whether the budget allows to scan the logs of these functions once more

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class RegionReader:
    """Reads, once, what ``functions`` of one region used in ``window``. Threads share clients, as boto3 allows."""

    functions: Sequence[Function]
    window: Window
    client: Client
    gaps: list[Gap]
    progress: Progress
    label: Callable[[Function], str]  # names a function in a gap

    def __post_init__(self) -> None:
        self.region = self.functions[0].region
        services = ("lambda", "logs", "cloudwatch")
        self.awslambda, self.logs, self.cloudwatch = (self.client(service, self.region) for service in services)
        self.pool = ThreadPoolExecutor(THREADS)
        self.used: dict[Function, FunctionUsage] = {}
        # Numbers of metrics requested; a list, since threads can append to one without a lock.
        self.metric_count: list[int] = []
        self.queried_bytes, self.query_dollars = 0, 0.0  # what Logs Insights was asked to scan, and its cost

    def read(self, dollars: float, prices: RegionPrices | None) -> Mapping[str, FunctionUsage]:
        """Return what the functions used, by ARN; Logs Insights scans logs for at most ``dollars``.

        Other REPORT lines are read one by one, which is free.
        """
        try:
            self._read_metrics()
            for function, settings in self._map_with_progress("settings", self._settings, self.functions):
                self._update(function, **settings)
            self._read_provisioned_invocations()
            self._read_idle_functions()
            self._read_reports(dollars, prices)
        finally:
            # After an error, do not wait for tasks that have not started.
            self.pool.shutdown(cancel_futures=True)
        self.query_dollars = self.queried_bytes / BYTES_PER_GB * prices.log_scan if prices else 0.0
        return {function.arn: usage for function, usage in self.used.items()}

    def _update(self, function: Function, **fields: Any) -> None:
        self.used[function] = replace(self.used[function], **fields)

    def _read_metrics(self) -> None:
        groups: dict[str, LogGroup] = {}
        with record_gap_if_denied(f"log groups in {self.region}", self.gaps):
            groups = describe_log_groups(self.logs, self.functions)
        wanted = {function: _metrics_of(function) for function in self.functions}
        values = self._values([metric for metrics in wanted.values() for metric in metrics.values()])
        for function, metrics in wanted.items():
            self.used[function] = FunctionUsage(
                **{name: values.daily.get(metric) for name, metric in metrics.items()},  # type: ignore[arg-type]
                unread=values.unread(metrics.values()),
                log_group=groups.get(function.log_group),
            )

    def _values(self, metrics: Sequence[Metric], start_days: int | None = None) -> Answer:
        start = self.window.end - timedelta(days=start_days) if start_days else self.window.start
        wanted = list(dict.fromkeys(metrics))
        self.metric_count.append(len(wanted))
        before = len(self.gaps)
        with record_gap_if_denied(f"metrics in {self.region}", self.gaps):
            return daily_values(self.cloudwatch, wanted, start, self.window.end, self.pool)
        return Answer({}, frozenset(), self.gaps[before].reason)

    def _settings(self, function: Function) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        with record_gap_if_denied(self.label(function), self.gaps):
            settings["provisioned"] = list_provisioned(self.awslambda, function.name)
        with record_gap_if_denied(self.label(function), self.gaps):
            answer = self.awslambda.get_function_recursion_config(FunctionName=function.name)
            settings["recursion_allowed"] = answer["RecursiveLoop"] == "Allow"
        return settings

    def _read_provisioned_invocations(self) -> None:
        warm = {
            function: {
                lambda_metric("ProvisionedConcurrencyInvocations", function.name, qualifier=item.qualifier): item
                for item in usage.provisioned
            }
            for function, usage in self.used.items()
            if usage.provisioned
        }
        values = self._values([metric for items in warm.values() for metric in items])
        for function, items in warm.items():
            observed = tuple(replace(item, invocations=values.daily.get(metric)) for metric, item in items.items())
            # Without these values, the provisioned concurrency must not look unused.
            self._update(function, provisioned=None if values.unread(items) else observed)

    def _read_idle_functions(self) -> None:
        """Read the last invocation and the triggers of functions that nothing invoked recently."""
        recent = self.window.end.date() - timedelta(days=IDLE_DAYS)
        idle = {
            function: lambda_metric("Invocations", function.name)
            for function, usage in self.used.items()
            if not usage.unread and ((usage.invocations and usage.invocations.last_use) or date.min) <= recent
        }
        if not idle:
            return
        past = self._values(list(idle.values()), LOOK_BACK_DAYS)
        mappings: dict[str, list[str]] | None = None
        with record_gap_if_denied(f"event source mappings in {self.region}", self.gaps):
            mappings = list_mappings(self.awslambda)

        def triggers(function: Function) -> tuple[str, ...] | None:
            with record_gap_if_denied(self.label(function), self.gaps):
                principals = policy_principals(self.awslambda, function.name)
                if mappings is not None:
                    return tuple(sorted({*principals, *mappings.get(function.arn, [])}))
            return None

        for function, found in self._map_with_progress("triggers", triggers, list(idle)):
            earlier = past.daily.get(idle[function])
            last = earlier.last_use if earlier else None
            self._update(function, unread=past.unread([idle[function]]), last_invoked=last, triggers=found)

    def _read_reports(self, dollars: float, prices: RegionPrices | None) -> None:
        """Read REPORT lines of functions with invocations."""
        active = {function: calls for function in self.functions if (calls := self.used[function].invocations)}
        sizes = {
            function.log_group: scanned_bytes(group, self.used[function].ingested_bytes)
            for function in active
            if (group := self.used[function].log_group) and group.only_of(function)
        }
        names, self.queried_bytes = groups_within_budget(sizes, dollars, prices.log_scan) if prices else ([], 0)
        most = dollars / prices.log_scan * BYTES_PER_GB if prices else 0.0
        lock = Lock()

        def again(functions: Sequence[Function]) -> bool:
            with lock:
                total = self.queried_bytes + sum(sizes[function.log_group] or 0 for function in functions)
                if total <= most:
                    self.queried_bytes = total
                return total <= most

        tallies = self._query([function for function in active if function.log_group in names], again)

        def read(function: Function) -> Mapping[TallyKey, Tally] | None:
            group = self.used[function].log_group
            window = self.window.kept(group.retention_days if group else None)
            if function in tallies:
                # A query covers the same days of all its log groups.
                return {key: item for key, item in tallies[function].items() if key.day >= window.start.date()}
            if not window.days:
                return None
            fits, total = partial(self._fits, function), active[function].total
            with record_gap_if_denied(self.label(function), self.gaps):
                return read_lines(self.logs, function, window.start, window.end, total, fits)
            return None

        for function, found in self._map_with_progress("REPORT lines", read, list(active)):
            if found:
                reports = reconcile(found, active[function])
                self._update(function, reports=reports)
                if reports is None or reports.days_dropped:
                    self.gaps.append(Gap(self.label(function), TOO_MANY_REPORT_LINES))

    def _fits(self, function: Function, lines: int, start: datetime, end: datetime) -> bool:
        metric = lambda_metric("Invocations", function.name)
        self.metric_count.append(1)
        if lines <= total_between(self.cloudwatch, metric, start, end, self.window.end):
            return True
        self.gaps.append(Gap(self.label(function), TOO_MANY_REPORT_LINES))
        return False

    def _query(self, functions: Sequence[Function], again: Again) -> dict[Function, dict[TallyKey, Tally]]:
        """Return the tallies of those functions for which Logs Insights answers."""
        by_format = ([item for item in functions if item.json_logs == json_logs] for json_logs in (False, True))
        size = MAX_LOG_GROUPS
        batches = [items[first : first + size] for items in by_format for first in range(0, len(items), size)]

        def query(batch: Sequence[Function]) -> Mapping[Function, dict[TallyKey, Tally]]:
            subject = f"Logs Insights in {self.region}"
            try:
                with record_gap_if_denied(subject, self.gaps):
                    return query_reports(self.logs, batch, self.window.start, self.window.end, again=again)
            except QueryFailed as error:
                self.gaps.append(Gap(subject, f"{error}; REPORT lines were read one by one"))
            return {}

        # The first query shows whether the service is available.
        answers = dict(query(batches[0])) if batches else {}
        if answers:
            for answer in self.pool.map(query, batches[1:]):
                answers |= answer
        return answers

    def _map_with_progress(
        self, subject: str, read: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterable[tuple[Item, Result]]:
        """Yield each item with what ``read`` returns for it, in order, and report the progress."""
        for done, pair in enumerate(zip(items, self.pool.map(read, items), strict=True), start=1):
            self.progress(subject, done, len(items))
            yield pair


def _metrics_of(function: Function) -> dict[str, Metric]:
    metrics = {
        "invocations": lambda_metric("Invocations", function.name),
        "duration_ms": lambda_metric("Duration", function.name),
        "p99_ms": lambda_metric("Duration", function.name, "p99"),
        "errors": lambda_metric("Errors", function.name),
        "recursions_dropped": lambda_metric("RecursiveInvocationsDropped", function.name),
        "ingested_bytes": Metric("AWS/Logs", "IncomingBytes", (("LogGroupName", function.log_group),)),
    }
    if function.insights:
        metrics["cpu_ms"] = Metric("LambdaInsights", "cpu_total_time", (("function_name", function.name),))
    return metrics

"""Reads what the functions of one region used. What AWS does not show becomes a gap."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from math import fsum
from threading import Lock
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from lambda_costs.collect.gaps import Gap, explain, record_gap_if_denied, refuses_request
from lambda_costs.collect.insights import MAX_LOG_GROUPS, QueryFailed, query_reports
from lambda_costs.collect.inventory import Client, Function
from lambda_costs.collect.log_groups import LogGroup, describe_log_groups
from lambda_costs.collect.metrics import (
    HOUR_SECONDS,
    Answer,
    Metric,
    daily_values,
    fine_values,
    finest_period,
    lambda_metric,
)
from lambda_costs.collect.prices import RegionPrices
from lambda_costs.collect.report_lines import Fits, Tally, TallyKey, is_sampled, read_lines, reconcile, slices
from lambda_costs.collect.scaling import read_scaling
from lambda_costs.collect.scan import BYTES_PER_GB, groups_within_budget, scanned_bytes
from lambda_costs.collect.settings import Provisioned, list_mappings, list_provisioned, policy_principals
from lambda_costs.collect.usage import IDLE_DAYS, LOOK_BACK_DAYS, FunctionUsage, Window

THREADS = 8
TOO_MANY_REPORT_LINES = "ignored times with more REPORT lines than invocations: some lines are duplicates or forged"
ONE_BY_ONE = "; REPORT lines were read one by one"

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
            subject = f"scaling of provisioned concurrency in {self.region}"
            self.scaling = read_scaling(self.client("application-autoscaling", self.region), subject, self.gaps)
            for function, settings in self._map_with_progress("settings", self._settings, self.functions):
                self._update(function, **settings)
            self._read_provisioned_use()
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
            settings["provisioned"] = list_provisioned(self.awslambda, function.name, self.scaling)
        with record_gap_if_denied(self.label(function), self.gaps):
            answer = self.awslambda.get_function_recursion_config(FunctionName=function.name)
            settings["recursion_allowed"] = answer["RecursiveLoop"] == "Allow"
        return settings

    def _read_provisioned_use(self) -> None:
        """Read what ran on provisioned concurrency, and how much was allocated where a policy decides."""
        warm = {function: usage.provisioned for function, usage in self.used.items() if usage.provisioned}
        if not warm:
            return

        def metrics(function: Function, item: Provisioned) -> dict[str, Metric]:
            names = {
                "invocations": "ProvisionedConcurrencyInvocations",
                "all_invocations": "Invocations",
                "duration_ms": "Duration",
            }
            return {
                field: lambda_metric(name, function.name, qualifier=item.qualifier) for field, name in names.items()
            }

        wanted = [
            metric for function, items in warm.items() for item in items for metric in metrics(function, item).values()
        ]
        values = self._values(wanted)
        for function, items in warm.items():
            observed = [
                replace(
                    item,
                    **{field: values.daily.get(metric) for field, metric in metrics(function, item).items()},  # type: ignore[arg-type]
                    allocated=self._allocated(function, item),
                )
                for item in items
            ]
            unread = values.unread(metric for item in items for metric in metrics(function, item).values())
            # Without these values, the provisioned concurrency must not look unused.
            self._update(function, provisioned=None if unread else tuple(observed))

    def _allocated(self, function: Function, item: Provisioned) -> Mapping[datetime, float] | None:
        """Return the executions allocated by hour: those in use over the share of all that they are."""
        if not (item.scaling and item.scaling.follows_use):
            return None
        names = ("ProvisionedConcurrentExecutions", "ProvisionedConcurrencyUtilization")
        metrics = [lambda_metric(name, function.name, "Maximum", item.qualifier) for name in names]
        self.metric_count.append(len(metrics))
        with record_gap_if_denied(self.label(function), self.gaps):
            used, shares = fine_values(self.cloudwatch, metrics, self.window.start, self.window.end, HOUR_SECONDS)
            return {hour: used[hour] / share for hour, share in shares.items() if share > 0 and hour in used}
        return None

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
            self._update(
                function,
                unread=past.unread([idle[function]]),
                last_invoked=earlier.last_use if earlier else None,
                longest_pause=earlier.longest_pause if earlier else None,
                triggers=found,
            )

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

        others = sum(is_sampled(calls.total) for function, calls in active.items() if function not in tallies)

        def read(function: Function) -> Mapping[TallyKey, Tally] | None:
            group = self.used[function].log_group
            window = self.window.kept(group.retention_days if group else None)
            if function in tallies:
                # A query covers the same days of all its log groups.
                return {key: item for key, item in tallies[function].items() if key.day >= window.start.date()}
            if not window.days:
                return None
            with record_gap_if_denied(self.label(function), self.gaps):
                if is_sampled(active[function].total):
                    begins = slices(window.start, window.end, others)
                    return read_lines(self.logs, function, begins, window.end, self._fits(function))
                return read_lines(self.logs, function, [window.start], window.end)
            return None

        for function, found in self._map_with_progress("REPORT lines", read, list(active)):
            if found:
                reports = reconcile(found, active[function])
                self._update(function, reports=reports)
                if reports is None or reports.days_dropped:
                    self.gaps.append(Gap(self.label(function), TOO_MANY_REPORT_LINES))

    def _fits(self, function: Function) -> Fits:
        """Return whether the metrics show as many invocations as lines were read; reads them when first asked."""
        seconds = finest_period(self.window.start, self.window.end)

        @cache
        def calls() -> Mapping[datetime, float]:
            self.metric_count.append(1)
            metrics = [lambda_metric("Invocations", function.name)]
            return fine_values(self.cloudwatch, metrics, self.window.start, self.window.end, seconds)[0]

        def fits(lines: int, start: datetime, end: datetime) -> bool:
            if lines <= fsum(n for at, n in calls().items() if start - timedelta(seconds=seconds) < at <= end):
                return True
            self.gaps.append(Gap(self.label(function), TOO_MANY_REPORT_LINES))
            return False

        return fits

    def _query(self, functions: Sequence[Function], again: Again) -> dict[Function, dict[TallyKey, Tally]]:
        """Return the tallies of those functions for which Logs Insights answers."""
        by_format = ([item for item in functions if item.json_logs == json_logs] for json_logs in (False, True))
        size = MAX_LOG_GROUPS
        batches = [items[first : first + size] for items in by_format for first in range(0, len(items), size)]
        # The first batch shows whether the service is available.
        answers = self._query_batch(batches[0], again) if batches else {}
        if answers is None:
            return {}
        for answer in self.pool.map(lambda batch: self._query_batch(batch, again), batches[1:]):
            answers |= answer or {}
        return answers

    def _query_batch(self, batch: Sequence[Function], again: Again) -> dict[Function, dict[TallyKey, Tally]] | None:
        """Query a batch of log groups; if they are refused, its halves, until the group that is the reason is alone.

        None if the service does not answer, whatever the groups.
        """
        subject = f"Logs Insights in {self.region}"
        try:
            return dict(query_reports(self.logs, batch, self.window.start, self.window.end, again=again))
        except QueryFailed as error:
            reason = str(error)
        except (BotoCoreError, ResponseParserError) as error:
            reason = explain(error)
        except ClientError as error:
            reason = f"{error.operation_name}: {explain(error)}"
            if refuses_request(error):
                # A refused query scans nothing.
                if half := len(batch) // 2:
                    parts = [self._query_batch(part, again) for part in (batch[:half], batch[half:])]
                    return {of: found for part in parts if part for of, found in part.items()}
                self.gaps.append(Gap(f"{subject}, {self.label(batch[0])}", f"{reason}{ONE_BY_ONE}"))
                return {}
        self.gaps.append(Gap(subject, f"{reason}{ONE_BY_ONE}"))
        return None

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
        "slowest_ms": lambda_metric("Duration", function.name, "Maximum"),
        "errors": lambda_metric("Errors", function.name),
        "recursions_dropped": lambda_metric("RecursiveInvocationsDropped", function.name),
        "ingested_bytes": Metric("AWS/Logs", "IncomingBytes", (("LogGroupName", function.log_group),)),
    }
    if function.insights:
        metrics["cpu_ms"] = Metric("LambdaInsights", "cpu_total_time", (("function_name", function.name),))
    return metrics

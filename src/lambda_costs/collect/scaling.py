"""Application Auto Scaling of provisioned concurrency: schedules and policies that change how much is allocated."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from lambda_costs.collect.gaps import Gap, record_gap_if_denied
from lambda_costs.collect.metrics import DAY_SECONDS, HOUR_SECONDS

NAMESPACE = "lambda"
SETTLE_DAYS = 7  # what acts in a week decides what is allocated at its end, whatever is at the hour of the analysis
MAX_MOMENTS = 1_000  # of an action in a period; one that acts more than hourly takes too long to follow
_POLICIES_SUSPENDED = {"DynamicScalingInSuspended", "DynamicScalingOutSuspended"}
_RESOURCE = re.compile(r"function:(?P<function>[^:]+):(?P<qualifier>[^:$]+)")  # $LATEST has none


Resource = tuple[str, str]  # (function, alias or version)


class UnknownSchedule(Exception):
    """A schedule that is not understood here."""


@dataclass(frozen=True)
class ScheduledAction:
    """An action that sets the bounds of what is allocated."""

    name: str
    schedule: str  # cron(...), at(...) or rate(...)
    time_zone: str
    least: int | None
    most: int | None
    begins: datetime | None = None  # before this, and from ``ends`` on, it never acts
    ends: datetime | None = None

    def times(self, start: datetime, end: datetime) -> list[datetime]:
        """Return when it acts in [start, end), in UTC; raises UnknownSchedule."""
        start, end = max(start, self.begins or start), min(end, self.ends or end)
        if start >= end:
            return []
        kind, _, text = self.schedule.rstrip(")").partition("(")
        try:
            zone = ZoneInfo(self.time_zone)
            if kind == "at":
                moment = datetime.fromisoformat(text).replace(tzinfo=zone)
                # The difference of two moments in one zone would ignore a change of its clocks.
                return [moment.astimezone(UTC)] if start <= moment < end else []
            if kind == "cron":
                moments = list(islice(_cron_times(text, start.astimezone(zone), end), MAX_MOMENTS + 1))
                if len(moments) <= MAX_MOMENTS:
                    return moments
        except (ValueError, KeyError, CronSimError) as error:
            raise UnknownSchedule(self.schedule) from error
        raise UnknownSchedule(self.schedule)


@dataclass(frozen=True)
class Scaling:
    """How the provisioned concurrency of one alias or version changes."""

    least: int
    most: int
    actions: tuple[ScheduledAction, ...] = ()
    follows_use: bool = False  # whether a policy changes it between the bounds

    def allocated(
        self, now: int, start: datetime, days: int, known: frozenset[datetime] = frozenset()
    ) -> tuple[float, float]:
        """Return the least and the most execution-seconds allocated in ``days`` from ``start``, when ``now`` are.

        What no schedule here tells lies between the bounds of all actions. ``known`` hours are left out.
        """
        since, end = start - timedelta(days=SETTLE_DAYS), start + timedelta(days=days)
        try:
            moments = [(moment, action) for action in self.actions for moment in action.times(since, end)]
        except UnknownSchedule:
            bounds = [bound for item in self.actions for bound in (item.least, item.most) if bound is not None]
            most = self.most if self.follows_use else now
            seconds = float(days * DAY_SECONDS - HOUR_SECONDS * len(known))
            return min([self.least, now, *bounds]) * seconds, max([most, now, *bounds]) * seconds
        least, most = self.least, self.most
        low = high = now
        total_low = total_high = 0.0
        last = (end, ScheduledAction("", "", "", None, None))
        for moment, action in [*sorted(moments, key=lambda pair: (pair[0], pair[1].name)), last]:
            if self.follows_use:
                low, high = min(least, most), most
            begin = max(since, start)
            left_out = HOUR_SECONDS * sum(begin <= hour < moment for hour in known)
            seconds = max(0.0, (moment - begin).total_seconds()) - left_out
            total_low, total_high, since = total_low + low * seconds, total_high + high * seconds, moment
            least = least if action.least is None else action.least
            most = most if action.most is None else action.most
            # An action changes only what is out of its bounds.
            low, high = (min(max(value, least), most) for value in (low, high))
        return total_low, total_high


def read_scaling(autoscaling: Any, subject: str, gaps: list[Gap]) -> Mapping[Resource, Scaling | None] | None:
    """Return the scaling of provisioned concurrency of one region; what cannot be read is a gap of ``subject``.

    None if it is not known what scales, and for each resource of which it is not known how.
    """

    def items(operation: str, key: str) -> Iterator[tuple[Resource, Mapping[str, Any]]]:
        pages: Iterable[Any] = autoscaling.get_paginator(operation).paginate(ServiceNamespace=NAMESPACE)
        for page in pages:
            for item in page[key]:
                if match := _RESOURCE.fullmatch(item["ResourceId"]):
                    yield (match["function"], match["qualifier"]), item

    targets: dict[Resource, Mapping[str, Any]] | None = None
    with record_gap_if_denied(subject, gaps):
        targets = dict(items("describe_scalable_targets", "ScalableTargets"))
    if not targets:
        return None if targets is None else {}
    actions: dict[Resource, list[ScheduledAction]] = defaultdict(list)
    policies: set[Resource] | None = None
    with record_gap_if_denied(subject, gaps):
        for resource, item in items("describe_scheduled_actions", "ScheduledActions"):
            bounds = item.get("ScalableTargetAction", {})
            actions[resource].append(
                ScheduledAction(
                    item["ScheduledActionName"],
                    item["Schedule"],
                    item.get("Timezone", "UTC"),
                    bounds.get("MinCapacity"),
                    bounds.get("MaxCapacity"),
                    item.get("StartTime"),
                    item.get("EndTime"),
                )
            )
        policies = {resource for resource, _ in items("describe_scaling_policies", "ScalingPolicies")}
    if policies is None:
        return dict.fromkeys(targets)

    def scaling(resource: Resource, item: Mapping[str, Any]) -> Scaling:
        suspended = {name for name, is_so in item.get("SuspendedState", {}).items() if is_so}
        acting = () if "ScheduledScalingSuspended" in suspended else tuple(actions.get(resource, ()))
        follows_use = resource in policies and not suspended >= _POLICIES_SUSPENDED
        return Scaling(item["MinCapacity"], item["MaxCapacity"], acting, follows_use)

    return {resource: scaling(resource, item) for resource, item in targets.items()}


def _cron_times(text: str, start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the times of an AWS cron expression: six fields, ``?`` for any day, days of the week from 1, Sunday."""
    minute, hour, day, month, weekday, year = text.replace("?", "*").split()
    if year != "*":
        raise UnknownSchedule(text)
    weekday = re.sub(r"(?<![#/])\b[1-7](?=\b|L)", lambda match: str(int(match[0]) - 1), weekday)
    # CronSim counts to 7, which is Sunday once more.
    weekday = re.sub(r"(?<![-#])\b([0-6])/", r"\1-6/", weekday)
    for moment in CronSim(f"{minute} {hour} {day} {month} {weekday}", start - timedelta(seconds=1)):
        if moment >= end:
            return
        yield moment.astimezone(UTC)

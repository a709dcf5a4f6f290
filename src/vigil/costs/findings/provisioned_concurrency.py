"""Provisioned concurrency (PC) unused: kept warm for more than the cheaper duration on it gives back.

PC is paid for all the time it is configured; duration on it is cheaper. It pays off from the utilisation
p_pc / (p - p_pcduration) on, which is 60 % at the prices of 2025.
"""

from collections.abc import Iterator
from shlex import quote

from vigil.costs.case import Case, compute_evidence
from vigil.costs.compute import MB_PER_GB, MIN_DAYS
from vigil.costs.finding import PERIOD_DAYS, Finding, Interval, Measure, money, rate
from vigil.costs.gaps import Gap
from vigil.costs.metrics import DAY_SECONDS, Observed
from vigil.costs.provisioned import Provisioned

KIND = "provisioned-concurrency-unused"


def find(case: Case) -> Iterator[Finding | Gap]:
    """Yield a finding for each alias or version whose PC costs more than it gives back."""
    for item in case.usage.provisioned or ():
        found = _find(case, item)
        if found is not None:
            yield found


def _find(case: Case, item: Provisioned) -> Finding | Gap | None:
    function, used, seen = case.function, case.compute, item.invocations
    if isinstance(used, str):
        return case.gap(used)
    if case.usage.reports is None or len(case.usage.reports.by_memory) > 1:
        # It is on a published version, which need not have the memory size of $LATEST that the inventory shows.
        return case.gap(f"provisioned concurrency on {item.qualifier}: its versions ran with several memory sizes")
    if seen is not None and seen.days < MIN_DAYS:
        return case.gap(f"provisioned concurrency on {item.qualifier}: less than {MIN_DAYS} days of data")
    architecture = function.architecture
    price, on_pc = case.rates.duration[architecture], case.rates.provisioned_duration[architecture]
    keep_warm = case.rates.provisioned[architecture]
    capacity = item.executions * function.memory_mb / MB_PER_GB * PERIOD_DAYS * DAY_SECONDS
    per_invocation = used.billed_seconds * function.memory_mb / MB_PER_GB
    invocations = _per_period(seen)
    gb_seconds = min(invocations * per_invocation, capacity)
    # No datapoint is no proof of no use. At most, all that the function ran was on this PC.
    all_invocations = _per_period(case.usage.invocations)
    most = min(max(all_invocations, invocations) * per_invocation, capacity)

    def saved(ran: float) -> float:
        return capacity * keep_warm - ran * (price - on_pc)

    low, high = saved(most), saved(gb_seconds)
    if high <= 0:
        return None
    whole_function = {
        **compute_evidence(used),
        # On the same basis as the invocations on PC, lest these seem to be more than there were.
        "Invocations": Measure(round(all_invocations, 1), f"per {PERIOD_DAYS} days"),
    }
    return case.finding(
        KIND,
        about=item.qualifier,
        evidence={
            "Alias or version": Measure(item.qualifier),
            "Provisioned concurrency": Measure(item.executions, "executions"),
            "Memory": Measure(function.memory_mb, "MB"),
            "Kept warm": Measure(round(capacity, 3), "GB-seconds per 30 days"),
            "Invocations on it": Measure(round(invocations, 1), "per 30 days")
            if seen
            else Measure("no datapoint in the window"),
            "Utilisation": Measure(round(100 * gb_seconds / capacity, 1), "%") if seen else Measure("not known"),
            "Break-even utilisation": Measure(round(100 * keep_warm / (price - on_pc), 1), "%"),
            **{f"{name} (whole function)": measure for name, measure in whole_function.items()},
        },
        formula=(
            f"{item.executions:,} × {function.memory_mb:,} MB / 1,024 × {PERIOD_DAYS * DAY_SECONDS:,} s"
            f" × {rate(keep_warm)} = {money(capacity * keep_warm)} to keep it warm,"
            f" less {gb_seconds:,.0f} GB-s × ({rate(price)} − {rate(on_pc)})"
            f" = {money(gb_seconds * (price - on_pc))} that running on it gave back."
            f" The low end supposes that {most:,.0f} GB-s ran on it, the most that the function's invocations allow."
            f"{'' if seen else ' No datapoint tells how much did: expected is the middle.'}"
            " Configured as today for all of the time."
        ),
        change=f"Remove the provisioned concurrency from {item.qualifier}",
        how_to=(
            f"aws lambda delete-provisioned-concurrency-config --region {function.region}"
            f" --function-name {quote(function.name)} --qualifier {quote(item.qualifier)}"
        ),
        risk="Cold starts come back for callers of this alias or version, and their init phase is billed.",
        validate=(
            "Compare the latency that callers see in the week before and after, and Init Duration in the REPORT lines;"
            " configure fewer executions if cold starts hurt."
        ),
        savings=Interval(low, high if seen else (low + high) / 2, high),
    )


def _per_period(observed: Observed | None) -> float:
    # Counted from the first datapoint, not over the window: PC that is younger than the window must not look idle.
    return observed.total / observed.days * PERIOD_DAYS if observed else 0.0

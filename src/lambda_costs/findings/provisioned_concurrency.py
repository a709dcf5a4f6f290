"""Provisioned concurrency (PC) unused: kept warm for more than the cheaper duration on it gives back.

PC is paid for all the time it is configured; duration on it is cheaper. It pays off from the utilisation
p_pc / (p - p_pcduration) on, which is 60 % at the prices of 2025.
"""

from collections.abc import Iterator

from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.metrics import DAY_SECONDS, Daily
from lambda_costs.collect.provisioned import Provisioned
from lambda_costs.model.context import Case, as_code, compute_evidence
from lambda_costs.model.finding import PERIOD_DAYS, Finding, Interval, Measure, money, rate
from lambda_costs.thresholds import MIN_DAYS, ON_PC_ERROR
from vigil.sdk import quote

KIND = "provisioned-concurrency-unused"


def find(case: Case) -> Iterator[Finding | Gap]:
    """Yield a finding for each alias or version whose PC costs more than it gives back."""
    for item in case.usage.provisioned or ():
        found = _find(case, item)
        if found is not None:
            yield found


def _find(case: Case, item: Provisioned) -> Finding | Gap | None:
    function, used, seen, usage = case.function, case.compute, item.invocations, case.usage
    if (case.silent_days() or 0) >= MIN_DAYS:
        # Nothing ran at all, on it or elsewhere.
        per_invocation, evidence = 0.0, {}
    elif isinstance(used, str):
        return case.gap(used)
    elif usage.reports is None or usage.reports.days_of_size.keys() != {function.memory_mb}:
        # It is on a published version, which need not have the memory size of $LATEST that the inventory shows.
        return case.gap(f"provisioned concurrency on {item.qualifier}: its versions ran with several memory sizes")
    else:
        per_invocation, evidence = used.billed_seconds * case.memory_gb, dict(compute_evidence(used))
        # On the same basis as the invocations on PC, lest these seem to be more than there were.
        evidence["Invocations"] = Measure(round(_per_period(usage.invocations), 1), f"per {PERIOD_DAYS} days")
    if seen is not None and seen.days < MIN_DAYS:
        return case.gap(f"provisioned concurrency on {item.qualifier}: less than {MIN_DAYS} days of data")
    architecture = function.architecture
    price, on_pc = case.price, case.rates.provisioned_duration[architecture]
    keep_warm = case.rates.provisioned[architecture]
    capacity = item.executions * case.memory_gb * PERIOD_DAYS * DAY_SECONDS
    invocations = _per_period(seen)
    gb_seconds = min(invocations * per_invocation, capacity)
    # No datapoint is no proof of no use. At most, all that the function ran was on this PC.
    most = min(max(_per_period(usage.invocations), invocations) * per_invocation, capacity)

    def saved(ran: float) -> float:
        return capacity * keep_warm - ran * (price - on_pc)

    # How long invocations take that run on it, nothing tells: a little more or less than all of them on average.
    low, high = saved(most * (1 + ON_PC_ERROR)), saved(gb_seconds * (1 - ON_PC_ERROR))
    expected = saved(gb_seconds) if seen or not per_invocation else (low + high) / 2
    if expected <= 0:
        return None
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
            "Utilisation": Measure(round(100 * gb_seconds / capacity, 1), "%")
            if seen or not per_invocation
            else Measure("not known"),
            "Break-even utilisation": Measure(round(100 * keep_warm / (price - on_pc), 1), "%"),
            **{f"{name} (whole function)": measure for name, measure in evidence.items()},
        },
        formula=(
            f"{item.executions:,} × {function.memory_mb:,} MB / 1,024 × {PERIOD_DAYS * DAY_SECONDS:,} s"
            f" × {rate(keep_warm)} = {money(capacity * keep_warm)} to keep it warm,"
            f" less {gb_seconds:,.0f} GB-s × ({rate(price)} − {rate(on_pc)})"
            f" = {money(gb_seconds * (price - on_pc))} that running on it gave back."
            f" The low end supposes that {most:,.0f} GB-s ran on it, the most that the function's invocations allow;"
            f" both ends, that an invocation on it takes up to {ON_PC_ERROR:.0%} more or less than the average."
            f"{'' if seen or not per_invocation else ' No datapoint tells how much ran on it: expected is the middle.'}"
            " Configured as today for all of the time, at the memory size of $LATEST."
        ),
        change=f"Remove the provisioned concurrency from {item.qualifier}",
        proposed={"provisioned_concurrency": 0},
        how_to=case.command("delete-provisioned-concurrency-config", f"--qualifier={quote(item.qualifier)}"),
        as_code=as_code(
            "# remove ProvisionedConcurrencyConfig", "# remove provisioned_concurrent_executions", "AWS::Lambda::Alias"
        ),
        risk="Cold starts come back for callers of this alias or version, and their init phase is billed.",
        validate=(
            "Compare the latency that callers see in the week before and after, and Init Duration in the REPORT lines;"
            " configure fewer executions if cold starts hurt."
        ),
        savings=Interval(low, expected, high),
    )


def _per_period(daily: Daily | None) -> float:
    # Counted from the first datapoint, not over the window: PC that is younger than the window must not look idle.
    return daily.total / daily.days * PERIOD_DAYS if daily else 0.0

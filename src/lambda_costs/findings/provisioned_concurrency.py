"""Provisioned concurrency (PC) unused: keeping it warm costs more than the cheaper duration on it saves.

PC is billed while it is configured; duration on it is cheaper. It pays off above a utilisation of
p_pc / (p - p_pcduration), which is 60 % at the prices of 2025.
"""

from lambda_costs.collect.metrics import DAY_SECONDS, Daily
from lambda_costs.collect.settings import Provisioned
from lambda_costs.model.compute import MIN_DAYS, Compute, NoClaim
from lambda_costs.model.context import FindingKind, FunctionContext, Results, as_code, compute_evidence
from lambda_costs.model.finding import PERIOD_DAYS, Finding, Measurement, SavingsRange, money, rate
from vigil.sdk import quote

PC_DURATION_ERROR = 0.05  # relative difference between the duration on PC and the mean duration; our own assumption


def find(context: FunctionContext) -> Results:
    """Yield a finding for each alias or version whose PC costs more than it saves."""
    used = None if (context.silent_days() or 0) >= MIN_DAYS else context.compute  # None if the function did not run
    for item in context.usage.provisioned or ():
        subject = f"provisioned concurrency on {item.qualifier}"
        if isinstance(used, NoClaim):
            yield context.gap(used.reason)
        elif used and context.reports.days_of_size.keys() != {context.function.memory_mb}:
            # PC is on a published version, whose memory size may differ from that of $LATEST in the inventory.
            yield context.gap(f"{subject}: its versions ran with several memory sizes")
        elif item.invocations and item.invocations.days < MIN_DAYS:
            yield context.gap(f"{subject}: less than {MIN_DAYS} days of data")
        elif finding := _compare(context, item, used):
            yield finding


def _compare(context: FunctionContext, item: Provisioned, used: Compute | None) -> Finding | None:
    function, price = context.function, context.price
    on_pc = context.rates.provisioned_duration[function.architecture]
    keep_warm = context.rates.provisioned[function.architecture]
    capacity = item.executions * context.memory_gb * PERIOD_DAYS * DAY_SECONDS
    every, on_it = _per_period(context.usage.invocations), _per_period(item.invocations)
    per_invocation = used.billed_seconds * context.memory_gb if used else 0.0
    gb_seconds = min(on_it * per_invocation, capacity)
    # A missing datapoint does not prove that PC is unused: at most, all invocations ran on it.
    most = min(max(every, on_it) * per_invocation, capacity)
    known = bool(item.invocations or not per_invocation)

    def saved(gb_seconds: float) -> float:
        return capacity * keep_warm - gb_seconds * (price - on_pc)

    # The duration of invocations on PC is not known: assume about the average of all invocations.
    low, high = saved(most * (1 + PC_DURATION_ERROR)), saved(gb_seconds * (1 - PC_DURATION_ERROR))
    expected = saved(gb_seconds) if known else (low + high) / 2
    if expected <= 0:
        return None
    return Finding(
        **context.identity(FINDING.kind, item.qualifier),
        evidence={
            "Alias or version": Measurement(item.qualifier),
            "Provisioned concurrency": Measurement(item.executions, "executions"),
            "Memory": Measurement(function.memory_mb, "MB"),
            "Kept warm": Measurement(round(capacity, 3), "GB-seconds per 30 days"),
            "Invocations on it": Measurement(round(on_it, 1), "per 30 days")
            if item.invocations
            else Measurement("no datapoint in the window"),
            "Utilisation": Measurement(round(100 * gb_seconds / capacity, 1), "%")
            if known
            else Measurement("not known"),
            "Break-even utilisation": Measurement(round(100 * keep_warm / (price - on_pc), 1), "%"),
            **_evidence(used, every),
        },
        formula=(
            f"{item.executions:,} × {function.memory_mb:,} MB / 1,024 × {PERIOD_DAYS * DAY_SECONDS:,} s"
            f" × {rate(keep_warm)} = {money(capacity * keep_warm)} to keep it warm,"
            f" less {gb_seconds:,.0f} GB-s × ({rate(price)} − {rate(on_pc)})"
            f" = {money(gb_seconds * (price - on_pc))} that running on it saved."
            f" The low end assumes that {most:,.0f} GB-s ran on it, the most that the function's invocations allow;"
            f" both ends assume that an invocation on it takes up to {PC_DURATION_ERROR:.0%} more or less than average."
            f"{'' if known else ' There is no datapoint of its use: the middle is expected.'}"
            " Today's configuration counts for all of the time, at the memory size of $LATEST."
        ),
        change=f"Remove the provisioned concurrency from {item.qualifier}",
        proposed={"provisioned_concurrency": 0},
        how_to=context.command("delete-provisioned-concurrency-config", f"--qualifier={quote(item.qualifier)}"),
        as_code=as_code(
            "# remove ProvisionedConcurrencyConfig", "# remove provisioned_concurrent_executions", "AWS::Lambda::Alias"
        ),
        risk="Callers of this alias or version get cold starts again, whose init phase is billed.",
        validate=(
            "Compare the latency that callers see in the week before and after, and Init Duration in the REPORT lines;"
            " configure fewer executions if cold starts hurt."
        ),
        savings=SavingsRange(low, expected, high),
    )


def _evidence(used: Compute | None, invocations: float) -> dict[str, Measurement]:
    if used is None:
        return {}
    # Extrapolated like the invocations on PC: otherwise those could exceed all invocations.
    extrapolated = {"Invocations": Measurement(round(invocations, 1), f"per {PERIOD_DAYS} days")}
    evidence = {**compute_evidence(used), **extrapolated}
    return {f"{name} (whole function)": measurement for name, measurement in evidence.items()}


def _per_period(daily: Daily | None) -> float:
    # From the first datapoint, not over the window: PC younger than the window must not look idle.
    return daily.total / daily.days * PERIOD_DAYS if daily else 0.0


FINDING = FindingKind(
    kind="provisioned-concurrency-unused",
    title="Provisioned concurrency unused",
    rule=find,
    settings={"provisioned_concurrency": ()},
)

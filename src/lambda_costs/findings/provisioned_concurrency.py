"""Provisioned concurrency (PC) unused: keeping it warm costs more than the cheaper duration on it saves.

PC is billed while it is allocated; duration on it is cheaper. It pays off above a utilisation of
p_pc / (p - p_pcduration), which is 60 % at the prices of 2025. Schedules and policies of Application Auto Scaling
change what is allocated.
"""

from dataclasses import dataclass
from datetime import timedelta
from math import fsum

from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.metrics import DAY_SECONDS, HOUR_SECONDS
from lambda_costs.collect.report_lines import MAX_START_MS
from lambda_costs.collect.settings import Provisioned
from lambda_costs.model.compute import MIN_DAYS, Compute
from lambda_costs.model.context import FindingKind, FunctionContext, Results, as_code
from lambda_costs.model.finding import PERIOD_DAYS, Finding, Measurement, SavingsRange, basis, money, rate
from lambda_costs.model.volume import Volume, project, stopped_on
from vigil.sdk import quote

PC_DURATION_ERROR = 0.05  # relative difference between the duration on PC and the mean duration; our own assumption
IDLE_SECONDS = 600  # after which an execution environment may be gone, so that the next start is cold; our own choice
MAX_INIT = MAX_START_MS / 1000  # seconds of a cold start, where none was seen
WARM_SHARE = 1 / 3  # share of the most cold starts that is expected without PC; our own choice


@dataclass(frozen=True)
class _Use:
    """What is allocated and what runs on it, in the coming 30 days."""

    seconds: SavingsRange  # execution-seconds allocated
    invocations: Volume
    per_invocation: float  # billed seconds
    init_seconds: float  # of a cold start; 0 if it is not known
    known: bool  # whether the metrics show what ran on it

    @property
    def running(self) -> float:
        """Execution-seconds that run on it."""
        return self.invocations.expected * self.per_invocation


def find(context: FunctionContext) -> Results:
    """Yield a finding for each alias or version whose PC costs more than it saves."""
    for item in context.usage.provisioned or ():
        use = _use(context, item)
        result = use if isinstance(use, Gap) else _compare(context, item, use)
        if result:
            yield result


def _use(context: FunctionContext, item: Provisioned) -> _Use | Gap:
    compute = context.compute
    subject = f"provisioned concurrency on {item.qualifier}"
    if context.usage.reports and context.usage.reports.sizes != {context.function.memory_mb}:
        # PC is on a published version, whose memory size may differ from that of $LATEST in the inventory.
        return context.gap(f"{subject}: its versions ran with several memory sizes")
    if item.invocations and item.invocations.days < MIN_DAYS:
        return context.gap(f"{subject}: less than {MIN_DAYS} days of data")
    seconds = item.mean_seconds
    if seconds is None:
        if isinstance(compute, Compute):
            seconds = compute.billed_seconds
        elif (context.silent_days() or 0) >= MIN_DAYS:
            # The function did not run at all.
            seconds = 0.0
        else:
            return context.gap(compute.reason)
    inits = compute.inits if isinstance(compute, Compute) else 0.0
    return _Use(
        _allocated(context, item),
        _invocations(context, item),
        seconds,
        compute.init_share * compute.billed_seconds * compute.invocations.expected / inits
        if isinstance(compute, Compute) and inits
        else 0.0,
        bool(item.invocations or not seconds or not (item.all_invocations or context.usage.invocations)),
    )


def _allocated(context: FunctionContext, item: Provisioned) -> SavingsRange:
    if item.scaling is None:
        return SavingsRange(*[float(item.executions * PERIOD_DAYS * DAY_SECONDS)] * 3)
    if item.allocated is None:
        now = context.window.end
        ahead, past = (
            item.scaling.allocated(item.executions, start, PERIOD_DAYS)
            for start in (now, now - timedelta(days=PERIOD_DAYS))
        )
        # Months differ in their numbers of weekdays.
        return SavingsRange(min(ahead[0], past[0]), sum(ahead) / 2, max(ahead[1], past[1]))
    # Hours in which nothing ran show nothing. In the others it was what the metrics say.
    start, days = context.window.start, context.window.days
    low, high = item.scaling.allocated(item.executions, start, days, frozenset(item.allocated))
    seen = fsum(item.allocated.values()) * HOUR_SECONDS
    # A policy's alarms change nothing while they get no data: what was allocated stays.
    quiet, last = 0.0, 0.0
    for hour in (start + timedelta(hours=index) for index in range(24 * days)):
        last = item.allocated.get(hour, last)
        quiet += 0.0 if hour in item.allocated else last * HOUR_SECONDS
    return SavingsRange(*((seen + unseen) * PERIOD_DAYS / days for unseen in (low, min(max(quiet, low), high), high)))


def _invocations(context: FunctionContext, item: Provisioned) -> Volume:
    """Return how many invocations will run on it."""
    calls = item.invocations or item.all_invocations or context.usage.invocations
    if calls is None or stopped_on(calls, frozenset()):
        return Volume(0.0, 0.0, 0.0)
    volume = project(calls, frozenset(), context.window.start.date())
    # A missing datapoint does not prove that PC is unused: at most, all invocations ran on it.
    return volume if item.invocations else Volume(0.0, volume.expected / 2, volume.high)


def _prices(context: FunctionContext) -> tuple[float, float, float, float]:
    """Return the GB of memory, and the prices of a GB-second on demand, of one kept warm, and of one on PC."""
    rates, architecture = context.rates, context.function.architecture
    return context.memory_gb, context.price, rates.provisioned[architecture], rates.provisioned_duration[architecture]


def _compare(context: FunctionContext, item: Provisioned, use: _Use) -> Finding | None:
    memory, price, keep_warm, on_pc = _prices(context)

    def saved(seconds: float, invocations: float, error: float, cold_seconds: float) -> float:
        cheaper = min(invocations * use.per_invocation * (1 + error), seconds) * (price - on_pc)
        return memory * (seconds * keep_warm - cheaper - cold_seconds * price)

    # At most, each environment starts again after each pause that is long enough.
    most_cold = min(use.invocations.high, use.seconds.high / IDLE_SECONDS)
    savings = SavingsRange(
        saved(use.seconds.low, use.invocations.high, PC_DURATION_ERROR, most_cold * (use.init_seconds or MAX_INIT)),
        saved(use.seconds.expected, use.invocations.expected, 0.0, WARM_SHARE * most_cold * use.init_seconds),
        saved(use.seconds.high, use.invocations.low, -PC_DURATION_ERROR, 0.0),
    )
    if savings.expected <= 0:
        return None
    return Finding(
        **context.identity(FINDING.kind, item.qualifier),
        evidence={
            "Alias or version": Measurement(item.qualifier),
            "Provisioned concurrency now": Measurement(item.executions, "executions"),
            "Changed by": Measurement(_changed_by(item)),
            "Memory": Measurement(context.function.memory_mb, "MB"),
            "Allocated": Measurement(round(use.seconds.expected / HOUR_SECONDS, 1), "execution-hours in 30 days"),
            "Invocations on it": Measurement(round(use.invocations.expected, 1), "in 30 days")
            if use.known
            else Measurement("no datapoint in the window"),
            "Mean duration": Measurement(round(use.per_invocation, 6), "s"),
            "Utilisation": Measurement(round(100 * use.running / use.seconds.expected, 1), "%")
            if use.known
            else Measurement("not known"),
            "Break-even utilisation": Measurement(round(100 * keep_warm / (price - on_pc), 1), "%"),
        },
        formula=_formula(context, use, most_cold),
        change=f"Remove the provisioned concurrency from {item.qualifier}"
        if item.scaling is None
        else f"Remove the scaling of provisioned concurrency from {item.qualifier}, or allocate less",
        proposed={"provisioned_concurrency": 0},
        how_to=_how_to(context, item),
        as_code=as_code(
            "# remove ProvisionedConcurrencyConfig and the AWS::ApplicationAutoScaling::ScalableTarget",
            "# remove provisioned_concurrent_executions and add_auto_scaling",
            "AWS::Lambda::Alias",
        ),
        risk="Callers of this alias or version get cold starts again, whose init phase is billed.",
        validate=(
            "Compare the latency that callers see in the week before and after, and Init Duration in the REPORT lines;"
            " configure fewer executions if cold starts hurt."
        ),
        savings=savings,
        basis=basis(savings, measured=use.known),
    )


def _formula(context: FunctionContext, use: _Use, most_cold: float) -> str:
    memory, price, keep_warm, on_pc = _prices(context)
    gb_seconds = use.running * memory
    known = use.init_seconds or not most_cold
    init = f" of {use.init_seconds:.3f} s" if known else f", whose init time is not known: up to {MAX_INIT:g} s"
    return (
        f"{use.seconds.expected:,.0f} s allocated × {context.function.memory_mb:,} MB / 1,024 × {rate(keep_warm)} ="
        f" {money(use.seconds.expected * memory * keep_warm)} to keep it warm, less {gb_seconds:,.0f} GB-s ×"
        f" ({rate(price)} − {rate(on_pc)}) = {money(gb_seconds * (price - on_pc))} that running on it saves,"
        f" less cold starts that come back, up to {most_cold:,.0f}{init}. The range covers fewer and more"
        f" invocations on it, each of which takes up to {PC_DURATION_ERROR:.0%} more or less than the mean."
        f"{'' if use.known else ' There is no datapoint of its use: half of the invocations is expected.'}"
    )


def _changed_by(item: Provisioned) -> str:
    if item.scaling is None:
        return "nothing"
    actions = [f"{action.name}: {action.schedule}" for action in item.scaling.actions]
    return ", ".join([*actions, *(["a scaling policy"] if item.scaling.follows_use else [])]) or "a scalable target"


def _how_to(context: FunctionContext, item: Provisioned) -> str:
    remove = context.command("delete-provisioned-concurrency-config", f"--qualifier={quote(item.qualifier)}")
    if item.scaling is None:
        return remove
    target = (
        f"--region {context.function.region} --service-namespace lambda"
        " --scalable-dimension lambda:function:ProvisionedConcurrency"
        f" --resource-id={quote(f'function:{context.function.name}:{item.qualifier}')}"
    )
    return (
        "# to allocate less: change the scheduled actions or the bounds of the scalable target\n"
        f"aws application-autoscaling describe-scheduled-actions {target}\n"
        "# to remove it: first what would allocate it again\n"
        f"aws application-autoscaling deregister-scalable-target {target}\n" + remove
    )


FINDING = FindingKind(
    kind="provisioned-concurrency-unused",
    title="Provisioned concurrency unused",
    rule=find,
    settings={"provisioned_concurrency": ()},
)

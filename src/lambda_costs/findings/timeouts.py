"""Timeouts: invocations that ran until the timeout, are billed for all of it and returned nothing."""

from collections.abc import Mapping
from datetime import date, timedelta
from math import fsum, sqrt
from statistics import median

from lambda_costs.collect.report_lines import Outcome
from lambda_costs.collect.usage import FunctionUsage
from lambda_costs.model.compute import MIN_INVOCATIONS, RANGE_OF_INVOCATIONS, Compute
from lambda_costs.model.context import FindingKind, FunctionContext, Results, compute_evidence, needs_compute
from lambda_costs.model.duration import Z_95
from lambda_costs.model.finding import NO_SAVINGS, Basis, Finding, Measurement, money, rate
from vigil.sdk import quote

FAILED_SHARE = 0.1
FAILED_DAYS = 7
"""Too many invocations fail if more than this share does on any of the last days (AWS Trusted Advisor, checks
L4dfs2Q3C2, "Lambda functions with high error rates", and L4dfs2Q3C3, "... with excessive timeouts")."""
TAPER = 0.02  # above that share by less than this, less is expected; our own choice
HANGS, NEEDS_LONGER = 0.5, 0.9
"""If the longest successful invocation of a day usually takes less than the first share of the timeout, those that time
out hang. If it takes more than the second, they may only need longer, and fixing them saves nothing; our own choice."""
STEADY, LATEST_DAYS = 0.5, 2
"""Timeouts are steady if their shares in the window, in the last 7 days and in the latest so many differ by no more
than the first number; our own choice."""
MIN_DAY_LINES = 20  # least REPORT lines from which a day's share of timeouts is computed; our own choice


@needs_compute(FunctionContext.on_demand)
def find(context: FunctionContext, used: Compute) -> Results:
    """Yield the finding if more than 10 % of the invocations timed out on any of the last 7 days."""
    reports, size = context.reports, context.function.memory_mb
    measured = daily_timeout_shares(context)
    shares = _shares(context, measured)
    day = max(shares, key=lambda day: (shares[day], day), default=None)
    if day is None or shares[day] <= FAILED_SHARE:
        return
    lines = reports.where(memory_mb=size)
    timed_out = reports.where(memory_mb=size, outcome=Outcome.TIMEOUT)
    ended = reports.where(memory_mb=size, outcome=Outcome.SUCCESS)
    if not timed_out.lines:
        return
    # A timeout is an error and lasts as long as the timeout setting: lines that show more may be forged.
    usually = min(timed_out.lines / lines.lines, _error_share(context.usage))
    # The half-width of the 95 % confidence interval of a share in a sample.
    error = Z_95 * sqrt(usually * (1 - usually) / lines.lines) if used.sampled else 0.0
    # The worst day's share is at least the mean; timeouts that began on it may go on.
    most = min(1.0, max(usually, shares[day]) + error)
    recent, longest = _recent_share(context, shares), _longest(context)
    hang = _hang(longest / context.function.timeout_seconds)
    number = used.invocations.expected * recent
    seconds = min(timed_out.billed_ms / timed_out.lines / 1000, context.function.timeout_seconds)
    instead = min(seconds, ended.billed_ms / ended.lines / 1000) if ended.lines else 0.0
    price = context.price * context.memory_gb
    lost, saved = used.invocations.expected * most * seconds * price, number * (seconds - instead) * price
    whole = used.share(context.cost(used))
    # Just above the threshold, little is expected, so that nothing jumps there.
    sure = min(1.0, (shares[day] - FAILED_SHARE) / TAPER) * hang
    latest = _recent_share(context, dict(sorted(shares.items())[-LATEST_DAYS:]))
    steady = min(recent, usually, latest) >= STEADY * max(recent, usually, latest)
    yield Finding(
        **context.identity(FINDING.kind),
        evidence={
            "Timeout": Measurement(context.function.timeout_seconds, "s"),
            f"Worst of the last {FAILED_DAYS} days": Measurement(day.isoformat()),
            "Timed out on it": Measurement(
                round(100 * shares[day], 1), "%" if day in measured else "%, by the whole window's lines"
            ),
            "Timeouts": Measurement(round(number, 1), "per 30 days"),
            "Billed for each": Measurement(round(seconds, 3), "s"),
            "Billed for one that succeeds": Measurement(round(instead, 3), "s"),
            "Longest that succeeds": Measurement(round(longest, 3), "s, median of the days"),
            **compute_evidence(used),
        },
        formula=(
            f"{number:,.0f} timeouts × {context.memory_gb:g} GB × {rate(context.price)} × ({seconds:.3f} s −"
            f" {instead:.3f} s) = {money(saved)} if they end like the others once fixed. At most, this saves all that"
            f" they cost, {money(lost)}{' if the sample has too few of them' if used.sampled else ''}; at least"
            f" nothing, if they still run as long. {RANGE_OF_INVOCATIONS}{_doubt(sure, hang)}"
        ),
        change="Fix the cause of the timeouts",
        how_to=_how_to(context),
        risk="A longer timeout alone makes each of them more expensive.",
        validate="Check that the share of REPORT lines with status timeout falls below a tenth on every day.",
        # Compute that the free tier covers costs nothing.
        savings=NO_SAVINGS if context.free else whole.scaled(0.0, min(saved * sure, whole.cost), min(lost, whole.cost)),
        basis=Basis.MEASURED if steady and hang == 1 and ended.lines else Basis.TO_TEST,
        scaling=None if context.free else whole,
    )


def _shares(context: FunctionContext, measured: Mapping[date, float]) -> Mapping[date, float]:
    """Return the share of timeouts on each of the last days; a day with too few lines has that of the whole sample."""
    lines = context.reports.all.lines
    usual = context.reports.where(outcome=Outcome.TIMEOUT).lines / lines if lines >= MIN_INVOCATIONS else 0.0
    return {day: measured.get(day, min(usual, _error_share(context.usage, day))) for day in last_days(context.end)}


def _longest(context: FunctionContext) -> float:
    """Return the median of the longest successful invocations of the days, in seconds; 0 if none succeeded."""
    days = {key.day for key in context.reports.tallies if key.outcome is Outcome.SUCCESS}
    slowest = [context.reports.where(day=day, outcome=Outcome.SUCCESS).slowest_ms for day in days]
    return median(slowest) / 1000 if slowest else 0.0


def _hang(near: float) -> float:
    """Return from 0 to 1 how sure it is that invocations that time out hang, and do not only need longer.

    ``near``: the longest of those that succeed divided by the timeout.
    """
    return min(1.0, max(0.0, (NEEDS_LONGER - near) / (NEEDS_LONGER - HANGS)))


def _doubt(sure: float, hang: float) -> str:
    """Return for the formula why less than all of the savings is expected."""
    if round(sure, 2) == 1:
        return ""
    why = "others end near the timeout" if hang < 1 else f"the worst day is near {FAILED_SHARE:.0%}"
    return f" {sure:.0%} of this is expected: {why}."


def _how_to(context: FunctionContext) -> str:
    pattern = '{ $.record.status = "timeout" }' if context.function.json_logs else '"Status: timeout"'
    return "# find the requests that time out\n" + context.logs_command(
        "filter-log-events", f"--filter-pattern {quote(pattern)} --max-items 20"
    )


def _recent_share(context: FunctionContext, shares: Mapping[date, float]) -> float:
    """Return the share of timeouts in the invocations of the last days."""
    calls = {day: context.invocations.by_day.get(day, 0.0) for day in shares}
    return fsum(calls[day] * shares[day] for day in shares) / max(1.0, fsum(calls.values()))


def daily_timeout_shares(context: FunctionContext) -> dict[date, float]:
    """Return the share of timeouts on each of the last days with enough REPORT lines.

    The Errors metric counts timeouts and bounds the share.
    """
    shares: dict[date, float] = {}
    for day in last_days(context.end):
        lines = context.reports.where(day=day).lines
        if lines >= MIN_DAY_LINES:
            timed_out = context.reports.where(day=day, outcome=Outcome.TIMEOUT).lines
            shares[day] = min(timed_out / lines, _error_share(context.usage, day))
    return shares


def last_days(end: date) -> list[date]:
    """Return the last days of a window, the latest first."""
    return [end - timedelta(days=ago) for ago in range(1, FAILED_DAYS + 1)]


def _error_share(usage: FunctionUsage, day: date | None = None) -> float:
    """Return errors divided by invocations on a day, or in the window."""
    if not usage.errors or not usage.invocations:
        return 0.0
    both = (usage.errors, usage.invocations)
    errors, calls = (daily.total if day is None else daily.by_day.get(day, 0.0) for daily in both)
    return errors / calls if calls else 0.0


FINDING = FindingKind(kind="timeouts", title="Timeouts occurring", rule=find, urgent=True)

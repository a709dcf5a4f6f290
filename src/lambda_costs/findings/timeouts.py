"""Timeouts: invocations that ran until the timeout, are billed for all of it and returned nothing."""

from datetime import date, timedelta
from math import sqrt

from lambda_costs.collect.report_lines import Outcome
from lambda_costs.collect.usage import FunctionUsage
from lambda_costs.model.compute import MIN_INVOCATIONS, Compute
from lambda_costs.model.context import FindingKind, FunctionContext, Results, compute_evidence, needs_compute
from lambda_costs.model.duration import Z_95
from lambda_costs.model.finding import NO_SAVINGS, ComputeShare, Finding, Measurement, SavingsRange, money, rate
from vigil.sdk import quote

FAILED_SHARE = 0.1
FAILED_DAYS = 7
"""Too many invocations fail if more than this share does on any of the last days (AWS Trusted Advisor, checks
L4dfs2Q3C2, "Lambda functions with high error rates", and L4dfs2Q3C3, "... with excessive timeouts")."""
MIN_DAY_LINES = 20  # least REPORT lines from which a day's share of timeouts is computed; our own choice


@needs_compute(FunctionContext.on_demand)
def find(context: FunctionContext, used: Compute) -> Results:
    """Yield the finding if more than 10 % of the invocations timed out on any of the last 7 days."""
    reports, all_lines = context.reports, context.reports.all.lines
    # A sample may have few lines of the last days: those days get the timeout share of the whole sample.
    usual = reports.where(outcome=Outcome.TIMEOUT).lines / all_lines if all_lines >= MIN_INVOCATIONS else 0.0
    measured = daily_timeout_shares(context)
    shares = {day: measured.get(day, min(usual, _error_share(context.usage, day))) for day in last_days(context.end)}
    day = max(shares, key=lambda day: (shares[day], day), default=None)
    if day is None or shares[day] <= FAILED_SHARE:
        return
    days = reports.days_of_size[context.function.memory_mb]
    lines = reports.where(days=days)
    timed_out = reports.where(days=days, outcome=Outcome.TIMEOUT)
    ended = reports.where(days=days, outcome=Outcome.SUCCESS)
    if not timed_out.lines:
        return
    # A timeout is an error and lasts as long as the timeout setting: lines that show more may be forged.
    share = min(timed_out.lines / lines.lines, _error_share(context.usage))
    # The half-width of the 95 % confidence interval of a share in a sample.
    error = Z_95 * sqrt(share * (1 - share) / lines.lines) if used.sampled else 0.0
    most = min(share + error, _error_share(context.usage))
    number = used.invocations * share
    seconds = min(timed_out.billed_ms / timed_out.lines / 1000, context.function.timeout_seconds)
    instead = min(seconds, ended.billed_ms / ended.lines / 1000) if ended.lines else 0.0
    price = context.price * context.memory_gb
    lost, saved = used.invocations * most * seconds * price, number * (seconds - instead) * price
    cost = context.cost(used)
    pattern = '{ $.record.status = "timeout" }' if context.function.json_logs else '"Status: timeout"'
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
            **compute_evidence(used),
        },
        formula=(
            f"{number:,.0f} timeouts × {context.memory_gb:g} GB × {rate(context.price)} × ({seconds:.3f} s −"
            f" {instead:.3f} s) = {money(saved)} if they end like the others once fixed. At most, this saves all that"
            f" they cost, {money(lost)}{' if the sample has too few of them' if used.sampled else ''}; at least"
            " nothing, if they still run as long."
        ),
        change="Fix the cause of the timeouts",
        how_to="# find the requests that time out\n"
        + context.logs_command("filter-log-events", f"--filter-pattern {quote(pattern)} --max-items 20"),
        risk="A longer timeout alone makes each of them more expensive.",
        validate="Check that the share of REPORT lines with status timeout falls below a tenth on every day.",
        # Compute that the free tier covers costs nothing.
        savings=NO_SAVINGS if context.free else SavingsRange(0.0, min(saved, cost), min(lost, cost)),
        scaling=None if context.free else ComputeShare(cost, used.gb_seconds),
    )


def daily_timeout_shares(context: FunctionContext) -> dict[date, float]:
    """Return the share of timeouts on each of the last days with enough REPORT lines.

    The Errors metric counts timeouts and bounds the share.
    """
    shares: dict[date, float] = {}
    for day in last_days(context.end):
        lines = context.reports.where(days=frozenset([day])).lines
        if lines >= MIN_DAY_LINES:
            timed_out = context.reports.where(days=frozenset([day]), outcome=Outcome.TIMEOUT).lines
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

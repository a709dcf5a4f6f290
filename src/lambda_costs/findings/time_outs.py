"""Time-outs: invocations that ran until the limit and are billed for all of it, with nothing to show for it."""

from collections.abc import Iterator
from datetime import date, timedelta

from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.report_lines import Outcome
from lambda_costs.collect.usage import FunctionUsage
from lambda_costs.model.compute import sampling_error
from lambda_costs.model.context import Case, compute_evidence
from lambda_costs.model.finding import NOTHING, Finding, Interval, Measure, Scaling, money, rate
from lambda_costs.thresholds import FAILED_DAYS, FAILED_SHARE, MIN_DAY_LINES, MIN_INVOCATIONS
from vigil.sdk import quote

KIND = "time-outs"


def find(case: Case) -> Iterator[Finding | Gap]:
    """Yield the finding if more than 10 % of the invocations timed out on any of the last 7 days."""
    used, reports = case.on_demand(), case.usage.reports
    if isinstance(used, str) or reports is None:
        yield case.gap(str(used))
        return
    # A sample may hold few lines of the last days: then all of it tells the share of time-outs among a day's errors.
    all_lines = reports.all.lines
    usual = reports.where(outcome=Outcome.TIMEOUT).lines / all_lines if all_lines >= MIN_INVOCATIONS else 0.0
    told = daily_shares(case.usage, case.end)
    shares = {day: told.get(day, min(usual, _error_share(case.usage, day))) for day in _last_days(case.end)}
    day = max(shares, key=lambda day: (shares[day], day), default=None)
    if day is None or shares[day] <= FAILED_SHARE:
        return
    days = reports.days_of_size[case.function.memory_mb]
    lines = reports.where(days=days)
    timed_out, ended = (
        reports.where(days=days, outcome=Outcome.TIMEOUT),
        reports.where(days=days, outcome=Outcome.SUCCESS),
    )
    if not timed_out.lines:
        return
    # A time-out is an error, and takes as long as is allowed: REPORT lines that tell of more are not believed.
    share = min(timed_out.lines / lines.lines, _error_share(case.usage))
    most = min(share + (sampling_error(share, lines.lines) if used.sampled else 0.0), _error_share(case.usage))
    number = used.invocations * share
    seconds = min(timed_out.billed_ms / timed_out.lines / 1000, case.function.timeout_seconds)
    instead = min(seconds, ended.billed_ms / ended.lines / 1000) if ended.lines else 0.0
    price = case.price * case.memory_gb
    lost, saved = used.invocations * most * seconds * price, number * (seconds - instead) * price
    cost = case.cost(used)
    pattern = '{ $.record.status = "timeout" }' if case.function.json_logs else '"Status: timeout"'
    yield case.finding(
        KIND,
        evidence={
            "Time-out": Measure(case.function.timeout_seconds, "s"),
            "Worst of the last 7 days": Measure(day.isoformat()),
            "Timed out on it": Measure(
                round(100 * shares[day], 1), "%" if day in told else "%, by the whole window's lines"
            ),
            "Time-outs": Measure(round(number, 1), "per 30 days"),
            "Billed for each": Measure(round(seconds, 3), "s"),
            "Billed for one that succeeds": Measure(round(instead, 3), "s"),
            **compute_evidence(used),
        },
        formula=(
            f"{number:,.0f} time-outs × {case.memory_gb:g} GB × {rate(case.price)} × ({seconds:.3f} s −"
            f" {instead:.3f} s) = {money(saved)} if they end as the others do. At most all that they cost,"
            f" {money(lost)}{' if the sample holds too few of them' if used.sampled else ''}; at least nothing, if the"
            " mended ones run as long."
        ),
        change="Mend what makes it time out",
        how_to=(
            "# which requests time out\n"
            f"aws logs filter-log-events --region {case.function.region}"
            f" --log-group-name={quote(case.function.log_group)} --filter-pattern {quote(pattern)} --max-items 20"
        ),
        risk="A longer time-out alone makes each of them dearer.",
        validate="Watch the share of REPORT lines with the status timeout fall below a tenth on every day.",
        # What the free tier covers is not paid for.
        savings=NOTHING if case.free else Interval(0.0, min(saved, cost), min(lost, cost)),
        scaling=None if case.free else Scaling(cost, used.gb_seconds),
    )


def daily_shares(usage: FunctionUsage, end: date) -> dict[date, float]:
    """Return the share of time-outs of each of the last 7 days that has enough REPORT lines to tell it.

    Not more than the share of errors by the metric, which counts them too.
    """
    shares: dict[date, float] = {}
    if usage.reports is None:
        return shares
    for day in _last_days(end):
        lines = usage.reports.where(days=frozenset([day])).lines
        if lines >= MIN_DAY_LINES:
            timed_out = usage.reports.where(days=frozenset([day]), outcome=Outcome.TIMEOUT).lines
            shares[day] = min(timed_out / lines, _error_share(usage, day))
    return shares


def _last_days(end: date) -> list[date]:
    return [end - timedelta(days=ago) for ago in range(1, FAILED_DAYS + 1)]


def _error_share(usage: FunctionUsage, day: date | None = None) -> float:
    """Return errors over invocations of a day, or of the window."""
    if not usage.errors or not usage.invocations:
        return 0.0
    if day is None:
        return usage.errors.total / usage.invocations.total
    calls = usage.invocations.by_day.get(day, 0.0)
    return usage.errors.by_day.get(day, 0.0) / calls if calls else 0.0

"""Errors: invocations that fail are billed as well. What mending them saves is not known; nothing is claimed."""

from collections.abc import Iterator
from datetime import date, timedelta

from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.report_lines import Outcome
from lambda_costs.findings.time_outs import daily_shares
from lambda_costs.model.context import Case
from lambda_costs.model.finding import Finding, Measure, money
from lambda_costs.thresholds import FAILED_DAYS, FAILED_SHARE, MIN_DAY_LINES
from vigil.sdk import quote

KIND = "errors"


def find(case: Case) -> Iterator[Finding | Gap]:
    """Yield the finding if more than 10 % of the invocations failed, not by time-out, on any of the last 7 days."""
    used, usage = case.compute, case.usage
    if isinstance(used, str) or usage.reports is None or usage.invocations is None:
        yield case.gap(str(used))
        return
    if usage.errors is None:
        yield case.gap("no Errors datapoint in the window")
        return
    timed_out = daily_shares(usage, case.end)
    some_timed_out = usage.reports.where(outcome=Outcome.TIMEOUT).lines > 0
    shares: dict[date, float] = {}
    for day in (case.end - timedelta(days=ago) for ago in range(1, FAILED_DAYS + 1)):
        calls = usage.invocations.by_day.get(day, 0.0)
        # Of a day with few lines, nobody knows how many of its errors are time-outs.
        if calls >= MIN_DAY_LINES and (day in timed_out or not some_timed_out):
            # A time-out counts as an error, and is a finding of its own.
            shares[day] = usage.errors.by_day.get(day, 0.0) / calls - timed_out.get(day, 0.0)
    worst = max(shares, key=lambda day: (shares[day], day), default=None)
    if worst is None or shares[worst] <= FAILED_SHARE:
        return
    share = min(1.0, usage.errors.total / usage.invocations.total)
    yield case.finding(
        KIND,
        evidence={
            "Worst of the last 7 days": Measure(worst.isoformat()),
            "Failed on it, without time-outs": Measure(round(100 * shares[worst], 1), "%"),
            "Errors": Measure(round(usage.errors.total), "in the window"),
            "Invocations": Measure(round(usage.invocations.total), "in the window"),
            "Billed for failed invocations": Measure(f"about {money(case.cost(used) * share)}", "per 30 days"),
        },
        formula=(
            f"{100 * share:.1f} % of the invocations failed; {money(case.cost(used))} × {share:.4f} bounds what they"
            " cost if they take as long as the others. Mended they are billed as well, so that nothing is claimed."
        ),
        change="Mend what makes it fail",
        how_to=(
            "# the errors that it logs\n"
            f"aws logs filter-log-events --region {case.function.region}"
            f" --log-group-name={quote(case.function.log_group)} --filter-pattern '?ERROR ?Error' --max-items 20"
        ),
        risk="Asynchronous invocations that fail are tried again twice, and billed each time.",
        validate="Watch Errors over Invocations fall below a tenth on every day.",
    )

"""Errors: failed invocations are billed as well. What fixing them saves is not known; nothing is claimed."""

from lambda_costs.collect.report_lines import Outcome
from lambda_costs.findings.timeouts import FAILED_DAYS, FAILED_SHARE, MIN_DAY_LINES, daily_timeout_shares, last_days
from lambda_costs.model.compute import Compute
from lambda_costs.model.context import FindingKind, FunctionContext, Results, needs_compute
from lambda_costs.model.finding import Finding, Measurement, money


@needs_compute()
def find(context: FunctionContext, used: Compute) -> Results:
    """Yield the finding if more than 10 % of the invocations failed, not by timeout, on any of the last 7 days."""
    usage, invocations = context.usage, context.invocations
    if usage.errors is None:
        yield context.gap("no Errors datapoint in the window")
        return
    timed_out = daily_timeout_shares(context)
    some_timed_out = context.reports.where(outcome=Outcome.TIMEOUT).lines > 0
    shares = {
        # The metric counts timeouts as errors; they are a finding of their own.
        day: usage.errors.by_day.get(day, 0.0) / calls - timed_out.get(day, 0.0)
        for day in last_days(context.end)
        # Too few lines do not show how many of a day's errors are timeouts.
        if (calls := invocations.by_day.get(day, 0.0)) >= MIN_DAY_LINES and (day in timed_out or not some_timed_out)
    }
    worst = max(shares, key=lambda day: (shares[day], day), default=None)
    if worst is None or shares[worst] <= FAILED_SHARE:
        return
    share = min(1.0, usage.errors.total / invocations.total)
    yield Finding(
        **context.identity(FINDING.kind),
        evidence={
            f"Worst of the last {FAILED_DAYS} days": Measurement(worst.isoformat()),
            "Failed on it, without timeouts": Measurement(round(100 * shares[worst], 1), "%"),
            "Errors": Measurement(round(usage.errors.total), "in the window"),
            "Invocations": Measurement(round(invocations.total), "in the window"),
            "Billed for failed invocations": Measurement(f"about {money(context.cost(used) * share)}", "per 30 days"),
        },
        formula=(
            f"{100 * share:.1f} % of the invocations failed; {money(context.cost(used))} × {share:.4f} is the most that"
            " they cost if they take as long as the others. Once fixed, they are still billed: nothing is claimed."
        ),
        change="Fix the cause of the errors",
        how_to="# find the errors in its logs\n"
        + context.logs_command("filter-log-events", "--filter-pattern '?ERROR ?Error' --max-items 20"),
        risk="Lambda retries a failed asynchronous invocation twice and bills each attempt.",
        validate="Check that Errors divided by Invocations falls below a tenth on every day.",
    )


FINDING = FindingKind(kind="errors", title="Errors", rule=find, urgent=True)

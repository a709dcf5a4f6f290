"""Idle: a function that nothing has invoked for a month. Only what is kept for it, such as its logs, costs money."""

from lambda_costs.collect.usage import IDLE_DAYS, LOOK_BACK_DAYS
from lambda_costs.model.context import FindingKind, FunctionContext, Results
from lambda_costs.model.finding import Finding, Measurement


def find(context: FunctionContext) -> Results:
    """Yield the finding if there was no invocation for 30 days, and the function existed before them."""
    usage, function = context.usage, context.function
    used, silent, logs = usage.invocations, context.silent_days(), usage.ingested_bytes
    if usage.unread or (used and used.last_use and (silent or 0) < IDLE_DAYS):
        return
    if logs and logs.last_use and (context.end - logs.last_use).days < IDLE_DAYS:
        yield context.gap("its log group grew without invocations in the metrics, which may therefore be incomplete")
        return
    if silent is None or silent < IDLE_DAYS:
        last = (used.last_use if used else None) or usage.last_invoked
        doubt = f"invoked within the last {IDLE_DAYS} days" if last else f"may be younger than {IDLE_DAYS} days"
        yield context.gap(f"no invocation in the window, but {doubt}")
        return
    triggers = usage.triggers
    yield Finding(
        **context.identity(FINDING.kind),
        evidence={
            "Last invoked": Measurement(str(usage.last_invoked or f"never in {LOOK_BACK_DAYS} days")),
            "Silent for at least": Measurement(silent, "days"),
            "Last changed": Measurement(str(function.last_modified or "not known")),
            "May be invoked by": Measurement(
                "not known" if triggers is None else ", ".join(triggers) or "nothing but a direct call"
            ),
            "Provisioned concurrency": Measurement("not known")
            if usage.provisioned is None
            else Measurement(len(usage.provisioned), "configurations"),
        },
        formula="Without invocations it costs no compute: removing it saves only what other findings say of its logs.",
        change="Remove it if nobody needs it",
        how_to=(
            ("# remove its provisioned concurrency first\n" if usage.provisioned else "")
            + "# check that nobody misses it: this blocks all invocations\n"
            + context.command("put-function-concurrency", "--reserved-concurrent-executions 0")
            + "\n# some time later\n# "
            + context.command("delete-function", "")
        ),
        risk="Yearly jobs and functions for disaster recovery are also idle for long.",
        validate="Ask its owner; watch its Throttles metric for as long as its rarest job may pause.",
    )


FINDING = FindingKind(kind="idle", title="Idle", rule=find, needs_prices=False)

"""Idle: a function that nothing has invoked for a month. Only what is kept for it, such as its logs, costs money."""

from lambda_costs.collect.settings import EDGE
from lambda_costs.collect.usage import IDLE_DAYS, LOOK_BACK_DAYS
from lambda_costs.model.context import FindingKind, FunctionContext, Results
from lambda_costs.model.finding import Finding, Measurement

RHYTHM = 2  # a silence shorter than so many of the longest pauses of before may be one of them; our own choice

INSTANCES = (
    "It runs on a capacity provider, whose instances are paid for by the hour whether they are invoked or not (Lambda"
    ' Developer Guide, "Lambda Managed Instances"). What removing it saves is not known: others may share them.'
)


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
    if triggers and not EDGE.isdisjoint(triggers):
        yield context.gap("runs as Lambda@Edge: its metrics are in the regions where its viewers are")
        return
    if usage.longest_pause and silent < RHYTHM * usage.longest_pause:
        yield context.gap(f"not invoked for {silent} days, but it has paused for {usage.longest_pause} days before")
        return
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
        formula=INSTANCES
        if function.capacity_provider
        else "Without invocations it costs no compute: removing it saves only what other findings say of its logs.",
        change="Remove it if nobody needs it",
        how_to=_how_to(context),
        risk="Yearly jobs and functions for disaster recovery are also idle for long.",
        validate="Ask its owner; watch its Throttles metric for as long as its rarest job may pause.",
    )


def _how_to(context: FunctionContext) -> str:
    usage = context.usage
    if usage.triggers != () or context.function.capacity_provider:
        # A direct call is not the only one that may come: nothing is removed before its owner agrees.
        return "# ask the owner of what may invoke it before anything else"
    return (
        ("# remove its provisioned concurrency first\n" if usage.provisioned else "")
        + "# check that nobody misses it: this blocks all invocations\n"
        + context.command("put-function-concurrency", "--reserved-concurrent-executions 0")
        + "\n# some time later\n# "
        + context.command("delete-function", "")
    )


FINDING = FindingKind(kind="idle", title="Idle", rule=find, needs_prices=False)

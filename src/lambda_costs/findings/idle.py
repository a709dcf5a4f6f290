"""Idle: a function that nobody has invoked for a month. Unused, it costs nothing: only what is kept for it does."""

from collections.abc import Iterator

from lambda_costs.collect.gaps import Gap
from lambda_costs.model.context import Case
from lambda_costs.model.finding import Finding, Measure
from lambda_costs.thresholds import IDLE_DAYS, LOOK_BACK_DAYS

KIND = "idle"


def find(case: Case) -> Iterator[Finding | Gap]:
    """Yield the finding if there was no invocation for 30 days, and the function existed before them."""
    usage, function = case.usage, case.function
    used, silent, logs = usage.invocations, case.silent_days(), usage.ingested_bytes
    if usage.unread or (used and used.last_use and (silent or 0) < IDLE_DAYS):
        return
    if logs and logs.last_use and (case.end - logs.last_use).days < IDLE_DAYS:
        yield case.gap("its log group grew without any invocation in the metrics, so that they may be missing")
        return
    if silent is None or silent < IDLE_DAYS:
        last = (used.last_use if used else None) or usage.last_invoked
        proof = (
            f"invoked within the last {IDLE_DAYS} days" if last else f"no proof that it is older than {IDLE_DAYS} days"
        )
        yield case.gap(f"no invocation in the window, but {proof}")
        return
    triggers = usage.triggers
    yield case.finding(
        KIND,
        evidence={
            "Last invoked": Measure(usage.last_invoked.isoformat())
            if usage.last_invoked
            else Measure(f"never in {LOOK_BACK_DAYS} days"),
            "Silent for at least": Measure(silent, "days"),
            "Last changed": Measure(function.last_modified.isoformat() if function.last_modified else "not known"),
            "May be invoked by": Measure(
                "not known" if triggers is None else ", ".join(triggers) or "nothing but a direct call"
            ),
            "Provisioned concurrency": Measure("not known")
            if usage.provisioned is None
            else Measure(len(usage.provisioned), "configurations"),
        },
        formula="No invocation, no compute: removing it saves only what other findings tell of it, such as its logs.",
        change="Remove it, if nobody needs it",
        how_to=(
            ("# its provisioned concurrency comes first\n" if usage.provisioned else "")
            + "# make sure that nobody misses it: no invocation gets through any more\n"
            + case.command("put-function-concurrency", "--reserved-concurrent-executions 0")
            + "\n# later\n# "
            + case.command("delete-function", "")
        ),
        risk="Yearly jobs and functions for disaster recovery are silent for long, too.",
        validate="Ask its owner; keep its throttling metric at zero for as long as its rarest job may pause.",
    )

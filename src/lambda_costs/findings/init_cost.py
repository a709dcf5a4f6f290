"""Init cost: cold starts take a large part of the billed time. SnapStart may replace them, for a fee.

Lambda bills the init phase of all functions since 1 August 2025.
"""

from math import sqrt
from typing import Any

from lambda_costs.collect.metrics import DAY_SECONDS
from lambda_costs.findings.ephemeral_storage import FREE_MB
from lambda_costs.model import runtimes
from lambda_costs.model.compute import RANGE_OF_INVOCATIONS, Compute
from lambda_costs.model.context import FindingKind, FunctionContext, Results, as_code, compute_evidence, needs_compute
from lambda_costs.model.duration import Z_95
from lambda_costs.model.finding import PERIOD_DAYS, Basis, Finding, Measurement, money

INIT_SHARE = 0.1  # least share of the billed time that init must take; our own choice
SNAPSTART_RESTORE_SHARE = 0.5  # restoring a snapshot takes at most this share of the init time; our own assumption


@needs_compute(FunctionContext.billed)
def find(context: FunctionContext, used: Compute) -> Results:
    """Yield the finding if init takes at least 10 % of the billed time; money is claimed where SnapStart would save."""
    if used.init_share < INIT_SHARE or context.function.snapstart:
        return
    cost = context.cost(used)
    init, fees = cost * used.init_share, _fees(context, used.inits)
    possible, note = "not possible as configured", "SnapStart does not support this configuration: no money is claimed."
    if context.function.runtime not in runtimes.DEPRECATED_ON and context.function.package_type == "Zip":
        possible = f"not known: the runtime is not in the table of {runtimes.DATE}"
        note = "Whether SnapStart supports this runtime is not known: no money is claimed."
    advice: dict[str, Any] = {"change": "Load less in the init phase"}
    if fees is not None:
        # The number of cold starts in a sample has a statistical error.
        error = Z_95 / sqrt(max(1.0, used.inits * used.lines / used.invocations.expected)) if used.sampled else 0.0
        savings = used.share(cost).scaled(
            (1 - SNAPSTART_RESTORE_SHARE) * init * (1 - min(1.0, error)) - fees,
            (1 - SNAPSTART_RESTORE_SHARE / 2) * init - fees,
            init * (1 + error) - fees,
        )
        if savings.expected <= 0:
            return
        possible, limit = f"{money(fees)} of fees", f"{SNAPSTART_RESTORE_SHARE:.0%} of the init time"
        note = f"Minus {money(fees)} of SnapStart fees; restoring takes up to {limit}. {RANGE_OF_INVOCATIONS}"
        advice = {
            "change": "Turn on SnapStart",
            "proposed": {"snapstart": True},
            "how_to": context.command("update-function-configuration", "--snap-start ApplyOn=PublishedVersions")
            + "\n# SnapStart covers published versions only: publish one and let callers invoke it\n"
            + context.command("publish-version", ""),
            "as_code": as_code(
                "SnapStart: {ApplyOn: PublishedVersions}", "snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS"
            ),
            "savings": savings,
            "basis": Basis.TO_TEST,
            "scaling": used.share(cost),
        }
    yield Finding(
        **context.identity(FINDING.kind),
        evidence={
            "Init share of the billed time": Measurement(round(100 * used.init_share, 1), "%"),
            "Cold starts": Measurement(round(used.inits, 1), "per 30 days"),
            "Init costs": Measurement(money(init), "per 30 days"),
            "SnapStart": Measurement(possible),
            **compute_evidence(used),
        },
        formula=f"{money(cost)} of compute × {used.init_share:.4f} = {money(init)} for init. {note}",
        risk="Every copy of a snapshot shares what init created, such as random seeds and connections.",
        validate="Compare Init Duration with Restore Duration in the REPORT lines, and the latency of cold starts.",
        **advice,
    )


def _fees(context: FunctionContext, inits: float) -> float | None:
    """Return SnapStart's fees per 30 days; None if the function cannot use it, or its prices are not known."""
    function = context.function
    plain = function.package_type == "Zip" and not function.file_system and function.ephemeral_mb <= FREE_MB
    if function.runtime not in runtimes.SNAPSTART or not plain:
        return None
    if function.runtime in runtimes.SNAPSTART_FREE:
        return 0.0
    cache, restore = context.rates.snapstart_cache, context.rates.snapstart_restore
    if cache is None or restore is None:
        return None
    return context.memory_gb * (cache * PERIOD_DAYS * DAY_SECONDS + restore * inits)


FINDING = FindingKind(kind="init-cost", title="Initialisation billed", rule=find, settings={"snapstart": ()})

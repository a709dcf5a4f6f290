"""Init cost: cold starts that take a large part of the billed time. SnapStart may replace them, for a fee.

The init phase is billed for all functions since 1 August 2025.
"""

from collections.abc import Iterator
from math import sqrt

from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.metrics import DAY_SECONDS
from lambda_costs.findings.ephemeral_storage import FREE_MB
from lambda_costs.model import runtimes
from lambda_costs.model.context import Case, as_code, compute_evidence
from lambda_costs.model.duration import SURE
from lambda_costs.model.finding import NOTHING, PERIOD_DAYS, Finding, Interval, Measure, Scaling, money
from lambda_costs.thresholds import INIT_SHARE, RESTORED

KIND = "init-cost"


def find(case: Case) -> Iterator[Finding | Gap]:
    """Yield the finding if init takes at least 10 % of the billed time; money is claimed where SnapStart would save."""
    function, used = case.function, case.billed()
    if isinstance(used, str):
        yield case.gap(used)
        return
    if used.init_share < INIT_SHARE or function.snapstart:
        return
    init = case.cost(used) * used.init_share
    fees = _fees(case, used.inits)
    savings = NOTHING
    if fees is not None:
        # A sample may hold more or fewer of the cold starts than there were.
        off = SURE / sqrt(max(1.0, used.inits * used.lines / used.invocations)) if used.sampled else 0.0
        savings = Interval(
            (1 - RESTORED) * init * (1 - min(1.0, off)) - fees,
            (1 - RESTORED / 2) * init - fees,
            init * (1 + off) - fees,
        )
        if savings.expected <= 0:
            return
    yield case.finding(
        KIND,
        evidence={
            "Init share of the billed time": Measure(round(100 * used.init_share, 1), "%"),
            "Cold starts": Measure(round(used.inits, 1), "per 30 days"),
            "Init costs": Measure(money(init), "per 30 days"),
            "SnapStart": Measure("not possible as configured" if fees is None else f"{money(fees)} of fees"),
            **compute_evidence(used),
        },
        formula=(
            f"{money(case.cost(used))} of compute × {used.init_share:.4f} = {money(init)} for init."
            + (
                " SnapStart does not take it as it is configured, so that no money is claimed."
                if fees is None
                else f" Less {money(fees)} of SnapStart's fees; restoring takes up to {RESTORED:.0%} of the init time."
            )
        ),
        change="Start faster: load less in the init phase" if fees is None else "Turn on SnapStart",
        proposed={} if fees is None else {"snapstart": True},
        how_to=""
        if fees is None
        else case.command("update-function-configuration", "--snap-start ApplyOn=PublishedVersions")
        + "\n# it works for published versions only: publish one, and let the callers use it\n"
        + case.command("publish-version", ""),
        as_code=""
        if fees is None
        else as_code(
            "SnapStart: {ApplyOn: PublishedVersions}", "snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS"
        ),
        risk="What init makes once, such as random seeds and connections, is the same in every copy of a snapshot.",
        validate="Compare Init Duration with Restore Duration in the REPORT lines, and the latency of cold starts.",
        savings=savings,
        scaling=None if fees is None else Scaling(case.cost(used), used.gb_seconds),
    )


def _fees(case: Case, inits: float) -> float | None:
    """Return SnapStart's fees in US dollars per 30 days; None if the function cannot use it, or they are not known."""
    function = case.function
    if (
        function.runtime not in runtimes.SNAPSTART
        or function.package_type != "Zip"
        or function.file_system
        or function.ephemeral_mb > FREE_MB
    ):
        return None
    if function.runtime in runtimes.SNAPSTART_FREE:
        return 0.0
    cache, restore = case.rates.snapstart_cache, case.rates.snapstart_restore
    if cache is None or restore is None:
        return None
    return case.memory_gb * (cache * PERIOD_DAYS * DAY_SECONDS + restore * inits)

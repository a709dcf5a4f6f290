"""Log ingestion high: a function whose logs cost more to take in than its compute. An exposure; nothing is claimed."""

from collections.abc import Iterator

from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.scan import BYTES_PER_GB
from lambda_costs.model.context import Case, as_code
from lambda_costs.model.finding import Finding, Measure, money, rate
from lambda_costs.thresholds import MIN_EXPOSURE

KIND = "log-ingestion-high"


def find(case: Case) -> Iterator[Finding | Gap]:
    """Yield the finding if a log group of the function's own costs more to fill than the function to run."""
    used, group, ingested = case.compute, case.usage.log_group, case.usage.ingested_bytes
    if isinstance(used, str):
        yield case.gap(used)
        return
    # Who else writes to a shared one, a name filter may hide.
    if group is None or not group.only_of(case.function) or ingested is None:
        return
    # By the invocation, so that both costs are of the same days.
    each = ingested.total / case.usage.invocations.total if case.usage.invocations else 0.0
    gigabytes = each * used.invocations / BYTES_PER_GB
    cost, compute = gigabytes * case.rates.log_ingestion, case.cost(used)
    if cost <= compute or cost < MIN_EXPOSURE:
        return
    yield case.finding(
        KIND,
        evidence={
            "Log group": Measure(group.name),
            "Ingested": Measure(round(gigabytes, 3), "GB per 30 days"),
            "Ingestion costs": Measure(money(cost), "per 30 days"),
            "Compute costs": Measure(money(compute), "per 30 days"),
            "An invocation logs": Measure(round(each), "bytes"),
        },
        formula=(
            f"{gigabytes:.3f} GB × {rate(case.rates.log_ingestion)} = {money(cost)} > {money(compute)} of compute."
            " Which of the lines somebody needs is not known, so that nothing is claimed."
        ),
        change="Log less",
        how_to=case.command(
            "update-function-configuration",
            "--logging-config LogFormat=JSON,ApplicationLogLevel=WARN,SystemLogLevel=INFO",
        ),
        as_code=as_code(
            "LoggingConfig: {LogFormat: JSON, ApplicationLogLevel: WARN, SystemLogLevel: INFO}",
            "logging_format=lambda_.LoggingFormat.JSON,"
            " application_log_level_v2=lambda_.ApplicationLogLevel.WARN,"
            " system_log_level_v2=lambda_.SystemLogLevel.INFO",
        ),
        risk=(
            "What is not logged is missing when something fails. REPORT lines stay, at the level INFO; in another"
            " format than before, the next analyses do not see the old ones."
        ),
        validate="Watch IncomingBytes of the log group.",
    )

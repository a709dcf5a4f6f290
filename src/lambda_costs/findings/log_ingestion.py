"""Log ingestion high: ingesting a function's logs costs more than its compute. An exposure; nothing is claimed."""

from lambda_costs.collect.scan import BYTES_PER_GB
from lambda_costs.model.compute import Compute
from lambda_costs.model.context import FindingKind, FunctionContext, Results, as_code, needs_compute
from lambda_costs.model.finding import Finding, Measurement, money, rate

MIN_EXPOSURE_DOLLARS = 1.0  # least cost of ingestion per 30 days; our own choice


@needs_compute()
def find(context: FunctionContext, used: Compute) -> Results:
    """Yield the finding if ingestion into the function's own log group costs more than its compute."""
    group, ingested = context.usage.log_group, context.usage.ingested_bytes
    # With a name filter, other functions that write to a shared group are not visible.
    if group is None or not group.only_of(context.function) or ingested is None:
        return
    # Per invocation, so that both costs cover the same days.
    each = ingested.total / context.invocations.total
    gigabytes = each * used.invocations.expected / BYTES_PER_GB
    price = context.rates.log_ingestion_infrequent if group.infrequent else context.rates.log_ingestion
    if price is None:
        yield context.gap("the price of ingestion into a log group of class Infrequent Access is not known")
        return
    cost, compute = gigabytes * price, context.cost(used)
    if cost <= compute or cost < MIN_EXPOSURE_DOLLARS:
        return
    yield Finding(
        **context.identity(FINDING.kind),
        evidence={
            "Log group": Measurement(group.name),
            "Ingested": Measurement(round(gigabytes, 3), "GB per 30 days"),
            "Ingestion costs": Measurement(money(cost), "per 30 days"),
            "Compute costs": Measurement(money(compute), "per 30 days"),
            "An invocation logs": Measurement(round(each), "bytes"),
        },
        formula=(
            f"{gigabytes:.3f} GB × {rate(price)} = {money(cost)} > {money(compute)} of compute."
            " Which lines are needed is not known: nothing is claimed."
        ),
        change="Log less",
        how_to=context.command(
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
            "Logs may be missing when something fails. REPORT lines stay, since their level is INFO; if the log format"
            " changes, the next analyses do not see the lines in the old format."
        ),
        validate="Watch IncomingBytes of the log group.",
    )


FINDING = FindingKind(kind="log-ingestion-high", title="Logs cost more than compute", rule=find)

"""Log retention unset: a log group whose events never expire.

The claim is the storage of what would expire. Ingestion, which usually costs more, stays the same.
"""

from lambda_costs.collect.scan import BYTES_PER_GB
from lambda_costs.model.context import FindingKind, FunctionContext, Results, as_code
from lambda_costs.model.finding import Finding, Measurement, SavingsRange, money, rate

RETENTION_DAYS = 30  # proposed retention. An assumption: nothing in AWS shows how long the logs are needed
LOG_COMPRESSION_RATIO = 0.15
"""Bytes billed for storage divided by bytes ingested, as the AWS Pricing Calculator estimates. AWS does not say whether
storedBytes counts before or after compression; the ends of the savings take it both ways."""


def find(context: FunctionContext) -> Results:
    """Yield the finding for the first function of a log group without retention that holds older events."""
    group, ingested = context.usage.log_group, context.usage.ingested_bytes
    if group is None or group.retention_days is not None or group.functions[0] != context.function.name:
        return
    if group.stored_bytes is None or context.usage.unread:
        yield context.gap(f"log retention: {context.usage.unread or 'the size of its log group is not known'}")
        return
    stored = group.stored_bytes / BYTES_PER_GB
    # Extrapolated from the first datapoint: a young log group must not seem full of old events.
    recent = ingested.total / ingested.days * RETENTION_DAYS / BYTES_PER_GB if ingested else 0.0
    old, most = max(0.0, stored - recent), max(0.0, stored - recent * LOG_COMPRESSION_RATIO)
    if old <= 0:
        return
    price = context.rates.log_storage
    low, expected, high = old * LOG_COMPRESSION_RATIO * price, old * price, most * price
    basis = (
        f"The low end assumes that stored bytes are billed after compression to {LOG_COMPRESSION_RATIO:.0%};"
        " the high end assumes that they are compressed already."
    )
    known = ingested is not None or (context.silent_days() or 0) >= RETENTION_DAYS
    if not known:
        low, expected = 0.0, high / 2
        basis = "No ingestion was recorded: the low end assumes that all of it is recent, and the middle is expected."
    yield Finding(
        **context.identity(FINDING.kind),
        evidence={
            "Log group": Measurement(group.name),
            "Functions that write to it": Measurement(len(group.functions), "of those analysed"),
            "Retention": Measurement("never expires"),
            "Stored": Measurement(round(stored, 6), "GB"),
            "Ingested": Measurement(round(recent, 6), f"GB per {RETENTION_DAYS} days")
            if ingested
            else Measurement("no datapoint"),
            "Would expire": Measurement(round(old, 6), "GB" if known else "GB at most"),
            "Storage price": Measurement(price, "$ per GB-month"),
        },
        formula=(
            f"{'' if known else 'At most '}{old:.6f} GB older than {RETENTION_DAYS} days × {rate(price)} ="
            f" {money(old * price)}. {basis}"
        ),
        change=f"Let its logs expire after {RETENTION_DAYS} days",
        proposed={"retention_days": RETENTION_DAYS},
        how_to=context.logs_command("put-retention-policy", f"--retention-in-days {RETENTION_DAYS}"),
        as_code=as_code(
            f"RetentionInDays: {RETENTION_DAYS}", "retention=logs.RetentionDays.ONE_MONTH", "AWS::Logs::LogGroup"
        ),
        risk=(
            f"Older events are deleted permanently. {RETENTION_DAYS} days are our assumption: audits and compliance may"
            " require more. First export to S3 what must be kept."
        ),
        validate="A few days later, check that storedBytes of the log group has fallen (aws logs describe-log-groups).",
        savings=SavingsRange(low, expected, high),
    )


FINDING = FindingKind(kind="log-retention-unset", title="Logs never expire", rule=find, settings={"retention_days": ()})

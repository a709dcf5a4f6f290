"""Log retention unset: a log group that keeps for ever what nobody reads any more.

Only what would expire is claimed, and only its storage: ingestion, which usually costs more, goes on unchanged.
"""

from collections.abc import Iterator

from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.scan import BYTES_PER_GB
from lambda_costs.model.context import Case, as_code
from lambda_costs.model.finding import Finding, Interval, Measure, money, rate
from lambda_costs.thresholds import COMPRESSED, RETENTION_DAYS
from vigil.sdk import quote

KIND = "log-retention-unset"


def find(case: Case) -> Iterator[Finding | Gap]:
    """Yield the finding for the first function of a log group without retention that holds older events."""
    group, ingested = case.usage.log_group, case.usage.ingested_bytes
    if group is None or group.retention_days is not None or group.functions[0] != case.function.name:
        return
    if group.stored_bytes is None or case.usage.unread:
        yield case.gap(f"log retention: {case.usage.unread or 'the size of its log group is not known'}")
        return
    stored = group.stored_bytes / BYTES_PER_GB
    # Extrapolated from the first datapoint, so that a young log group is not taken for one full of old events.
    recent = ingested.total / ingested.days * RETENTION_DAYS / BYTES_PER_GB if ingested else 0.0
    old, most = max(0.0, stored - recent), max(0.0, stored - recent * COMPRESSED)
    if old <= 0:
        return
    price = case.rates.log_storage
    low, expected, high = old * COMPRESSED * price, old * price, most * price
    basis = (
        f"The low end takes what is stored as billed after compression to {COMPRESSED:.0%};"
        " the high end takes the recent part as compressed already."
    )
    known = ingested is not None or (case.silent_days() or 0) >= RETENTION_DAYS
    if not known:
        low, expected = 0.0, high / 2
        basis = "The low end takes all of it as recent, since no ingestion was recorded; expected is the middle."
    yield case.finding(
        KIND,
        evidence={
            "Log group": Measure(group.name),
            "Functions that write to it": Measure(len(group.functions), "of those looked at"),
            "Retention": Measure("never expires"),
            "Stored": Measure(round(stored, 6), "GB"),
            "Ingested": Measure(round(recent, 6), f"GB per {RETENTION_DAYS} days")
            if ingested
            else Measure("no datapoint"),
            "Would expire": Measure(round(old, 6), "GB" if known else "GB at most"),
            "Storage price": Measure(price, "$ per GB-month"),
        },
        formula=(
            f"{'' if known else 'At most '}{old:.6f} GB older than {RETENTION_DAYS} days × {rate(price)} ="
            f" {money(old * price)}. {basis}"
        ),
        change=f"Let its logs expire after {RETENTION_DAYS} days",
        proposed={"retention_days": RETENTION_DAYS},
        how_to=(
            f"aws logs put-retention-policy --region {case.function.region}"
            f" --log-group-name={quote(group.name)} --retention-in-days {RETENTION_DAYS}"
        ),
        as_code=as_code(
            f"RetentionInDays: {RETENTION_DAYS}", "retention=logs.RetentionDays.ONE_MONTH", "AWS::Logs::LogGroup"
        ),
        risk=(
            f"Older events are deleted for good. {RETENTION_DAYS} days are our assumption: audits and compliance may"
            " ask for more. Export to S3 first what must be kept."
        ),
        validate="A few days later, check that storedBytes of the log group has fallen (aws logs describe-log-groups).",
        savings=Interval(low, expected, high),
    )

"""Log retention unset: a log group that keeps for ever what nobody reads any more.

Only what would expire is claimed, and only its storage: ingestion, which usually costs more, goes on unchanged.
"""

from collections.abc import Iterator
from shlex import quote

from vigil.costs.case import Case
from vigil.costs.finding import Finding, Interval, Measure, money, rate
from vigil.costs.gaps import Gap

KIND = "log-retention-unset"

PROPOSED_DAYS = 30
"""An assumption, stated in the finding: nothing in AWS tells how long somebody needs the logs."""

COMPRESSED = 0.15
"""Bytes that are billed for storage over bytes ingested, as the AWS Pricing Calculator estimates them. AWS does not say
whether storedBytes counts before or after compression; the interval's ends take it both ways."""

BYTES_PER_GB = 2**30


def find(case: Case) -> Iterator[Finding | Gap]:
    """Yield the finding for the first function of a log group without retention that holds older events."""
    group = case.usage.log_group
    if group is None or group.retention_days is not None or group.functions[0] != case.function.name:
        return
    if group.stored_bytes is None:
        yield case.gap(f"log retention: the size of {group.name} is not known")
        return
    stored = group.stored_bytes / BYTES_PER_GB
    # Extrapolated from the first datapoint, so that a young log group is not taken for one full of old events.
    recent = group.ingested.total / group.ingested.days * PROPOSED_DAYS / BYTES_PER_GB if group.ingested else 0.0
    old, most = max(0.0, stored - recent), max(0.0, stored - recent * COMPRESSED)
    if old <= 0:
        return
    price = case.rates.log_storage
    low, expected, high = old * COMPRESSED * price, old * price, most * price
    basis = (
        f"The low end takes what is stored as billed after compression to {COMPRESSED:.0%};"
        " the high end takes the recent part as compressed already."
    )
    if not group.ingested:
        low, expected = 0.0, high / 2
        basis = "The low end takes all of it as recent, since no ingestion was recorded; expected is the middle."
    yield case.finding(
        KIND,
        evidence={
            "Log group": Measure(group.name),
            "Functions that write to it": Measure(len(group.functions)),
            "Retention": Measure("never expires"),
            "Stored": Measure(round(stored, 6), "GB"),
            "Ingested": Measure(round(recent, 6), f"GB per {PROPOSED_DAYS} days")
            if group.ingested
            else Measure("no datapoint"),
            "Would expire": Measure(round(old, 6), "GB" if group.ingested else "GB at most"),
            "Storage price": Measure(price, "$ per GB-month"),
        },
        formula=(
            f"{'' if group.ingested else 'At most '}{old:.6f} GB older than {PROPOSED_DAYS} days × {rate(price)} ="
            f" {money(old * price)}. {basis}"
        ),
        change=f"Let its logs expire after {PROPOSED_DAYS} days",
        how_to=(
            f"aws logs put-retention-policy --region {case.function.region}"
            f" --log-group-name {quote(group.name)} --retention-in-days {PROPOSED_DAYS}"
        ),
        risk=(
            f"Older events are deleted for good. {PROPOSED_DAYS} days are our assumption: audits and compliance may ask"
            " for more. Export to S3 first what must be kept."
        ),
        validate="A few days later, check that storedBytes of the log group has fallen (aws logs describe-log-groups).",
        savings=Interval(low, expected, high),
    )

"""REPORT lines expire at every hour: the hour of an analysis must not change its result."""

from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest

from lambda_costs.report.artifacts import findings_json
from tests.lambda_costs.adversarial.account import Account, Planted, report
from tests.lambda_costs.adversarial.faults import Clients
from tests.lambda_costs.adversarial.insights import logs_insights
from vigil.local.stack import LocalStack

RETENTION = {"expiring-30": 30, "expiring-14": 14, "expiring-7": 7, "expiring-1": 1}
HOURS = (0, 0.01, 6.5, 12, 12.01, 23.99)


@pytest.fixture(scope="module")
def written(account: Account) -> Account:
    """Functions whose log group keeps some days, with lines just after midnight and at noon."""

    def unusual(oldest: int) -> Any:
        # The first day of which a part is left has lines that no other day has.
        return lambda day: [report(used=700, init=900.0, request=f"{day}-early")] if day == oldest else []

    account.write(
        Planted(name, daily=6, lines=4, used_mb=300, architecture="arm64", retention=days, hostile=unusual(days))
        for name, days in RETENTION.items()
    )
    return account


def analysed(aws: LocalStack, written: Account, hours: float, by_insights: bool) -> str:
    """Return findings.json of an analysis so many hours after midnight, when older events have expired."""
    clients = Clients(aws.session(), written.midnight + timedelta(hours=hours))

    def expire(asked: dict[str, Any], answered: dict[str, Any]) -> None:
        name = asked["logGroupName"].removeprefix("/aws/lambda/")
        oldest = (clients.now - timedelta(days=RETENTION[name])).timestamp() * 1000
        answered["events"] = [event for event in answered["events"] if event["timestamp"] >= oldest]

    with clients.answering("logs.FilterLogEvents", expire), logs_insights(clients) if by_insights else nullcontext():
        found = clients.analyse("expiring-*")
    too_high = {item.function for item in found.findings if item.kind == "memory-too-high"}
    assert too_high == {"expiring-30", "expiring-14"}
    assert {gap.subject: gap.reason for gap in found.gaps if "keeps REPORT lines" in gap.reason} == {
        "expiring-7": "its log group keeps REPORT lines for 7 days: 14 are needed",
        "expiring-1": "its log group keeps REPORT lines for 1 day: 14 are needed",
    }
    return findings_json(found)


@pytest.mark.parametrize("by_insights", [False, True], ids=["read one by one", "by Logs Insights"])
def test_result_is_the_same_at_every_hour_of_a_day(aws: LocalStack, written: Account, by_insights: bool) -> None:
    assert len({analysed(aws, written, hours, by_insights) for hours in HOURS}) == 1

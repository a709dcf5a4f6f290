"""A function can print forged REPORT lines: they must not create a finding or raise its savings."""

from dataclasses import astuple
from typing import Any

import pytest

from lambda_costs.analysis import Analysis
from lambda_costs.collect.region import TOO_MANY_REPORT_LINES
from lambda_costs.model.finding import SavingsRange
from tests.lambda_costs.adversarial.account import Account, Planted, json_report, report
from tests.lambda_costs.adversarial.faults import Clients
from tests.lambda_costs.adversarial.insights import logs_insights

ABSURD = 10**9
READ, QUERIED = "read one by one", "by Logs Insights"


def planted(name: str, **fields: object) -> Planted:
    """Every invocation has its line."""
    return Planted(**{"name": f"forged-{name}", "daily": 4, "lines": 4, "memory_mb": 2048, "used_mb": 400, **fields})  # type: ignore[arg-type]


def line(**fields: float | str) -> str:
    return report(**{"memory": 2048, "used": 400, "request": "forged", **fields})  # type: ignore[arg-type]


IMPOSSIBLE = {
    "absurd-duration": line(duration=ABSURD),
    "absurd-billed": line(billed=ABSURD),
    "absurd-init": line(init=ABSURD),
    "init-not-billed": line(init=ABSURD, billed=501),
    "long-init": line(init=900_000),
    "billed-too-little": line(duration=900_000, billed=0),
    "no-memory": line(memory=0, used=0),
    "absurd-memory": line(memory=ABSURD, used=ABSURD - 1),
    "used-too-much": line(used=ABSURD),
    "endless-digits": line().replace("500.00", "9" * 5_000),
    "not-ascii": line().replace("500.00", "\N{ARABIC-INDIC DIGIT NINE}" * 3),
    "nothing": "REPORT RequestId:",
}
IMPOSSIBLE_JSON = {
    "negative": json_report(durationMs=-20_000, billedDurationMs=0, initDurationMs=20_000),
    "negative-init": json_report(initDurationMs=-ABSURD),
    "infinite": json_report(durationMs=float("inf"), billedDurationMs=float("inf")),
    "not-a-number": json_report(billedDurationMs=float("nan")),
    "overflow": json_report(billedDurationMs="1e999"),
    "json-absurd-init": json_report(initDurationMs=ABSURD, billedDurationMs=ABSURD),
    "json-used-too-much": json_report(maxMemoryUsedMB=ABSURD),
}
POSSIBLE = {
    # On one day, so that the days with doubtful lines are few.
    "more-than-invocations": [line()] * 30,
    "low-memory": [line(used=1)] * 30,
    "other-size": [line(memory=512)] * 30,
    "cold-starts": [line(init=10_000)] * 30,
    "timed-out": [line(duration=900_000, billed=900_000, status="timeout")] * 30,
    "out-of-memory": [line(used=2048).rstrip() + "\tStatus: error\tError Type: Runtime.OutOfMemory\n"] * 30,
}
FORGED_DAY = 3


def on_one_day(lines: list[str]) -> object:
    return lambda day: lines if day == FORGED_DAY else []


@pytest.fixture(scope="module")
def found(clients: Clients, account: Account) -> dict[str, Analysis]:
    """What is found by both ways of reading REPORT lines."""

    def daily(text: str) -> object:
        return lambda day: [text] * 5

    as_json: dict[str, object] = {"json_logs": True, "memory_mb": 1536, "used_mb": 250}
    account.write(
        [
            planted("honest"),
            planted("sampled", lines=3),
            planted("json-honest", **as_json),
            planted("twice", logged_twice=5),
        ]
    )
    account.write(planted(name, hostile=daily(text)) for name, text in IMPOSSIBLE.items())
    account.write(planted(name, hostile=daily(text), **as_json) for name, text in IMPOSSIBLE_JSON.items())
    account.write(planted(name, hostile=on_one_day(lines)) for name, lines in POSSIBLE.items())
    account.write([planted("every-day", hostile=lambda day: [line(init=10_000)] * 3)])
    read = clients.analyse("forged-*")
    with logs_insights(clients):
        return {READ: read, QUERIED: clients.analyse("forged-*")}


def savings(analysis: Analysis, name: str) -> dict[str, SavingsRange]:
    return {item.kind: item.savings for item in analysis.findings if item.function == f"forged-{name}"}


def close(found: dict[str, SavingsRange]) -> dict[str, tuple[float, ...]]:
    return {kind: tuple(round(amount, 6) for amount in astuple(item)) for kind, item in found.items()}


def gaps(analysis: Analysis, name: str) -> set[str]:
    return {gap.reason for gap in analysis.gaps if gap.subject == f"forged-{name}"}


def test_both_ways_of_reading_agree_on_honest_lines(found: dict[str, Analysis]) -> None:
    for name in ("honest", "json-honest"):
        assert savings(found[READ], name) == savings(found[QUERIED], name)
        assert savings(found[READ], name)["memory-too-high"].expected > 0
        assert not gaps(found[READ], name) | gaps(found[QUERIED], name)


@pytest.mark.parametrize("way", [READ, QUERIED])
@pytest.mark.parametrize(
    ("honest", "forged"),
    [*(("honest", name) for name in IMPOSSIBLE), *(("json-honest", name) for name in IMPOSSIBLE_JSON)],
)
def test_impossible_line_changes_nothing(found: dict[str, Analysis], way: str, honest: str, forged: str) -> None:
    assert savings(found[way], forged) == savings(found[way], honest)


@pytest.mark.parametrize("way", [READ, QUERIED])
@pytest.mark.parametrize("forged", POSSIBLE)
def test_day_with_surplus_lines_is_skipped_and_reported(found: dict[str, Analysis], way: str, forged: str) -> None:
    assert gaps(found[way], forged) == {TOO_MANY_REPORT_LINES}
    # All days are alike, so the other days give the same result as any sample.
    assert close(savings(found[way], forged)) == close(savings(found[way], "sampled"))


@pytest.mark.parametrize("way", [READ, QUERIED])
def test_too_many_lines_on_every_day_leave_no_finding(found: dict[str, Analysis], way: str) -> None:
    assert not savings(found[way], "every-day")
    assert TOO_MANY_REPORT_LINES in gaps(found[way], "every-day")


def test_duplicate_event_counts_once_or_its_day_is_skipped(found: dict[str, Analysis]) -> None:
    assert not gaps(found[READ], "twice")
    assert savings(found[READ], "twice") == savings(found[READ], "honest")
    assert gaps(found[QUERIED], "twice") == {TOO_MANY_REPORT_LINES}
    assert close(savings(found[QUERIED], "twice")) == close(savings(found[QUERIED], "sampled"))


def test_a_flooded_slice_of_a_sample_is_not_used(clients: Clients, account: Account) -> None:
    # A hundred invocations an hour; of 28 days, a slice of the sample has up to 4,000 / 35 = 114 lines.
    busy: dict[str, Any] = {"daily": 2_400, "hourly": True, "memory_mb": 2048, "used_mb": 1700}
    account.write(
        [
            # Its lines of two days fill a slice.
            Planted("busy-honest", lines=90, **busy),
            # These fill a slice that begins in an afternoon with what is printed after midnight.
            Planted("busy-flooded", hostile=lambda day: [line(used=9)] * 114, **busy),
        ]
    )
    found = clients.analyse("busy-*", days=28)
    assert [(item.function, item.kind) for item in found.findings if item.function == "busy-honest"] == [
        ("busy-honest", "arm64")
    ]
    assert not any(item.kind.startswith("memory-") for item in found.findings)
    assert {gap.reason for gap in found.gaps if gap.subject == "busy-honest"} == set()
    assert TOO_MANY_REPORT_LINES in {gap.reason for gap in found.gaps if gap.subject == "busy-flooded"}

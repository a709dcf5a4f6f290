"""What a session saves: which artifacts, in which order, and findings.json for programs."""

import json
from dataclasses import replace

import pytest

from lambda_costs.analysis import Analysis
from lambda_costs.collect.gaps import Gap
from lambda_costs.model.finding import Measurement
from lambda_costs.report.artifacts import artifacts_of, findings_json, scope
from lambda_costs.report.charts import BY_FINDING, BY_FUNCTION
from lambda_costs.report.comparison import compare
from lambda_costs.report.history import OLD_FORMAT
from lambda_costs.request import CostRequest
from tests.lambda_costs.analyses import analysis, finding, observation, used
from tests.lambda_costs.cases import function
from vigil.artifacts import MAX_ARTIFACT_BYTES
from vigil.names import FINDINGS, PAGE, REPORT

ARN = function().arn
ANALYSIS = analysis(
    [
        finding(cost=10.0, proposed={"memory_mb": 256}, evidence={"Memory today": Measurement(3008, "MB")}),
        finding("other", (0, 1, 2)),
        observation(),
    ],
    cost={ARN: 10.0},
    compute={ARN: used(1000), function("other").arn: "too few invocations"},
    gaps=(Gap("rare", "too few invocations"),),
)


def saved(of: Analysis = ANALYSIS, *previous: str) -> dict[str, str]:
    return artifacts_of(of, summary="Look.", order=(), notes={}, written_by="x", previous=previous)


def test_the_report_is_saved_last_and_the_charts_before_what_shows_them() -> None:
    assert list(saved()) == [FINDINGS, BY_FINDING, BY_FUNCTION, PAGE, REPORT]


def test_without_savings_there_are_no_charts() -> None:
    assert list(saved(analysis([observation()]))) == [FINDINGS, PAGE, REPORT]


def test_findings_are_json_that_holds_all_that_the_report_says() -> None:
    document = json.loads(findings_json(ANALYSIS))
    assert document["request"]["regions"] == ["us-east-1"]
    assert document["window"] == {"start": "2026-06-01", "end": "2026-07-01"}
    common = {"region": "us-east-1", "architecture": "x86_64", "memory_mb": 1024}
    assert document["functions"] == [
        {"name": "orders", "arn": ARN, "invocations": 1000, "cost": 10.0, **common},
        {"name": "other", "arn": function("other").arn, "invocations": None, "cost": None, **common},
    ]
    assert [item["id"] for item in document["findings"]] == ["arm64:orders", "arm64:other", "timeout-high:orders"]
    first = document["findings"][0]
    assert first["savings"] == {"low": 1.0, "expected": 2.0, "high": 3.0}
    assert first["evidence"] == {"Memory today": {"value": 3008, "unit": "MB"}}
    assert first["proposed"] == {"memory_mb": 256}
    assert document["total"] == {"gross": vars(ANALYSIS.totals.gross), "net": vars(ANALYSIS.totals.net)}
    assert document["gaps"] == [{"subject": "rare", "reason": "too few invocations"}]
    assert document["prices"] == {"us-east-1": "a table of 2025-10"}
    assert document["scan"] == {"metrics": 12, "queried_bytes": 2**30, "estimated": 0.01, "limit": 1.0}
    assert document["comparison"] is None
    assert set(document["left_out"].values()) == {0}


def test_the_same_data_give_the_same_bytes() -> None:
    assert saved() == saved(
        replace(ANALYSIS, cost=dict(ANALYSIS.cost), compute=dict(reversed(ANALYSIS.compute.items())))
    )
    text = findings_json(ANALYSIS)
    assert json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n" == text


def test_what_no_encoding_carries_and_no_terminal_should_see_is_escaped() -> None:
    odd = "\ud800\x9b\u202e×"
    text = findings_json(analysis([finding(odd)]))
    assert text.isascii()
    assert json.loads(text)["findings"][0]["function"] == odd
    for written in saved(analysis([finding(odd)])).values():
        written.encode()


def test_the_next_session_compares_its_findings_with_these() -> None:
    again = saved(ANALYSIS, saved()[FINDINGS])
    assert "**Since 2026-07-01:** 0 new, 0 changed, 0 gone, 0 realised." in again[REPORT]
    later = saved(analysis([finding("new")]), saved()[FINDINGS])
    comparison = json.loads(later[FINDINGS])["comparison"]
    assert comparison["since"] == "2026-07-01"
    assert comparison["counts"] == {"new": 1, "changed": 0, "realised": 0, "gone": 3}
    assert [item["id"] for item in comparison["new"]] == ["arm64:new"]
    assert {item["why"] for item in comparison["gone"]} == {"gone, with its function"}


@pytest.mark.parametrize("previous", ["", "{", "[1]", "[" * 100_000, '{"functions": 5}', "\ufffd"])
def test_what_cannot_be_compared_breaks_nothing_and_is_told(previous: str) -> None:
    written = saved(ANALYSIS, previous)
    assert f"**Since the last analysis:** no comparison, {OLD_FORMAT}." in written[REPORT]
    assert json.loads(written[FINDINGS])["comparison"] == {"not_compared": OLD_FORMAT}


def test_an_account_that_is_too_large_keeps_what_saves_most_and_counts_the_rest() -> None:
    names = [f"function-{number:05}" for number in range(4_000)]
    text = {"formula": "f" * 500, "risk": "r" * 500, "validate": "v" * 500, "how_to": "h" * 300, "as_code": "c" * 300}
    large = analysis(
        [finding(name, (4_000 - place, 4_000, 4_000), **text) for place, name in enumerate(names)],
        gaps=tuple(Gap(name, "why" * 20) for name in names),
    )
    written = findings_json(large, compare([findings_json(ANALYSIS)], large))
    assert len(written.encode()) < MAX_ARTIFACT_BYTES
    document = json.loads(written)
    left_out, findings = document["left_out"], document["findings"]
    assert left_out["findings"] + len(findings) == 4_000
    assert left_out["functions"] + len(document["functions"]) == 4_000
    assert left_out["gaps"] + len(document["gaps"]) == 4_000
    assert [item["function"] for item in findings] == names[: len(findings)]
    assert ["evidence" in item for item in findings].count(False) == left_out["findings_in_brief"] > 100
    assert document["comparison"]["counts"]["new"] == 4_000
    # What was left out of it can still be compared with.
    assert not isinstance(compare([written], ANALYSIS), str)
    assert max(len(text.encode()) for text in saved(large).values()) < MAX_ARTIFACT_BYTES


def test_analyses_that_ask_the_same_are_of_one_scope() -> None:
    def of(*regions: str, **more: object) -> str:
        return scope(CostRequest.model_validate({"regions": regions, **more}))

    assert of("us-east-1", "eu-west-1") == of("eu-west-1", "us-east-1", max_scan_dollars=1)
    different = {
        of("us-east-1"),
        of("eu-west-1"),
        of("us-east-1", functions="orders-*"),
        of("us-east-1", functions="*"),
        of("us-east-1", days=7),
    }
    assert len(different) == 5

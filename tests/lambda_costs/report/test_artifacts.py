"""The artifacts that a session saves, their order, and findings.json for programs."""

import json
from dataclasses import replace

import pytest

from lambda_costs.analysis import Analysis
from lambda_costs.collect.gaps import Gap
from lambda_costs.model.finding import Basis, Measurement, SavingsRange
from lambda_costs.report.artifacts import findings_json, headline, history_key, render_artifacts
from lambda_costs.report.charts import BY_FINDING, BY_FUNCTION
from lambda_costs.report.comparison import compare
from lambda_costs.report.history import OLD_FORMAT
from lambda_costs.request import CostRequest
from tests.lambda_costs.analyses import analysis, finding, observation, used
from tests.lambda_costs.cases import function
from vigil.artifacts import MAX_ARTIFACT_BYTES
from vigil.names import FINDINGS, PAGE, REPORT

ARN = function().arn
TODAY = {"Memory today": Measurement(3008, "MB")}
MEMORY = finding(kind="memory-too-high", cost=10.0, proposed={"memory_mb": 256}, evidence=TODAY,
                 slowdown=1.5, test={"powerValues": [256, 1024]})  # fmt: skip
ANALYSIS = analysis(
    [MEMORY, finding("other", (0, 1, 2), basis=Basis.TO_TEST), observation()],
    cost={ARN: 10.0},
    compute={ARN: used(1000), function("other").arn: "too few invocations"},
    gaps=(Gap("rare", "too few invocations"),),
)


def saved(analysed: Analysis = ANALYSIS, *previous: str) -> dict[str, str]:
    return render_artifacts(analysed, summary="Look.", written_by="x", previous=previous)


def test_report_is_last_and_the_charts_come_before_the_page() -> None:
    assert list(saved()) == [FINDINGS, BY_FINDING, BY_FUNCTION, PAGE, REPORT]


def test_no_savings_no_charts() -> None:
    assert list(saved(analysis([observation()]))) == [FINDINGS, PAGE, REPORT]


def test_findings_json_has_everything_in_the_report() -> None:
    document = json.loads(findings_json(ANALYSIS))
    assert document["request"]["regions"] == ["us-east-1"]
    assert document["window"] == {"start": "2026-06-01", "end": "2026-07-01"}
    common = {"region": "us-east-1", "architecture": "x86_64", "memory_mb": 1024}
    assert document["functions"] == [
        {"name": "orders", "arn": ARN, "invocations": 1000, "cost": 10.0, **common},
        {"name": "other", "arn": function("other").arn, "invocations": None, "cost": None, **common},
    ]
    ids = [item["id"] for item in document["findings"]]
    assert ids == ["memory-too-high:orders", "arm64:other", "timeout-high:orders"]
    first = document["findings"][0]
    assert first["savings"] == {"low": 1.0, "expected": 2.0, "high": 3.0}
    assert first["evidence"] == {"Memory today": {"value": 3008, "unit": "MB"}}
    assert first["proposed"] == {"memory_mb": 256}
    assert first["basis"] == "measured"
    assert first["slowdown"] == 1.5
    assert first["test"] == {"powerValues": [256, 1024]}
    # Of 10 dollars of the function's compute, and one million GB-seconds.
    assert document["total"]["measured"]["gross"] == {"low": 1.0, "expected": 2.0, "high": 3.0}
    assert document["total"]["more_by_tests"]["gross"] == pytest.approx({"low": 0.0, "expected": 1.0, "high": 2.0})
    assert document["total"]["measured"]["net"] == vars(ANALYSIS.totals.net)
    assert document["gaps"] == [{"subject": "rare", "reason": "too few invocations"}]
    assert document["prices"] == {"us-east-1": "a table of 2025-10"}
    assert document["scan"] == {"metrics": 12, "queried_bytes": 2**30, "estimated": 0.01, "limit": 1.0}
    assert document["comparison"] is None
    assert set(document["left_out"].values()) == {0}


def test_same_data_give_the_same_bytes() -> None:
    again = replace(ANALYSIS, cost=dict(ANALYSIS.cost), compute=dict(reversed(ANALYSIS.compute.items())))
    assert saved() == saved(again)
    text = findings_json(ANALYSIS)
    assert json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n" == text


def test_control_characters_and_surrogates_are_escaped() -> None:
    odd = "\ud800\x9b\u202e×"
    text = findings_json(analysis([finding(odd)]))
    assert text.isascii()
    assert json.loads(text)["findings"][0]["function"] == odd
    for written in saved(analysis([finding(odd)])).values():
        written.encode()


def test_next_analysis_is_compared_with_these_findings() -> None:
    assert "**Since 2026-07-01:** 0 new, 0 changed, 0 gone, 0 realised." in saved(ANALYSIS, saved()[FINDINGS])[REPORT]
    comparison = json.loads(saved(analysis([finding("new")]), saved()[FINDINGS])[FINDINGS])["comparison"]
    assert comparison["since"] == "2026-07-01"
    assert comparison["counts"] == {"new": 1, "changed": 0, "realised": 0, "gone": 3}
    assert [item["id"] for item in comparison["new"]] == ["arm64:new"]
    assert {item["why"] for item in comparison["gone"]} == {"the function was deleted"}


@pytest.mark.parametrize("previous", ["", "{", "[1]", "[" * 100_000, '{"functions": 5}', "\ufffd"])
def test_unreadable_history_is_reported_and_breaks_nothing(previous: str) -> None:
    written = saved(ANALYSIS, previous)
    assert f"**Since the last analysis:** no comparison, because {OLD_FORMAT}." in written[REPORT]
    assert json.loads(written[FINDINGS])["comparison"] == {"not_compared": OLD_FORMAT}


def test_too_large_account_keeps_the_best_findings_and_counts_the_rest() -> None:
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


def test_same_requests_have_the_same_history_key() -> None:
    def key(*regions: str, **more: object) -> str:
        return history_key(CostRequest.model_validate({"regions": regions, **more}))

    assert key("us-east-1", "eu-west-1") == key("eu-west-1", "us-east-1", max_scan_dollars=1)
    keys = [key("us-east-1"), key("eu-west-1"), key("us-east-1", days=7)]
    keys += [key("us-east-1", functions=pattern) for pattern in ("orders-*", "*")]
    assert len(set(keys)) == 5


def test_the_headline_has_the_measured_savings_and_what_is_new() -> None:
    first = saved()[FINDINGS]
    assert headline(first) == "$2.00 a month can be saved, first analysis"
    later = replace(ANALYSIS, totals=replace(ANALYSIS.totals, gross=SavingsRange(100.0, 1340.4, 2000.0)))
    assert headline(findings_json(later, OLD_FORMAT)) == "$1,340 a month can be saved"
    assert headline(saved(ANALYSIS, first)[FINDINGS]) == "$2.00 a month can be saved, nothing new"
    before = saved(analysis([MEMORY]))[FINDINGS]
    assert headline(saved(ANALYSIS, before)[FINDINGS]) == "$2.00 a month can be saved, 2 new"


def test_the_headline_says_that_nothing_can_be_saved() -> None:
    assert headline(saved(analysis([observation()]))[FINDINGS]) == "no measured savings, first analysis"

"""What all rules have in common. A finding's own test module has the EXAMPLE that these tests need."""

import shlex
import sys
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from lambda_costs import findings
from lambda_costs.findings import KINDS
from lambda_costs.model.context import FindingKind
from lambda_costs.report.history import PreviousFinding
from tests.lambda_costs.cases import (
    EVIL,
    GIB,
    Example,
    abstained,
    claimed,
    daily,
    found,
    function,
    log_group,
    provisioned,
    reports,
    usage,
)


def example(kind: FindingKind) -> Example:
    module = kind.rule.__module__.rpartition(".")[2]
    return import_module(f"tests.lambda_costs.findings.test_{module}").EXAMPLE  # type: ignore[no-any-return]


def that_need(*needs: str) -> list[FindingKind]:
    return [kind for kind in KINDS.values() if example(kind).needs in needs]


def every(kinds: list[FindingKind]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.kind)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "stray must declare a FindingKind as FINDING"),
        ("FINDING = 5", "stray must declare a FindingKind as FINDING"),
        ("from lambda_costs.findings.arm64 import FINDING", "stray declares the kind 'arm64', which another"),
    ],
)
def test_a_module_without_a_kind_of_its_own_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    (tmp_path / "stray.py").write_text(source)
    monkeypatch.setattr(findings, "__path__", [*findings.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "lambda_costs.findings.stray", raising=False)
    with pytest.raises((TypeError, ValueError), match=message):
        findings._declared()
    monkeypatch.delitem(sys.modules, "lambda_costs.findings.stray", raising=False)


@every(that_need("compute", "on_demand", "billed"))
@pytest.mark.parametrize(
    ("configured", "changes", "reason"),
    [
        ({}, {"unread": "CloudWatch gave only a part of its data: Duration"}, "only a part of its data: Duration"),
        ({}, {"invocations": daily(49)}, "fewer than 50 invocations"),
        ({}, {"invocations": daily(1e6, 13)}, "less than 14 days of data"),
        ({}, {"reports": None}, "no REPORT lines could be read"),
        ({}, {"reports": reports(days=12)}, "older ones have expired"),
        ({"capacity_provider": True}, {}, "capacity provider"),
    ],
)
def test_thin_data_give_a_gap_instead_of_a_finding(
    kind: FindingKind, configured: dict[str, Any], changes: dict[str, Any], reason: str
) -> None:
    of = example(kind)
    assert reason in abstained(kind.rule, function(**of.configured, **configured), replace(of.used, **changes))


@every(that_need("on_demand", "billed"))
@pytest.mark.parametrize(
    ("configured", "reason"),
    [(provisioned(None), "decide on that first"), (None, "its provisioned concurrency could not be")],
)
def test_provisioned_concurrency_hides_the_price_of_duration(kind: FindingKind, configured: Any, reason: str) -> None:
    assert reason in abstained(kind.rule, used=usage(provisioned=configured))


@every(list(KINDS.values()))
def test_compute_that_the_free_tier_covers_saves_nothing(kind: FindingKind) -> None:
    if example(kind).needs == "billed":
        assert "free tier covers the compute of all" in abstained(kind.rule, free=True)
    else:
        assert found(kind.rule, free=True) == found(kind.rule)


@every(list(KINDS.values()))
def test_nothing_is_found_in_a_well_configured_function(kind: FindingKind) -> None:
    fine = usage(log_group=log_group(GIB, retention_days=30), ingested_bytes=daily(GIB))
    assert found(kind.rule, function(architecture="arm64"), fine) is None


@every(list(KINDS.values()))
def test_a_finding_is_complete_and_quotes_names_in_its_commands(kind: FindingKind) -> None:
    of = function(EVIL, **example(kind).configured)
    result = claimed(kind.rule, of, example(kind).used)
    assert result.kind == kind.kind
    assert result.id.startswith(f"{result.kind}:{EVIL}")
    assert (result.function, result.region, result.arn) == (EVIL, of.region, of.arn)
    assert all([result.evidence, result.formula, result.change, result.risk, result.validate])
    assert result.savings.low <= result.savings.expected <= result.savings.high
    # With an equals sign: otherwise a name that begins with a hyphen is an option.
    names = {f"--function-name={EVIL}", f"--log-group-name=/aws/lambda/{EVIL}"}
    for line in result.how_to.splitlines():
        words = shlex.split(line.removeprefix("# "))
        assert words[0] != "aws" or names & set(words)
        assert line.startswith("#") or words[0] == "aws"


@every(list(KINDS.values()))
def test_the_next_analysis_can_read_a_finding(kind: FindingKind) -> None:
    of = example(kind)
    result = claimed(kind.rule, function(EVIL, **of.configured), of.used)
    # Lambda allows no such name. Only the setting and its value are looked at here.
    kept = replace(result, id=f"{kind.kind}:orders", function="orders", arn=function("orders").arn)
    # Otherwise the next analysis takes all that this one kept for damaged.
    assert PreviousFinding.model_validate(asdict(kept)).proposed == result.proposed

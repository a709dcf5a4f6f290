"""cdk-nag finds nothing but what is suppressed where it arises, and it finds all that is suppressed."""

import json
from pathlib import Path

import pytest

from tests.fixtures.synthesis import Python
from vigil.names import STACK

UNSUPPRESSED = """
import runpy
import infra.nag
infra.nag.suppress = lambda scope, reasons: None
runpy.run_path("app.py")
"""


Found = set[tuple[str, str]]
"""Findings, or suppressions of them, by their id and the path of a construct."""


def suppressed(assembly: Path) -> dict[tuple[str, str], str]:
    """Return the reason for every suppression in the assembly's stack, which holds for its construct and all below."""
    reasons: dict[tuple[str, str], str] = {}
    for path, entries in json.loads((assembly / f"{STACK}.metadata.json").read_text()).items():
        for entry in entries:
            if entry["type"] == "aws:cdk:acknowledged-rules":
                reasons |= {(name.split("::", 1)[1], path.strip("/")): why for name, why in entry["data"].items()}
    return reasons


def findings(assembly: Path) -> Found:
    """Return the findings that are not suppressed."""
    report = json.loads((assembly / "validation-report.json").read_text())
    violations = [found for plugin in report["pluginReports"] for found in plugin["violations"]]
    return {(found["ruleName"], at["constructPath"]) for found in violations for at in found["violatingConstructs"]}


def test_every_suppression_has_a_reason(assembly: Path) -> None:
    reasons = suppressed(assembly)
    assert reasons
    assert all(len(reason.split()) >= 4 for reason in reasons.values())


@pytest.mark.slow
def test_unsuppressed_finding_fails_and_exactly_all_findings_are_suppressed(
    python: Python, assembly: Path, tmp_path: Path
) -> None:
    done = python("-c", UNSUPPRESSED, CDK_OUTDIR=str(tmp_path), VIGIL_NAG="1")
    assert done.returncode != 0
    assert "ValidationFailed" in done.stderr
    found, suppressions = findings(tmp_path), set(suppressed(assembly))

    def suppresses(suppression: tuple[str, str], finding: tuple[str, str]) -> bool:
        return suppression[0] == finding[0] and f"{finding[1]}/".startswith(f"{suppression[1]}/")

    assert {finding for finding in found if not any(suppresses(given, finding) for given in suppressions)} == set()
    assert {given for given in suppressions if not any(suppresses(given, finding) for finding in found)} == set()

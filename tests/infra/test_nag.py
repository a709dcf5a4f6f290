"""cdk-nag finds nothing but what is suppressed, and it finds all that is suppressed."""

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


def suppressed(assembly: Path) -> dict[str, list[str]]:
    """Return the reasons for every suppressed finding of the assembly's stack, by the finding's id."""
    reasons: dict[str, list[str]] = {}
    for entries in json.loads((assembly / f"{STACK}.metadata.json").read_text()).values():
        for entry in entries:
            if entry["type"] == "aws:cdk:acknowledged-rules":
                for name, reason in entry["data"].items():
                    reasons.setdefault(name.split("::", 1)[1], []).append(reason)
    return reasons


def findings(assembly: Path) -> set[str]:
    """Return the ids of the findings that are not suppressed."""
    report = json.loads((assembly / "validation-report.json").read_text())
    return {found["ruleName"] for plugin in report["pluginReports"] for found in plugin["violations"]}


def test_every_suppression_has_a_reason(assembly: Path) -> None:
    reasons = suppressed(assembly)
    assert reasons
    assert all(len(reason.split()) >= 4 for given in reasons.values() for reason in given)


@pytest.mark.slow
def test_unsuppressed_finding_fails_and_suppressions_are_needed(python: Python, assembly: Path, tmp_path: Path) -> None:
    done = python("-c", UNSUPPRESSED, CDK_OUTDIR=str(tmp_path), VIGIL_NAG="1")
    assert done.returncode != 0
    assert "ValidationFailed" in done.stderr
    assert findings(tmp_path) == set(suppressed(assembly))


def test_the_stack_synthesises_without_a_finding(bundled: Path) -> None:
    assert findings(bundled) == set()

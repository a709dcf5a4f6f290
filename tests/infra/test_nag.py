"""cdk-nag finds nothing but what was looked at and accepted, and what was accepted is found."""

import json
from pathlib import Path

from tests.fixtures.synthesis import Python
from vigil.names import STACK

UNACKNOWLEDGED = """
import runpy
import infra.acknowledge
infra.acknowledge.acknowledge = lambda scope, reasons: None
runpy.run_path("app.py")
"""


def acknowledged(assembly: Path) -> dict[str, list[str]]:
    """Return the reasons for every accepted finding of the assembly's stack, by the finding's id."""
    reasons: dict[str, list[str]] = {}
    for entries in json.loads((assembly / f"{STACK}.metadata.json").read_text()).values():
        for entry in entries:
            if entry["type"] == "aws:cdk:acknowledged-rules":
                for name, reason in entry["data"].items():
                    reasons.setdefault(name.split("::", 1)[1], []).append(reason)
    return reasons


def findings(assembly: Path) -> set[str]:
    """Return the ids of the findings that nobody accepted."""
    report = json.loads((assembly / "validation-report.json").read_text())
    return {found["ruleName"] for plugin in report["pluginReports"] for found in plugin["violations"]}


def test_every_acknowledgement_has_a_reason(assembly: Path) -> None:
    reasons = acknowledged(assembly)
    assert reasons
    assert all(len(reason.split()) >= 4 for given in reasons.values() for reason in given)


def test_a_finding_that_nobody_accepted_fails_and_none_was_accepted_in_vain(
    python: Python, assembly: Path, tmp_path: Path
) -> None:
    done = python("-c", UNACKNOWLEDGED, CDK_OUTDIR=str(tmp_path), VIGIL_NAG="1")
    assert done.returncode != 0
    assert "ValidationFailed" in done.stderr
    assert findings(tmp_path) == set(acknowledged(assembly))


def test_the_stack_synthesises_without_a_finding(bundled: Path) -> None:
    assert findings(bundled) == set()

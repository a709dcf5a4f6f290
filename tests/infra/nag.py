"""Fail unless cdk-nag finds exactly what is suppressed: ``python -m tests.infra.nag ASSEMBLY``."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

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


def found_without_suppressions() -> Found:
    """Synthesise the stack with nothing suppressed, which must fail, and return what is found."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "CDK_OUTDIR": folder, "VIGIL_NAG": "1"}
        words = [sys.executable, "-c", UNSUPPRESSED]
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        if done.returncode == 0 or "ValidationFailed" not in done.stderr:
            sys.exit(f"a synthesis with findings that are not suppressed must fail:\n{done.stderr}")
        return findings(Path(folder))


def suppresses(suppression: tuple[str, str], finding: tuple[str, str]) -> bool:
    """Whether the suppression is for the finding: of its construct, or of one above it."""
    return suppression[0] == finding[0] and f"{finding[1]}/".startswith(f"{suppression[1]}/")


def differences(found: Found, suppressions: Found) -> list[str]:
    """Return what is found and not suppressed, and what is suppressed and not found."""
    open_findings = [f for f in found if not any(suppresses(given, f) for given in suppressions)]
    needless = [given for given in suppressions if not any(suppresses(given, f) for f in found)]
    return sorted(
        [f"{path}: {name} is not suppressed" for name, path in open_findings]
        + [f"{path}: {name} is suppressed and not found" for name, path in needless]
    )


if __name__ == "__main__":
    sys.exit("\n".join(differences(found_without_suppressions(), set(suppressed(Path(sys.argv[1]))))) or 0)

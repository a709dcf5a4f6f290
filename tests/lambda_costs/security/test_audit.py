"""The audit of the dependencies reports which are vulnerable, which are not, and which could not be checked."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vigil.local.deploy import PROJECT

FINE = {"name": "fine", "version": "1", "vulns": []}
HOLED = {"name": "holed", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "private", "skip_reason": "Dependency not found: private (1)"}


@pytest.mark.parametrize(
    ("packages", "status", "line"),
    [
        ([FINE], 0, "1 packages of lock.txt: no known vulnerability"),
        ([FINE, HOLED], 1, "holed 2: CVE-1, fixed in 3"),
        ([FINE, SKIPPED], 0, "NOT AUDITED: 1 of 2 packages: Dependency not found"),
        (None, 0, "NOT AUDITED: 0 of 0 packages: no connection"),
    ],
)
def test_audit_reports_what_it_knows(tmp_path: Path, packages: Any, status: int, line: str) -> None:
    # The output of pip-audit, which would ask services that a test cannot reach.
    answer = json.dumps({"dependencies": packages}) if packages else ""
    (tmp_path / "pip_audit.py").write_text(f"import sys\nprint({answer!r})\nprint('no connection', file=sys.stderr)\n")
    done = subprocess.run(
        [sys.executable, PROJECT / "requirements" / "audit.py", "lock.txt"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, (done.stdout + done.stderr).strip()) == (status, line)

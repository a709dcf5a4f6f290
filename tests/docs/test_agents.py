"""docs/agents.md: its example is the one in examples/, and runs as the page says, with IAM enforced."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import BIN
from vigil import sdk
from vigil.local.deploy import PROJECT

pytestmark = pytest.mark.takes(30)
PAGE = (PROJECT / "docs" / "agents.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["__init__.py", "agent.py"])
def test_the_page_shows_the_example_as_it_is(name: str) -> None:
    example = (PROJECT / "examples" / "queue_depths" / name).read_text(encoding="utf-8")
    assert f"```python\n{example}```" in PAGE


def test_the_page_names_the_whole_contract() -> None:
    assert not [name for name in sdk.__all__ if name != "AgentSession" and f"`{name}" not in PAGE]


def test_an_agent_with_its_own_tool_runs_as_the_page_says(tmp_path: Path) -> None:
    copy, run = (re.search(rf"^({words} .*)$", PAGE, re.MULTILINE) for words in ("cp -r", "vigil run"))
    assert copy is not None
    assert run is not None
    for name in ("app.py", "infra", "src", "requirements", "examples"):
        source = PROJECT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src"), "PATH": f"{BIN}:{os.environ['PATH']}"}
    script = f"set -e; {copy[1]}; {run[1]}"
    done = subprocess.run(["/bin/sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert re.search(r"^\| Vigil-\S*DeadLetter\S* \| 0 \|$", report, re.MULTILINE), report

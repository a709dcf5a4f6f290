"""docs/agents.md: its example is the one in examples/, and runs as the page says, with IAM enforced.

It runs in a folder that another user of the machine has filled, which no agent may notice.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import BIN, command
from vigil import sdk
from vigil.local.deploy import PROJECT
from vigil.local.stack import STATE

pytestmark = pytest.mark.takes(30)
PAGE = (PROJECT / "docs" / "agents.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["__init__.py", "agent.py"])
def test_the_page_shows_the_example_as_it_is(name: str) -> None:
    example = (PROJECT / "examples" / "queue_depths" / name).read_text(encoding="utf-8")
    assert f"```python\n{example}```" in PAGE


def test_the_page_names_the_whole_contract() -> None:
    assert not [name for name in sdk.__all__ if name != "AgentSession" and f"`{name}" not in PAGE]


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A folder with a module of every name that Vigil might import, and a .vigil, as another user may leave it."""
    folder = tmp_path / "shared"
    folder.mkdir()
    found = (path.name for entry in sys.path if os.path.isdir(entry) for path in Path(entry).iterdir())
    names = {name.partition(".")[0] for name in found}
    for name in {*names, *sys.stdlib_module_names, "sitecustomize", "usercustomize", "vigil", "infra", "tests"}:
        if name.isidentifier() and name not in ("__pycache__",):
            (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\n")
    (folder / "queue_depths.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write('queue_depths')\n")
    (folder / ".vigil").mkdir()
    (folder / ".vigil" / "local.json").symlink_to(tmp_path / "made-through-a-link")
    (folder / "pyvenv.cfg").write_text("home = /nowhere\n")
    return folder


def test_an_agent_with_its_own_tool_runs_as_the_page_says_and_nothing_of_the_current_folder_is_imported_or_read(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, run = (re.search(rf"^({words} .*)$", PAGE, re.MULTILINE) for words in ("cp -r", "vigil run"))
    assert copy is not None
    assert run is not None
    project = tmp_path / "project"
    project.mkdir()
    for name in ("app.py", "infra", "src", "requirements", "examples"):
        source = PROJECT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, project / name)
    # A synthesis takes long, and what it reads names it: the next run of the tests finds this one's.
    (PROJECT / STATE).mkdir(mode=0o700, exist_ok=True)
    (project / STATE).symlink_to(PROJECT / STATE)
    subprocess.run(["/bin/sh", "-c", copy[1]], cwd=project, check=True)
    monkeypatch.chdir(planted)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    environment = {**os.environ, "PYTHONPATH": str(project / "src"), "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(["/bin/sh", "-c", run[1]], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = (planted / "out" / "report.md").read_text(encoding="utf-8")
    assert re.search(r"^\| Vigil-\S*DeadLetter\S* \| 0 \|$", report, re.MULTILINE), report
    for word in ("status", "env", "down"):
        done = command(None, "vigil", "local", word)
        assert done.stderr.strip() == "vigil: no local stack runs in this folder; `vigil local up` starts one"
        assert done.returncode == 1
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "made-through-a-link").exists()

"""What is not installed is named on one line."""

import os
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from hatchling import build

from vigil import extras
from vigil.errors import EnvironmentProblem
from vigil.local.deploy import PROJECT


def test_everything_that_the_checkout_needs_is_there() -> None:
    extras.require_extras("cli", "local", "infra")


@pytest.mark.parametrize(
    ("missing", "extra"), [("typer", "cli"), ("rich", "cli"), ("ministack", "local"), ("aws-cdk-lib", "infra")]
)
def test_incompletely_installed_extra_is_named(monkeypatch: pytest.MonkeyPatch, missing: str, extra: str) -> None:
    def find(name: str) -> object:
        if name == missing:
            raise PackageNotFoundError(name)
        return distribution(name)

    monkeypatch.setattr(extras, "distribution", find)
    with pytest.raises(EnvironmentProblem, match=f"without its extra '{extra}' .{missing} is missing"):
        extras.require_extras("cli", "local", "infra")


def test_vigil_without_extras_names_the_extras_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    with zipfile.ZipFile(tmp_path / build.build_wheel(str(tmp_path))) as archive:
        archive.extractall(tmp_path / "installed")
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
        console = {path.relative_to(PROJECT / "src") for path in (PROJECT / "src/vigil/console").rglob("*.*")}
        served = {str(path) for path in console if path.suffix not in (".py", ".pyc")}
        assert served < set(archive.namelist())
        assert len(served) > 10
        (entry,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "vigil = vigil.__main__:main" in archive.read(entry).decode()
    environment = {"PYTHONPATH": str(tmp_path / "installed"), "PATH": os.environ["PATH"]}
    # Without the packages of this environment.
    command = [sys.executable, "-S", "-m", "vigil", "--help"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("vigil: vigil is installed without its extra 'cli' (")

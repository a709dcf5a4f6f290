import os
import subprocess
import time
from pathlib import Path

import pytest

from vigil.local.deploy import KEEP_SECONDS, synthesize


def test_the_cache_drops_old_assemblies_but_never_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The clock of the file system is a day behind.
    now = time.time() - 86_400

    def make(folder: Path, age: float) -> None:
        folder.mkdir()
        os.utime(folder, (now - age, now - age))

    make(tmp_path / "old", KEEP_SECONDS + 60)
    make(tmp_path / "recent", KEEP_SECONDS - 60)

    def run(command: list[str], *, env: dict[str, str], **_: object) -> subprocess.CompletedProcess[str]:
        make(Path(env["CDK_OUTDIR"]), 0)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    made = synthesize(tmp_path)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"recent", made.name}

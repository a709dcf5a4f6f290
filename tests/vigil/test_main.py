import signal
import subprocess
import sys

import pytest

INTERRUPTED = """
import os, signal, sys

class Interruption:
    def find_spec(self, name, *_):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interruption())
signal.signal(signal.SIGINT, signal.{before})
sys.argv = ["vigil", "--version"]
from vigil.__main__ import main
main()
"""


@pytest.mark.parametrize("name", ["importlib.metadata", "vigil.cli", "typer", "vigil.watch"])
def test_interruption_during_the_import_of_the_command_prints_nothing(name: str) -> None:
    ended = _run(name, "default_int_handler")
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


def test_an_interruption_that_is_ignored_stays_ignored() -> None:
    ended = _run("vigil.cli", "SIG_IGN")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("vigil ")


def _run(name: str, before: str) -> subprocess.CompletedProcess[str]:
    code = INTERRUPTED.format(name=name, before=before)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

"""``make test-engine``: the engine's tests pass in a copy of the project that lacks the agent that ships with it."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
WITHOUT = ("src/lambda_costs", "tests/lambda_costs", "benchmarks/findings", "benchmarks/scale.py")


def main() -> int:
    """Copy, install and test; returns the exit status of the tests."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True)
    with tempfile.TemporaryDirectory(prefix="vigil-engine-") as name:
        copy = Path(name)
        for file in filter(None, listed.stdout.split("\0")):
            if not file.startswith(WITHOUT) and (PROJECT / file).is_file():
                (copy / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / file, copy / file)
        environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        return subprocess.run(["make", "test", *sys.argv[1:]], cwd=copy, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())

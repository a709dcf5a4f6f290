"""The synthesised stack, once a test process."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.infra.template import Template
from tests.support import BIN
from vigil.local.deploy import PROJECT, synthesize
from vigil.names import STACK

Python = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def assembly() -> Path:
    """The cloud assembly that the local stack deploys."""
    return synthesize(PROJECT / ".vigil" / "synth")


@pytest.fixture(scope="session")
def template(assembly: Path) -> Template:
    return Template(json.loads((assembly / f"{STACK}.template.json").read_text()))


@pytest.fixture(scope="session")
def definition(template: Template) -> dict[str, Any]:
    """The state machine's definition, with references as ``<Resource.Attribute>``."""
    machine = template.only("AWS::StepFunctions::StateMachine")
    parsed: dict[str, Any] = json.loads(template.text(machine["DefinitionString"]))
    return parsed


@pytest.fixture(scope="session")
def python() -> Python:
    """Run Python in the project's folder, as ``make`` does: with the virtual environment's Node first."""

    def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        given = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **environment}
        return subprocess.run(
            [sys.executable, *arguments], cwd=PROJECT, env=given, capture_output=True, text=True, timeout=300
        )

    return run


@pytest.fixture(scope="session")
def bundled(python: Python, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``make package`` writes, the agent's package in it; cdk-nag looks on, as in ``make check``."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # One for all test processes.
        root = root.parent
    folder = root / "bundled"
    with (root / "bundled.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            # Files that a developer keeps to himself must be readable on AWS all the same.
            usual = os.umask(0o077)
            done = python("app.py", CDK_OUTDIR=str(root / "bundling"), VIGIL_BUNDLE="1", VIGIL_NAG="1")
            os.umask(usual)
            assert done.returncode == 0, done.stderr
            (root / "bundling").rename(folder)
    return folder

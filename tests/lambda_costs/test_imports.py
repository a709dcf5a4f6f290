"""Imports go one way: from the agent that ships to the engine's public module."""

import ast
import subprocess
from pathlib import Path

from tests.support import BIN
from vigil.local.deploy import PROJECT


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports anywhere in it."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


def test_the_import_rules_hold() -> None:
    done = subprocess.run([BIN / "lint-imports", "--no-cache"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_engine_tests_and_examples_do_not_import_the_cost_agent() -> None:
    files = {*PROJECT.glob("examples/**/*.py"), *PROJECT.glob("tests/**/*.py")}
    others = files - {*PROJECT.glob("tests/lambda_costs/**/*.py")}
    assert not {path for path in others if any("lambda_costs" in name.split(".") for name in imported(path))}

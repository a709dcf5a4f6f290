"""docs/requirements.md: every acceptance criterion with the tests that prove it, from their ``criterion`` markers.

The text of the criteria stands in the document itself; ``python -m tests.requirements`` renews the tests beside them.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
DOCUMENT = PROJECT / "docs" / "requirements.md"
_ROW = re.compile(r"^\| (?P<id>\d+\.\d+) \| (?P<text>[^|]+) \|.*\|$", re.MULTILINE)


def proofs() -> dict[str, list[str]]:
    """Return the tests that carry each criterion's marker, as path::name."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((PROJECT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                for identifier in chain.from_iterable(map(_criteria_of, node.decorator_list)):
                    found[identifier].append(f"{path.relative_to(PROJECT)}::{node.name}")
    return found


def _criteria_of(decorator: ast.expr) -> list[str]:
    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.criterion":
        return [str(ast.literal_eval(argument)) for argument in decorator.args]
    return []


def criteria(document: str) -> dict[str, str]:
    """Return the criteria of the document by id."""
    return {match["id"]: match["text"] for match in _ROW.finditer(document)}


def render(document: str, tests: Mapping[str, list[str]]) -> str:
    """Return the document with ``tests`` beside the criteria."""

    def row(match: re.Match[str]) -> str:
        links = [f"[{name.partition('::')[2]}](../{name.partition('::')[0]})" for name in tests.get(match["id"], [])]
        return f"| {match['id']} | {match['text']} | {'<br>'.join(links) or '**none**'} |"

    return _ROW.sub(row, document)


if __name__ == "__main__":
    DOCUMENT.write_text(render(DOCUMENT.read_text(encoding="utf-8"), proofs()), encoding="utf-8")

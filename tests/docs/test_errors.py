"""docs/errors.md has every error code, and no other."""

import json
import re

import pytest

from tests.support import workflow_definition
from vigil import errors
from vigil.agent.outcome import STOPPED
from vigil.agent.tools.journal import AGENT_FAILED
from vigil.errors import AgentCutOff, AgentError, EnvironmentProblem, SessionError, VigilError
from vigil.local.deploy import PROJECT

# These classes are never reported themselves: a subclass or a code that it carries is.
ABSTRACT = {VigilError, SessionError, AgentError, EnvironmentProblem, AgentCutOff}


@pytest.fixture(scope="module")
def rows() -> dict[str, list[str]]:
    """Meaning and remedy of each code."""
    text = (PROJECT / "docs" / "errors.md").read_text()
    found = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", text, re.MULTILINE)
    assert len(found) == text.count("\n| `"), "a row has not three cells"
    assert [code for code, *_ in found] == sorted({code for code, *_ in found})
    return {code: cells for code, *cells in found}


def test_the_table_has_every_code_and_no_other(rows: dict[str, list[str]]) -> None:
    classes = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, VigilError)}
    definition = json.dumps(workflow_definition())
    # Where the workflow itself names a code, in plain text or in an expression.
    given = re.findall(r'"code": "((?:[^"\\]|\\.)*)"', definition)
    of_the_workflow = {"".join(found) for text in given for found in re.findall(r"^(\w+)$|'(\w+)'", text)}
    assert len(of_the_workflow) == 8
    codes = {kind.__name__ for kind in classes - ABSTRACT} | {code for code, _ in STOPPED.values()}
    assert set(rows) == codes | of_the_workflow | {AGENT_FAILED}


def test_every_row_says_what_it_means_and_what_to_do(rows: dict[str, list[str]]) -> None:
    assert [code for code, cells in rows.items() if not all(re.match(r"[A-Z].*\.$", cell) for cell in cells)] == []

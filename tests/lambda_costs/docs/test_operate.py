"""docs/operate.md is true: its blocks run and print what it shows, and what it names exists."""

import re
from pathlib import Path

import pytest

from tests.documents import checkout, parse, problems, stack_of
from vigil.local.deploy import PROJECT
from vigil.names import Parameter

pytestmark = pytest.mark.takes(60)

DOCUMENT = PROJECT / "docs" / "operate.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")


def test_every_block_runs_and_prints_what_the_guide_shows(tmp_path: Path) -> None:
    blocks = parse(TEXT)
    assert stack_of(blocks), "the guide starts no local stack"
    found = problems(blocks, checkout(tmp_path / "checkout"))
    assert not found, f"{DOCUMENT.name}:\n" + "\n".join(found)


def test_the_guide_has_every_parameter_and_names_no_other() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", TEXT.partition("| Parameter |")[2].partition("\n\n")[0], re.MULTILINE)
    assert sorted(listed) == sorted(Parameter)
    assert set(re.findall(r"--parameters? '?(\w+)=", TEXT)) <= set(Parameter)

"""LOCAL_DEVELOPMENT.md and docs/operate.md are true: their blocks run and print what they show, on one stack."""

from pathlib import Path

import pytest

from tests.documents import DOWN, checkout, difference, on_one_stack, parse, problems, stack_of
from vigil.local.deploy import PROJECT

pytestmark = pytest.mark.takes(80)


@pytest.mark.criterion("7.3", "8.1", "8.2", "8.3")
def test_every_block_runs_and_prints_what_the_guides_show(tmp_path: Path) -> None:
    guides = [parse((PROJECT / name).read_text("utf-8"), name) for name in ("docs/operate.md", "LOCAL_DEVELOPMENT.md")]
    assert all(stack_of(blocks) for blocks in guides), "a guide starts no local stack"
    # Its stack is stopped once, and both show what that prints.
    one, other = (block.shown or "" for blocks in guides for block in blocks if block.text.strip() == DOWN)
    assert difference(one, other) is None
    # A stack takes long to start. That of the operator's guide has a schedule and notifications besides.
    found = problems(on_one_stack(*guides), checkout(tmp_path / "checkout"))
    assert not found, "\n".join(found)

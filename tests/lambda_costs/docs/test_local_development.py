"""What LOCAL_DEVELOPMENT.md names exists, and its tree is the project's; test_guides.py runs its blocks."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tests.documents import check_named_commands, parse
from vigil import names
from vigil.cli import app
from vigil.local.deploy import PROJECT

DOCUMENT = PROJECT / "LOCAL_DEVELOPMENT.md"


@pytest.fixture(scope="module")
def text() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.criterion("8.3")
@pytest.mark.parametrize(
    "way",
    [
        r"\(make trigger-workflow \|",
        r"make trigger-workflow DETAIL='\{",
        r"vigil trigger --\w",
        r"vigil trigger --detail '\{",
        r"^vigil run --\w",
        r"aws events put-events --entries '\[",
        r"aws events put-events --entries file://",
        r"aws stepfunctions start-execution",
    ],
)
def test_every_way_to_start_a_session_is_in_a_block_that_runs(text: str, way: str) -> None:
    # Continued lines are one.
    ran = "".join(block.text for block in parse(text) if block.language == "sh").replace("\\\n", "")
    assert re.search(way, re.sub(r" +", " ", ran), re.MULTILINE), way


@pytest.mark.criterion("7.3")
def test_the_console_steps_name_the_event_that_the_rule_takes(text: str) -> None:
    steps = text.partition("### The AWS console")[2].partition("\n### ")[0]
    assert "Send events" in steps
    for value in (names.EVENT_SOURCE, names.EVENT_DETAIL_TYPE):
        assert f"`{value}`" in steps


def test_commands_named_but_not_run_exist_with_their_options(text: str) -> None:
    assert check_named_commands(text) > 10


# The changelog names what was removed.
OTHERS = [path for path in sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")]) if path.name != "CHANGELOG.md"]


@pytest.mark.parametrize("document", OTHERS, ids=lambda document: document.name)
def test_commands_named_by_another_document_exist_with_their_options(document: Path) -> None:
    check_named_commands(document.read_text(encoding="utf-8"))


def test_every_command_of_another_document_is_run_by_a_test() -> None:
    ran = {
        # test_readme.py and test_local_stack.py
        "README.md": ["make run\n", 'make run ARGS="--agent examples.hello_agent:hello_agent"\n'],
        "docs/agents.md": [
            "cp -r examples/queue_depths src/\nvigil run --local --agent queue_depths.agent:queue_depths\n"
        ],  # tests/docs/test_agents.py
    }
    for document in OTHERS:
        if document not in (DOCUMENT, PROJECT / "docs" / "operate.md"):  # test_guides.py runs all of both
            blocks = [block.text for block in parse(document.read_text(encoding="utf-8")) if block.language == "sh"]
            assert blocks == ran.get(str(document.relative_to(PROJECT)), []), document


def local_up_options() -> set[str]:
    command: Any = typer.main.get_command(app)
    up = command.commands["local"].commands["up"]
    return {name for option in up.params for name in (*option.opts, *option.secondary_opts)} - {"--help"}


def test_the_document_has_every_local_stack_option_and_make_target(text: str) -> None:
    told = text.partition("## The local stack")[2].partition("\n## ")[0]
    for option in local_up_options() - {"--sample-account"}:
        assert f"`{option}" in told, option
    for target in re.findall(r"^([a-z-]+):.*## ", (PROJECT / "Makefile").read_text(), re.MULTILINE):
        assert f"make {target}" in text, target


# The project structure.


def tree(text: str) -> dict[str, str]:
    """Return the paths that the document's tree names, each with what it says; folders end in a slash."""
    drawn = text.partition("## Project structure")[2].partition("```text\n")[2].partition("```")[0]
    paths: dict[str, str] = {}
    above: list[str] = []
    for line in drawn.splitlines():
        indented, name, told = re.fullmatch(r"( *)(\S+)(?: {2,}(\S.*))?", line).groups()  # type: ignore[union-attr]
        above = [*above[: len(indented) // 2], name]
        paths["".join(above)] = told or ""
    return paths


def git_files(*options: str) -> list[str]:
    if not (PROJECT / ".git").exists():
        pytest.skip("not a git checkout")
    # A checkout that belongs to another user is still the one that we were asked to look at.
    command = ["git", "-c", "safe.directory=*", "ls-files", *options]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    # A file that was deleted and not yet committed is listed still.
    return [name for name in done.stdout.splitlines() if (PROJECT / name).exists()]


@pytest.mark.criterion("8.4")
def test_every_entry_of_the_tree_exists_and_is_described_briefly(text: str) -> None:
    files = git_files("--cached", "--others", "--exclude-standard")
    there = {*files, *(f"{parent}/" for name in files for parent in Path(name).parents)}
    paths = tree(text)
    assert len(paths) > 20
    assert set(paths) <= there
    assert [path for path, told in paths.items() if not 5 <= len(told) <= 100] == []


@pytest.mark.criterion("8.4")
def test_every_top_level_entry_is_in_the_tree(text: str) -> None:
    paths = tree(text)
    top = {f"{name.partition('/')[0]}{'/' if '/' in name else ''}" for name in git_files()}
    assert [name for name in top if not any(path.startswith(name) for path in paths)] == []


@pytest.mark.criterion("8.4")
def test_every_folder_of_the_packages_is_in_the_tree(text: str) -> None:
    folders = {f"{Path(name).parent}/" for name in git_files("src/*.py") if Path(name).name == "__init__.py"}
    # What a folder below these holds, the one above it says.
    assert {folder for folder in folders if folder.count("/") < 4} <= set(tree(text))

"""LOCAL_DEVELOPMENT.md is true: its blocks run, they print what it shows, and the tree that it draws is the project's.

A ``sh`` block is run, all of them in document order in one shell, in a folder that has the checkout's files and a
local stack of its own. A ``text`` block right after it is what it prints; a line ``…`` stands for any number of lines.
A ``console`` block is not run, except that what ``vigil local up`` prints is compared too.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import typer.main

from vigil import names
from vigil.cli import app
from vigil.local.deploy import PROJECT

pytestmark = pytest.mark.takes(60)

DOCUMENT = PROJECT / "LOCAL_DEVELOPMENT.md"
SECONDS = 400
SHELL = ["bash", "-euo", "pipefail"]
UP = "vigil local up"

# The stack comes up while the first blocks run, on a port of its own choice.
PROLOGUE = f"""\
.venv/bin/{UP} --port 0 >up.log 2>&1 &
up=$!
trap 'kill $up 2>/dev/null || true; wait $up || true' EXIT
"""
AWAIT_UP = "until grep -qs '^in another terminal' up.log; do kill -0 $up; sleep 0.1; done; cat up.log\n"
EPILOGUE = "trap - EXIT; wait $up\n"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the line of its first line, its text, and the line and text of the output shown."""

    language: str
    line: int
    text: str
    shown_line: int = 0
    shown: str | None = None

    @property
    def commands(self) -> list[str]:
        """The commands of a ``console`` block, or of any other the whole text as one."""
        if self.language == "console":
            return [line.removeprefix("$ ") for line in self.text.splitlines() if line.startswith("$ ")]
        return [self.text]


def parse(document: str) -> list[Block]:
    """Return the fenced blocks of a Markdown text; a ``text`` block right after a ``sh`` block becomes a part of it."""
    blocks: list[Block] = []
    end = 0
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", document, re.MULTILINE | re.DOTALL):
        line, text = document.count("\n", 0, match.start()) + 2, match[2]
        follows = blocks and not document[end : match.start()].strip()
        if match[1] == "text" and follows and blocks[-1].language == "sh" and blocks[-1].shown is None:
            blocks[-1] = replace(blocks[-1], shown_line=line, shown=text)
        else:
            blocks.append(Block(match[1], line, text))
        end = match.end()
    return blocks


def script(blocks: list[Block]) -> str:
    """Return the shell script that runs the blocks and says before each, by its line, which one comes."""
    parts = [PROLOGUE] if any(UP in block.commands for block in blocks) else []
    for block in blocks:
        if block.language == "sh" or UP in block.commands:
            parts.append(f"echo; echo '@@{block.line}'\n")
            parts.append(block.text if block.language == "sh" else AWAIT_UP)
    return "".join(parts) + (EPILOGUE if parts and parts[0] is PROLOGUE else "")


def checkout(folder: Path) -> Path:
    """Make ``folder`` look like a fresh checkout with its virtual environment; what is written there stays there."""
    ignored = {line.strip("/") for line in (PROJECT / ".gitignore").read_text().splitlines()} | {".git"}
    folder.mkdir()
    for entry in PROJECT.iterdir():
        if entry.name not in ignored:
            (folder / entry.name).symlink_to(entry)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def run(blocks: list[Block], folder: Path) -> tuple[dict[int, str], int]:
    """Run the blocks in ``folder``; returns what each printed, by its line, and the exit status of the shell."""
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    environment = {name: os.environ[name] for name in ("PATH", "TZ")} | {"HOME": str(home), "LANG": "C.UTF-8"}
    # A file, not an argument or standard input: the blocks may read theirs, which is empty.
    source = folder.parent / "blocks.sh"
    source.write_text(script(blocks), encoding="utf-8")
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    words: Any = {"args": [*SHELL, str(source)], "cwd": folder, "env": environment, "text": True, **streams}
    process = subprocess.Popen(**words, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        # To the whole group, so that the shell's trap need not wait for the command that hangs.
        os.killpg(process.pid, signal.SIGTERM)
        output, _ = process.communicate()
    parts = re.split(r"^\n?@@(\d+)\n", output, flags=re.MULTILINE)
    return {int(line): text for line, text in zip(parts[1::2], parts[2::2], strict=True)}, process.returncode


MASKS = [
    (r"^seed \d+, time zone .*: make test SEED=\d+ ", "seed <seed> "),
    (r"^installing into \.venv: .*$", ""),  # make finds a file newer than the installation
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>"),
    (r"\d{4}-\d\d-\d\dT[0-9:.]+(Z|\+00:00)?", "<time>"),
    (r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?", "<date>"),
    (r"\b1\d{9}(\.\d+)?\b", "<epoch>"),
    (r"(127\.0\.0\.1|localhost):\d+", "<host>"),
    (r"\?token=[\w-]{43}", "?token=<token>"),
    # What CloudFormation appends to names: the construct's hash and the resource's.
    (r"(Vigil-[A-Za-z]+?|vigil-[a-z]+?|Logs)[0-9A-Fa-f]{8}(-[0-9A-Za-z]{12,})?\b", r"\1<hash>"),
    (r"runtime/vigil-\w{10}", "runtime/vigil-<hash>"),
    (r"\b[0-9a-f]{16}/", "<hash>/"),
    (r"\bprocess \d+", "process <pid>"),
    (r"/[^ ]*/vigil-\w{8}/", "<folder>/"),
    (r"\d+\.\d+ ?s\b|\d+(\.\d+)? ms\b", "<n> s"),
    (r"\d+\s+(?=[\w-]+\.(md|json|html|svg)$)", "<bytes> "),
    (r"\$[\d,]+(\.\d+)?", "<money>"),
    (r"\d+ findings in \d+ of \d+ functions", "<findings>"),
    (r"\b\d+ passed", "<n> passed"),
    (r"\b\d+ deselected", "<n> deselected"),
    (r"\s+", " "),
]


def masked(text: str) -> list[str]:
    """Return the lines of ``text`` without blank ones and without what differs between two runs."""
    lines = text.splitlines()
    for pattern, mask in MASKS:
        lines = [re.sub(pattern, mask, line) for line in lines]
    return [line.strip() for line in lines if line.strip()]


_MOMENT = re.compile(r"<n> s (workflow|session|phase|model|tool) ")


def difference(shown: str, printed: str) -> str | None:
    """Return what ``shown`` promises and ``printed`` does not hold, or None.

    The moments of a session that is watched come in an order of their own.
    """
    expected, actual = masked(shown), masked(printed)
    if any(_MOMENT.match(line) for line in expected):
        wanted, found = (Counter(line for line in lines if line != "…") for lines in (expected, actual))
        surplus = found - wanted if "…" not in expected else Counter()
        missing = wanted - found
        if missing or surplus:
            return f"not printed: {list(missing)}; printed, but not shown: {list(surplus)}"
        return None
    pattern = "".join(r"(?:.*\n)*?" if line == "…" else re.escape(line) + "\n" for line in expected)
    if re.fullmatch(pattern, "".join(f"{line}\n" for line in actual)):
        return None
    return f"shown: {expected}\nprinted: {actual}"


def problems(blocks: list[Block], folder: Path) -> list[str]:
    """Run the blocks and return what is not as the document says, each with its line."""
    printed, status = run(blocks, folder)
    found = []
    for block in blocks:
        if block.line not in printed:
            continue
        shown = block.shown if block.language == "sh" else block.text.partition("\n")[2]
        if shown is not None and (wrong := difference(shown, printed[block.line])):
            found.append(f"line {block.shown_line or block.line}: {wrong}")
    if status:
        line = max(printed, default=0)
        found.append(f"line {line}: the block fails with exit status {status}:\n{printed.get(line, '')}")
    elif missed := [block.line for block in blocks if block.language == "sh" and block.line not in printed]:
        found.append(f"line {missed[0]}: the block was not run")
    return found


@pytest.fixture(scope="module")
def text() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.criterion("7.3", "8.1", "8.2", "8.3")
def test_every_block_runs_and_prints_what_the_document_shows(text: str, tmp_path: Path) -> None:
    blocks = parse(text)
    assert [block.line for block in blocks if UP in block.commands], "the document starts no local stack"
    found = problems(blocks, checkout(tmp_path / "checkout"))
    assert not found, f"{DOCUMENT.name}:\n" + "\n".join(found)


@pytest.mark.criterion("8.3")
@pytest.mark.parametrize(
    "way",
    [
        r"^make trigger-workflow$",
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


def named_commands(text: str) -> Iterator[tuple[int, str]]:
    """Yield every command that the document names and nothing runs: in ``console`` blocks and in prose."""
    fenced: set[int] = set()
    for block in parse(text):
        fenced |= set(range(block.line - 1, block.line + block.text.count("\n") + 1))
        if block.shown is not None:
            fenced |= set(range(block.shown_line - 1, block.shown_line + block.shown.count("\n") + 1))
        if block.language == "console":
            yield from ((block.line, command) for command in block.commands)
    for number, line in enumerate(text.splitlines(), 1):
        if number not in fenced:
            yield from ((number, code) for code in re.findall(r"`([^`]+)`", line))


def check_named_commands(text: str) -> int:
    """Check that every command which ``text`` names exists with its options; returns how many there are."""
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    checked = 0
    for line, named in named_commands(text):
        words = shlex.split(named, comments=True) if re.match(r"(\w+=\S+ )*(vigil|make) ", named) else []
        while words and re.match(r"\w+=", words[0]):
            words.pop(0)
        if words[:1] == ["make"]:
            for word in words[1:]:
                assert "=" in word or word in targets, f"line {line}: no target {word} in the Makefile"
        elif words[:1] == ["vigil"]:
            command: Any = typer.main.get_command(app)
            options = words[1:]
            while options and not options[0].startswith("-") and hasattr(command, "commands"):
                assert options[0] in command.commands, f"line {line}: no command {named}"
                command = command.commands[options.pop(0)]
            known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
            for word in options:
                assert not word.startswith("--") or word in known | {"--help"}, f"line {line}: {named} knows no {word}"
        else:
            continue
        checked += 1
    return checked


def test_commands_named_but_not_run_exist_with_their_options(text: str) -> None:
    assert check_named_commands(text) > 10


# The changelog names what was removed.
OTHERS = [path for path in sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")]) if path.name != "CHANGELOG.md"]


@pytest.mark.parametrize("document", OTHERS, ids=lambda document: document.name)
def test_commands_named_by_another_document_exist_with_their_options(document: Path) -> None:
    check_named_commands(document.read_text(encoding="utf-8"))


def test_every_command_of_another_document_is_run_by_a_test() -> None:
    ran = {
        "README.md": ["make run\n", 'make run ARGS="--agent examples.hello_agent:hello_agent"\n'],  # test_readme.py
        "docs/operate.md": ["vigil --help\n"],  # test_readme.py
        "docs/agents.md": [
            "cp -r examples/queue_depths src/\nvigil run --local --agent queue_depths.agent:queue_depths\n"
        ],  # tests/docs/test_agents.py
    }
    for document in OTHERS:
        if document != DOCUMENT:
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


# The checks above do find what is wrong.


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("# A\n\n```sh\nfalse\n```\n", "line 4: the block fails with exit status 1"),
        ("```sh\ntrue | false | true\n```\n", "line 2: the block fails with exit status 1"),
        ("```sh\necho one\n```\n\n```text\ntwo\n```\n", "line 6: shown: ['two']\nprinted: ['one']"),
        ("```sh\necho one; echo two\n```\n```text\none\n```\n", "line 5: shown: ['one']"),
        ("```sh\nexit 0\n```\n\n```sh\ntrue\n```\n", "line 6: the block was not run"),
        ("```sh\necho '1.0 s  phase  usage'\n```\n```text\n2.0 s  phase  report\n```\n", "line 5: not printed:"),
    ],
)
def test_a_wrong_block_is_reported_with_its_line(tmp_path: Path, document: str, said: str) -> None:
    (tmp_path / "checkout").mkdir()
    found = problems(parse(document), tmp_path / "checkout")
    assert len(found) == 1
    assert found[0].startswith(said)


def test_blocks_share_a_shell_and_ids_times_and_ports_may_differ(tmp_path: Path) -> None:
    document = (
        "```sh\nx=3f2504e0-4f89-11d3-9a0c-0305e82c3301\n```\n\n```sh\n"
        "printf '%s\\n' $x a 'http://127.0.0.1:1/q' 'at 2026-01-02T03:04:05.678Z' 1.5\\ s\n```\n\n```text\n"
        "8d3c1f6e-0b0e-4c57-8d0c-1f2e3d4c5b6a\n…\nhttp://127.0.0.1:4566/q\nat 2027-11-12T13:14:15Z\n0.2 s\n```\n"
    )
    (tmp_path / "checkout").mkdir()
    assert problems(parse(document), tmp_path / "checkout") == []

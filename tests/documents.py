"""The examples of a Markdown document: run them, compare what they print with what it shows, check what it names.

A ``sh`` block is run, all of them in document order in one shell, in a folder that has the checkout's files and a
local stack of its own. A ``text`` block right after it is what it prints; a line ``…`` stands for any number of lines.
A ``console`` block is not run, except that the first ``vigil local up`` starts the stack, and what it prints is
compared too.
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

import typer.main

from tests import commands
from vigil.cli import app
from vigil.local.deploy import PROJECT

SECONDS = 400
SHELL = ["bash", "-euo", "pipefail"]
UP, DOWN = "vigil local up", "vigil local down"

# The stack comes up while the first blocks run, on a port of its own choice.
PROLOGUE = """\
.venv/bin/{command} --port 0 >up.log 2>&1 &
up=$!
trap 'kill $up 2>/dev/null || true; wait $up || true' EXIT
"""
AWAIT_UP = "until grep -qs '^in another terminal' up.log; do kill -0 $up; sleep 0.1; done; cat up.log\n"
EPILOGUE = "trap - EXIT; wait $up\n"


@dataclass(frozen=True)
class Block:
    """A fenced block: its document, its language, its first line, its text, and the line and text of its output."""

    document: str
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

    @property
    def starts(self) -> str | None:
        """The command that starts a local stack, if the block is one that shows it."""
        return next((command for command in self.commands if command.startswith(UP)), None)


def parse(document: str, name: str = "") -> list[Block]:
    """Return the fenced blocks of a Markdown text; a ``text`` block right after a ``sh`` block becomes a part of it."""
    blocks: list[Block] = []
    end = 0
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", document, re.MULTILINE | re.DOTALL):
        line, text = document.count("\n", 0, match.start()) + 2, match[2]
        follows = blocks and not document[end : match.start()].strip()
        if match[1] == "text" and follows and blocks[-1].language == "sh" and blocks[-1].shown is None:
            blocks[-1] = replace(blocks[-1], shown_line=line, shown=text)
        else:
            blocks.append(Block(name, match[1], line, text))
        end = match.end()
    return blocks


def on_one_stack(*documents: list[Block]) -> list[Block]:
    """Return the blocks of several documents as those of one, on the stack of the first: only the last one stops it."""
    *others, last = documents
    return [block for document in others for block in document if block.text.strip() != DOWN] + last


def stack_of(blocks: list[Block]) -> Block | None:
    """Return the first block that starts a local stack: all others run on it."""
    return next((block for block in blocks if block.language == "console" and block.starts), None)


def script(blocks: list[Block]) -> str:
    """Return the shell script that runs the blocks and says before each, by its place, which one comes."""
    up = stack_of(blocks)
    parts = [PROLOGUE.format(command=up.starts)] if up else []
    for place, block in enumerate(blocks):
        if block.language == "sh" or block is up:
            parts.append(f"echo; echo '@@{place}'\n")
            parts.append(block.text if block.language == "sh" else AWAIT_UP)
    return "".join([*parts, EPILOGUE if up else ""])


def checkout(folder: Path) -> Path:
    """Make ``folder`` look like a fresh checkout with its virtual environment; what is written there stays there."""
    ignored = {line.strip("/") for line in (PROJECT / ".gitignore").read_text().splitlines()} | {".git"}
    folder.mkdir()
    for entry in PROJECT.iterdir():
        if entry.name not in ignored:
            (folder / entry.name).symlink_to(entry)
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    for entry in (*Path(sys.prefix).iterdir(), *Path(sys.prefix, "bin").iterdir()):
        if entry.name != "bin":
            (programs.parent / entry.relative_to(sys.prefix)).symlink_to(entry)
    return folder


def run(blocks: list[Block], folder: Path) -> tuple[dict[int, str], int]:
    """Run the blocks in ``folder``; returns what each printed, by its place, and the exit status of the shell."""
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    environment = {name: os.environ[name] for name in ("PATH", "TZ")} | {"HOME": str(home), "LANG": "C.UTF-8"}
    # A file, not an argument or standard input: the blocks may read theirs, which is empty.
    source = folder.parent / "blocks.sh"
    source.write_text(script(blocks), encoding="utf-8")
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    words: Any = {"args": [*SHELL, str(source)], "cwd": folder, "env": environment, "text": True, **streams}
    link = commands.install(folder / ".venv" / "bin")
    process = subprocess.Popen(**words, start_new_session=True, pass_fds=[link])
    try:
        output, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        # To the whole group, so that the shell's trap need not wait for the command that hangs.
        os.killpg(process.pid, signal.SIGTERM)
        output, _ = process.communicate()
    parts = re.split(r"^\n?@@(\d+)\n", output, flags=re.MULTILINE)
    return {int(place): text for place, text in zip(parts[1::2], parts[2::2], strict=True)}, process.returncode


MASKS = [
    (r"^seed \d+, time zone .*: make test SEED=\d+ ", "seed <seed> "),
    (r"^installing into \.venv: .*$", ""),  # make finds a file newer than the installation
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>"),
    (r"\d{4}-\d\d-\d\dT[0-9:.]+(Z|\+00:00)?", "<time>"),
    (r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?", "<date>"),
    (r"\b1\d{9}(\.\d+)?\b", "<epoch>"),
    (r"(127\.0\.0\.1|localhost):\d+", "<host>"),
    (r"\?token=[\w-]+", "?token=<token>"),
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
    """Run the blocks in ``folder`` and return what is not as the document says, each with its line."""
    printed, status = run(blocks, folder)
    found = []

    def report(block: Block, line: int, wrong: str) -> None:
        found.append(f"{block.document} line {line}: {wrong}".lstrip())

    for place, block in enumerate(blocks):
        if place not in printed:
            continue
        shown = block.shown if block.language == "sh" else block.text.partition("\n")[2]
        if shown is not None and (wrong := difference(shown, printed[place])):
            report(block, block.shown_line or block.line, wrong)
    if status:
        last = max(printed, default=0)
        text = f"the block fails with exit status {status}:\n{printed.get(last, '')}"
        report(blocks[last], blocks[last].line, text)
    elif missed := [block for place, block in enumerate(blocks) if block.language == "sh" and place not in printed]:
        report(missed[0], missed[0].line, "the block was not run")
    return found


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
                # A path is a file that make makes.
                assert "=" in word or "/" in word or word in targets, f"line {line}: no target {word} in the Makefile"
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

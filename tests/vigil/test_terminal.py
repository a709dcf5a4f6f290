"""What the terminal shows of Markdown that somebody else wrote."""

import io
import re

import pytest

from vigil.terminal import Terminal

REPORT = """# What this account overpays

**$12** can be saved by a change that takes more words than a line of forty characters has room for.

1. [a link](https://example.com/\x1b]0;x) and \x1b[31m\u202ered <script>x</script>
"""


@pytest.fixture
def terminal() -> Terminal:
    terminal = Terminal()
    terminal.file = io.StringIO()
    return terminal


def shown(terminal: Terminal) -> str:
    assert isinstance(terminal.file, io.StringIO)
    return terminal.file.getvalue()


def test_markdown_fits_a_terminal_and_no_word_is_cut(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Terminal, "is_terminal", True)
    terminal.width = 40
    terminal.write_markdown(REPORT)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown(terminal)).splitlines()
    assert max(map(len, lines)) <= 40
    assert "**" not in shown(terminal)
    words = re.findall(r"\w+", REPORT.partition("**$12**")[2].partition("\n")[0])
    assert set(words) <= {word for line in lines for word in re.findall(r"\w+", line)}


def test_markdown_controls_no_terminal_and_hides_no_url(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Terminal, "is_terminal", True)
    terminal.width = 200
    terminal.write_markdown(REPORT)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown(terminal))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", plain)
    assert "https://example.com/" in plain


def test_markdown_goes_to_a_pipe_as_it_is(terminal: Terminal) -> None:
    terminal.write_markdown("# A\n\n**b**")
    assert shown(terminal) == "# A\n\n**b**\n"

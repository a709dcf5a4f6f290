"""Text that somebody else wrote, in every medium: it is shown, and does nothing."""

import io
import json
import subprocess
import unicodedata
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from tests.hostile import CONTROL, RICH, TEXT
from vigil.terminal import Terminal
from vigil.text import html, one_line, quote, to_json, visible

ANY = TEXT | st.text(st.characters(exclude_categories=()))


@settings(deadline=None)
@given(ANY)
def test_visible_text_holds_no_character_that_does_anything(text: str) -> None:
    shown = visible(text)
    shown.encode()
    assert all(character in "\n\t" or unicodedata.category(character)[0] != "C" for character in shown)
    assert visible(shown) == shown
    assert len(one_line(text).splitlines()) <= 1


def test_hidden_characters_are_shown_and_drawn_ones_stay() -> None:
    assert visible("a\x1b\x9b\u202e\u2028\ud800\r\nb\rc\té漢😀") == (
        "a<U+001B><U+009B><U+202E><U+2028><U+D800>\nb<U+000D>c\té漢😀"
    )


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal that takes colours, and what was written to it in its ``file``."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    terminal.file = io.StringIO()
    return terminal


def test_nothing_that_is_printed_controls_the_terminal(terminal: Terminal) -> None:
    @settings(deadline=None)
    @given(ANY)
    @example("\x1b]0;TITLE\x07")
    def check(text: str) -> None:
        terminal.file = file = io.StringIO()
        table = Table("a", "b")
        table.add_row(Text(text), Text(text))
        with terminal.status(Text(text)) as status:
            status.update(Text(text))
            terminal.print(text, markup=False, style="red")
            terminal.print(Text(text), table)
            terminal.say(text, style="red")
            terminal.write(text)
        written = file.getvalue()
        assert "\x1b[" in written
        assert not CONTROL.search(RICH.sub("", written))

    check()


@settings(deadline=None)
@given(ANY)
def test_a_string_that_is_printed_is_one_line(text: str) -> None:
    terminal = Terminal()
    terminal.file = file = io.StringIO()
    terminal.print(text, markup=False)
    terminal.say(text)
    assert file.getvalue().count("\n") == 2


@settings(deadline=None)
@given(ANY)
def test_no_text_is_markup_in_html(text: str) -> None:
    assert not set(html(text)) & set('<>"')
    assert not CONTROL.search(html(text))


@settings(deadline=None, max_examples=10)
@given(st.lists(TEXT, min_size=20, max_size=20))
def test_a_shell_reads_a_quoted_word_as_it_is(words: list[str]) -> None:
    words = [word.replace("\0", "") for word in words]
    script = f"printf '%s\\n' {' '.join(map(quote, words))}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    assert done.stdout == "".join(f"{word}\n" for word in words).encode()


@settings(deadline=None)
@given(ANY)
def test_json_is_ascii_and_says_the_same(text: str) -> None:
    written = to_json({text: [text, Decimal("1.5")]}, indent=2)
    assert written.isascii()
    assert not CONTROL.search(written)
    assert json.loads(written) == {text: [text, 1.5]}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), Decimal("NaN"), Decimal("-Infinity")])
def test_a_number_that_json_does_not_know_is_refused(number: object) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json([number])

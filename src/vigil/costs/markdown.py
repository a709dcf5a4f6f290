"""Text of the account in Markdown: shown as what it is, and never read as markup."""

import re
import unicodedata

_MARK = re.compile(r"[\\`|*\[\]~#]|(?<![^\W_])_|_(?![^\W_])|^[-+]")
"""What Markdown may read as markup; an underscore within a word is none."""
_ITEM = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")
"""What begins an item of a numbered list."""


def visible(text: str) -> str:
    """Return ``text`` with a code such as <U+202E> for each character that is not drawn or changes how others are.

    That are Unicode's "other" characters: control, format (among them those that turn the direction of writing),
    surrogates, private and unassigned ones. Line breaks stay.
    """
    return "".join(
        f"<U+{ord(character):04X}>" if unicodedata.category(character)[0] == "C" and character != "\n" else character
        for character in text
    )


def one_line(text: str) -> str:
    """Return ``text`` as one line of visible characters."""
    return visible(" ".join(text.split()))


def escape(text: str) -> str:
    """Return ``text`` as one line in which Markdown and HTML mean nothing, fit for a table's cell."""
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _ITEM.sub(r"\1\\\2", _MARK.sub(r"\\\g<0>", text))


def code(text: str) -> str:
    """Return ``text`` as a code span, for use outside of tables."""
    # Backslashes and entities mean nothing inside a code span; only a backtick ends it.
    inside = one_line(text).replace("`", "'")
    return f"`{inside}`"


def fence(text: str, language: str) -> list[str]:
    """Return the lines of a fenced block that holds ``text``, whatever backticks are in it."""
    ticks = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return [f"{ticks}{language}", *visible(text).split("\n"), ticks]

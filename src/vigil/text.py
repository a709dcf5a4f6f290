"""Text from an account, an event, an agent or a model, escaped for each medium.

One function for each medium: ``visible`` and ``one_line`` for the terminal, ``escape``, ``code`` and ``fence`` for
Markdown, ``html`` for HTML and XML, ``quote`` for a shell, ``to_json`` for programs.
"""

import html as _html
import json
import re
import unicodedata
from shlex import quote as quote

_NOT_PLAIN = re.compile(r"[^\n\t -~]")
_MARK = re.compile(r"[\\`|*\[\]~#]|(?<![^\W_])_|_(?![^\W_])|^[-+]")
"""Characters that Markdown may read as markup; an underscore within a word is not markup."""
_ITEM = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")  # the beginning of an item of a numbered list


def visible(text: str) -> str:
    """Return ``text`` with a code such as <U+202E> for each invisible character and each that changes the display.

    These are Unicode's "other" characters: control, format (some turn the direction of writing), surrogates, private
    and unassigned ones; and its separators of lines and paragraphs. Tabs and line breaks stay.
    """
    return _NOT_PLAIN.sub(_shown, text.replace("\r\n", "\n"))


def _shown(match: re.Match[str]) -> str:
    category = unicodedata.category(match[0])
    return f"<U+{ord(match[0]):04X}>" if category[0] == "C" or category in ("Zl", "Zp") else match[0]


def one_line(text: str) -> str:
    """Return ``text`` as one line of visible characters."""
    return visible(" ".join(text.split()))


def escape(text: str) -> str:
    """Return ``text`` as one line with Markdown and HTML escaped, also for a table's cell."""
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _ITEM.sub(r"\1\\\2", _MARK.sub(r"\\\g<0>", text))


def code(text: str) -> str:
    """Return ``text`` as a code span, for use outside of tables."""
    # Inside a code span, only a backtick has a meaning.
    return "`" + one_line(text).replace("`", "'") + "`"


def fence(text: str, language: str) -> list[str]:
    """Return the lines of a fenced block that holds ``text``, which may hold backticks."""
    ticks = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return [f"{ticks}{language}", *visible(text).split("\n"), ticks]


def html(text: str) -> str:
    """Return ``text`` as text of HTML or XML, or as the value of an attribute in double quotes."""
    return _html.escape(visible(text), quote=False).replace('"', "&quot;")


def to_json(data: object, indent: int | None = None) -> str:
    """Return ``data`` as JSON in ASCII; a Decimal becomes a number. Raises ValueError for a NaN or an infinity."""
    return json.dumps(data, default=float, indent=indent, allow_nan=False)

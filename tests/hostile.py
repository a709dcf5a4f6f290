"""Text as an attacker writes it, for every medium, and what must not come out of it."""

import re

from hypothesis import strategies as st

PIECES = (
    *("\x1b]0;TITLE\x07", "\x1b]52;c;Y3VybA==\x07", "\x1b[2K\x1b[1A\x1b[32mCOMPLETED\x1b[0m", "\x9b31m", "\x90q\x9c"),
    *("\r", "\x08\x08", "\x7f", "\x00", "\u202e", "\u2066", "\u200b", "\u2028", "\x85", "\ue000", "\U000e0041"),
    *("\n", "\t", "\r\n", "\n     0.0 s  session   COMPLETED\n", "\nCOMPLETED after 1.0 s\n", " " * 200 + "COMPLETED"),
    *("[red]", "[/]", "[/x]", "[link=https://evil.example]x[/link]", "[bold", "\\", "\\["),
    *("<script>fetch('https://evil.example')</script>", "<img src=x onerror=alert(1)>", "</style></svg><svg onload=x>"),
    *("![x](https://evil.example/x.png)", "[x](javascript:alert(1))", "[x](ms-msdt:/id)", "<search-ms:query=x>"),
    *("[x](//evil.example)", "![x](\\\\\\\\evil\\\\share)", "&#x202e;", "&#27;]0;x", "```", "| a |\n|---|\n"),
    *("# ", "> ", "- ", "$(touch owned)", "`touch owned`", "; touch owned #", "'", '"', "{", "}]", "é", "漢", "😀"),
)
TEXT = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=8).map("".join)

CONTROL = re.compile(
    "[^\n\t\x20-\x7e\xa0-\U0010ffff]|[\u200b-\u200f\u2028-\u202e\u2066-\u2069\ue000-\uf8ff\U000e0000-\U000e00ff]"
)
"""Characters that no output may show as they are."""
RICH = re.compile(r"\x1b\[[0-9;]*m|\r?\x1b\[2K|\x1b\[1A|\x1b\[\?25[lh]|\r(?=\x1b\[1A)")
"""What rich writes to a terminal: colours, and the sequences that redraw its status line."""

MARKDOWN = st.text(
    st.sampled_from("<>&\"'`|*_[]()!#\\/=:; \n\t") | st.characters(exclude_categories=["Cs"]), max_size=40
) | st.sampled_from(
    [
        *("<img src=x onerror=alert(1)>", "![x](https://evil.example/x.png)", "[x](javascript:alert(1))"),
        *("<https://evil.example>", "</title><script>alert(1)</script>", "]]><svg onload=alert(1)>"),
        *("x](y) ![z][savings-by-function.svg]", "&lt;script&gt;", "[a]: https://evil.example"),
    ]
)
"""Text that Markdown, HTML or an address may read as more than text."""

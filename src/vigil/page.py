"""The report as one HTML page without scripts, which makes the browser fetch nothing."""

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from vigil.svg import CHART_STYLE
from vigil.text import fence, html, visible

STYLE = """
:root { color-scheme: light dark; --text: #1f2328; --soft: #59636e; --line: #d8dee4; --back: #fff; --inset: #f6f8fa }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --soft: #9aa4af; --line: #30363d; --back: #0d1117; --inset: #161b22 }
}
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 4rem; color: var(--text); background: var(--back);
  font: 1rem/1.6 system-ui, sans-serif; overflow-wrap: break-word }
h1 { font-size: 1.9rem; line-height: 1.25 }
h2 { margin-top: 2.5rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); line-height: 1.3 }
h3 { margin-top: 2rem; line-height: 1.3 }
blockquote { margin: 1rem 0; padding: .1rem 1rem; border-left: .25rem solid var(--line); color: var(--soft) }
.table { overflow-x: auto }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
th, td { padding: .35rem .75rem; border: 1px solid var(--line); text-align: left; vertical-align: top }
th { background: var(--inset) }
.right { text-align: right }
code, pre { font: .85rem/1.5 ui-monospace, monospace }
code { padding: .1rem .3rem; border-radius: .25rem; background: var(--inset) }
pre { padding: .8rem 1rem; border-radius: .4rem; background: var(--inset); overflow-x: auto }
pre code { padding: 0 }
svg { max-width: 100%; height: auto }
@media print {
  :root { --text: #000; --soft: #333; --line: #999; --back: #fff; --inset: #f4f4f4 }
  body { max-width: none; padding: 0; font-size: 10pt }
  h2, h3 { break-after: avoid } tr, pre, svg { break-inside: avoid } pre { white-space: pre-wrap }
}
"""

# The policy is in the page, because a page that is opened from a file has no server to send it.
POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; style-src " + " ".join(
    f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" for style in (STYLE, CHART_STYLE)
)

MAX_PARSED = 256 * 1024  # characters of Markdown that are parsed, which takes quadratic time; the cost report has fewer
MAX_LEVELS = 20  # levels of nested blocks, and of nested emphasis, that the parser reads
TOO_LONG = f"it has more than {MAX_PARSED:,} characters"
_LINK = re.compile(r"(?:https?|mailto):|#", re.IGNORECASE)
"""The start of a link that a reader may follow. Links with other schemes may start a program or lead to a file."""
_NAME = re.compile(r"[\w.-]+")  # a file beside the report


def _parser(links: Callable[[str], bool], *, html: bool, levels: int = MAX_LEVELS) -> MarkdownIt:
    """Return a parser of CommonMark with tables; ``links`` says what may be a link or an image, else it stays text."""
    parser = MarkdownIt("commonmark", {"html": html, "maxNesting": levels}).enable("table")
    parser.validateLink = links  # type: ignore[method-assign, assignment]
    return parser


def render_page(markdown: str, svgs: Mapping[str, str]) -> str:
    """Return the HTML page of ``markdown``, with each of ``svgs`` in place of the first image that names it.

    Shown as text: HTML, all other images, and links that lead elsewhere than to the web, to a mail or within the page.
    The whole report is text if it is too long.
    """
    if len(markdown) > MAX_PARSED:
        markdown = _as_text(markdown, TOO_LONG)
    left = dict(svgs)
    parser = _parser(lambda url: url in svgs or bool(_LINK.match(url)), html=False)

    def image(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return left.pop(str(tokens[at].attrs["src"]), None) or html(tokens[at].content)

    parser.renderer.rules["image"] = image  # type: ignore[attr-defined]
    tokens = parser.parse(markdown)
    for token in _all(tokens):
        # After parsing, because an entity may be any character.
        token.content = visible(token.content)
        # The language of a block of code becomes a class.
        token.info = token.info if token.info.isalnum() else ""
        token.attrs = {name: visible(str(value)) for name, value in token.attrs.items()}
        # The policy forbids style attributes.
        if token.attrs.pop("style", None) == "text-align:right":
            token.attrs["class"] = "right"
    headings = (after.children or () for token, after in pairwise(tokens) if token.tag == "h1")
    heading = "".join(child.content for child in next(headings, ()))
    body = parser.renderer.render(tokens, parser.options, {})
    body = body.replace("<table>", '<div class="table"><table>').replace("</table>", "</table></div>")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html(heading or 'Report')}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"{body}</body>\n</html>\n"
    )


def readable_markdown(markdown: str) -> str:
    """Return ``markdown`` with visible characters, as a file that is safe in any viewer.

    If it has anything that a viewer may run or fetch, it becomes one block of text below a line that says why.
    """
    shown = visible(markdown)
    if len(shown) > MAX_PARSED:
        return _as_text(shown, TOO_LONG)
    # The parser misses a link behind exactly as many brackets as the levels that it reads.
    found = next((found for levels in (MAX_LEVELS, MAX_LEVELS + 1) if (found := _find_active(shown, levels))), None)
    return _as_text(shown, f"it holds {found}") if found else shown


def _as_text(markdown: str, why: str) -> str:
    return "\n".join([f"This report is shown as text, because {why}.", "", *fence(markdown, ""), ""])


def _find_active(markdown: str, levels: int) -> str | None:
    """Return what a viewer may run or fetch for ``markdown``, if anything."""
    env: dict[str, Any] = {}
    for token in _all(_parser(lambda url: True, html=True, levels=levels).parse(markdown, env)):
        # Inside a footnote or a list, another parser may not take an indented block for code.
        nested = token.type == "code_block" and levels
        found = _find_active(token.content, levels - 1) if nested else _find_active_token(token)
        if found:
            return found
    return "a footnote" if any(label.startswith("^") for label in env.get("references", ())) else None


def _find_active_token(token: Token) -> str | None:
    """Return what a viewer may run or fetch for ``token``, if anything."""
    if token.type in ("html_block", "html_inline"):
        return "HTML"
    if token.type == "image" and not _NAME.fullmatch(str(token.attrs["src"])):
        return "an image that is not a file beside it"
    if token.type == "link_open":
        url = str(token.attrs["href"])
        if not (_LINK.match(url) or _NAME.fullmatch(url)):
            return "a link that leads neither to the web nor to a mail"
    if visible(token.content) != token.content:
        return "hidden characters"
    # The parser does not read deeper levels.
    return "too many levels" if token.level >= MAX_LEVELS - 1 else None


def _all(tokens: Iterable[Token]) -> Iterator[Token]:
    """Yield ``tokens`` and all tokens inside them."""
    for token in tokens:
        yield token
        yield from _all(token.children or ())

"""The report as one HTML page: no script, nothing from the network, and nothing that the browser would fetch."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from html import escape
from itertools import pairwise
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from vigil.costs import charts

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

# A page that was read from a file has no server that could send the policy.
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; style-src " + " ".join(
    f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" for style in (STYLE, charts.STYLE)
)


def render_page(markdown: str, svgs: Mapping[str, str]) -> str:
    """Return the HTML page of ``markdown``, in which an image that names one of ``svgs`` is that SVG.

    HTML in ``markdown`` is shown as text, and so is what any other image is called.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")

    def image(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return svgs.get(str(tokens[at].attrs["src"])) or escape(tokens[at].content)

    parser.renderer.rules["image"] = image  # type: ignore[attr-defined]
    tokens = parser.parse(markdown)
    for token in tokens:
        # The policy refuses styles of single elements.
        if token.attrs.pop("style", None) == "text-align:right":
            token.attrs["class"] = "right"
    headings = (after.children or () for token, after in pairwise(tokens) if token.tag == "h1")
    heading = "".join(child.content for child in next(headings, ()))
    body = parser.renderer.render(tokens, parser.options, {})
    body = body.replace("<table>", '<div class="table"><table>').replace("</table>", "</table></div>")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(heading or 'Report')}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"{body}</body>\n</html>\n"
    )

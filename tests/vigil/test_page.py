"""Any report as a page or as a file: nothing in it runs or is fetched."""

import re

import pytest
from hypothesis import given, settings
from markdown_it import MarkdownIt

from tests.hostile import CONTROL, MARKDOWN, TEXT
from tests.pages import Page
from vigil.page import MAX_PARSED, readable_markdown, render_page
from vigil.text import escape, fence


@settings(deadline=None)
@given(MARKDOWN | TEXT)
def test_markdown_of_a_custom_agent_runs_and_fetches_nothing(markdown: str) -> None:
    html = render_page(markdown, {})
    page = Page(html)
    assert not {tag for tag, _ in page.elements} & {"script", "img", "svg", "iframe"}
    for link in page.all("a"):
        assert re.match("(?i)(https?|mailto):|#", str(link["href"]))
    assert not CONTROL.search(html)


def test_no_entity_hides_a_character() -> None:
    hidden = ("&#27;[31m", "```sh&#27;\nx\n```", "[x](#a '&#x202e;')", "![&#x202e;](x.svg)", "# &#x9b;", "`&#27;`")
    for markdown in hidden:
        assert not CONTROL.search(render_page(markdown, {}))
    assert '<code class="language-sh">' in render_page("```sh\nx\n```", {})


LINKS = {
    "https://example.com": True,
    "HTTP://example.com": True,
    "mailto:a@example.com": True,
    "#summary": True,
    **dict.fromkeys(["javascript:x", "data:text/html,x", "file:///etc", "ms-msdt:/id", "vscode://x", "smb://x"], False),
    **dict.fromkeys(["//example.com", "/etc/passwd", "../x", "C:/x", "&#x6a;avascript:x", "%6aavascript:x"], False),
}


@pytest.mark.parametrize(("address", "leads"), LINKS.items())
@pytest.mark.parametrize("form", ["[x]({})", "[x][y]\n\n[y]: {}", "| a |\n|---|\n| [x]({}) |"])
def test_link_leads_to_the_web_to_a_mail_or_within_the_page(form: str, address: str, leads: bool) -> None:
    markdown = form.format(address)
    assert bool(Page(render_page(markdown, {})).all("a")) == leads
    assert (readable_markdown(markdown) == markdown) == leads


@pytest.mark.parametrize(
    ("markdown", "held"),
    [
        ("a <b>c</b>", "HTML"),
        ("<div>\n\n", "HTML"),
        ("| a |\n|---|\n| <script> |", "HTML"),
        ("![x](https://example.com/x.png)", "an image that is not a file beside it"),
        ("![x](//example.com/x.png)", "an image that is not a file beside it"),
        ("![x](\\\\\\\\example\\share\\x.png)", "an image that is not a file beside it"),
        ("&#x202e;x", "hidden characters"),
        ("a[^1]\n\n[^1]: x\n\n    ![y](https://example.com/x.png)", "an image that is not a file beside it"),
        ("[^1]: <script>\n\na[^1]", "a footnote"),
        ("- a\n\n      <script>x()</script>", "HTML"),
        ("\tcode\n\n\t\t\t\t<script>x()</script>", "HTML"),
        ("> " * 30 + "<b>", "too many levels"),
        *((f"{'[' * count}[x](javascript:x)", "a link that leads neither") for count in (19, 20, 21, 22)),
        *((f"{'![' * count}[x](javascript:x){']' * count}", "a link that leads neither") for count in (19, 20, 21)),
    ],
)
def test_markdown_that_a_viewer_may_run_is_saved_as_text(markdown: str, held: str) -> None:
    text = f"# Hi\n\n```\n{markdown}\n```\n\n{markdown}\n\x1b[31m"
    reason, blank, *fenced = readable_markdown(text).splitlines()
    assert reason.startswith(f"This report is shown as text, because it holds {held}")
    assert blank == ""
    assert fenced == fence(text, "")
    (block,) = (token for token in MarkdownIt().parse("\n".join(fenced)))
    assert block.type == "fence"


@pytest.mark.parametrize("markdown", ["# Hi\n\n`<b>`\n", "```\n<b>\n```\n", "![x](a.svg)\n\ta < b & c", "\\<b> &lt;b>"])
def test_other_markdown_is_saved_unchanged(markdown: str) -> None:
    assert readable_markdown(markdown) == markdown
    assert readable_markdown(f"{markdown}\x1b\r\n") == f"{markdown}<U+001B>\n"


def test_only_images_of_charts_become_charts() -> None:
    chart = "<svg><title>a</title></svg>"
    assert chart in render_page("![By function](chart.svg)", {"chart.svg": chart})
    other = render_page("![By <b>function](other.svg)", {"chart.svg": chart})
    assert "<svg" not in other
    assert "By &lt;b&gt;function" in other


def test_heading_with_markup_is_the_title_as_text() -> None:
    for markdown in ("# <b>Hi</b> *there*", f"# {escape('<b>Hi</b>')} there"):
        assert "<title>&lt;b&gt;Hi&lt;/b&gt; there</title>" in render_page(markdown, {})


def test_too_long_report_is_shown_as_text() -> None:
    long = "[" * (MAX_PARSED + 1)
    page = render_page(long, {})
    assert f"it has more than {MAX_PARSED:,} characters" in page
    assert f"<pre><code>{long}\n</code></pre>" in page
    assert f"\n```\n{long}\n```\n" in readable_markdown(long)
    assert "shown as text" not in render_page("a" * MAX_PARSED, {})


def test_chart_is_in_the_page_once() -> None:
    page = render_page("![one](a.svg)\n\n![two](a.svg)\n", {"a.svg": "<svg></svg>"})
    assert page.count("<svg>") == 1
    assert "<p>two</p>" in page

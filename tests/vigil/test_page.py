"""The report as a page: it stands alone, and nothing in it runs or is fetched, whatever the account's text says."""

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lambda_costs.report.artifacts import artifacts_of
from lambda_costs.report.charts import by_function
from tests.hostile import CONTROL, TEXT
from tests.lambda_costs.analyses import analysis, finding, observation
from tests.lambda_costs.report.test_markdown import EVIL
from vigil.names import BY_FINDING, BY_FUNCTION, PAGE, REPORT
from vigil.page import MAX_PARSED, readable_markdown, render_page
from vigil.svg import redrawn
from vigil.text import escape, fence

VOID = {"meta", "br", "hr", "img"}


class Page(HTMLParser):
    """The elements of a page, and the text in them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.setdefault(self.open[-1] if self.open else "", []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(name: str) -> str:
    """Return the page of an analysis in which a function is called ``name``, and so is all text about it."""
    texts = {"change": name, "formula": name, "how_to": name, "as_code": name, "risk": name, "validate": name}
    about = analysis([finding(name, **texts), observation(name, "runtime-deprecated", **texts)])
    return artifacts_of(about, summary="Look.", order=(), notes={}, written_by=name)[PAGE]


def assert_harmless(html: str) -> Page:
    page = Page(html)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "object", "embed", "link", "base", "form", "img", "image", "a", "use"}
    for _, attributes in page.elements:
        assert not any(name.startswith("on") or name in ("style", "src", "href") for name in attributes)
    assert not re.search(r"url\(|@import", html)
    return page


def test_the_page_is_the_report_with_its_charts_in_it() -> None:
    page = assert_harmless(page_of("orders"))
    assert page.text["title"][0] == "What this account overpays for AWS Lambda"
    assert page.text["h1"] == ["What this account overpays for AWS Lambda"]
    assert "Summary" in page.text["h2"]
    assert [chart["aria-labelledby"] for chart in page.all("svg")] == [
        "savings-by-finding-title savings-by-finding-desc",
        "savings-by-function-title savings-by-function-desc",
    ]
    assert {"class": "right"} in page.all("td")
    assert len(page.all("table")) == sum(attributes.get("class") == "table" for attributes in page.all("div"))


def test_the_policy_allows_its_own_styles_and_nothing_else() -> None:
    html = page_of("orders")
    (policy,) = (meta["content"] for meta in Page(html).all("meta") if meta.get("http-equiv"))
    styles = dict.fromkeys(re.findall(r"<style>(.*?)</style>", html, re.DOTALL))
    hashes = " ".join(f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" for style in styles)
    assert policy == f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src {hashes}"


def test_a_page_without_savings_has_no_chart() -> None:
    html = artifacts_of(analysis(), summary="Look.", order=(), notes={}, written_by="x")[PAGE]
    assert "<svg" not in html


def test_the_same_analysis_is_the_same_bytes() -> None:
    assert page_of("orders") == page_of("orders")


def test_a_hostile_name_is_shown_and_nothing_more() -> None:
    html = page_of(EVIL)
    assert_harmless(html)
    assert "&lt;script&gt;x&lt;/script&gt; | ![a](b) **c** `d` _e_ ~~f~~ &amp;amp; \\|" in html
    assert [tag for tag, _ in Page(html).elements] == [tag for tag, _ in Page(page_of("x")).elements]


HOSTILE = st.text(
    st.sampled_from("<>&\"'`|*_[]()!#\\/=:; \n\t") | st.characters(exclude_categories=["Cs"]), max_size=40
) | st.sampled_from(
    [
        "<img src=x onerror=alert(1)>",
        "![x](https://evil.example/x.png)",
        "[x](javascript:alert(1))",
        "<https://evil.example>",
        "</title><script>alert(1)</script>",
        "]]><svg onload=alert(1)>",
        "x](y) ![z][savings-by-function.svg]",
        "&lt;script&gt;",
        "[a]: https://evil.example",
    ]
)


@settings(deadline=None, max_examples=50)
@given(HOSTILE)
def test_no_name_makes_anything_run_or_be_fetched(name: str) -> None:
    assert_harmless(page_of(name))


@settings(deadline=None)
@given(HOSTILE | TEXT)
def test_markdown_of_a_custom_agent_runs_nothing_and_fetches_nothing(markdown: str) -> None:
    html = render_page(markdown, {})
    page = Page(html)
    assert not {tag for tag, _ in page.elements} & {"script", "img", "svg", "iframe"}
    for link in page.all("a"):
        assert re.match("(?i)(https?|mailto):|#", str(link["href"]))
    assert not CONTROL.search(html)


def test_no_entity_hides_a_character_in_the_page() -> None:
    for markdown in (
        "&#27;[31m",
        "```sh&#27;\nx\n```",
        "[x](#a '&#x202e;')",
        "![&#x202e;](x.svg)",
        "# &#x9b;",
        "`&#27;`",
    ):
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
def test_a_link_leads_to_the_web_to_a_mail_or_within_the_page(form: str, address: str, leads: bool) -> None:
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
def test_markdown_that_a_viewer_may_run_or_fetch_is_saved_as_text(markdown: str, held: str) -> None:
    text = f"# Hi\n\n```\n{markdown}\n```\n\n{markdown}\n\x1b[31m"
    said, blank, *fenced = readable_markdown(text).splitlines()
    assert said.startswith(f"This report is shown as text, because it holds {held}")
    assert blank == ""
    assert fenced == fence(text, "")
    (block,) = (token for token in MarkdownIt().parse("\n".join(fenced)))
    assert block.type == "fence"


@pytest.mark.parametrize("markdown", ["# Hi\n\n`<b>`\n", "```\n<b>\n```\n", "![x](a.svg)\n\ta < b & c", "\\<b> &lt;b>"])
def test_any_other_markdown_is_saved_as_it_is(markdown: str) -> None:
    assert readable_markdown(markdown) == markdown
    assert readable_markdown(f"{markdown}\x1b\r\n") == f"{markdown}<U+001B>\n"


@settings(deadline=None, max_examples=50)
@given(HOSTILE | TEXT)
def test_our_own_report_is_saved_as_it_is_whatever_the_account_calls_things(name: str) -> None:
    texts = {"change": name, "formula": name, "how_to": name, "as_code": name, "risk": name, "validate": name}
    about = analysis([finding(name, **texts), observation(name, "runtime-deprecated", **texts)])
    saved = artifacts_of(about, summary="Look.", order=(), notes={}, written_by=name)
    assert readable_markdown(saved[REPORT]) == saved[REPORT]
    svgs = {name: redrawn(saved[name]) for name in saved if name.endswith(".svg")}
    assert render_page(saved[REPORT], svgs) == saved[PAGE]


@pytest.mark.parametrize("name", [BY_FINDING, BY_FUNCTION])
def test_only_an_image_that_is_a_chart_of_the_report_becomes_one(name: str) -> None:
    chart = by_function([finding()])
    assert chart is not None
    assert chart in render_page(f"![By function]({name})", {name: chart})
    other = render_page("![By <b>function](other.svg)", {name: chart})
    assert "<svg" not in other
    assert "By &lt;b&gt;function" in other


def test_a_heading_with_markup_is_the_title_as_text() -> None:
    for markdown in ("# <b>Hi</b> *there*", f"# {escape('<b>Hi</b>')} there"):
        assert "<title>&lt;b&gt;Hi&lt;/b&gt; there</title>" in render_page(markdown, {})


def test_a_report_that_would_take_long_to_parse_is_shown_as_text() -> None:
    long = "[" * (MAX_PARSED + 1)
    page = render_page(long, {})
    assert f"it has more than {MAX_PARSED:,} characters" in page
    assert f"<pre><code>{long}\n</code></pre>" in page
    assert f"\n```\n{long}\n```\n" in readable_markdown(long)
    assert "shown as text" not in render_page("a" * MAX_PARSED, {})


def test_a_chart_is_in_the_page_once_however_often_the_report_names_it() -> None:
    page = render_page("![one](a.svg)\n\n![two](a.svg)\n", {"a.svg": "<svg></svg>"})
    assert page.count("<svg>") == 1
    assert "<p>two</p>" in page

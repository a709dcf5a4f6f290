"""The cost report as a page: it needs no other file, whatever functions are called."""

import re
from base64 import b64encode
from hashlib import sha256

from hypothesis import given, settings

from lambda_costs.report.artifacts import render_artifacts
from tests.hostile import MARKDOWN, TEXT
from tests.lambda_costs.analyses import analysis, finding, observation
from tests.lambda_costs.report.test_markdown import EVIL, texts
from tests.pages import Page, assert_harmless
from vigil.names import PAGE, REPORT
from vigil.page import readable_markdown, render_page
from vigil.svg import redrawn


def artifacts_of(name: str) -> dict[str, str]:
    """Return the artifacts of an analysis in which a function and all text about it is ``name``."""
    about = analysis([finding(name, **texts(name)), observation(name, "runtime-deprecated", **texts(name))])
    return render_artifacts(about, summary="Look.", written_by=name)


def page_of(name: str) -> str:
    return artifacts_of(name)[PAGE]


def test_page_is_the_report_with_its_charts() -> None:
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


def test_policy_allows_only_its_own_styles() -> None:
    html = page_of("orders")
    (policy,) = (meta["content"] for meta in Page(html).all("meta") if meta.get("http-equiv"))
    styles = dict.fromkeys(re.findall(r"<style>(.*?)</style>", html, re.DOTALL))
    hashes = " ".join(f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" for style in styles)
    assert policy == f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src {hashes}"


def test_page_without_savings_has_no_chart() -> None:
    assert "<svg" not in render_artifacts(analysis(), summary="Look.", written_by="x")[PAGE]


def test_same_analysis_gives_the_same_bytes() -> None:
    assert page_of("orders") == page_of("orders")


def test_hostile_name_is_shown_as_text() -> None:
    html = page_of(EVIL)
    assert_harmless(html)
    assert "&lt;script&gt;x&lt;/script&gt; | ![a](b) **c** `d` _e_ ~~f~~ &amp;amp; \\|" in html
    assert [tag for tag, _ in Page(html).elements] == [tag for tag, _ in Page(page_of("x")).elements]


@settings(deadline=None, max_examples=50)
@given(MARKDOWN)
def test_no_name_runs_or_fetches_anything(name: str) -> None:
    assert_harmless(page_of(name))


@settings(deadline=None, max_examples=50)
@given(MARKDOWN | TEXT)
def test_report_with_any_name_is_saved_unchanged(name: str) -> None:
    saved = artifacts_of(name)
    assert readable_markdown(saved[REPORT]) == saved[REPORT]
    svgs = {name: redrawn(saved[name]) for name in saved if name.endswith(".svg")}
    assert render_page(saved[REPORT], svgs) == saved[PAGE]

"""The browser of the tests: what it draws, what it reaches, and which faults of a page it reports."""

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.fixtures.browser import assert_accessible, watched_context

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; require-trusted-types-for 'script'"
PAGE = """<!doctype html><html lang="en"><head><title>Sessions</title><link rel="stylesheet" href="/style.css">
<script src="/script.js" defer></script></head><body><main><h1>Sessions</h1><p id="count">none</p>
<p><b>✓</b> <b>✕</b> <b>▶</b> <b>○</b> <b>7</b> <b>A</b> <b>&nbsp;</b></p>{more}</main></body></html>"""
FILES = {
    "/style.css": (
        "text/css",
        "body { background: #fff } .pale { color: #ccc } b { display: inline-block; width: 1em }",
    ),
    "/script.js": ("text/javascript", 'document.getElementById("count").textContent = "2 sessions"'),
    "/throws.js": ("text/javascript", 'throw new Error("no sessions")'),
    "/dot.svg": ("image/svg+xml", '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
}

Site = Callable[..., str]
Open = Callable[..., Page]


@pytest.fixture
def site() -> Iterator[Site]:
    """Serve a page with more HTML in it, and return its address."""
    served: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, text = FILES.get(self.path) or ("text/html", PAGE.format(more=served["more"]))
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Security-Policy", served["policy"])
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def serve(more: str = "", policy: str = POLICY) -> str:
        served.update(more=more, policy=policy)
        return f"http://127.0.0.1:{server.server_port}/"

    yield serve
    server.shutdown()
    thread.join()
    server.server_close()


def faults_of(browser: Browser, address: str) -> str:
    with pytest.raises(AssertionError) as failed, watched_context(browser) as context:
        context.new_page().goto(address)
    return str(failed.value)


def test_a_page_under_a_strict_policy_runs_its_script_and_is_accessible(page: Open, site: Site) -> None:
    opened = page()
    opened.goto(site())
    assert opened.inner_text("#count") == "2 sessions"
    assert_accessible(opened)


def test_each_character_is_drawn(page: Open, site: Site) -> None:
    opened = page()
    opened.goto(site())
    # A character without a font is blank, or the same box as any other.
    drawn = [character.screenshot() for character in opened.locator("b").all()]
    assert len(set(drawn)) == len(drawn) == 7


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ('<img src="/dot.svg">', "image-alt: img"),
        ('<p class="pale">Failed</p>', "color-contrast: .pale"),
        ('<p class="pale">✕</p>', "color-contrast: .pale"),
        ("<h3>Steps</h3>", "heading-order: h3"),
        ('<button aria-label="on">+</button><button aria-label="off">-</button>', "target-size: button"),
    ],
)
def test_a_page_that_is_not_accessible_fails_the_test(page: Open, site: Site, more: str, problem: str) -> None:
    opened = page()
    opened.goto(site(more))
    with pytest.raises(AssertionError, match=problem):
        assert_accessible(opened)


def test_an_exception_in_a_script_fails_the_test(browser: Browser, site: Site) -> None:
    assert "no sessions" in faults_of(browser, site('<script src="/throws.js"></script>'))


def test_an_inline_script_does_not_run_and_fails_the_test(browser: Browser, site: Site) -> None:
    faults = faults_of(browser, site('<script>throw new Error("no sessions")</script>'))
    assert "Content Security Policy" in faults
    assert "no sessions" not in faults


@pytest.mark.parametrize("address", ["http://elsewhere.test/", "http://192.0.2.1/", "http://[2001:db8::1]/"])
def test_a_request_to_another_host_goes_nowhere_and_fails_the_test(browser: Browser, site: Site, address: str) -> None:
    faults = faults_of(browser, site(f'<img alt="" src="{address}">', policy="default-src *"))
    assert f"request to {address}" in faults
    assert "ERR_NAME_NOT_RESOLVED" in faults

"""The console in a browser, on a running local stack: what a person does with it, and what no other page can do."""

import http.client
import json
import os
import random
import re
import subprocess
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.fixtures.browser import assert_accessible
from tests.hostile import CONTROL, PIECES
from tests.support import BIN, Silent, Workflow, let_go, served, until
from vigil.console.server import ConsoleServer
from vigil.deployment import Deployment
from vigil.local.deploy import PROJECT
from vigil.local.stack import LocalStack
from vigil.names import Output
from vigil.session import Status

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.takes(100)
SCREENSHOTS = PROJECT / "build" / "screenshots"
Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def link(stack: LocalStack) -> Iterator[str]:
    """The link that `vigil console` prints."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **stack.environment()}
    with subprocess.Popen([BIN / "vigil", "console"], env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        process.terminate()
        assert process.wait(10) == 0


@pytest.fixture
def open_page(page: Callable[..., "Page"], link: str) -> Open:
    """Open an address of the console in a page that has entered by the link."""

    def opened(path: str = "/sessions", **options: Any) -> "Page":
        shown = page(**options)
        shown.goto(link)
        shown.wait_for_url("**/sessions")
        if path != "/sessions":
            shown.goto(urlsplit(link)._replace(path="", query="").geturl() + path)
        return shown

    return opened


@pytest.fixture(scope="module")
def failed(workflow: Workflow) -> str:
    """The id of a session that failed with hostile text."""
    session_id, arn = workflow.start(detail={"agent": "hostile", "text": "".join(PIECES)})
    assert workflow.ended(arn)["status"] == "FAILED"
    return session_id


def shows(page: "Page", text: str, seconds: float = 60) -> None:
    page.locator("main").get_by_text(text).first.wait_for(timeout=seconds * 1000)


def session_of(page: "Page") -> str:
    page.wait_for_url(re.compile(r"/sessions/[0-9a-f-]{36}"))
    return urlsplit(page.url).path.split("/")[2]


def test_a_session_is_started_and_watched_until_its_report_is_read(open_page: Open, tmp_path: Path) -> None:
    page = open_page(refused=400)
    page.get_by_role("banner").get_by_role("link", name="New session").click()
    page.get_by_label("Days").fill("400")
    page.get_by_role("button", name="Start session").click()
    page.get_by_role("alert").get_by_text("days must be a whole number from 1 to 90").wait_for()
    assert page.get_by_label("Days").input_value() == "400"
    page.get_by_label("Days").fill("14")
    page.get_by_label("Functions").fill("[io]*")
    page.get_by_role("button", name="Start session").click()
    page.wait_for_url(re.compile("/sessions/[0-9a-f-]{36}$"))
    # Without another click, until the end.
    for text in ("BUSY", "COMPLETED"):
        page.locator(".facts .badge").get_by_text(text).wait_for(timeout=90_000)
    until(lambda: page.locator("#link").text_content() == "ended")
    row = page.locator("tr.tool", has_text="save_report")
    row.get_by_role("link").click()
    shows(page, "output")
    assert "open=step-" in page.url
    with page.expect_download() as download:
        page.get_by_role("link", name="findings.json").click()
    assert json.loads(download.value.path().read_text())
    page.get_by_role("link", name="Log").click()
    until(lambda: page.reload() and page.get_by_text("strands.telemetry").count(), 20)
    assert not re.search("Traceback|ERROR", page.locator("main").inner_text())
    page.get_by_role("link", name="Report", exact=True).click()
    page.frame_locator("iframe").get_by_role("heading", name="Summary").wait_for()
    assert page.frames[1].evaluate("document.scripts.length") == 0


def test_a_session_is_stopped_for_the_reason_that_is_given(
    open_page: Open, workflow: Workflow, deployment: Deployment
) -> None:
    session_id, arn = workflow.start(detail={"agent": "waits"})
    page = open_page(f"/sessions/{session_id}")
    shows(page, "BUSY")
    page.get_by_text("Stop", exact=True).click()
    page.get_by_label("Reason").fill("too dear <b>")
    page.get_by_role("button", name=f"Stop session {session_id[:8]}").click()
    shows(page, "too dear <b>")
    workflow.ended(arn)
    session = deployment.journal.get(session_id)
    assert session.error is not None
    assert (session.status, session.error.code) == (Status.FAILED, "StoppedByOperator")
    assert page.get_by_role("button", name="Stop session").count() == 0


def test_the_cause_of_a_failed_session_is_found_from_the_list_and_the_session_retried(
    open_page: Open, workflow: Workflow
) -> None:
    session_id, arn = workflow.start(detail={"agent": "raises"})
    workflow.ended(arn)
    page = open_page("/sessions?status=FAILED", refused=400)
    page.get_by_role("searchbox").fill(session_id[:8])
    page.get_by_role("button", name="Filter").click()
    row = page.locator(f"#s-{session_id}")
    assert "the dependency is broken" in (row.locator(".now").text_content() or "")
    row.get_by_role("link", name=session_id[:8]).click()
    page.get_by_role("region", name="What failed").get_by_text("the dependency is broken").wait_for()
    assert page.locator("tr.attempt", has_text="✕").count() == page.locator("tr.attempt").count()
    page.get_by_role("link", name="Log").click()
    shows(page, "RuntimeError: the dependency")
    page.get_by_role("link", name="Retry").click()
    assert json.loads(page.get_by_label("JSON").input_value()) == {"agent": "raises"}
    page.get_by_label("JSON").fill('{"agent": "reads"')
    page.get_by_role("button", name="Start session").click()
    page.get_by_role("alert").get_by_text("the whole input is not JSON").wait_for()
    page.get_by_label("JSON").fill('{"agent": "raises"}')
    page.get_by_role("button", name="Start session").dblclick()
    page.wait_for_url(re.compile("/sessions/[0-9a-f-]{36}$"))
    assert session_of(page) != session_id
    shows(page, "the dependency is broken")


def test_a_session_that_is_killed_continues_in_another_attempt(open_page: Open, workflow: Workflow) -> None:
    session_id, arn = workflow.start(detail={"agent": "killed_once"})
    page = open_page(f"/sessions/{session_id}")
    shows(page, "Attempt 1 ended at")
    page.locator(".facts .badge").get_by_text("COMPLETED").wait_for(timeout=60_000)
    assert page.locator("tr.attempt").all_text_contents()[0].strip().startswith("attempt 1")
    assert page.locator("tr.attempt").count() == 2
    assert page.locator("tr.attempt", has_text="✕").count() == 1
    assert "entered 2 times" in (page.locator(".graph li", has_text="InvokeAgent").text_content() or "")
    workflow.ended(arn)


def test_every_page_is_accessible_and_fits(open_page: Open, failed: str) -> None:
    # Each run draws a view: one takes long.
    width, scheme = random.choice([1280, 390]), random.choice(["light", "dark"])
    page = open_page(refused=404, viewport={"width": width, "height": 900}, color_scheme=scheme)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    here = f"/sessions/{failed}"
    pages = {"sessions": "/sessions", "none": "/sessions?day=2001-01-01", "new": "/sessions/new", "lost": "/lost"}
    pages |= {"timeline": here, "open": f"{here}?open=session-1", "record": f"{here}/record", "log": f"{here}/log"}
    pages |= {"report": f"{here}/report", "missing": f"/sessions/{'0' * 36}"}
    for name, path in pages.items():
        answer = page.goto(
            urlsplit(page.url)._replace(path=path.partition("?")[0], query=path.partition("?")[2]).geturl()
        )
        assert answer
        assert answer.status == (404 if name == "missing" else 200)
        page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png")
        assert_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_text_of_an_agent_is_shown_and_never_run(open_page: Open, failed: str) -> None:
    page = open_page(f"/sessions/{failed}")
    assert "<script>" in (page.get_by_role("region", name="What failed").text_content() or "")
    here = page.url
    for tab in ("timeline?open=session-1", "record", "log"):
        page.goto(f"{here}/{tab}")
        assert not CONTROL.search(page.locator("main").inner_text())
        assert (
            page.evaluate("document.querySelectorAll('main script, main img, main [onerror], main [onload]').length")
            == 0
        )


@pytest.mark.usefixtures("failed")
def test_rows_stay_where_they_are_while_they_are_read(open_page: Open, workflow: Workflow) -> None:
    page = open_page()
    first = page.locator("#rows tr:not([hidden])").first
    first.hover()
    before, place = first.get_attribute("id"), first.bounding_box()
    session_id, arn = workflow.start(detail={"agent": "raises"})
    page.get_by_role("button", name=re.compile("Show . new session")).wait_for(timeout=30_000)
    workflow.ended(arn)
    assert (first.get_attribute("id"), first.bounding_box()) == (before, place)
    page.get_by_role("button", name=re.compile("Show . new session")).click()
    page.locator(f"#s-{session_id}").wait_for()


def test_a_running_clock_is_right_after_sleep_and_with_a_wrong_clock_of_the_browser(
    open_page: Open, workflow: Workflow, deployment: Deployment
) -> None:
    session_id, _ = workflow.start(detail={"agent": "waits"})
    until(lambda: workflow.session(session_id))
    for wrong in (0, 3600, -400 * 86_400):
        page = open_page()
        page.add_init_script(f"const real = Date.now; window.shift = {1000 * wrong}; Date.now = () => real() + shift;")
        page.goto(page.url)
        clock = page.locator(f"#s-{session_id} [data-clock]")
        assert (clock.text_content() or "").startswith("0:0")
        # Only the clock of the machine goes on while it sleeps. No page comes in between.
        slept = page.evaluate(
            f"shift += 7_200_000; tick(); document.querySelector('#s-{session_id} [data-clock]').textContent"
        )
        assert slept.startswith("2:0")
    deployment.stop(session_id, "enough")
    let_go(deployment.journal._table, session_id)


def test_a_page_says_when_its_console_is_gone_and_goes_on_when_it_is_back(
    browser: Any, workflow: Workflow, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id, _ = workflow.start(detail={"agent": "waits"})
    until(lambda: workflow.session(session_id))
    context = browser.new_context()
    page = context.new_page()
    clock, alert = page.locator(".facts [data-clock]").first, page.get_by_role("alert")

    def ticks() -> bool:
        before = clock.text_content()
        page.wait_for_timeout(2200)
        return clock.text_content() != before

    # Consoles with the same tokens.
    with monkeypatch.context() as same:
        same.setattr("vigil.console.guard.secrets.token_urlsafe", lambda _: "x" * 43)
        with ConsoleServer(deployment).serving() as link:
            page.goto(link)
            page.wait_for_url("**/sessions")
            page.goto(urlsplit(link)._replace(path=f"/sessions/{session_id}", query="").geturl())
            until(lambda: page.locator("#link").text_content() == "live")
            assert ticks()
        alert.get_by_text(re.compile("the console does not answer. It is as of [0-9:]{8} UTC")).wait_for()
        assert page.locator("#link").text_content() == "not up to date"
        assert not ticks()
        assert_accessible(page)
        port = urlsplit(link).port or 0
        with ConsoleServer(deployment, port).serving():
            alert.wait_for(state="hidden")
            assert page.locator("#link").text_content() == "live"
            assert ticks()
    with ConsoleServer(deployment, port).serving() as other:
        alert.get_by_text("reload the page, or open the link of the console that runs now").wait_for()
        assert not ticks()
        context.new_page().goto(other)
        page.reload()
        until(lambda: page.locator("#link").text_content() == "live")
        assert ticks()
        context.close()
    deployment.stop(session_id, "enough")
    let_go(deployment.journal._table, session_id)


def test_the_last_of_several_clicks_is_shown_and_a_row_that_cannot_be_loaded_says_so(
    open_page: Open, failed: str
) -> None:
    page = open_page(f"/sessions/{failed}/timeline")
    rows = page.locator("tr.state th a")
    slow, fast = (rows.nth(at).get_attribute("href") or "" for at in (0, 1))
    held: list[Any] = []
    page.route(f"**{slow.partition('#')[0]}", lambda route: held.append(route))
    rows.nth(0).click()
    until(lambda: page.wait_for_timeout(50) or held)
    rows.nth(1).click()
    opened = page.locator("tr.detail")
    opened.wait_for()
    held[0].continue_()
    page.wait_for_timeout(500)
    assert page.url.endswith(fast)
    assert opened.get_attribute("id") == f"{fast.partition('#')[2]}-detail"
    # Without an answer, the browser loads the page itself, which then says what is wrong.
    page.evaluate("() => { window.before = true; fetch = () => Promise.reject(new TypeError('no answer')); }")
    page.unroute_all()
    rows.nth(0).click()
    page.wait_for_function("() => !window.before")
    assert page.url.endswith(slow)


def test_a_link_of_a_report_opens_a_new_page_and_the_report_stays(
    open_page: Open, workflow: Workflow, stack: LocalStack
) -> None:
    session_id, arn = workflow.start(detail={"agent": "hello_agent"})
    workflow.ended(arn)
    with served(type("Elsewhere", (Elsewhere,), {})) as elsewhere:
        report = f"# Report\n\n[elsewhere]({elsewhere}) and [below](#below)\n"
        key = str(workflow.table.get_item(Key={"PK": session_id, "SK": "ARTIFACT#report.md"})["Item"]["key"])
        stack.client("s3").put_object(Bucket=stack.outputs[Output.BUCKET], Key=key, Body=report.encode())
        page = open_page(f"/sessions/{session_id}/report")
        frame = page.frame_locator("iframe")
        with page.expect_popup() as opened:
            frame.get_by_role("link", name="elsewhere").click()
        opened.value.get_by_text("another site").wait_for()
        assert opened.value.evaluate("[document.referrer, window.opener, window.origin]") == [
            "",
            None,
            elsewhere.rstrip("/"),
        ]
        frame.get_by_role("link", name="below").click()
        frame.get_by_role("heading", name="Report").wait_for()
        assert len(page.context.pages) == 2


class Elsewhere(SimpleHTTPRequestHandler, Silent):
    """Another site, which refuses to be shown in a frame."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("X-Frame-Options", "DENY")
        self.end_headers()
        self.wfile.write(b"<!doctype html><link rel=icon href=data:><title>site</title><p>another site")


def test_without_scripts_sessions_are_listed_and_started(
    open_page: Open, workflow: Workflow, deployment: Deployment
) -> None:
    page = open_page("/sessions/new", java_script_enabled=False)
    page.get_by_label("JSON").fill('{"agent": "waits"}')
    page.get_by_role("button", name="Start session").click()
    session_id = session_of(page)
    until(lambda: page.reload() and page.get_by_text("Stop", exact=True).count())
    page.get_by_text("Stop", exact=True).click()
    page.get_by_role("button", name="Stop session").click()
    shows(page, "StoppedByOperator")
    let_go(deployment.journal._table, session_id)


class Foreign(SimpleHTTPRequestHandler, Silent):
    """A web page that tries to use the console."""

    target = ""

    def do_GET(self) -> None:
        body = f"""<!doctype html><title>foreign</title><script>
          const done = [];
          async function attack() {{
            const form = new URLSearchParams({{detail: '{{"agent": "raises"}}'}});
            for (const options of [{{method: "POST", body: form, mode: "no-cors", credentials: "include"}},
                                   {{method: "GET", mode: "no-cors", credentials: "include"}}]) {{
              await fetch("{self.target}/sessions", options).then((a) => done.push(a.type), () => done.push("error"));
            }}
            const readable = fetch("{self.target}/sessions", {{credentials: "include"}});
            await readable.then(() => done.push("read"), () => done.push("error"));
            const frame = document.createElement("iframe");
            frame.src = "{self.target}/sessions";
            document.body.append(frame);
            await new Promise((loaded) => {{ frame.onload = loaded; }});
            document.title = done.join(" ");
          }}
          addEventListener("load", attack);
        </script><body></body>""".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body)


def test_no_other_page_can_read_or_start_sessions(browser: Any, link: str, deployment: Deployment) -> None:
    address = urlsplit(link)._replace(path="", query="").geturl()
    before = {session.session_id for session in deployment.journal.recent(50)}
    context = browser.new_context()
    own = context.new_page()
    own.goto(link)
    own.wait_for_url("**/sessions")
    with served(type("Foreign", (Foreign,), {"target": address})) as foreign:
        page = context.new_page()
        statuses: list[int] = []
        page.on("response", lambda answer: answer.url.startswith(address) and statuses.append(answer.status))
        page.goto(foreign)
        until(lambda: page.title() != "foreign")
        # What the browser lets a page of another origin ask, the console refuses; and nothing can be read.
        assert "read" not in page.title()
        assert statuses
        assert set(statuses) == {403}
    context.close()
    assert {session.session_id for session in deployment.journal.recent(50)} == before


def test_a_name_that_resolves_to_this_machine_does_not_reach_the_console(link: str) -> None:
    parts = urlsplit(link)
    for method, path in (
        ("GET", f"/?{parts.query}"),
        ("GET", "/sessions"),
        ("POST", "/sessions"),
        ("DELETE", "/static/x"),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", parts.port or 0)
        connection.request(method, path, headers={"Host": f"evil.example:{parts.port}"})
        answer = connection.getresponse()
        assert (answer.status, "set-cookie" in answer.headers) == (403, False)
        connection.close()

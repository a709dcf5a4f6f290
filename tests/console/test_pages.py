"""All text in the pages is data; the pages load only files of the console."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile import CONTROL, PIECES, TEXT
from vigil.attempt import EndedAttempt
from vigil.console.graph import Graph
from vigil.console.pages import FOLDER, Pages, clock, dollars
from vigil.console.timeline import Timeline
from vigil.console.views import TABS, Filters, SessionList
from vigil.deployment import DeadLetter
from vigil.local.deploy import PROJECT
from vigil.names import FINDINGS, REPORT
from vigil.session import SCHEDULED_ID_PREFIX, Failure, Session, Status, Task
from vigil.session_reader import SessionView
from vigil.step import Excerpt, Step, Usage
from vigil.trace import State, Texts, Trace

TEMPLATES = sorted((FOLDER / "templates").iterdir())
STATIC = FOLDER / "static"
CSS = (STATIC / "console.css").read_text()
AT = "2026-11-29T12:00:00.000Z"
NOW = datetime(2026, 11, 29, 12, 0, 7, tzinfo=UTC)
TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "link",
        "script",
        "body",
        "header",
        "nav",
        "main",
        "section",
        "svg",
        "g",
        "rect",
    ),
    *("path", "text", "h1", "h2", "h3", "p", "a", "b", "strong", "span", "small", "code", "pre", "table", "caption"),
    *("thead", "tbody", "tr", "th", "td", "dl", "dt", "dd", "div", "ol", "li", "form", "input", "label", "select"),
    *("option", "button", "textarea", "details", "summary", "iframe", "time"),
}
LINK = re.compile(r"/(?![/\\])|#")
TYPED = re.compile('(?<=name=")(?:regions|days|functions|q)" value="[^"]*|(?<=spellcheck="false">)[^<]*(?=</textarea>)')
"""What a person has typed, which a form sends again as it was."""


class Checked(HTMLParser):
    """A page of which each element and attribute must be one that the templates have."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        for name, value in attrs:
            assert re.fullmatch("[a-zA-Z-]+", name), name
            assert not name.startswith("on"), name
            assert name not in ("style", "srcdoc", "formaction"), name
            if name in ("href", "src", "action"):
                assert LINK.match(value or ""), value

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


def checked(pages: Pages, template: str, **context: Any) -> str:
    """Render a page, assert that it is only what the templates say, and return it."""
    page = pages.render(template, context)
    Checked(page)
    shown = TYPED.sub("", page).replace("\n", "")
    assert not CONTROL.search(shown), CONTROL.search(shown)
    assert "<script>" not in page
    return page


def session_of(text: str, **more: Any) -> Session:
    """Return a session all of whose texts are ``text``."""
    usage = Usage(text, 12_345, 678, more.pop("dollars", 1), price_assumed=True)
    attempt = EndedAttempt(text, text, text, text, text)
    texts = dict.fromkeys(("heartbeat_at", "deadline_at", "execution_arn", "report_uri", "progress", "detail"), text)
    given = {**texts, "waiting_for": text, "error": Failure(text, text), "usage": usage, "attempts": (attempt,), **more}
    return Session(text, given.pop("status", text), text, text, busy_at=AT, **given)


def view_of(text: str, **more: Any) -> SessionView:
    excerpt = Excerpt(text, 10_000, text)
    steps = [
        Step(1, text, text, text, text, text, text, text, text, input=excerpt, output=excerpt),
        Step(2, "chat", text, text, AT, "FAILED", None, text, usage=Usage(text, 1, 1, more.get("dollars", 1))),
    ]
    phases = [Task(1, text, text, AT, text, text), Task(2, text, "RUNNING", text)]
    trace = Trace(session_of(text, **more), [State(text, text, text), State(text, AT)], phases, steps)
    definition = {"StartAt": text, "States": {text: {"Next": "other"}, "other": {"Catch": [{"Next": text}]}}}
    return SessionView(trace, "", definition, (REPORT, FINDINGS))


def render_all(text: str, *, allow_actions: bool = True) -> None:
    """Render every page with ``text`` in the place of every text that another program has written."""
    pages = Pages("form-token", where=text, allow_actions=allow_actions, budget=text)
    base = {"path": "/sessions", "lost": 7, "live": True, "problem": text, "now": NOW}
    checked(pages, "error.html", reason=text, session_id=text)
    checked(pages, "lost.html", **base, letters=[DeadLetter(text, text, text)])
    checked(
        pages,
        "new.html",
        **base,
        filled=dict.fromkeys(("regions", "days", "functions", "detail"), text),
        error=text,
        number=text,
    )
    statuses = (text, *Status)
    asked = text.encode(errors="replace").decode()  # an address holds no half of a surrogate pair
    found = SessionList([session_of(text, status=status) for status in statuses], asked, 312, 1000)
    checked(pages, "sessions.html", **base, found=found, filters=Filters(Status.BUSY, asked, asked, asked))
    session = {"session_id": text, "texts": Texts.of(text, text)}
    checked(pages, "session.html", **base, **session, view=SessionView(None, text), tab="timeline")
    for status in (text, Status.BUSY, Status.FAILED):
        view = view_of(text, status=status)
        assert view.trace
        graph = Graph.of(view.definition or {}, view.trace.states)
        timeline = Timeline(view.trace, NOW, None)
        more = {**session, "view": replace(view, log=[text, text]), "graph": graph, "timeline": timeline}
        for tab in TABS:
            checked(pages, "session.html", **base, **more, tab=tab, opened=None)
        for row in timeline.rows if status == Status.BUSY else ():
            checked(pages, "session.html", **base, **more, tab="timeline", opened=row)
        unseen = replace(view, trace=replace(view.trace, states=[]), denied=text)
        checked(pages, "session.html", **base, **{**more, "view": unseen}, tab="timeline", opened=None)


TEXTS_OF_OTHERS = [
    "",
    "\ud800'\"><x y=z></textarea></title></script><x>",
    *("".join(PIECES[at::12]) for at in range(12)),
]


@pytest.mark.parametrize("text", TEXTS_OF_OTHERS)
def test_no_text_is_more_than_text(text: str) -> None:
    render_all(text)


@settings(max_examples=5)
@given(TEXT, st.booleans())
def test_no_mix_of_texts_is_more_than_text(text: str, allow_actions: bool) -> None:
    render_all(text, allow_actions=allow_actions)


def test_a_page_that_only_shows_has_no_form_that_acts() -> None:
    pages = Pages("form-token", where="", allow_actions=False, budget="")
    view = view_of("x", status="BUSY")
    assert view.trace
    more = {"session_id": "x", "tab": "record", "view": view}
    for page in (
        pages.render("session.html", more),
        pages.render("new.html", {"filled": {}, "error": "", "number": ""}),
    ):
        assert "form-token" not in page
        assert 'method="post"' not in page
    # Nor is the token in a page without a form.
    for allowed in (True, False):
        pages = Pages("form-token", where="", allow_actions=allowed, budget="")
        assert "form-token" not in pages.render("lost.html", {"letters": []})


def timeline_page(trace: Trace) -> str:
    pages = Pages("form-token", where="", allow_actions=True, budget="")
    definition = {"StartAt": "A", "States": {"A": {"Next": "B"}, "B": {}}}
    graph, timeline = Graph.of(definition, trace.states), Timeline(trace, NOW, None)
    more = {"graph": graph, "timeline": timeline, "opened": None, "texts": Texts(None, None), "tab": "timeline"}
    return checked(
        pages, "session.html", session_id=trace.session.session_id, view=SessionView(trace, "", definition), **more
    )


def test_a_scheduled_session_is_called_by_its_time_everywhere() -> None:
    session_id = f"{SCHEDULED_ID_PREFIX}2026-11-30T07-00-00Z"
    session = Session(session_id, Status.BUSY, AT, AT, report_uri="s3://x")
    pages = Pages("form-token", where="", allow_actions=True, budget="")
    listed = checked(pages, "sessions.html", found=SessionList([session], None, 1, 1), filters=Filters())
    page = timeline_page(Trace(session, [], [], []))
    assert (
        re.findall(r">(?:, |Stop session |Session )?(2026-11-30T07-00|vigil-sc)<", listed) == ["2026-11-30T07-00"] * 2
    )
    assert "<title>2026-11-30T07-00 –" in page
    assert "Stop session 2026-11-30T07-00<" in page
    assert "</span> 2026-11-30T07-00</a>" in page


def test_what_failed_and_what_was_interrupted_are_marked_in_the_timeline() -> None:
    ended = EndedAttempt(AT, "AgentLost", "gone", "", AT)
    session = Session("s", Status.FAILED, AT, AT, busy_at=AT, ended_at=AT, attempt=2, attempts=(ended,))
    states = [State("A", AT, AT), State("A", AT, AT), State("B", AT, AT)]
    steps = [Step(1, "chat", "cut", "a", AT, "INTERRUPTED", AT), Step(2, "chat", "good", "a", AT, "COMPLETED", AT)]
    rows = re.findall("<tr id=.*?</th>", timeline_page(Trace(session, states, [], steps)), re.DOTALL)
    marks = {re.sub("<.*?>", "", row).strip(): re.findall("✕|interrupted", row) for row in rows}
    assert [name for name, found in marks.items() if found == ["✕"]] == ["session s ✕", "attempt 1 ✕", "attempt 2 ✕"]
    assert [name for name, found in marks.items() if found == ["interrupted"]] == ["model cut interrupted"]
    assert "model good" in marks
    page = timeline_page(Trace(session, states, [], steps))
    assert ("A: entered 2 times<" in page, "B: entered 1 time<" in page) == (True, True)


def test_no_price_is_no_zero_and_an_assumed_one_says_so() -> None:
    usage = Usage("m", 1, 1, 0)  # type: ignore[arg-type]
    assert (dollars(None), dollars(usage), dollars(replace(usage, price_assumed=True))) == ("–", "$0.00", "≈$0.00")


@pytest.mark.parametrize("since", ["", None, "x", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", AT])
@pytest.mark.parametrize("until", [None, "x", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z", AT])
def test_a_clock_shows_no_time_below_zero(since: str | None, until: str | None) -> None:
    for down in (True, False):
        assert "-" not in re.sub("<.*?>", "", clock(since, until, NOW, down=down))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.name))
def test_templates_have_no_way_around_the_policy(template: Path) -> None:
    text = template.read_text()
    assert not re.search(r"\|\s*safe|autoescape|Markup|forceescape", text)
    assert not re.search(
        r"<style|<script(?! src=\"/static/[a-z.]+\" defer></script>)|\sstyle=|\son[a-z]+=|javascript:", text
    )
    # Each attribute with a value that is drawn stands in double quotes, which the escape covers.
    assert not re.search(r"\s[a-z-]+=(?:\{\{|')", re.sub(r"\{%.*?%\}", "", text))
    # What is loaded is the console's own.
    assert all(
        LINK.match(link) or link.startswith("{{ ") for link in re.findall(r'(?:src|href|action)="([^"]*)"', text)
    )


def test_only_one_module_makes_markup() -> None:
    users = [
        path.name for path in FOLDER.glob("*.py") if "markupsafe" in path.read_text() or "Markup(" in path.read_text()
    ]
    assert users == ["pages.py"]


def colours(name: str, theme: int) -> tuple[float, ...]:
    """Return red, green and blue of a colour of the style sheet, 0 to 1, in the light theme (0) or the dark one (1)."""
    (pair,) = re.findall(rf"--{name}: light-dark\(#(\w+), #(\w+)\)", CSS)
    digits = pair[theme] if len(pair[theme]) == 6 else "".join(2 * digit for digit in pair[theme])
    return tuple(int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))


def contrast(one: str, other: str, theme: int) -> float:
    """Return the contrast of two colours as WCAG 2.2 defines it."""

    def luminance(name: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colours(name, theme)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


TEXTS = ("text", "soft", "accent", "ok", "bad", "wait", "model", "tool")
BADGES = [("accent", "busy-back"), ("ok", "ok-back"), ("bad", "bad-back"), ("wait", "wait-back"), ("text", "bad-back")]
BADGES += [("text", "busy-back"), ("soft", "bad-back"), ("accent", "bad-back")]


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize(
    ("text", "back", "least"),
    [
        *[(text, back, 4.5) for text in TEXTS for back in ("back", "inset")],
        *[(text, back, 4.5) for text, back in BADGES],
        *[(edge, back, 3) for edge in ("edge", "model", "tool", "ok") for back in ("back", "inset")],
    ],
)
def test_colours_can_be_told_apart(text: str, back: str, least: float, theme: int) -> None:
    assert contrast(text, back, theme) >= least


def test_every_colour_of_the_style_sheet_is_measured() -> None:
    names = set(re.findall(r"--([a-z-]+): light-dark", CSS))
    assert names == {*TEXTS, "back", "inset", "edge", "line", *(back for _, back in BADGES)}
    rules = CSS.partition("}")[2]
    assert set(re.findall(r"#[0-9a-f]{3,8}\b", rules)) <= {"#fff"}, "a colour stands outside of the tokens"
    # Text and its background that stand in one rule are a pair that is measured.
    for rule in re.findall(r"\{([^{}]*)\}", rules):
        back, text = (re.findall(rf"(?<![a-z-]){name}: var\(--([a-z-]+)\)", rule) for name in ("background", "color"))
        if back and text:
            measured = {(text, back) for text in TEXTS for back in ("back", "inset")} | set(BADGES)
            assert (text[-1], back[-1]) in measured or (back[-1], text[-1]) in measured, rule


def test_the_file_of_others_is_the_one_that_its_licence_names() -> None:
    file, licence = STATIC / "idiomorph.min.js", (STATIC / "idiomorph.LICENSE").read_text()
    assert f"SHA-256 {sha256(file.read_bytes()).hexdigest()}\n" in licence


def test_the_console_is_small() -> None:
    files = [path for path in FOLDER.rglob("*") if path.suffix in (".py", ".html", ".css", ".js")]
    lines = sum(len(path.read_text().splitlines()) for path in files if path.name != "idiomorph.min.js")
    assert lines < 1200
    script, style = (sum(path.stat().st_size for path in STATIC.glob(kind)) for kind in ("*.js", "*.css"))
    assert script < 25 * 1024
    assert style < 12 * 1024


def test_what_goes_to_lambda_has_no_console() -> None:
    from infra.lambda_package import MODULES

    assert not {"console", "session_reader", "deployment", "cli"} & set(MODULES)
    assert (PROJECT / "src" / "vigil" / "console").is_dir()


def test_a_clock_counts_hours_also_beyond_a_day() -> None:
    assert ">25:00:05<" in clock("2026-11-28T11:00:00Z", "2026-11-29T12:00:05Z", NOW)

"""Which requests reach the console's pages: only those of its own pages, in the browser that opened its link."""

import asyncio
import html
import json
import re
import socket
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPResponse
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from tests.console.raw import METHODS, Answer, Headers, ask, guarded, own, port_of, secret_of
from vigil.console import app as pages_module
from vigil.console.app import Console
from vigil.console.guard import FORM, HEADERS, MAX_BODY, Guard
from vigil.errors import AwsUnavailable, InvalidArtifact, InvalidInput, SessionEnded, SessionNotFound
from vigil.journal_reader import Listing
from vigil.session import Session, check_detail

SESSION = "c2ab273b-e698-448e-9e95-57dc6962ec9b"
PATHS = ("/", "/sessions", "/static/console.js", f"/sessions/{SESSION}/stop", "/none")
REACHED: list[tuple[str, str]] = []


async def recorder(scope: Any, receive: Any, send: Any) -> None:
    """An application that only says that it was reached."""
    REACHED.append((scope["method"], scope["path"]))
    await PlainTextResponse("reached")(scope, receive, send)


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    with guarded(lambda _: recorder) as guard:
        yield guard


@pytest.fixture(scope="module")
def watching() -> Iterator[Guard]:
    """A guard that allows no actions."""
    with guarded(lambda _: recorder, allow_actions=False) as guard:
        yield guard


def send(guard: Guard, method: str, target: str, headers: Headers, body: bytes = b"", **more: Any) -> Answer:
    """Return the answer of a guard, with ``reached`` or not; each of its answers has the headers of security."""
    REACHED.clear()
    answer = ask(guard, method, target, headers, body, **more)
    assert bool(REACHED) == (answer.status == 200 and b"http-equiv" not in answer.body), (method, target, headers)
    assert_secure(answer)
    return answer


def assert_secure(answer: Answer) -> None:
    for name, value in HEADERS.items():
        assert answer.header(name) == value, (answer, name)
    assert not [name for name, _ in answer.headers if name.startswith("access-control-")]


def assert_forbidden(guard: Guard, headers: Headers, methods: Iterable[str]) -> None:
    """Assert that no path can be reached, nor the link opened."""
    for method in methods:
        for path in (*PATHS, f"/?token={secret_of(guard)}"):
            answer = send(guard, method, path, headers, form_of(guard) if method == "POST" else b"")
            assert (answer.status, answer.header("set-cookie")) == (403, ""), (method, path)


def form_of(guard: Guard, **fields: str) -> bytes:
    return urlencode({"token": guard.form_token, **fields}).encode()


def test_a_page_of_the_console_reaches_it(guard: Guard) -> None:
    for name in ("127.0.0.1", "localhost"):
        host = f"{name}:{port_of(guard)}"
        for method in ("GET", "HEAD"):
            assert send(guard, method, "/sessions", own(guard, host=host, origin=None)).status == 200
        headers = own(guard, host=host, origin=f"http://{host}")
        assert send(guard, "POST", "/sessions", headers, form_of(guard)).status == 200


HOSTS = [
    *("evil.example:PORT", "evil.example", "127.0.0.1", "localhost", "127.0.0.1:1", "localhost:80", "127.0.0.2:PORT"),
    *("localhost.:PORT", "127.0.0.1.:PORT", "LOCALHOST:PORT", "Localhost:PORT", "[::1]:PORT", "0.0.0.0:PORT", "0:PORT"),
    *(
        "127.1:PORT",
        "2130706433:PORT",
        "a.localhost:PORT",
        "127.0.0.1:0PORT",
        "127.0.0.1:PORT:PORT",
        "u@127.0.0.1:PORT",
    ),
    *("127.0.0.1:PORT, evil.example", "127.0.0.1:PORT/", "http://127.0.0.1:PORT", "", ":PORT", "PORT"),
]


@pytest.mark.parametrize("host", HOSTS)
def test_host_is_one_of_the_two_names_with_the_port(guard: Guard, host: str) -> None:
    headers = own(guard, host=host.replace("PORT", str(port_of(guard))))
    assert_forbidden(guard, headers, [("GET", "POST"), METHODS][host == HOSTS[0]])


@pytest.mark.parametrize("hosts", [[], ["127.0.0.1:PORT"] * 2, ["127.0.0.1:PORT", "evil.example:PORT"]])
def test_a_request_has_one_host(guard: Guard, hosts: list[str]) -> None:
    headers = [("Host", host.replace("PORT", str(port_of(guard)))) for host in hosts]
    REACHED.clear()
    # It is no HTTP: the server refuses it before the guard.
    assert ask(guard, "GET", "/sessions", [*headers, *own(guard, host=None)]).status == 400
    assert not REACHED


@pytest.mark.parametrize("count", [0, 2])
def test_the_guard_itself_takes_one_host(guard: Guard, count: int) -> None:
    """HTTP/1.0 needs none, and another server may take two."""
    headers = [(name.lower().encode(), value.encode()) for name, value in own(guard)]
    scope: Any = {"type": "http", "method": "GET", "path": "/sessions", "query_string": b"", "scheme": "http"}
    scope["headers"] = [*headers[:1] * count, *headers[1:]]
    sent: list[Any] = []

    async def keep(message: Any) -> None:
        sent.append(message)

    asyncio.run(guard(scope, None, keep))  # type: ignore[arg-type]
    assert sent[0]["status"] == 403


ORIGINS = [
    *("http://evil.example", "null", "", "https://127.0.0.1:PORT", "http://127.0.0.1", "http://127.0.0.1:1"),
    *("http://localhost:PORT", "http://127.0.0.2:PORT", "http://127.0.0.1:PORT.evil.example", "file://"),
    *("http://127.0.0.1:PORT/", "HTTP://127.0.0.1:PORT", "http://127.0.0.1:PORT http://evil.example", "127.0.0.1:PORT"),
]


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_foreign_origin_is_refused(guard: Guard, origin: str) -> None:
    headers = own(guard, origin=origin.replace("PORT", str(port_of(guard))))
    assert_forbidden(guard, headers, [("GET", "POST"), METHODS][origin == ORIGINS[0]])


@pytest.mark.parametrize("site", ["same-site", "cross-site", "", "nonsense", "SAME-ORIGIN", "none, same-origin"])
@pytest.mark.parametrize("method", METHODS)
def test_only_the_entry_may_come_from_another_page(guard: Guard, method: str, site: str) -> None:
    for path in (*PATHS, "/?", "//", "/%3F", "/%23", "/.", "/%2e", "/%2F"):
        answer = send(guard, method, path, own(guard, sec_fetch_site=site), form_of(guard) if method == "POST" else b"")
        entry = method == "GET" and path in ("/", "/?")
        assert answer.status == (200 if entry else 403), path


@pytest.mark.parametrize(
    "cookie", [None, "", "vigil-PORT=", "vigil-PORT=wrong", "vigil-PORT", "vigil=SECRET", "vigil-1=SECRET", "SECRET"]
)
def test_without_the_cookie_nothing_is_shown(guard: Guard, cookie: str | None) -> None:
    given = cookie and cookie.replace("PORT", str(port_of(guard))).replace("SECRET", secret_of(guard))
    for path in (*PATHS, "/sessions?token=" + secret_of(guard)):
        for method in ("GET", "HEAD", "POST"):
            answer = send(guard, method, path, own(guard, cookie=given), form_of(guard) if method == "POST" else b"")
            assert (answer.status, answer.header("set-cookie")) == (401, "")


def test_the_link_gives_the_cookie_and_leaves_the_address(guard: Guard) -> None:
    host = [("Host", f"127.0.0.1:{port_of(guard)}")]
    answer = send(guard, "GET", f"/?token={secret_of(guard)}", host)
    cookie = answer.header("set-cookie")
    name, *attributes = cookie.split("; ")
    assert name == f"vigil-{port_of(guard)}={secret_of(guard)}"
    assert {attribute.lower() for attribute in attributes} == {"httponly", "samesite=strict", "path=/"}
    assert answer.status == 200
    assert b"url=/sessions" in answer.body
    assert secret_of(guard).encode() not in answer.body
    assert send(guard, "GET", "/sessions", [*host, ("Cookie", name)]).status == 200


@pytest.mark.parametrize("token", ["", "wrong", "SECRETx", "é", "%ff", "FORM"])
def test_a_wrong_token_gives_no_cookie(guard: Guard, token: str) -> None:
    token = token.replace("SECRET", secret_of(guard)).replace("FORM", guard.form_token)
    query = token if token == "%ff" else urlencode({"token": token})[6:]
    answer = send(guard, "GET", f"/?token={query}", [("Host", f"127.0.0.1:{port_of(guard)}")])
    assert (answer.status, answer.header("set-cookie")) == (401, "")


@pytest.mark.parametrize("method", [method for method in METHODS if method not in ("GET", "HEAD", "POST")])
def test_no_other_method_is_allowed(guard: Guard, method: str) -> None:
    assert {send(guard, method, path, own(guard)).status for path in PATHS} == {405}


@pytest.mark.parametrize(
    ("status", "changed", "body"),
    [
        (401, {"cookie": None}, "token=FORM"),
        (403, {"origin": None, "sec_fetch_site": None}, "token=FORM"),
        (403, {"origin": None, "sec_fetch_site": "none"}, "token=FORM"),
        (415, {"content_type": None}, "token=FORM"),
        (415, {"content_type": "text/plain"}, "token=FORM"),
        (415, {"content_type": "multipart/form-data; boundary=x"}, "token=FORM"),
        (415, {"content_type": "application/json"}, '{"token": "FORM"}'),
        (415, {"content_type": "text/plain; application/x-www-form-urlencoded"}, "token=FORM"),
        (403, {}, ""),
        (403, {}, "token="),
        (403, {}, "token=wrong"),
        (403, {}, "TOKEN=FORM"),
        (403, {}, "token=SECRET"),
        (403, {}, "token=FORM&token=wrong"),
        (403, {}, "token=FORM%00"),
        (200, {}, "token=FORM"),
        (200, {"origin": None}, "token=FORM"),
        (200, {"sec_fetch_site": None}, "token=FORM"),
        (200, {"content_type": f"{FORM}; charset=utf-8"}, "token=FORM"),
    ],
)
def test_a_write_needs_all_that_a_form_of_the_console_has(
    guard: Guard, watching: Guard, status: int, changed: dict[str, str | None], body: str
) -> None:
    for one in (guard, watching):
        sent = body.replace("FORM", one.form_token).replace("SECRET", secret_of(one)).encode()
        answer = send(one, "POST", "/sessions", own(one, **changed), sent)
        assert answer.status == (403 if one is watching and status == 200 else status)
    # The form's token stands in the body, and nowhere else.
    assert send(guard, "POST", f"/sessions?token={guard.form_token}", own(guard), b"x=1").status == 403


def test_large_bodies_are_refused(guard: Guard) -> None:
    assert MAX_BODY == 1024 * 1024
    head = form_of(guard) + b"&detail="
    for size, status in ((MAX_BODY, 200), (MAX_BODY + 1, 413)):
        body = head.ljust(size, b"x")
        assert send(guard, "POST", "/sessions", own(guard), body).status == status
        pieces = [body[at : at + 60_000] for at in range(0, size, 60_000)]
        assert send(guard, "POST", "/sessions", own(guard), chunks=pieces).status == status
    # It need not arrive to be refused.
    assert send(guard, "POST", "/sessions", own(guard, content_length=str(10**12))).status == 413
    assert send(guard, "GET", "/sessions", own(guard, content_length=str(10**12), host="evil.example")).status == 413


PICK = st.sampled_from


@given(st.data())
def test_only_a_request_that_meets_every_condition_reaches_the_pages(
    guard: Guard, watching: Guard, data: st.DataObject
) -> None:
    one = data.draw(PICK([guard, guard, watching]))
    port, secret = port_of(one), secret_of(one)
    ours, other = f"127.0.0.1:{port}", f"localhost:{port}"

    def draw(good: list[Any], bad: list[Any]) -> Any:
        # Mostly good values: of a dozen conditions, rarely more than two fail.
        return data.draw(PICK(good if data.draw(st.integers(0, 7)) else bad))

    method = draw(["GET", "POST"], [*METHODS])
    path = draw(["/sessions", "/"], [*PATHS, "/%3f", "//"])
    host = draw([ours, other], ["evil.example", f"evil.example:{port}", "127.0.0.1"])
    origin = draw([None, f"http://{host}"], [f"http://{ours}", f"http://{other}", "null", "https://evil.example"])
    site = draw([None, "same-origin"], ["none", "same-site", "cross-site"])
    cookie = draw([secret], [None, "wrong"])
    kind = draw([FORM, f"{FORM};charset=utf-8"], [None, "text/plain"])
    token = draw([one.form_token], [None, "", secret])
    length = draw([0], [MAX_BODY])

    changed = {"host": host, "origin": origin, "sec_fetch_site": site, "content_type": kind}
    body = urlencode({"more": "x" * length, **({} if token is None else {"token": token})}).encode()
    cookies = cookie and f"first=1; vigil-{port}={cookie}"
    answer = send(one, method, path, own(one, **changed, cookie=cookies), body if method == "POST" else b"")

    same_page = origin in (None, f"http://{host}") and site in (None, "none", "same-origin")
    entered = method == "GET" and path == "/" and origin in (None, f"http://{host}")
    form = kind is not None and kind.startswith(FORM) and token == one.form_token and length == 0
    told = origin is not None or site == "same-origin"
    passes = host in (ours, other) and (same_page or entered) and cookie == secret
    passes = passes and (method in ("GET", "HEAD") or (method == "POST" and form and told and one is guard))
    assert (answer.status == 200) == passes == bool(REACHED)


class Broken:
    """A deployment without sessions, which fails with ``error`` if there is one."""

    def __init__(self, error: Exception | None = None) -> None:
        def answer(value: Any) -> Any:
            if error:
                raise error
            return value

        def no_session(session_id: str, *_: object) -> Any:
            raise error or SessionNotFound(f"no session {session_id}")

        self.journal = SimpleNamespace(
            listing=lambda *_: answer(Listing([], None)), records=lambda _: {}, get=no_session, read_now=no_session
        )
        self.parameters: dict[str, str] = {}
        self.count_dead_letters, self.dead_letters = lambda: 0, lambda: answer([])
        self.artifacts = self.agent_log = self.trigger = self.stop = no_session


def console(guard: Guard, error: Exception | None = None, **changed: Any) -> Any:
    deployment: Any = Broken(error)
    vars(deployment).update(changed)
    return Console(deployment, "here", guard).app()


def test_the_console_has_these_routes_and_no_others() -> None:
    """Each is asked with each method, by a form that may do everything."""
    with guarded(console) as guard:
        routes = guard.app.routes  # type: ignore[attr-defined]
        allowed: dict[str, set[str]] = {}
        for route in routes:
            assert isinstance(route, Route | Mount)
            allowed.setdefault(route.path, set()).update((route.methods or ()) if isinstance(route, Route) else ())
        reads = {"GET", "HEAD"}
        session = "/sessions/{session_id}"
        assert allowed == {
            **dict.fromkeys(("/", "/sessions/new", "/lost", session, f"{session}/{{tab}}"), reads),
            **{"/sessions": {*reads, "POST"}, f"{session}/stop": {"POST"}, f"{session}/files/{{name}}": reads},
            "/static": set(),
        }
        for path, methods in allowed.items():
            target = re.sub("{session_id}", SESSION, path).replace("{name}", "x").replace("{tab}", "log")
            for method in METHODS:
                target = "/static/console.css" if path == "/static" else target
                answer = ask(guard, method, target, own(guard), form_of(guard) if method == "POST" else b"")
                assert_secure(answer)
                # A GET of ".../stop" asks for a part of the session that it has not.
                missing = 404 if path.endswith("/stop") and method in reads else 405
                served = method in (methods or reads)
                assert (answer.status != missing) == served, (method, target, answer)


ANSWERS = {
    **{"/sessions": 200, "/sessions/new": 200, "/lost": 200, "/": 303, "/none": 404, "//evil.example/": 404},
    **{"/static/console.js": 200, "/static/none.js": 404, "/static/../app.py": 404, "/static/..%2fapp.py": 404},
    **{"/static/%00": 404, "/static/" + "x" * 5000: 404, "/static": 307, "/sessions/": 307, "/sessions?none=1": 400},
    **{"/sessions?day=2026-02-30": 400, "/sessions?day=2026-02-28&cursor=2026-02-27~x": 400},
    **{f"/sessions/{SESSION}": 404, f"/sessions/{SESSION}/none": 404, f"/sessions/{SESSION}/..%2f..": 404},
    **{"/sessions/" + "x" * 101: 400, "/sessions/%0d%0aset-cookie:%20x=1": 400, f"/sessions?q={SESSION}": 303},
}


@pytest.mark.parametrize(
    ("error", "answers"),
    [
        (None, ANSWERS),
        (AwsUnavailable("no answer"), {"/sessions": 503, f"/sessions/{SESSION}": 503, "/lost": 503}),
        (RuntimeError("secret"), {"/sessions": 500, f"/sessions/{SESSION}": 500, "/lost": 500}),
    ],
)
def test_every_answer_of_the_console_is_secured(error: Exception | None, answers: dict[str, int]) -> None:
    with guarded(lambda guard: console(guard, error)) as guard:
        for target, status in answers.items():
            answer = ask(guard, "GET", target, own(guard))
            assert answer.status == status, target
            assert_secure(answer)
            assert b"secret" not in answer.body
            # No redirect leaves the console.
            location = answer.header("location").removeprefix(f"http://127.0.0.1:{port_of(guard)}")
            assert location in ("", "/sessions", "/static/", f"/sessions/{SESSION}"), target


def test_a_stream_is_secured() -> None:
    with guarded(console) as guard:
        answer = ask(guard, "GET", "/sessions", [*own(guard), ("Accept", "text/event-stream")])
    assert (answer.status, answer.header("content-type")) == (200, "text/event-stream; charset=utf-8")
    assert_secure(answer)


def keeping(faults: list[Exception], pages: Any) -> Any:
    """Return the application ``pages``, which keeps in ``faults`` what it raises."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await pages(scope, receive, send)
        except Exception as error:
            faults.append(error)
            raise

    return app


def test_a_stream_without_data_waits_for_them_and_raises_nothing() -> None:
    faults: list[Exception] = []
    with guarded(lambda guard: keeping(faults, console(guard, AwsUnavailable("no answer")))) as guard:
        for page in ("/sessions", f"/sessions/{SESSION}"):
            with pytest.raises(TimeoutError):
                ask(guard, "GET", page, [*own(guard), ("Accept", "text/event-stream")], timeout=0.3)
    assert not faults


def test_no_more_streams_than_allowed_even_if_they_begin_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages_module, "MAX_STREAMS", 3)
    with guarded(console) as guard, ExitStack() as sockets:
        opened = [sockets.enter_context(socket.create_connection(("127.0.0.1", port_of(guard)), 10)) for _ in range(8)]
        lines = [f"{name}: {value}" for name, value in [*own(guard), ("Accept", "text/event-stream")]]
        for one in opened:
            one.sendall("\r\n".join(["GET /sessions HTTP/1.1", *lines, "", ""]).encode())
        answers = [sockets.enter_context(HTTPResponse(one)) for one in opened]
        for answer in answers:
            answer.begin()
        streams = [answer for answer in answers if answer.status == 200 and answer.readline()]
        assert len(streams) == 3
        # The page itself is served.
        assert ask(guard, "GET", "/sessions", own(guard)).status == 200
        assert ask(guard, "GET", "/sessions", [*own(guard), ("Accept", "text/event-stream")]).status == 503


def test_a_fault_while_a_page_is_live_is_logged_once_and_ends_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    faults: list[Exception] = []
    with guarded(lambda guard: keeping(faults, console(guard, RuntimeError("x")))) as guard:
        answer = ask(guard, "GET", "/sessions", [*own(guard), ("Accept", "text/event-stream")])
    assert (answer.status, answer.body) == (200, b"")
    assert [record.getMessage().split(" at ")[1] for record in caplog.records] == ["/sessions"]
    assert not faults


def form_sent(guard: Guard, number: str, **fields: str) -> Answer:
    return ask(guard, "POST", "/sessions", own(guard), form_of(guard, number=number, **fields))


def test_a_form_that_is_sent_several_times_starts_one_session() -> None:
    started: list[object] = []

    def trigger(detail: object) -> str:
        time.sleep(0.1)
        started.append(detail)
        return f"{len(started):036}"

    with guarded(lambda guard: console(guard, trigger=trigger)) as guard, ThreadPoolExecutor(5) as pool:
        answers = [
            *pool.map(lambda _: form_sent(guard, "1", detail="{}"), range(5)),
            form_sent(guard, "1", detail="{}"),
        ]
        assert {(answer.status, answer.header("location")) for answer in answers} == {(303, f"/sessions/{1:036}")}
        assert started == [{}]
        assert form_sent(guard, "2", detail="{}").header("location") == f"/sessions/{2:036}"


def test_a_form_whose_session_could_not_be_started_can_be_sent_again() -> None:
    answers = iter([AwsUnavailable("no answer"), InvalidInput("detail: too large"), SESSION])

    def trigger(detail: object) -> str:
        if isinstance(answer := next(answers), Exception):
            raise answer
        return answer

    with guarded(lambda guard: console(guard, trigger=trigger)) as guard:
        sent = [form_sent(guard, "1", detail="{}") for _ in range(4)]
    assert [answer.status for answer in sent] == [503, 400, 303, 303]
    assert b"detail: too large" in sent[1].body
    assert sent[2].header("location") == sent[3].header("location") == f"/sessions/{SESSION}"


@pytest.mark.parametrize("days", ["400", "x", "1.5", "9" * 5000, "\u0661"])
def test_a_form_that_is_refused_is_shown_again_with_the_reason(days: str) -> None:
    with guarded(console) as guard:
        answer = form_sent(guard, "1", days=days)
    assert answer.status == 400
    assert b"days must be a whole number from 1 to 90" in answer.body
    assert f'value="{days}"'.encode() in answer.body


@pytest.mark.parametrize(
    "detail",
    [
        {"x": "é"},
        {"x": list(range(10_000))},
        {"x": "é漢😀\u200d\n\u202e" * 3800},
        {"x": "\x00" * 10_900},
        {"x": ["%&+" * 20_000]},
        json.loads('{"x":' + "[" * 198 + "1" + ",1" * 15_000 + "]" * 198 + "}"),
    ],
)
def test_a_session_whose_input_is_large_can_be_retried(detail: dict[str, Any]) -> None:
    """The form that the page shows is sent as a browser sends it, with CRLF for each end of a line."""
    started: list[object] = []
    session = Session(SESSION, "FAILED", "", "", detail=json.dumps(check_detail(detail)))
    journal = SimpleNamespace(get=lambda _: session)

    def trigger(detail: object) -> str:
        started.append(detail)
        return SESSION

    with guarded(lambda guard: console(guard, journal=journal, trigger=trigger)) as guard:
        page = ask(guard, "GET", f"/sessions/new?from={SESSION}", own(guard)).body.decode()
        shown = html.unescape(page.partition('spellcheck="false">')[2].partition("</textarea>")[0])
        assert shown == '{\n  "x": "é"\n}' if detail == {"x": "é"} else len(shown) <= 64 * 1024
        assert form_sent(guard, "1", detail=shown.replace("\n", "\r\n")).status == 303
    assert started == [detail]


@pytest.mark.parametrize("typed", ["a\u200db", "\u202e", 'x"<&\x85>', "👩\u200d🚀"])
def test_what_was_typed_is_shown_again_as_it_was(typed: str) -> None:
    with guarded(console) as guard:
        form = form_sent(guard, "1", days="400", functions=typed, regions=typed).body.decode()
        detail = form_sent(guard, "1", detail=typed).body.decode()
        search = ask(guard, "GET", f"/sessions?{urlencode({'q': typed})}", own(guard)).body.decode()
    value = f'value="{escape(typed)}"'
    assert (form.count(value), search.count(value)) == (2, 1)
    assert f">{escape(typed)}</textarea>" in detail


def test_the_problem_with_a_whole_input_is_named() -> None:
    with guarded(console) as guard:
        assert b"the whole input is not JSON: " in form_sent(guard, "1", detail="{").body
        answer = form_sent(guard, "1", detail="{}", days="3", functions="x")
        assert b"the whole input replaces the rest: leave out days, functions" in answer.body


def test_a_second_stop_shows_how_the_session_has_ended() -> None:
    def ended(*_: str) -> None:
        raise SessionEnded(f"session {SESSION} has ended: FAILED")

    with guarded(lambda guard: console(guard, stop=ended)) as guard:
        answer = ask(guard, "POST", f"/sessions/{SESSION}/stop", own(guard), form_of(guard))
    assert (answer.status, answer.header("location")) == (303, f"/sessions/{SESSION}")


def test_a_file_that_is_missing_is_named_as_it_was_asked_for() -> None:
    def no_report(_: str) -> Any:
        raise InvalidArtifact("no artifact report.md in this session")

    artifacts, journal = SimpleNamespace(read=no_report), SimpleNamespace(get=lambda _: None)
    target = f"/sessions/{SESSION}/files/x.svg"
    with guarded(lambda guard: console(guard, artifacts=lambda _: artifacts, journal=journal)) as guard:
        answer = ask(guard, "GET", target, own(guard))
        assert (answer.status, b"has no file x.svg" in answer.body) == (404, True)
        assert f'href="/sessions/{SESSION}"'.encode() in answer.body
    with guarded(lambda guard: console(guard, artifacts=lambda _: artifacts)) as guard:
        answer = ask(guard, "GET", target, own(guard))
        assert (answer.status, f"no session {SESSION}".encode() in answer.body) == (404, True)


def test_the_page_of_a_lost_event_says_that_there_is_no_session_and_where_to_look() -> None:
    with guarded(console) as guard:
        answer = ask(guard, "GET", f"/sessions/{SESSION}", own(guard))
        assert answer.body.count(b'href="/lost"') == 2
        stream = ask(guard, "GET", f"/sessions/{SESSION}", [*own(guard), ("Accept", "text/event-stream")], whole=True)
        assert stream.body.rstrip().endswith(b"event: end\r\ndata: no session")
        lost = ask(guard, "GET", "/lost", own(guard)).body
        assert lost.index(b"Remove the cause first") < lost.index(b"vigil lost --resend")
        assert b"reload to see changes" in lost

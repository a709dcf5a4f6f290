"""The pages of the console by their addresses."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any
from uuid import uuid4

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from vigil.agent.package import agent_input
from vigil.console.feed import Feed, Reading
from vigil.console.guard import Guard
from vigil.console.pages import FOLDER, SANDBOX, Pages
from vigil.console.views import TABS, Filters, ListReader, timeline_context
from vigil.deployment import Deployment
from vigil.download import safe_files
from vigil.errors import InvalidArtifact, InvalidInput, SessionEnded, SessionNotFound, VigilError
from vigil.names import PAGE, REPORT, Parameter
from vigil.page import POLICY
from vigil.session import MAX_DETAIL_BYTES, check_session_id, short_id
from vigil.session_reader import LogReader, SessionReader, SessionView
from vigil.trace import read_texts
from vigil.watch import APPEAR_SECONDS

logger = logging.getLogger("vigil.console")

LIST_SECONDS, SESSION_SECONDS, LOG_SECONDS, SEARCH_SECONDS, LOST_SECONDS = 0.7, 0.75, 3.0, 5.0, 10.0
MAX_STREAMS, MAX_FEEDS, MAX_TEXTS = 32, 16, 64  # the last: states whose input and output are kept
CODES = {InvalidInput: 400, SessionNotFound: 404, VigilError: 503}


class Console:
    """The pages of one deployment, which ``where`` names for a person, behind ``guard``."""

    def __init__(self, deployment: Deployment, where: str, guard: Guard) -> None:
        self._deployment = deployment
        budget = deployment.parameters.get(Parameter.BUDGET_DOLLARS, "")
        self._pages = Pages(guard.form_token, where=where, allow_actions=guard.allow_actions, budget=budget)
        self._feeds: dict[Hashable, Feed] = {}
        self._lists = ListReader(deployment)
        self._state_texts = lru_cache(MAX_TEXTS)(partial(read_texts, deployment))
        self._lost = Feed(deployment.count_dead_letters, LOST_SECONDS)
        self._streams = 0
        self._starting = asyncio.Lock()
        self._started: dict[str, str] = {}  # session by the number of the form that started it

    def app(self) -> Starlette:
        """Return the ASGI application; only the guard may stand before it."""
        session = "/sessions/{session_id}"
        routes = [
            Route("/", lambda request: RedirectResponse("/sessions", 303)),
            Route("/sessions", self.sessions),
            Route("/sessions", self.start, methods=["POST"]),
            Route("/sessions/new", self.new),
            Route("/lost", self.lost),
            Route(session, self.session),
            Route(f"{session}/stop", self.stop, methods=["POST"]),
            Route(f"{session}/files/{{name}}", self.file),
            Route(f"{session}/{{tab}}", self.session),
            Mount("/static", StaticFiles(directory=FOLDER / "static")),
        ]
        handlers: Any = {VigilError: self._failed, HTTPException: self._failed, Exception: self._broken}
        return Starlette(routes=routes, exception_handlers=handlers)

    async def sessions(self, request: Request) -> Response:
        """Show the newest sessions, or those that a filter lets pass."""
        filters = Filters.parse(request.query_params)
        with suppress(InvalidInput):
            return RedirectResponse(f"/sessions/{check_session_id(filters.text)}", 303)
        seconds = SEARCH_SECONDS if filters.text else LIST_SECONDS
        feed = self._feed(filters, lambda: Feed(partial(self._lists.read, filters), seconds))
        return await self._live(request, feed, "sessions.html", lambda found: {"found": found, "filters": filters})

    async def session(self, request: Request) -> Response:
        """Show one session: its timeline, its record, its agent's log or its report."""
        session_id = check_session_id(request.path_params["session_id"])
        if (tab := request.path_params.get("tab", TABS[0])) not in TABS:
            raise HTTPException(404, f"a session has no page {tab}; it has {', '.join(TABS)}")
        patience = APPEAR_SECONDS if session_id in self._started.values() else 0.0
        kind, seconds = (LogReader, LOG_SECONDS) if tab == "log" else (SessionReader, SESSION_SECONDS)
        feed = self._feed((session_id, kind), lambda: Feed(kind(self._deployment, session_id, patience).read, seconds))

        def shown(view: SessionView) -> Mapping[str, Any]:
            more = timeline_context(view, request.query_params, self._state_texts) if tab == TABS[0] else {}
            return {"session_id": session_id, "view": view, "tab": tab, **more}

        return await self._live(request, feed, "session.html", shown)

    async def file(self, request: Request) -> Response:
        """Serve the page of a session's report for a frame, or another file of it as a download."""
        session_id, name = check_session_id(request.path_params["session_id"]), request.path_params["name"]

        def read() -> Mapping[str, str]:
            artifacts = self._deployment.artifacts(session_id)
            with suppress(InvalidArtifact):  # there is no report
                return safe_files(artifacts, artifacts.read(REPORT))[0]
            self._deployment.journal.get(session_id)  # or no session
            return {}

        if (text := (await run_in_threadpool(read)).get(name)) is None:
            raise HTTPException(404, f"session {session_id} has no file {name} that is safe to open")
        headers = {"content-security-policy": f"sandbox {SANDBOX}; frame-ancestors 'self'; {POLICY}"}
        if name == PAGE and "download" not in request.query_params:
            # Other sites refuse to be shown in a frame. A link within the report stays there.
            text = re.sub('<a href="(?!#)', '<a target="_blank" rel="noreferrer" href="', text)
            return HTMLResponse(text, headers=headers)
        headers["content-disposition"] = f'attachment; filename="{short_id(session_id)}-{name}"'
        return Response(text, headers=headers, media_type="application/octet-stream")

    async def lost(self, request: Request) -> Response:
        """Show the events that never became a session."""
        letters = await run_in_threadpool(self._deployment.dead_letters)
        return await self._page(request, "lost.html", {"letters": letters})

    async def new(self, request: Request) -> Response:
        """Show the form that starts a session, with the input of another one for a retry."""
        filled: dict[str, str] = {}
        if retried := request.query_params.get("from"):
            detail = (await run_in_threadpool(self._deployment.journal.get, retried)).input()
            text = json.dumps(detail, ensure_ascii=False, indent=2)
            # A deep input becomes a hundred times as long.
            filled = {"detail": text if len(text) < MAX_DETAIL_BYTES else json.dumps(detail, ensure_ascii=False)}
        return await self._page(request, "new.html", {"filled": filled, "error": "", "number": uuid4().hex})

    async def start(self, request: Request) -> Response:
        """Start a session. The same form starts only one, however often it is sent."""
        form: dict[str, str] = request.state.form
        number = form.get("number") or uuid4().hex
        try:
            async with self._starting:
                if number not in self._started:
                    self._started[number] = await run_in_threadpool(self._deployment.trigger, _detail(form))
        except InvalidInput as error:
            return await self._page(request, "new.html", {"filled": form, "error": str(error), "number": number}, 400)
        return RedirectResponse(f"/sessions/{self._started[number]}", 303)

    async def stop(self, request: Request) -> Response:
        """Stop a session, for the reason that the form gives."""
        session_id = check_session_id(request.path_params["session_id"])
        with suppress(SessionEnded):  # its page shows how
            await run_in_threadpool(self._deployment.stop, session_id, request.state.form.get("reason", ""))
        self._feeds.pop((session_id, SessionReader), None)  # the answer shows the end
        return RedirectResponse(f"/sessions/{session_id}", 303)

    def _feed(self, key: Hashable, make: Callable[[], Feed]) -> Feed:
        feed = self._feeds[key] = self._feeds.pop(key) if key in self._feeds else make()
        for oldest in [*self._feeds][:-MAX_FEEDS]:
            del self._feeds[oldest]
        return feed

    async def _live(
        self, request: Request, feed: Feed, template: str, context: Callable[[Any], Mapping[str, Any]]
    ) -> Response:
        """Show what ``feed`` has, as a page or as a stream of pages: one for each change."""

        async def page(reading: Reading) -> tuple[Response, bool]:
            data, problem = reading
            if data is None:
                raise HTTPException(503, problem)
            final = getattr(data, "final", False)
            shown = {**await run_in_threadpool(context, data), "live": not final, "problem": problem}
            return await self._page(request, template, shown, 404 if getattr(data, "why", "") else 200), final

        async def events() -> AsyncIterator[ServerSentEvent]:
            if self._streams >= MAX_STREAMS:
                return  # others have begun meanwhile
            self._streams += 1
            try:
                async for reading in feed.changes():
                    with suppress(VigilError, HTTPException):  # what the page has shown stays
                        answer, final = await page(reading)
                        yield ServerSentEvent(bytes(answer.body).decode(), event="page")
                        if final:
                            yield ServerSentEvent("no session" if answer.status_code == 404 else "ended", event="end")
                            return
            except Exception as error:
                await self._broken(request, error)
            finally:
                self._streams -= 1

        if request.headers.get("accept") != "text/event-stream":
            return (await page(await feed.now()))[0]
        if self._streams >= MAX_STREAMS:
            raise HTTPException(503, f"{MAX_STREAMS} pages are live already: reload to see what is new")
        return _Events(events(), send_timeout=10)

    async def _page(self, request: Request, name: str, context: Mapping[str, Any], status: int = 200) -> Response:
        lost, _ = await self._lost.now()
        page = await run_in_threadpool(self._pages.render, name, {"path": request.url.path, "lost": lost, **context})
        return HTMLResponse(page, status)

    async def _failed(self, request: Request, error: Exception) -> Response:
        """Say in one line what went wrong."""
        status = getattr(error, "status_code", 0) or next(CODES[kind] for kind in CODES if isinstance(error, kind))
        context = {"reason": getattr(error, "detail", str(error)), "session_id": request.path_params.get("session_id")}
        return HTMLResponse(self._pages.render("error.html", context), status)

    async def _broken(self, request: Request, error: Exception) -> Response:
        number = uuid4().hex[:8]
        logger.error("error %s at %s", number, request.url.path, exc_info=error)
        return await self._failed(request, HTTPException(500, f"the console failed; its log has error {number}"))


class _Events(EventSourceResponse):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, for as long as the browser reads them."""
        with suppress(SendTimeoutError):
            await super().__call__(scope, receive, send)


def _detail(form: Mapping[str, str]) -> Any:
    """Return the event's detail as the form gives it; raises InvalidDetail."""
    filled = {name: text for name in form if (text := form[name].strip())}
    regions, days = filled.get("regions", "").replace(",", " ").split(), filled.get("days", "")
    number = int(days) if re.fullmatch("[0-9]{1,9}", days) else days or None
    options = {"regions": regions, "days": number, "functions": filled.get("functions")}
    return agent_input(filled.get("detail"), options, "the whole input")

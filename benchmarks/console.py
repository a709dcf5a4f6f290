"""How fast and how cheaply the console shows sessions, in a browser: ``python -m benchmarks.console``."""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeVar

import httpx
from playwright.sync_api import Browser, BrowserContext, Page

from benchmarks import counted
from benchmarks.console_sessions import CHANGED, FEW, MANY, Sessions
from benchmarks.report import Report, machine, percentile
from tests.fixtures.browser import started_browser, watched_context
from vigil.console.app import LIST_SECONDS
from vigil.console.pages import FOLDER
from vigil.console.views import LISTED
from vigil.local.stack import LocalStack
from vigil.names import Env, Parameter
from vigil.session import Failure, Status
from vigil.session_reader import LOG_LINES, LOG_TEXT
from vigil.step import MAX_STEP_TEXT, MAX_STEPS

T = TypeVar("T")
FIRST_PAINT, CHANGE, PAGE_BYTES, CALLS, GROWTH = 300, 1000, 80_000, 2.0, 0.1  # budgets: ms, ms, bytes, a second, share
LOADS = 20
POLLS = int(8 * 3600 / LIST_SECONDS)  # of the list in 8 hours
METRICS = ("JSHeapUsedSize", "Nodes", "JSEventListeners")
FASTER = 25  # times, in the measurement of growth
HURRIED = f"""from vigil import __main__; from vigil import session_reader; from vigil.console import app
for module in app, session_reader:
    for name in [name for name in vars(module) if name.endswith("_SECONDS") and name != "APPEAR_SECONDS"]:
        setattr(module, name, getattr(module, name) / {FASTER})
__main__.main()"""
# Stamps when each change has been painted: the frame after it is drawn when the timer of the next one fires.
RECORDER = """() => {
    window.painted = {};
    const look = () => {
        const found = document.querySelector("main").textContent.match(/(?:change|phase) [0-9]+/g) ?? [];
        for (const row of document.querySelectorAll("tr.phase:not(:has([data-clock])) th")) {
            found.push("end of " + row.textContent.match(/phase [0-9]+|$/)[0]);
        }
        for (const text of found.filter((text) => !(text in painted))) {
            painted[text] = 0;
            requestAnimationFrame(() => setTimeout(() => { painted[text] = Date.now(); }));
        }
    };
    new MutationObserver(look).observe(document, {subtree: true, childList: true, characterData: true});
}"""
HIDE = """(hidden) => {
    Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
    document.dispatchEvent(new Event("visibilitychange"));
}"""
TIMING = """() => {
    const paint = performance.getEntriesByName("first-contentful-paint")[0];
    return paint && [paint.startTime, performance.getEntriesByType("navigation")[0].responseStart];
}"""


class Counted(LocalStack):
    """A local stack that counts the console's calls."""

    SERVER = counted.__name__

    def calls(self) -> Counter[str]:
        return Counter(httpx.get(f"{self.endpoint}{counted.PATH}").json())


@dataclass
class Table:
    """Rows of the report; knows whether one exceeds its budget."""

    rows: list[tuple[str, ...]] = field(default_factory=list)
    exceeded: bool = False

    def add(self, what: str, unit: str, budget: float | None, value: float, median: float | None = None) -> None:
        exceeds = budget is not None and value > budget
        self.exceeded |= exceeds
        shown = ["" if x is None else f"{round(x, 1):,.7g} {unit}" for x in (budget, median, value)]
        self.rows.append((what, *shown[:2], shown[2] + " (exceeds it)" * exceeds))
        print(*self.rows[-1], sep=" | ", file=sys.stderr, flush=True)

    def add_times(self, what: str, budget: float | None, times: list[float]) -> None:
        self.add(what, "ms", budget, round(percentile(times, 0.95)), round(percentile(times, 0.5)))


@contextmanager
def console(stack: LocalStack, *command: str) -> Iterator[tuple[int, str]]:
    """Start ``vigil console``, or ``command`` in its place; yield its process id and its link."""
    environment = {**os.environ, **stack.environment(), "AWS_SDK_UA_APP_ID": counted.APP}
    words = [*(command or [str(Path(sys.executable).parent / "vigil")]), "console"]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            link = process.stdout.readline().split()[-1]
            # The link may be printed a moment before the console listens.
            httpx.HTTPTransport(retries=8).handle_request(httpx.Request("GET", link)).close()
            yield process.pid, link
        finally:
            process.terminate()


@contextmanager
def reader(browser: Browser, link: str) -> Iterator[tuple[BrowserContext, Page]]:
    """Open the console in a context of its own; yield that and a page that shows the list."""
    with watched_context(browser) as context:
        page = context.new_page()
        page.goto(link)
        page.wait_for_url("**/sessions")
        yield context, page


def measure_first_paint(page: Page, table: Table, what: str, address: str, budget: float | None = FIRST_PAINT) -> None:
    timings = list[tuple[float, float]]()
    for _ in range(LOADS):
        # The console keeps a list for LIST_SECONDS: each load reads the table.
        page.goto("about:blank")
        time.sleep(1)
        page.goto(address)
        timings.append(page.wait_for_function(TIMING).json_value())
    paints, first_bytes = ([*column] for column in zip(*timings, strict=True))
    table.add_times(f"First paint of {what}", budget, paints)
    table.add_times("of it, until the first byte", None, first_bytes)


def change(text: str, times: Mapping[Page, list[float]], write: Callable[[], T]) -> T:
    """Call ``write`` at a random time, and add to ``times`` how long after that a page has painted ``text``, in ms."""
    time.sleep(random.uniform(0, 1))
    began = 1000 * time.time()
    written = write()
    for page, found in times.items():
        found.append(page.wait_for_function("(text) => painted[text]", arg=text).json_value() - began)
    return written


def measure_changes(sessions: Sessions, listed: Page, shown: Page, large: Page, table: Table) -> None:
    journal, running = sessions.journal, sessions.running
    in_list, in_session, in_large, ends = list[float](), list[float](), list[float](), list[float]()
    for page, path in ((listed, ""), (shown, f"/{running}"), (large, f"/{sessions.largest}")):
        page.goto(listed.url + path)
        page.evaluate(RECORDER)
    for number in range(CHANGED):
        text, phase = f"change {number}", f"phase {number}"
        change(text, {listed: in_list, shown: in_session}, partial(journal.record_progress, running, text))
        failure = Failure("Benchmark", text := f"change {number + CHANGED}")
        change(text, {listed: in_list}, partial(journal.fail, sessions.busy[-1 - number], failure))
        task = change(phase, {shown: in_session}, partial(journal.start_task, running, phase))
        if number % 2:
            # These take seconds.
            change(f"end of {phase}", {shown: ends}, partial(journal.end_task, running, task))
            change(text, {large: in_large}, partial(journal.record_progress, sessions.largest, text))
    table.add_times("From a write until the list shows it", CHANGE, in_list)
    table.add_times("From a write until the session's page shows it", CHANGE, in_session)
    table.add_times("the same, the end of a work phase", CHANGE, ends)
    table.add_times(f"the same, progress of a session of {MAX_STEPS:,} steps", CHANGE, in_large)


def measure_bytes(sessions: Sessions, context: BrowserContext, address: str, table: Table) -> None:
    largest = f"{address}/{sessions.largest}"
    pages = {
        f"list of {MANY:,} sessions": address,
        f"session of {MAX_STEPS:,} steps": largest,
        f"the same, an opened step whose excerpts are {MAX_STEP_TEXT:,} quotation marks": f"{largest}?open=step-999",
        f"its log, {LOG_LINES} lines of {LOG_TEXT} characters": f"{largest}/log",
        "its record, with a detail of 60,000 characters": f"{largest}/record",
    }
    for what, url in pages.items():
        table.add(f"Bytes: {what}", "bytes", PAGE_BYTES, len(context.request.get(url).body()))
    static = sum(file.stat().st_size for file in (FOLDER / "static").iterdir() if not file.name.endswith("LICENSE"))
    table.add("Bytes: all static files together", "bytes", PAGE_BYTES, static)


def measure_calls(stack: Counted, browser: Browser, link: str, sessions: Sessions, seconds: int, table: Table) -> None:
    """Count the console's calls of AWS while nothing changes."""

    def counted_while(what: str, budget: float | None = CALLS) -> None:
        time.sleep(3)
        before = stack.calls()
        time.sleep(seconds)
        found = stack.calls() - before
        table.add(f"Calls of AWS: {what}", "a second", budget, found.total() / seconds)

    one, largest, ended = (f"/{session}" for session in (sessions.running, sessions.largest, sessions.ended))
    shown = {"a list of ended sessions": "?status=COMPLETED", "an ended session": ended, "a running session": one}
    with reader(browser, link) as (_, page):
        address = page.url
        counted_while("the list while sessions run", None)
        for what, path in {**shown, f"a running session of {MAX_STEPS:,} steps": largest}.items():
            page.goto(address + path)
            counted_while(what)
        page.goto(address + one)
        page.evaluate(HIDE, True)
        counted_while("a running session in a hidden tab", 0)
    with ExitStack() as contexts:
        # Of one context, a browser opens at most six connections to a server.
        for _ in range(10):
            contexts.enter_context(reader(browser, link))[1].goto(address + one)
        counted_while("a running session in ten windows")
    counted_while("no page", 0)


def measure_growth(stack: Counted, browser: Browser, sessions: Sessions, polls: int, report: Report) -> bool:
    """Let a console with short intervals poll as often as in hours; return whether something grew beyond its budget.

    It is measured after a fifth of the polls, when everything has been used, after three fifths, and at the end.
    """
    changes, states = count(), list[dict[str, float]]()
    sessions.put(Status.COMPLETED, LISTED, 3600)  # the list is full, and cannot grow
    with console(stack, sys.executable, "-c", HURRIED) as (pid, link), reader(browser, link) as (context, listed):
        shown = context.new_page()
        shown.goto(f"{listed.url}/{sessions.running}")
        tabs = {"list": context.new_cdp_session(listed), "session": context.new_cdp_session(shown)}
        for devtools in tabs.values():
            devtools.send("Performance.enable")

        def state() -> dict[str, float]:
            process = Path(f"/proc/{pid}")
            status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
            found = {"memory, KB": float(status["VmRSS"].split()[0]), "threads": float(status["Threads"])}
            found["open files"] = len([*(process / "fd").iterdir()])
            for name, devtools in tabs.items():
                devtools.send("HeapProfiler.collectGarbage")
                metrics = devtools.send("Performance.getMetrics")["metrics"]
                found |= {f"{name}: {one['name']}": one["value"] for one in metrics if one["name"] in METRICS}
            return found

        before, began = stack.calls()["BatchGetItem"], time.monotonic()
        for part in (0.2, 0.6, 1.0):
            while (done := stack.calls()["BatchGetItem"] - before) < polls * part:
                time.sleep(0.2)
                sessions.journal.record_progress(sessions.running, f"reads function {(number := next(changes))}")
                if number % 20 == 0:
                    # A new session begins, so that the list has one that runs, whose record each poll reads.
                    sessions.busy += sessions.put(Status.BUSY, 1)
                    sessions.journal.fail(sessions.busy[-2], Failure("Benchmark", "another one has begun"))
            states.append(state())
            print(done, states[-1], file=sys.stderr, flush=True)
        took = time.monotonic() - began
    first, *_, last = states
    what = f"{done:,} polls of the list, as in {done * LIST_SECONDS / 3600:.1f} hours"
    report.table(
        (what, "after 1/5", "after 3/5", "at the end", "growth"),
        ((name, *(f"{one[name]:,.0f}" for one in states), f"{last[name] / first[name] - 1:+.0%}") for name in first),
    )
    report.say(f"They took {took / 60:.0f} minutes, with {next(changes):,} changes. Budget: a growth of {GROWTH:.0%}.")
    return any(last[name] > (1 + GROWTH) * first[name] for name in first)


def main() -> int:
    """Measure, print, and write if asked to; fails if a budget is exceeded."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console", description=__doc__)
    parser.add_argument("--seconds", type=int, default=30, help="how long to count calls of AWS on each page")
    parser.add_argument("--polls", type=int, default=POLLS, help="of the list, while its growth is measured")
    parser.add_argument("--write", action="store_true", help="write the result into docs/benchmarks.md")
    arguments = parser.parse_args()
    report, table = Report("console"), Table()
    report.say(f"{machine()} Load average before: {os.getloadavg()[0]:.1f}.")
    agent, timing = {Env.AGENT: "benchmarks.agents:works"}, {Parameter.PROGRESS_SECONDS: "7200"}
    with (
        tempfile.TemporaryDirectory() as folder,
        started_browser(Path(folder)) as browser,
        Counted.start(agent_environment=agent, parameters=timing, sample_account=False) as stack,
    ):
        sessions = Sessions(stack)
        with console(stack) as (_, link), reader(browser, link) as (_, listed):
            form = "the form for a new session, which reads nothing"
            measure_first_paint(listed, table, form, f"{listed.url}/new", None)
            measure_first_paint(listed, table, f"the list of {FEW} sessions", listed.url)
        grew = measure_growth(stack, browser, sessions, arguments.polls, report)
        sessions.fill()
        with console(stack) as (_, link):
            with reader(browser, link) as (context, listed):
                measure_first_paint(listed, table, f"the list of {MANY:,} sessions", listed.url)
                measure_bytes(sessions, context, listed.url, table)
                measure_changes(sessions, listed, context.new_page(), context.new_page(), table)
            measure_calls(stack, browser, link, sessions, arguments.seconds, table)
        report.table(("Measured in Chromium", "budget", "median", "p95, or the value"), table.rows)
    report.say(f"Load average after: {os.getloadavg()[0]:.1f}.")
    if arguments.write:
        report.write()
    return int(table.exceeded or grew)


if __name__ == "__main__":
    sys.exit(main())

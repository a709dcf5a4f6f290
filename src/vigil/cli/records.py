"""Commands that show what is on record: sessions, lost events, logs, reports, and the state of the account."""

import webbrowser
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Column, Table

from vigil.artifacts import Artifacts
from vigil.attributes import iso
from vigil.cli.common import AsJson, Out, console, errors, field
from vigil.deployment import Deployment
from vigil.download import safe_files, safe_text
from vigil.errors import AwsUnavailable, InvalidArtifact, InvalidInput
from vigil.folder import prepare, write
from vigil.names import FINDINGS, PAGE, REPORT
from vigil.schedule import check_input
from vigil.session import Status, parse_status
from vigil.text import one_line, to_json, visible

LAST_STEPS = 5  # of a failed session, that `vigil show` prints
NEXT_RUNS = 3  # that `vigil schedule` prints
NO_SCHEDULE = (
    "no schedule: set one with `make deploy ARGS=\"--parameters Schedule='cron(0 8 ? * MON *)'\"`,"
    " or locally with `vigil local up --parameter Schedule='cron(0 8 ? * MON *)'`"
)
MAX_CAUSE = 200  # characters of a cause in a list; `vigil show` prints all of it


def sessions(
    status: Annotated[str | None, typer.Option(help="Only sessions in this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of sessions.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the newest sessions first."""
    deployment = Deployment()
    found = deployment.journal.recent(limit, parse_status(status) if status is not None else None)
    try:
        if count := deployment.count_dead_letters():
            what = "1 event" if count == 1 else f"{count} events"
            errors.say(f"{what} never became a session: `vigil lost` shows them", style="red")
    except AwsUnavailable as error:
        errors.say(f"the dead-letter queue cannot be read: {error}")
    if as_json:
        # An index holds less than a record: leave out what it lacks, instead of calling it null.
        records = [{name: value for name, value in asdict(item).items() if value is not None} for item in found]
        console.write(to_json(records) + "\n")
        return
    if not found:
        console.print("no sessions")
        return
    # A cut id could not be copied; only the cause may wrap.
    widths = {"session": 36, "status": 9, "started (UTC)": 19, "ended (UTC)": 19}
    columns = (Column(name, no_wrap=True, min_width=width) for name, width in widths.items())
    table = Table(*columns, "cause", box=None)
    for session in found:
        cause = f"waits: {session.waiting_for}" if session.waiting_for else ""
        if session.error:
            cause = f"{session.error.code}: {session.error.message}"
        times = (moment[:19].replace("T", " ") for moment in (session.start_time, session.ended_at or ""))
        cells = (session.session_id, session.status, *times, shorten(one_line(cause), MAX_CAUSE, placeholder=" …"))
        table.add_row(*(escape(one_line(cell)) for cell in cells))
    console.print_table(table)


def lost(
    resend: Annotated[bool, typer.Option("--resend", help="Start their sessions, each once.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the events that never became a session, or send them again."""
    deployment = Deployment()
    if not resend:
        letters = deployment.dead_letters()
        if as_json:
            console.write(to_json([asdict(letter) for letter in letters]) + "\n")
        for letter in letters if not as_json else ():
            console.say(f"event {letter.event_id} of {letter.time}: {letter.reason}")
        return
    results = []
    for result in deployment.resend_dead_letters():
        results.append(result)
        if result.refused:
            errors.say(f"message {result.letter.message_id} stays: {result.refused}", style="red")
        elif not as_json:
            console.say(f"{'started' if result.started else 'is a session already:'} {result.letter.event_id}")
    if as_json:
        console.write(to_json([asdict(result) for result in results]) + "\n")
    if any(result.refused for result in results):
        raise typer.Exit(1)


def schedule(as_json: AsJson = False) -> None:
    """Show when sessions start by themselves: the stack's schedule and its next runs."""
    found = Deployment().schedule()
    if found is None:
        if as_json:
            console.write("null\n")
        else:
            console.print(NO_SCHEDULE, markup=False)
        return
    runs, error = [], None
    try:
        check_input(found.detail)
        runs = found.next(NEXT_RUNS, datetime.now(UTC))
    except InvalidInput as refused:
        error = str(refused)
        errors.say(error, style="red")
    if as_json:
        computed = {"created_at": iso(found.created_at), "next_runs": [iso(run) for run in runs], "error": error}
        console.write(to_json(asdict(found) | computed) + "\n")
    else:
        for name in ("expression", "timezone", "detail", "state"):
            field(name, getattr(found, name))
        for run in runs:
            field("next run", f"{run.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, {run:%Y-%m-%d %H:%M:%S} {found.timezone}")
        if not runs and error is None:
            field("next run", "none")
    if error is not None:
        raise typer.Exit(1)


def show(session_id: str, as_json: AsJson = False) -> None:
    """Show a session's record and work phases, and how it failed."""
    journal = Deployment().journal
    session, found = journal.get(session_id), journal.snapshot(session_id)
    tasks, last_steps = found.tasks, found.steps[-LAST_STEPS:] if session.status == Status.FAILED else []
    if as_json:
        beside = {"phases": [*map(asdict, tasks)], "last_steps": [*map(asdict, last_steps)]}
        console.write(to_json(asdict(session) | beside) + "\n")
        return
    # The rest of what the next attempt needs is for programs.
    shown = {**asdict(session), "attempts": None, "steps_done": None, "checkpoint": None}
    shown["attempt"] = session.attempt if session.attempt > 1 else None
    if session.error:
        shown["error"] = f"{session.error.code}: {session.error.message}"
    if session.usage:
        shown["usage"] = f"{session.usage}, {session.usage.model}"
    if session.expires_at is not None:
        # An agent's role may have written a number that is no timestamp.
        with suppress(ValueError, OverflowError):
            shown["expires_at"] = iso(datetime.fromtimestamp(session.expires_at, UTC))
    for name, value in shown.items():
        if value is not None:
            field(name, value)
    for number, ended in enumerate(session.attempts, start=1):
        field("ended", f"attempt {number} at {ended.ended_at}: {ended}")
    for task in tasks:
        field("phase", f"{task.number} {task.name} {task.outcome}")
    for step in last_steps:
        field("step", f"{step.number} {step}")
    if last_steps:
        field("all steps", f"vigil trace {session_id}")


def logs(
    session_id: str,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the session has ended.")] = False,
) -> None:
    """Print what a session's agent printed and logged."""
    printed = False
    for line in Deployment().agent_log(session_id, follow=follow):
        console.write(f"{line.at} {line.text}".replace("\n", " ") + "\n")
        printed = True
    if not printed:
        errors.say("its agent has printed nothing, or the log does not hold it yet")


def report(
    session_id: str,
    report_format: Annotated[
        Literal["md", "html", "json"] | None,
        typer.Option("--format", help="Markdown, a page, or the findings as JSON; md, or html with --open."),
    ] = None,
    show_it: Annotated[bool, typer.Option("--open", help="Save it in a file and open that in the browser.")] = False,
    out: Out = Path("out"),
) -> None:
    """Print a session's report."""
    deployment = Deployment()
    session = deployment.journal.get(session_id)
    report_format = report_format or ("html" if show_it else "md")
    try:
        text = _rendered(deployment.artifacts(session_id), report_format, as_file=show_it)
    except InvalidArtifact as error:
        if session.status == Status.COMPLETED:
            raise
        raise InvalidArtifact(f"session {session_id} is {session.status}: {error}") from error
    if not show_it:
        console.write(text)
        return
    path = out / f"{session_id}.{report_format}"
    prepare(out)
    write(out, {path.name: text})
    opened = webbrowser.open(path.resolve().as_uri())
    console.say(f"opened {path}" if opened else f"could not open a browser; the report is in {path}")


def _rendered(artifacts: Artifacts, report_format: str, *, as_file: bool) -> str:
    if report_format == "json":
        return safe_text(artifacts, FINDINGS)
    if report_format == "html":
        files, left_out = safe_files(artifacts, artifacts.read(REPORT))
        for line in left_out:
            errors.say(f"left out: {line}", style="red")
        return files[PAGE]
    return safe_text(artifacts, REPORT) if as_file else visible(artifacts.read(REPORT))


def doctor(
    call_model: Annotated[
        bool, typer.Option("--model/--no-model", help="Call the model once, for a fraction of a cent.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Check account, region, quotas, model and stack; fails if there is a problem, and says what to do."""
    from vigil.doctor import examine
    from vigil.doctor.result import Verdict

    colours = {Verdict.OK: "green", Verdict.PROBLEM: "bold red", Verdict.NOT_CHECKED: "yellow"}
    results = []
    for result in examine(lambda: Deployment(), call_model=call_model):
        results.append(result)
        if not as_json:
            text = one_line(". ".join(filter(None, (result.what, result.remedy))))
            console.print(f"[{colours[result.status]}]{result.status:<11}[/]  {escape(text)}")
    if as_json:
        console.write(to_json([asdict(result) for result in results]) + "\n")
    if any(result.status == Verdict.PROBLEM for result in results):
        raise typer.Exit(1)

"""Shows a session live on the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import typer
from rich.markup import escape

from vigil.cli.common import console, errors
from vigil.deployment import Deployment
from vigil.text import one_line
from vigil.watch import SessionEvent, SessionOutcome, watch

WAITING = ("CheckStatus", "RouteByStatus", "WaitForChange", "WaitBeforeRetry")
"""States that a workflow passes again and again while its session runs."""


@contextmanager
def interruption(session_id: str) -> Iterator[None]:
    """Say how to go on when the user interrupts the watching of a session."""
    try:
        yield
    except KeyboardInterrupt:
        errors.say(
            f"session {session_id} goes on: `vigil watch {session_id}` shows it, `vigil stop {session_id}` ends it"
        )
        raise


def show_live(deployment: Deployment, session_id: str) -> SessionOutcome:
    """Print what happens to the session until it has ended."""
    begun: datetime | None = None
    polls, progress = 0, ""
    with console.status("waiting for the workflow") as status:
        for event in watch(deployment, session_id):
            if isinstance(event, SessionOutcome):
                return event
            begun = begun or event.at
            if event.kind == "progress":
                progress = f": {one_line(event.text)}"
                continue
            if event.kind == "workflow" and event.text in WAITING:
                polls += event.text == "CheckStatus"
                status.update(f"the agent works{escape(progress)} (status checked {polls} times)")
                if polls > 1:
                    continue
            console.print(_line(event, (event.at - begun).total_seconds()))
    raise AssertionError("watch ends with an outcome")


def _line(moment: SessionEvent, seconds: float) -> str:
    colour = {"workflow": "blue", "session": "bold magenta", "phase": "green"}[moment.kind]
    return f"{max(seconds, 0):8.1f} s  [{colour}]{moment.kind:<9}[/] {escape(one_line(moment.text))}"


def conclude(outcome: SessionOutcome) -> None:
    """Print how the session ended; exits with 1 if it failed."""
    if outcome.usage:
        console.print(f"model: {outcome.usage}")
    if outcome.completed:
        console.print(f"[bold green]COMPLETED[/] after {outcome.seconds:.1f} s")
        return
    errors.print(f"[bold red]FAILED[/] after {outcome.seconds:.1f} s  ", end="")
    errors.say(f"{outcome.code}: {outcome.message or 'no cause was recorded'}")
    raise typer.Exit(1)

"""The command that shows all that is on record of a session."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from vigil.cli.common import AsJson, console, errors, field
from vigil.cli.run import COLOURS, show_live
from vigil.deployment import Deployment
from vigil.errors import InvalidInput
from vigil.step import Excerpt, Step
from vigil.text import one_line, to_json
from vigil.trace import Trace


def trace(
    session_id: str,
    follow: Annotated[bool, typer.Option("--follow", help="First show it live until it has ended.")] = False,
    number: Annotated[int | None, typer.Option("--step", min=1, help="Show only this step, in full.")] = None,
    as_json: AsJson = False,
    otlp: Annotated[bool, typer.Option("--otlp", help="Print it for OpenTelemetry, as OTLP JSON.")] = False,
) -> None:
    """Show a session as a tree in time, with its model and tool calls."""
    if as_json + otlp + follow > 1:
        raise InvalidInput("--follow, --json and --otlp exclude each other")
    if number is not None and (otlp or follow):
        raise InvalidInput("--step goes with no other option but --json")
    deployment = Deployment()
    if follow:
        show_live(deployment, session_id)
    found = Trace.read(deployment, session_id)
    if number is not None:
        _show_step(_step(found, number), as_json)
    elif as_json:
        console.write(to_json(asdict(found)) + "\n")
    elif otlp:
        from vigil.otlp import to_otlp

        console.write(to_json(to_otlp(found)) + "\n")
    else:
        _show_tree(found)


def _step(found: Trace, number: int) -> Step:
    for step in found.steps:
        if step.number == number:
            return step
    raise InvalidInput(f"--step: session {found.session.session_id} keeps no step {number}; `vigil trace` lists them")


def _show_tree(found: Trace) -> None:
    for seconds, depth, span in found.root.lines(found.session.start_time):
        colour = COLOURS.get(span.kind, "bold" if depth == 0 else "blue")
        # Text, and no markup: rich takes a backslash at the end of a name for the escape of what follows.
        console.print(Text.assemble(f"{seconds:8.1f} s  {'  ' * depth}", (one_line(str(span)), colour)))
    session = found.session
    if found.dropped_steps:
        console.say(f"{found.dropped_steps} steps between the first and the last are not kept")
    usage = f", {session.usage}" if session.usage else ""
    cause = f": {session.error.code}: {session.error.message}" if session.error else ""
    ran = ", ".join(f"{step.number} {step.kind} {step.name}" for step in found.steps_at_end) if cause else ""
    console.say(f"{session.status} after {session.step_count or 0} steps{f', in {ran}' if ran else ''}{usage}{cause}")
    if not found.states:
        errors.say("the workflow's states are gone: Step Functions keeps them for 90 days")


def _show_step(step: Step, as_json: bool) -> None:
    if as_json:
        console.write(to_json(asdict(step)) + "\n")
        return
    for name, value in asdict(step).items():
        if value is not None and name not in ("input", "output", "usage"):
            field(name, value)
    if step.usage:
        field("usage", step.usage)
    _show_excerpt("input", step.input)
    _show_excerpt("output", step.output)


def _show_excerpt(name: str, excerpt: Excerpt | None) -> None:
    if excerpt is None:
        return
    cut = "" if excerpt.length <= len(excerpt.text) else f", of which the first {len(excerpt.text):,} are kept"
    field(name, f"{excerpt.length:,} characters{cut}, SHA-256 {excerpt.sha256}")
    console.write(excerpt.text + "\n")

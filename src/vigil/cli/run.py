"""Commands that start, watch and stop sessions."""

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from vigil.agent.package import agent_input, offered
from vigil.cli.common import Agent, AgentEnv, AsJson, Days, Detail, Functions, Model, Out, Regions, console, errors
from vigil.cli.local import agent_environment, started
from vigil.deployment import NO_REASON, Deployment
from vigil.download import safe_files
from vigil.errors import AwsUnavailable, EnvironmentProblem, InvalidInput, LocalStackError
from vigil.folder import Save, claimed, not_saved_by_vigil
from vigil.local import AGENT_LOG
from vigil.names import FINDINGS, PAGE, REPORT, Env
from vigil.settings import DEFAULT_AGENT, MAX_SCAN_DOLLARS, MAX_SESSION_SECONDS
from vigil.text import one_line, to_json, visible
from vigil.trace import WAITING
from vigil.watch import SessionOutcome, await_end
from vigil.watch import watch as watch_session

COLOURS = {"workflow": "blue", "session": "bold magenta", "phase": "green"}
COLOURS |= {"model": "cyan", "tool": "yellow", "step": "yellow"}


def _detail(detail: str | None, regions: list[str] | None, days: int | None, functions: str | None) -> Any:
    return agent_input(detail, {"regions": regions, "days": days, "functions": functions}, "--detail")


def run(
    context: typer.Context,
    detail: Detail = None,
    regions: Regions = None,
    days: Days = None,
    functions: Functions = None,
    out: Out = Path("out"),
    local: Annotated[bool, typer.Option("--local", help="Bring up a local stack for this one session.")] = False,
    agent: Agent = None,
    model: Model = None,
    agent_env: AgentEnv = None,
) -> None:
    """Start a session, watch it to its end and save its report."""
    console.outlive_reader()
    agent_input = _detail(detail, regions, days, functions)
    if not local:
        for name in ("agent", "model", "agent_env"):
            if (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE":
                option = f"--{name.replace('_', '-')}"
                raise InvalidInput(f"{option} is for --local: a stack that is deployed has its own agent and model")
        with claimed(out) as save:
            _run(Deployment(), agent_input, out, save)
        return
    from vigil.invoker import parse

    environment = agent_environment(agent, model, agent_env)
    # What the invoker or the agent would refuse is refused before the stack starts.
    _, for_agent = parse({"session_id": "0" * 36, "detail": agent_input}, MAX_SESSION_SECONDS)
    if environment.get(Env.AGENT, DEFAULT_AGENT) == DEFAULT_AGENT:
        offered("check_detail")(for_agent, MAX_SCAN_DOLLARS)
    with claimed(out) as save, started(agent_environment=environment) as stack:
        try:
            _run(Deployment(stack.session()), agent_input, out, save, stays=False)
        except AwsUnavailable as error:
            raise LocalStackError(stack.how_it_died() or str(error)) from error
        finally:
            # The log is deleted with the stack, whose only session this was.
            if stack.agent_log.exists():
                save({AGENT_LOG: visible(stack.agent_log.read_text(encoding="utf-8", errors="replace"))})
                console.say(f"the agent's log: {out / AGENT_LOG}")


def _run(deployment: Deployment, detail: Any, out: Path, save: Save, *, stays: bool = True) -> None:
    session_id = deployment.trigger(detail)
    console.print(f"session [bold]{session_id}[/]")
    outcome = show_live(deployment, session_id, stays=stays)
    try:
        if outcome.completed:
            _save_report(deployment, session_id, out, save, stays=stays)
        else:
            save({})
    finally:
        _conclude(outcome)


def _save_report(deployment: Deployment, session_id: str, out: Path, save: Save, *, stays: bool) -> None:
    """Save the session's files and print the summary of its report, or all of it if it would be lost."""
    artifacts = deployment.artifacts(session_id)
    report = artifacts.read(REPORT)
    files, left_out = safe_files(artifacts, report)
    for name in not_saved_by_vigil(out, set(files) - {REPORT, PAGE, FINDINGS}):
        del files[name]
        left_out.append(f"{name}: {out / name} is a file that vigil did not save")
    for line in left_out:
        errors.say(f"left out: {line}", style="red")
    try:
        save(files)
        problem = None
    except EnvironmentProblem as error:
        problem = error
    # The report's part before its second section is its summary.
    head = re.split(r"^## (?!Summary)", report, maxsplit=1, flags=re.MULTILINE)[0].strip()
    console.rule()
    console.write_markdown(head if stays or problem is None else report)
    console.rule()
    if problem:
        again = f"`vigil report {session_id}` prints the report" if stays else "the report stands above, whole"
        errors.say(f"vigil: {problem}; {again}", style="red")
        raise typer.Exit(1)
    charts = " with charts" if any(name.endswith(".svg") for name in files) else ""
    console.say(f"full report: {out / REPORT}")
    console.say(f"as a page{charts}: {out / PAGE}")


def trigger(
    detail: Detail = None,
    regions: Regions = None,
    days: Days = None,
    functions: Functions = None,
    as_json: AsJson = False,
) -> None:
    """Publish the event that starts a session and print the session's id."""
    _trigger(Deployment(), _detail(detail, regions, days, functions), as_json)


def retry(session_id: str, as_json: AsJson = False) -> None:
    """Start a session with the input of another one and print its id."""
    deployment = Deployment()
    _trigger(deployment, deployment.journal.get(session_id).input(), as_json)


def _trigger(deployment: Deployment, detail: Any, as_json: bool) -> None:
    session_id = deployment.trigger(detail)
    if as_json:
        console.write(to_json({"session_id": session_id}) + "\n")
    else:
        console.say(session_id)


def watch(session_id: str) -> None:
    """Show a session live until it ends; fails if the session fails."""
    console.outlive_reader()
    _conclude(show_live(Deployment(), session_id))


def stop(
    session_id: str,
    reason: Annotated[str, typer.Option(help="The reason, which the record of the session keeps.")] = NO_REASON,
) -> None:
    """Stop a session: it fails as StoppedByOperator, and its agent and its workflow end."""
    deployment = Deployment()
    deployment.await_session(session_id)
    deployment.stop(session_id, reason)
    console.say(f"stopped {session_id}")
    try:
        with console.status("its workflow ends"):
            await_end(deployment, session_id)
    except AwsUnavailable as error:
        # The session itself has ended.
        errors.say(f"its workflow: {error}")


def show_live(deployment: Deployment, session_id: str, *, stays: bool = True) -> SessionOutcome:
    """Print what happens to the session until it has ended, or how to go on if the user interrupts and it ``stays``."""
    begun: datetime | None = None
    polls, progress = 0, ""
    try:
        with console.status("waiting for the workflow") as status:
            for event in watch_session(deployment, session_id):
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
                when = f"{max((event.at - begun).total_seconds(), 0):8.1f} s"
                console.print(f"{when}  [{COLOURS[event.kind]}]{event.kind:<9}[/] {escape(one_line(event.text))}")
    except KeyboardInterrupt:
        if stays:
            how = f"`vigil watch {session_id}` shows it, `vigil stop {session_id}` ends it"
            errors.say(f"session {session_id} goes on: {how}")
        raise
    raise AssertionError("watch ends with an outcome")


def _conclude(outcome: SessionOutcome) -> None:
    """Print how the session ended; exits with 1 if it failed."""
    if outcome.usage:
        console.print(f"model: {outcome.usage}")
    if outcome.completed:
        console.print(f"[bold green]COMPLETED[/] after {outcome.seconds:.1f} s")
        return
    errors.print(f"[bold red]FAILED[/] after {outcome.seconds:.1f} s  ", end="")
    errors.say(f"{outcome.code}: {outcome.message or 'no cause was recorded'}")
    raise typer.Exit(1)

"""``vigil``: start sessions, watch them and read their reports, on AWS or on a local stack. No logic."""

import dataclasses
import json
import os
import re
import signal
import sys
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version as package_version
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table
from typer.exceptions import TyperException

from vigil.artifacts import Artifacts
from vigil.deployment import NO_REASON, Deployment, connection_advice, is_local
from vigil.errors import (
    AwsUnavailable,
    EnvironmentProblem,
    InvalidArtifact,
    InvalidDetail,
    InvalidInput,
    LocalStackError,
    VigilError,
)
from vigil.extras import require_extras
from vigil.folder import Save, claimed, prepare, write
from vigil.local import AGENT_LOG
from vigil.names import BY_FINDING, BY_FUNCTION, FINDINGS, PAGE, RENDERED, REPORT, Env, Parameter
from vigil.session import Status, iso, parse_status
from vigil.settings import DEFAULT_AGENT, MAX_SESSION_SECONDS, require
from vigil.terminal import Terminal
from vigil.text import one_line, quote, to_json, visible
from vigil.watch import Moment, Outcome, await_end, watch

HELP = "Start sessions, watch them and read their reports, on AWS or on a local stack."

app = typer.Typer(
    no_args_is_help=True,
    help=HELP,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
local_app = typer.Typer(no_args_is_help=True, help="Run the whole of Vigil on this machine.")
app.add_typer(local_app, name="local")
console, errors = Terminal(), Terminal(stderr=True)


def _not_empty(given: str | None) -> str | None:
    # As the shell gives a variable that is not set.
    if given == "":
        raise typer.BadParameter("it must not be empty")
    return given


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Detail = Annotated[str | None, typer.Option(help="The agent's whole input as a JSON object.")]
Regions = Annotated[list[str] | None, typer.Option("--region", help="A region to analyse; may be repeated.")]
Days = Annotated[int | None, typer.Option(help="How many days back to look.")]
Functions = Annotated[str | None, typer.Option(help="Only functions whose name matches, such as 'orders-*'.")]
AgentFactory = Annotated[
    str | None,
    typer.Option(
        callback=_not_empty, envvar=Env.AGENT, help="Local stack: factory of the agent, package.module:factory."
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option(
        callback=_not_empty, envvar=Env.MODEL, help="Local stack: Bedrock model id, or provider/model of Strands."
    ),
]
AgentEnv = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Local stack: pass this variable on to the agent, such as an API key."),
]
MAX_CAUSE = 200
"""Characters of a cause in a list; `vigil show` prints all of it."""
WAITING = ("CheckStatus", "EvaluateStatus", "WaitForChange", "WaitBriefly")
"""States that a workflow passes again and again while its session runs."""

SAVED = (*RENDERED, AGENT_LOG)
"""All files that ``vigil run`` may save of a session."""


def _folder(given: str | Path) -> Path:
    # Path("") is the current folder.
    if not str(given):
        raise typer.BadParameter("it must name a folder in which you may create files, such as '.'")
    return Path(given)


Out = Annotated[Path, typer.Option(parser=_folder, metavar="<path>", help="Folder for the files that are saved.")]

LOCAL_AWS = ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION")
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""What `vigil local env` sets, and a profile comes instead of."""


class Form(StrEnum):
    """What a report is printed as, and how its file ends."""

    MD = "md"
    HTML = "html"
    JSON = "json"


def _say_version(asked: bool) -> None:
    if asked:
        console.say(f"vigil {package_version('vigil')}")
        raise typer.Exit


@app.callback()
def where(
    profile: Annotated[
        str | None,
        typer.Option(callback=_not_empty, help="AWS profile to use, instead of AWS_PROFILE or any other credentials."),
    ] = None,
    aws_region: Annotated[
        str | None, typer.Option(callback=_not_empty, help="Region in which Vigil is deployed, instead of AWS_REGION.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take what is for every command."""
    if profile:
        # All SDKs prefer keys of the environment to a profile of the environment.
        for name in (*KEYS, *(LOCAL_AWS if is_local(os.environ.get("AWS_ENDPOINT_URL", "")) else ())):
            os.environ.pop(name, None)
        os.environ["AWS_PROFILE"] = profile
    if aws_region:
        os.environ["AWS_REGION"] = aws_region


def _detail(detail: str | None, regions: list[str] | None, days: int | None, functions: str | None) -> Any:
    given = {"regions": regions, "days": days, "functions": functions}
    given = {name: value for name, value in given.items() if value is not None and value != []}
    if detail is None:
        if given:
            from vigil.costs.request import parse_request

            # These are the cost agent's; of the input of another, only that one knows what is right.
            parse_request(given, "us-east-1")
        return given
    if given:
        raise InvalidDetail(f"--detail is the whole input: leave out {', '.join(given)}")
    try:
        return json.loads(detail)
    except (ValueError, RecursionError) as error:
        raise InvalidDetail(f"--detail is not JSON: {error}") from error


@app.command()
def run(
    context: typer.Context,
    detail: Detail = None,
    regions: Regions = None,
    days: Days = None,
    functions: Functions = None,
    out: Out = Path("out"),
    local: Annotated[bool, typer.Option("--local", help="Bring up a local stack for this one session.")] = False,
    agent: AgentFactory = None,
    model: ModelName = None,
    agent_env: AgentEnv = None,
) -> None:
    """Start a session, watch it to its end and save its report."""
    console.outlive_reader()
    given = _detail(detail, regions, days, functions)
    if not local:
        _refuse(context, "agent", "model", "agent_env")
        with claimed(out, SAVED) as save:
            _run(Deployment(), given, out, save)
        return
    require_extras("cli", "local", "infra")
    from vigil.local.stack import LocalStack

    environment = _agent_environment(agent, model, agent_env)
    _check_detail(given, environment.get(Env.AGENT, DEFAULT_AGENT))
    with ExitStack() as stopping:
        save = stopping.enter_context(claimed(out, SAVED))
        with _steps() as progress:
            stack = stopping.enter_context(LocalStack.start(agent_environment=environment, progress=progress))
        try:
            _run(Deployment(stack.session()), given, out, save, stays=False)
        except AwsUnavailable as error:
            raise LocalStackError(stack.how_it_died() or str(error)) from error
        finally:
            # It goes with the stack, whose only session this was.
            if stack.agent_log.exists():
                save({AGENT_LOG: visible(stack.agent_log.read_text(encoding="utf-8", errors="replace"))})
                console.say(f"the agent's log: {out / AGENT_LOG}")


def _run(deployment: Deployment, detail: Any, out: Path, save: Save, *, stays: bool = True) -> None:
    session_id = deployment.trigger(detail)
    console.print(f"session [bold]{session_id}[/]")
    with _interruption(session_id) if stays else nullcontext():
        outcome = _watch(deployment, session_id)
    try:
        if outcome.completed:
            _save_report(deployment, session_id, out, save, stays=stays)
        else:
            save({})
    finally:
        _conclude(outcome)


@contextmanager
def _interruption(session_id: str) -> Iterator[None]:
    """Say what becomes of a session that is not watched to its end."""
    try:
        yield
    except KeyboardInterrupt:
        errors.say(
            f"session {session_id} goes on: `vigil watch {session_id}` shows it, `vigil stop {session_id}` ends it"
        )
        raise


def _watch(deployment: Deployment, session_id: str) -> Outcome:
    begun: datetime | None = None
    polls, progress = 0, ""
    with console.status("waiting for the workflow") as status:
        for event in watch(deployment, session_id):
            if isinstance(event, Outcome):
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


def _line(moment: Moment, seconds: float) -> str:
    colour = {"workflow": "blue", "session": "bold magenta", "phase": "green"}[moment.kind]
    return f"{max(seconds, 0):8.1f} s  [{colour}]{moment.kind:<9}[/] {escape(one_line(moment.text))}"


def _conclude(outcome: Outcome) -> None:
    if outcome.usage:
        console.print(f"model: {outcome.usage}")
    if outcome.completed:
        console.print(f"[bold green]COMPLETED[/] after {outcome.seconds:.1f} s")
        return
    errors.print(f"[bold red]FAILED[/] after {outcome.seconds:.1f} s  ", end="")
    errors.say(f"{outcome.code}: {outcome.message or 'no cause was recorded'}")
    raise typer.Exit(1)


def _save_report(deployment: Deployment, session_id: str, out: Path, save: Save, *, stays: bool) -> None:
    """Save the session's report and print its summary; all of it if it was not saved and cannot be read again."""
    from vigil.costs.page import readable_markdown, render_page

    artifacts = deployment.artifacts(session_id)
    report = artifacts.read(REPORT)
    svgs = _charts(artifacts)
    texts = {**svgs, PAGE: render_page(report, svgs), REPORT: readable_markdown(report)}
    if artifacts.exists(FINDINGS):
        try:
            texts = {FINDINGS: _findings(artifacts), **texts}
        except InvalidArtifact as error:
            errors.say(f"left out: {error}", style="red")
    try:
        save(texts)
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
    console.say(f"full report: {out / REPORT}")
    console.say(f"as a page{' with charts' if svgs else ''}: {out / PAGE}")


def _charts(artifacts: Artifacts) -> dict[str, str]:
    """Return the session's charts by name, drawn anew from what it saved; says so of one that cannot be."""
    from vigil.costs.svg import redrawn

    svgs = {}
    for name in filter(artifacts.exists, (BY_FINDING, BY_FUNCTION)):
        try:
            svgs[name] = redrawn(artifacts.read(name))
        except InvalidArtifact as error:
            errors.say(f"left out: {name}: {error}", style="red")
    return svgs


def _findings(artifacts: Artifacts) -> str:
    """Return the session's findings as JSON; raises InvalidArtifact if what it saved is none."""
    try:
        return to_json(json.loads(artifacts.read(FINDINGS)), indent=2) + "\n"
    except (ValueError, RecursionError) as error:
        raise InvalidArtifact(f"{FINDINGS} of this session is not JSON: {error}") from error


@app.command()
def trigger(
    detail: Detail = None,
    regions: Regions = None,
    days: Days = None,
    functions: Functions = None,
    as_json: AsJson = False,
) -> None:
    """Publish the event that starts a session and print the session's id."""
    _trigger(Deployment(), _detail(detail, regions, days, functions), as_json)


@app.command()
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


@app.command("watch")
def watch_command(session_id: str) -> None:
    """Show a session live until it ends; fails if the session fails."""
    console.outlive_reader()
    deployment = Deployment()
    with _interruption(session_id):
        outcome = _watch(deployment, session_id)
    _conclude(outcome)


@app.command()
def stop(
    session_id: str,
    reason: Annotated[str, typer.Option(help="The reason, which the record of the session keeps.")] = NO_REASON,
) -> None:
    """Stop a session: it fails as StoppedByOperator, and its agent and its workflow end."""
    deployment = Deployment()
    deployment.stop(session_id, reason)
    console.say(f"stopped {session_id}")
    try:
        with console.status("its workflow ends"):
            await_end(deployment, session_id)
    except AwsUnavailable as error:
        # The session has ended all the same.
        errors.say(f"its workflow: {error}")


@app.command()
def sessions(
    status: Annotated[str | None, typer.Option(help="Only sessions in this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the newest sessions first."""
    deployment = Deployment()
    found = deployment.journal.recent(limit, parse_status(status) if status is not None else None)
    _tell_dead_letters(deployment)
    if as_json:
        # An index holds less than a record: what is not in it is left out, and not told to be nothing.
        held = [
            {name: value for name, value in dataclasses.asdict(session).items() if value is not None}
            for session in found
        ]
        console.write(to_json(held) + "\n")
        return
    if not found:
        console.print("no sessions")
        return
    # An id that is cut cannot be copied; the cause folds instead.
    whole = {"session": 36, "status": 9, "started (UTC)": 19, "ended (UTC)": 19}
    columns = (Column(name, no_wrap=True, min_width=width) for name, width in whole.items())
    table = Table(*columns, "cause", box=None)
    for session in found:
        cause = f"waits: {session.waiting_for}" if session.waiting_for else ""
        if session.error:
            cause = f"{session.error.code}: {session.error.message}"
        times = (moment[:19].replace("T", " ") for moment in (session.start_time, session.ended_at or ""))
        cells = (session.session_id, session.status, *times, shorten(one_line(cause), MAX_CAUSE, placeholder=" …"))
        table.add_row(*(escape(one_line(cell)) for cell in cells))
    console.print_table(table)


def _tell_dead_letters(deployment: Deployment) -> None:
    """Say on standard error, which no script reads as sessions, how many events never became one."""
    try:
        lost = deployment.count_dead_letters()
    except AwsUnavailable as error:
        errors.say(f"the dead-letter queue cannot be read: {error}")
        return
    if lost:
        errors.say(f"{lost} events never became a session: `vigil lost` shows them", style="red")


@app.command()
def lost(
    resend: Annotated[bool, typer.Option("--resend", help="Start their sessions, each once.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the events that never became a session, or send them again."""
    deployment = Deployment()
    if not resend:
        letters = deployment.dead_letters()
        if as_json:
            console.write(to_json([dataclasses.asdict(letter) for letter in letters]) + "\n")
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
        console.write(to_json([dataclasses.asdict(result) for result in results]) + "\n")
    if any(result.refused for result in results):
        raise typer.Exit(1)


@app.command()
def show(session_id: str, as_json: AsJson = False) -> None:
    """Show a session's record and its work phases."""
    journal = Deployment().journal
    session, tasks = journal.get(session_id), journal.tasks(session_id)
    record = {**dataclasses.asdict(session), "phases": [dataclasses.asdict(task) for task in tasks]}
    if as_json:
        console.write(to_json(record) + "\n")
        return
    for name, value in dataclasses.asdict(session).items():
        if name == "error" and value:
            value = f"{value['code']}: {value['message']}"
        if name == "usage" and value:
            value = f"{session.usage}, {value['model']}"
        if name == "expires_at" and value is not None:
            # An agent's role may have written a number that is no moment.
            with suppress(ValueError, OverflowError):
                value = iso(datetime.fromtimestamp(value, UTC))
        if value is not None:
            _field(name, value)
    for task in tasks:
        _field("phase", f"{task.number} {task.name} {task.outcome}")


def _field(name: str, value: object) -> None:
    console.print(f"{name:<14} {one_line(str(value))}", markup=False)


@app.command()
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


@app.command()
def report(
    session_id: str,
    form: Annotated[
        Form | None,
        typer.Option("--format", help="Markdown, a page, or the findings as JSON; md, or html with --open."),
    ] = None,
    findings: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    show_it: Annotated[bool, typer.Option("--open", help="Save it in a file and open that in the browser.")] = False,
    out: Out = Path("out"),
) -> None:
    """Print a session's report."""
    deployment = Deployment()
    session = deployment.journal.get(session_id)
    form = Form.JSON if findings else form or (Form.HTML if show_it else Form.MD)
    try:
        text = _rendered(deployment.artifacts(session_id), form, as_file=show_it)
    except InvalidArtifact as error:
        if session.status == Status.COMPLETED:
            raise
        raise InvalidArtifact(f"session {session_id} is {session.status}: {error}") from error
    if not show_it:
        console.write(text)
        return
    path = out / f"{session_id}.{form}"
    prepare(out)
    write(out, {path.name: text})
    opened = webbrowser.open(path.resolve().as_uri())
    console.say(f"opened {path}" if opened else f"no browser was found to open {path} with")


def _rendered(artifacts: Artifacts, form: Form, *, as_file: bool) -> str:
    from vigil.costs.page import readable_markdown, render_page

    if form == Form.JSON:
        return _findings(artifacts)
    report = artifacts.read(REPORT)
    if form == Form.HTML:
        # The page that the agent saved is the agent's: it may hold a script.
        return render_page(report, _charts(artifacts))
    return readable_markdown(report) if as_file else visible(report)


@app.command("doctor")
def doctor_command(
    call_model: Annotated[
        bool, typer.Option("--model/--no-model", help="Call the model once, for a fraction of a cent.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Check account, region, quotas, model and stack; fails if there is a problem, and says what to do."""
    from vigil.doctor import Status as Checked
    from vigil.doctor import examine

    colours = {Checked.OK: "green", Checked.PROBLEM: "bold red", Checked.NOT_CHECKED: "yellow"}
    findings = []
    for finding in examine(lambda: Deployment(), call_model=call_model):
        findings.append(finding)
        if not as_json:
            text = one_line(". ".join(filter(None, (finding.what, finding.remedy))))
            console.print(f"[{colours[finding.status]}]{finding.status:<11}[/]  {escape(text)}")
    if as_json:
        console.write(to_json([dataclasses.asdict(finding) for finding in findings]) + "\n")
    if any(finding.status == Checked.PROBLEM for finding in findings):
        raise typer.Exit(1)


@local_app.command("up")
def local_up(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on the loopback address; 0 takes a free one.")
    ] = 4566,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--parameter", metavar="NAME=VALUE", help="A parameter of the template; may be repeated."),
    ] = None,
    sample_account: Annotated[bool, typer.Option(help="Seed an account to analyse.")] = True,
    agent: AgentFactory = None,
    model: ModelName = None,
    agent_env: AgentEnv = None,
) -> None:
    """Start the embedded AWS with Vigil in it; stays in the foreground until Ctrl-C."""
    require_extras("cli", "local", "infra")
    from vigil.local import lockfile
    from vigil.local.stack import LocalStack

    environment = _agent_environment(agent, model, agent_env)
    with lockfile.claim() as announce, ExitStack() as stopping:
        with _steps() as progress:
            stack = stopping.enter_context(
                LocalStack.start(
                    port,
                    agent_environment=environment,
                    parameters=_parameters(parameters),
                    sample_account=sample_account,
                    progress=progress,
                )
            )
        try:
            announce(stack)
            console.print(f"[bold]local stack[/] at {stack.endpoint}, IAM enforced; Ctrl-C stops it")
            for name, value in stack.outputs.items():
                _field(f"  {name:<22}", value)
            _field(f"  {'the agent logs to':<22}", stack.agent_log)
            console.print("in another terminal: eval $(vigil local env) && vigil run")
            stack.process.wait()
        except KeyboardInterrupt:
            console.print("stopping")
            return
        raise LocalStackError(stack.how_it_died())


@local_app.command("env")
def local_env() -> None:
    """Print exports that lead the AWS CLI, any SDK and vigil to the local stack."""
    from vigil.local import lockfile
    from vigil.local.server import HOST

    for name, value in lockfile.require().environment.items():
        print(f"export {name}={quote(value)};")
    # A proxy of the machine is for AWS. Which of the two is read depends on the program.
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [host for host in os.environ.get(name, "").split(",") if host not in ("", HOST)]
        print(f"export {name}={quote(','.join([*hosts, HOST]))};")
    # These would win over the credentials. The semicolons are for an eval without quotes.
    print("unset AWS_PROFILE AWS_DEFAULT_PROFILE AWS_SESSION_TOKEN;")


@local_app.command("status")
def local_status(as_json: AsJson = False) -> None:
    """Say whether a local stack runs; fails if none does."""
    from vigil.local import lockfile

    stack = lockfile.require()
    if as_json:
        console.write(to_json(dataclasses.asdict(stack)) + "\n")
    else:
        console.say(
            f"running at {stack.endpoint} since {stack.started}, process {stack.pid}; the agent logs to {stack.log}"
        )


@local_app.command("down")
def local_down() -> None:
    """Stop the local stack."""
    from vigil.local import lockfile

    stack = lockfile.require()
    stack.stop()
    console.say(f"stopped the local stack at {stack.endpoint}")


def _refuse(context: typer.Context, *names: str) -> None:
    """Raise InvalidInput for an option that was typed and does nothing without --local."""
    for name in names:
        if (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE":
            option = f"--{name.replace('_', '-')}"
            raise InvalidInput(f"{option} is for --local: a stack that is deployed has its own agent and model")


def _check_detail(detail: Any, agent: str) -> None:
    """Raise InvalidDetail for what the session would fail with, as far as it can be known before."""
    from vigil.costs.request import parse_request
    from vigil.invoker import parse

    _, seen = parse({"session_id": "0" * 36, "detail": detail}, MAX_SESSION_SECONDS)
    if agent == DEFAULT_AGENT:
        parse_request(seen, "us-east-1")


def _agent_environment(agent: str | None, model: str | None, names: list[str] | None) -> dict[str, str]:
    from vigil.local.stack import check_agent

    environment = {name: require(os.environ, name) for name in names or ()}
    environment |= {name: value for name, value in ((Env.AGENT, agent), (Env.MODEL, model)) if value}
    check_agent(environment)
    return environment


def _parameters(given: list[str] | None) -> dict[str, str]:
    parameters = {name: value for name, separator, value in (word.partition("=") for word in given or ()) if separator}
    if len(parameters) != len(given or ()) or not set(parameters) <= set(Parameter):
        raise LocalStackError(f"--parameter takes NAME=VALUE, each NAME once, of: {', '.join(Parameter)}")
    return parameters


@contextmanager
def _steps() -> Iterator[Callable[[str], None]]:
    with console.status("") as status:

        def progress(step: str) -> None:
            status.update(f"{step} ...")
            console.print(f"[dim]{step}[/]")

        yield progress


def main() -> None:
    """Run the command line; what a user can cause ends in one line and status 1 or 2, an interruption in 130.

    A command whose reader closed the pipe ends in 141, but run and watch go on until the session has ended.
    """
    for ending in (signal.SIGTERM, signal.SIGHUP):
        # As Ctrl-C, so that a local stack is taken down whoever asks; but nohup keeps its word.
        if signal.getsignal(ending) != signal.SIG_IGN:
            signal.signal(ending, signal.default_int_handler)
    console.take_over()
    errors.take_over()
    status = _run_command()
    sys.exit((console.stream and console.stream.ending()) or status)


def _run_command() -> int | None:
    """Run the command and return its exit status."""
    try:
        status: int | None = app(standalone_mode=False)
        return status
    except TyperException as error:
        # What was typed is repeated in it; of a command without arguments, its help has been printed.
        if said := error.format_message():
            errors.say(f"vigil: {said}", style="red")
        return error.exit_code
    except (VigilError, OSError) as error:
        errors.say(f"vigil: {'; '.join(filter(None, (str(error), connection_advice(error))))}", style="red")
        return 1


if __name__ == "__main__":
    main()

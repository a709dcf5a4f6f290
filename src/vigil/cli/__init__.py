"""``vigil``: start sessions, watch them and read their reports, on AWS or on a local stack."""

import os
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version as package_version
from typing import Annotated

import typer
from typer.exceptions import TyperException

from vigil.cli import console as console_command
from vigil.cli import local, records, run, trace
from vigil.cli.common import console, errors, not_empty
from vigil.deployment import connection_advice, is_local
from vigil.errors import VigilError

app = typer.Typer(
    no_args_is_help=True,
    help="Start sessions, watch them and read their reports, on AWS or on a local stack.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
LOCAL_AWS = ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION")
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""Variables that `vigil local env` sets and a profile replaces."""


def _say_version(asked: bool) -> None:
    if asked:
        console.say(f"vigil {package_version('vigil')}")
        raise typer.Exit


@app.callback()
def where(
    profile: Annotated[
        str | None,
        typer.Option(callback=not_empty, help="AWS profile to use, instead of AWS_PROFILE or any other credentials."),
    ] = None,
    aws_region: Annotated[
        str | None, typer.Option(callback=not_empty, help="Region in which Vigil is deployed, instead of AWS_REGION.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Apply the options of every command."""
    if profile:
        # SDKs prefer keys of the environment to a profile.
        for name in (*KEYS, *(LOCAL_AWS if is_local(os.environ.get("AWS_ENDPOINT_URL", "")) else ())):
            os.environ.pop(name, None)
        os.environ["AWS_PROFILE"] = profile
    if aws_region:
        os.environ["AWS_REGION"] = aws_region


commands: list[Callable[..., None]] = [run.run, run.trigger, run.retry, run.watch, run.stop]
commands += [records.sessions, records.lost, records.schedule, records.show, trace.trace]
commands += [records.logs, records.report, records.doctor]
commands += [console_command.console]
for command in commands:
    app.command()(command)
local_app = typer.Typer(no_args_is_help=True, help="Run the whole of Vigil on this machine.")
local_commands: tuple[Callable[..., None], ...] = (local.up, local.env, local.status, local.down)
for command in local_commands:
    local_app.command()(command)
app.add_typer(local_app, name="local")


def main() -> None:
    """Run the command line. An error that a user can cause is one line and status 1 or 2, an interruption is 130.

    A command whose reader closed the pipe ends with 141; run and watch go on until the session has ended.
    """
    for ending in (signal.SIGTERM, signal.SIGHUP):
        # As Ctrl-C: the command stops its local stack. A signal that nohup ignores stays ignored.
        if signal.getsignal(ending) != signal.SIG_IGN:
            signal.signal(ending, signal.default_int_handler)
    console.take_over()
    errors.take_over()
    status: int | None
    try:
        status = app(standalone_mode=False)
    except TyperException as error:
        # The message may repeat what the user typed. It is empty if the help was printed instead.
        if message := error.format_message():
            errors.say(f"vigil: {message}", style="red")
        status = error.exit_code
    except (VigilError, OSError) as error:
        errors.say(f"vigil: {'; '.join(filter(None, (str(error), connection_advice(error))))}", style="red")
        status = 1
    sys.exit((console.stream and console.stream.ending()) or status)

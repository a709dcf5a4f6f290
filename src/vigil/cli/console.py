"""The command that serves the console."""

import os
import webbrowser
from contextlib import suppress
from typing import Annotated

import typer

from vigil.cli.common import console as terminal
from vigil.deployment import Deployment, is_local
from vigil.extras import require_extras
from vigil.names import Output

Port = Annotated[int, typer.Option(min=0, max=65535, help="Port on the loopback address; 0 takes a free one.")]


def console(
    port: Port = 0,
    show_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    allow_actions: Annotated[
        bool,
        typer.Option("--allow-actions", help="Start and stop sessions on AWS too; a local stack always allows it."),
    ] = False,
) -> None:
    """Serve a page that shows sessions live; stays in the foreground until Ctrl-C."""
    require_extras("cli", "console")
    from vigil.console.server import ConsoleServer

    deployment = Deployment()
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    account = deployment.output(Output.STATE_MACHINE).split(":")[4]
    where = f"local {endpoint.partition('//')[2]}" if is_local(endpoint) else f"AWS {account} {deployment.region}"
    server = ConsoleServer(deployment, port, where, allow_actions=allow_actions or is_local(endpoint))
    terminal.say(f"console at {server.link}")
    if show_it and not webbrowser.open(server.link):
        terminal.say("could not open a browser: open the link yourself")
    with suppress(KeyboardInterrupt):
        server.serve()
